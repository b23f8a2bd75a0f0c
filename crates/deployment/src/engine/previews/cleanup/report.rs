//! The report of a cleanup.

use std::collections::BTreeMap;

use serde::Serialize;

use super::skip::Skipped;
use crate::engine::previews::comment::CommentResult;
use crate::engine::previews::comment::write::CommentAction;
use crate::engine::previews::stop::{Outcome, PreviewDeletion};
use base::error::ErrorKind;
use gitlab::api::leftovers::{ListedState, MAX_LISTED};

/// The leftovers of a cleanup, and its actions.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CleanupReport {
    /// The version of this document.
    pub schema: u32,
    /// The number of merge requests that were checked.
    pub merge_requests: usize,
    /// `true` if there were more than one run can check.
    pub more: bool,
    /// The leftovers.
    pub leftovers: Vec<Leftover>,
    /// The previews that were skipped, because they may belong to another merge request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<Skipped>,
    /// The projects whose Worker Previews could not be listed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<Unknown>,
    /// The reason why the cleanup is incomplete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// A project whose Worker Previews are not known.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Unknown {
    /// Its name.
    pub project: String,
    /// The reason.
    pub error: String,
}

/// The leftovers of one merge request.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Leftover {
    /// Its number.
    pub iid: u64,
    /// Its state.
    pub state: ListedState,
    /// The URL of its page.
    pub url: Option<String>,
    /// The projects whose previews its comment still shows.
    pub projects: Vec<String>,
    /// Those of them whose rows remain, because their previews may still exist.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<String>,
    /// Its Worker Previews.
    pub previews: Vec<PreviewDeletion>,
    /// The environment that was not stopped.
    pub environment: Option<String>,
    /// The result for the comment. `None` in a dry run, or if it was up to date.
    pub comment: Option<CommentResult>,
    /// `true` if the environment is stopped now.
    pub stopped: bool,
}

impl CleanupReport {
    /// Returns the kind of the most severe failure. `None` if everything is done.
    #[must_use]
    pub fn error_kind(&self) -> Option<ErrorKind> {
        let failed = |one: &PreviewDeletion| one.outcome == Outcome::Failed;
        if self.leftovers.iter().any(|leftover| leftover.previews.iter().any(failed)) {
            return Some(ErrorKind::Remote);
        }
        let uncommented = |leftover: &Leftover| {
            let comment = leftover.comment.as_ref().map(|comment| comment.action);
            matches!(comment, Some(CommentAction::Failed | CommentAction::Skipped))
        };
        let is_incomplete = !self.unknown.is_empty() || self.leftovers.iter().any(uncommented);
        is_incomplete.then_some(ErrorKind::Failed)
    }

    /// Returns the text for people.
    #[must_use]
    pub fn text(&self, dry_run: bool) -> String {
        let mut lines: Vec<String> =
            self.leftovers.iter().map(|leftover| leftover.line(dry_run)).collect();
        lines.extend(self.skipped.iter().map(Skipped::line));
        if lines.is_empty() && self.unknown.is_empty() && self.message.is_none() {
            lines.push(format!("nothing left behind by {} merge requests", self.merge_requests));
        }
        if self.more {
            lines.push(format!(
                "more than {MAX_LISTED} merge requests were merged or closed; `--days` takes fewer"
            ));
        }
        let mut unknown: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for Unknown { project, error } in &self.unknown {
            unknown.entry(error).or_default().push(project);
        }
        lines.extend(unknown.into_iter().map(|(error, projects)| {
            format!("previews of {} are not searched: {error}", projects.join(", "))
        }));
        lines.extend(self.message.clone());
        lines.join("\n")
    }
}

impl Leftover {
    /// Returns the projects whose rows should show that the preview was removed.
    pub fn removed_projects(&self) -> impl Iterator<Item = &str> {
        self.projects.iter().filter(|name| !self.kept.contains(name)).map(String::as_str)
    }

    /// Returns true if the Worker Preview of a project was deleted.
    #[must_use]
    pub fn has_deleted(&self, project: &str) -> bool {
        self.previews.iter().any(|one| one.project == project && one.outcome == Outcome::Deleted)
    }

    /// Returns true if a preview of it may still exist.
    #[must_use]
    pub fn may_have_preview(&self) -> bool {
        !self.kept.is_empty() || self.previews.iter().any(|one| one.outcome == Outcome::Failed)
    }

    fn line(&self, dry_run: bool) -> String {
        let state = match self.state {
            ListedState::Merged => "merged",
            ListedState::Closed => "closed",
            ListedState::Deleted => "deleted",
            ListedState::Unknown => "unknown",
            ListedState::Open => "open",
        };
        let mut done = Vec::new();
        let gone: Vec<&str> = self.removed_projects().collect();
        if !gone.is_empty() {
            let outcome = match self.comment.as_ref().map(|comment| comment.action) {
                None if dry_run => "would be marked as removed",
                Some(CommentAction::Failed | CommentAction::Skipped) => "are still in the comment",
                _ => "removed",
            };
            done.push(format!("{} {outcome}", gone.join(", ")));
        }
        if !self.kept.is_empty() {
            done.push(format!("{} may still have a preview", self.kept.join(", ")));
        }
        let describe = |one: &PreviewDeletion| {
            let outcome = match one.outcome {
                Outcome::Deleted => "is deleted",
                Outcome::Planned => "would be deleted",
                Outcome::Absent => "is gone already",
                Outcome::Failed => return None,
            };
            Some(format!("preview {} of {} {outcome}", one.name, one.project))
        };
        done.extend(self.previews.iter().filter_map(describe));
        if let Some(name) = &self.environment {
            let outcome = match (self.stopped, dry_run) {
                (true, _) => "stopped",
                (false, true) => "would be stopped",
                (false, false) if self.may_have_preview() => {
                    "was kept, because a preview may still exist"
                }
                (false, false) => "could not be stopped",
            };
            done.push(format!("environment {name} {outcome}"));
        }
        let failed = self.previews.iter().filter(|one| one.outcome == Outcome::Failed);
        let failed: Vec<String> = failed.filter_map(PreviewDeletion::line).collect();
        if done.is_empty() {
            return format!("!{} {state}: {}", self.iid, failed.join("\n"));
        }
        let done = format!("!{} {state}: {}", self.iid, done.join("; "));
        std::iter::once(done).chain(failed).collect::<Vec<_>>().join("\n")
    }
}
