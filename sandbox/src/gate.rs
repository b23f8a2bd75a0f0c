//! Determines the target of a request and checks its origin, before its body is read.
//!
//! - The loopback names (`127.0.0.1`, `localhost`) reach the APIs and the page.
//! - The host of a deployed Worker reaches that Worker.
//! - Any other host reaches the APIs alone. A container, for example, calls `http://api:8787`. A web page
//!   that points its name at this machine (DNS rebinding) needs the token too.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::header::{HOST, ORIGIN, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

use crate::app::App;
use crate::cloudflare::auth;
use crate::gitlab::access;
use crate::serve::hosts::{self, HostTarget};

/// The target of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestTarget {
    /// The APIs, the page and the endpoints below `/__sandbox`, by a loopback name.
    Loopback,
    /// One of the APIs, by another host that is not a Worker's.
    Api,
    /// A deployed Worker, or the page for a missing one.
    Site(String),
}

/// An API of the sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiKind {
    /// Below `/client/v4`.
    Cloudflare,
    /// Below `/api/v4`, also after GitLab's relative root.
    Gitlab,
}

impl ApiKind {
    /// Returns the API of a path. `None` if it is not below an API.
    #[must_use]
    pub fn from_path(path: &str, gitlab_root: &str) -> Option<ApiKind> {
        let is_below = |path: &str, prefix: &str| {
            path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if is_below(path, "/client/v4") {
            return Some(ApiKind::Cloudflare);
        }
        let after_root =
            path.strip_prefix(gitlab_root).is_some_and(|path| is_below(path, "/api/v4"));
        (after_root || is_below(path, "/api/v4")).then_some(ApiKind::Gitlab)
    }
}

/// Returns the host name in the `Host` header, without its port.
#[must_use]
pub fn host(headers: &HeaderMap) -> String {
    hosts::host_name(headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default())
}

impl RequestTarget {
    /// Returns the target of a request for `path` at `host`.
    #[must_use]
    pub fn resolve(app: &App, host: String, path: &str) -> RequestTarget {
        if hosts::is_loopback(&host) {
            return RequestTarget::Loopback;
        }
        let is_api = ApiKind::from_path(path, &app.gitlab.root).is_some();
        if is_api && matches!(hosts::find(&app.store.workers(), &host), HostTarget::Unknown) {
            return RequestTarget::Api;
        }
        RequestTarget::Site(host)
    }

    /// Returns whether the request is for the sandbox itself, not for a Worker.
    #[must_use]
    pub fn is_sandbox(&self) -> bool {
        !matches!(self, RequestTarget::Site(_))
    }
}

/// Sets the target of a request for all later layers. Refuses requests from the web pages of other origins.
pub async fn enter(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let target = RequestTarget::resolve(&app, host(request.headers()), request.uri().path());
    let is_sandbox = target.is_sandbox();
    if is_sandbox && is_foreign(request.headers()) {
        let text =
            "The sandbox refuses requests from other web pages: the `Origin` is not the sandbox";
        let error = json!({ "code": 10_000, "message": text });
        let body = json!({ "success": false, "errors": [error], "messages": [], "result": null, "message": text });
        return protect((StatusCode::FORBIDDEN, Json(body)).into_response());
    }
    request.extensions_mut().insert(target);
    let response = next.run(request).await;
    if is_sandbox { protect(response) } else { response }
}

/// Returns whether a browser sent the request for a web page of another origin.
fn is_foreign(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(ORIGIN) else { return false };
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let origin = origin.to_str().ok().and_then(|origin| origin.strip_prefix("http://"));
    let is_same = origin.is_some_and(|origin| origin.eq_ignore_ascii_case(host));
    !is_same || !hosts::is_loopback(&hosts::host_name(host))
}

/// Adds headers that prevent other origins from reading or framing a response.
fn protect(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    let policy = HeaderName::from_static("cross-origin-resource-policy");
    headers.insert(policy, HeaderValue::from_static("same-origin"));
    response
}

/// Returns whether a request has the credential for its path, so that its body may be read.
#[must_use]
pub fn is_authorized(app: &App, request: &Request) -> bool {
    let (path, headers) = (request.uri().path(), request.headers());
    match ApiKind::from_path(path, &app.gitlab.root) {
        Some(ApiKind::Cloudflare) => {
            auth::is_authorized(app, path, headers) || app.links.authorizes(request.uri())
        }
        Some(ApiKind::Gitlab) => access::is_authorized(app, request.method(), path, headers),
        None => auth::has_token(app, headers),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_belong_to_apis() {
        for (path, root, expected) in [
            ("/client/v4", "", Some(ApiKind::Cloudflare)),
            ("/client/v4/user", "", Some(ApiKind::Cloudflare)),
            ("/client/v44/user", "", None),
            ("/api/v4/user", "", Some(ApiKind::Gitlab)),
            ("/api/v4/user", "/gitlab", Some(ApiKind::Gitlab)),
            ("/gitlab/api/v4/user", "/gitlab", Some(ApiKind::Gitlab)),
            ("/gitlab/api/v4/user", "", None),
            ("/", "", None),
            ("/x/client/v4/user", "", None),
        ] {
            assert_eq!(ApiKind::from_path(path, root), expected, "{path} {root}");
        }
    }

    #[test]
    fn origins_are_foreign_unless_they_are_the_sandbox() {
        for (host, origin, expected) in [
            ("127.0.0.1:8787", None, false),
            ("127.0.0.1:8787", Some("http://127.0.0.1:8787"), false),
            ("localhost:9000", Some("http://localhost:9000"), false),
            ("127.0.0.1:8787", Some("http://localhost:8787"), true),
            ("127.0.0.1:8787", Some("http://127.0.0.1:3000"), true),
            ("127.0.0.1:8787", Some("http://site.localhost:8787"), true),
            ("127.0.0.1:8787", Some("null"), true),
            ("evil.example:8787", Some("http://evil.example:8787"), true),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::from_static(host));
            if let Some(origin) = origin {
                headers.insert(ORIGIN, HeaderValue::from_static(origin));
            }
            assert_eq!(is_foreign(&headers), expected, "{host} {origin:?}");
        }
    }
}
