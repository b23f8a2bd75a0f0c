//! The two kinds of rate limits that GitLab has, and switches for tests.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::json;

use super::response::GitlabError;
use crate::app::App;
use crate::cloudflare::auth::RequireToken;
use crate::cloudflare::body::JsonBody;

/// The number of notes that a user can create per minute
/// (<https://docs.gitlab.com/administration/settings/rate_limit_on_notes_creation/>).
const NOTES_PER_MINUTE: usize = 300;

/// The switches that tests set with `PUT /__sandbox/gitlab`. A request replaces all of them, and a
/// restart resets them.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Switches {
    /// The number of next requests that the throttle refuses.
    throttled: u32,
    /// The `Retry-After` of those, in seconds.
    retry_after: u64,
    /// The number of next new notes that the limit on notes refuses.
    notes_limited: u32,
    /// Replaces the limit on new notes per minute.
    notes_per_minute: Option<usize>,
    /// Notes that no caller may read. They take up room on a page and are left out of it.
    unreadable: Vec<u64>,
}

/// Rate limits, in memory.
#[derive(Debug, Default)]
pub struct RateLimits {
    switches: Mutex<Switches>,
    notes: Mutex<BTreeMap<u64, Vec<Instant>>>,
}

impl RateLimits {
    /// Counts a new note of a user and refuses it above the limit. Unlike the throttle, the response
    /// has no headers.
    pub fn count_note(&self, user: u64) -> Result<(), GitlabError> {
        let refusal = || {
            let text = "This endpoint has been requested too many times. Try again later.";
            Err(GitlabError::message(429, json!({ "error": text })))
        };
        let mut switches = self.switches();
        if switches.notes_limited > 0 {
            switches.notes_limited -= 1;
            return refusal();
        }
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        let times = notes.entry(user).or_default();
        times.retain(|time| time.elapsed() < Duration::from_mins(1));
        if times.len() >= switches.notes_per_minute.unwrap_or(NOTES_PER_MINUTE) {
            return refusal();
        }
        times.push(Instant::now());
        Ok(())
    }

    /// Returns whether no caller may read a note.
    #[must_use]
    pub fn is_unreadable(&self, note: u64) -> bool {
        self.switches().unreadable.contains(&note)
    }

    fn switches(&self) -> MutexGuard<'_, Switches> {
        self.switches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `PUT /__sandbox/gitlab`
pub async fn set(
    State(app): State<App>,
    _: RequireToken,
    JsonBody(switches): JsonBody<Switches>,
) -> StatusCode {
    *app.gitlab.limits.switches() = switches;
    StatusCode::NO_CONTENT
}

/// Refuses throttled requests with plain text and headers that tell when to retry
/// (<https://docs.gitlab.com/administration/settings/user_and_ip_rate_limits/>).
pub async fn throttle(State(app): State<App>, request: Request, next: Next) -> Response {
    let retry_after = {
        let mut switches = app.gitlab.limits.switches();
        let is_throttled = switches.throttled > 0;
        switches.throttled = switches.throttled.saturating_sub(1);
        is_throttled.then_some(switches.retry_after)
    };
    let Some(seconds) = retry_after else { return next.run(request).await };
    let reset = SystemTime::now() + Duration::from_secs(seconds);
    let unix = reset.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let headers = [
        ("retry-after", seconds.to_string()),
        ("ratelimit-limit", "7200".to_owned()),
        ("ratelimit-name", "throttle_authenticated_api".to_owned()),
        ("ratelimit-observed", "7201".to_owned()),
        ("ratelimit-remaining", "0".to_owned()),
        ("ratelimit-reset", unix.to_string()),
        ("ratelimit-resettime", httpdate::fmt_http_date(reset)),
    ];
    (StatusCode::TOO_MANY_REQUESTS, headers, "Retry later\n").into_response()
}
