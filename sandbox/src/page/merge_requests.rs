//! Returns the merge requests for the page, with comments as HTML.

use serde_json::{Value, json};

use crate::app::App;
use crate::gitlab::markdown::render;
use crate::gitlab::merge_requests::merge_request_url;
use crate::gitlab::model::{StoredMergeRequest, StoredNote, StoredProject};

/// The maximum number of merge requests of a project.
const MAX_REQUESTS: usize = 20;

/// The maximum number of notes of a merge request.
const MAX_NOTES: usize = 50;

/// Returns the newest merge requests of every project, each with its newest notes.
#[must_use]
pub fn merge_requests_json(app: &App) -> Vec<Value> {
    let newest_in = |project: &StoredProject| -> Vec<Value> {
        let newest = project.merge_requests.iter().rev().take(MAX_REQUESTS);
        newest.map(|merge_request| merge_request_json(app, project, merge_request)).collect()
    };
    app.gitlab.store.all().iter().flat_map(|project| newest_in(project)).collect()
}

fn merge_request_json(
    app: &App,
    project: &StoredProject,
    merge_request: &StoredMergeRequest,
) -> Value {
    let first = merge_request.notes.len().saturating_sub(MAX_NOTES);
    json!({
        "id": format!("mr-{}-{}", project.id, merge_request.iid), "project": project.path, "iid": merge_request.iid,
        "title": merge_request.title, "state": merge_request.state, "url": merge_request_url(app, project, merge_request),
        "author": merge_request.author.name, "sourceBranch": merge_request.source_branch,
        "targetBranch": merge_request.target_branch, "labels": merge_request.labels,
        "comments": merge_request.notes[first..].iter().map(note_json).collect::<Vec<_>>(),
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
