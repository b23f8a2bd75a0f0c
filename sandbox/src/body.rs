//! Reads request bodies before anything answers, and only those of authorized clients.

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
use crate::gate::{Target, is_authorized};

/// The largest body. A multipart upload holds at most 50 MiB of assets, a third more as base64.
pub const LARGEST: usize = 100 * 1024 * 1024;

/// The most that is read, and thrown away, of a body that nobody will look at.
const DISCARDED: usize = 1024 * 1024;

/// The longest pause of a client within a body.
const PAUSE: Duration = Duration::from_secs(30);

/// The same within a body that is thrown away.
const DISCARDED_PAUSE: Duration = Duration::from_secs(5);

/// Reads the body of a request to the sandbox itself.
///
/// A response that comes before the body was read ends the connection. A client that sends the body
/// after the head and keeps its connections, such as python-gitlab, then loses its next request.
/// Without a credential nothing is kept: a small body is thrown away, a large one ends the connection.
pub async fn read_first(State(app): State<App>, request: Request, next: Next) -> Response {
    let is_sandbox = request.extensions().get::<Target>().is_some_and(Target::is_sandbox);
    if !is_sandbox {
        return next.run(request).await;
    }
    let is_authorized = is_authorized(&app, &request);
    let (parts, body) = request.into_parts();
    if !is_authorized {
        let is_read = discard(body).await;
        let answer = next.run(Request::from_parts(parts, Body::empty())).await;
        return if is_read { answer } else { closing(answer) };
    }
    match collect(body).await {
        Ok(bytes) => next.run(Request::from_parts(parts, Body::from(bytes))).await,
        Err((status, text)) => closing(refusal(status, text)),
    }
}

/// Collects a body.
async fn collect(body: Body) -> Result<Bytes, (StatusCode, &'static str)> {
    let mut stream = pin!(body.into_data_stream());
    let mut bytes = Vec::new();
    while let Some(chunk) = next(stream.as_mut(), PAUSE).await {
        let chunk = chunk.map_err(|text| (StatusCode::REQUEST_TIMEOUT, text))?;
        if bytes.len() + chunk.len() > LARGEST {
            let text = "The request body is larger than 100 MiB";
            return Err((StatusCode::PAYLOAD_TOO_LARGE, text));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(Bytes::from(bytes))
}

/// Throws a body away. Returns whether all of it was read.
async fn discard(body: Body) -> bool {
    let mut stream = pin!(body.into_data_stream());
    let mut length = 0;
    loop {
        match next(stream.as_mut(), DISCARDED_PAUSE).await {
            None => return true,
            Some(Ok(chunk)) => length += chunk.len(),
            Some(Err(_)) => return false,
        }
        if length > DISCARDED {
            return false;
        }
    }
}

/// The next part of a body. `None` at its end.
async fn next<S>(mut stream: Pin<&mut S>, pause: Duration) -> Option<Result<Bytes, &'static str>>
where
    S: Stream<Item = Result<Bytes, axum::Error>>,
{
    let chunk = std::future::poll_fn(|context| stream.as_mut().poll_next(context));
    match tokio::time::timeout(pause, chunk).await {
        Ok(None) => None,
        Ok(Some(Ok(chunk))) => Some(Ok(chunk)),
        Ok(Some(Err(_))) => Some(Err("The request body broke off")),
        Err(_) => Some(Err("The request body did not arrive in time")),
    }
}

/// A refusal that clients of both APIs can read.
fn refusal(status: StatusCode, text: &str) -> Response {
    let error = json!({ "code": 10_027, "message": text });
    let body = json!({ "success": false, "errors": [error], "messages": [], "result": null, "message": text });
    (status, Json(body)).into_response()
}

/// Ends the connection after this answer.
fn closing(mut answer: Response) -> Response {
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}
