//! Loads and compares the API token.

use std::fmt;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Context as _, Result, bail};
use camino::Utf8Path;

use crate::ids::{hex, random};
use crate::state::write_durably;

/// The variable with the token. If it is set, the sandbox neither reads nor writes a token file.
pub const VARIABLE: &str = "SANDBOX_TOKEN";

/// A token. It has no `Display`, and its `Debug` hides the text.
#[derive(Clone)]
pub struct Token(String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

impl Token {
    /// Makes a token from a text.
    #[must_use]
    pub fn new(text: &str) -> Token {
        Token(text.trim().to_owned())
    }

    /// Reads the API token from [`VARIABLE`], or from the file `token` in the folder `state`. Creates the file if it
    /// is missing.
    pub fn load(state: &Utf8Path) -> Result<Token> {
        if let Some(token) = std::env::var(VARIABLE).ok().filter(|token| !token.trim().is_empty()) {
            return Ok(Token::new(&token));
        }
        Token::from_file(&state.join("token"), "")
    }

    /// Reads the token in the file `path`. If the file is missing, creates it with a random token that
    /// begins with `prefix`. Only its owner can read the file.
    pub fn from_file(path: &Utf8Path, prefix: &str) -> Result<Token> {
        match path.metadata() {
            Ok(meta) if meta.permissions().mode() & 0o077 != 0 => {
                bail!("other users can read {path}; run `chmod 600 {path}`")
            }
            Ok(_) => {
                let text =
                    std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
                if text.trim().is_empty() {
                    bail!("{path} is empty; delete it to get a new token");
                }
                Ok(Token::new(&text))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let token = format!("{prefix}{}", hex(&random::<20>()));
                write_durably(path, token.as_bytes())?;
                Ok(Token(token))
            }
            Err(error) => Err(error).with_context(|| format!("cannot read {path}")),
        }
    }

    /// Returns the text of the token. Do not put it into a message.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }

    /// Returns whether `text` is the token. Compares hashes, so that the duration of the comparison does not depend on
    /// the token.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        blake3::hash(self.0.as_bytes()) == blake3::hash(text.as_bytes())
    }

    /// Returns the hash of the token.
    #[must_use]
    pub fn hash(&self) -> blake3::Hash {
        blake3::hash(self.0.as_bytes())
    }

    /// Returns a key for signatures that only the holder of the token can make.
    #[must_use]
    pub fn key(&self) -> [u8; 32] {
        blake3::derive_key("sandbox upload sessions", self.0.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::Token;

    #[test]
    fn tokens_are_compared_and_stay_hidden() {
        let token = Token::new("secret\n");
        assert!(token.matches("secret") && !token.matches("secret2") && !token.matches(""));
        assert_eq!(format!("{token:?}"), "Token(…)");
    }
}
