//! Reads Workers as scripts, and their code.

use std::sync::Arc;

use axum::body::Body as AxumBody;
use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::AccountAndName;
use super::body::Query;
use super::envelope::{ApiResult, CloudflareError, list as listed, list_page};
use super::paging::Page;
use super::settings::{worker as find, worker_settings};
use crate::app::App;
use crate::ids::{derived_id, random_id};
use crate::state::model::{Exports, HANDLERS, Worker, WorkerVersion};

/// `GET /workers/scripts`
pub async fn list(State(app): State<App>, Path(account): Path<String>) -> ApiResult {
    let workers = app.store.workers();
    let workers = workers.iter().filter(|worker| worker.account == account);
    Ok(listed(&workers.map(|worker| script_json(worker)).collect::<Vec<_>>()))
}

/// The filter of a search.
#[derive(Debug, Deserialize)]
pub struct ScriptQuery {
    name: Option<String>,
    id: Option<String>,
}

/// `GET /workers/scripts-search`: finds Workers by a part of the name or by the id
/// (<https://developers.cloudflare.com/api/resources/workers/subresources/scripts/methods/search/>).
pub async fn search(
    State(app): State<App>,
    Path(account): Path<String>,
    Query(query): Query<ScriptQuery>,
    Query(page): Query<Page>,
) -> Response {
    let is_selected = |worker: &&Arc<Worker>| {
        worker.account == account
            && query.name.as_ref().is_none_or(|part| worker.name.contains(part))
            && query.id.as_ref().is_none_or(|id| worker.tag == *id)
    };
    let to_json = |worker: &Arc<Worker>| {
        let modified_on =
            worker.versions.last().map_or(&worker.created_on, |version| &version.created_on);
        json!({
            "script_name": worker.name, "script_tag": worker.tag, "service_name": worker.name,
            "environment_name": "production", "environment_is_default": true,
            "created_on": worker.created_on, "modified_on": modified_on,
        })
    };
    let workers = app.store.workers();
    list_page(&page, &workers.iter().filter(is_selected).map(to_json).collect::<Vec<_>>())
}

/// `GET /workers/scripts/{worker}` and `GET …/content/v2`. Returns the modules of the live version as a
/// multipart body, the entry module first.
pub async fn content(State(app): State<App>, Path((account, name)): AccountAndName) -> ApiResult {
    let worker = find(&app, &account, &name)?;
    let version =
        worker.live().or(worker.versions.last()).ok_or_else(CloudflareError::worker_not_found)?;
    multipart_response(&app, version)
}

/// `GET …/environments/{environment}/content/v2`
pub async fn environment_content(
    State(app): State<App>,
    Path((account, name, _)): Path<(String, String, String)>,
) -> ApiResult {
    content(State(app), Path((account, name))).await
}

fn multipart_response(app: &App, version: &WorkerVersion) -> ApiResult {
    let main = version.main_module.as_deref().unwrap_or_default();
    let mut modules: Vec<_> = version.modules.iter().collect();
    modules.sort_by_key(|module| module.name != main);
    let boundary = random_id();
    let mut body = Vec::new();
    for module in modules {
        let bytes = app.store.blobs.read(&module.blob)?;
        let name = module.name.replace('\\', "\\\\").replace('"', "\\\"");
        let header = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"{name}\"\r\n\
             Content-Type: {}\r\n\r\n",
            module.content_type
        );
        body.extend_from_slice(header.as_bytes());
        body.extend_from_slice(&bytes);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    Response::builder()
        .header(CONTENT_TYPE, format!("multipart/form-data; boundary={boundary}"))
        // A multipart body has no field for the name of the entry module.
        .header("cf-entrypoint", main)
        .body(AxumBody::from(body))
        .map_err(|error| anyhow::Error::from(error).into())
}

/// Returns the handlers of a version's code. A version with only assets has `fetch`.
#[must_use]
pub fn handlers(version: &WorkerVersion) -> Vec<String> {
    let Some(exports) = &version.exports else { return vec!["fetch".to_owned()] };
    exports.handlers.iter().filter(|name| HANDLERS.contains(&name.as_str())).cloned().collect()
}

/// Returns the exports that bindings can name, in the API's format.
#[must_use]
pub fn named_handlers(version: &WorkerVersion) -> Vec<Value> {
    let entrypoints = version.exports.iter().flat_map(|Exports { entrypoints, .. }| entrypoints);
    let to_json = |entrypoint: &crate::state::model::Entrypoint| json!({ "name": entrypoint.name, "handlers": entrypoint.handlers, "entrypoint": entrypoint.kind });
    entrypoints.map(to_json).collect()
}

/// Returns a Worker in the format of scripts.
#[must_use]
pub fn script_json(worker: &Worker) -> Value {
    let latest = worker.versions.last();
    let mut document = Value::Object(worker_settings(worker));
    for (field, value) in [
        ("id", json!(worker.name)),
        ("tag", json!(worker.tag)),
        ("etag", json!(latest.map(|version| version.id.replace('-', "")))),
        ("handlers", json!(latest.map_or_else(Vec::new, handlers))),
        ("named_handlers", json!(latest.map_or_else(Vec::new, named_handlers))),
        ("created_on", json!(worker.created_on)),
        ("modified_on", json!(latest.map_or(&worker.created_on, |version| &version.created_on))),
        ("has_assets", json!(latest.is_some_and(|version| version.assets.is_some()))),
        ("has_modules", json!(latest.is_some_and(|version| version.main_module.is_some()))),
        ("compatibility_date", json!(latest.map(|version| &version.compatibility_date))),
        ("compatibility_flags", json!(latest.map_or(&[] as &[String], |v| &v.compatibility_flags))),
        ("last_deployed_from", json!("wrangler")),
        ("usage_model", json!("standard")),
        ("migration_tag", json!(worker.migration_tag)),
        ("routes", routes(worker)),
    ] {
        document[field] = value;
    }
    if let Some(placement) = latest.map(|version| &version.placement).filter(|p| p.is_object()) {
        document["placement"] = placement.clone();
        document["placement_mode"] = placement["mode"].clone();
    }
    document
}

/// Returns the routes of a Worker in zones, with their ids.
#[must_use]
pub fn routes(worker: &Worker) -> Value {
    let routes = worker.routes.as_array().into_iter().flatten();
    let with_id = |route: &Value| {
        let pattern = route["pattern"].as_str().or(route.as_str())?;
        // A route keeps its id when its pattern changes.
        let id = route["id"].as_str().map_or_else(|| route_id(pattern), str::to_owned);
        Some(json!({ "id": id, "pattern": pattern, "script": worker.name }))
    };
    routes.filter_map(with_id).collect()
}

/// Returns the id of a route whose pattern never changed.
#[must_use]
pub fn route_id(pattern: &str) -> String {
    derived_id(pattern)
}
