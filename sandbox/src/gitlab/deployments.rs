//! Deployments (<https://docs.gitlab.com/api/deployments/>).

use axum::extract::{Path, State};
use serde_json::{Value, json};

use super::access::number;
use super::answer::{Answer, Refusal, created, ok};
use super::environments;
use super::fields::Fields;
use super::model::{Deployment, Project};
use super::paging::{Here, descending, page};
use super::store::now;
use super::tokens::{Caller, Role};
use super::users::basic;
use crate::app::App;

/// What a client may set.
const STATUSES: [&str; 4] = ["running", "success", "failed", "canceled"];

/// `GET /projects/{project}/deployments`
pub async fn list(
    State(app): State<App>,
    caller: Caller,
    Path(place): Path<String>,
    here: Here,
    fields: Fields,
) -> Answer {
    let project = caller.project(&app, &place)?;
    let orders = ["id", "iid", "created_at", "updated_at", "finished_at", "ref"];
    let order = fields.choice("order_by", &orders)?;
    let known = [&["created", "skipped", "blocked"][..], &STATUSES].concat();
    let status = fields.choice("status", &known)?;
    let environment = fields.text("environment");
    let is = |wanted: &Option<String>, value: &str| wanted.as_ref().is_none_or(|w| w == value);
    let after = fields.text("updated_after").unwrap_or_default();
    let before = fields.text("updated_before");
    let fits = |one: &&Deployment| {
        is(&environment, &one.environment)
            && is(&status, &one.status)
            && one.updated_at >= after
            && before.as_ref().is_none_or(|before| one.updated_at <= *before)
    };
    let mut found: Vec<&Deployment> = project.deployments.iter().filter(fits).collect();
    match order.as_deref() {
        Some("updated_at" | "finished_at") => {
            found.sort_by(|a, b| (&a.updated_at, a.id).cmp(&(&b.updated_at, b.id)));
        }
        Some("ref") => found.sort_by(|a, b| (&a.reference, a.id).cmp(&(&b.reference, b.id))),
        _ => {}
    }
    if descending(&fields, "asc")? {
        found.reverse();
    }
    page(&here, &fields, &found, |one| Some(shown(&app, &project, one)))
}

/// `POST /projects/{project}/deployments`. The environment comes to be when there is none.
pub async fn create(
    State(app): State<App>,
    caller: Caller,
    Path(place): Path<String>,
    fields: Fields,
) -> Answer {
    let id = caller.claim(&app, &place)?;
    caller.at_least(Role::Developer)?;
    fields.require(&["environment", "sha", "ref", "tag", "status"])?;
    let status = fields.choice("status", &STATUSES)?.unwrap_or_default();
    let text = |name: &str| fields.text(name).unwrap_or_default();
    let name = environments::valid(&text("environment"))?;
    app.gitlab.store.change(id, &place, |draft| {
        environments::ensure(draft, &name);
        let time = now();
        let deployment = Deployment {
            id: draft.id(),
            iid: draft.project.deployments.last().map_or(1, |last| last.iid + 1),
            environment: name.clone(),
            sha: text("sha"),
            reference: text("ref"),
            tag: fields.flag("tag"),
            status,
            user: caller.user.clone(),
            created_at: time.clone(),
            updated_at: time,
        };
        let answer = shown(&app, &draft.project, &deployment);
        draft.project.deployments.push(deployment);
        Ok(created(answer))
    })
}

/// `GET /projects/{project}/deployments/{deployment}`
pub async fn view(
    State(app): State<App>,
    caller: Caller,
    Path((place, id)): Path<(String, String)>,
) -> Answer {
    let project = caller.project(&app, &place)?;
    Ok(ok(shown(&app, &project, &project.deployments[position(&project, &id)?])))
}

/// `PUT /projects/{project}/deployments/{deployment}`
pub async fn update(
    State(app): State<App>,
    caller: Caller,
    Path((place, id)): Path<(String, String)>,
    fields: Fields,
) -> Answer {
    let project = caller.project(&app, &place)?;
    caller.at_least(Role::Developer)?;
    fields.require(&["status"])?;
    let status = fields.choice("status", &STATUSES)?.unwrap_or_default();
    app.gitlab.store.change(project.id, &place, |draft| {
        let index = position(&draft.project, &id)?;
        let deployment = &mut draft.project.deployments[index];
        deployment.status = status;
        deployment.updated_at = now();
        let deployment = deployment.clone();
        Ok(ok(shown(&app, &draft.project, &deployment)))
    })
}

fn position(project: &Project, id: &str) -> Result<usize, Refusal> {
    let id = number(id)?;
    project.deployments.iter().position(|one| one.id == id).ok_or_else(Refusal::not_found)
}

/// A deployment as the API shows it.
#[must_use]
pub fn shown(app: &App, project: &Project, one: &Deployment) -> Value {
    let environment = project.environment(&one.environment).map(environments::basic);
    json!({
        "id": one.id, "iid": one.iid, "ref": one.reference, "sha": one.sha, "status": one.status,
        "created_at": one.created_at, "updated_at": one.updated_at, "user": basic(app, &one.user),
        "environment": environment, "deployable": null,
    })
}
