//! Shows what clients read beside a merge request: discussions, approvals, pipelines and jobs. Nothing of
//! it can be changed here.

use serde_json::{Map, Value, json};

use super::answer::{Answer, Refusal, ok};
use super::fields::Fields;
use super::model::{MergeRequest, Note, Project};
use super::notes::{readable, shown};
use super::place::{Place, merge_request};
use super::tokens::user;
use super::users::basic;

/// `GET …/pipelines` and `GET …/jobs`: there are none.
pub async fn none(at: Place, fields: Fields) -> Answer {
    at.project()?;
    let none: [(); 0] = [];
    at.page(&fields, &none, |()| None)
}

/// `GET …/pipelines/{pipeline}` and `GET …/jobs/{job}`: there is none.
pub async fn no_such(at: Place) -> Answer {
    at.project()?;
    Err(Refusal::not_found())
}

/// `GET …/approvals`
pub async fn approvals(at: Place) -> Answer {
    let project = at.project()?;
    let one = merge_request(&project, at.item())?;
    let by =
        one.approved_by.iter().map(|name| json!({ "user": basic(&at.app, &user(name, name)) }));
    let has_approved = one.approved_by.contains(&at.caller.user.username);
    Ok(ok(json!({
        "id": one.id, "iid": one.iid, "project_id": project.id, "title": one.title,
        "state": one.state, "approved": !one.approved_by.is_empty(), "approvals_required": 0,
        "approvals_left": 0, "approved_by": by.collect::<Vec<_>>(), "suggested_approvers": [],
        "user_has_approved": has_approved, "user_can_approve": !has_approved,
        "has_approval_rules": false, "approval_rules_left": [], "merge_status": "can_be_merged",
    })))
}

/// `GET …/approval_state`
pub async fn approval_state(at: Place) -> Answer {
    let project = at.project()?;
    merge_request(&project, at.item())?;
    Ok(ok(json!({ "approval_rules_overwritten": false, "rules": [] })))
}

/// `GET …/discussions`: each comment is a discussion of its own.
pub async fn discussions(at: Place, fields: Fields) -> Answer {
    let project = at.project()?;
    let one = merge_request(&project, at.item())?;
    fields.only(&[])?;
    at.page(&fields, &one.notes, |note| {
        readable(&at, note).then(|| discussion_of(&at, &project, one, note))
    })
}

/// `GET …/discussions/{discussion}`
pub async fn discussion(at: Place) -> Answer {
    let project = at.project()?;
    let one = merge_request(&project, at.item())?;
    let found = one.notes.iter().find(|note| id(note) == at.note() && readable(&at, note));
    let found = found.ok_or_else(Refusal::not_found)?;
    Ok(ok(discussion_of(&at, &project, one, found)))
}

fn discussion_of(at: &Place, project: &Project, one: &MergeRequest, note: &Note) -> Value {
    let note_shown = shown(&at.app, project, one, note, &Map::new());
    json!({ "id": id(note), "individual_note": true, "notes": [note_shown] })
}

fn id(note: &Note) -> String {
    blake3::hash(&note.id.to_be_bytes()).to_hex()[..40].to_owned()
}
