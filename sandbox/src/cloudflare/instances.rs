//! Lists and controls the instances of workflows
//! (<https://developers.cloudflare.com/api/resources/workflows/subresources/instances/>). The runtime's
//! explorer has the data, and this module adds the fields that the explorer lacks.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::Method;
use percent_encoding::{NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::{JsonBody, Query};
use super::envelope::{ApiResult, CloudflareError, list as list_all, ok, with_info};
use super::workflows::not_found;
use super::{AccountAndName, settings};
use crate::app::App;
use crate::serve::group::VersionNode;
use crate::serve::proxy;
use crate::state::resources::StoredWorkflow;

/// The path of the explorer's API in the runtime.
const EXPLORER: &str = "/cdn-cgi/local/explorer/api/workflows";

/// The path parameters: account, workflow, instance.
type InstancePath = Path<(String, String, String)>;

/// The states in which an instance can be terminated.
const ACTIVE_STATES: [&str; 5] = ["queued", "running", "paused", "waitingForPause", "waiting"];

/// The maximum number of instances on a page.
const MAX_PAGE_SIZE: usize = 100;

/// A workflow with the port of the group that runs it.
struct WorkflowEngine {
    workflow: StoredWorkflow,
    port: u16,
    /// Keeps the group loaded.
    _loaded: std::sync::Arc<crate::serve::runtime::LoadedGroup>,
}

impl WorkflowEngine {
    /// Loads the Worker of a workflow.
    async fn open(app: &App, account: &str, name: &str) -> Result<WorkflowEngine, CloudflareError> {
        let resources = app.store.resources.get(account)?;
        let workflow = resources.workflow(name).cloned().ok_or_else(|| not_found(name))?;
        let worker = settings::worker(app, account, &workflow.script_name)?;
        let node = VersionNode::live(&worker).ok_or_else(|| not_found(name))?;
        let loaded = app.runtime.load(&app.store, &node).await?;
        Ok(WorkflowEngine { workflow, port: loaded.port, _loaded: loaded })
    }

    /// Sends a request to the explorer. `path` is below the workflow. Returns the result and the `result_info`.
    async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(Value, Value), CloudflareError> {
        let url = format!("http://127.0.0.1:{}{EXPLORER}/{}{path}", self.port, self.workflow.name);
        let mut builder = proxy::client().request(method, url);
        if let Some(body) = body {
            builder = builder.header("content-type", "application/json").body(body.to_string());
        }
        let response = builder.send().await;
        let response = response.map_err(|error| anyhow::Error::from(error.without_url()))?;
        let status = response.status().as_u16();
        let bytes = response.bytes().await.map_err(anyhow::Error::from)?;
        let mut body: Value = serde_json::from_slice(&bytes).map_err(anyhow::Error::from)?;
        if body["success"] == true {
            return Ok((body["result"].take(), body["result_info"].take()));
        }
        let text = body["errors"][0]["message"].as_str().unwrap_or_default();
        Err(if status == 404 || text.contains("instance.not_found") {
            CloudflareError::new(404, 10_400, "workflows.api.error.instance.not_found")
        } else if text.contains("already exists") {
            CloudflareError::new(409, 10_405, "workflows.api.error.instance.already_exists")
        } else {
            CloudflareError::new(400, 10_001, text)
        })
    }

    /// Returns an instance in Cloudflare's format.
    async fn details(&self, id: &str) -> Result<Value, CloudflareError> {
        let (mut instance, _) = self.request(Method::GET, &instance_path(id, ""), None).await?;
        instance["success"] = match instance["status"].as_str().unwrap_or_default() {
            "complete" => json!(true),
            "errored" | "terminated" => json!(false),
            _ => Value::Null,
        };
        instance["versionId"] = json!(self.workflow.id);
        // The runtime does not store what created the instance.
        instance["trigger"] = json!({ "source": "unknown" });
        Ok(instance)
    }

    /// Returns an item of the explorer's list in Cloudflare's format of lists.
    async fn summary(&self, item: &Value) -> Result<Value, CloudflareError> {
        let id = item["id"].as_str().unwrap_or_default();
        let details = self.details(id).await?;
        let modified = ["end", "start", "queued"].map(|time| details[time].clone());
        let modified = modified.into_iter().find(|time| !time.is_null());
        Ok(json!({
            "id": id, "status": details["status"], "created_on": item["created_on"],
            "modified_on": modified.unwrap_or_else(|| item["created_on"].clone()),
            "started_on": details["start"], "ended_on": details["end"],
            "version_id": self.workflow.id, "workflow_id": self.workflow.id,
        }))
    }

    async fn change(&self, id: &str, change: &Value) -> Result<Value, CloudflareError> {
        Ok(self.request(Method::PATCH, &instance_path(id, "/status"), Some(change)).await?.0)
    }
}

fn encode(text: &str) -> PercentEncode<'_> {
    utf8_percent_encode(text, NON_ALPHANUMERIC)
}

/// Returns the path of an instance below its workflow. Encodes the id, which may have any character.
fn instance_path(id: &str, rest: &str) -> String {
    format!("/instances/{}{rest}", encode(id))
}

/// Counts the instances of a workflow by status. `None` if its Worker cannot be loaded.
pub async fn counts(app: &App, account: &str, name: &str) -> Option<Value> {
    let engine = WorkflowEngine::open(app, account, name).await.ok()?;
    let path = format!("/instances?per_page={MAX_PAGE_SIZE}");
    let (instances, _) = engine.request(Method::GET, &path, None).await.ok()?;
    let mut counts = json!({ "complete": 0, "errored": 0, "paused": 0, "queued": 0, "running": 0,
        "terminated": 0, "waiting": 0, "waitingForPause": 0 });
    for status in instances.as_array()?.iter().filter_map(|instance| instance["status"].as_str()) {
        counts[status] = json!(counts[status].as_u64().unwrap_or_default() + 1);
    }
    Some(counts)
}

/// The filter and the page of a list of instances.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct InstanceQuery {
    page: Option<usize>,
    per_page: Option<usize>,
    cursor: Option<String>,
    status: Option<String>,
    date_start: Option<String>,
    date_end: Option<String>,
}

/// `GET …/workflows/{workflow}/instances`. The cursor is the number of the next page.
pub async fn list(
    State(app): State<App>,
    Path((account, name)): AccountAndName,
    Query(query): Query<InstanceQuery>,
) -> ApiResult {
    let engine = WorkflowEngine::open(&app, &account, &name).await?;
    let cursor = query.cursor.as_ref().and_then(|cursor| cursor.parse().ok());
    let page = cursor.or(query.page).unwrap_or(1).max(1);
    let size = query.per_page.unwrap_or(25).clamp(1, MAX_PAGE_SIZE);
    let mut path = format!("/instances?page={page}&per_page={size}");
    for (name, value) in [
        ("status", &query.status),
        ("date_start", &query.date_start),
        ("date_end", &query.date_end),
    ] {
        if let Some(value) = value {
            path += &format!("&{name}={}", encode(value));
        }
    }
    let (items, info) = engine.request(Method::GET, &path, None).await?;
    let mut summaries = Vec::new();
    for instance in items.as_array().into_iter().flatten() {
        summaries.push(engine.summary(instance).await?);
    }
    let total = usize::try_from(info["total_count"].as_u64().unwrap_or_default()).unwrap_or(0);
    let mut info = json!({ "page": page, "per_page": size, "count": summaries.len(),
        "total_count": total, "total_pages": total.div_ceil(size) });
    if page * size < total {
        info["cursor"] = json!((page + 1).to_string());
    }
    Ok(with_info(&summaries, &info))
}

/// The body of a new instance.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct NewInstance {
    instance_id: Option<String>,
    params: Option<Value>,
}

/// The maximum number of instances that one request creates
/// (<https://developers.cloudflare.com/workflows/build/workers-api/#createbatch>).
const MAX_BATCH: usize = 100;

impl WorkflowEngine {
    /// Creates an instance and returns it in Cloudflare's format.
    async fn create(&self, fields: NewInstance) -> Result<Value, CloudflareError> {
        let mut body = json!({});
        if let Some(id) = fields.instance_id {
            body["id"] = json!(id);
        }
        if let Some(params) = fields.params {
            body["params"] = params;
        }
        let (created, _) = self.request(Method::POST, "/instances", Some(&body)).await?;
        Ok(json!({
            "id": created["id"], "status": "queued", "version_id": self.workflow.id,
            "workflow_id": self.workflow.id,
        }))
    }
}

/// `POST …/workflows/{workflow}/instances`
pub async fn create(
    State(app): State<App>,
    Path((account, name)): AccountAndName,
    JsonBody(fields): JsonBody<NewInstance>,
) -> ApiResult {
    Ok(ok(&WorkflowEngine::open(&app, &account, &name).await?.create(fields).await?))
}

/// `POST …/workflows/{workflow}/instances/batch`
pub async fn create_batch(
    State(app): State<App>,
    Path((account, name)): AccountAndName,
    JsonBody(instances): JsonBody<Vec<NewInstance>>,
) -> ApiResult {
    if instances.is_empty() || instances.len() > MAX_BATCH {
        let text = format!("A batch has 1 to {MAX_BATCH} instances");
        return Err(CloudflareError::new(400, 10_001, &text));
    }
    let engine = WorkflowEngine::open(&app, &account, &name).await?;
    let mut created = Vec::new();
    for fields in instances {
        created.push(engine.create(fields).await?);
    }
    Ok(list_all(&created))
}

/// `GET …/instances/{instance}`
pub async fn view(State(app): State<App>, Path((account, name, id)): InstancePath) -> ApiResult {
    Ok(ok(&WorkflowEngine::open(&app, &account, &name).await?.details(&id).await?))
}

/// `PATCH …/instances/{instance}/status`: pauses, resumes, restarts or terminates it.
pub async fn change(
    State(app): State<App>,
    Path((account, name, id)): InstancePath,
    JsonBody(change): JsonBody<Value>,
) -> ApiResult {
    let status = change["status"].as_str().unwrap_or_default();
    if !["pause", "resume", "restart", "terminate"].contains(&status) {
        return Err(CloudflareError::new(400, 10_001, &format!("Invalid status: {status:?}")));
    }
    Ok(ok(&WorkflowEngine::open(&app, &account, &name).await?.change(&id, &change).await?))
}

/// `POST …/instances/{instance}/events/{type}`
pub async fn send_event(
    State(app): State<App>,
    Path((account, name, id, kind)): Path<(String, String, String, String)>,
    body: Bytes,
) -> ApiResult {
    let payload: Value = if body.is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(&body)
            .map_err(|error| CloudflareError::invalid(&format!("Invalid JSON body: {error}")))?
    };
    let engine = WorkflowEngine::open(&app, &account, &name).await?;
    // The explorer accepts events of unknown instances, so this checks that the instance exists.
    // An event for a missing instance has a different error code (alchemy-run/distilled, `patches/workflows/`).
    engine.details(&id).await.map_err(|error| error.with_code(10_400, 10_201))?;
    let path = instance_path(&id, &format!("/events/{}", encode(&kind)));
    engine.request(Method::POST, &path, Some(&payload)).await?;
    Ok(ok(&Value::Null))
}

/// The body of `POST …/instances/batch/delete`.
#[derive(Debug, Deserialize)]
pub struct InstanceIds {
    instances: Vec<String>,
}

/// `POST …/instances/batch/delete`
pub async fn delete_batch(
    State(app): State<App>,
    Path((account, name)): AccountAndName,
    JsonBody(InstanceIds { instances }): JsonBody<InstanceIds>,
) -> ApiResult {
    let engine = WorkflowEngine::open(&app, &account, &name).await?;
    let body = json!({ "instances": instances });
    Ok(ok(&engine.request(Method::POST, "/instances/batch/delete", Some(&body)).await?.0))
}

/// `PUT …/instances/terminate`: terminates all instances, or those of one status.
pub async fn terminate_all(
    State(app): State<App>,
    Path((account, name)): AccountAndName,
    Query(query): Query<InstanceQuery>,
) -> ApiResult {
    let engine = WorkflowEngine::open(&app, &account, &name).await?;
    for status in ACTIVE_STATES
        .iter()
        .filter(|active| query.status.as_deref().is_none_or(|status| status == **active))
    {
        let path = format!("/instances?per_page={MAX_PAGE_SIZE}&status={status}");
        let (instances, _) = engine.request(Method::GET, &path, None).await?;
        for id in instances
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|instance| instance["id"].as_str())
        {
            engine.change(id, &json!({ "status": "terminate" })).await?;
        }
    }
    Ok(ok(&json!({ "status": "ok", "instancesTerminated": null })))
}
