//! Reads and changes comments of a merge request (<https://docs.gitlab.com/api/notes/>).

use axum::Json;
use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use serde_json::{Map, Value, json};

use super::changes::{MergeRequestAction, apply};
use super::context::{RequestContext, find_merge_request, find_merge_request_mut, position};
use super::fields::RequestFields;
use super::model::{StoredMergeRequest, StoredNote, StoredProject, StoredUser};
use super::paging::sort_rows;
use super::quick_actions::parse_comment;
use super::response::{GitlabError, GitlabResult, created_response, ok_response};
use super::store::{Draft, now};
use super::tokens::{Caller, UserRole};
use super::users::user_json;
use crate::app::App;

/// The maximum length of a note, in characters.
const MAX_LENGTH: usize = 1_000_000;

/// `GET …/notes`
pub async fn list(request: RequestContext, fields: RequestFields) -> GitlabResult {
    let project = request.project()?;
    let merge_request = find_merge_request(&project, request.item())?;
    fields.require_known(&["activity_filter"])?;
    let order = fields.choice("order_by", &["created_at", "updated_at"])?;
    let filters = ["all_notes", "only_comments", "only_activity"];
    let filter = fields.choice("activity_filter", &filters)?.unwrap_or_default();
    let is_selected = |note: &&StoredNote| match filter.as_str() {
        "only_comments" => !note.system,
        "only_activity" => note.system,
        _ => true,
    };
    let mut notes: Vec<&StoredNote> = merge_request.notes.iter().filter(is_selected).collect();
    if order.as_deref() == Some("updated_at") {
        notes.sort_by_key(|note| (&note.updated_at, note.id));
    }
    sort_rows(&mut notes, &fields, "desc")?;
    request.page(&fields, &notes, |note| {
        is_readable(&request, note)
            .then(|| note_json(&request.app, &project, merge_request, note, &Map::new()))
    })
}

/// `GET …/notes/{note}`
pub async fn view(request: RequestContext, fields: RequestFields) -> GitlabResult {
    let project = request.project()?;
    fields.require_known(&[])?;
    let merge_request = find_merge_request(&project, request.item())?;
    let note =
        &merge_request.notes[position(&merge_request.notes, request.note(), |note| note.id)?];
    if !is_readable(&request, note) {
        return Err(GitlabError::message(404, "404 Note Not Found"));
    }
    Ok(ok_response(note_json(&request.app, &project, merge_request, note, &Map::new())))
}

/// `POST …/notes`. Applies the quick actions in the text and removes them. A text with only quick
/// actions creates no note.
pub async fn create(request: RequestContext, fields: RequestFields) -> GitlabResult {
    request.app.gitlab.limits.count_note(request.caller.user.id)?;
    let (iid, user) = (request.item(), &request.caller.user);
    request.change(UserRole::Guest, |draft| {
        let merge_request = find_merge_request_mut(&mut draft.project, iid)?;
        fields.require(&["body"])?;
        let text = fields.text("body").unwrap_or_default();
        find_problem(&text)
            .map_or(Ok(()), |reason| Err(GitlabError::bad_request(&format!("Note {reason}"))))?;
        let internal = fields.flag("internal") || fields.flag("confidential");
        let comment = parse_comment(&text);
        let actions: Vec<MergeRequestAction> =
            comment.commands.iter().map(|(_, action)| action.clone()).collect();
        let applied = apply(merge_request, &actions, &request.caller);
        if comment.body.is_empty() {
            if applied.summary.is_empty() {
                let errors = comment.commands.iter();
                let errors = errors.map(|(name, _)| format!("Could not apply {name} command."));
                return Err(GitlabError::bad_request(&errors.collect::<Vec<_>>().join(", ")));
            }
            add_system_notes(draft, iid, &applied.system_notes, user)?;
            let document =
                json!({ "commands_changes": applied.changes, "summary": applied.summary });
            return Ok((StatusCode::ACCEPTED, Json(document)).into_response());
        }
        let note = add_note(draft, iid, &comment.body, user, false, internal)?;
        add_system_notes(draft, iid, &applied.system_notes, user)?;
        let merge_request = find_merge_request(&draft.project, iid)?;
        Ok(created_response(note_json(
            &request.app,
            &draft.project,
            merge_request,
            &note,
            &applied.changes,
        )))
    })
}

/// `PUT …/notes/{note}`. Applies quick actions too. A text with only quick actions deletes the note,
/// and the client gets an error (`app/services/notes/update_service.rb` in GitLab's source).
pub async fn update(request: RequestContext, fields: RequestFields) -> GitlabResult {
    let (iid, user) = (request.item(), &request.caller.user);
    request.change(UserRole::Guest, |draft| {
        let merge_request = find_merge_request_mut(&mut draft.project, iid)?;
        let index = position(&merge_request.notes, request.note(), |note| note.id)?;
        require_editable(&request.caller, &merge_request.notes[index])?;
        fields.require(&["body"])?;
        let text = fields.text("body").unwrap_or_default();
        if text.trim().is_empty() {
            return Err(GitlabError::error(400, "body is empty"));
        }
        let refusal =
            |reason: &str| GitlabError::bad_request(&format!("Failed to save note {reason}"));
        find_problem(&text).map_or(Ok(()), |reason| Err(refusal(&reason)))?;
        let comment = parse_comment(&text);
        let actions: Vec<MergeRequestAction> =
            comment.commands.into_iter().map(|(_, action)| action).collect();
        let applied = apply(merge_request, &actions, &request.caller);
        if comment.body.is_empty() {
            drop(merge_request.notes.remove(index));
            add_system_notes(draft, iid, &applied.system_notes, user)?;
            return Ok(refusal("{:note=>[\"can't be blank\"]}").into_response());
        }
        let note = &mut merge_request.notes[index];
        if note.body != comment.body {
            note.body.clone_from(&comment.body);
            note.updated_at = now();
        }
        let note = note.clone();
        add_system_notes(draft, iid, &applied.system_notes, user)?;
        let merge_request = find_merge_request(&draft.project, iid)?;
        Ok(ok_response(note_json(
            &request.app,
            &draft.project,
            merge_request,
            &note,
            &applied.changes,
        )))
    })
}

/// `DELETE …/notes/{note}`
pub async fn delete(request: RequestContext) -> GitlabResult {
    request.change(UserRole::Guest, |draft| {
        let merge_request = find_merge_request_mut(&mut draft.project, request.item())?;
        let index = position(&merge_request.notes, request.note(), |note| note.id)?;
        require_editable(&request.caller, &merge_request.notes[index])?;
        drop(merge_request.notes.remove(index));
        Ok(StatusCode::NO_CONTENT.into_response())
    })
}

/// Adds system notes with these texts to a merge request.
pub fn add_system_notes(
    draft: &mut Draft,
    iid: &str,
    texts: &[String],
    user: &StoredUser,
) -> Result<(), GitlabError> {
    texts.iter().try_for_each(|text| add_note(draft, iid, text, user, true, false).map(drop))
}

fn add_note(
    draft: &mut Draft,
    iid: &str,
    body: &str,
    author: &StoredUser,
    system: bool,
    internal: bool,
) -> Result<StoredNote, GitlabError> {
    let created_at = now();
    let note = StoredNote {
        id: draft.id(),
        body: body.to_owned(),
        author: author.clone(),
        created_at: created_at.clone(),
        updated_at: created_at.clone(),
        system,
        internal,
    };
    let merge_request = find_merge_request_mut(&mut draft.project, iid)?;
    merge_request.notes.push(note.clone());
    merge_request.updated_at = created_at;
    Ok(note)
}

/// Returns the problem of a text in Ruby's notation. `None` if the text is valid.
fn find_problem(text: &str) -> Option<String> {
    if text.trim().is_empty() {
        return Some("{:note=>[\"can't be blank\"]}".to_owned());
    }
    let too_long = text.chars().count() > MAX_LENGTH;
    too_long.then(|| format!("{{:note=>[\"is too long (maximum is {MAX_LENGTH} characters)\"]}}"))
}

/// Returns whether the caller may read a note.
pub(super) fn is_readable(request: &RequestContext, note: &StoredNote) -> bool {
    let is_hidden = note.internal && request.caller.role < UserRole::Reporter;
    !is_hidden && !request.app.gitlab.limits.is_unreadable(note.id)
}

/// Refuses a caller who may not edit `note`.
fn require_editable(caller: &Caller, note: &StoredNote) -> Result<(), GitlabError> {
    let is_permitted =
        !note.system && (note.author == caller.user || caller.role >= UserRole::Maintainer);
    if is_permitted { Ok(()) } else { Err(GitlabError::forbidden()) }
}

/// Returns a note in the API's format.
pub(super) fn note_json(
    app: &App,
    project: &StoredProject,
    merge_request: &StoredMergeRequest,
    note: &StoredNote,
    changes: &Map<String, Value>,
) -> Value {
    json!({
        "id": note.id, "type": null, "body": note.body, "attachment": null,
        "author": user_json(app, &note.author), "created_at": note.created_at, "updated_at": note.updated_at,
        "system": note.system, "noteable_id": merge_request.id, "noteable_type": "MergeRequest",
        "project_id": project.id, "resolvable": false, "confidential": note.internal,
        "internal": note.internal, "imported": false, "imported_from": "none",
        "noteable_iid": merge_request.iid, "commands_changes": changes,
    })
}
