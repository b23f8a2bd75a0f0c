//! Reads and changes comments of a merge request (<https://docs.gitlab.com/api/notes/>).

use axum::Json;
use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use serde_json::{Map, Value, json};

use super::answer::{Answer, Refusal, created, ok};
use super::changes::{Action, apply};
use super::fields::Fields;
use super::model::{MergeRequest, Note, Project, User};
use super::paging::turn;
use super::place::{Place, merge_request, merge_request_mut, position};
use super::quick_actions::extract;
use super::store::{Draft, now};
use super::tokens::{Caller, Role};
use super::users::basic;
use crate::app::App;

/// The longest text of a note, in characters.
const LONGEST: usize = 1_000_000;

/// `GET …/notes`
pub async fn list(at: Place, fields: Fields) -> Answer {
    let project = at.project()?;
    let one = merge_request(&project, at.item())?;
    fields.only(&["activity_filter"])?;
    let order = fields.choice("order_by", &["created_at", "updated_at"])?;
    let filters = ["all_notes", "only_comments", "only_activity"];
    let filter = fields.choice("activity_filter", &filters)?.unwrap_or_default();
    let wanted = |note: &&Note| match filter.as_str() {
        "only_comments" => !note.system,
        "only_activity" => note.system,
        _ => true,
    };
    let mut notes: Vec<&Note> = one.notes.iter().filter(wanted).collect();
    if order.as_deref() == Some("updated_at") {
        notes.sort_by_key(|note| (&note.updated_at, note.id));
    }
    turn(&mut notes, &fields, "desc")?;
    at.page(&fields, &notes, |note| {
        readable(&at, note).then(|| shown(&at.app, &project, one, note, &Map::new()))
    })
}

/// `GET …/notes/{note}`
pub async fn view(at: Place) -> Answer {
    let project = at.project()?;
    let one = merge_request(&project, at.item())?;
    let note = &one.notes[position(&one.notes, at.note(), |note| note.id)?];
    if !readable(&at, note) {
        return Err(Refusal::message(404, "404 Note Not Found"));
    }
    Ok(ok(shown(&at.app, &project, one, note, &Map::new())))
}

/// `POST …/notes`. Quick actions in the text act, and leave it; a text of nothing else makes no
/// note.
pub async fn create(at: Place, fields: Fields) -> Answer {
    at.app.gitlab.limits.note(at.caller.user.id)?;
    let (iid, user) = (at.item(), &at.caller.user);
    at.change(Role::Guest, |draft| {
        let one = merge_request_mut(&mut draft.project, iid)?;
        fields.require(&["body"])?;
        let text = fields.text("body").unwrap_or_default();
        invalid(&text).map_or(Ok(()), |reason| Err(Refusal::bad(&format!("Note {reason}"))))?;
        let internal = fields.flag("internal") || fields.flag("confidential");
        let extracted = extract(&text);
        let actions: Vec<Action> =
            extracted.commands.iter().map(|(_, action)| action.clone()).collect();
        let done = apply(one, &actions, &at.caller);
        if extracted.body.is_empty() {
            if done.summary.is_empty() {
                let failed =
                    |(name, _): &(String, Action)| format!("Could not apply {name} command.");
                let failed: Vec<String> = extracted.commands.iter().map(failed).collect();
                return Err(Refusal::bad(&failed.join(", ")));
            }
            say(draft, iid, &done.system, user)?;
            let answer = json!({ "commands_changes": done.changes, "summary": done.summary });
            return Ok((StatusCode::ACCEPTED, Json(answer)).into_response());
        }
        let note = add(draft, iid, &extracted.body, user, false, internal)?;
        say(draft, iid, &done.system, user)?;
        let one = merge_request(&draft.project, iid)?;
        Ok(created(shown(&at.app, &draft.project, one, &note, &done.changes)))
    })
}

/// `PUT …/notes/{note}`. Quick actions act here too: a text of nothing else deletes the note and is
/// a refusal for the client (`app/services/notes/update_service.rb` in GitLab's source).
pub async fn update(at: Place, fields: Fields) -> Answer {
    let (iid, user) = (at.item(), &at.caller.user);
    at.change(Role::Guest, |draft| {
        let one = merge_request_mut(&mut draft.project, iid)?;
        let index = position(&one.notes, at.note(), |note| note.id)?;
        editable(&at.caller, &one.notes[index])?;
        fields.require(&["body"])?;
        let text = fields.text("body").unwrap_or_default();
        if text.trim().is_empty() {
            return Err(Refusal::error(400, "body is empty"));
        }
        let refused = |reason: &str| Refusal::bad(&format!("Failed to save note {reason}"));
        invalid(&text).map_or(Ok(()), |reason| Err(refused(&reason)))?;
        let extracted = extract(&text);
        let actions: Vec<Action> =
            extracted.commands.into_iter().map(|(_, action)| action).collect();
        let done = apply(one, &actions, &at.caller);
        if extracted.body.is_empty() {
            drop(one.notes.remove(index));
            say(draft, iid, &done.system, user)?;
            return Ok(Err(refused("{:note=>[\"can't be blank\"]}")));
        }
        let note = &mut one.notes[index];
        if note.body != extracted.body {
            note.body.clone_from(&extracted.body);
            note.updated_at = now();
        }
        let note = note.clone();
        say(draft, iid, &done.system, user)?;
        let one = merge_request(&draft.project, iid)?;
        Ok(Ok(ok(shown(&at.app, &draft.project, one, &note, &done.changes))))
    })?
}

/// `DELETE …/notes/{note}`
pub async fn delete(at: Place) -> Answer {
    at.change(Role::Guest, |draft| {
        let one = merge_request_mut(&mut draft.project, at.item())?;
        let index = position(&one.notes, at.note(), |note| note.id)?;
        editable(&at.caller, &one.notes[index])?;
        drop(one.notes.remove(index));
        Ok(StatusCode::NO_CONTENT.into_response())
    })
}

/// Writes system notes.
pub fn say(draft: &mut Draft, iid: &str, texts: &[String], user: &User) -> Result<(), Refusal> {
    texts.iter().try_for_each(|text| add(draft, iid, text, user, true, false).map(drop))
}

fn add(
    draft: &mut Draft,
    iid: &str,
    body: &str,
    author: &User,
    system: bool,
    internal: bool,
) -> Result<Note, Refusal> {
    let time = now();
    let note = Note {
        id: draft.id(),
        body: body.to_owned(),
        author: author.clone(),
        created_at: time.clone(),
        updated_at: time.clone(),
        system,
        internal,
    };
    let one = merge_request_mut(&mut draft.project, iid)?;
    one.notes.push(note.clone());
    one.updated_at = time;
    Ok(note)
}

/// What is wrong with a text, as Ruby prints it.
fn invalid(text: &str) -> Option<String> {
    if text.trim().is_empty() {
        return Some("{:note=>[\"can't be blank\"]}".to_owned());
    }
    let too_long = text.chars().count() > LONGEST;
    too_long.then(|| format!("{{:note=>[\"is too long (maximum is {LONGEST} characters)\"]}}"))
}

pub(super) fn readable(at: &Place, note: &Note) -> bool {
    let hidden = note.internal && at.caller.role < Role::Reporter;
    !hidden && !at.app.gitlab.limits.unreadable(note.id)
}

fn editable(caller: &Caller, note: &Note) -> Result<(), Refusal> {
    let may = !note.system && (note.author == caller.user || caller.role >= Role::Maintainer);
    if may { Ok(()) } else { Err(Refusal::forbidden()) }
}

pub(super) fn shown(
    app: &App,
    project: &Project,
    one: &MergeRequest,
    note: &Note,
    changes: &Map<String, Value>,
) -> Value {
    json!({
        "id": note.id, "type": null, "body": note.body, "attachment": null,
        "author": basic(app, &note.author), "created_at": note.created_at, "updated_at": note.updated_at,
        "system": note.system, "noteable_id": one.id, "noteable_type": "MergeRequest",
        "project_id": project.id, "resolvable": false, "confidential": note.internal,
        "internal": note.internal, "imported": false, "imported_from": "none",
        "noteable_iid": one.iid, "commands_changes": changes,
    })
}
