//! Sessions of asset uploads. A session is its token: nothing of it is kept, so that it outlives a
//! restart.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::envelope::ApiError;
use crate::token::Token;

/// How long a session is good for, in seconds.
const LIFETIME: u64 = 3600;

/// What the token of a session says.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Session {
    /// The account whose assets are uploaded.
    pub account: String,
    /// The blob of the manifest.
    pub manifest: String,
    /// Whether all of the manifest's assets were there.
    pub complete: bool,
    /// When it ends, in seconds since 1970.
    pub exp: u64,
}

impl Session {
    /// A session that starts now.
    #[must_use]
    pub fn new(account: &str, manifest: String, complete: bool) -> Session {
        let account = account.to_owned();
        Session { account, manifest, complete, exp: now() + LIFETIME }
    }

    /// Its token in the form of a JWT, of which wrangler reads the payload.
    pub fn sign(&self, token: &Token) -> Result<String, ApiError> {
        let claims = serde_json::to_vec(self).map_err(anyhow::Error::from)?;
        let head = URL_SAFE_NO_PAD.encode("{\"alg\":\"BLAKE3\",\"typ\":\"JWT\"}");
        let body = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims));
        let signature = URL_SAFE_NO_PAD.encode(signature(token, &body).as_bytes());
        Ok(format!("{body}.{signature}"))
    }

    /// The session of a token for `account`.
    pub fn verify(token: &Token, account: &str, jwt: &str) -> Result<Session, ApiError> {
        Session::read(token, jwt)
            .filter(|session| session.account == account && session.exp > now())
            .ok_or_else(|| {
                ApiError::new(401, 10_021, "The asset upload session is unknown or has expired")
            })
    }

    fn read(token: &Token, jwt: &str) -> Option<Session> {
        let (body, given) = jwt.rsplit_once('.')?;
        let given: [u8; 32] = URL_SAFE_NO_PAD.decode(given).ok()?.try_into().ok()?;
        if signature(token, body) != blake3::Hash::from_bytes(given) {
            return None;
        }
        let claims = URL_SAFE_NO_PAD.decode(body.split('.').nth(1)?).ok()?;
        serde_json::from_slice(&claims).ok()
    }
}

/// Only the holder of the API token can make it; comparing two takes the same time always.
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
    fn a_session_is_good_for_its_account_and_time() {
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
