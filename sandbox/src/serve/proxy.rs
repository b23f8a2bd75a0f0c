//! Hands a request to workerd and its answer back, streaming both.

use std::sync::{Arc, OnceLock};

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;

use super::runtime::Loaded;
use super::upgrade::Upgrade;
use super::{bindings, missing};
use crate::app::App;
use crate::log;
use crate::state::model::{Version, Worker};
use crate::stream;

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

/// How often a version is loaded for one request.
const ATTEMPTS: usize = 3;

/// Answers `request` from `version`. The Worker sees the host that was asked for.
pub async fn forward(
    app: &App,
    worker: &Worker,
    version: &Version,
    mut request: Request,
) -> Response {
    if let Err(reason) = bindings::env(version) {
        return missing::cannot_run(&worker.name, &reason);
    }
    let upgrade = Upgrade::take(&mut request);
    let (mut parts, body) = request.into_parts();
    strip(&mut parts.headers);
    if let Some(upgrade) = &upgrade {
        upgrade.ask(&mut parts.headers);
    }
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    // A body can be sent only once; it has not been when no connection could be made.
    let mut body = Some(body);
    let mut reason = String::new();
    for _ in 0..ATTEMPTS {
        let loaded = match app.runtime.load(&app.store.blobs, worker, version).await {
            Ok(loaded) => loaded,
            Err(error) => return missing::broken(&worker.name, &format!("{error:#}")),
        };
        let url = format!("http://127.0.0.1:{}{path}", loaded.port);
        let mut upstream = client().request(parts.method.clone(), url);
        upstream = upstream.headers(parts.headers.clone());
        let repeatable = matches!(parts.method, Method::GET | Method::HEAD);
        if !repeatable && let Some(body) = body.take() {
            upstream = upstream.body(reqwest::Body::wrap_stream(body.into_data_stream()));
        }
        match upstream.send().await {
            Ok(answer) => return answered(answer, upgrade, loaded),
            Err(error) => reason = format!("{:#}", anyhow::Error::from(error.without_url())),
        }
        log::line(&format!("{} {}: no answer: {reason}", worker.name, version.id));
        app.runtime.forget(&version.id).await;
        if !repeatable {
            break;
        }
    }
    missing::broken(&worker.name, &reason)
}

/// Removes what is about the connection, and what would give orders to miniflare.
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

/// The answer, which keeps the version loaded until its last byte.
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

/// One client for all requests. Redirects are the browser's to follow, and no proxy stands between
/// us and the loopback address.
pub fn client() -> &'static reqwest::Client {
    static CLIENT: OnceLock<reqwest::Client> = OnceLock::new();
    CLIENT.get_or_init(|| {
        let builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            // workerd may close what it has not heard from for a while.
            .pool_idle_timeout(std::time::Duration::from_secs(2));
        builder.build().unwrap_or_default()
    })
}
