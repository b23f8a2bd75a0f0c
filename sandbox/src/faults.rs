//! Failures on request, so that tests can see what a client does about them. Kept in memory.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Json, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;

use crate::app::App;
use crate::cloudflare::bearer;

/// A failure: which requests, how often, what happens.
#[derive(Clone, Debug, Deserialize)]
pub struct Fault {
    /// Only requests with this method.
    method: Option<String>,
    /// Only requests whose path contains this.
    path: String,
    /// How often; without end when it is not there.
    times: Option<u32>,
    /// What happens.
    action: Action,
}

/// What happens instead of, or before, the answer.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// This status, body and headers.
    Answer {
        /// The status.
        status: u16,
        /// The body.
        #[serde(default)]
        body: String,
        /// The headers.
        #[serde(default)]
        headers: std::collections::BTreeMap<String, String>,
    },
    /// No answer at all.
    Hang,
    /// The right answer, later.
    SlowMs(u64),
    /// The right answer's beginning, then the connection breaks.
    Truncate,
}

/// The failures that are asked for.
#[derive(Debug, Default)]
pub struct Faults(Mutex<Vec<Fault>>);

impl Faults {
    fn take(&self, request: &Request) -> Option<Action> {
        let mut faults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |fault: &Fault| {
            fault.method.as_ref().is_none_or(|method| method == request.method().as_str())
                && request.uri().path().contains(&fault.path)
                && fault.times != Some(0)
        };
        let fault = faults.iter_mut().find(|fault| fits(fault))?;
        fault.times = fault.times.map(|times| times - 1);
        Some(fault.action.clone())
    }
}

/// `POST /__sandbox/faults`
pub async fn set(
    State(app): State<App>,
    headers: HeaderMap,
    Json(faults): Json<Vec<Fault>>,
) -> StatusCode {
    replace(&app, &headers, faults)
}

/// `DELETE /__sandbox/faults`
pub async fn clear(State(app): State<App>, headers: HeaderMap) -> StatusCode {
    replace(&app, &headers, Vec::new())
}

fn replace(app: &App, headers: &HeaderMap, faults: Vec<Fault>) -> StatusCode {
    if !bearer(headers).is_some_and(|token| app.token.is(token)) {
        return StatusCode::FORBIDDEN;
    }
    *app.faults.0.lock().unwrap_or_else(PoisonError::into_inner) = faults;
    StatusCode::NO_CONTENT
}

/// Plays a failure when one is asked for.
pub async fn play(State(app): State<App>, request: Request, next: Next) -> Response {
    match app.faults.take(&request) {
        None => next.run(request).await,
        Some(Action::Answer { status, body, headers }) => {
            let mut answer = body.into_response();
            *answer.status_mut() =
                StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            for (name, value) in &headers {
                if let (Ok(name), Ok(value)) =
                    (name.parse::<axum::http::HeaderName>(), value.parse())
                {
                    answer.headers_mut().insert(name, value);
                }
            }
            answer
        }
        Some(Action::Hang) => std::future::pending().await,
        Some(Action::SlowMs(milliseconds)) => {
            tokio::time::sleep(Duration::from_millis(milliseconds)).await;
            next.run(request).await
        }
        Some(Action::Truncate) => truncated(next.run(request).await).await,
    }
}

async fn truncated(answer: Response) -> Response {
    let (parts, body) = answer.into_parts();
    let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    let half = bytes.slice(..bytes.len() / 2);
    let chunks =
        [Ok::<Bytes, std::io::Error>(half), Err(std::io::Error::other("a fault was asked for"))];
    Response::from_parts(parts, Body::from_stream(Chunks(chunks.into_iter())))
}

/// A stream over what is there already.
struct Chunks<I>(I);

impl<I: Iterator + Unpin> futures_core::Stream for Chunks<I> {
    type Item = I::Item;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<I::Item>> {
        std::task::Poll::Ready(self.0.next())
    }
}
