//! The part of Cloudflare's API that wrangler 4.164 calls to deploy, to look and to roll back.

pub mod account;
pub mod assets;
pub mod deployments;
pub mod envelope;
pub mod metadata;
pub mod secrets;
pub mod settings;
pub mod upload;
pub mod versions;
pub mod workers;

use axum::Router;
use axum::extract::{OriginalUri, Path, Request, State};
use axum::http::{HeaderMap, Method};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, delete, get, patch, post, put};

use crate::app::App;
use envelope::{ApiError, list, ok};

/// The routes below `/client/v4`.
pub fn routes(app: &App) -> Router<App> {
    let script = Router::new()
        .route("/", put(upload::put_script).delete(workers::delete_service))
        .route("/assets-upload-session", post(assets::open_session))
        .route("/deployments", get(deployments::list).post(deployments::create))
        .route("/versions", get(versions::list).post(upload::post_version))
        .route("/versions/{version}", get(versions::view))
        .route("/settings", get(settings::bindings).patch(settings::patch_settings))
        .route("/script-settings", get(settings::script_settings).patch(settings::patch_settings))
        .route("/subdomain", get(settings::subdomain).post(settings::set_subdomain))
        .route("/domains/changeset", post(settings::domain_changes))
        .route("/domains/records", get(settings::domain_records).put(settings::set_domains))
        .route("/routes", get(settings::routes).put(settings::set_routes))
        .route("/schedules", get(settings::schedules).put(settings::set_schedules))
        .route("/secrets", get(secrets::list).put(secrets::put))
        .route("/secrets/{secret}", delete(secrets::delete))
        .route("/secrets-bulk", patch(secrets::bulk))
        .route("/references", get(workers::references))
        .route("/usage-model", get(settings::script_settings));
    let account = Router::new()
        .route("/workers/services/{worker}", get(workers::service).delete(workers::delete_service))
        .route("/workers/services/{worker}/environments/{environment}", get(workers::service))
        .nest("/workers/scripts/{worker}", script)
        .route("/workers/scripts", get(workers::list))
        .route("/workers/workers/{worker}", get(workers::worker))
        .route("/workers/workers/{worker}/versions/latest", patch(secrets::patch_latest))
        .route("/workers/subdomain", get(account::subdomain).put(account::subdomain))
        .route("/workers/tails/by-consumer/{worker}", get(empty))
        .route("/workers/durable_objects/namespaces", get(empty))
        .route("/storage/kv/namespaces", get(empty))
        .route("/r2/buckets", get(empty))
        .route("/d1/database", get(empty))
        .fallback(unknown)
        .layer(from_fn_with_state(app.clone(), own_account));
    Router::new()
        .nest("/accounts/{account}", account)
        .route("/accounts", get(account::accounts))
        .route("/user", get(account::user))
        .route("/user/tokens/verify", get(account::verify))
        .route("/memberships", get(account::memberships))
        .route("/zones", get(empty))
        .fallback(any(unknown))
        .layer(from_fn_with_state(app.clone(), authorized))
        // The one call that carries its session's token instead of the account's.
        .route("/accounts/{account}/workers/assets/upload", post(assets::upload))
}

/// The bearer token must be ours.
async fn authorized(
    State(app): State<App>,
    headers: HeaderMap,
    request: Request,
    next: Next,
) -> Response {
    match bearer(&headers) {
        Some(token) if app.token.is(token) => next.run(request).await,
        Some(token) if !token.is_empty() && !token.contains(char::is_whitespace) => {
            if request.uri().path().ends_with("/user/tokens/verify") {
                return ApiError::new(401, 1000, "Invalid API Token").into_response();
            }
            ApiError::authentication().into_response()
        }
        Some(_) => ApiError::new(400, 6003, "Invalid request headers")
            .because(6111, "Invalid format for Authorization header")
            .into_response(),
        None => {
            ApiError::new(400, 9106, "Missing X-Auth-Key, X-Auth-Email or Authorization headers")
                .into_response()
        }
    }
}

/// The account must exist.
async fn own_account(
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
    headers.get("authorization")?.to_str().ok()?.strip_prefix("Bearer ").map(str::trim)
}

async fn empty() -> Response {
    list(&[] as &[()])
}

async fn unknown(method: Method, OriginalUri(uri): OriginalUri) -> Response {
    let path = uri.path();
    crate::log::line(&format!("not in the sandbox: {method} {path}"));
    ApiError::new(501, 7000, &format!("The sandbox has no route for {method} {path}"))
        .into_response()
}

/// The path parameters of most routes.
pub type Place = Path<(String, String)>;

/// An acknowledgement without content.
#[must_use]
pub fn done() -> Response {
    ok(&serde_json::Value::Null)
}
