//! Limits requests like GitLab: a throttle, and a limit on new notes. Tests control both.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
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
use crate::mutex::lock;

/// The number of notes that a user can create per minute
/// (<https://docs.gitlab.com/administration/settings/rate_limit_on_notes_creation/>).
const NOTES_PER_MINUTE: usize = 300;

/// The settings that tests change with `PUT /__sandbox/gitlab`. A request replaces all of them, and a
/// restart resets them.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TestSettings {
    /// The number of the next requests that the throttle refuses.
    throttled: u32,
    /// The `Retry-After` of these responses, in seconds.
    retry_after: u64,
    /// The number of the next new notes that the limit on notes refuses.
    notes_limited: u32,
    /// Replaces the limit on new notes per minute.
    notes_per_minute: Option<usize>,
    /// The ids of notes that no caller may read. A page counts them but leaves them out.
    unreadable: Vec<u64>,
}

/// The state of the rate limits, in memory.
#[derive(Debug, Default)]
pub struct RateLimits {
    settings: Mutex<TestSettings>,
    /// The times of the new notes in the last minute, by user.
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
        let mut settings = self.settings();
        if settings.notes_limited > 0 {
            settings.notes_limited -= 1;
            return refusal();
        }
        let mut notes = lock(&self.notes);
        let times = notes.entry(user).or_default();
        times.retain(|time| time.elapsed() < Duration::from_mins(1));
        if times.len() >= settings.notes_per_minute.unwrap_or(NOTES_PER_MINUTE) {
            return refusal();
        }
        times.push(Instant::now());
        Ok(())
    }

    /// Returns whether no caller may read a note.
    #[must_use]
    pub fn is_unreadable(&self, note: u64) -> bool {
        self.settings().unreadable.contains(&note)
    }

    fn settings(&self) -> MutexGuard<'_, TestSettings> {
        lock(&self.settings)
    }
}

/// `PUT /__sandbox/gitlab`
pub async fn set(
    State(app): State<App>,
    _: RequireToken,
    JsonBody(settings): JsonBody<TestSettings>,
) -> StatusCode {
    *app.gitlab.limits.settings() = settings;
    StatusCode::NO_CONTENT
}

/// Refuses throttled requests with plain text, and with headers that contain the time of a retry
/// (<https://docs.gitlab.com/administration/settings/user_and_ip_rate_limits/>).
pub async fn throttle(State(app): State<App>, request: Request, next: Next) -> Response {
    let retry_after = {
        let mut settings = app.gitlab.limits.settings();
        let is_throttled = settings.throttled > 0;
        settings.throttled = settings.throttled.saturating_sub(1);
        is_throttled.then_some(settings.retry_after)
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
