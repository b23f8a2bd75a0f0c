//! Plays failures on request, so that tests can see what a client does about them. Kept in memory.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::{CONTENT_TYPE, USER_AGENT};
use axum::http::{HeaderName, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::app::App;
use crate::cloudflare::auth::Authorized;
use crate::cloudflare::body::Body as Given;
use crate::connection::Connection;
use crate::gate::Target;
use crate::stream;

/// A failure: which requests, how often, what happens.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Only requests with this method.
    method: Option<String>,
    /// Only requests for this host name, without the port. Without it only our own: the API.
    host: Option<String>,
    /// Only requests whose path holds this.
    path: String,
    /// Only requests of a program whose name in `User-Agent` begins with this.
    agent: Option<String>,
    /// How many of these requests are answered as they should be first.
    #[serde(default)]
    skip: u32,
    /// How often; without end when it is not there.
    times: Option<u32>,
    /// How often it has happened.
    #[serde(default, skip_deserializing)]
    taken: u32,
    /// What happens.
    action: Action,
}

/// What happens.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Action {
    /// `"hang"`, `"reset"`, `"truncate"`.
    Simple(Simple),
    /// `{"slow_ms": 500}`: the right answer, later.
    Slow {
        /// Milliseconds.
        slow_ms: u64,
    },
    /// `{"status": 503, "body": "…", "headers": {"retry-after": "1"}}`
    Answer(Answer),
}

/// What happens, without more to say.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Simple {
    /// No answer at all.
    Hang,
    /// The connection is reset instead of an answer.
    Reset,
    /// What was asked is done, but the connection breaks in the middle of the answer.
    Truncate,
}

/// An answer instead of the right one.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    status: u16,
    body: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
}

/// The failures that are asked for.
#[derive(Debug, Default)]
pub struct Faults(Mutex<Vec<Fault>>);

impl Faults {
    fn take(&self, method: &str, host: Option<&str>, path: &str, agent: &str) -> Option<Action> {
        let mut faults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fault = faults.iter_mut().find(|fault| fault.fits(method, host, path, agent))?;
        if fault.skip > 0 {
            fault.skip -= 1;
            return None;
        }
        fault.times = fault.times.map(|times| times - 1);
        fault.taken += 1;
        Some(fault.action.clone())
    }
}

impl Fault {
    fn fits(&self, method: &str, host: Option<&str>, path: &str, agent: &str) -> bool {
        self.host.as_deref() == host
            && self.times != Some(0)
            && self.method.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(method))
            && self.agent.as_ref().is_none_or(|wanted| agent.starts_with(wanted.as_str()))
            && path.contains(&self.path)
    }
}

/// `GET /__sandbox/faults`: lists those that are asked for, and how often each has happened.
pub async fn list(State(app): State<App>, _: Authorized) -> Response {
    let faults = app.faults.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Json(faults).into_response()
}

/// `POST /__sandbox/faults`: asks for these, and no others.
pub async fn set(
    State(app): State<App>,
    _: Authorized,
    Given(faults): Given<Vec<Fault>>,
) -> StatusCode {
    replace(&app, faults)
}

/// `DELETE /__sandbox/faults`
pub async fn clear(State(app): State<App>, _: Authorized) -> StatusCode {
    replace(&app, Vec::new())
}

fn replace(app: &App, faults: Vec<Fault>) -> StatusCode {
    *app.faults.0.lock().unwrap_or_else(PoisonError::into_inner) = faults;
    StatusCode::NO_CONTENT
}

/// Plays a failure when one is asked for.
pub async fn play(
    State(app): State<App>,
    ConnectInfo(connection): ConnectInfo<Connection>,
    request: Request,
    next: Next,
) -> Response {
    // Without a host of a Worker it is a request to the sandbox itself, whatever its host is.
    let site = match request.extensions().get::<Target>() {
        Some(Target::Site(host)) => Some(host.clone()),
        _ => None,
    };
    let path = request.uri().path();
    if path.starts_with("/__sandbox/") {
        return next.run(request).await;
    }
    let agent = request.headers().get(USER_AGENT).and_then(|agent| agent.to_str().ok());
    let agent = agent.unwrap_or_default();
    match app.faults.take(request.method().as_str(), site.as_deref(), path, agent) {
        None => next.run(request).await,
        Some(Action::Answer(answer)) => answered(answer),
        Some(Action::Slow { slow_ms }) => {
            tokio::time::sleep(Duration::from_millis(slow_ms)).await;
            next.run(request).await
        }
        Some(Action::Simple(Simple::Hang)) => std::future::pending().await,
        Some(Action::Simple(Simple::Reset)) => {
            connection.reset_when_closed();
            Response::new(Body::from_stream(stream::broken(None)))
        }
        Some(Action::Simple(Simple::Truncate)) => {
            let (parts, body) = next.run(request).await.into_parts();
            let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
            let half = bytes.slice(..bytes.len() / 2);
            Response::from_parts(parts, Body::from_stream(stream::broken(Some(half))))
        }
    }
}

fn answered(answer: Answer) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = answer.body.unwrap_or_else(|| {
        let error = json!({ "code": answer.status, "message": "A fault that was asked for" });
        json!({ "success": false, "errors": [error], "messages": [], "result": null }).to_string()
    });
    let mut response = (status, [(CONTENT_TYPE, "application/json")], body).into_response();
    for (name, value) in &answer.headers {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse()) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Faults {
        Faults(Mutex::new(serde_json::from_str(text).expect("faults")))
    }

    #[test]
    fn actions_have_short_forms() {
        let faults = faults(
            r#"[{"path": "/a", "action": "hang"}, {"path": "/b", "action": {"slow_ms": 5}},
                {"path": "/c", "action": {"status": 500}}]"#,
        );
        let action = |path: &str| faults.take("GET", None, path, "");
        assert!(matches!(action("/a"), Some(Action::Simple(Simple::Hang))));
        assert!(matches!(action("/b"), Some(Action::Slow { slow_ms: 5 })));
        assert!(matches!(action("/c"), Some(Action::Answer(Answer { status: 500, .. }))));
        assert!(action("/d").is_none());
        assert!(serde_json::from_str::<Action>("\"explode\"").is_err());
    }

    #[test]
    fn faults_fit_method_host_and_count() {
        let faults = faults(
            r#"[{"path": "/", "method": "post", "times": 1, "action": "reset"},
                {"path": "/", "host": "site.localhost", "action": "truncate"}]"#,
        );
        assert!(faults.take("GET", None, "/x", "a/1").is_none());
        assert!(faults.take("POST", None, "/x", "a/1").is_some());
        assert!(faults.take("POST", None, "/x", "a/1").is_none());
        assert!(faults.take("GET", Some("site.localhost"), "/x", "a/1").is_some());
        assert!(faults.take("GET", Some("other.localhost"), "/x", "a/1").is_none());
    }
    #[test]
    fn faults_fit_the_program_and_let_some_pass() {
        let faults =
            faults(r#"[{"path": "/", "agent": "a/", "skip": 2, "times": 1, "action": "reset"}]"#);
        let taken = |agent: &str| faults.take("GET", None, "/", agent).is_some();
        let asked = ["b/1", "a/1", "a/1", "b/1", "a/1", "a/1"].map(taken);
        assert_eq!(asked, [false, false, false, false, true, false]);
        assert_eq!(faults.0.lock().expect("faults")[0].taken, 1);
    }
}
