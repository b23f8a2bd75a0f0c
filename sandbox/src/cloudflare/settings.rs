//! What belongs to a Worker rather than to one of its versions.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Place;
use super::body::Body;
use super::envelope::{ApiError, ApiResult, ok};
use super::versions::without_text;
use crate::app::App;
use crate::state::model::Worker;

/// The Worker of this name, or the refusal.
pub fn worker(app: &App, account: &str, name: &str) -> Result<Arc<Worker>, ApiError> {
    app.store.worker(account, name).ok_or_else(ApiError::no_worker)
}

/// Changes a Worker that is there.
pub fn change<T>(
    app: &App,
    account: &str,
    name: &str,
    change: impl FnOnce(&mut Worker) -> T,
) -> Result<T, ApiError> {
    tokio::task::block_in_place(|| {
        app.store.change(account, name, |worker| {
            let mut worker = worker.ok_or_else(ApiError::no_worker)?;
            let result = change(&mut worker);
            Ok((worker, result))
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
pub async fn script(State(app): State<App>, Path((account, name)): Place) -> ApiResult {
    let tags = &worker(&app, &account, &name)?.tags;
    Ok(ok(&json!({
        "tags": tags, "logpush": false, "observability": null, "tail_consumers": null,
    })))
}

/// Tags, the one setting that is kept.
#[derive(Debug, Deserialize)]
pub struct Patch {
    tags: Option<Vec<String>>,
}

/// `PATCH …/script-settings`
pub async fn patch(
    State(app): State<App>,
    Path((account, name)): Place,
    Body(body): Body<Patch>,
) -> ApiResult {
    let tags = change(&app, &account, &name, |worker| {
        if let Some(tags) = body.tags {
            worker.tags = tags;
        }
        worker.tags.clone()
    })?;
    Ok(ok(&json!({ "tags": tags })))
}

/// Which addresses at workers.dev are on.
#[derive(Debug, Deserialize)]
pub struct Subdomain {
    enabled: bool,
    previews_enabled: Option<bool>,
}

fn shown((enabled, previews_enabled): (bool, bool)) -> Response {
    ok(&json!({ "enabled": enabled, "previews_enabled": previews_enabled }))
}

/// `GET …/subdomain`
pub async fn subdomain(State(app): State<App>, Path((account, name)): Place) -> ApiResult {
    let worker = worker(&app, &account, &name)?;
    Ok(shown((worker.enabled, worker.previews_enabled)))
}

/// `POST …/subdomain`. Previews follow `enabled` when they are not named.
pub async fn set_subdomain(
    State(app): State<App>,
    Path((account, name)): Place,
    Body(body): Body<Subdomain>,
) -> ApiResult {
    let now = change(&app, &account, &name, |worker| {
        worker.enabled = body.enabled;
        worker.previews_enabled = body.previews_enabled.unwrap_or(body.enabled);
        (worker.enabled, worker.previews_enabled)
    })?;
    Ok(shown(now))
}

/// `GET …/routes`
pub async fn routes(State(app): State<App>, Path((account, name)): Place) -> ApiResult {
    Ok(ok(&worker(&app, &account, &name)?.routes))
}

/// `PUT …/routes`
pub async fn set_routes(
    State(app): State<App>,
    Path((account, name)): Place,
    Body(routes): Body<Value>,
) -> ApiResult {
    change(&app, &account, &name, |worker| {
        worker.routes.clone_from(&routes);
    })?;
    Ok(ok(&routes))
}

/// `GET …/schedules`
pub async fn schedules(State(app): State<App>, Path((account, name)): Place) -> ApiResult {
    Ok(ok(&json!({ "schedules": worker(&app, &account, &name)?.schedules })))
}

/// `PUT …/schedules`
pub async fn set_schedules(
    State(app): State<App>,
    Path((account, name)): Place,
    Body(schedules): Body<Value>,
) -> ApiResult {
    change(&app, &account, &name, |worker| {
        worker.schedules.clone_from(&schedules);
    })?;
    Ok(ok(&json!({ "schedules": schedules })))
}
