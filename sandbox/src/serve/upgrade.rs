//! Joins connections that stop being HTTP: WebSockets.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CONNECTION, UPGRADE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;

use super::runtime::Loaded;

/// The protocol that a request wants to switch to, and its connection.
pub struct Upgrade {
    protocol: HeaderValue,
    connection: OnUpgrade,
}

impl Upgrade {
    /// Takes it from a request that wants a WebSocket. `None` for other requests, such as offers of HTTP/2.
    pub fn take(request: &mut Request) -> Option<Upgrade> {
        let protocol = request.headers().get(UPGRADE)?.clone();
        let websocket = protocol.as_bytes().eq_ignore_ascii_case(b"websocket");
        websocket.then(|| Upgrade { protocol, connection: hyper::upgrade::on(request) })
    }

    /// Adds the headers that ask workerd for the same.
    pub fn ask(&self, headers: &mut HeaderMap) {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, self.protocol.clone());
    }

    /// Hands on workerd's answer, and joins the two connections for as long as they last.
    pub fn join(self, answer: reqwest::Response, loaded: Arc<Loaded>) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        *response.headers_mut() = answer.headers().clone();
        tokio::spawn(async move {
            if let (Ok(ours), Ok(mut theirs)) = tokio::join!(self.connection, answer.upgrade()) {
                // Either end may hang up at any time.
                let _ended = copy_bidirectional(&mut TokioIo::new(ours), &mut theirs).await;
            }
            drop(loaded);
        });
        response
    }
}
