//! Errors of a kind, with the next steps for the user. Decisions match on the kind. [`Exit`] is for the process.

use std::fmt;

use serde::{Serialize, Serializer};

/// The kind of an error, from the mildest to the most severe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ErrorKind {
    /// An attempt failed. The version that was live still is.
    Failed,
    /// The command line is invalid.
    Usage,
    /// A config file is invalid. Nothing changed.
    Config,
    /// A precondition is not met: tool, credential, protection. Nothing changed.
    Refused,
    /// The remote state may have changed. The record tells what to check.
    Remote,
    /// Ctrl-C or SIGTERM stopped the run.
    Interrupted,
}

/// The result of a run. The number is the process's exit code and part of the public interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    /// Everything requested is done.
    Done = 0,
    /// A project failed. The version that was live still is.
    Failed = 1,
    /// The command line is invalid.
    Usage = 2,
    /// Refused before anything changed: configuration, tool, credential or protection.
    Refused = 3,
    /// The remote state may have changed. The record tells what to check.
    Remote = 4,
    /// Stopped by Ctrl-C or SIGTERM.
    Interrupted = 130,
}

impl Exit {
    /// Returns the exit code of a run with errors of these kinds. The most severe one decides.
    #[must_use]
    pub fn worst(kinds: impl IntoIterator<Item = ErrorKind>) -> Exit {
        kinds.into_iter().max().map_or(Exit::Done, Exit::from)
    }
}

/// A number, as in `$?`.
impl Serialize for Exit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(*self as u8)
    }
}

impl From<ErrorKind> for Exit {
    fn from(kind: ErrorKind) -> Exit {
        match kind {
            ErrorKind::Failed => Exit::Failed,
            ErrorKind::Usage => Exit::Usage,
            ErrorKind::Config | ErrorKind::Refused => Exit::Refused,
            ErrorKind::Remote => Exit::Remote,
            ErrorKind::Interrupted => Exit::Interrupted,
        }
    }
}

/// An error with its kind and the next steps. `anyhow::Error` carries it, with its causes.
#[derive(Clone, Debug, Serialize)]
pub struct Failure {
    /// The kind.
    #[serde(skip)]
    pub kind: ErrorKind,
    /// One sentence about the failure, without a full stop.
    pub message: String,
    /// Next steps. Each begins with a verb and has its command in backticks.
    pub hints: Vec<String>,
}

impl Failure {
    fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Failure { kind, message: message.into(), hints: Vec::new() }
    }

    /// Adds a next step.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Returns an error as one failure: the kind, the text of the whole chain, and all of its hints.
    #[must_use]
    pub fn flatten(error: &anyhow::Error) -> Failure {
        Failure { kind: kind_of(error), message: format!("{error:#}"), hints: hints_of(error) }
    }

    /// Returns the message, and each hint on its own line.
    #[must_use]
    pub fn with_hints(&self) -> String {
        with_hints(&self.message, &self.hints)
    }

    /// Adds a next step if the run failed. Does nothing if it was interrupted.
    #[must_use]
    pub fn hint_if_failed(self, hint: &str) -> Self {
        if self.kind == ErrorKind::Failed { self.hint(hint) } else { self }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// Returns the failure that an error is, or one with the kind, the text and the hints of its chain.
impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        match error.downcast::<Failure>() {
            Ok(failure) => failure,
            Err(error) => Failure::flatten(&error),
        }
    }
}

/// Creates an error of kind [`ErrorKind::Failed`]: an attempt failed and left nothing live.
pub fn failed(message: impl Into<String>) -> Failure {
    Failure::new(ErrorKind::Failed, message)
}

/// Creates an error of kind [`ErrorKind::Usage`]: the command line is invalid.
pub fn usage(message: impl Into<String>) -> Failure {
    Failure::new(ErrorKind::Usage, message)
}

/// Creates an error of kind [`ErrorKind::Refused`]: nothing changed, because a precondition is not met.
pub fn refused(message: impl Into<String>) -> Failure {
    Failure::new(ErrorKind::Refused, message)
}

/// Creates an error of kind [`ErrorKind::Refused`] for a local file that cannot be written.
pub fn unwritable(message: impl Into<String>) -> Failure {
    refused(message).hint(format!("nothing was changed; {DISK_HINT}"))
}

/// The next step if a file cannot be written.
pub const DISK_HINT: &str = "check for free disk space and for write permission on the folder";

/// Creates an error of kind [`ErrorKind::Config`]: a config file is invalid.
pub fn invalid_config(message: impl Into<String>) -> Failure {
    Failure::new(ErrorKind::Config, message)
}

/// Creates an error of kind [`ErrorKind::Remote`]: the remote state may have changed.
pub fn remote(message: impl Into<String>) -> Failure {
    Failure::new(ErrorKind::Remote, message)
}

/// Creates an error of kind [`ErrorKind::Interrupted`]: Ctrl-C or SIGTERM stopped the run.
#[must_use]
pub fn interrupted() -> Failure {
    Failure::new(ErrorKind::Interrupted, "interrupted")
}

/// Returns the kind of the first [`Failure`] in the chain, or [`ErrorKind::Failed`] if there is none.
#[must_use]
pub fn kind_of(error: &anyhow::Error) -> ErrorKind {
    let mut failures = error.chain().filter_map(|cause| cause.downcast_ref::<Failure>());
    failures.next().map_or(ErrorKind::Failed, |failure| failure.kind)
}

/// Returns the hints of every [`Failure`] in the chain.
#[must_use]
pub fn hints_of(error: &anyhow::Error) -> Vec<String> {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<Failure>())
        .flat_map(|failure| failure.hints.clone())
        .collect()
}

/// Returns the message, and each hint on its own line.
#[must_use]
pub fn with_hints(message: &str, hints: &[String]) -> String {
    let lines = hints.iter().map(|hint| format!("\nhint: {hint}"));
    message.to_owned() + &lines.collect::<String>()
}

/// Returns the candidate nearest to `given` in spelling. `None` if no candidate looks like a typo of it.
#[must_use]
pub fn nearest<'a>(given: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(given, candidate), candidate))
        .filter(|(score, _)| *score > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// Suggests the nearest name for serde's messages about an unknown field or variant. They quote the given
/// name first, then the known ones.
#[must_use]
pub fn did_you_mean(message: &str) -> Option<String> {
    let kinds =
        ["unknown command", "unknown field", "unknown flag", "unknown option", "unknown variant"];
    if !kinds.iter().any(|kind| message.starts_with(kind)) {
        return None;
    }
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let (typo, known) = quoted.split_first()?;
    nearest(typo, known.iter().copied()).map(|name| format!("did you mean `{name}`?"))
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
        assert_eq!(Exit::worst([ErrorKind::Remote, ErrorKind::Failed]), Exit::Remote);
        assert_eq!(Exit::worst([ErrorKind::Interrupted, ErrorKind::Remote]), Exit::Interrupted);
        assert_eq!(Exit::worst([ErrorKind::Usage, ErrorKind::Config]), Exit::Refused);
    }

    #[test]
    fn context_keeps_kind_and_hints() {
        let error = Err::<(), _>(refused("no token").hint("set it"))
            .context("website")
            .expect_err("an error");
        assert_eq!(kind_of(&error), ErrorKind::Refused);
        assert_eq!(hints_of(&error), ["set it"]);
        assert_eq!(Failure::flatten(&error).with_hints(), "website: no token\nhint: set it");
    }

    #[test]
    fn nearest_suggests_only_typos() {
        assert_eq!(nearest("webiste", ["website", "studio"]), Some("website"));
        assert_eq!(nearest("zzz", ["website", "studio"]), None);
    }
}
