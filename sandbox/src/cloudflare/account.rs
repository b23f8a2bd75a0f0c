//! Who the token belongs to, and what the account has.

use axum::extract::{Path, State};
use axum::response::Response;
use serde_json::{Value, json};

use super::envelope::{ApiError, ApiResult, list, ok};
use crate::app::{App, SUBDOMAIN};

/// The id of the one user.
pub const USER: &str = "5a4db0c5a4db0c5a4db0c5a4db0c5a4d";

/// The address of the one user.
pub const EMAIL: &str = "you@sandbox.localhost";

/// `GET /user/tokens/verify`: the token is one of a user.
pub async fn verify() -> Response {
    ok(&json!({ "id": USER, "status": "active" }))
}

/// `GET /accounts/{account}/tokens/verify`: the token is not one of the account.
pub async fn verify_own() -> ApiResult {
    Err(ApiError::new(401, 1000, "Invalid API Token"))
}

/// `GET /user`
pub async fn user() -> Response {
    ok(&json!({ "id": USER, "email": EMAIL }))
}

/// `GET /accounts`
pub async fn accounts(State(app): State<App>) -> Response {
    list(&app.accounts.iter().map(|id| account(id)).collect::<Vec<_>>())
}

/// `GET /memberships`
pub async fn memberships(State(app): State<App>) -> Response {
    let entry = |id: &String| json!({ "id": id, "account": account(id) });
    list(&app.accounts.iter().map(entry).collect::<Vec<_>>())
}

fn account(id: &str) -> Value {
    json!({ "id": id, "name": "Sandbox", "type": "standard" })
}

/// `GET|PUT /accounts/{account}/workers/subdomain`
pub async fn subdomain() -> Response {
    ok(&json!({ "subdomain": SUBDOMAIN }))
}

/// `GET /accounts/{account}/r2/buckets`
pub async fn buckets() -> Response {
    ok(&json!({ "buckets": [] }))
}

/// `GET /accounts/{account}/r2/buckets/{bucket}`: every bucket exists, as wrangler asks before it
/// binds one.
pub async fn bucket(Path((_account, name)): Path<(String, String)>) -> Response {
    ok(&json!({ "name": name, "location": "WEUR", "storage_class": "Standard" }))
}

/// `GET /accounts/{account}/d1/database/{database}`: every database exists.
pub async fn database(Path((_account, id)): Path<(String, String)>) -> Response {
    ok(&json!({ "uuid": id, "name": id, "version": "production" }))
}
