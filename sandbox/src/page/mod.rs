//! Serves the sandbox's web page and its data.

pub mod merge_requests;
pub mod timeline;

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY};
use axum::response::{Html, IntoResponse};
use serde_json::{Value, json};

use crate::app::App;
use crate::ids::random_id;
use crate::serve::cron;
use crate::state::model::{Worker, WorkerDeployment, WorkerVersion};
use crate::state::preview::WorkerPreview;

/// The maximum number of versions, deployments and timeline entries per Worker.
const MAX_ENTRIES: usize = 20;

/// The maximum number of lines of output.
const MAX_LINES: usize = 200;

/// The content security policy. The page loads nothing from other origins and runs only its own script. Comments
/// have untrusted text. Their HTML is sanitized, and the policy is a second barrier.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'nonce-NONCE'; \
     connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";

/// `GET /`: returns the page with a new nonce for its script.
pub async fn page() -> impl IntoResponse {
    let nonce = random_id();
    let headers = [
        (CONTENT_SECURITY_POLICY, POLICY.replace("NONCE", &nonce)),
        (REFERRER_POLICY, "no-referrer".to_owned()),
        (CACHE_CONTROL, "no-store".to_owned()),
    ];
    let page = include_str!("page.html")
        .replace("STYLE", include_str!("page.css"))
        .replace("SCRIPT", include_str!("page.js"));
    (headers, Html(page.replace("NONCE", &nonce)))
}

/// `GET /__sandbox/activity.json`: returns the latest requests, and the latest output of Workers.
pub async fn activity(State(app): State<App>) -> impl IntoResponse {
    let mut lines: Vec<Value> = Vec::new();
    for trace in app.runtime.output.recent() {
        let is_error = |line: &String| line.split(' ').nth(2) == Some("error");
        let entries = trace
            .lines()
            .into_iter()
            .map(|line| json!({ "worker": trace.worker, "error": is_error(&line), "text": line }));
        lines.extend(entries);
    }
    lines.drain(..lines.len().saturating_sub(MAX_LINES));
    let activity = json!({ "schema": 1, "requests": app.requests.latest(), "output": lines });
    ([(CACHE_CONTROL, "no-store")], Json(activity))
}

/// `GET /__sandbox/state.json`: returns everything that is deployed. Leaves out bindings, because some are secrets.
pub async fn state(State(app): State<App>) -> impl IntoResponse {
    let workers = app.store.workers();
    let mut workers: Vec<Value> = workers.iter().map(|worker| worker_json(&app, worker)).collect();
    workers.sort_by_key(|worker| {
        let text = |field: &str| worker[field].as_str().unwrap_or_default().to_owned();
        (text("project"), text("environment"), text("name"))
    });
    let requests = merge_requests::merge_requests_json(&app);
    let state =
        json!({ "schema": 1, "port": app.port, "workers": workers, "mergeRequests": requests });
    ([(CACHE_CONTROL, "no-store")], Json(state))
}

/// Returns the project and the environment of a Worker, as xtask registered them. Without a registration, uses the
/// tags that wrangler sets. Without tags, the project is the Worker's name.
fn origin(app: &App, worker: &Worker) -> (String, Option<String>) {
    let resources = app.store.resources.get(&worker.account).ok();
    let registered = resources.and_then(|resources| {
        resources.projects.iter().find(|project| project.worker == worker.name).cloned()
    });
    if let Some(origin) = registered {
        return (origin.project, Some(origin.environment));
    }
    let tag =
        |name: &str| worker.tags.iter().find_map(|tag| tag.strip_prefix(name)).map(str::to_owned);
    (tag("cf:service=").unwrap_or_else(|| worker.name.clone()), tag("cf:environment="))
}

fn worker_json(app: &App, worker: &Worker) -> Value {
    let port = app.port;
    let (project, environment) = origin(app, worker);
    let url = |label: &str| format!("http://{label}.localhost:{port}/");
    let preview_url =
        |label: &str| worker.previews_enabled.then(|| url(&format!("{label}-{}", worker.name)));
    // An alias belongs to the newest version that claims it.
    let mut aliases: BTreeMap<&str, &str> = BTreeMap::new();
    for version in &worker.versions {
        if let Some(alias) = version.annotations.get("workers/alias") {
            aliases.insert(alias, &version.id);
        }
    }
    let live = worker.live().map(|version| version.id.as_str());
    let version_json = |version: &WorkerVersion| {
        let annotation = |name: &str| version.annotations.get(name);
        let alias =
            annotation("workers/alias").filter(|&alias| aliases[alias.as_str()] == version.id);
        json!({
            "id": version.id, "number": version.number, "createdOn": version.created_on,
            "tag": annotation("workers/tag"), "message": annotation("workers/message"),
            "live": live == Some(version.id.as_str()), "url": preview_url(&version.id[..8]),
            "alias": alias, "aliasUrl": alias.and_then(|alias| preview_url(alias)),
            "assets": version.assets.as_ref().map_or(0, |assets| assets.files),
            "code": version.main_module.is_some(),
        })
    };
    let preview_deployment_json = |deployment: &WorkerVersion| {
        json!({
            "id": deployment.id, "createdOn": deployment.created_on,
            "url": preview_url(&deployment.id[..8]), "tag": deployment.annotations.get("workers/tag"),
            "message": deployment.annotations.get("workers/message"),
        })
    };
    let preview_json = |worker_preview: &WorkerPreview| {
        json!({
            "name": worker_preview.name, "slug": worker_preview.slug, "createdOn": worker_preview.created_on,
            "url": preview_url(&worker_preview.slug), "deploymentCount": worker_preview.deployments.len(),
            "latest": worker_preview.latest().map(preview_deployment_json),
        })
    };
    let alias_json = |alias: &&str| Some(json!({ "alias": alias, "url": preview_url(alias)? }));
    json!({
        "project": project, "environment": environment,
        "timeline": timeline::timeline(worker, MAX_ENTRIES), "crons": cron::crons(worker),
        "name": worker.name, "url": url(&worker.name), "deployed": live.is_some(),
        "domains": worker.domains, "previews": worker.previews_enabled,
        "aliases": aliases.keys().filter_map(alias_json).collect::<Vec<_>>(),
        "workerPreviews": worker.previews.iter().rev().map(preview_json).collect::<Vec<_>>(),
        "versionCount": worker.versions.len(), "deploymentCount": worker.deployments.len(),
        "versions": worker.versions.iter().rev().take(MAX_ENTRIES).map(version_json).collect::<Vec<_>>(),
        "deployments":
            worker.deployments.iter().rev().take(MAX_ENTRIES).map(deployment_json).collect::<Vec<_>>(),
    })
}

fn deployment_json(deployment: &WorkerDeployment) -> Value {
    json!({
        "id": deployment.id, "createdOn": deployment.created_on, "versions": deployment.versions,
        "message": deployment.annotations.get("workers/message"),
    })
}
