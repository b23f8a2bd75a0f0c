//! Reads discussions, approvals, pipelines and jobs. The sandbox supports no changes of them.

use serde_json::{Map, Value, json};

use super::context::{RequestContext, merge_request};
use super::fields::RequestFields;
use super::model::{StoredMergeRequest, StoredNote, StoredProject};
use super::notes::{is_readable, note_json};
use super::response::{GitlabError, GitlabResult, ok_response};
use super::tokens::user;
use super::users::user_json;

/// `GET …/pipelines` and `GET …/jobs`, which return an empty list
pub async fn empty_list(request: RequestContext, fields: RequestFields) -> GitlabResult {
    request.project()?;
    let rows: [(); 0] = [];
    request.page(&fields, &rows, |()| None)
}

/// `GET …/pipelines/{pipeline}` and `GET …/jobs/{job}`, which find nothing
pub async fn missing_item(request: RequestContext) -> GitlabResult {
    request.project()?;
    Err(GitlabError::not_found())
}

/// `GET …/approvals`
pub async fn approvals(request: RequestContext, fields: RequestFields) -> GitlabResult {
    let project = request.project()?;
    fields.require_known(&[])?;
    let one = merge_request(&project, request.item())?;
    let approvers = one
        .approved_by
        .iter()
        .map(|name| json!({ "user": user_json(&request.app, &user(name, name)) }));
    let has_approved = one.approved_by.contains(&request.caller.user.username);
    Ok(ok_response(json!({
        "id": one.id, "iid": one.iid, "project_id": project.id, "title": one.title,
        "state": one.state, "approved": !one.approved_by.is_empty(), "approvals_required": 0,
        "approvals_left": 0, "approved_by": approvers.collect::<Vec<_>>(), "suggested_approvers": [],
        "user_has_approved": has_approved, "user_can_approve": !has_approved,
        "has_approval_rules": false, "approval_rules_left": [], "merge_status": "can_be_merged",
    })))
}

/// `GET …/approval_state`
pub async fn approval_state(request: RequestContext, fields: RequestFields) -> GitlabResult {
    let project = request.project()?;
    fields.require_known(&[])?;
    merge_request(&project, request.item())?;
    Ok(ok_response(json!({ "approval_rules_overwritten": false, "rules": [] })))
}

/// `GET …/approval_rules`. The sandbox has no rules.
pub async fn approval_rules(request: RequestContext, fields: RequestFields) -> GitlabResult {
    nothing_of_merge_request(&request, &fields)
}

/// `GET …/closes_issues`. The sandbox has no issues.
pub async fn closes_issues(request: RequestContext, fields: RequestFields) -> GitlabResult {
    nothing_of_merge_request(&request, &fields)
}

/// `GET …/merge_requests/{iid}/pipelines`. The sandbox has no pipelines.
pub async fn merge_request_pipelines(
    request: RequestContext,
    fields: RequestFields,
) -> GitlabResult {
    nothing_of_merge_request(&request, &fields)
}

/// Returns an empty list for a merge request that exists.
fn nothing_of_merge_request(request: &RequestContext, fields: &RequestFields) -> GitlabResult {
    let project = request.project()?;
    fields.require_known(&[])?;
    merge_request(&project, request.item())?;
    request.page(fields, &[(); 0], |()| None)
}

/// `GET …/participants`: the author, the assignees and everyone who wrote a comment
pub async fn participants(request: RequestContext, fields: RequestFields) -> GitlabResult {
    let project = request.project()?;
    fields.require_known(&[])?;
    let one = merge_request(&project, request.item())?;
    let mut users = vec![one.author.clone()];
    let writers = one.notes.iter().filter(|note| !note.system && is_readable(&request, note));
    let assignees = one.assignees.iter().map(|name| user(name, name));
    for user in assignees.chain(writers.map(|note| note.author.clone())) {
        if !users.iter().any(|known| known.id == user.id) {
            users.push(user);
        }
    }
    request.page(&fields, &users, |user| Some(user_json(&request.app, user)))
}

/// `GET …/discussions`. Each comment is a separate discussion.
pub async fn discussions(request: RequestContext, fields: RequestFields) -> GitlabResult {
    let project = request.project()?;
    let one = merge_request(&project, request.item())?;
    fields.require_known(&[])?;
    request.page(&fields, &one.notes, |note| {
        is_readable(&request, note).then(|| discussion_json(&request, &project, one, note))
    })
}

/// `GET …/discussions/{discussion}`
pub async fn discussion(request: RequestContext, fields: RequestFields) -> GitlabResult {
    let project = request.project()?;
    fields.require_known(&[])?;
    let one = merge_request(&project, request.item())?;
    let note =
        one.notes.iter().find(|note| id(note) == request.note() && is_readable(&request, note));
    let note = note.ok_or_else(GitlabError::not_found)?;
    Ok(ok_response(discussion_json(&request, &project, one, note)))
}

fn discussion_json(
    request: &RequestContext,
    project: &StoredProject,
    one: &StoredMergeRequest,
    note: &StoredNote,
) -> Value {
    let note_json = note_json(&request.app, project, one, note, &Map::new());
    json!({ "id": id(note), "individual_note": true, "notes": [note_json] })
}

fn id(note: &StoredNote) -> String {
    blake3::hash(&note.id.to_be_bytes()).to_hex()[..40].to_owned()
}
