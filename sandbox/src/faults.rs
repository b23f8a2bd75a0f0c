//! Injects faults into requests, for tests. The faults are stored in memory.

use std::collections::BTreeMap;
use std::sync::Mutex;
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
use crate::cloudflare::auth::RequireToken;
use crate::cloudflare::body::JsonBody;
use crate::connection::Connection;
use crate::gate::RequestTarget;
use crate::mutex::lock;
use crate::stream;

/// A fault: the conditions for requests, the number of requests to fail, and the effect.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// The method of the requests. `None` means all.
    method: Option<String>,
    /// The host name of the requests, without the port. `None` means requests that are not for a Worker.
    host: Option<String>,
    /// A text in the path of the requests.
    path: String,
    /// The beginning of the `User-Agent` of the requests. `None` means all.
    agent: Option<String>,
    /// The number of matching requests that succeed first.
    #[serde(default)]
    skip: u32,
    /// The number of requests that will still fail. `None` means all.
    times: Option<u32>,
    /// The number of requests that have failed.
    #[serde(default, skip_deserializing)]
    taken: u32,
    /// The effect.
    action: FaultAction,
}

/// The effect of a fault.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(untagged)]
pub enum FaultAction {
    /// `"hang"`, `"reset"`, `"truncate"`.
    Simple(SimpleAction),
    /// `{"slow_ms": 500}`: the normal response, delayed.
    Slow {
        /// The delay in milliseconds.
        slow_ms: u64,
    },
    /// `{"status": 503, "body": "…", "headers": {"retry-after": "1"}}`
    Response(FaultResponse),
}

/// An effect without parameters.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SimpleAction {
    /// No response.
    Hang,
    /// The connection is reset without a response.
    Reset,
    /// The request is executed, but the connection is closed in the middle of the response.
    Truncate,
}

/// A response that replaces the normal one.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FaultResponse {
    status: u16,
    body: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
}

/// The configured faults.
#[derive(Debug, Default)]
pub struct Faults(Mutex<Vec<Fault>>);

impl Faults {
    /// Returns the effect of the first fault that matches a request, and counts the request.
    fn take(
        &self,
        method: &str,
        host: Option<&str>,
        path: &str,
        agent: &str,
    ) -> Option<FaultAction> {
        let mut faults = lock(&self.0);
        let fault = faults.iter_mut().find(|fault| fault.matches(method, host, path, agent))?;
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
    fn matches(&self, method: &str, host: Option<&str>, path: &str, agent: &str) -> bool {
        self.host.as_deref() == host
            && self.times != Some(0)
            && self.method.as_ref().is_none_or(|expected| expected.eq_ignore_ascii_case(method))
            && self.agent.as_ref().is_none_or(|expected| agent.starts_with(expected.as_str()))
            && path.contains(&self.path)
    }
}

/// `GET /__sandbox/faults`: lists the faults with their counters.
pub async fn list(State(app): State<App>, _: RequireToken) -> Response {
    let faults = lock(&app.faults.0).clone();
    Json(faults).into_response()
}

/// `POST /__sandbox/faults`: replaces all faults.
pub async fn set(
    State(app): State<App>,
    _: RequireToken,
    JsonBody(faults): JsonBody<Vec<Fault>>,
) -> StatusCode {
    replace(&app, faults)
}

/// `DELETE /__sandbox/faults`: removes all faults.
pub async fn clear(State(app): State<App>, _: RequireToken) -> StatusCode {
    replace(&app, Vec::new())
}

fn replace(app: &App, faults: Vec<Fault>) -> StatusCode {
    *lock(&app.faults.0) = faults;
    StatusCode::NO_CONTENT
}

/// Injects a fault if one matches the request.
pub async fn inject(
    State(app): State<App>,
    ConnectInfo(connection): ConnectInfo<Connection>,
    request: Request,
    next: Next,
) -> Response {
    let worker_host = match request.extensions().get::<RequestTarget>() {
        Some(RequestTarget::Site(host)) => Some(host.clone()),
        _ => None,
    };
    let path = request.uri().path();
    if path.starts_with("/__sandbox/") {
        return next.run(request).await;
    }
    let agent = request.headers().get(USER_AGENT).and_then(|agent| agent.to_str().ok());
    let agent = agent.unwrap_or_default();
    match app.faults.take(request.method().as_str(), worker_host.as_deref(), path, agent) {
        None => next.run(request).await,
        Some(FaultAction::Response(fault)) => fault_response(fault),
        Some(FaultAction::Slow { slow_ms }) => {
            tokio::time::sleep(Duration::from_millis(slow_ms)).await;
            next.run(request).await
        }
        Some(FaultAction::Simple(SimpleAction::Hang)) => std::future::pending().await,
        Some(FaultAction::Simple(SimpleAction::Reset)) => {
            connection.reset_when_closed();
            Response::new(Body::from_stream(stream::abort_after(None)))
        }
        Some(FaultAction::Simple(SimpleAction::Truncate)) => {
            let (parts, body) = next.run(request).await.into_parts();
            let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
            let half = bytes.slice(..bytes.len() / 2);
            Response::from_parts(parts, Body::from_stream(stream::abort_after(Some(half))))
        }
    }
}

fn fault_response(fault: FaultResponse) -> Response {
    let status = StatusCode::from_u16(fault.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = fault.body.unwrap_or_else(|| {
        let error =
            json!({ "code": fault.status, "message": "This fault was injected for a test" });
        json!({ "success": false, "errors": [error], "messages": [], "result": null }).to_string()
    });
    let mut response = (status, [(CONTENT_TYPE, "application/json")], body).into_response();
    for (name, value) in &fault.headers {
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
        assert!(matches!(action("/a"), Some(FaultAction::Simple(SimpleAction::Hang))));
        assert!(matches!(action("/b"), Some(FaultAction::Slow { slow_ms: 5 })));
        assert!(matches!(
            action("/c"),
            Some(FaultAction::Response(FaultResponse { status: 500, .. }))
        ));
        assert!(action("/d").is_none());
        assert!(serde_json::from_str::<FaultAction>("\"explode\"").is_err());
    }

    #[test]
    fn faults_match_method_host_and_count() {
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
    fn faults_match_the_program_and_skip_some_requests() {
        let faults =
            faults(r#"[{"path": "/", "agent": "a/", "skip": 2, "times": 1, "action": "reset"}]"#);
        let fails = |agent: &str| faults.take("GET", None, "/", agent).is_some();
        let results = ["b/1", "a/1", "a/1", "b/1", "a/1", "a/1"].map(fails);
        assert_eq!(results, [false, false, false, false, true, false]);
        assert_eq!(faults.0.lock().expect("faults")[0].taken, 1);
    }
}
