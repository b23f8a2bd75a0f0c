//! Checks who calls.

use axum::extract::{FromRequestParts, OriginalUri, Request, State};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::envelope::ApiError;
use super::session::Session;
use crate::app::App;

/// Whether a request to Cloudflare's API has the credential that its path needs.
#[must_use]
pub fn is_authorized(app: &App, path: &str, headers: &HeaderMap) -> bool {
    has_token(app, headers) || session(app, path, headers).is_ok()
}

/// Whether a request has the API token.
#[must_use]
pub fn has_token(app: &App, headers: &HeaderMap) -> bool {
    bearer(headers).is_some_and(|token| app.token.is(token))
}

/// Returns the session of an asset upload, which carries its own token instead of the account's.
fn session(app: &App, path: &str, headers: &HeaderMap) -> Result<Session, ApiError> {
    let account =
        path.strip_suffix("/workers/assets/upload").and_then(|path| path.rsplit('/').next());
    let token = bearer(headers).unwrap_or_default();
    Session::verify(&app.token, account.unwrap_or_default(), token)
}

impl FromRequestParts<App> for Session {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Session, ApiError> {
        let Ok(OriginalUri(uri)) = OriginalUri::from_request_parts(parts, app).await;
        session(app, uri.path(), &parts.headers)
    }
}

/// The extractor of requests that need the sandbox's token, for its own endpoints.
#[derive(Clone, Copy, Debug)]
pub struct Authorized;

impl FromRequestParts<App> for Authorized {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Authorized, ApiError> {
        if has_token(app, &parts.headers) {
            return Ok(Authorized);
        }
        Err(ApiError::new(403, 10_000, "the API token is needed as a bearer token"))
    }
}

/// Refuses every bearer token but ours. The refusals are those that wrangler tells apart.
pub async fn authorized(
    State(app): State<App>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    request: Request,
    next: Next,
) -> Response {
    let refusal = match bearer(&headers) {
        Some(token) if app.token.is(token) => return next.run(request).await,
        None if !headers.contains_key("authorization") => {
            let text = "Missing X-Auth-Key, X-Auth-Email or Authorization headers";
            ApiError::new(400, 9106, text)
        }
        Some(token) if !token.is_empty() && !token.contains(char::is_whitespace) => {
            if uri.path().ends_with("/tokens/verify") {
                ApiError::new(401, 1000, "Invalid API Token")
            } else {
                ApiError::authentication()
            }
        }
        _ => ApiError::new(400, 6003, "Invalid request headers")
            .because(6111, "Invalid format for Authorization header"),
    };
    refusal.into_response()
}

/// Refuses accounts that do not exist, and Workers whose state file is damaged.
pub async fn own_account(
    State(app): State<App>,
    OriginalUri(uri): OriginalUri,
    request: Request,
    next: Next,
) -> Response {
    let mut parts = uri.path().split('/').skip_while(|part| *part != "accounts").skip(1);
    let account = parts.next().filter(|account| app.accounts.iter().any(|known| known == account));
    let Some(account) = account else { return ApiError::authentication().into_response() };
    let worker = match (parts.next(), parts.next()) {
        (Some("workers"), Some("scripts" | "services" | "workers")) => parts.next(),
        _ => None,
    };
    if let Some(reason) = worker.and_then(|worker| app.store.damage(account, worker)) {
        return ApiError::new(500, 10_013, reason).into_response();
    }
    next.run(request).await
}

/// Returns the token of an `Authorization: Bearer` header.
#[must_use]
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let header = headers.get("authorization")?.to_str().ok()?;
    header.strip_prefix("Bearer ").map(str::trim)
}
