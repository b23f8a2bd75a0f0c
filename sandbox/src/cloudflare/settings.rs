//! What belongs to a Worker rather than to one of its versions.

use axum::extract::{Json, Path, State};
use axum::response::Response;
use serde_json::{Value, json};

use super::envelope::{ApiError, ApiResult, ok};
use super::versions::without_text;
use super::{Place, done};
use crate::app::App;
use crate::state::model::Worker;

fn worker(app: &App, account: &str, name: &str) -> Result<Worker, ApiError> {
    app.store.worker(account, name).ok_or_else(ApiError::no_worker)
}

fn change(
    app: &App,
    account: &str,
    name: &str,
    change: impl FnOnce(&mut Worker),
) -> Result<Worker, ApiError> {
    tokio::task::block_in_place(|| {
        app.store.change(account, name, |worker| {
            let mut worker = worker.ok_or_else(ApiError::no_worker)?;
            change(&mut worker);
            Ok((worker.clone(), worker))
        })
    })
}

/// `GET …/settings`
pub async fn bindings(State(app): State<App>, Path((account, name)): Place) -> ApiResult {
    let worker = worker(&app, &account, &name)?;
    let latest = worker.versions.last();
    let bindings: Vec<Value> =
        latest.iter().flat_map(|version| &version.bindings).map(without_text).collect();
    Ok(ok(&json!({
        "bindings": bindings, "tags": worker.tags, "logpush": false, "usage_model": "standard",
        "compatibility_date": latest.map(|version| &version.compatibility_date),
        "compatibility_flags": latest.map(|version| &version.compatibility_flags),
    })))
}

/// `GET …/script-settings`
pub async fn script_settings(State(app): State<App>, Path((account, name)): Place) -> ApiResult {
    let worker = worker(&app, &account, &name)?;
    Ok(ok(
        &json!({ "tags": worker.tags, "logpush": false, "observability": null, "tail_consumers": null }),
    ))
}

/// `PATCH …/script-settings`
pub async fn patch_settings(
    State(app): State<App>,
    Path((account, name)): Place,
    Json(body): Json<Value>,
) -> ApiResult {
    let tags = |value: &Value| value.as_str().map(str::to_owned);
    change(&app, &account, &name, |worker| {
        if let Some(list) = body["tags"].as_array() {
            worker.tags = list.iter().filter_map(tags).collect();
        }
    })?;
    Ok(ok(&body))
}

fn shown_subdomain(worker: &Worker) -> Response {
    ok(&json!({ "enabled": worker.enabled, "previews_enabled": worker.previews_enabled }))
}

/// `GET …/subdomain`
pub async fn subdomain(State(app): State<App>, Path((account, name)): Place) -> ApiResult {
    Ok(shown_subdomain(&worker(&app, &account, &name)?))
}

/// `POST …/subdomain`. Previews follow `enabled` when they are not named.
pub async fn set_subdomain(
    State(app): State<App>,
    Path((account, name)): Place,
    Json(body): Json<Value>,
) -> ApiResult {
    let enabled =
        body["enabled"].as_bool().ok_or_else(|| ApiError::invalid("`enabled` is missing"))?;
    let changed = change(&app, &account, &name, |worker| {
        worker.enabled = enabled;
        worker.previews_enabled = body["previews_enabled"].as_bool().unwrap_or(enabled);
    })?;
    Ok(shown_subdomain(&changed))
}

fn hostnames(origins: &Value) -> Vec<String> {
    let listed = origins.as_array().into_iter().flatten();
    listed.filter_map(|origin| origin["hostname"].as_str().map(str::to_owned)).collect()
}

/// `POST …/domains/changeset`
pub async fn domain_changes(
    State(app): State<App>,
    Path((account, name)): Place,
    Json(body): Json<Value>,
) -> ApiResult {
    let known = worker(&app, &account, &name)?.domains;
    let entry = |hostname: &String| json!({ "hostname": hostname });
    let wanted = hostnames(&body);
    let added: Vec<Value> = wanted.iter().filter(|host| !known.contains(host)).map(entry).collect();
    let removed: Vec<Value> =
        known.iter().filter(|host| !wanted.contains(host)).map(entry).collect();
    Ok(ok(&json!({ "added": added, "removed": removed, "updated": [], "conflicting": [] })))
}

/// `GET …/domains/records`
pub async fn domain_records(State(app): State<App>, Path((account, name)): Place) -> ApiResult {
    let entry = |hostname: &String| json!({ "hostname": hostname, "service": name, "environment": "production" });
    let worker = worker(&app, &account, &name)?;
    Ok(ok(&worker.domains.iter().map(entry).collect::<Vec<_>>()))
}

/// `PUT …/domains/records`
pub async fn set_domains(
    State(app): State<App>,
    Path((account, name)): Place,
    Json(body): Json<Value>,
) -> ApiResult {
    change(&app, &account, &name, |worker| {
        worker.domains = hostnames(&body["origins"]);
    })?;
    Ok(done())
}

/// `GET …/routes`
pub async fn routes(State(app): State<App>, Path((account, name)): Place) -> ApiResult {
    Ok(ok(&worker(&app, &account, &name)?.routes))
}

/// `PUT …/routes`
pub async fn set_routes(
    State(app): State<App>,
    Path((account, name)): Place,
    Json(body): Json<Value>,
) -> ApiResult {
    Ok(ok(&change(&app, &account, &name, |worker| {
        worker.routes = body;
    })?
    .routes))
}

/// `GET …/schedules`
pub async fn schedules(State(app): State<App>, Path((account, name)): Place) -> ApiResult {
    Ok(ok(&json!({ "schedules": worker(&app, &account, &name)?.schedules })))
}

/// `PUT …/schedules`
pub async fn set_schedules(
    State(app): State<App>,
    Path((account, name)): Place,
    Json(body): Json<Value>,
) -> ApiResult {
    let changed = change(&app, &account, &name, |worker| worker.schedules = body)?;
    Ok(ok(&json!({ "schedules": changed.schedules })))
}
