//! The comment of a merge request: renders rows as Markdown, and parses rows from the Markdown of a note.
//!
//! The note contains its rows as hidden JSON, so that independent jobs can each change their own
//! rows and keep the others.

pub mod escape;
pub mod render;
pub mod state;

use serde::{Deserialize, Serialize};

/// The first line of the comment. It is not rendered. It proves nothing, because anyone can paste
/// it, so the author is checked too.
pub const MARKER: &str = "<!-- xtask preview v1 -->";

/// The status of a project's preview.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum PreviewStatus {
    /// A job is building it.
    Building,
    /// It is ready.
    Ready,
    /// It failed.
    Failed,
    /// There is no preview before the merge, which deploys the project for the first time.
    Undeployed,
    /// The merge request does not change it.
    Unaffected,
    /// It was removed.
    Removed,
    /// It is no longer updated, but its alias still works, because Cloudflare cannot delete an alias.
    AliasOnly,
}

/// A row of the comment, for one project. Every string may be untrusted.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CommentRow {
    /// The project's name, which identifies the row.
    pub project: String,
    /// The status.
    pub status: PreviewStatus,
    /// The URL that stays the same for every push.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias_url: Option<String>,
    /// The URL of exactly this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version_url: Option<String>,
    /// The commit that it was built from.
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
    /// The warning of a preview that is ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
    /// The id of the pipeline that wrote the row. A row of an earlier pipeline does not replace it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<u64>,
}

impl CommentRow {
    /// Returns a row with only a status.
    pub fn new(project: impl Into<String>, status: PreviewStatus) -> CommentRow {
        CommentRow {
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
pub enum RowChange<'a> {
    /// Add or replace these rows. Rows of other projects stay.
    Rows(&'a [CommentRow]),
    /// Every preview ended at this time. All are removed, except for the aliases of the projects in `aliases`.
    End {
        /// The time, RFC 3339 in UTC.
        time: &'a str,
        /// The projects whose aliases still work.
        aliases: &'a [&'a str],
    },
}

impl RowChange<'_> {
    /// Returns the rows after the change, by project.
    #[must_use]
    pub fn apply(&self, stored: Vec<CommentRow>) -> Vec<CommentRow> {
        match self {
            RowChange::Rows(ours) => merge_rows(stored, ours),
            RowChange::End { time, aliases } => {
                stored.into_iter().map(|row| mark_stopped(row, time, aliases)).collect()
            }
        }
    }
}

/// Returns `stored` with `ours` in place of rows of the same projects, by project. The alias of a
/// project that is built again still works.
#[must_use]
pub fn merge_rows(stored: Vec<CommentRow>, ours: &[CommentRow]) -> Vec<CommentRow> {
    let mut rows = stored;
    for new in ours {
        match rows.iter_mut().find(|row| row.project == new.project) {
            Some(old) => update_row(old, new),
            None => rows.push(new.clone()),
        }
    }
    rows.sort_by(|a, b| a.project.cmp(&b.project));
    rows
}

/// Replaces a row with the row of another job, unless that one knows less.
fn update_row(row: &mut CommentRow, new: &CommentRow) {
    let has_pipeline = new.pipeline.is_some();
    let is_of_earlier_pipeline = has_pipeline && row.pipeline > new.pipeline;
    // Jobs of one pipeline may know only their own projects.
    let is_of_other_job = has_pipeline
        && row.pipeline == new.pipeline
        && new.status == PreviewStatus::Unaffected
        && !matches!(row.status, PreviewStatus::Removed | PreviewStatus::AliasOnly);
    if is_of_earlier_pipeline || is_of_other_job {
        return;
    }
    if new.status == PreviewStatus::AliasOnly {
        let stopped = mark_stopped(row.clone(), "", &[&new.project]);
        let time = new.time.clone().filter(|_| stopped != *row).or_else(|| row.time.clone());
        *row = CommentRow { time, ..stopped };
        return;
    }
    let alias_url = match new.status {
        PreviewStatus::Building => new.alias_url.clone().or_else(|| row.alias_url.take()),
        _ => new.alias_url.clone(),
    };
    *row = CommentRow { alias_url, ..new.clone() };
}

/// Returns the rows of several notes as one list. Of two rows of a project the later one counts, and a
/// result has precedence over the status *building*.
#[must_use]
pub fn union_of_notes(notes: impl IntoIterator<Item = Vec<CommentRow>>) -> Vec<CommentRow> {
    let age =
        |row: &CommentRow| (row.pipeline, row.status != PreviewStatus::Building, row.time.clone());
    let mut rows: Vec<CommentRow> = Vec::new();
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

fn mark_stopped(row: CommentRow, time: &str, aliases: &[&str]) -> CommentRow {
    let is_alias = row.alias_url.is_some() && aliases.contains(&row.project.as_str());
    match row.status {
        PreviewStatus::Unaffected
        | PreviewStatus::Undeployed
        | PreviewStatus::Removed
        | PreviewStatus::AliasOnly => row,
        PreviewStatus::Building | PreviewStatus::Ready | PreviewStatus::Failed if is_alias => {
            CommentRow {
                status: PreviewStatus::AliasOnly,
                time: Some(time.to_owned()),
                reason: None,
                warning: None,
                ..row
            }
        }
        PreviewStatus::Building | PreviewStatus::Ready | PreviewStatus::Failed => CommentRow {
            commit: row.commit,
            time: Some(time.to_owned()),
            pipeline: row.pipeline,
            ..CommentRow::new(row.project, PreviewStatus::Removed)
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(project: &str, status: PreviewStatus, pipeline: u64) -> CommentRow {
        let alias_url = Some(format!("https://{project}.example/"));
        CommentRow { pipeline: Some(pipeline), alias_url, ..CommentRow::new(project, status) }
    }

    #[test]
    fn replaces_own_rows_and_keeps_others() {
        let stored = vec![row("b", PreviewStatus::Ready, 1), row("a", PreviewStatus::Ready, 1)];
        let rows = merge_rows(
            stored,
            &[row("b", PreviewStatus::Failed, 1), row("c", PreviewStatus::Ready, 1)],
        );
        let statuses: Vec<_> = rows.iter().map(|row| (row.project.as_str(), row.status)).collect();
        assert_eq!(
            statuses,
            [
                ("a", PreviewStatus::Ready),
                ("b", PreviewStatus::Failed),
                ("c", PreviewStatus::Ready)
            ]
        );
    }

    #[test]
    fn an_older_pipeline_does_not_overwrite_a_newer_one() {
        let later = vec![row("a", PreviewStatus::Ready, 9)];
        assert_eq!(merge_rows(later.clone(), &[row("a", PreviewStatus::Failed, 8)]), later);
        let local = CommentRow { pipeline: None, ..row("a", PreviewStatus::Failed, 0) };
        assert_eq!(merge_rows(later, std::slice::from_ref(&local)), [local]);
    }

    #[test]
    fn a_job_without_a_project_keeps_the_row_of_the_job_with_it() {
        let unaffected = |pipeline| row("a", PreviewStatus::Unaffected, pipeline);
        let status = |rows: Vec<CommentRow>| rows[0].status;
        let ready = || vec![row("a", PreviewStatus::Ready, 8)];
        assert_eq!(status(merge_rows(ready(), &[unaffected(8)])), PreviewStatus::Ready);
        assert_eq!(status(merge_rows(ready(), &[unaffected(9)])), PreviewStatus::Unaffected);
        assert_eq!(status(merge_rows(vec![unaffected(8)], &ready())), PreviewStatus::Ready);
    }

    #[test]
    fn a_running_build_keeps_the_working_url() {
        let rows = merge_rows(
            vec![row("a", PreviewStatus::Ready, 1)],
            &[CommentRow::new("a", PreviewStatus::Building)],
        );
        assert_eq!(rows[0].alias_url.as_deref(), Some("https://a.example/"));
        let rows = merge_rows(
            vec![row("a", PreviewStatus::Ready, 1)],
            &[CommentRow::new("a", PreviewStatus::Failed)],
        );
        assert_eq!(rows[0].alias_url, None);
    }

    #[test]
    fn the_newer_row_of_two_notes_wins() {
        let (old, new) = (row("a", PreviewStatus::Ready, 1), row("a", PreviewStatus::Building, 2));
        for notes in [[vec![old.clone()], vec![new.clone()]], [vec![new.clone()], vec![old]]] {
            assert_eq!(union_of_notes(notes), std::slice::from_ref(&new));
        }
        let (building, ready) =
            (row("a", PreviewStatus::Building, 2), row("a", PreviewStatus::Ready, 2));
        assert_eq!(union_of_notes([vec![ready.clone()], vec![building]]), [ready]);
    }

    #[test]
    fn shows_a_removal_once_without_a_url() {
        let stored = vec![
            row("a", PreviewStatus::Ready, 1),
            CommentRow::new("b", PreviewStatus::Unaffected),
        ];
        let stopped = |time| RowChange::End { time, aliases: &[] };
        let once = stopped("2026-11-24T12:00:00Z").apply(stored.clone());
        assert_eq!((once[0].status, once[0].alias_url.as_deref()), (PreviewStatus::Removed, None));
        assert_eq!(once[1], stored[1]);
        assert_eq!(stopped("2027-01-01T00:00:00Z").apply(once.clone()), once);
    }

    #[test]
    fn a_working_alias_keeps_its_url() {
        let time = "2026-11-24T12:00:00Z";
        let stored = vec![row("a", PreviewStatus::Ready, 1), row("b", PreviewStatus::Failed, 1)];
        let all = RowChange::End { time, aliases: &["a"] }.apply(stored.clone());
        let shown = |row: &CommentRow| (row.status, row.alias_url.clone(), row.time.clone());
        let (url, time) = (Some("https://a.example/".to_owned()), Some(time.to_owned()));
        assert_eq!(shown(&all[0]), (PreviewStatus::AliasOnly, url.clone(), time.clone()));
        assert_eq!(shown(&all[1]), (PreviewStatus::Removed, None, time.clone()));
        // Only one project, and a second time.
        let ended =
            CommentRow { time: time.clone(), ..CommentRow::new("a", PreviewStatus::AliasOnly) };
        let one = merge_rows(stored, std::slice::from_ref(&ended));
        assert_eq!(shown(&one[0]), (PreviewStatus::AliasOnly, url, time));
        assert_eq!(one[1].status, PreviewStatus::Failed);
        let later = CommentRow { time: Some("2027-01-01T00:00:00Z".to_owned()), ..ended };
        assert_eq!(merge_rows(one.clone(), &[later]), one);
    }
}
