//! Values that must never be printed, written or passed as arguments.

pub mod forms;

use std::ffi::OsStr;
use std::fmt;
use std::sync::Mutex;

use crate::mutex;

/// A credential. It has no `Display`, and its `Debug` hides the value. Its only uses are the environment of a
/// child process and a request header.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Creates a secret. Surrounding white space is removed, because pasted variables often have it.
    #[must_use]
    pub fn new(value: &str) -> Self {
        Secret(value.trim().to_owned())
    }

    /// Returns the value, for an environment variable of a child or a header. From then on [`redact`] removes it from
    /// all output, because the receiver may send it back.
    #[must_use]
    pub fn expose(&self) -> &str {
        remember(self);
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Returns true if `value` is valid in a header.
#[must_use]
pub fn is_token(value: &str) -> bool {
    let value = value.trim();
    !value.is_empty() && value.bytes().all(|b| b.is_ascii_graphic())
}

/// The reason why a variable has no usable token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenProblem {
    /// The variable is not set.
    Unset,
    /// It is set to nothing but white space.
    Empty,
    /// Its value is not valid in a header.
    Invalid,
}

impl TokenProblem {
    /// Describes the problem of the variable `name`.
    #[must_use]
    pub fn message(self, name: &str) -> String {
        let problem = match self {
            TokenProblem::Unset => "is not set",
            TokenProblem::Empty => "is set but empty",
            TokenProblem::Invalid => "contains characters that are not allowed in a token",
        };
        format!("the variable {name} {problem}")
    }
}

/// Returns the token in the value of a variable.
pub fn parse_token(value: Option<&OsStr>) -> Result<Secret, TokenProblem> {
    // A character that is not UTF-8 becomes one that a token cannot have.
    let value = value.ok_or(TokenProblem::Unset)?.to_string_lossy();
    match value.trim() {
        "" => Err(TokenProblem::Empty),
        value if is_token(value) => Ok(Secret::new(value)),
        _ => Err(TokenProblem::Invalid),
    }
}

/// Every credential that this process has used. A child that received none of them may still find and
/// print one.
static USED: Mutex<Vec<Secret>> = Mutex::new(Vec::new());

/// Registers a credential, so that it is redacted in the output of every later child.
pub fn remember(secret: &Secret) {
    let mut used = mutex::lock(&USED);
    if !used.iter().any(|other| other.0 == secret.0) {
        used.push(secret.clone());
    }
}

/// Returns `text` with every secret that this process has used replaced by `***`. All output passes this function: to the
/// terminal, to files, and to servers.
#[must_use]
pub fn redact(text: &str) -> String {
    let count = mutex::lock(&USED).len();
    if count == 0 {
        return text.to_owned();
    }
    let mut cached = mutex::lock(&REDACTOR);
    if cached.0 != count {
        *cached = (count, Redactor::new([]));
    }
    cached.1.apply(text)
}

/// The redactor of [`redact`], and the number of secrets that it knows.
static REDACTOR: Mutex<(usize, Redactor)> = Mutex::new((0, Redactor(Vec::new())));

/// Replaces known secrets in the output of children.
#[derive(Clone, Debug, Default)]
pub struct Redactor(Vec<Secret>);

impl Redactor {
    /// Creates a redactor for these secrets and all registered ones, in every spelling of [`forms`]. Values below
    /// four characters are not redacted, because that would hide ordinary text.
    #[must_use]
    pub fn new(secrets: impl IntoIterator<Item = Secret>) -> Self {
        let mut all: Vec<Secret> = mutex::lock(&USED).clone();
        all.extend(secrets);
        all.retain(|secret| secret.0.len() >= forms::MIN_REDACTED_LENGTH);
        let mut all: Vec<String> = all.iter().flat_map(|secret| forms::forms(&secret.0)).collect();
        all.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        all.dedup();
        Redactor(all.into_iter().map(Secret).collect())
    }

    /// Returns `text` with every secret replaced by `***`.
    #[must_use]
    pub fn apply(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| {
            if text.contains(&secret.0) { text.replace(&secret.0, "***") } else { text }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", Secret::new("canary")), "Secret(…)");
    }

    #[test]
    fn tokens_are_parsed_without_surrounding_space() {
        let parse = |value: &str| {
            parse_token(Some(OsStr::new(value))).map(|token| token.expose().to_owned())
        };
        assert_eq!(parse(" token-1\n"), Ok("token-1".to_owned()));
        assert_eq!(parse(" \n"), Err(TokenProblem::Empty));
        assert_eq!(parse("a b"), Err(TokenProblem::Invalid));
        assert_eq!(parse_token(None).err(), Some(TokenProblem::Unset));
        let no_text: &OsStr = std::os::unix::ffi::OsStrExt::from_bytes(b"a\xff");
        assert_eq!(parse_token(Some(no_text)).err(), Some(TokenProblem::Invalid));
    }

    #[test]
    fn redaction_replaces_every_occurrence() {
        let redactor = Redactor::new([Secret::new("canary\n"), Secret::new("ab")]);
        assert_eq!(redactor.apply("a canary, abacus, canary"), "a ***, abacus, ***");
    }

    #[test]
    fn every_spelling_of_a_secret_is_redacted() {
        let secret = "t\"o'k\\e$n%&<>`/+é\u{1f511}~!x";
        let redactor = Redactor::new([Secret::new(secret)]);
        let json = serde_json::json!({ "a": [secret] }).to_string();
        let twice = serde_json::json!({ "log": json }).to_string();
        for text in [secret.to_owned(), json, twice, crate::command::quote(secret)] {
            let shown = redactor.apply(&text);
            assert!(!shown.contains("k\\e") && !shown.contains("n%&"), "{shown}");
        }
    }
}
