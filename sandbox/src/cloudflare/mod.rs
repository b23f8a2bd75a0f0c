//! The part of Cloudflare's API that wrangler 4.164 calls to deploy, to look and to roll back.

pub mod account;
pub mod assets;
pub mod auth;
pub mod body;
pub mod deployments;
pub mod domains;
pub mod envelope;
mod handlers;
pub mod metadata;
pub mod previews;
pub mod secrets;
pub mod session;
pub mod settings;
pub mod upload;
pub mod versions;
pub mod workers;
pub mod zones;

use axum::Router;
use axum::extract::{OriginalUri, Path};
use axum::http::Method;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get, patch, post, put};

use crate::app::App;
use envelope::{ApiError, list, ok};

/// The routes below `/client/v4`.
pub fn routes(app: &App) -> Router<App> {
    let script = Router::new()
        .route("/", put(upload::put_script).delete(workers::delete))
        .route("/assets-upload-session", post(assets::open_session))
        .route("/deployments", get(deployments::list).post(deployments::create))
        .route("/deployments/{deployment}", get(deployments::view))
        .route("/versions", get(versions::list).post(upload::post_version))
        .route("/versions/{version}", get(versions::view))
        .route("/settings", get(settings::bindings).patch(settings::patch))
        .route("/script-settings", get(settings::script).patch(settings::patch))
        .route("/subdomain", get(settings::subdomain).post(settings::set_subdomain))
        .route("/domains/changeset", post(domains::changes))
        .route("/domains/records", get(domains::records).put(domains::set))
        .route("/routes", get(settings::routes).put(settings::set_routes))
        .route("/schedules", get(settings::schedules).put(settings::set_schedules))
        .route("/secrets", get(secrets::list).put(secrets::put))
        .route("/secrets/{secret}", get(secrets::view).delete(secrets::delete))
        .route("/secrets-bulk", patch(secrets::bulk))
        .route("/references", get(workers::references))
        .route("/usage-model", get(settings::script))
        .fallback(unknown)
        .method_not_allowed_fallback(unknown);
    let service = Router::new()
        .route("/", get(workers::environment))
        .route("/bindings", get(workers::environment_bindings))
        .route("/routes", get(workers::environment_routes))
        .route("/subdomain", get(workers::environment_subdomain));
    let previews = Router::new()
        .route("/", get(previews::list).post(previews::create))
        .route("/{preview}", get(previews::view).patch(previews::patch).delete(previews::delete))
        .route("/{preview}/deployments", get(previews::deployments).post(previews::deploy))
        .route("/{preview}/deployments/{deployment}", get(previews::deployment));
    let account = Router::new()
        .route("/tokens/verify", get(account::verify_own))
        .route("/workers/services/{worker}", get(workers::service).delete(workers::delete))
        .nest("/workers/services/{worker}/environments/{environment}", service)
        .nest("/workers/scripts/{worker}", script)
        .route("/workers/scripts", get(workers::list))
        .route("/workers/workers", post(previews::create_worker))
        .route("/workers/workers/{worker}", get(workers::worker))
        .nest("/workers/workers/{worker}/previews", previews)
        .route("/workers/workers/{worker}/versions/latest", patch(secrets::patch_latest))
        .route("/workers/subdomain", get(account::subdomain).put(account::subdomain))
        .route("/workers/domains", get(domains::list))
        .route("/workers/domains/records", get(domains::all))
        .route("/workers/domains/records/{id}", get(domains::record))
        .route("/workers/tails/by-consumer/{worker}", get(empty))
        .route("/workers/durable_objects/namespaces", get(empty))
        .route("/storage/kv/namespaces", get(empty))
        .route("/r2/buckets", get(account::buckets))
        .route("/r2/buckets/{bucket}", get(account::bucket))
        .route("/d1/database", get(empty))
        .route("/d1/database/{database}", get(account::database))
        .fallback(unknown)
        .method_not_allowed_fallback(unknown)
        .layer(from_fn_with_state(app.clone(), auth::own_account));
    Router::new()
        .nest("/accounts/{account}", account)
        .route("/accounts", get(account::accounts))
        .route("/user", get(account::user))
        .route("/user/tokens/verify", get(account::verify))
        .route("/memberships", get(account::memberships))
        .route("/zones", get(zones::list))
        .route("/zones/{zone}/workers/routes", get(zones::routes))
        .fallback(any(unknown))
        .method_not_allowed_fallback(unknown)
        .layer(from_fn_with_state(app.clone(), auth::authorized))
        // The one call that carries its session's token instead of the account's.
        .route("/accounts/{account}/workers/assets/upload", post(assets::upload))
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

/// The path parameters of most routes: account and Worker.
pub type Place = Path<(String, String)>;

/// An acknowledgement without content.
#[must_use]
pub fn done() -> Response {
    ok(&serde_json::Value::Null)
}
