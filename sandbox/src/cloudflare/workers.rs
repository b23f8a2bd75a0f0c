//! Reads, creates, changes and deletes Workers.

use std::sync::Arc;

use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::account::{EMAIL, USER};
use super::body::{JsonBody, Query};
use super::envelope::{ApiResult, CloudflareError, list_page, ok};
use super::metadata::check_name;
use super::paging::Page;
use super::settings::{check_setting, try_change, worker as find};
use super::versions::without_text;
use super::{AccountAndName, domains, empty_result, scripts, settings};
use crate::app::{App, SUBDOMAIN};
use crate::state::model::{Worker, WorkerVersion};

/// The path parameters: account, Worker, environment.
type EnvironmentPath = Path<(String, String, String)>;

/// `GET /workers/services/{worker}`. A missing Worker has a separate error code (observed with wrangler
/// 4.164).
pub async fn service(State(app): State<App>, Path((account, name)): AccountAndName) -> ApiResult {
    let worker = app
        .store
        .worker(&account, &name)
        .ok_or_else(|| CloudflareError::new(404, 10_090, "workers.api.error.service_not_found"))?;
    let environment = environment_json(&worker);
    Ok(ok(&json!({
        "id": worker.name, "created_on": worker.created_on,
        "default_environment": environment, "environments": [environment],
    })))
}

fn environment_json(worker: &Worker) -> Value {
    json!({
        "environment": "production", "created_on": worker.created_on,
        "modified_on": worker.versions.last().map_or(&worker.created_on, |version| &version.created_on),
        "script": scripts::script_json(worker),
    })
}

/// `GET …/services/{worker}/environments/{environment}`
pub async fn environment(
    State(app): State<App>,
    Path((account, name, _)): EnvironmentPath,
) -> ApiResult {
    Ok(ok(&environment_json(&*find(&app, &account, &name)?)))
}

/// `GET …/environments/{environment}/bindings`
pub async fn environment_bindings(
    State(app): State<App>,
    Path((account, name, _)): EnvironmentPath,
) -> ApiResult {
    bindings(State(app), Path((account, name))).await
}

/// `GET …/scripts/{worker}/bindings`
pub async fn bindings(State(app): State<App>, Path((account, name)): AccountAndName) -> ApiResult {
    let worker = find(&app, &account, &name)?;
    let latest = worker.versions.last();
    let bindings = latest.iter().flat_map(|version| &version.bindings).map(without_text);
    Ok(ok(&bindings.collect::<Vec<_>>()))
}

/// `GET …/environments/{environment}/settings`
pub async fn environment_settings(
    State(app): State<App>,
    Path((account, name, _)): EnvironmentPath,
) -> ApiResult {
    settings::view(State(app), Path((account, name))).await
}

/// `GET …/environments/{environment}/routes`
pub async fn environment_routes(
    State(app): State<App>,
    Path((account, name, _)): EnvironmentPath,
) -> ApiResult {
    Ok(ok(&find(&app, &account, &name)?.routes))
}

/// `GET …/environments/{environment}/subdomain`
pub async fn environment_subdomain(
    State(app): State<App>,
    Path((account, name, _)): EnvironmentPath,
) -> ApiResult {
    let worker = find(&app, &account, &name)?;
    Ok(ok(&json!({ "enabled": worker.enabled, "previews_enabled": worker.previews_enabled })))
}

/// `GET /workers/workers`
pub async fn list(
    State(app): State<App>,
    Path(account): Path<String>,
    Query(page): Query<Page>,
) -> ApiResult {
    let workers = app.store.workers();
    let workers = workers.iter().filter(|worker| worker.account == account);
    Ok(list_page(&page, &workers.map(|worker| worker_json(&app, worker)).collect::<Vec<_>>()))
}

/// `GET /workers/workers/{worker}`, by name or id. Wrangler derives the addresses that it prints from
/// the response.
pub async fn worker(State(app): State<App>, Path((account, name)): AccountAndName) -> ApiResult {
    Ok(ok(&worker_json(&app, &*by_id(&app, &account, &name)?)))
}

/// Returns a Worker by its name or its id. Errors if it does not exist.
pub fn by_id(app: &App, account: &str, identifier: &str) -> Result<Arc<Worker>, CloudflareError> {
    let workers = app.store.workers();
    let mut workers = workers.into_iter().filter(|worker| worker.account == account);
    workers
        .find(|worker| worker.name == identifier || worker.tag == identifier)
        .ok_or_else(CloudflareError::worker_not_found)
}

/// `GET /workers/workers/{worker}/versions`, newest first.
pub async fn versions(
    State(app): State<App>,
    Path((account, name)): AccountAndName,
    Query(page): Query<Page>,
) -> ApiResult {
    let worker = by_id(&app, &account, &name)?;
    let all = worker.versions.iter().rev().map(|version| version_json(&worker, version));
    Ok(list_page(&page, &all.collect::<Vec<_>>()))
}

/// `GET /workers/workers/{worker}/versions/{version}`
pub async fn version(
    State(app): State<App>,
    Path((account, name, id)): Path<(String, String, String)>,
) -> ApiResult {
    let worker = by_id(&app, &account, &name)?;
    let version = worker.version(&id).ok_or_else(|| CloudflareError::version_not_found(&id))?;
    Ok(ok(&version_json(&worker, version)))
}

/// Returns a version in the format of `/workers/workers`
/// (<https://developers.cloudflare.com/api/resources/workers/subresources/beta/subresources/workers/subresources/versions/>).
pub(super) fn version_json(worker: &Worker, version: &WorkerVersion) -> Value {
    let short = version.id.get(..8).unwrap_or(&version.id);
    let url = format!("https://{short}-{}.{SUBDOMAIN}.workers.dev", worker.name);
    json!({
        "id": version.id, "number": version.number, "created_on": version.created_on,
        "urls": worker.previews_enabled.then_some(url).into_iter().collect::<Vec<_>>(),
        "annotations": version.annotations, "source": "wrangler",
        "author_id": USER, "author_email": EMAIL, "usage_model": "standard", "startup_time_ms": 1,
        "bindings": version.bindings.iter().map(without_text).collect::<Vec<_>>(),
        "compatibility_date": version.compatibility_date,
        "compatibility_flags": version.compatibility_flags, "main_module": version.main_module,
    })
}

/// The body of a new or changed Worker.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct WorkerFields {
    name: Option<String>,
    subdomain: Value,
    tags: Option<Vec<String>>,
    #[serde(flatten)]
    settings: Map<String, Value>,
}

/// `POST /workers/workers`: creates a Worker without versions.
pub async fn create(
    State(app): State<App>,
    Path(account): Path<String>,
    JsonBody(fields): JsonBody<WorkerFields>,
) -> ApiResult {
    let name = fields.name.clone().unwrap_or_default();
    check_name(&name)?;
    if let Some(reason) = app.store.damage(&account, &name) {
        return Err(CloudflareError::new(500, 10_013, reason));
    }
    tokio::task::block_in_place(|| {
        app.store.change(&account, &name, |worker| {
            if worker.is_some() {
                return Err(CloudflareError::new(
                    409,
                    10_040,
                    "A Worker with this name already exists",
                ));
            }
            let mut worker = Worker::new(&account, &name);
            fields.apply(&app, &mut worker)?;
            Ok((worker, ()))
        })
    })?;
    Ok(ok(&worker_json(&app, &*find(&app, &account, &name)?)))
}

/// `PUT` and `PATCH /workers/workers/{worker}`
pub async fn change(
    State(app): State<App>,
    Path((account, identifier)): AccountAndName,
    JsonBody(fields): JsonBody<WorkerFields>,
) -> ApiResult {
    let name = by_id(&app, &account, &identifier)?.name.clone();
    if fields.name.as_ref().is_some_and(|requested| *requested != name) {
        return Err(CloudflareError::new(
            501,
            7000,
            "The sandbox cannot rename Workers. Deploy the project with the new name, and delete the old Worker",
        ));
    }
    let worker = try_change(&app, &account, &name, |worker| {
        fields.apply(&app, worker)?;
        Ok(worker.clone())
    })?;
    Ok(ok(&worker_json(&app, &worker)))
}

impl WorkerFields {
    fn apply(&self, app: &App, worker: &mut Worker) -> Result<(), CloudflareError> {
        if let Some(enabled) = self.subdomain["enabled"].as_bool() {
            worker.enabled = enabled;
        }
        if let Some(enabled) = self.subdomain["previews_enabled"].as_bool() {
            worker.previews_enabled = enabled;
        }
        if let Some(tags) = &self.tags {
            worker.tags.clone_from(tags);
        }
        for name in ["observability", "logpush", "tail_consumers"] {
            if let Some(value) = self.settings.get(name) {
                let value =
                    if name == "tail_consumers" { as_services(value) } else { value.clone() };
                check_setting(app, worker, name, &value)?;
                worker.settings.insert(name.to_owned(), value);
            }
        }
        Ok(())
    }
}

/// Converts tail consumers to the format with `service`. This endpoint uses `name` instead.
fn as_services(consumers: &Value) -> Value {
    let consumers = consumers.as_array().into_iter().flatten();
    consumers
        .map(|consumer| json!({ "service": consumer["name"].as_str().or(consumer["service"].as_str()) }))
        .collect()
}

fn worker_json(app: &App, worker: &Worker) -> Value {
    let host = format!("{}.{SUBDOMAIN}.workers.dev", worker.name);
    let deployed = worker.deployments.last().map(|deployment| &deployment.created_on);
    let updated = worker.versions.last().map(|version| &version.created_on);
    let observability = worker.settings.get("observability").filter(|value| value.is_object());
    let consumers = worker.settings.get("tail_consumers").and_then(Value::as_array);
    let consumers =
        consumers.into_iter().flatten().map(|consumer| json!({ "name": consumer["service"] }));
    json!({
        "id": worker.tag, "name": worker.name, "created_on": worker.created_on,
        "updated_on": updated.or(deployed).unwrap_or(&worker.created_on), "deployed_on": deployed,
        "tags": worker.tags, "logpush": worker.settings.get("logpush") == Some(&Value::Bool(true)),
        "observability": observability.cloned().unwrap_or_else(|| json!({ "enabled": false })),
        "tail_consumers": consumers.collect::<Vec<_>>(), "references": references_json(app, worker),
        "subdomain": {
            "enabled": worker.enabled, "previews_enabled": worker.previews_enabled,
            "url": format!("https://{host}"), "preview_url_suffix": format!("-{host}"),
        },
    })
}

/// Returns everything that refers to a Worker: its domains, queues that it consumes, its Durable Objects, and
/// Workers with a binding to it.
fn references_json(app: &App, worker: &Worker) -> Value {
    let domains = worker.domains.iter().map(|host| domains::reference(host));
    let resources = app.store.resources.get(&worker.account).unwrap_or_default();
    let queues = resources.queues.iter().flat_map(|queue| {
        let consumers = queue.consumers.iter().filter(|consumer| consumer.script.as_ref() == Some(&worker.name));
        consumers.map(|consumer| json!({ "queue_consumer_id": consumer.id, "queue_id": queue.id, "queue_name": queue.name }))
            .collect::<Vec<_>>()
    });
    let workers = app.store.workers();
    let callers = workers.iter().filter(|other| {
        other.account == worker.account
            && other.name != worker.name
            && has_binding_to(other, &worker.name)
    });
    let objects = worker.classes.iter().map(|class| {
        json!({ "namespace_id": class.id, "namespace_name": format!("{}_{}", worker.name, class.name),
            "worker_id": worker.tag, "worker_name": worker.name })
    });
    json!({
        "domains": domains.collect::<Vec<_>>(), "queues": queues.collect::<Vec<_>>(),
        "durable_objects": objects.collect::<Vec<_>>(), "dispatch_namespace_outbounds": [],
        "workers": callers.map(|other| json!({ "id": other.tag, "name": other.name })).collect::<Vec<_>>(),
    })
}

/// Returns whether the live version of a Worker has a service binding to `target`.
fn has_binding_to(worker: &Worker, target: &str) -> bool {
    let bindings = worker.live().into_iter().flat_map(|version| &version.bindings);
    bindings.into_iter().any(|binding| binding["type"] == "service" && binding["service"] == target)
}

/// `DELETE /workers/services/{worker}` and `DELETE /workers/scripts/{worker}`
pub async fn delete(State(app): State<App>, Path((account, name)): AccountAndName) -> ApiResult {
    let name = by_id(&app, &account, &name)?.name.clone();
    if tokio::task::block_in_place(|| app.store.remove(&account, &name))? {
        return Ok(empty_result());
    }
    Err(CloudflareError::worker_not_found())
}

/// `GET …/references`: lists the Workers with a binding to this one, and those that it has a binding to.
pub async fn references(
    State(app): State<App>,
    Path((account, name)): AccountAndName,
) -> ApiResult {
    let worker = find(&app, &account, &name)?;
    let workers = app.store.workers();
    let incoming = workers.iter().filter(|other| {
        other.account == account && other.name != name && has_binding_to(other, &name)
    });
    let incoming = incoming.map(|other| json!({ "name": other.name, "environment": "production" }));
    let bindings = worker.live().into_iter().flat_map(|version| &version.bindings);
    let outgoing = bindings
        .filter(|binding| binding["type"] == "service" && binding["service"] != name.as_str());
    let outgoing =
        outgoing.map(|binding| json!({ "name": binding["service"], "environment": "production" }));
    Ok(ok(&json!({
        "services": { "incoming": incoming.collect::<Vec<_>>(), "outgoing": outgoing.collect::<Vec<_>>() },
        "durable_objects": [], "dispatch_outbounds": [],
    })))
}
