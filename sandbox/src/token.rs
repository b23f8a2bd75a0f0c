//! The token that opens the API.

use std::fmt;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Context as _, Result, bail};
use camino::Utf8Path;

use crate::ids::{hex, random};
use crate::state::write_durably;

/// The variable that overrules the file. With it, nothing about the token is written.
pub const VARIABLE: &str = "SANDBOX_TOKEN";

/// The token. It has no `Display`, and its `Debug` shows nothing.
#[derive(Clone)]
pub struct Token(String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

impl Token {
    /// Makes a token of a text.
    #[must_use]
    pub fn new(text: &str) -> Token {
        Token(text.trim().to_owned())
    }

    /// Reads the token from the environment, else from `token` in `state`. Makes a new one, which only
    /// its owner can read, if there is none.
    pub fn load(state: &Utf8Path) -> Result<Token> {
        if let Some(token) = std::env::var(VARIABLE).ok().filter(|token| !token.trim().is_empty()) {
            return Ok(Token::new(&token));
        }
        Token::of_file(&state.join("token"), "")
    }

    /// Reads the token in the file `path`. Makes the file if it is missing, with a random token that
    /// starts with `prefix`, readable for its owner alone.
    pub fn of_file(path: &Utf8Path, prefix: &str) -> Result<Token> {
        match path.metadata() {
            Ok(meta) if meta.permissions().mode() & 0o077 != 0 => {
                bail!("other users can read {path}: `chmod 600 {path}`")
            }
            Ok(_) => {
                let text =
                    std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
                if text.trim().is_empty() {
                    bail!("{path} is empty: remove it to get a new token");
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

    /// Returns the text. For keys only, never for a message.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }

    /// Whether `given` is the token. Hashes are compared, so that the time taken tells nothing.
    #[must_use]
    pub fn is(&self, given: &str) -> bool {
        blake3::hash(self.0.as_bytes()) == blake3::hash(given.as_bytes())
    }

    /// Returns its hash, by which it is recognized.
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
    fn tokens_compare_without_showing() {
        let token = Token::new("secret\n");
        assert!(token.is("secret") && !token.is("secret2") && !token.is(""));
        assert_eq!(format!("{token:?}"), "Token(…)");
    }
}
