//! The comment of a merge request: rows to Markdown, and rows back from the Markdown of a note.
//!
//! The note itself carries its rows as hidden JSON, so that jobs which know nothing of each other
//! can each change their own rows and keep the others'.

pub mod escape;
pub mod render;
pub mod state;

use serde::{Deserialize, Serialize};

/// The first line of the comment. It is not rendered, and it is no proof: anyone can paste it, so
/// the author counts as well.
pub const MARKER: &str = "<!-- xtask preview v1 -->";

/// The status of a project's preview.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Status {
    /// A job works on it.
    Building,
    /// It answers.
    Ready,
    /// It could not be made.
    Failed,
    /// There is none before the merge, which deploys the project for the first time.
    Undeployed,
    /// The merge request does not change it.
    Unaffected,
    /// It was there, and is no longer.
    Removed,
}

/// A row of the comment, for one project. Every text may come from outside.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// The project's name, which tells rows apart.
    pub project: String,
    /// The status.
    pub status: Status,
    /// The address that stays the same over every push.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias_url: Option<String>,
    /// The address of exactly this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version_url: Option<String>,
    /// The commit it was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The time of this status, RFC 3339 in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// The page with the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    /// The reason of a failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What a person should read although the preview is ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
    /// The id of the pipeline that says so. A later pipeline's row is not replaced by an earlier's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<u64>,
}

impl Row {
    /// Returns a row with a status alone.
    pub fn new(project: impl Into<String>, status: Status) -> Row {
        Row {
            project: project.into(),
            status,
            alias_url: None,
            version_url: None,
            commit: None,
            time: None,
            log: None,
            reason: None,
            warning: None,
            pipeline: None,
        }
    }
}

/// A change that a job makes to the comment.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// These rows, beside those of other projects.
    Rows(&'a [Row]),
    /// That every preview was removed, at this time.
    Removed(&'a str),
}

impl Change<'_> {
    /// Returns the rows after the change, by project.
    #[must_use]
    pub fn apply(&self, stored: Vec<Row>) -> Vec<Row> {
        match self {
            Change::Rows(ours) => merge_rows(stored, ours),
            Change::Removed(time) => {
                stored.into_iter().map(|row| mark_removed(row, time)).collect()
            }
        }
    }
}

/// Returns `stored` with `ours` in place of rows of the same projects, by project. A project that is
/// built again still answers at its alias.
#[must_use]
pub fn merge_rows(stored: Vec<Row>, ours: &[Row]) -> Vec<Row> {
    let mut rows = stored;
    for new in ours {
        let Some(old) = rows.iter_mut().find(|row| row.project == new.project) else {
            rows.push(new.clone());
            continue;
        };
        let earlier = new.pipeline.is_some() && old.pipeline > new.pipeline;
        // Jobs of one pipeline may know only their own projects.
        let same = new.pipeline.is_some() && old.pipeline == new.pipeline;
        let less = same && new.status == Status::Unaffected && old.status != Status::Removed;
        if earlier || less {
            continue;
        }
        let alias_url = match new.status {
            Status::Building => new.alias_url.clone().or_else(|| old.alias_url.take()),
            _ => new.alias_url.clone(),
        };
        *old = Row { alias_url, ..new.clone() };
    }
    rows.sort_by(|a, b| a.project.cmp(&b.project));
    rows
}

/// Returns the rows of several notes as one list. Of two rows of a project the later one counts, and a
/// result counts before the announcement that a job works on it.
#[must_use]
pub fn union_of_notes(notes: impl IntoIterator<Item = Vec<Row>>) -> Vec<Row> {
    let age = |row: &Row| (row.pipeline, row.status != Status::Building, row.time.clone());
    let mut rows: Vec<Row> = Vec::new();
    for row in notes.into_iter().flatten() {
        match rows.iter_mut().find(|known| known.project == row.project) {
            Some(known) if age(known) < age(&row) => *known = row,
            Some(_) => {}
            None => rows.push(row),
        }
    }
    rows.sort_by(|a, b| a.project.cmp(&b.project));
    rows
}

fn mark_removed(row: Row, time: &str) -> Row {
    match row.status {
        Status::Unaffected | Status::Undeployed | Status::Removed => row,
        Status::Building | Status::Ready | Status::Failed => Row {
            commit: row.commit,
            time: Some(time.to_owned()),
            pipeline: row.pipeline,
            ..Row::new(row.project, Status::Removed)
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(project: &str, status: Status, pipeline: u64) -> Row {
        let alias_url = Some(format!("https://{project}.example/"));
        Row { pipeline: Some(pipeline), alias_url, ..Row::new(project, status) }
    }

    #[test]
    fn rows_of_others_stay_and_ours_are_replaced() {
        let stored = vec![row("b", Status::Ready, 1), row("a", Status::Ready, 1)];
        let rows = merge_rows(stored, &[row("b", Status::Failed, 1), row("c", Status::Ready, 1)]);
        let statuses: Vec<_> = rows.iter().map(|row| (row.project.as_str(), row.status)).collect();
        assert_eq!(statuses, [("a", Status::Ready), ("b", Status::Failed), ("c", Status::Ready)]);
    }

    #[test]
    fn an_earlier_pipeline_does_not_undo_a_later_one() {
        let later = vec![row("a", Status::Ready, 9)];
        assert_eq!(merge_rows(later.clone(), &[row("a", Status::Failed, 8)]), later);
        let local = Row { pipeline: None, ..row("a", Status::Failed, 0) };
        assert_eq!(merge_rows(later, std::slice::from_ref(&local)), [local]);
    }

    #[test]
    fn a_job_that_does_not_build_a_project_does_not_deny_one_that_does() {
        let unaffected = |pipeline| row("a", Status::Unaffected, pipeline);
        let status = |rows: Vec<Row>| rows[0].status;
        let ready = || vec![row("a", Status::Ready, 8)];
        assert_eq!(status(merge_rows(ready(), &[unaffected(8)])), Status::Ready);
        assert_eq!(status(merge_rows(ready(), &[unaffected(9)])), Status::Unaffected);
        assert_eq!(status(merge_rows(vec![unaffected(8)], &ready())), Status::Ready);
    }

    #[test]
    fn a_build_keeps_the_address_that_still_answers() {
        let rows = merge_rows(vec![row("a", Status::Ready, 1)], &[Row::new("a", Status::Building)]);
        assert_eq!(rows[0].alias_url.as_deref(), Some("https://a.example/"));
        let rows = merge_rows(vec![row("a", Status::Ready, 1)], &[Row::new("a", Status::Failed)]);
        assert_eq!(rows[0].alias_url, None);
    }

    #[test]
    fn of_two_notes_the_later_row_counts() {
        let (old, new) = (row("a", Status::Ready, 1), row("a", Status::Building, 2));
        for notes in [[vec![old.clone()], vec![new.clone()]], [vec![new.clone()], vec![old]]] {
            assert_eq!(union_of_notes(notes), std::slice::from_ref(&new));
        }
        let (building, ready) = (row("a", Status::Building, 2), row("a", Status::Ready, 2));
        assert_eq!(union_of_notes([vec![ready.clone()], vec![building]]), [ready]);
    }

    #[test]
    fn removal_is_said_once_and_leaves_no_address() {
        let stored = vec![row("a", Status::Ready, 1), Row::new("b", Status::Unaffected)];
        let once = Change::Removed("2026-11-24T12:00:00Z").apply(stored.clone());
        assert_eq!((once[0].status, once[0].alias_url.as_deref()), (Status::Removed, None));
        assert_eq!(once[1], stored[1]);
        assert_eq!(Change::Removed("2027-01-01T00:00:00Z").apply(once.clone()), once);
    }
}
