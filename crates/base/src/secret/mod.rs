//! Values that must never be printed, written or passed as arguments.

pub mod forms;

use std::fmt;
use std::sync::{Mutex, PoisonError};

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

/// Every credential that this process has used. A child that received none of them may still find and
/// print one.
static USED: Mutex<Vec<Secret>> = Mutex::new(Vec::new());

/// Registers a credential, so that it is redacted in the output of every later child.
pub fn remember(secret: &Secret) {
    let mut used = USED.lock().unwrap_or_else(PoisonError::into_inner);
    if !used.iter().any(|other| other.0 == secret.0) {
        used.push(secret.clone());
    }
}

/// Returns `text` with every secret that this process has used replaced by `***`. All output passes this function: to the
/// terminal, to files, and to servers.
#[must_use]
pub fn redact(text: &str) -> String {
    let count = USED.lock().unwrap_or_else(PoisonError::into_inner).len();
    if count == 0 {
        return text.to_owned();
    }
    let mut cached = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    if cached.0 != count {
        *cached = (count, Redactor::new([]));
    }
    cached.1.apply(text)
}

/// The redactor of [`redact`], and the number of secrets that it knows.
static MADE: Mutex<(usize, Redactor)> = Mutex::new((0, Redactor(Vec::new())));

/// Replaces known secrets in the output of children.
#[derive(Clone, Debug, Default)]
pub struct Redactor(Vec<Secret>);

impl Redactor {
    /// Creates a redactor for these secrets and all registered ones, in every spelling of [`forms`]. Values below
    /// four characters are not redacted, because that would hide ordinary text.
    #[must_use]
    pub fn new(secrets: impl IntoIterator<Item = Secret>) -> Self {
        let mut all: Vec<Secret> = USED.lock().unwrap_or_else(PoisonError::into_inner).clone();
        all.extend(secrets);
        all.retain(|secret| secret.0.len() >= forms::SHORTEST);
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
