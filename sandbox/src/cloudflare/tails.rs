//! Streams the invocations of a Worker to clients such as `wrangler tail`
//! (<https://developers.cloudflare.com/api/resources/workers/subresources/scripts/subresources/tail/>).

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::http::header::HOST;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;

use super::body::{OptionalJsonBody, Query};
use super::envelope::{ApiResult, CloudflareError, ok};
use super::{AccountAndName, empty_result, settings};
use crate::app::App;
use crate::ids::{random, random_id};
use crate::mutex::lock;
use crate::serve::output::Trace;

/// The WebSocket protocol of a tail.
const PROTOCOL: &str = "trace-v1";

/// The lifetime of a tail, as on Cloudflare.
const LIFETIME: Duration = Duration::from_hours(6);

/// The maximum number of tails of a Worker
/// (<https://developers.cloudflare.com/workers/observability/logs/real-time-logs/>).
const MAX_TAILS: usize = 10;

/// The tails of all Workers, in memory.
#[derive(Debug, Default)]
pub struct Tails(Mutex<Vec<Tail>>);

/// A tail of one Worker.
#[derive(Clone, Debug)]
struct Tail {
    id: String,
    /// The secret in its URL, which authorizes the client.
    key: String,
    account: String,
    worker: String,
    filters: Arc<Vec<TailFilter>>,
    expires: SystemTime,
}

/// The body of a new tail.
#[derive(Debug, Default, Deserialize)]
pub struct NewTail {
    #[serde(default)]
    filters: Vec<TailFilter>,
}

/// A condition for invocations. Wrangler sends each field as a separate filter.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TailFilter {
    sampling_rate: Option<f64>,
    outcome: Option<Vec<String>>,
    method: Option<Vec<String>>,
    header: Option<HeaderFilter>,
    client_ip: Option<Vec<String>>,
    query: Option<String>,
    #[serde(rename = "scriptVersion")]
    script_version: Option<String>,
}

/// A condition for a header of the request.
#[derive(Clone, Debug, Deserialize)]
pub struct HeaderFilter {
    key: String,
    query: Option<String>,
}

impl TailFilter {
    /// Returns whether an invocation matches. `sample` is a random number below 1.
    fn matches(&self, trace: &Trace, sample: f64) -> bool {
        let request = &trace.event["request"];
        let contains = |expected: &[String], value: &str| {
            expected.iter().any(|expected| expected.eq_ignore_ascii_case(value))
        };
        let matches_header = |filter: &HeaderFilter| {
            let value = request["headers"][filter.key.to_ascii_lowercase()].as_str();
            value.is_some_and(|value| {
                filter.query.as_ref().is_none_or(|query| value.contains(query.as_str()))
            })
        };
        // Every client of the sandbox is on this machine.
        let is_local =
            |expected: &String| ["self", "127.0.0.1", "::1"].contains(&expected.as_str());
        self.sampling_rate.is_none_or(|rate| sample < rate)
            && self.outcome.as_ref().is_none_or(|expected| contains(expected, &trace.outcome))
            && self.method.as_ref().is_none_or(|expected| {
                request["method"].as_str().is_some_and(|method| contains(expected, method))
            })
            && self.header.as_ref().is_none_or(matches_header)
            && self.client_ip.as_ref().is_none_or(|expected| expected.iter().any(is_local))
            && self.query.as_ref().is_none_or(|query| {
                trace.logs.iter().any(|line| line.text().contains(query.as_str()))
            })
            && self.script_version.as_ref().is_none_or(|expected| *expected == trace.version)
    }
}

impl Tails {
    fn lock(&self) -> MutexGuard<'_, Vec<Tail>> {
        let mut tails = lock(&self.0);
        let now = SystemTime::now();
        tails.retain(|tail| tail.expires > now);
        tails
    }

    fn find(&self, id: &str) -> Option<Tail> {
        self.lock().iter().find(|tail| tail.id == id).cloned()
    }
}

impl Tail {
    fn belongs_to(&self, account: &str, worker: &str) -> bool {
        self.account == account && self.worker == worker
    }

    fn to_json(&self, host: &str) -> Value {
        let url = format!("ws://{host}/client/v4/tails/{}?key={}", self.id, self.key);
        let expires = humantime::format_rfc3339_seconds(self.expires).to_string();
        json!({ "id": self.id, "url": url, "expires_at": expires })
    }
}

/// Returns the host and port of the sandbox from the request, because a container uses another host.
pub fn host(app: &App, headers: &HeaderMap) -> String {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    host.map_or_else(|| format!("127.0.0.1:{}", app.port), str::to_owned)
}

/// `GET …/tails`: returns the newest tail, because the types of Cloudflare's libraries have one. `null` if
/// there is none.
pub async fn list(
    State(app): State<App>,
    Path((account, name)): AccountAndName,
    headers: HeaderMap,
) -> ApiResult {
    settings::worker(&app, &account, &name)?;
    let host = host(&app, &headers);
    let tails = app.tails.lock();
    let newest = tails.iter().rfind(|tail| tail.belongs_to(&account, &name));
    Ok(ok(&newest.map(|tail| tail.to_json(&host))))
}

/// `POST …/tails`
pub async fn create(
    State(app): State<App>,
    Path((account, name)): AccountAndName,
    headers: HeaderMap,
    OptionalJsonBody(NewTail { filters }): OptionalJsonBody<NewTail>,
) -> ApiResult {
    settings::worker(&app, &account, &name)?;
    let mut tails = app.tails.lock();
    if tails.iter().filter(|tail| tail.belongs_to(&account, &name)).count() == MAX_TAILS {
        let text = format!("The Worker {name} has {MAX_TAILS} tails already; delete one first");
        return Err(CloudflareError::invalid(&text));
    }
    let tail = Tail {
        id: random_id(),
        key: random_id(),
        account,
        worker: name,
        filters: Arc::new(filters),
        expires: SystemTime::now() + LIFETIME,
    };
    let document = tail.to_json(&host(&app, &headers));
    tails.push(tail);
    Ok(ok(&document))
}

/// `DELETE …/tails/{tail}`
pub async fn delete(
    State(app): State<App>,
    Path((account, name, id)): Path<(String, String, String)>,
) -> ApiResult {
    let mut tails = app.tails.lock();
    let count = tails.len();
    tails.retain(|tail| tail.id != id || !tail.belongs_to(&account, &name));
    if tails.len() == count {
        return Err(CloudflareError::new(404, 10_009, &format!("This tail does not exist: {id}")));
    }
    Ok(empty_result())
}

/// The query of a tail's URL.
#[derive(Debug, Deserialize)]
pub struct TailKey {
    #[serde(default)]
    key: String,
}

/// `GET /client/v4/tails/{tail}`: opens the WebSocket of a tail. The key in the query authorizes it.
pub async fn stream(
    State(app): State<App>,
    Path(id): Path<String>,
    Query(TailKey { key }): Query<TailKey>,
    upgrade: WebSocketUpgrade,
) -> Result<Response, CloudflareError> {
    let tail = app.tails.find(&id).filter(|tail| tail.key == key);
    let tail = tail.ok_or_else(CloudflareError::authentication)?;
    // Subscribes before the client is connected, so that it misses no invocation.
    let traces = app.runtime.output.subscribe();
    app.runtime.begin_tail().await;
    let failed_app = app.clone();
    let upgrade = upgrade
        .protocols([PROTOCOL])
        // Wrangler sends its options without a mask.
        .accept_unmasked_frames(true)
        .on_failed_upgrade(move |_| {
            tokio::spawn(async move { failed_app.runtime.end_tail().await });
        });
    Ok(upgrade.on_upgrade(move |socket| async move {
        send(&app, &tail, socket, traces).await;
        app.runtime.end_tail().await;
    }))
}

/// Sends invocations until the client disconnects, or until the tail is deleted or expires.
async fn send(
    app: &App,
    tail: &Tail,
    mut socket: WebSocket,
    mut traces: tokio::sync::broadcast::Receiver<Arc<Trace>>,
) {
    let mut check = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            trace = traces.recv() => match trace {
                Ok(trace) if is_selected(tail, &trace) => {
                    let text = message(&trace).to_string();
                    if socket.send(Message::Text(text.into())).await.is_err() {
                        return;
                    }
                }
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            },
            // Reading the client's messages also responds to its pings.
            received = socket.recv() => if !matches!(received, Some(Ok(_))) {
                return;
            },
            _ = check.tick() => if app.tails.find(&tail.id).is_none() {
                // Without a code, wrangler would reconnect.
                let close = axum::extract::ws::CloseFrame { code: 1000, reason: "".into() };
                let _disconnected = socket.send(Message::Close(Some(close))).await;
                return;
            },
        }
    }
}

fn is_selected(tail: &Tail, trace: &Trace) -> bool {
    let sample = f64::from(u32::from_le_bytes(random::<4>())) / (f64::from(u32::MAX) + 1.0);
    // Workers of different accounts may have the same name.
    trace.worker == tail.worker
        && trace.account == tail.account
        && tail.filters.iter().all(|filter| filter.matches(trace, sample))
}

/// Returns an invocation in Cloudflare's format.
fn message(trace: &Trace) -> Value {
    let mut message = json!(trace);
    if let Some(fields) = message.as_object_mut() {
        fields.retain(|name, _| !["worker", "version", "account"].contains(&name.as_str()));
    }
    message["scriptName"] = json!(trace.worker);
    message["scriptVersion"] = json!({ "id": trace.version });
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace() -> Trace {
        serde_json::from_value(json!({
            "worker": "shop", "version": "v1", "account": "a", "outcome": "exception", "eventTimestamp": 7,
            "event": { "request": { "method": "POST", "url": "http://shop", "headers": { "x-id": "abc" } } },
            "logs": [{ "level": "log", "message": ["order", 12], "timestamp": 1 }], "truncated": false,
        }))
        .expect("a trace")
    }

    #[test]
    fn wranglers_filters_select_invocations() {
        for (filter, expected) in [
            (json!({ "sampling_rate": 0.5 }), true),
            (json!({ "sampling_rate": 0.2 }), false),
            (json!({ "outcome": ["exception", "exceededCpu"] }), true),
            (json!({ "outcome": ["ok"] }), false),
            (json!({ "method": ["get", "post"] }), true),
            (json!({ "method": ["GET"] }), false),
            (json!({ "header": { "key": "X-Id" } }), true),
            (json!({ "header": { "key": "x-id", "query": "bc" } }), true),
            (json!({ "header": { "key": "x-id", "query": "z" } }), false),
            (json!({ "header": { "key": "x-other" } }), false),
            (json!({ "client_ip": ["self"] }), true),
            (json!({ "client_ip": ["192.0.2.1"] }), false),
            (json!({ "query": "order 12" }), true),
            (json!({ "query": "invoice" }), false),
            (json!({ "scriptVersion": "v1" }), true),
            (json!({ "scriptVersion": "v2" }), false),
        ] {
            let parsed: TailFilter = serde_json::from_value(filter.clone()).expect("a filter");
            assert_eq!(parsed.matches(&trace(), 0.3), expected, "{filter}");
        }
        assert!(serde_json::from_value::<TailFilter>(json!({ "colour": "red" })).is_err());
    }

    #[test]
    fn tail_messages_have_cloudflares_fields() {
        assert_eq!(
            message(&trace()),
            json!({
                "outcome": "exception", "eventTimestamp": 7, "exceptions": [], "truncated": false,
                "event": { "request": { "method": "POST", "url": "http://shop", "headers": { "x-id": "abc" } } },
                "logs": [{ "level": "log", "message": ["order", 12], "timestamp": 1 }],
                "scriptName": "shop", "scriptVersion": { "id": "v1" },
            })
        );
    }
}
