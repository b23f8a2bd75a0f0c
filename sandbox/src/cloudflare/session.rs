//! Signs and verifies the sessions of asset uploads. The token holds the whole session, so a session survives a
//! restart of the sandbox.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::envelope::CloudflareError;
use crate::token::Token;

/// The lifetime of a session, in seconds.
const LIFETIME: u64 = 3600;

/// The claims in the token of a session.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Session {
    /// The account whose assets are uploaded.
    pub account: String,
    /// The blob of the manifest.
    pub manifest: String,
    /// `true` if the account has all assets of the manifest.
    pub complete: bool,
    /// The time when it expires, as Unix time in seconds.
    pub exp: u64,
}

impl Session {
    /// Makes a session that expires after an hour.
    #[must_use]
    pub fn new(account: &str, manifest: String, complete: bool) -> Session {
        let account = account.to_owned();
        Session { account, manifest, complete, exp: now() + LIFETIME }
    }

    /// Returns the token of the session. It is a JWT, because wrangler reads its payload.
    pub fn sign(&self, token: &Token) -> Result<String, CloudflareError> {
        let claims = serde_json::to_vec(self).map_err(anyhow::Error::from)?;
        let head = URL_SAFE_NO_PAD.encode("{\"alg\":\"BLAKE3\",\"typ\":\"JWT\"}");
        let body = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims));
        let signature = URL_SAFE_NO_PAD.encode(signature(token, &body).as_bytes());
        Ok(format!("{body}.{signature}"))
    }

    /// Returns the session of a token. Errors if it is not valid for `account`.
    pub fn verify(token: &Token, account: &str, jwt: &str) -> Result<Session, CloudflareError> {
        Session::read(token, jwt)
            .filter(|session| session.account == account && session.exp > now())
            .ok_or_else(|| {
                CloudflareError::new(
                    401,
                    10_021,
                    "The asset upload session is unknown or has expired",
                )
            })
    }

    fn read(token: &Token, jwt: &str) -> Option<Session> {
        let (body, encoded) = jwt.rsplit_once('.')?;
        let expected: [u8; 32] = URL_SAFE_NO_PAD.decode(encoded).ok()?.try_into().ok()?;
        if signature(token, body) != blake3::Hash::from_bytes(expected) {
            return None;
        }
        let claims = URL_SAFE_NO_PAD.decode(body.split('.').nth(1)?).ok()?;
        serde_json::from_slice(&claims).ok()
    }
}

/// Returns the signature of a token, with a key from the API token. Its comparison takes constant time.
fn signature(token: &Token, body: &str) -> blake3::Hash {
    blake3::keyed_hash(&token.key(), body.as_bytes())
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_valid_for_its_account_until_it_expires() {
        let token = Token::new("secret");
        let session = Session::new("a", "manifest".to_owned(), false);
        let jwt = session.sign(&token).expect("a token");
        assert_eq!(Session::verify(&token, "a", &jwt).expect("good"), session);
        assert!(Session::verify(&token, "b", &jwt).is_err());
        assert!(Session::verify(&Token::new("other"), "a", &jwt).is_err());
        assert!(Session::verify(&token, "a", &format!("{jwt}A")).is_err());
        let old = Session { exp: now() - 1, ..session };
        assert!(Session::verify(&token, "a", &old.sign(&token).expect("a token")).is_err());
    }
}
