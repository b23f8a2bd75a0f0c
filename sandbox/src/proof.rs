//! Proves to a client that this server is the sandbox, before the client sends it a token.
//!
//! A client reads the port from `server.json`. The sandbox may have stopped since, and another program
//! may listen on that port now. Therefore the client sends a nonce. Only a program that has the secret in
//! the state folder can compute the HMAC of the nonce. The message includes the port, so that another
//! server cannot forward the response of a real sandbox.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use camino::Utf8Path;
use ring::hmac;
use serde_json::json;

use crate::app::App;
use crate::ids::hex;
use crate::token::Token;

/// The file with the secret, below the state folder.
pub const FILE: &str = "identity";

/// The secret that proves the identity of the sandbox. It grants no access.
pub struct SandboxIdentity(hmac::Key);

impl SandboxIdentity {
    /// Reads the secret from the state folder. Creates one if it is missing.
    pub fn load(state: &Utf8Path) -> anyhow::Result<SandboxIdentity> {
        let secret = Token::from_file(&state.join(FILE), "")?;
        Ok(SandboxIdentity(hmac::Key::new(hmac::HMAC_SHA256, secret.text().as_bytes())))
    }

    /// Returns the proof for a nonce. xtask computes the same value.
    #[must_use]
    pub fn proof(&self, port: u16, nonce: &str) -> String {
        let message = format!("sandbox-proof-1:{port}:{nonce}");
        hex(hmac::sign(&self.0, message.as_bytes()).as_ref())
    }
}

/// `GET /__sandbox/proof/{nonce}`. Needs no token.
pub async fn prove(State(app): State<App>, Path(nonce): Path<String>) -> Response {
    let is_nonce =
        (32..=128).contains(&nonce.len()) && nonce.bytes().all(|b| b.is_ascii_hexdigit());
    if !is_nonce {
        let text = "the nonce must be 32 to 128 hexadecimal digits";
        return (StatusCode::BAD_REQUEST, Json(json!({ "message": text }))).into_response();
    }
    let proof = app.identity.proof(app.port, &nonce);
    Json(json!({ "schema": 1, "pid": std::process::id(), "proof": proof })).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_depends_on_secret_port_and_nonce() {
        let identity =
            |secret: &str| SandboxIdentity(hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()));
        let nonce = "00".repeat(16);
        let right = identity("secret").proof(8787, &nonce);
        // Computed with Python's `hmac`.
        assert_eq!(right, "dd0f57c3d4ccbc7c53a99c82494bedb6158dbfe8117c0a21b6f503c9c525f630");
        assert_ne!(right, identity("other").proof(8787, &nonce));
        assert_ne!(right, identity("secret").proof(8788, &nonce));
        assert_ne!(right, identity("secret").proof(8787, &"01".repeat(16)));
    }
}
