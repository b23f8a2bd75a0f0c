//! The finding of a check: one value for people, programs and the exit code.

use camino::Utf8Path;
use serde::{Serialize, Serializer};

use base::command::{ProcessCommand, quote};
use base::error::Error;

/// The status of a check, from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum CheckStatus {
    /// The check passed.
    Ok,
    /// Skipped, because it is not needed here or depends on another check.
    Skip,
    /// It works, with a warning.
    Warn,
    /// A requirement is missing or wrong.
    Fail,
    /// The check itself failed, which is a bug of ours.
    Crashed,
}

/// The finding of a check. No field ever holds a credential.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The status.
    pub status: CheckStatus,
    /// The details, one line each.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// The observed value, such as a version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
    /// The expected value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wanted: Option<String>,
    /// The source of the observed value: a path, a file, the name of a variable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The fix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<Fix>,
}

/// A way to fix a problem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fix {
    /// For people, one line per step.
    pub text: String,
    /// For `--fix` and for programs.
    #[serde(serialize_with = "lines", skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<ProcessCommand>,
    /// `true` if the commands change no file that a person wrote, so that `--fix` may run them.
    pub safe: bool,
}

impl Finding {
    fn new(status: CheckStatus, detail: impl Into<String>) -> Finding {
        Finding {
            status,
            detail: detail.into(),
            found: None,
            wanted: None,
            source: None,
            fix: None,
        }
    }

    /// Creates the finding of a passed check.
    #[must_use]
    pub fn ok() -> Finding {
        Finding::new(CheckStatus::Ok, "")
    }

    /// Creates the finding of a skipped check, with the reason.
    pub fn skip(detail: impl Into<String>) -> Finding {
        Finding::new(CheckStatus::Skip, detail)
    }

    /// Creates a warning.
    pub fn warn(detail: impl Into<String>) -> Finding {
        Finding::new(CheckStatus::Warn, detail)
    }

    /// Creates the finding of a failed check.
    pub fn fail(detail: impl Into<String>) -> Finding {
        Finding::new(CheckStatus::Fail, detail)
    }

    /// Creates the finding for a check that itself failed.
    pub fn from_panic(detail: impl Into<String>) -> Finding {
        Finding::new(CheckStatus::Crashed, detail)
    }

    /// Sets the details.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Finding {
        self.detail = detail.into();
        self
    }

    /// Sets the observed value.
    #[must_use]
    pub fn with_value(mut self, found: impl Into<String>) -> Finding {
        self.found = Some(found.into());
        self
    }

    /// Sets the expected value.
    #[must_use]
    pub fn with_expected(mut self, wanted: impl Into<String>) -> Finding {
        self.wanted = Some(wanted.into());
        self
    }

    /// Sets the source of the observed value.
    #[must_use]
    pub fn source(mut self, source: impl Into<String>) -> Finding {
        self.source = Some(source.into());
        self
    }

    /// Sets the manual fix.
    #[must_use]
    pub fn manual_fix(mut self, text: impl Into<String>) -> Finding {
        self.fix = Some(Fix { text: text.into(), commands: Vec::new(), safe: false });
        self
    }

    /// Adds a line to the manual fix.
    #[must_use]
    pub fn add_manual_fix(self, text: &str) -> Finding {
        let before = self.fix.as_ref().map(|fix| format!("{}\n", fix.text)).unwrap_or_default();
        self.manual_fix(before + text)
    }

    /// Sets the commands of `--fix`.
    #[must_use]
    pub fn safe_fix(mut self, text: impl Into<String>, commands: Vec<ProcessCommand>) -> Finding {
        self.fix = Some(Fix { text: text.into(), commands, safe: true });
        self
    }

    /// Merges several findings into one. Returns `good` if there is none.
    #[must_use]
    pub fn all(findings: Vec<Finding>, good: Finding) -> Finding {
        let mut whole: Option<Finding> = None;
        for one in findings {
            whole = Some(match whole {
                None => one,
                Some(whole) => whole.and(one),
            });
        }
        whole.unwrap_or(good)
    }

    fn and(mut self, other: Finding) -> Finding {
        self.status = self.status.max(other.status);
        self.detail = format!("{}\n{}", self.detail, other.detail);
        self.fix = match (self.fix, other.fix) {
            (Some(mut fix), Some(other)) => {
                for line in other.text.lines() {
                    if !fix.text.lines().any(|known| known == line) {
                        fix.text = format!("{}\n{line}", fix.text);
                    }
                }
                fix.commands.extend(other.commands);
                fix.safe &= other.safe;
                Some(fix)
            }
            (mine, other) => mine.or(other),
        };
        self
    }

    /// Returns true if it needs action.
    #[must_use]
    pub fn is_problem(&self) -> bool {
        self.status >= CheckStatus::Warn
    }
}

impl From<&Error> for Finding {
    fn from(error: &Error) -> Finding {
        let finding = Finding::fail(format!("{error:#}"));
        if error.hints.is_empty() { finding } else { finding.manual_fix(error.hints.join("\n")) }
    }
}

/// Formats commands as lines of shell.
fn lines<S: Serializer>(commands: &[ProcessCommand], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(commands.iter().map(line))
}

/// Formats a command as one line of shell that can be pasted.
#[must_use]
pub fn line(command: &ProcessCommand) -> String {
    format!("cd {} && {}", quote(command.dir.as_str()), command.line())
}

/// Formats a command for people. Shows the folder only if it is not the root.
#[must_use]
pub fn brief(root: &Utf8Path, command: &ProcessCommand) -> String {
    let short = command.line().replace(&format!("{root}/"), "");
    match command.dir.strip_prefix(root) {
        Ok(below) if below.as_str().is_empty() => short,
        Ok(below) => format!("cd {} && {}", quote(below.as_str()), command.line()),
        Err(_) => line(command),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_findings_have_the_worst_state() {
        let whole = Finding::all(
            vec![
                Finding::warn("a").manual_fix("do this"),
                Finding::fail("b").manual_fix("do this"),
                Finding::warn("c").manual_fix("and that"),
            ],
            Finding::ok(),
        );
        assert_eq!((whole.status, whole.detail.as_str()), (CheckStatus::Fail, "a\nb\nc"));
        assert_eq!(whole.fix.map(|fix| fix.text).as_deref(), Some("do this\nand that"));
        assert_eq!(Finding::all(Vec::new(), Finding::ok()), Finding::ok());
        let two = || Finding::warn("a").manual_fix("do this\nor that");
        let fix = Finding::all(vec![two(), two(), two()], Finding::ok()).fix;
        assert_eq!(fix.map(|fix| fix.text).as_deref(), Some("do this\nor that"));
    }
}
