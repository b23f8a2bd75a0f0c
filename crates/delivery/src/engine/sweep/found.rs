//! The report of a cleanup.

use std::collections::BTreeMap;

use serde::Serialize;

use super::spared::Spared;
use crate::engine::comment::Commented;
use crate::engine::comment::write::Action;
use crate::engine::stop::{Outcome, Stopped};
use base::error::Exit;
use gitlab::api::leftovers::{MOST, State};

/// The leftovers that a cleanup found, and its actions.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Swept {
    /// The version of this document.
    pub schema: u32,
    /// The number of merge requests that were checked.
    pub looked: usize,
    /// `true` if there were more than one run checks.
    pub more: bool,
    /// The leftovers.
    pub left: Vec<Left>,
    /// The previews that were skipped, because they may belong to another merge request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub spared: Vec<Spared>,
    /// The projects that may have Worker Previews which nobody could ask for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unasked: Vec<Unasked>,
    /// The reason why nothing, or not everything, was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// A project whose Worker Previews are not known.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Unasked {
    /// Its name.
    pub project: String,
    /// The reason.
    pub error: String,
}

/// The leftovers of one merge request.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Left {
    /// Its number.
    pub iid: u64,
    /// Its state.
    pub state: State,
    /// Its page.
    pub url: Option<String>,
    /// The projects whose previews its comment still shows.
    pub projects: Vec<String>,
    /// Those of them whose rows stay, since their previews may still be there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<String>,
    /// Its Worker Previews.
    pub previews: Vec<Stopped>,
    /// The environment that was not stopped.
    pub environment: Option<String>,
    /// The result for the comment. `None` in a dry run, or if it was right already.
    pub comment: Option<Commented>,
    /// `true` if the environment is stopped now.
    pub stopped: bool,
}

impl Swept {
    /// Returns the exit code of the run.
    #[must_use]
    pub fn exit(&self) -> Exit {
        let failed = |one: &Stopped| one.outcome == Outcome::Failed;
        if self.left.iter().any(|left| left.previews.iter().any(failed)) {
            return Exit::Remote;
        }
        let uncommented = |left: &Left| {
            let comment = left.comment.as_ref().map(|comment| comment.action);
            matches!(comment, Some(Action::Failed | Action::Skipped))
        };
        let failed = !self.unasked.is_empty() || self.left.iter().any(uncommented);
        if failed { Exit::Failed } else { Exit::Done }
    }

    /// The text for people.
    #[must_use]
    pub fn text(&self, dry_run: bool) -> String {
        let mut lines: Vec<String> = self.left.iter().map(|left| left.line(dry_run)).collect();
        lines.extend(self.spared.iter().map(Spared::line));
        if lines.is_empty() && self.unasked.is_empty() && self.message.is_none() {
            lines.push(format!("nothing left behind by {} merge requests", self.looked));
        }
        if self.more {
            lines.push(format!(
                "more than {MOST} merge requests were merged or closed; `--days` takes fewer"
            ));
        }
        let mut unasked: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for Unasked { project, error } in &self.unasked {
            unasked.entry(error).or_default().push(project);
        }
        lines.extend(unasked.into_iter().map(|(error, projects)| {
            format!("previews of {} are not looked for: {error}", projects.join(", "))
        }));
        lines.extend(self.message.clone());
        lines.join("\n")
    }
}

impl Left {
    /// The projects whose rows are to say that the preview is removed.
    pub fn gone(&self) -> impl Iterator<Item = &str> {
        self.projects.iter().filter(|name| !self.kept.contains(name)).map(String::as_str)
    }

    /// Returns whether a preview of it may still exist.
    #[must_use]
    pub fn held(&self) -> bool {
        !self.kept.is_empty() || self.previews.iter().any(|one| one.outcome == Outcome::Failed)
    }

    fn line(&self, dry_run: bool) -> String {
        let state = match self.state {
            State::Merged => "merged",
            State::Closed => "closed",
            State::Deleted => "deleted",
            State::Unknown => "unknown",
            State::Open => "open",
        };
        let mut done = Vec::new();
        let gone: Vec<&str> = self.gone().collect();
        if !gone.is_empty() {
            let said = match self.comment.as_ref().map(|comment| comment.action) {
                None if dry_run => "would be said to be removed",
                Some(Action::Failed | Action::Skipped) => "are still in the comment",
                _ => "removed",
            };
            done.push(format!("{} {said}", gone.join(", ")));
        }
        if !self.kept.is_empty() {
            done.push(format!("{} may still have a preview", self.kept.join(", ")));
        }
        let said = |one: &Stopped| {
            let said = match one.outcome {
                Outcome::Deleted => "is deleted",
                Outcome::Planned => "would be deleted",
                Outcome::Absent => "is gone already",
                Outcome::Failed => return None,
            };
            Some(format!("preview {} of {} {said}", one.name, one.project))
        };
        done.extend(self.previews.iter().filter_map(said));
        if let Some(name) = &self.environment {
            let said = match (self.stopped, dry_run) {
                (true, _) => "stopped",
                (false, true) => "would be stopped",
                (false, false) if self.held() => "is left, since a preview may still be there",
                (false, false) => "could not be stopped",
            };
            done.push(format!("environment {name} {said}"));
        }
        let failed = self.previews.iter().filter(|one| one.outcome == Outcome::Failed);
        let failed: Vec<String> = failed.filter_map(Stopped::line).collect();
        if done.is_empty() {
            return format!("!{} {state}: {}", self.iid, failed.join("\n"));
        }
        let done = format!("!{} {state}: {}", self.iid, done.join("; "));
        std::iter::once(done).chain(failed).collect::<Vec<_>>().join("\n")
    }
}
