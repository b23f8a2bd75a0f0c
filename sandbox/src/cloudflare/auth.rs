//! Authenticates the callers of Cloudflare's API.

use axum::extract::{FromRequestParts, OriginalUri, Request, State};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::envelope::CloudflareError;
use super::session::Session;
use crate::app::App;

/// Returns whether a request to Cloudflare's API has the credential that its path needs.
#[must_use]
pub fn is_authorized(app: &App, path: &str, headers: &HeaderMap) -> bool {
    has_token(app, headers) || session(app, path, headers).is_ok()
}

/// Returns whether a request has the API token.
#[must_use]
pub fn has_token(app: &App, headers: &HeaderMap) -> bool {
    bearer(headers).is_some_and(|token| app.token.matches(token))
}

/// Returns the session of an asset upload. Its request has the session's token instead of the API token.
fn session(app: &App, path: &str, headers: &HeaderMap) -> Result<Session, CloudflareError> {
    let account =
        path.strip_suffix("/workers/assets/upload").and_then(|path| path.rsplit('/').next());
    let token = bearer(headers).unwrap_or_default();
    Session::verify(&app.token, account.unwrap_or_default(), token)
}

impl FromRequestParts<App> for Session {
    type Rejection = CloudflareError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Session, CloudflareError> {
        let Ok(OriginalUri(uri)) = OriginalUri::from_request_parts(parts, app).await;
        session(app, uri.path(), &parts.headers)
    }
}

/// The extractor that refuses requests without the API token, for the endpoints below `/__sandbox`.
#[derive(Clone, Copy, Debug)]
pub struct RequireToken;

impl FromRequestParts<App> for RequireToken {
    type Rejection = CloudflareError;

    async fn from_request_parts(
        parts: &mut Parts,
        app: &App,
    ) -> Result<RequireToken, CloudflareError> {
        if has_token(app, &parts.headers) {
            return Ok(RequireToken);
        }
        Err(CloudflareError::new(403, 10_000, "the API token is needed as a bearer token"))
    }
}

/// Refuses requests without the API token, with the error codes that wrangler distinguishes.
pub async fn authenticate(
    State(app): State<App>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    request: Request,
    next: Next,
) -> Response {
    let refusal = match bearer(&headers) {
        Some(token) if app.token.matches(token) => return next.run(request).await,
        None if !headers.contains_key("authorization") => {
            let text = "Missing X-Auth-Key, X-Auth-Email or Authorization headers";
            CloudflareError::new(400, 9106, text)
        }
        Some(token) if !token.is_empty() && !token.contains(char::is_whitespace) => {
            if uri.path().ends_with("/tokens/verify") {
                CloudflareError::new(401, 1000, "Invalid API Token")
            } else {
                CloudflareError::authentication()
            }
        }
        _ => CloudflareError::new(400, 6003, "Invalid request headers")
            .because(6111, "Invalid format for Authorization header"),
    };
    refusal.into_response()
}

/// Refuses accounts that do not exist, and Workers whose state file is damaged.
pub async fn check_account(
    State(app): State<App>,
    OriginalUri(uri): OriginalUri,
    request: Request,
    next: Next,
) -> Response {
    let mut parts = uri.path().split('/').skip_while(|part| *part != "accounts").skip(1);
    let account = parts.next().filter(|account| app.accounts.iter().any(|known| known == account));
    let Some(account) = account else { return CloudflareError::authentication().into_response() };
    let worker = match (parts.next(), parts.next()) {
        (Some("workers"), Some("scripts" | "services" | "workers")) => parts.next(),
        _ => None,
    };
    if let Some(reason) = worker.and_then(|worker| app.store.damage(account, worker)) {
        return CloudflareError::new(500, 10_013, reason).into_response();
    }
    next.run(request).await
}

/// Returns the token of an `Authorization: Bearer` header.
#[must_use]
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let header = headers.get("authorization")?.to_str().ok()?;
    header.strip_prefix("Bearer ").map(str::trim)
}
