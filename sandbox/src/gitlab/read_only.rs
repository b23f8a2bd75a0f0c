//! Reads discussions, approvals, pipelines and jobs, which the sandbox does not change.

use serde_json::{Map, Value, json};

use super::context::{RequestContext, find_merge_request};
use super::fields::RequestFields;
use super::model::{StoredMergeRequest, StoredNote, StoredProject};
use super::notes::{is_readable, note_json};
use super::response::{GitlabError, GitlabResult, ok_response};
use super::tokens::user;
use super::users::user_json;

/// `GET …/pipelines` and `GET …/jobs`. Returns an empty list.
pub async fn empty_list(request: RequestContext, fields: RequestFields) -> GitlabResult {
    request.project()?;
    let rows: [(); 0] = [];
    request.page(&fields, &rows, |()| None)
}

/// `GET …/pipelines/{pipeline}` and `GET …/jobs/{job}`. Responds with 404, because the sandbox has none.
pub async fn missing_item(request: RequestContext) -> GitlabResult {
    request.project()?;
    Err(GitlabError::not_found())
}

/// `GET …/approvals`
pub async fn approvals(request: RequestContext, fields: RequestFields) -> GitlabResult {
    let project = request.project()?;
    fields.require_known(&[])?;
    let merge_request = find_merge_request(&project, request.item())?;
    let approvers = merge_request
        .approved_by
        .iter()
        .map(|name| json!({ "user": user_json(&request.app, &user(name, name)) }));
    let has_approved = merge_request.approved_by.contains(&request.caller.user.username);
    Ok(ok_response(json!({
        "id": merge_request.id, "iid": merge_request.iid, "project_id": project.id, "title": merge_request.title,
        "state": merge_request.state, "approved": !merge_request.approved_by.is_empty(), "approvals_required": 0,
        "approvals_left": 0, "approved_by": approvers.collect::<Vec<_>>(), "suggested_approvers": [],
        "user_has_approved": has_approved, "user_can_approve": !has_approved,
        "has_approval_rules": false, "approval_rules_left": [], "merge_status": "can_be_merged",
    })))
}

/// `GET …/approval_state`
pub async fn approval_state(request: RequestContext, fields: RequestFields) -> GitlabResult {
    let project = request.project()?;
    fields.require_known(&[])?;
    find_merge_request(&project, request.item())?;
    Ok(ok_response(json!({ "approval_rules_overwritten": false, "rules": [] })))
}

/// `GET …/approval_rules`. The sandbox has no approval rules.
pub async fn approval_rules(request: RequestContext, fields: RequestFields) -> GitlabResult {
    empty_list_of_merge_request(&request, &fields)
}

/// `GET …/closes_issues`. The sandbox has no issues.
pub async fn closes_issues(request: RequestContext, fields: RequestFields) -> GitlabResult {
    empty_list_of_merge_request(&request, &fields)
}

/// `GET …/merge_requests/{iid}/pipelines`. The sandbox has no pipelines.
pub async fn merge_request_pipelines(
    request: RequestContext,
    fields: RequestFields,
) -> GitlabResult {
    empty_list_of_merge_request(&request, &fields)
}

/// Returns an empty list for a merge request that exists.
fn empty_list_of_merge_request(request: &RequestContext, fields: &RequestFields) -> GitlabResult {
    let project = request.project()?;
    fields.require_known(&[])?;
    find_merge_request(&project, request.item())?;
    request.page(fields, &[(); 0], |()| None)
}

/// `GET …/participants`: lists the author, the assignees and everyone who wrote a comment.
pub async fn participants(request: RequestContext, fields: RequestFields) -> GitlabResult {
    let project = request.project()?;
    fields.require_known(&[])?;
    let merge_request = find_merge_request(&project, request.item())?;
    let mut users = vec![merge_request.author.clone()];
    let commenters =
        merge_request.notes.iter().filter(|note| !note.system && is_readable(&request, note));
    let assignees = merge_request.assignees.iter().map(|name| user(name, name));
    for user in assignees.chain(commenters.map(|note| note.author.clone())) {
        if !users.iter().any(|known| known.id == user.id) {
            users.push(user);
        }
    }
    request.page(&fields, &users, |user| Some(user_json(&request.app, user)))
}

/// `GET …/discussions`. Each comment is a separate discussion.
pub async fn discussions(request: RequestContext, fields: RequestFields) -> GitlabResult {
    let project = request.project()?;
    let merge_request = find_merge_request(&project, request.item())?;
    fields.require_known(&[])?;
    request.page(&fields, &merge_request.notes, |note| {
        is_readable(&request, note)
            .then(|| discussion_json(&request, &project, merge_request, note))
    })
}

/// `GET …/discussions/{discussion}`
pub async fn discussion(request: RequestContext, fields: RequestFields) -> GitlabResult {
    let project = request.project()?;
    fields.require_known(&[])?;
    let merge_request = find_merge_request(&project, request.item())?;
    let note = merge_request
        .notes
        .iter()
        .find(|note| discussion_id(note) == request.note() && is_readable(&request, note));
    let note = note.ok_or_else(GitlabError::not_found)?;
    Ok(ok_response(discussion_json(&request, &project, merge_request, note)))
}

fn discussion_json(
    request: &RequestContext,
    project: &StoredProject,
    merge_request: &StoredMergeRequest,
    note: &StoredNote,
) -> Value {
    let note_json = note_json(&request.app, project, merge_request, note, &Map::new());
    json!({ "id": discussion_id(note), "individual_note": true, "notes": [note_json] })
}

/// Returns the id of the discussion that consists of `note`.
fn discussion_id(note: &StoredNote) -> String {
    blake3::hash(&note.id.to_be_bytes()).to_hex()[..40].to_owned()
}
