//! Who the token belongs to.

use axum::extract::State;
use axum::response::Response;
use serde_json::json;

use super::envelope::{list, ok};
use crate::app::{App, SUBDOMAIN};

/// `GET /user/tokens/verify`
pub async fn verify() -> Response {
    ok(&json!({ "id": "5a4db0c5a4db0c5a4db0c5a4db0c5a4d", "status": "active" }))
}

/// `GET /user`
pub async fn user() -> Response {
    ok(&json!({ "id": "5a4db0c5a4db0c5a4db0c5a4db0c5a4d", "email": "you@sandbox.localhost" }))
}

/// `GET /accounts`
pub async fn accounts(State(app): State<App>) -> Response {
    let entry = |id: &String| json!({ "id": id, "name": "Sandbox", "type": "standard" });
    list(&app.accounts.iter().map(entry).collect::<Vec<_>>())
}

/// `GET /memberships`
pub async fn memberships(State(app): State<App>) -> Response {
    let entry = |id: &String| json!({ "id": id, "account": { "id": id, "name": "Sandbox" } });
    list(&app.accounts.iter().map(entry).collect::<Vec<_>>())
}

/// `GET|PUT /accounts/{account}/workers/subdomain`
pub async fn subdomain() -> Response {
    ok(&json!({ "subdomain": SUBDOMAIN }))
}
