//! Workers as a whole.

use axum::extract::{Path, State};
use serde_json::{Value, json};

use super::done;
use super::envelope::{ApiError, ApiResult, list as listed, ok};
use crate::app::{App, SUBDOMAIN};
use crate::state::model::Worker;

/// `GET /workers/services/{worker}` and its environments.
pub async fn service(
    State(app): State<App>,
    Path(place): Path<Vec<(String, String)>>,
) -> ApiResult {
    let find =
        |key: &str| place.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str());
    let (account, name) = (find("account").unwrap_or_default(), find("worker").unwrap_or_default());
    // Unlike elsewhere, a missing service is 10090 here (observed by wrangler's handling of it).
    let worker = app
        .store
        .worker(account, name)
        .ok_or_else(|| ApiError::new(404, 10_090, "workers.api.error.service_not_found"))?;
    let script = json!({
        "id": worker.name, "tag": worker.tag, "handlers": ["fetch"], "last_deployed_from": "wrangler",
        "created_on": worker.created_on, "usage_model": "standard", "tags": worker.tags,
    });
    let environment =
        json!({ "environment": "production", "created_on": worker.created_on, "script": script });
    Ok(ok(&json!({
        "id": worker.name, "created_on": worker.created_on, "script": script,
        "default_environment": environment, "environments": [environment],
    })))
}

/// `GET /workers/scripts`
pub async fn list(State(app): State<App>, Path(account): Path<String>) -> ApiResult {
    let workers = app.store.workers();
    let own = workers.iter().filter(|worker| worker.account == account);
    let shown: Vec<Value> =
        own.map(|worker| json!({ "id": worker.name, "tag": worker.tag, "created_on": worker.created_on })).collect();
    Ok(listed(&shown))
}

/// `GET /workers/workers/{worker}`: from this wrangler makes the addresses that it prints.
pub async fn worker(State(app): State<App>, Path((account, name)): super::Place) -> ApiResult {
    let worker = app.store.worker(&account, &name).ok_or_else(ApiError::no_worker)?;
    Ok(ok(&json!({
        "id": worker.tag, "name": worker.name, "created_on": worker.created_on, "tags": worker.tags,
        "subdomain": addresses(&worker),
    })))
}

fn addresses(worker: &Worker) -> Value {
    let host = format!("{}.{SUBDOMAIN}.workers.dev", worker.name);
    json!({
        "enabled": worker.enabled, "previews_enabled": worker.previews_enabled,
        "url": format!("https://{host}"), "preview_url_suffix": format!("-{host}"),
    })
}

/// `DELETE /workers/services/{worker}` and `DELETE /workers/scripts/{worker}`
pub async fn delete_service(
    State(app): State<App>,
    Path((account, name)): super::Place,
) -> ApiResult {
    if tokio::task::block_in_place(|| app.store.remove(&account, &name))? {
        return Ok(done());
    }
    Err(ApiError::no_worker())
}

/// `GET …/references`: nothing refers to anything here.
pub async fn references() -> ApiResult {
    Ok(ok(
        &json!({ "services": { "incoming": [], "outgoing": [] }, "durable_objects": [], "dispatch_outbounds": [] }),
    ))
}
