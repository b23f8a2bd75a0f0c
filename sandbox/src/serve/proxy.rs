//! Hands a request to workerd and its answer back, streaming both.

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CONNECTION, HOST, TRANSFER_ENCODING, UPGRADE};
use axum::http::{HeaderMap, Method};
use axum::response::Response;

use super::{bindings, missing};
use crate::app::App;
use crate::log;
use crate::state::model::{Version, Worker};

/// Headers that are about one connection.
const HOP_BY_HOP: [&str; 8] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Answers `request` from `version`. The Worker sees the public host in its URL.
pub async fn forward(
    app: &App,
    host: &str,
    worker: &Worker,
    version: &Version,
    request: Request,
) -> Response {
    if let Err(reason) = bindings::env(version) {
        return missing::cannot_run(&worker.name, &reason);
    }
    let (parts, body) = request.into_parts();
    // A request without a body can be sent again when the runtime was just reloading.
    let repeatable = matches!(parts.method, Method::GET | Method::HEAD);
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let headers = headers(&parts.headers, host, app.port, &version.id);
    let mut body = Some(body);
    let mut reason = String::new();
    for attempt in 0..3 {
        let port = match app.runtime.port(&app.store.blobs, worker, version).await {
            Ok(port) => port,
            Err(error) => return missing::broken(&worker.name, &format!("{error:#}")),
        };
        let url = format!("http://127.0.0.1:{port}{path}");
        let mut upstream = client().request(parts.method.clone(), url).headers(headers.clone());
        if !repeatable && let Some(body) = body.take() {
            upstream = upstream.body(reqwest::Body::wrap_stream(body.into_data_stream()));
        }
        match upstream.send().await {
            Ok(answer) if answer.status().as_u16() != 599 => return answered(answer),
            Ok(_) => "the runtime had not loaded it".clone_into(&mut reason),
            Err(error) => reason = format!("{error:#}"),
        }
        if !repeatable {
            break;
        }
        log::line(&format!("{}: attempt {attempt} failed: {reason}", worker.name));
        app.runtime.restart().await;
    }
    missing::broken(&worker.name, &reason)
}

fn headers(given: &HeaderMap, host: &str, port: u16, version: &str) -> HeaderMap {
    let mut headers = given.clone();
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
    headers.remove(HOST);
    let public = format!("{host}:{port}");
    for (name, value) in [("x-sandbox-version", version), ("x-sandbox-host", public.as_str())] {
        if let Ok(value) = value.parse() {
            headers.insert(name, value);
        }
    }
    headers
}

fn answered(answer: reqwest::Response) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = answer.status();
    for (name, value) in answer.headers() {
        if ![CONNECTION, TRANSFER_ENCODING, UPGRADE].contains(name) {
            response.headers_mut().append(name, value.clone());
        }
    }
    *response.body_mut() = Body::from_stream(answer.bytes_stream());
    response
}

/// One client for all requests. Redirects are the browser's to follow, and no proxy stands between
/// us and the loopback address.
fn client() -> &'static reqwest::Client {
    static CLIENT: std::sync::OnceLock<reqwest::Client> = std::sync::OnceLock::new();
    CLIENT.get_or_init(|| {
        let builder =
            reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy();
        builder.build().unwrap_or_default()
    })
}
