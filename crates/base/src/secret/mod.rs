//! Values that must never be printed, written or passed as arguments.

pub mod forms;

use std::fmt;
use std::sync::{Mutex, PoisonError};

/// A credential. It has no `Display`, its `Debug` shows nothing, and it leaves this type only into
/// the environment of a child process or a request header.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Takes a value out of the ordinary world. Surrounding white space, which pasted variables
    /// often carry, is not part of it.
    #[must_use]
    pub fn new(value: &str) -> Self {
        Secret(value.trim().to_owned())
    }

    /// The value, for an environment variable of a child or a header.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Whether `value` can be a token at all: it goes into a header, where nothing else may stand.
#[must_use]
pub fn is_token(value: &str) -> bool {
    let value = value.trim();
    !value.is_empty() && value.bytes().all(|b| b.is_ascii_graphic())
}

/// Every credential that this process has used. A child that was given none of them may still come by
/// one, and print it.
static USED: Mutex<Vec<Secret>> = Mutex::new(Vec::new());

/// Notes a credential, so that it is redacted in the output of every later child.
pub fn remember(secret: &Secret) {
    let mut used = USED.lock().unwrap_or_else(PoisonError::into_inner);
    if !used.iter().any(|other| other.0 == secret.0) {
        used.push(secret.clone());
    }
}

/// Replaces known secrets in text that a child wrote.
#[derive(Clone, Debug, Default)]
pub struct Redactor(Vec<Secret>);

impl Redactor {
    /// Redacts these secrets and those that were used before, in every form that [`forms`] knows. Values
    /// under four characters would blank out ordinary text and are left alone.
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

    /// `text` with every secret replaced by `***`.
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
