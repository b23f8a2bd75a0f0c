//! Merge requests (<https://docs.gitlab.com/api/merge_requests/>).

use serde_json::{Value, json};

use super::answer::{Answer, Refusal, created, ok};
use super::changes::{Action, apply, is_draft};
use super::fields::Fields;
use super::model::{self, MergeRequest, Project};
use super::notes::say;
use super::paging::turn;
use super::place::{Place, merge_request, merge_request_mut};
use super::projects::web_url;
use super::store::now;
use super::tokens::Role;
use super::users::basic;
use crate::app::App;

/// `GET /projects/{project}/merge_requests`
pub async fn list(at: Place, fields: Fields) -> Answer {
    let project = at.project()?;
    let state = fields.choice("state", &["opened", "closed", "merged", "all", "locked"])?;
    let state = state.filter(|state| state != "all");
    let iids = fields.list("iids");
    let is = |name: &str, value: &str| fields.text(name).is_none_or(|wanted| wanted == value);
    let after = fields.text("updated_after").unwrap_or_default();
    let fits = |one: &&MergeRequest| {
        one.updated_at >= after
            && state.as_ref().is_none_or(|state| json!(one.state) == json!(state))
            && is("source_branch", &one.source_branch)
            && is("target_branch", &one.target_branch)
            && iids.as_ref().is_none_or(|iids| iids.contains(&one.iid.to_string()))
    };
    let mut found: Vec<&MergeRequest> = project.merge_requests.iter().filter(fits).collect();
    if fields.choice("order_by", &["created_at", "updated_at", "title"])?.as_deref()
        == Some("updated_at")
    {
        found.sort_by_key(|one| (&one.updated_at, one.id));
    }
    turn(&mut found, &fields, "desc")?;
    at.page(&fields, &found, |one| Some(shown(&at.app, &project, one)))
}

/// `POST /projects/{project}/merge_requests`. Unlike GitLab it takes an `iid` as well, so that a
/// test can have the number that its pipeline's variables name.
pub async fn create(at: Place, fields: Fields) -> Answer {
    at.make(Role::Reporter, |draft| {
        fields.require(&["title", "source_branch", "target_branch"])?;
        let text = |name: &str| fields.text(name).unwrap_or_default();
        let wanted = fields.number("iid")?;
        let source_project = fields.number("source_project_id")?.unwrap_or(draft.project.id);
        let all = &draft.project.merge_requests;
        let same = all.iter().find(|one| {
            one.state == model::State::Opened
                && one.source_branch == text("source_branch")
                && one.target_branch == text("target_branch")
        });
        if let Some(same) = same {
            let said = format!(
                "Another open merge request already exists for this source branch: !{}",
                same.iid
            );
            return Err(Refusal::message(409, json!([said])));
        }
        if wanted.is_some_and(|iid| iid == 0 || draft.project.merge_request(iid).is_some()) {
            return Err(Refusal::message(409, json!(["iid has already been taken"])));
        }
        let iid = wanted.unwrap_or_else(|| all.iter().map(|one| one.iid).max().unwrap_or(0) + 1);
        let time = now();
        let one = MergeRequest {
            id: draft.id(),
            iid,
            title: text("title"),
            description: text("description"),
            state: model::State::Opened,
            source_branch: text("source_branch"),
            target_branch: text("target_branch"),
            source_project,
            author: at.caller.user.clone(),
            assignees: Vec::new(),
            approved_by: Vec::new(),
            labels: fields.list("labels").unwrap_or_default(),
            locked: false,
            created_at: time.clone(),
            updated_at: time,
            notes: Vec::new(),
        };
        let answer = shown(&at.app, &draft.project, &one);
        draft.project.merge_requests.push(one);
        Ok(created(answer))
    })
}

/// `GET /projects/{project}/merge_requests/{iid}`
pub async fn view(at: Place) -> Answer {
    let project = at.project()?;
    Ok(ok(shown(&at.app, &project, merge_request(&project, at.item())?)))
}

/// `PUT /projects/{project}/merge_requests/{iid}`
pub async fn update(at: Place, fields: Fields) -> Answer {
    at.caller.at_least(Role::Reporter)?;
    let event = fields.choice("state_event", &["close", "reopen"])?;
    let event = event.map(|event| if event == "close" { Action::Close } else { Action::Reopen });
    let actions = [
        event,
        fields.text("title").map(Action::Title),
        fields.list("labels").map(Action::Relabel),
        fields.list("add_labels").map(Action::Label),
        fields.list("remove_labels").filter(|names| !names.is_empty()).map(Action::Unlabel),
    ];
    let actions: Vec<Action> = actions.into_iter().flatten().collect();
    change(&at, &actions, fields.text("description"))
}

/// `PUT /projects/{project}/merge_requests/{iid}/merge`
pub async fn merge(at: Place) -> Answer {
    let project = at.project()?;
    let one = merge_request(&project, at.item())?;
    if at.caller.role < Role::Developer {
        return Err(Refusal::unauthorized());
    }
    if one.state != model::State::Opened || is_draft(&one.title) {
        return Err(Refusal::message(405, "405 Method Not Allowed"));
    }
    change(&at, &[Action::Merge], None)
}

fn change(at: &Place, actions: &[Action], description: Option<String>) -> Answer {
    at.change(Role::Guest, |draft| {
        let one = merge_request_mut(&mut draft.project, at.item())?;
        let done = apply(one, actions, &at.caller);
        if let Some(description) = description {
            one.description = description;
        }
        one.updated_at = now();
        say(draft, at.item(), &done.system, &at.caller.user)?;
        let one = merge_request(&draft.project, at.item())?;
        Ok(ok(shown(&at.app, &draft.project, one)))
    })
}

/// A merge request's address for people.
#[must_use]
pub fn address(app: &App, project: &Project, one: &MergeRequest) -> String {
    format!("{}/-/merge_requests/{}", web_url(app, project), one.iid)
}

fn shown(app: &App, project: &Project, one: &MergeRequest) -> Value {
    let people = |names: &[String]| -> Vec<Value> {
        names.iter().map(|name| basic(app, &super::tokens::user(name, name))).collect()
    };
    let at = |state| (one.state == state).then_some(&one.updated_at);
    json!({
        "id": one.id, "iid": one.iid, "project_id": project.id, "title": one.title,
        "description": one.description, "state": one.state, "created_at": one.created_at,
        "updated_at": one.updated_at, "merged_at": at(model::State::Merged), "closed_at": at(model::State::Closed),
        "source_branch": one.source_branch, "target_branch": one.target_branch,
        "source_project_id": one.source_project, "target_project_id": project.id,
        "author": basic(app, &one.author), "assignees": people(&one.assignees), "reviewers": [],
        "labels": one.labels, "draft": is_draft(&one.title), "work_in_progress": is_draft(&one.title),
        "discussion_locked": one.locked, "has_conflicts": false, "merge_status": "can_be_merged",
        "detailed_merge_status": if is_draft(&one.title) { "draft_status" } else { "mergeable" },
        "user_notes_count": one.notes.iter().filter(|note| !note.system).count(),
        "references": { "short": format!("!{}", one.iid), "full": format!("{}!{}", project.path, one.iid) },
        "web_url": address(app, project, one),
    })
}
