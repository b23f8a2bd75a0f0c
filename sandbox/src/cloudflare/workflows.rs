//! Workflows (<https://developers.cloudflare.com/api/resources/workflows/>). Their instances live in the
//! Worker's own runtime, and the API does not show them.

use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::Body;
use super::envelope::{ApiError, ApiResult, list as listed, ok};
use super::{Place, done, settings};
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
pub async fn list(State(app): State<App>, Path(account): Path<String>) -> ApiResult {
    let resources = app.store.resources.get(&account)?;
    Ok(listed(&resources.workflows.iter().map(presented).collect::<Vec<_>>()))
}

/// `GET /accounts/{account}/workflows/{workflow}`
pub async fn view(State(app): State<App>, Path((account, name)): Place) -> ApiResult {
    let resources = app.store.resources.get(&account)?;
    Ok(ok(&presented(resources.workflow(&name).ok_or_else(|| not_found(&name))?)))
}

fn not_found(name: &str) -> ApiError {
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
