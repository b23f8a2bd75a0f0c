//! Who may call.

use axum::extract::{OriginalUri, Request, State};
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::envelope::ApiError;
use crate::app::App;

/// The bearer token must be ours. The refusals are those that wrangler tells apart.
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

/// The account must exist.
pub async fn own_account(
    State(app): State<App>,
    OriginalUri(uri): OriginalUri,
    request: Request,
    next: Next,
) -> Response {
    let account = uri.path().split('/').skip_while(|part| *part != "accounts").nth(1);
    match account {
        Some(account) if app.accounts.iter().any(|known| known == account) => {
            next.run(request).await
        }
        _ => ApiError::authentication().into_response(),
    }
}

/// The token of an `Authorization: Bearer` header.
#[must_use]
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let header = headers.get("authorization")?.to_str().ok()?;
    header.strip_prefix("Bearer ").map(str::trim)
}
