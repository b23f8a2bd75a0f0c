//! Decides where a request goes, and what must hold before anything of it is read.
//!
//! - Our own hosts (`127.0.0.1`, `localhost`) reach the APIs and the page.
//! - The host of a deployed Worker reaches that Worker.
//! - Any other host reaches the APIs alone. A container, for example, calls `http://api:8787`. A page
//!   that points its own name at this machine (DNS rebinding) gets no further than the token.

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
use crate::serve::hosts::{self, Found};

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The APIs, the page and our own endpoints.
    Own,
    /// One of the APIs, by a host that is not ours.
    Api,
    /// A deployed Worker, or the page that says that there is none.
    Site(String),
}

/// An API of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// Below `/client/v4`.
    Cloudflare,
    /// Below `/api/v4`, or below that of GitLab's relative root.
    Gitlab,
}

impl Api {
    /// Returns the API that a path belongs to. `None` if it belongs to none.
    #[must_use]
    pub fn of(path: &str, gitlab_root: &str) -> Option<Api> {
        let below = |path: &str, prefix: &str| {
            path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if below(path, "/client/v4") {
            return Some(Api::Cloudflare);
        }
        let rooted = path.strip_prefix(gitlab_root).is_some_and(|path| below(path, "/api/v4"));
        (rooted || below(path, "/api/v4")).then_some(Api::Gitlab)
    }
}

/// Returns the host name in the `Host` header, without its port.
#[must_use]
pub fn host(headers: &HeaderMap) -> String {
    hosts::name(headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default())
}

impl Target {
    /// Decides where a request for `path` of `host` goes.
    #[must_use]
    pub fn of(app: &App, host: String, path: &str) -> Target {
        if hosts::is_own(&host) {
            return Target::Own;
        }
        let is_api = Api::of(path, &app.gitlab.root).is_some();
        if is_api && matches!(hosts::find(&app.store.workers(), &host), Found::Nothing) {
            return Target::Api;
        }
        Target::Site(host)
    }

    /// Whether the request is for the sandbox itself, and not for a Worker.
    #[must_use]
    pub fn is_sandbox(&self) -> bool {
        !matches!(self, Target::Site(_))
    }
}

/// Decides the target once for all later layers, and refuses requests of foreign web pages.
pub async fn enter(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let target = Target::of(&app, host(request.headers()), request.uri().path());
    let is_sandbox = target.is_sandbox();
    if is_sandbox && is_foreign(request.headers()) {
        let text = "The sandbox takes no requests from other web pages: the Origin is not its own";
        let error = json!({ "code": 10_000, "message": text });
        let body = json!({ "success": false, "errors": [error], "messages": [], "result": null, "message": text });
        return protect((StatusCode::FORBIDDEN, Json(body)).into_response());
    }
    request.extensions_mut().insert(target);
    let answer = next.run(request).await;
    if is_sandbox { protect(answer) } else { answer }
}

/// Whether a browser sent the request for a page of another origin.
fn is_foreign(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(ORIGIN) else { return false };
    let own = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let same = origin.to_str().ok().and_then(|origin| origin.strip_prefix("http://"));
    !same.is_some_and(|same| same.eq_ignore_ascii_case(own) && hosts::is_own(&hosts::name(own)))
}

/// Keeps other origins from reading, guessing at or framing an answer of ours.
fn protect(mut answer: Response) -> Response {
    let headers = answer.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    let policy = HeaderName::from_static("cross-origin-resource-policy");
    headers.insert(policy, HeaderValue::from_static("same-origin"));
    answer
}

/// Whether the request has a credential that opens what it asks for, so that its body may be read.
#[must_use]
pub fn is_authorized(app: &App, request: &Request) -> bool {
    let (path, headers) = (request.uri().path(), request.headers());
    match Api::of(path, &app.gitlab.root) {
        Some(Api::Cloudflare) => {
            auth::is_authorized(app, path, headers) || app.links.opens(request.uri())
        }
        Some(Api::Gitlab) => access::is_authorized(app, request.method(), path, headers),
        None => auth::has_token(app, headers),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_belong_to_apis() {
        for (path, root, wanted) in [
            ("/client/v4", "", Some(Api::Cloudflare)),
            ("/client/v4/user", "", Some(Api::Cloudflare)),
            ("/client/v44/user", "", None),
            ("/api/v4/user", "", Some(Api::Gitlab)),
            ("/api/v4/user", "/gitlab", Some(Api::Gitlab)),
            ("/gitlab/api/v4/user", "/gitlab", Some(Api::Gitlab)),
            ("/gitlab/api/v4/user", "", None),
            ("/", "", None),
            ("/x/client/v4/user", "", None),
        ] {
            assert_eq!(Api::of(path, root), wanted, "{path} {root}");
        }
    }

    #[test]
    fn origins_are_foreign_unless_they_are_our_own() {
        for (host, origin, wanted) in [
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
            assert_eq!(is_foreign(&headers), wanted, "{host} {origin:?}");
        }
    }
}
