//! Reads the request bodies of authorized clients before any handler runs.

use std::pin::{Pin, pin};
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures_core::Stream;
use serde_json::json;

use crate::app::App;
use crate::gate::{RequestTarget, is_authorized};

/// The maximum size of a body in bytes. An upload has at most 50 MiB of assets, which base64 makes a third larger.
pub const MAX_BODY: usize = 100 * 1024 * 1024;

/// The maximum number of bytes to read from a discarded body.
const MAX_DISCARDED: usize = 1024 * 1024;

/// The maximum pause between two chunks of a body.
const PAUSE: Duration = Duration::from_secs(30);

/// The maximum pause between two chunks of a discarded body.
const DISCARDED_PAUSE: Duration = Duration::from_secs(5);

/// Reads the body of a request to the sandbox itself.
///
/// A response before the whole body was read closes the connection. Some clients reuse connections and send the
/// body after the headers, such as python-gitlab. Their next request would then fail. Without a credential, a
/// small body is discarded and a large one closes the connection.
pub async fn read_first(State(app): State<App>, request: Request, next: Next) -> Response {
    let is_sandbox =
        request.extensions().get::<RequestTarget>().is_some_and(RequestTarget::is_sandbox);
    if !is_sandbox {
        return next.run(request).await;
    }
    let is_authorized = is_authorized(&app, &request);
    let (parts, body) = request.into_parts();
    if !is_authorized {
        let is_read = discard(body).await;
        let response = next.run(Request::from_parts(parts, Body::empty())).await;
        return if is_read { response } else { close_connection(response) };
    }
    match collect(body).await {
        Ok(bytes) => next.run(Request::from_parts(parts, Body::from(bytes))).await,
        Err((status, text)) => close_connection(error_response(status, text)),
    }
}

/// Reads a whole body into memory. Errors if it is too large or if the client stops sending.
async fn collect(body: Body) -> Result<Bytes, (StatusCode, &'static str)> {
    let mut stream = pin!(body.into_data_stream());
    let mut bytes = Vec::new();
    while let Some(chunk) = next(stream.as_mut(), PAUSE).await {
        let chunk = chunk.map_err(|text| (StatusCode::REQUEST_TIMEOUT, text))?;
        if bytes.len() + chunk.len() > MAX_BODY {
            let text = "The request body is larger than 100 MiB";
            return Err((StatusCode::PAYLOAD_TOO_LARGE, text));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(Bytes::from(bytes))
}

/// Reads and discards a body. Returns whether it was read to its end.
async fn discard(body: Body) -> bool {
    let mut stream = pin!(body.into_data_stream());
    let mut length = 0;
    loop {
        match next(stream.as_mut(), DISCARDED_PAUSE).await {
            None => return true,
            Some(Ok(chunk)) => length += chunk.len(),
            Some(Err(_)) => return false,
        }
        if length > MAX_DISCARDED {
            return false;
        }
    }
}

/// Returns the next chunk of a body. `None` at its end.
async fn next<S>(mut stream: Pin<&mut S>, pause: Duration) -> Option<Result<Bytes, &'static str>>
where
    S: Stream<Item = Result<Bytes, axum::Error>>,
{
    let chunk = std::future::poll_fn(|context| stream.as_mut().poll_next(context));
    match tokio::time::timeout(pause, chunk).await {
        Ok(None) => None,
        Ok(Some(Ok(chunk))) => Some(Ok(chunk)),
        Ok(Some(Err(_))) => Some(Err("The request body is incomplete")),
        Err(_) => Some(Err("The request body did not arrive in time")),
    }
}

/// Makes an error response that clients of both APIs can parse.
fn error_response(status: StatusCode, text: &str) -> Response {
    let error = json!({ "code": 10_027, "message": text });
    let body = json!({ "success": false, "errors": [error], "messages": [], "result": null, "message": text });
    (status, Json(body)).into_response()
}

/// Closes the connection after a response.
fn close_connection(mut response: Response) -> Response {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}
