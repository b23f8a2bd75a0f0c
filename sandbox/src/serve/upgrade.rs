//! Connects the WebSockets of clients to workerd.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CONNECTION, UPGRADE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;

use super::runtime::LoadedGroup;

/// The protocol that a request switches to, and its connection.
pub struct ProtocolUpgrade {
    protocol: HeaderValue,
    connection: OnUpgrade,
}

impl ProtocolUpgrade {
    /// Takes the upgrade of a WebSocket request. `None` for other requests, such as those that offer HTTP/2.
    pub fn take(request: &mut Request) -> Option<ProtocolUpgrade> {
        let protocol = request.headers().get(UPGRADE)?.clone();
        let is_websocket = protocol.as_bytes().eq_ignore_ascii_case(b"websocket");
        is_websocket.then(|| ProtocolUpgrade { protocol, connection: hyper::upgrade::on(request) })
    }

    /// Adds the headers that request the same upgrade from workerd.
    pub fn add_headers(&self, headers: &mut HeaderMap) {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, self.protocol.clone());
    }

    /// Forwards workerd's response and connects the two streams until one ends.
    pub fn join(self, upstream: reqwest::Response, loaded: Arc<LoadedGroup>) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        *response.headers_mut() = upstream.headers().clone();
        tokio::spawn(async move {
            if let (Ok(client), Ok(mut workerd)) = tokio::join!(self.connection, upstream.upgrade())
            {
                // Either side may close at any time.
                let _ended = copy_bidirectional(&mut TokioIo::new(client), &mut workerd).await;
            }
            drop(loaded);
        });
        response
    }
}
