//! Merge requests as the page shows them, comments as HTML.

use serde_json::{Value, json};

use crate::app::App;
use crate::gitlab::markdown::render;
use crate::gitlab::merge_requests::address;
use crate::gitlab::model::{MergeRequest, Note, Project};

/// How many merge requests of a project are shown.
const REQUESTS: usize = 20;

/// How many notes of a merge request are shown.
const NOTES: usize = 50;

/// The newest merge requests of every project, each with its newest notes.
#[must_use]
pub fn shown(app: &App) -> Vec<Value> {
    let of = |project: &Project| -> Vec<Value> {
        let newest = project.merge_requests.iter().rev().take(REQUESTS);
        newest.map(|one| merge_request(app, project, one)).collect()
    };
    app.gitlab.store.all().iter().flat_map(|project| of(project)).collect()
}

fn merge_request(app: &App, project: &Project, one: &MergeRequest) -> Value {
    let first = one.notes.len().saturating_sub(NOTES);
    json!({
        "id": format!("mr-{}-{}", project.id, one.iid), "project": project.path, "iid": one.iid,
        "title": one.title, "state": one.state, "url": address(app, project, one),
        "author": one.author.name, "sourceBranch": one.source_branch,
        "targetBranch": one.target_branch, "labels": one.labels,
        "comments": one.notes[first..].iter().map(note).collect::<Vec<_>>(),
    })
}

fn note(note: &Note) -> Value {
    json!({
        "id": note.id, "author": note.author.name, "username": note.author.username,
        "html": render(&note.body), "system": note.system, "internal": note.internal,
        "createdAt": note.created_at,
        "editedAt": (note.updated_at != note.created_at).then_some(&note.updated_at),
    })
}
