//! Values that must never be printed, written or passed as arguments.

use std::fmt;

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

/// Replaces known secrets in text that a child wrote.
#[derive(Clone, Debug, Default)]
pub struct Redactor(Vec<Secret>);

impl Redactor {
    /// Redacts these secrets. Values under four characters would blank out ordinary text and are
    /// left alone.
    #[must_use]
    pub fn new(secrets: impl IntoIterator<Item = Secret>) -> Self {
        Redactor(secrets.into_iter().filter(|secret| secret.0.len() >= 4).collect())
    }

    /// `text` with every secret replaced by `***`.
    #[must_use]
    pub fn apply(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| text.replace(&secret.0, "***"))
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
}
