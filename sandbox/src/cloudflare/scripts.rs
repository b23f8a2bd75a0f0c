//! Shows Workers as scripts, with their code.

use axum::body::Body as AxumBody;
use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use serde_json::{Value, json};

use super::Place;
use super::envelope::{ApiError, ApiResult, list as listed};
use super::settings::{own, worker as find};
use crate::app::App;
use crate::ids::{hex, random};
use crate::state::model::{Exports, Version, Worker};

/// `GET /workers/scripts`
pub async fn list(State(app): State<App>, Path(account): Path<String>) -> ApiResult {
    let workers = app.store.workers();
    let own = workers.iter().filter(|worker| worker.account == account);
    Ok(listed(&own.map(|worker| presented(worker)).collect::<Vec<_>>()))
}

/// `GET /workers/scripts/{worker}` and `GET …/content/v2`: the modules of the live version, the entry
/// first, as parts.
pub async fn content(State(app): State<App>, Path((account, name)): Place) -> ApiResult {
    let worker = find(&app, &account, &name)?;
    let version = worker.live().or(worker.versions.last()).ok_or_else(ApiError::no_worker)?;
    parts(&app, version)
}

/// `GET …/environments/{environment}/content/v2`
pub async fn environment_content(
    State(app): State<App>,
    Path((account, name, _)): Path<(String, String, String)>,
) -> ApiResult {
    content(State(app), Path((account, name))).await
}

fn parts(app: &App, version: &Version) -> ApiResult {
    let main = version.main_module.as_deref().unwrap_or_default();
    let mut modules: Vec<_> = version.modules.iter().collect();
    modules.sort_by_key(|module| module.name != main);
    let boundary = hex(&random::<16>());
    let mut body = Vec::new();
    for module in modules {
        let bytes = app.store.blobs.read(&module.blob)?;
        let name = module.name.replace('\\', "\\\\").replace('"', "\\\"");
        let head = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"{name}\"\r\n\
             Content-Type: {}\r\n\r\n",
            module.content_type
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(&bytes);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    Response::builder()
        .header(CONTENT_TYPE, format!("multipart/form-data; boundary={boundary}"))
        // The entry, which the form has no field for.
        .header("cf-entrypoint", main)
        .body(AxumBody::from(body))
        .map_err(|error| anyhow::Error::from(error).into())
}

/// The handlers that Cloudflare calls. Other methods of an entrypoint are called by other Workers.
const HANDLERS: [&str; 8] =
    ["fetch", "scheduled", "queue", "email", "tail", "tailStream", "trace", "alarm"];

/// Returns the handlers of a version's code. Assets alone answer `fetch`.
#[must_use]
pub fn handlers(version: &Version) -> Vec<String> {
    let Some(exports) = &version.exports else { return vec!["fetch".to_owned()] };
    exports.handlers.iter().filter(|name| HANDLERS.contains(&name.as_str())).cloned().collect()
}

/// Returns the exports that can be bound to, as the API shows them.
#[must_use]
pub fn named_handlers(version: &Version) -> Vec<Value> {
    let entrypoints = version.exports.iter().flat_map(|Exports { entrypoints, .. }| entrypoints);
    let shown = |entrypoint: &crate::state::model::Entrypoint| json!({ "name": entrypoint.name, "handlers": entrypoint.handlers, "entrypoint": entrypoint.kind });
    entrypoints.map(shown).collect()
}

/// Returns a Worker as a script.
#[must_use]
pub fn presented(worker: &Worker) -> Value {
    let latest = worker.versions.last();
    let mut shown = Value::Object(own(worker));
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
        shown[field] = value;
    }
    if let Some(placement) = latest.map(|version| &version.placement).filter(|p| p.is_object()) {
        shown["placement"] = placement.clone();
        shown["placement_mode"] = placement["mode"].clone();
    }
    shown
}

/// Returns the zone routes of a Worker with ids.
#[must_use]
pub fn routes(worker: &Worker) -> Value {
    let routes = worker.routes.as_array().into_iter().flatten();
    let shown = |route: &Value| {
        let pattern = route["pattern"].as_str().or(route.as_str())?;
        let id = &blake3::hash(pattern.as_bytes()).to_hex()[..32];
        Some(json!({ "id": id, "pattern": pattern, "script": worker.name }))
    };
    routes.filter_map(shown).collect()
}
