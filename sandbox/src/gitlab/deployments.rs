//! Reads and changes deployments (<https://docs.gitlab.com/api/deployments/>).

use serde_json::{Value, json};

use super::answer::{Answer, Refusal, created, ok};
use super::environments;
use super::fields::{Fields, time};
use super::model::{Deployment, Project};
use super::paging::turn;
use super::place::{Place, position};
use super::store::now;
use super::tokens::Role;
use super::users::basic;
use crate::app::App;

/// What a client may set.
const STATUSES: [&str; 4] = ["running", "success", "failed", "canceled"];

/// `GET /projects/{project}/deployments`
pub async fn list(at: Place, fields: Fields) -> Answer {
    let project = at.project()?;
    fields.only(&["environment", "status", "updated_after", "updated_before"])?;
    let orders = ["id", "iid", "created_at", "updated_at", "finished_at", "ref"];
    let order = fields.choice("order_by", &orders)?;
    let known = [&["created", "skipped", "blocked"][..], &STATUSES].concat();
    let status = fields.choice("status", &known)?;
    let environment = fields.text("environment");
    let is = |wanted: &Option<String>, value: &str| wanted.as_ref().is_none_or(|w| w == value);
    let (after, before) = (fields.time("updated_after")?, fields.time("updated_before")?);
    let fits = |one: &&Deployment| {
        is(&environment, &one.environment)
            && is(&status, &one.status)
            && after.is_none_or(|after| time(&one.updated_at) >= Some(after))
            && before.is_none_or(|before| time(&one.updated_at) <= Some(before))
    };
    let mut found: Vec<&Deployment> = project.deployments.iter().filter(fits).collect();
    match order.as_deref() {
        Some("updated_at" | "finished_at") => found.sort_by_key(|one| (&one.updated_at, one.id)),
        Some("ref") => found.sort_by_key(|one| (&one.reference, one.id)),
        _ => {}
    }
    turn(&mut found, &fields, "asc")?;
    at.page(&fields, &found, |one| Some(shown(&at.app, &project, one)))
}

/// `POST /projects/{project}/deployments`. The environment comes to be when there is none.
pub async fn create(at: Place, fields: Fields) -> Answer {
    at.make(Role::Developer, |draft| {
        fields.require(&["environment", "sha", "ref", "tag", "status"])?;
        let status = fields.choice("status", &STATUSES)?.unwrap_or_default();
        let text = |name: &str| fields.text(name).unwrap_or_default();
        let name = environments::valid(&text("environment"))?;
        let sha = text("sha");
        if !(7..=40).contains(&sha.len()) || !sha.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(Refusal::message(400, json!({ "sha": ["The commit does not exist"] })));
        }
        environments::ensure(draft, &name);
        let time = now();
        let deployment = Deployment {
            id: draft.id(),
            iid: draft.project.deployments.last().map_or(1, |last| last.iid + 1),
            environment: name,
            sha,
            reference: text("ref"),
            tag: fields.flag("tag"),
            status,
            user: at.caller.user.clone(),
            created_at: time.clone(),
            updated_at: time,
        };
        let answer = shown(&at.app, &draft.project, &deployment);
        draft.project.deployments.push(deployment);
        Ok(created(answer))
    })
}

/// `GET /projects/{project}/deployments/{deployment}`
pub async fn view(at: Place) -> Answer {
    let project = at.project()?;
    let one = &project.deployments[position(&project.deployments, at.item(), |one| one.id)?];
    Ok(ok(shown(&at.app, &project, one)))
}

/// `PUT /projects/{project}/deployments/{deployment}`
pub async fn update(at: Place, fields: Fields) -> Answer {
    at.change(Role::Developer, |draft| {
        fields.require(&["status"])?;
        let status = fields.choice("status", &STATUSES)?.unwrap_or_default();
        let all = &mut draft.project.deployments;
        let index = position(all, at.item(), |one| one.id)?;
        all[index].status = status;
        all[index].updated_at = now();
        Ok(ok(shown(&at.app, &draft.project, &draft.project.deployments[index])))
    })
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
