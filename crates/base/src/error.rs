//! What can go wrong, told apart by what it means for the person and for the exit code.

use std::fmt;

/// How a run ended. The number is the process's exit code; the table is part of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    /// Everything asked for is done.
    Done = 0,
    /// A project failed, and nothing of the failed attempt is live.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// Refused before anything changed: configuration, tool, credential or protection.
    Refused = 3,
    /// The remote side may have changed; the record says what to look at.
    Remote = 4,
    /// Stopped by Ctrl-C or SIGTERM.
    Interrupted = 130,
}

impl Exit {
    /// The exit code of a run over several projects: the one that asks for most attention.
    #[must_use]
    pub fn worst(exits: impl IntoIterator<Item = Exit>) -> Exit {
        exits.into_iter().max().unwrap_or(Exit::Done)
    }
}

/// An error that knows its exit code and the next step.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The exit code it ends the process with.
    pub exit: Exit,
    /// What happened, one sentence without a full stop.
    pub message: String,
    /// What to do next, each a sentence or a command.
    pub hints: Vec<String>,
}

impl Failure {
    fn new(exit: Exit, message: impl Into<String>) -> Self {
        Failure { exit, message: message.into(), hints: Vec::new() }
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Adds what to do next where it failed, and nothing where it was interrupted.
    #[must_use]
    pub fn hint_if_failed(self, hint: &str) -> Self {
        if self.exit == Exit::Failed { self.hint(hint) } else { self }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// Something was tried and did not work, and nothing of it is live.
pub fn failed(message: impl Into<String>) -> Failure {
    Failure::new(Exit::Failed, message)
}

/// The command line asks for something that does not exist.
pub fn usage(message: impl Into<String>) -> Failure {
    Failure::new(Exit::Usage, message)
}

/// Nothing was changed, because something has to be put right first.
pub fn refused(message: impl Into<String>) -> Failure {
    Failure::new(Exit::Refused, message)
}

/// Something that must be written on this machine cannot be, so nothing was changed.
pub fn unwritable(message: impl Into<String>) -> Failure {
    refused(message).hint(format!("nothing was changed; {ROOM}"))
}

/// What to look at when something cannot be written.
pub const ROOM: &str = "is the disk full, or the folder somebody else's?";

/// The remote side may have changed.
pub fn remote(message: impl Into<String>) -> Failure {
    Failure::new(Exit::Remote, message)
}

/// A person or the system asked us to stop.
#[must_use]
pub fn interrupted() -> Failure {
    Failure::new(Exit::Interrupted, "interrupted")
}

/// The exit code an error stands for: that of the first [`Failure`] in its chain, else 1.
#[must_use]
pub fn exit_of(error: &anyhow::Error) -> Exit {
    find(error).map_or(Exit::Failed, |failure| failure.exit)
}

/// What to do next, from every [`Failure`] in the chain.
#[must_use]
pub fn hints_of(error: &anyhow::Error) -> Vec<String> {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<Failure>())
        .flat_map(|failure| failure.hints.clone())
        .collect()
}

fn find(error: &anyhow::Error) -> Option<&Failure> {
    error.chain().find_map(|cause| cause.downcast_ref::<Failure>())
}

/// The candidate nearest in spelling to `given`, if one is near enough to be a slip of the fingers.
#[must_use]
pub fn nearest<'a>(given: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(given, candidate), candidate))
        .filter(|(score, _)| *score > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// What serde's message about an unknown field or value probably was about: it quotes what was given,
/// then what there is.
#[must_use]
pub fn did_you_mean(message: &str) -> Option<String> {
    if !message.starts_with("unknown field") && !message.starts_with("unknown variant") {
        return None;
    }
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let (given, known) = quoted.split_first()?;
    nearest(given, known.iter().copied()).map(|name| format!("did you mean `{name}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    #[test]
    fn exit_codes_are_the_published_table() {
        let table = [
            (Exit::Done, 0),
            (Exit::Failed, 1),
            (Exit::Usage, 2),
            (Exit::Refused, 3),
            (Exit::Remote, 4),
            (Exit::Interrupted, 130),
        ];
        for (exit, code) in table {
            assert_eq!(exit as u8, code);
        }
    }

    #[test]
    fn the_worst_of_several_wins() {
        assert_eq!(Exit::worst([]), Exit::Done);
        assert_eq!(Exit::worst([Exit::Done, Exit::Remote, Exit::Failed]), Exit::Remote);
        assert_eq!(Exit::worst([Exit::Interrupted, Exit::Remote]), Exit::Interrupted);
    }

    #[test]
    fn context_keeps_exit_and_hints() {
        let error = Err::<(), _>(refused("no token").hint("set it"))
            .context("website")
            .expect_err("an error");
        assert_eq!(exit_of(&error), Exit::Refused);
        assert_eq!(hints_of(&error), ["set it"]);
    }

    #[test]
    fn nearest_offers_slips_only() {
        assert_eq!(nearest("webiste", ["website", "studio"]), Some("website"));
        assert_eq!(nearest("zzz", ["website", "studio"]), None);
    }
}
