//! Reads and changes deployments (<https://docs.gitlab.com/api/deployments/>).

use serde_json::{Value, json};

use super::context::{RequestContext, position};
use super::environments;
use super::fields::{RequestFields, parse_time};
use super::model::{StoredDeployment, StoredProject};
use super::paging::sort_rows;
use super::response::{GitlabError, GitlabResult, created_response, ok_response};
use super::store::now;
use super::tokens::UserRole;
use super::users::user_json;
use crate::app::App;

/// The statuses that a client may set.
const STATUSES: [&str; 4] = ["running", "success", "failed", "canceled"];

/// `GET /projects/{project}/deployments`
pub async fn list(request: RequestContext, fields: RequestFields) -> GitlabResult {
    let project = request.project()?;
    fields.require_known(&["environment", "status", "updated_after", "updated_before"])?;
    let orders = ["id", "iid", "created_at", "updated_at", "finished_at", "ref"];
    let order = fields.choice("order_by", &orders)?;
    let statuses = [&["created", "skipped", "blocked"][..], &STATUSES].concat();
    let status = fields.choice("status", &statuses)?;
    let environment = fields.text("environment");
    let matches = |expected: &Option<String>, value: &str| {
        expected.as_ref().is_none_or(|expected| expected == value)
    };
    let (after, before) = (fields.time("updated_after")?, fields.time("updated_before")?);
    let is_selected = |deployment: &&StoredDeployment| {
        matches(&environment, &deployment.environment)
            && matches(&status, &deployment.status)
            && after.is_none_or(|after| parse_time(&deployment.updated_at) >= Some(after))
            && before.is_none_or(|before| parse_time(&deployment.updated_at) <= Some(before))
    };
    let mut selected: Vec<&StoredDeployment> =
        project.deployments.iter().filter(is_selected).collect();
    match order.as_deref() {
        Some("updated_at" | "finished_at") => {
            selected.sort_by_key(|deployment| (&deployment.updated_at, deployment.id));
        }
        Some("ref") => selected.sort_by_key(|deployment| (&deployment.reference, deployment.id)),
        _ => {}
    }
    sort_rows(&mut selected, &fields, "asc")?;
    request.page(&fields, &selected, |deployment| {
        Some(deployment_json(&request.app, &project, deployment))
    })
}

/// `POST /projects/{project}/deployments`. Creates the environment if it is missing.
pub async fn create(request: RequestContext, fields: RequestFields) -> GitlabResult {
    request.create(UserRole::Developer, |draft| {
        fields.require(&["environment", "sha", "ref", "tag", "status"])?;
        let status = fields.choice("status", &STATUSES)?.unwrap_or_default();
        let text = |name: &str| fields.text(name).unwrap_or_default();
        let name = environments::validate_name(&text("environment"))?;
        let sha = text("sha");
        if !(7..=40).contains(&sha.len()) || !sha.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(GitlabError::message(400, json!({ "sha": ["The commit does not exist"] })));
        }
        environments::ensure(draft, &name);
        let created_at = now();
        let deployment = StoredDeployment {
            id: draft.id(),
            iid: draft.project.deployments.last().map_or(1, |last| last.iid + 1),
            environment: name,
            sha,
            reference: text("ref"),
            tag: fields.flag("tag"),
            status,
            user: request.caller.user.clone(),
            created_at: created_at.clone(),
            updated_at: created_at,
        };
        let document = deployment_json(&request.app, &draft.project, &deployment);
        draft.project.deployments.push(deployment);
        Ok(created_response(document))
    })
}

/// `GET /projects/{project}/deployments/{deployment}`
pub async fn view(request: RequestContext, fields: RequestFields) -> GitlabResult {
    let project = request.project()?;
    fields.require_known(&[])?;
    let deployment = &project.deployments
        [position(&project.deployments, request.item(), |deployment| deployment.id)?];
    Ok(ok_response(deployment_json(&request.app, &project, deployment)))
}

/// `PUT /projects/{project}/deployments/{deployment}`
pub async fn update(request: RequestContext, fields: RequestFields) -> GitlabResult {
    request.change(UserRole::Developer, |draft| {
        fields.require(&["status"])?;
        let status = fields.choice("status", &STATUSES)?.unwrap_or_default();
        let deployments = &mut draft.project.deployments;
        let index = position(deployments, request.item(), |deployment| deployment.id)?;
        deployments[index].status = status;
        deployments[index].updated_at = now();
        Ok(ok_response(deployment_json(
            &request.app,
            &draft.project,
            &draft.project.deployments[index],
        )))
    })
}

/// Returns a deployment in the API's format.
#[must_use]
pub fn deployment_json(app: &App, project: &StoredProject, deployment: &StoredDeployment) -> Value {
    let environment =
        project.environment(&deployment.environment).map(environments::environment_reference);
    json!({
        "id": deployment.id, "iid": deployment.iid, "ref": deployment.reference, "sha": deployment.sha, "status": deployment.status,
        "created_at": deployment.created_at, "updated_at": deployment.updated_at, "user": user_json(app, &deployment.user),
        "environment": environment, "deployable": null,
    })
}
