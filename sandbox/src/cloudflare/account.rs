//! Reads the user and the accounts of the token, and the settings of an account.

use axum::extract::{Path, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::{JsonBody, Query};
use super::envelope::{ApiResult, CloudflareError, list_page, ok};
use super::paging::Page;
use crate::app::{App, SUBDOMAIN};
use crate::state::resources::Resources;

/// The usage models of Workers. The first two belong to earlier plans.
const USAGE_MODELS: [&str; 3] = ["bundled", "unbound", "standard"];

/// The id of the one user.
pub const USER: &str = "5a4db0c5a4db0c5a4db0c5a4db0c5a4d";

/// The email address of the one user.
pub const EMAIL: &str = "you@sandbox.localhost";

/// `GET /user/tokens/verify`. Succeeds, because the token belongs to a user.
pub async fn verify() -> Response {
    ok(&json!({ "id": USER, "status": "active" }))
}

/// `GET /accounts/{account}/tokens/verify`. Fails, because the token does not belong to an account.
pub async fn verify_account() -> ApiResult {
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

/// The settings of Workers in an account. The sandbox stores them and ignores them otherwise.
#[derive(Debug, Deserialize)]
pub struct AccountSettings {
    default_usage_model: Option<String>,
    green_compute: Option<bool>,
}

fn settings_json(resources: &Resources) -> Value {
    let mut settings = json!({ "default_usage_model": "standard", "green_compute": false });
    for (name, value) in &resources.account_settings {
        settings[name] = value.clone();
    }
    settings
}

/// `GET /accounts/{account}/workers/account-settings`
pub async fn settings(State(app): State<App>, Path(account): Path<String>) -> ApiResult {
    Ok(ok(&settings_json(&*app.store.resources.get(&account)?)))
}

/// `PUT /accounts/{account}/workers/account-settings`
pub async fn set_settings(
    State(app): State<App>,
    Path(account): Path<String>,
    JsonBody(fields): JsonBody<AccountSettings>,
) -> ApiResult {
    let model = fields.default_usage_model;
    if model.as_ref().is_some_and(|model| !USAGE_MODELS.contains(&model.as_str())) {
        return Err(CloudflareError::invalid("default_usage_model is not a usage model"));
    }
    let changed = [
        ("default_usage_model", model.map(Value::from)),
        ("green_compute", fields.green_compute.map(Value::from)),
    ];
    let settings = tokio::task::block_in_place(|| {
        app.store.resources.change(&account, |resources| {
            for (name, value) in changed {
                if let Some(value) = value {
                    resources.account_settings.insert(name.to_owned(), value);
                }
            }
            Ok::<_, CloudflareError>(settings_json(resources))
        })
    })?;
    Ok(ok(&settings))
}

/// `GET /accounts/{account}/workers/subdomain`
pub async fn subdomain() -> Response {
    ok(&json!({ "subdomain": SUBDOMAIN }))
}

/// The body of a new subdomain.
#[derive(Debug, Deserialize)]
pub struct SubdomainFields {
    subdomain: String,
}

/// `PUT /accounts/{account}/workers/subdomain`. The subdomain of the sandbox cannot be changed.
pub async fn set_subdomain(JsonBody(fields): JsonBody<SubdomainFields>) -> ApiResult {
    if fields.subdomain == SUBDOMAIN {
        return Ok(subdomain().await);
    }
    let text =
        format!("The workers.dev subdomain of the sandbox is `{SUBDOMAIN}` and cannot be changed");
    Err(CloudflareError::new(409, 10_036, &text))
}
