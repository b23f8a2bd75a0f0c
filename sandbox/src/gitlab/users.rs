//! Whose token it is, and what answers.

use axum::extract::State;
use serde_json::{Value, json};

use super::answer::{Answer, ok};
use super::model::User;
use super::tokens::{Caller, Kind};
use crate::app::App;

/// The version that the stand-in claims to be.
const VERSION: &str = "18.6.0";

/// A user as other documents hold one.
#[must_use]
pub fn basic(app: &App, user: &User) -> Value {
    json!({
        "id": user.id, "username": user.username, "name": user.name, "state": "active",
        "locked": false, "avatar_url": null, "web_url": format!("{}/{}", origin(app), user.username),
    })
}

/// The address of the instance.
#[must_use]
pub fn origin(app: &App) -> String {
    format!("http://127.0.0.1:{}{}", app.port, app.gitlab.root)
}

/// `GET /user`
pub async fn user(State(app): State<App>, caller: Caller) -> Answer {
    let mut user = basic(&app, &caller.user);
    user["bot"] = json!(caller.kind == Kind::Project);
    user["email"] = json!(format!("{}@sandbox.localhost", caller.user.username));
    user["can_create_project"] = json!(false);
    user["two_factor_enabled"] = json!(false);
    Ok(ok(user))
}

/// `GET /personal_access_tokens/self`
pub async fn token(caller: Caller) -> Answer {
    let scope = if caller.kind == Kind::ReadApi { "read_api" } else { "api" };
    Ok(ok(json!({
        "id": caller.user.id, "name": "sandbox", "description": null, "revoked": false,
        "created_at": "2026-01-01T00:00:00.000Z", "scopes": [scope], "user_id": caller.user.id,
        "last_used_at": null, "active": true, "expires_at": null,
    })))
}

/// `GET /version` and `GET /metadata`
pub async fn version(State(app): State<App>, _: Caller) -> Answer {
    Ok(ok(json!({
        "version": VERSION, "revision": "sandbox", "enterprise": false,
        "kas": { "enabled": false, "externalUrl": null, "version": null },
        "external_url": origin(&app),
    })))
}
