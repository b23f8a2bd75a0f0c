//! Reads the user and the accounts of the token.

use axum::extract::{Path, State};
use axum::response::Response;
use serde_json::{Value, json};

use super::body::Query;
use super::envelope::{ApiResult, CloudflareError, list_page, ok};
use super::versions::Page;
use crate::app::{App, SUBDOMAIN};

/// The id of the one user.
pub const USER: &str = "5a4db0c5a4db0c5a4db0c5a4db0c5a4d";

/// The address of the one user.
pub const EMAIL: &str = "you@sandbox.localhost";

/// `GET /user/tokens/verify`. Succeeds, because the token belongs to a user.
pub async fn verify() -> Response {
    ok(&json!({ "id": USER, "status": "active" }))
}

/// `GET /accounts/{account}/tokens/verify`. Fails, because the token does not belong to an account.
pub async fn verify_own() -> ApiResult {
    Err(CloudflareError::new(401, 1000, "Invalid API Token"))
}

/// `GET /user`
pub async fn user() -> Response {
    ok(&json!({
        "id": USER, "email": EMAIL, "first_name": null, "last_name": null, "suspended": false,
        "two_factor_authentication_enabled": false, "two_factor_authentication_locked": false,
        "has_pro_zones": false, "has_business_zones": false, "has_enterprise_zones": false,
        "organizations": [], "betas": [], "country": null, "telephone": null, "zipcode": null,
    }))
}

/// `GET /accounts`
pub async fn accounts(State(app): State<App>, Query(page): Query<Page>) -> Response {
    list_page(&page, &app.accounts.iter().map(|id| account(id)).collect::<Vec<_>>())
}

/// `GET /accounts/{account}`
pub async fn view(Path(id): Path<String>) -> Response {
    ok(&account(&id))
}

/// `GET /memberships`
pub async fn memberships(State(app): State<App>, Query(page): Query<Page>) -> Response {
    let entry = |id: &String| {
        json!({ "id": id, "account": account(id), "status": "accepted", "roles": ["Administrator"],
            "policies": [], "permissions": {}, "api_access_enabled": null })
    };
    list_page(&page, &app.accounts.iter().map(entry).collect::<Vec<_>>())
}

fn account(id: &str) -> Value {
    json!({
        "id": id, "name": "Sandbox", "type": "standard", "created_on": "2026-01-01T00:00:00.000000Z",
        "settings": { "enforce_twofactor": false, "abuse_contact_email": null },
    })
}

/// `GET /accounts/{account}/workers/account-settings`
pub async fn worker_settings() -> Response {
    ok(&json!({ "default_usage_model": "standard", "green_compute": false }))
}

/// `GET|PUT /accounts/{account}/workers/subdomain`
pub async fn subdomain() -> Response {
    ok(&json!({ "subdomain": SUBDOMAIN }))
}
