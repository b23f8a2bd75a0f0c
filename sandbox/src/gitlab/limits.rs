//! Rate limits, of both kinds that GitLab has, and what tests may turn on.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::json;

use super::answer::Refusal;
use crate::app::App;
use crate::cloudflare::auth::Authorized;
use crate::cloudflare::body::Body as Given;

/// How many notes one user can make in a minute
/// (<https://docs.gitlab.com/administration/settings/rate_limit_on_notes_creation/>).
const NOTES_PER_MINUTE: usize = 300;

/// What tests turn on, with `PUT /__sandbox/gitlab`. It replaces what was on, and a restart ends it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Switches {
    /// How many of the next requests the throttle refuses.
    throttled: u32,
    /// The `Retry-After` of those, in seconds.
    retry_after: u64,
    /// How many of the next new notes the limit on notes refuses.
    notes_limited: u32,
    /// Another limit on new notes in a minute.
    notes_per_minute: Option<usize>,
    /// Notes that nobody may read: they take up room on a page and are not on it.
    unreadable: Vec<u64>,
}

/// Rate limits, in memory.
#[derive(Debug, Default)]
pub struct Limits {
    switches: Mutex<Switches>,
    notes: Mutex<BTreeMap<u64, Vec<Instant>>>,
}

impl Limits {
    /// Counts a new note of a user, and refuses one too many: without any header, unlike the
    /// throttle.
    pub fn note(&self, user: u64) -> Result<(), Refusal> {
        let refusal = || {
            let text = "This endpoint has been requested too many times. Try again later.";
            Err(Refusal::message(429, json!({ "error": text })))
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

    /// Whether nobody may read a note.
    #[must_use]
    pub fn unreadable(&self, note: u64) -> bool {
        self.switches().unreadable.contains(&note)
    }

    fn switches(&self) -> MutexGuard<'_, Switches> {
        self.switches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `PUT /__sandbox/gitlab`
pub async fn set(
    State(app): State<App>,
    _: Authorized,
    Given(switches): Given<Switches>,
) -> StatusCode {
    *app.gitlab.limits.switches() = switches;
    StatusCode::NO_CONTENT
}

/// The request throttle: plain text, and headers that say when to come back
/// (<https://docs.gitlab.com/administration/settings/user_and_ip_rate_limits/>).
pub async fn throttle(State(app): State<App>, request: Request, next: Next) -> Response {
    let refused = {
        let mut switches = app.gitlab.limits.switches();
        let refused = switches.throttled > 0;
        switches.throttled = switches.throttled.saturating_sub(1);
        refused.then_some(switches.retry_after)
    };
    let Some(seconds) = refused else { return next.run(request).await };
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
