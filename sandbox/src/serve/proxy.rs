//! Hands a request to workerd and its answer back, streaming both.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::ACCEPT;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};

use super::bindings::NO_LOCAL_FORM;
use super::group::Node;
use super::missing;
use super::output::Exception;
use super::runtime::Loaded;
use super::upgrade::Upgrade;
use crate::app::App;
use crate::ids::{hex, random};
use crate::log;
use crate::stream;

/// The header with the id of a request, as Cloudflare names it.
const RAY: &str = "cf-ray";

/// The paths that miniflare keeps for itself.
const LOCAL: &str = "/cdn-cgi/local/";

/// Headers that are about one connection (RFC 9110, 7.6.1), and what asks for them.
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The number of times that a group is loaded for one request.
const ATTEMPTS: usize = 3;

/// The header by which the runtime learns which member of the group a request is for.
pub const MEMBER: &str = "mf-sandbox-member";

/// The header in which the runtime reports an exception that the Worker did not catch.
const ERROR: &str = "mf-sandbox-error";

/// The time that the report of an exception may take to follow the answer.
const REPORT_TIMEOUT: Duration = Duration::from_secs(2);

/// Answers `request` from a version. The Worker sees the host that was asked for.
pub async fn forward(app: &App, node: &Node, mut request: Request) -> Response {
    let upgrade = Upgrade::take(&mut request);
    let (mut parts, body) = request.into_parts();
    strip(&mut parts.headers);
    if let Some(upgrade) = &upgrade {
        upgrade.ask(&mut parts.headers);
    }
    let ray = hex(&random::<8>());
    let name = node.name();
    for (header, value) in [(MEMBER, name.as_str()), (RAY, &ray)] {
        if let Ok(value) = HeaderValue::from_str(value) {
            parts.headers.insert(header, value);
        }
    }
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    if path.starts_with(LOCAL) {
        // miniflare would answer there for itself. Cloudflare has no such address.
        return StatusCode::NOT_FOUND.into_response();
    }
    // A body can be sent only once. It was not sent if no connection could be made.
    let mut body = Some(body);
    let mut reason = String::new();
    for _ in 0..ATTEMPTS {
        let loaded = match app.runtime.load(&app.store, node).await {
            Ok(loaded) => loaded,
            Err(error) => return missing::broken(app, &node.worker.name, &format!("{error:#}")),
        };
        let url = format!("http://127.0.0.1:{}{path}", loaded.port);
        let mut upstream = client().request(parts.method.clone(), url);
        upstream = upstream.headers(parts.headers.clone());
        let repeatable = matches!(parts.method, Method::GET | Method::HEAD);
        if !repeatable && let Some(body) = body.take() {
            upstream = upstream.body(reqwest::Body::wrap_stream(body.into_data_stream()));
        }
        match upstream.send().await {
            Ok(answer) => match exception(&answer) {
                Some(exception) => return thrown(app, node, &parts, &ray, exception).await,
                None => return answered(answer, upgrade, loaded),
            },
            Err(error) => reason = format!("{:#}", anyhow::Error::from(error.without_url())),
        }
        log::line(&format!("{} {}: no answer: {reason}", node.worker.name, node.id));
        app.runtime.forget_version(node).await;
        if !repeatable {
            break;
        }
    }
    missing::broken(app, &node.worker.name, &reason)
}

/// Returns the exception that ended a request. `None` if the Worker answered.
fn exception(answer: &reqwest::Response) -> Option<Exception> {
    let header = answer.headers().get(ERROR)?.as_bytes();
    let text = percent_encoding::percent_decode(header).decode_utf8_lossy();
    let error: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let field = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
    Some(Exception { name: field("name"), message: field("message"), stack: None, timestamp: 0 })
}

/// Answers for a Worker that threw.
async fn thrown(
    app: &App,
    node: &Node,
    parts: &Parts,
    ray: &str,
    exception: Exception,
) -> Response {
    if exception.message.contains(NO_LOCAL_FORM) {
        return missing::cannot_run(app, &node.worker.name, &exception.message);
    }
    let mut thrown = app.runtime.output.exceptions(ray, REPORT_TIMEOUT).await;
    if thrown.is_empty() {
        thrown.push((node.worker.name.clone(), exception));
    }
    let accept = parts.headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
    missing::thrown(app, &thrown, accept.is_some_and(|accept| accept.contains("text/html")))
}

/// Removes headers of the connection, and those that are orders to miniflare.
fn strip(headers: &mut HeaderMap) {
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
    let orders: Vec<_> =
        headers.keys().filter(|name| name.as_str().starts_with("mf-")).cloned().collect();
    for name in orders {
        headers.remove(name);
    }
}

/// Hands on an answer, which keeps the group loaded until its last byte.
fn answered(answer: reqwest::Response, upgrade: Option<Upgrade>, loaded: Arc<Loaded>) -> Response {
    if let Some(upgrade) = upgrade
        && answer.status() == StatusCode::SWITCHING_PROTOCOLS
    {
        return upgrade.join(answer, loaded);
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = answer.status();
    *response.headers_mut() = answer.headers().clone();
    for name in HOP_BY_HOP {
        response.headers_mut().remove(name);
    }
    *response.body_mut() = Body::from_stream(stream::holding(answer.bytes_stream(), loaded));
    response
}

/// Returns the client of all requests. It follows no redirects, because the browser does, and uses no
/// proxy for the loopback address.
pub fn client() -> &'static reqwest::Client {
    static CLIENT: OnceLock<reqwest::Client> = OnceLock::new();
    CLIENT.get_or_init(|| {
        let builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            // workerd may close a connection that is idle for a while.
            .pool_idle_timeout(Duration::from_secs(2));
        builder.build().unwrap_or_default()
    })
}
