//! Creates, lists and deletes workflows (<https://developers.cloudflare.com/api/resources/workflows/>).

use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::{Body, Query};
use super::envelope::{ApiError, ApiResult, list_page, ok};
use super::versions::Page;
use super::{Place, done, instances, settings};
use crate::app::App;
use crate::ids::{now, uuid};
use crate::state::resources::Workflow;

/// The body of a workflow.
#[derive(Debug, Deserialize)]
pub struct WorkflowFields {
    script_name: String,
    class_name: String,
}

fn presented(workflow: &Workflow) -> Value {
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
    Ok(list_page(&page, &resources.workflows.iter().map(presented).collect::<Vec<_>>()))
}

/// `GET /accounts/{account}/workflows/{workflow}`
pub async fn view(State(app): State<App>, Path((account, name)): Place) -> ApiResult {
    let resources = app.store.resources.get(&account)?;
    let mut shown = presented(resources.workflow(&name).ok_or_else(|| not_found(&name))?);
    if let Some(counts) = instances::counts(&app, &account, &name).await {
        shown["instances"] = counts;
    }
    Ok(ok(&shown))
}

/// `GET /accounts/{account}/workflows/{workflow}/versions`. The sandbox keeps the latest one.
pub async fn versions(
    State(app): State<App>,
    Path((account, name)): Place,
    Query(page): Query<Page>,
) -> ApiResult {
    let resources = app.store.resources.get(&account)?;
    let workflow = resources.workflow(&name).ok_or_else(|| not_found(&name))?;
    let version = json!({
        "id": workflow.id, "workflow_id": workflow.id, "class_name": workflow.class_name,
        "created_on": workflow.created_on, "modified_on": workflow.modified_on,
        "has_dag": false, "language": "javascript",
    });
    Ok(list_page(&page, &[version]))
}

/// Refuses a workflow that does not exist.
pub fn not_found(name: &str) -> ApiError {
    ApiError::new(404, 10_200, &format!("workflows.api.error.not_found: {name}"))
}

/// `PUT /accounts/{account}/workflows/{workflow}`: makes it, or points it to another class.
pub async fn put(
    State(app): State<App>,
    Path((account, name)): Place,
    Body(fields): Body<WorkflowFields>,
) -> ApiResult {
    let worker = settings::worker(&app, &account, &fields.script_name)?;
    let exports = worker.live().or(worker.versions.last()).and_then(|one| one.exports.as_ref());
    if exports.is_some_and(|exports| !exports.has(&fields.class_name)) {
        let text = format!(
            "The Worker '{}' does not export the workflow class '{}'",
            fields.script_name, fields.class_name
        );
        return Err(ApiError::invalid(&text));
    }
    let shown = tokio::task::block_in_place(|| {
        app.store.resources.change(&account, |resources| {
            let time = now();
            let all = &mut resources.workflows;
            let at = all.iter().position(|one| one.name == name).unwrap_or_else(|| {
                all.push(Workflow {
                    id: uuid(),
                    name,
                    script_name: String::new(),
                    class_name: String::new(),
                    created_on: time.clone(),
                    modified_on: String::new(),
                });
                all.len() - 1
            });
            let one = &mut all[at];
            one.script_name = fields.script_name;
            one.class_name = fields.class_name;
            one.modified_on = time;
            Ok::<_, ApiError>(presented(one))
        })
    })?;
    Ok(ok(&shown))
}

/// `DELETE /accounts/{account}/workflows/{workflow}`
pub async fn delete(State(app): State<App>, Path((account, name)): Place) -> ApiResult {
    tokio::task::block_in_place(|| {
        app.store.resources.change(&account, |resources| {
            let before = resources.workflows.len();
            resources.workflows.retain(|one| one.name != name);
            if resources.workflows.len() < before { Ok(()) } else { Err(not_found(&name)) }
        })
    })?;
    Ok(done())
}
