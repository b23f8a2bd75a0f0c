//! Errors with a kind, the next steps for the user and a cause. Decisions match on the kind. [`Exit`] is for the process.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use serde::ser::SerializeStruct as _;
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
    /// Every exit code.
    pub const ALL: [Exit; 6] =
        [Exit::Done, Exit::Failed, Exit::Usage, Exit::Refused, Exit::Remote, Exit::Interrupted];

    /// Returns the meaning of the exit code, for the reference pages.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Exit::Done => "done",
            Exit::Failed => "failed; the version that was live before is live",
            Exit::Usage => "invalid command line",
            Exit::Refused => "refused before anything changed",
            Exit::Remote => "the remote side may have changed; the record tells what to check",
            Exit::Interrupted => "interrupted",
        }
    }

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

/// A result whose error is an [`Error`], unless another one is named.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error with its kind, the next steps and its cause.
#[derive(Clone, Debug)]
pub struct Error {
    /// The kind.
    pub kind: ErrorKind,
    /// One sentence about the failure, without a full stop. The text with its causes is `{error:#}`.
    pub message: String,
    /// Next steps. Each begins with a verb and has its command in backticks.
    pub hints: Vec<String>,
    /// The cause. Only its text counts, because kind and hints are in the fields above.
    pub source: Option<ErrorSource>,
}

/// The cause of an error.
pub type ErrorSource = Arc<dyn StdError + Send + Sync>;

impl Error {
    /// Creates an error without a cause.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error { kind, message: message.into(), hints: Vec::new(), source: None }
    }

    /// Creates an error of kind [`ErrorKind::Failed`] with the text of a library's error.
    pub fn from_source(source: impl StdError + Send + Sync + 'static) -> Error {
        Error::from_shared(Arc::new(source))
    }

    /// Creates an error of kind [`ErrorKind::Failed`] with the text of a shared cause.
    #[must_use]
    pub fn from_shared(source: ErrorSource) -> Error {
        let message = source.to_string();
        Error { source: Some(source), ..failed(message) }
    }

    /// Returns an error with this message whose cause is `self`. It has the same kind and hints.
    #[must_use]
    pub fn context(mut self, message: impl Into<String>) -> Error {
        let (kind, hints) = (self.kind, std::mem::take(&mut self.hints));
        Error { kind, message: message.into(), hints, source: Some(Arc::new(self)) }
    }

    /// Returns the error with another message, which holds what matters of its causes.
    #[must_use]
    pub fn with_message(self, message: impl Into<String>) -> Error {
        Error { message: message.into(), source: None, ..self }
    }

    /// Adds a next step.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Adds a next step if the run failed. Does nothing if it was interrupted.
    #[must_use]
    pub fn hint_if_failed(self, hint: &str) -> Self {
        if self.kind == ErrorKind::Failed { self.hint(hint) } else { self }
    }

    /// Returns the text with the causes, and each hint on its own line.
    #[must_use]
    pub fn with_hints(&self) -> String {
        with_hints(&format!("{self:#}"), &self.hints)
    }

    /// Returns the texts of the causes, the nearest first. Leaves out a cause that repeats the text above it.
    #[must_use]
    pub fn causes(&self) -> Vec<String> {
        let mut texts: Vec<String> = self.chain().map(ToString::to_string).collect();
        texts.dedup();
        texts.split_off(1)
    }

    /// Returns the first error of type `T`: this one or a cause.
    #[must_use]
    pub fn find<T: StdError + 'static>(&self) -> Option<&T> {
        self.chain().find_map(|error| error.downcast_ref())
    }

    fn chain(&self) -> impl Iterator<Item = &(dyn StdError + 'static)> {
        let own: &(dyn StdError + 'static) = self;
        std::iter::successors(Some(own), |error| (*error).source())
    }
}

/// The message. The alternate form `{:#}` has the causes too.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if f.alternate() {
            self.causes().iter().try_for_each(|cause| write!(f, ": {cause}"))?;
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// The text with the causes, and the hints.
impl Serialize for Error {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Error", 2)?;
        fields.serialize_field("message", &format!("{self:#}"))?;
        fields.serialize_field("hints", &self.hints)?;
        fields.end()
    }
}

/// The errors of libraries that `?` turns into one of kind [`ErrorKind::Failed`].
macro_rules! from_source {
    ($($error:ty),*) => {$(
        impl From<$error> for Error {
            fn from(error: $error) -> Error {
                Error::from_source(error)
            }
        }
    )*};
}

from_source!(
    nix::errno::Errno,
    std::io::Error,
    std::str::Utf8Error,
    std::string::FromUtf8Error,
    serde_json::Error,
    ureq::Error
);

/// Adds a message to an error, which keeps its kind and hints. `None` becomes an error of kind [`ErrorKind::Failed`].
pub trait ErrorContext<T> {
    /// Adds `message`.
    fn context(self, message: impl Into<String>) -> Result<T>;

    /// Adds the message that `message` returns.
    fn with_context<M: Into<String>>(self, message: impl FnOnce() -> M) -> Result<T>;
}

impl<T, E: Into<Error>> ErrorContext<T> for Result<T, E> {
    fn context(self, message: impl Into<String>) -> Result<T> {
        self.map_err(|error| error.into().context(message))
    }

    fn with_context<M: Into<String>>(self, message: impl FnOnce() -> M) -> Result<T> {
        self.map_err(|error| error.into().context(message()))
    }
}

impl<T> ErrorContext<T> for Option<T> {
    fn context(self, message: impl Into<String>) -> Result<T> {
        self.ok_or_else(|| failed(message))
    }

    fn with_context<M: Into<String>>(self, message: impl FnOnce() -> M) -> Result<T> {
        self.ok_or_else(|| failed(message()))
    }
}

/// Creates an error of kind [`ErrorKind::Failed`]: an attempt failed.
pub fn failed(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Failed, message)
}

/// Creates an error of kind [`ErrorKind::Usage`]: the command line is invalid.
pub fn usage(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Usage, message)
}

/// Creates an error of kind [`ErrorKind::Refused`]: nothing changed, because a precondition is not met.
pub fn refused(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Refused, message)
}

/// Creates an error of kind [`ErrorKind::Refused`] for a local file that cannot be written.
pub fn unwritable(message: impl Into<String>) -> Error {
    refused(message).hint(format!("nothing was changed; {DISK_HINT}"))
}

/// The next step if a file cannot be written.
pub const DISK_HINT: &str = "check for free disk space and for write permission on the folder";

/// Creates an error of kind [`ErrorKind::Config`]: a config file is invalid.
pub fn invalid_config(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Config, message)
}

/// Creates an error of kind [`ErrorKind::Remote`]: the remote state may have changed.
pub fn remote(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Remote, message)
}

/// Creates an error of kind [`ErrorKind::Interrupted`]: Ctrl-C or SIGTERM stopped the run.
#[must_use]
pub fn interrupted() -> Error {
    Error::new(ErrorKind::Interrupted, "interrupted")
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
        .filter(|(score, _)| *score > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// Returns the hint that names the candidate nearest to `given`. `None` if no candidate looks like a typo of it.
#[must_use]
pub fn did_you_mean<'a>(
    given: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    nearest(given, candidates).map(|name| format!("did you mean `{name}`?"))
}

/// Returns the hint for one of serde's messages about an unknown field or variant. They quote the given name first, then
/// the known ones.
#[must_use]
pub fn did_you_mean_in(message: &str) -> Option<String> {
    let kinds =
        ["unknown command", "unknown field", "unknown flag", "unknown option", "unknown variant"];
    if !kinds.iter().any(|kind| message.starts_with(kind)) {
        return None;
    }
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let (typo, known) = quoted.split_first()?;
    did_you_mean(typo, known.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!((error.kind, error.to_string()), (ErrorKind::Refused, "website".to_owned()));
        assert_eq!(error.with_hints(), "website: no token\nhint: set it");
        let json = serde_json::json!({ "message": "website: no token", "hints": ["set it"] });
        assert_eq!(serde_json::to_value(&error).expect("JSON"), json);
    }

    #[test]
    fn an_error_of_a_library_is_found_and_written_once() {
        let read = || Err::<(), _>(std::io::Error::other("no space"));
        let plain = read().map_err(Error::from).expect_err("an error");
        assert_eq!((plain.kind, format!("{plain:#}").as_str()), (ErrorKind::Failed, "no space"));
        let error = read().context("config").context("website").expect_err("an error");
        assert_eq!(format!("{error:#}"), "website: config: no space");
        assert_eq!(error.causes(), ["config", "no space"]);
        assert!(error.find::<std::io::Error>().is_some());
    }

    #[test]
    fn nearest_suggests_only_typos() {
        assert_eq!(nearest("webiste", ["website", "studio"]), Some("website"));
        assert_eq!(nearest("zzz", ["website", "studio"]), None);
    }
}
