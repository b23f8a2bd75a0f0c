//! Reads the user and the token of the caller, and the version of GitLab.

use axum::extract::State;
use serde_json::{Value, json};

use super::fields::RequestFields;
use super::model::StoredUser;
use super::response::{GitlabResult, ok_response};
use super::tokens::{Caller, TokenKind};
use crate::app::App;

/// The version of GitLab that the stand-in reports.
const VERSION: &str = "18.6.0";

/// Returns a user in the format of a nested object.
#[must_use]
pub fn user_json(app: &App, user: &StoredUser) -> Value {
    json!({
        "id": user.id, "username": user.username, "name": user.name, "state": "active",
        "locked": false, "avatar_url": null, "web_url": format!("{}/{}", instance_url(app), user.username),
    })
}

/// Returns the URL of the instance.
#[must_use]
pub fn instance_url(app: &App) -> String {
    format!("http://127.0.0.1:{}{}", app.port, app.gitlab.root)
}

/// `GET /user`
pub async fn user(State(app): State<App>, caller: Caller, fields: RequestFields) -> GitlabResult {
    fields.require_known(&[])?;
    let mut user = user_json(&app, &caller.user);
    user["bot"] = json!(caller.kind == TokenKind::Project);
    user["email"] = json!(format!("{}@sandbox.localhost", caller.user.username));
    user["can_create_project"] = json!(false);
    user["two_factor_enabled"] = json!(false);
    Ok(ok_response(user))
}

/// `GET /personal_access_tokens/self`
pub async fn token(caller: Caller, fields: RequestFields) -> GitlabResult {
    fields.require_known(&[])?;
    let scope = if caller.kind == TokenKind::ReadApi { "read_api" } else { "api" };
    Ok(ok_response(json!({
        "id": caller.user.id, "name": "sandbox", "description": null, "revoked": false,
        "created_at": "2026-01-01T00:00:00.000Z", "scopes": [scope], "user_id": caller.user.id,
        "last_used_at": null, "active": true, "expires_at": null,
    })))
}

/// `GET /version` and `GET /metadata`
pub async fn version(State(app): State<App>, _: Caller, fields: RequestFields) -> GitlabResult {
    fields.require_known(&[])?;
    Ok(ok_response(json!({
        "version": VERSION, "revision": "sandbox", "enterprise": false,
        "kas": { "enabled": false, "externalUrl": null, "version": null },
        "external_url": instance_url(&app),
    })))
}
