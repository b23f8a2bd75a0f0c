//! Workers as a whole.

use axum::extract::{Path, State};
use serde_json::{Value, json};

use super::envelope::{ApiError, ApiResult, list as listed, ok};
use super::settings::worker as find;
use super::versions::without_text;
use super::{Place, done};
use crate::app::{App, SUBDOMAIN};
use crate::state::model::Worker;

/// Account, Worker and environment.
type Environment = Path<(String, String, String)>;

/// `GET /workers/services/{worker}`. A missing one has a code of its own (observed by how wrangler
/// 4.164 takes it).
pub async fn service(State(app): State<App>, Path((account, name)): Place) -> ApiResult {
    let worker = app
        .store
        .worker(&account, &name)
        .ok_or_else(|| ApiError::new(404, 10_090, "workers.api.error.service_not_found"))?;
    let environment = shown(&worker);
    Ok(ok(&json!({
        "id": worker.name, "created_on": worker.created_on,
        "default_environment": environment, "environments": [environment],
    })))
}

fn shown(worker: &Worker) -> Value {
    json!({
        "environment": "production", "created_on": worker.created_on,
        "script": {
            "id": worker.name, "tag": worker.tag, "tags": worker.tags, "handlers": ["fetch"],
            "last_deployed_from": "wrangler", "created_on": worker.created_on,
            "usage_model": "standard",
        },
    })
}

/// `GET …/services/{worker}/environments/{environment}`
pub async fn environment(
    State(app): State<App>,
    Path((account, name, _)): Environment,
) -> ApiResult {
    Ok(ok(&shown(&*find(&app, &account, &name)?)))
}

/// `GET …/environments/{environment}/bindings`
pub async fn environment_bindings(
    State(app): State<App>,
    Path((account, name, _)): Environment,
) -> ApiResult {
    let worker = find(&app, &account, &name)?;
    let latest = worker.versions.last();
    let bindings = latest.iter().flat_map(|version| &version.bindings).map(without_text);
    Ok(ok(&bindings.collect::<Vec<_>>()))
}

/// `GET …/environments/{environment}/routes`
pub async fn environment_routes(
    State(app): State<App>,
    Path((account, name, _)): Environment,
) -> ApiResult {
    Ok(ok(&find(&app, &account, &name)?.routes))
}

/// `GET …/environments/{environment}/subdomain`
pub async fn environment_subdomain(
    State(app): State<App>,
    Path((account, name, _)): Environment,
) -> ApiResult {
    let worker = find(&app, &account, &name)?;
    Ok(ok(&json!({ "enabled": worker.enabled, "previews_enabled": worker.previews_enabled })))
}

/// `GET /workers/scripts`
pub async fn list(State(app): State<App>, Path(account): Path<String>) -> ApiResult {
    let workers = app.store.workers();
    let own = workers.iter().filter(|worker| worker.account == account);
    let entry = |worker: &_| {
        let worker: &Worker = worker;
        json!({ "id": worker.name, "tag": worker.tag, "created_on": worker.created_on })
    };
    Ok(listed(&own.map(|worker| entry(worker)).collect::<Vec<_>>()))
}

/// `GET /workers/workers/{worker}`: from this wrangler makes the addresses that it prints.
pub async fn worker(State(app): State<App>, Path((account, name)): Place) -> ApiResult {
    let worker = find(&app, &account, &name)?;
    let host = format!("{}.{SUBDOMAIN}.workers.dev", worker.name);
    Ok(ok(&json!({
        "id": worker.tag, "name": worker.name, "created_on": worker.created_on,
        "tags": worker.tags,
        "subdomain": {
            "enabled": worker.enabled, "previews_enabled": worker.previews_enabled,
            "url": format!("https://{host}"), "preview_url_suffix": format!("-{host}"),
        },
    })))
}

/// `DELETE /workers/services/{worker}` and `DELETE /workers/scripts/{worker}`
pub async fn delete(State(app): State<App>, Path((account, name)): Place) -> ApiResult {
    if tokio::task::block_in_place(|| app.store.remove(&account, &name))? {
        return Ok(done());
    }
    Err(ApiError::no_worker())
}

/// `GET …/references`: nothing refers to anything here.
pub async fn references() -> ApiResult {
    Ok(ok(&json!({
        "services": { "incoming": [], "outgoing": [] },
        "durable_objects": [], "dispatch_outbounds": [],
    })))
}
