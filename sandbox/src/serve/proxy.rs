//! Forwards a request to workerd and its response back. Streams both.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, UNIX_EPOCH};

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::ACCEPT;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};

use super::bindings::NO_LOCAL_FORM;
use super::error_pages;
use super::group::VersionNode;
use super::output::Exception;
use super::runtime::LoadedGroup;
use super::upgrade::ProtocolUpgrade;
use crate::app::App;
use crate::ids::{hex, random};
use crate::log;
use crate::stream;

/// Cloudflare's header with the id of a request.
const RAY_HEADER: &str = "cf-ray";

/// The prefix of the paths of miniflare's tools.
const LOCAL_PATHS: &str = "/cdn-cgi/local/";

/// Headers of one connection (RFC 9110, 7.6.1).
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

/// The header in which miniflare sends a line for its log. Cloudflare has no such header.
const LOG_HEADER: &str = "x-mf-additional-response-log";

/// The maximum number of attempts to load a group for one request.
const ATTEMPTS: usize = 3;

/// The header with the member of the group that serves the request.
pub const MEMBER_HEADER: &str = "mf-sandbox-member";

/// The header in which the runtime reports an exception that the Worker did not catch.
const EXCEPTION_HEADER: &str = "mf-sandbox-error";

/// The time limit for the report of an exception after the response.
const REPORT_TIMEOUT: Duration = Duration::from_secs(2);

/// Forwards `request` to a version. The Worker sees the requested host.
pub async fn forward(app: &App, node: &VersionNode, mut request: Request) -> Response {
    let upgrade = ProtocolUpgrade::take(&mut request);
    let (mut parts, body) = request.into_parts();
    strip_headers(&mut parts.headers);
    if let Some(upgrade) = &upgrade {
        upgrade.add_headers(&mut parts.headers);
    }
    let ray = hex(&random::<8>());
    let began = UNIX_EPOCH.elapsed().unwrap_or_default().as_millis();
    let began = u64::try_from(began).unwrap_or_default();
    let name = node.name();
    for (header, value) in [(MEMBER_HEADER, name.as_str()), (RAY_HEADER, &ray)] {
        if let Ok(value) = HeaderValue::from_str(value) {
            parts.headers.insert(header, value);
        }
    }
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    if path.starts_with(LOCAL_PATHS) {
        // miniflare serves its tools there. Cloudflare has no such path.
        return StatusCode::NOT_FOUND.into_response();
    }
    // A body can be sent only once, so only GET and HEAD are retried.
    let mut body = Some(body);
    let mut reason = String::new();
    for _ in 0..ATTEMPTS {
        let loaded = match app.runtime.load(&app.store, node).await {
            Ok(loaded) => loaded,
            Err(error) => {
                return error_pages::unavailable(app, &node.worker.name, &format!("{error:#}"));
            }
        };
        let url = format!("http://127.0.0.1:{}{path}", loaded.port);
        let mut builder = client().request(parts.method.clone(), url);
        builder = builder.headers(parts.headers.clone());
        let is_repeatable = matches!(parts.method, Method::GET | Method::HEAD);
        if !is_repeatable && let Some(body) = body.take() {
            builder = builder.body(reqwest::Body::wrap_stream(body.into_data_stream()));
        }
        match builder.send().await {
            Ok(response) => match exception(&response, began) {
                Some(exception) => {
                    return exception_response(app, node, &parts, &ray, exception).await;
                }
                None => return forward_response(response, upgrade, loaded),
            },
            Err(error) => reason = format!("{:#}", anyhow::Error::from(error.without_url())),
        }
        log::line(&format!("{} {}: no response: {reason}", node.worker.name, node.id));
        app.runtime.unload_version(node).await;
        if !is_repeatable {
            break;
        }
    }
    error_pages::unavailable(app, &node.worker.name, &reason)
}

/// Returns the exception that a Worker did not catch. `None` if the Worker responded. `timestamp` is the time of the
/// request in milliseconds.
fn exception(response: &reqwest::Response, timestamp: u64) -> Option<Exception> {
    let header = response.headers().get(EXCEPTION_HEADER)?.as_bytes();
    let text = percent_encoding::percent_decode(header).decode_utf8_lossy();
    let error: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let field = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
    Some(Exception { name: field("name"), message: field("message"), stack: None, timestamp })
}

/// Makes the response for an uncaught exception.
async fn exception_response(
    app: &App,
    node: &VersionNode,
    parts: &Parts,
    ray: &str,
    exception: Exception,
) -> Response {
    if exception.message.contains(NO_LOCAL_FORM) {
        return error_pages::cannot_run(app, &node.worker.name, &exception.message);
    }
    let mut exceptions = app.runtime.output.exceptions(ray, &exception, REPORT_TIMEOUT).await;
    if exceptions.is_empty() {
        exceptions.push((node.worker.name.clone(), exception));
    }
    let accept = parts.headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
    error_pages::uncaught_exceptions(
        app,
        &exceptions,
        accept.is_some_and(|accept| accept.contains("text/html")),
    )
}

/// Removes the headers of the connection and the headers that control miniflare.
fn strip_headers(headers: &mut HeaderMap) {
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
    let commands: Vec<_> =
        headers.keys().filter(|name| name.as_str().starts_with("mf-")).cloned().collect();
    for name in commands {
        headers.remove(name);
    }
}

/// Forwards a response. The group stays loaded until its last byte.
fn forward_response(
    upstream: reqwest::Response,
    upgrade: Option<ProtocolUpgrade>,
    loaded: Arc<LoadedGroup>,
) -> Response {
    if let Some(upgrade) = upgrade
        && upstream.status() == StatusCode::SWITCHING_PROTOCOLS
    {
        return upgrade.join(upstream, loaded);
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = upstream.status();
    *response.headers_mut() = upstream.headers().clone();
    for name in HOP_BY_HOP.into_iter().chain([LOG_HEADER]) {
        response.headers_mut().remove(name);
    }
    *response.body_mut() = Body::from_stream(stream::keep_alive(upstream.bytes_stream(), loaded));
    response
}

/// Returns the shared HTTP client. It leaves redirects to the browser and uses no proxy.
pub fn client() -> &'static reqwest::Client {
    static CLIENT: OnceLock<reqwest::Client> = OnceLock::new();
    CLIENT.get_or_init(|| {
        let builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            // workerd may close an idle connection.
            .pool_idle_timeout(Duration::from_secs(2));
        builder.build().unwrap_or_default()
    })
}
