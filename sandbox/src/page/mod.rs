//! The page for people, and the data that it shows.

use axum::Json;
use axum::extract::State;
use axum::response::{Html, IntoResponse as _, Response};
use serde_json::{Value, json};

use crate::app::App;
use crate::state::model::{Deployment, Version, Worker};

/// `GET /`
pub async fn page() -> Html<&'static str> {
    Html(include_str!("page.html"))
}

/// `GET /__sandbox/state.json`: what the page shows. No binding is in it, since some are secrets.
pub async fn state(State(app): State<App>) -> Response {
    let workers: Vec<Value> =
        app.store.workers().iter().map(|worker| shown(worker, app.port)).collect();
    Json(json!({ "schema": 1, "port": app.port, "workers": workers })).into_response()
}

fn shown(worker: &Worker, port: u16) -> Value {
    let url = |label: &str| format!("http://{label}.localhost:{port}/");
    let live = worker.live().map(|version| version.id.as_str());
    let version = |version: &Version| {
        let alias = version.annotations.get("workers/alias");
        // An alias belongs to the newest version that claims it.
        let alias =
            alias.filter(|alias| worker.alias(alias).is_some_and(|newest| newest.id == version.id));
        json!({
            "id": version.id, "number": version.number, "createdOn": version.created_on,
            "tag": version.annotations.get("workers/tag"), "message": version.annotations.get("workers/message"),
            "live": live == Some(version.id.as_str()),
            "url": worker.previews_enabled.then(|| url(&format!("{}-{}", &version.id[..8], worker.name))),
            "alias": alias,
            "aliasUrl": alias.filter(|_| worker.previews_enabled).map(|alias| url(&format!("{alias}-{}", worker.name))),
            "assets": version.assets.as_ref().map_or(0, |assets| assets.manifest.len()),
            "code": version.main_module.is_some(),
        })
    };
    let deployment = |deployment: &Deployment| {
        json!({
            "id": deployment.id, "createdOn": deployment.created_on, "versions": deployment.versions,
            "message": deployment.annotations.get("workers/message"),
        })
    };
    json!({
        "name": worker.name, "url": url(&worker.name), "deployed": live.is_some(), "domains": worker.domains,
        "versions": worker.versions.iter().rev().take(20).map(version).collect::<Vec<_>>(),
        "deployments": worker.deployments.iter().rev().take(20).map(deployment).collect::<Vec<_>>(),
    })
}
