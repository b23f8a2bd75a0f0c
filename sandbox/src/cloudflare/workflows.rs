//! Creates, lists and deletes workflows (<https://developers.cloudflare.com/api/resources/workflows/>).

use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::{JsonBody, Query};
use super::envelope::{ApiResult, CloudflareError, list_page, ok};
use super::paging::Page;
use super::{AccountAndName, empty_result, instances, settings};
use crate::app::App;
use crate::ids::{now, uuid};
use crate::state::model::WORKFLOW;
use crate::state::resources::StoredWorkflow;

/// The body of a new or changed workflow.
#[derive(Debug, Deserialize)]
pub struct WorkflowFields {
    script_name: String,
    class_name: String,
}

fn workflow_json(workflow: &StoredWorkflow) -> Value {
    json!({
        "id": workflow.id, "name": workflow.name, "script_name": workflow.script_name,
        "class_name": workflow.class_name, "created_on": workflow.created_on,
        "modified_on": workflow.modified_on, "triggered_on": null, "is_deleted": 0,
        "terminator_running": 0, "version_id": workflow.id,
        "instances": { "complete": 0, "errored": 0, "paused": 0, "queued": 0, "running": 0,
            "terminated": 0, "waiting": 0, "waitingForPause": 0 },
    })
}

/// `GET /accounts/{account}/workflows`
pub async fn list(
    State(app): State<App>,
    Path(account): Path<String>,
    Query(page): Query<Page>,
) -> ApiResult {
    let resources = app.store.resources.get(&account)?;
    Ok(list_page(&page, &resources.workflows.iter().map(workflow_json).collect::<Vec<_>>()))
}

/// `GET /accounts/{account}/workflows/{workflow}`
pub async fn view(State(app): State<App>, Path((account, name)): AccountAndName) -> ApiResult {
    let resources = app.store.resources.get(&account)?;
    let mut document = workflow_json(resources.workflow(&name).ok_or_else(|| not_found(&name))?);
    if let Some(counts) = instances::counts(&app, &account, &name).await {
        document["instances"] = counts;
    }
    Ok(ok(&document))
}

/// `GET /accounts/{account}/workflows/{workflow}/versions`. The sandbox has only the latest one.
pub async fn versions(
    State(app): State<App>,
    Path((account, name)): AccountAndName,
    Query(page): Query<Page>,
) -> ApiResult {
    let resources = app.store.resources.get(&account)?;
    let workflow = resources.workflow(&name).ok_or_else(|| not_found(&name))?;
    Ok(list_page(&page, &[version_json(workflow)]))
}

fn version_json(workflow: &StoredWorkflow) -> Value {
    json!({
        "id": workflow.id, "workflow_id": workflow.id, "class_name": workflow.class_name,
        "created_on": workflow.created_on, "modified_on": workflow.modified_on,
        "has_dag": false, "language": "javascript",
    })
}

/// `GET /accounts/{account}/workflows/{workflow}/versions/{version}`
pub async fn version(
    State(app): State<App>,
    Path((account, name, version)): Path<(String, String, String)>,
) -> ApiResult {
    let resources = app.store.resources.get(&account)?;
    let workflow = resources.workflow(&name).ok_or_else(|| not_found(&name))?;
    if workflow.id != version {
        // The code was captured from the API (alchemy-run/distilled, `patches/workflows/getVersion.json`).
        return Err(not_found(&version).with_code(10_200, 10_300));
    }
    Ok(ok(&version_json(workflow)))
}

/// Makes the error for a missing workflow. The code is `WORKFLOW_NOT_FOUND_CODE` of wrangler.
pub fn not_found(name: &str) -> CloudflareError {
    CloudflareError::new(404, 10_200, &format!("workflows.api.error.not_found: {name}"))
}

/// `PUT /accounts/{account}/workflows/{workflow}`: creates it or changes its class.
pub async fn put(
    State(app): State<App>,
    Path((account, name)): AccountAndName,
    JsonBody(fields): JsonBody<WorkflowFields>,
) -> ApiResult {
    let worker = settings::worker(&app, &account, &fields.script_name)?;
    let exports =
        worker.live().or(worker.versions.last()).and_then(|version| version.exports.as_ref());
    if exports.is_some_and(|exports| !exports.has_class(&fields.class_name, WORKFLOW)) {
        let text = format!(
            "The Worker '{}' does not export the workflow class '{}'",
            fields.script_name, fields.class_name
        );
        return Err(CloudflareError::invalid(&text));
    }
    let workflow = tokio::task::block_in_place(|| {
        app.store.resources.change(&account, |resources| {
            let time = now();
            let workflows = &mut resources.workflows;
            let index =
                workflows.iter().position(|workflow| workflow.name == name).unwrap_or_else(|| {
                    workflows.push(StoredWorkflow {
                        id: uuid(),
                        name,
                        script_name: String::new(),
                        class_name: String::new(),
                        created_on: time.clone(),
                        modified_on: String::new(),
                    });
                    workflows.len() - 1
                });
            let workflow = &mut workflows[index];
            workflow.script_name = fields.script_name;
            workflow.class_name = fields.class_name;
            workflow.modified_on = time;
            Ok::<_, CloudflareError>(workflow_json(workflow))
        })
    })?;
    Ok(ok(&workflow))
}

/// `DELETE /accounts/{account}/workflows/{workflow}`
pub async fn delete(State(app): State<App>, Path((account, name)): AccountAndName) -> ApiResult {
    tokio::task::block_in_place(|| {
        app.store.resources.change(&account, |resources| {
            let before = resources.workflows.len();
            resources.workflows.retain(|workflow| workflow.name != name);
            if resources.workflows.len() < before { Ok(()) } else { Err(not_found(&name)) }
        })
    })?;
    Ok(empty_result())
}
