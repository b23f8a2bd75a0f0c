//! The page for people, and the data that it shows.

pub mod merge_requests;

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY};
use axum::response::{Html, IntoResponse};
use serde_json::{Value, json};

use crate::app::App;
use crate::ids::{hex, random};
use crate::state::model::{Deployment, Version, Worker};
use crate::state::preview::Preview;

/// How many versions and deployments of a Worker are shown.
const SHOWN: usize = 20;

/// The page needs nothing from elsewhere, and runs no script but its own: comments hold text of
/// strangers, and this stands behind the check of their HTML.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'nonce-NONCE'; \
     connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";

/// `GET /`
pub async fn page() -> impl IntoResponse {
    let nonce = hex(&random::<16>());
    let headers = [
        (CONTENT_SECURITY_POLICY, POLICY.replace("NONCE", &nonce)),
        (REFERRER_POLICY, "no-referrer".to_owned()),
        (CACHE_CONTROL, "no-store".to_owned()),
    ];
    (headers, Html(include_str!("page.html").replace("NONCE", &nonce)))
}

/// `GET /__sandbox/state.json`: what the page shows. No binding is in it, since some are secrets.
pub async fn state(State(app): State<App>) -> impl IntoResponse {
    let workers = app.store.workers();
    let workers: Vec<Value> = workers.iter().map(|worker| shown(worker, app.port)).collect();
    let requests = merge_requests::shown(&app);
    let state =
        json!({ "schema": 1, "port": app.port, "workers": workers, "mergeRequests": requests });
    ([(CACHE_CONTROL, "no-store")], Json(state))
}

fn shown(worker: &Worker, port: u16) -> Value {
    let url = |label: &str| format!("http://{label}.localhost:{port}/");
    let preview =
        |label: &str| worker.previews_enabled.then(|| url(&format!("{label}-{}", worker.name)));
    // An alias belongs to the newest version that claims it.
    let mut aliases: BTreeMap<&str, &str> = BTreeMap::new();
    for version in &worker.versions {
        if let Some(alias) = version.annotations.get("workers/alias") {
            aliases.insert(alias, &version.id);
        }
    }
    let live = worker.live().map(|version| version.id.as_str());
    let version = |version: &Version| {
        let note = |name: &str| version.annotations.get(name);
        let alias = note("workers/alias").filter(|&alias| aliases[alias.as_str()] == version.id);
        json!({
            "id": version.id, "number": version.number, "createdOn": version.created_on,
            "tag": note("workers/tag"), "message": note("workers/message"),
            "live": live == Some(version.id.as_str()), "url": preview(&version.id[..8]),
            "alias": alias, "aliasUrl": alias.and_then(|alias| preview(alias)),
            "assets": version.assets.as_ref().map_or(0, |assets| assets.files),
            "code": version.main_module.is_some(),
        })
    };
    let deployment = |deployment: &Deployment| {
        json!({
            "id": deployment.id, "createdOn": deployment.created_on,
            "versions": deployment.versions,
            "message": deployment.annotations.get("workers/message"),
        })
    };
    let deployed = |deployment: &Version| {
        json!({
            "id": deployment.id, "createdOn": deployment.created_on,
            "url": preview(&deployment.id[..8]), "tag": deployment.annotations.get("workers/tag"),
            "message": deployment.annotations.get("workers/message"),
        })
    };
    let named = |named: &Preview| {
        json!({
            "name": named.name, "slug": named.slug, "createdOn": named.created_on,
            "url": preview(&named.slug), "deploymentCount": named.deployments.len(),
            "latest": named.latest().map(deployed),
        })
    };
    let alias = |alias: &&str| Some(json!({ "alias": alias, "url": preview(alias)? }));
    json!({
        "name": worker.name, "url": url(&worker.name), "deployed": live.is_some(),
        "domains": worker.domains, "previews": worker.previews_enabled,
        "aliases": aliases.keys().filter_map(alias).collect::<Vec<_>>(),
        "workerPreviews": worker.previews.iter().rev().map(named).collect::<Vec<_>>(),
        "versionCount": worker.versions.len(), "deploymentCount": worker.deployments.len(),
        "versions": worker.versions.iter().rev().take(SHOWN).map(version).collect::<Vec<_>>(),
        "deployments":
            worker.deployments.iter().rev().take(SHOWN).map(deployment).collect::<Vec<_>>(),
    })
}
