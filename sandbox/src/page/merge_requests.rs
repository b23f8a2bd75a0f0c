//! Merge requests as the page shows them, comments as HTML.

use serde_json::{Value, json};

use crate::app::App;
use crate::gitlab::markdown::render;
use crate::gitlab::merge_requests::address;
use crate::gitlab::model::{StoredMergeRequest, StoredNote, StoredProject};

/// The maximum number of merge requests per project.
const MAX_REQUESTS: usize = 20;

/// The maximum number of notes per merge request.
const MAX_NOTES: usize = 50;

/// Returns the newest merge requests of every project, each with its newest notes.
#[must_use]
pub fn merge_requests_json(app: &App) -> Vec<Value> {
    let newest_of = |project: &StoredProject| -> Vec<Value> {
        let newest = project.merge_requests.iter().rev().take(MAX_REQUESTS);
        newest.map(|one| merge_request_json(app, project, one)).collect()
    };
    app.gitlab.store.all().iter().flat_map(|project| newest_of(project)).collect()
}

fn merge_request_json(app: &App, project: &StoredProject, one: &StoredMergeRequest) -> Value {
    let first = one.notes.len().saturating_sub(MAX_NOTES);
    json!({
        "id": format!("mr-{}-{}", project.id, one.iid), "project": project.path, "iid": one.iid,
        "title": one.title, "state": one.state, "url": address(app, project, one),
        "author": one.author.name, "sourceBranch": one.source_branch,
        "targetBranch": one.target_branch, "labels": one.labels,
        "comments": one.notes[first..].iter().map(note_json).collect::<Vec<_>>(),
    })
}

fn note_json(note: &StoredNote) -> Value {
    json!({
        "id": note.id, "author": note.author.name, "username": note.author.username,
        "html": render(&note.body), "system": note.system, "internal": note.internal,
        "createdAt": note.created_at,
        "editedAt": (note.updated_at != note.created_at).then_some(&note.updated_at),
    })
}
