//! Zones: every name that is asked for is one.

use axum::extract::{Path, Query, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::envelope::list as listed;
use crate::app::App;

/// The zone that is looked for.
#[derive(Debug, Deserialize)]
pub struct Wanted {
    name: Option<String>,
}

/// `GET /zones?name=…`
pub async fn list(State(app): State<App>, Query(wanted): Query<Wanted>) -> Response {
    let zone = |name: String| {
        let id = &blake3::hash(name.as_bytes()).to_hex()[..32];
        json!({ "id": id, "name": name, "status": "active", "account": { "id": app.accounts.first() } })
    };
    listed(&wanted.name.map(zone).into_iter().collect::<Vec<Value>>())
}

/// `GET /zones/{zone}/workers/routes`: the routes of all Workers, since a zone is any name.
pub async fn routes(State(app): State<App>, Path(_zone): Path<String>) -> Response {
    let mut routes: Vec<Value> = Vec::new();
    for worker in app.store.workers() {
        for route in worker.routes.as_array().into_iter().flatten() {
            if let Some(pattern) = route["pattern"].as_str() {
                let id = &blake3::hash(pattern.as_bytes()).to_hex()[..32];
                routes.push(json!({ "id": id, "pattern": pattern, "script": worker.name }));
            }
        }
    }
    listed(&routes)
}
