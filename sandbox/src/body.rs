//! Request bodies, read before anybody answers.

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use crate::serve::hosts;
use crate::server::{LARGEST_BODY, host};

/// Reads the body of a request to one of our APIs. An answer that comes before the body was read, as
/// a refusal does, ends the connection without a word; a client that sends the body after the head
/// and keeps its connections, such as python-gitlab, then loses its next request.
pub async fn read_first(request: Request, next: Next) -> Response {
    if !hosts::is_own(&host(&request)) {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    match to_bytes(body, LARGEST_BODY).await {
        Ok(bytes) => next.run(Request::from_parts(parts, Body::from(bytes))).await,
        Err(_) => StatusCode::PAYLOAD_TOO_LARGE.into_response(),
    }
}
