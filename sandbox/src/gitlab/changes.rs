//! Changes a merge request, for a quick action or an API request.

use serde_json::{Map, Value, json};

use super::model::{MergeRequestState, StoredMergeRequest, StoredUser};
use super::store::now;
use super::tokens::{Caller, UserRole};

/// One change of a merge request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MergeRequestAction {
    /// Close without a merge.
    Close,
    /// Open again.
    Reopen,
    /// Merge.
    Merge,
    /// Approve.
    Approve,
    /// Withdraw an approval.
    Unapprove,
    /// Add labels.
    Label(Vec<String>),
    /// Remove these labels, or all labels if the list is empty.
    Unlabel(Vec<String>),
    /// Replace all labels.
    Relabel(Vec<String>),
    /// Change the title.
    Title(String),
    /// Add assignees, by username.
    Assign(Vec<String>),
    /// Remove these assignees, or all assignees if the list is empty.
    Unassign(Vec<String>),
    /// Mark as draft or as ready.
    Draft(bool),
    /// Lock or unlock the discussion.
    Lock(bool),
    /// A quick action of this name that does not change the merge request, such as a to-do.
    Other(String),
}

/// The changes that were applied.
#[derive(Clone, Debug, Default)]
pub struct AppliedChanges {
    /// GitLab's `commands_changes`.
    pub changes: Map<String, Value>,
    /// One sentence per change.
    pub summary: Vec<String>,
    /// The texts of the system notes.
    pub system_notes: Vec<String>,
}

impl AppliedChanges {
    fn record(&mut self, key: &str, value: Value, summary: &str, system_notes: &str) {
        drop(self.changes.insert(key.to_owned(), value));
        self.summary.push(summary.to_owned());
        if !system_notes.is_empty() {
            self.system_notes.push(system_notes.to_owned());
        }
    }
}

/// Returns whether a title marks a draft (<https://docs.gitlab.com/user/project/merge_requests/drafts/>).
#[must_use]
pub fn is_draft(title: &str) -> bool {
    let title = title.to_ascii_lowercase();
    ["draft:", "[draft]", "(draft)"].iter().any(|mark| title.starts_with(mark))
}

/// Applies `actions` to `merge_request`. Skips silently what the caller may not do and what does not
/// fit the state, as GitLab does with quick actions.
pub fn apply(
    merge_request: &mut StoredMergeRequest,
    actions: &[MergeRequestAction],
    caller: &Caller,
) -> AppliedChanges {
    let mut applied = AppliedChanges::default();
    for action in actions {
        if is_permitted(merge_request, action, caller) {
            apply_one(merge_request, action, &caller.user, &mut applied);
        }
    }
    applied
}

fn is_permitted(
    merge_request: &StoredMergeRequest,
    action: &MergeRequestAction,
    caller: &Caller,
) -> bool {
    let is_author = merge_request.author == caller.user;
    match action {
        MergeRequestAction::Merge | MergeRequestAction::Approve | MergeRequestAction::Unapprove => {
            caller.role >= UserRole::Developer
        }
        MergeRequestAction::Other(_) => true,
        _ => is_author || caller.role >= UserRole::Reporter,
    }
}

fn apply_one(
    merge_request: &mut StoredMergeRequest,
    action: &MergeRequestAction,
    user: &StoredUser,
    applied: &mut AppliedChanges,
) {
    let mentions = |names: &[String], mark: &str| {
        names.iter().map(|name| format!("{mark}{name}")).collect::<Vec<_>>().join(" ")
    };
    match action {
        MergeRequestAction::Close if merge_request.state == MergeRequestState::Open => {
            merge_request.state = MergeRequestState::Closed;
            merge_request.ended = Some((now(), user.clone()));
            applied.record("state_event", json!("close"), "Closed this merge request.", "closed");
        }
        MergeRequestAction::Reopen if merge_request.state == MergeRequestState::Closed => {
            merge_request.state = MergeRequestState::Open;
            merge_request.ended = None;
            applied.record(
                "state_event",
                json!("reopen"),
                "Reopened this merge request.",
                "reopened",
            );
        }
        MergeRequestAction::Merge
            if merge_request.state == MergeRequestState::Open
                && !is_draft(&merge_request.title) =>
        {
            merge_request.state = MergeRequestState::Merged;
            merge_request.ended = Some((now(), user.clone()));
            applied.record("merge", json!(true), "Merged this merge request.", "merged");
        }
        MergeRequestAction::Approve if !merge_request.approved_by.contains(&user.username) => {
            merge_request.approved_by.push(user.username.clone());
            let text = "approved this merge request";
            applied.record("approve", json!(true), "Approved the current merge request.", text);
        }
        MergeRequestAction::Unapprove if merge_request.approved_by.contains(&user.username) => {
            merge_request.approved_by.retain(|name| *name != user.username);
            let text = "unapproved this merge request";
            applied.record("unapprove", json!(true), "Unapproved the current merge request.", text);
        }
        MergeRequestAction::Label(names) => {
            let new = add(&mut merge_request.labels, names);
            if !new.is_empty() {
                let names = mentions(&new, "~");
                applied.record(
                    "add_labels",
                    json!(new),
                    &format!("Added {names}."),
                    &format!("added {names}"),
                );
            }
        }
        MergeRequestAction::Unlabel(names) => {
            let removed = remove(&mut merge_request.labels, names);
            if !removed.is_empty() {
                let names = mentions(&removed, "~");
                applied.record(
                    "remove_labels",
                    json!(removed),
                    &format!("Removed {names}."),
                    &format!("removed {names}"),
                );
            }
        }
        MergeRequestAction::Relabel(names) if merge_request.labels != *names => {
            merge_request.labels.clone_from(names);
            let labels = mentions(names, "~");
            applied.record(
                "labels",
                json!(names),
                &format!("Replaced all labels with {labels}."),
                &format!("set labels to {labels}"),
            );
        }
        MergeRequestAction::Title(title) if !title.is_empty() && merge_request.title != *title => {
            let text = format!("changed title from **{}** to **{title}**", merge_request.title);
            merge_request.title.clone_from(title);
            applied.record(
                "title",
                json!(title),
                &format!("Changed the title to \"{title}\"."),
                &text,
            );
        }
        MergeRequestAction::Assign(names) => {
            let new = add(&mut merge_request.assignees, names);
            if !new.is_empty() {
                let names = mentions(&new, "@");
                applied.record(
                    "assignees",
                    json!(new),
                    &format!("Assigned {names}."),
                    &format!("assigned to {names}"),
                );
            }
        }
        MergeRequestAction::Unassign(names) => {
            let removed = remove(&mut merge_request.assignees, names);
            if !removed.is_empty() {
                let names = mentions(&removed, "@");
                applied.record(
                    "unassignees",
                    json!(removed),
                    &format!("Removed {names}."),
                    &format!("unassigned {names}"),
                );
            }
        }
        MergeRequestAction::Draft(draft) if is_draft(&merge_request.title) != *draft => {
            let (event, word) = if *draft { ("draft", "draft") } else { ("ready", "ready") };
            let parts = merge_request.title.split_once([':', ']', ')']);
            merge_request.title = match parts {
                Some((_, rest)) if !draft => rest.trim_start().to_owned(),
                _ => format!("Draft: {}", merge_request.title),
            };
            let text = format!("marked this merge request as **{word}**");
            applied.record(
                "wip_event",
                json!(event),
                &format!("Marked this merge request as {word}."),
                &text,
            );
        }
        MergeRequestAction::Lock(locked) if merge_request.locked != *locked => {
            merge_request.locked = *locked;
            let word = if *locked { "locked" } else { "unlocked" };
            let text = format!("{word} the discussion in this merge request");
            applied.record(
                "discussion_locked",
                json!(locked),
                &format!("{word} the discussion."),
                &text,
            );
        }
        MergeRequestAction::Other(name) => {
            applied.record(name, json!(true), &format!("Did /{name}."), "");
        }
        // The state is reached already, or the action does not fit the state.
        _ => {}
    }
}

/// Adds `names` to `list`. Returns those that were missing.
fn add(list: &mut Vec<String>, names: &[String]) -> Vec<String> {
    let new: Vec<String> = names.iter().filter(|name| !list.contains(name)).cloned().collect();
    list.extend(new.iter().cloned());
    new
}

/// Removes `names`, or everything if `names` is empty. Returns the removed names.
fn remove(list: &mut Vec<String>, names: &[String]) -> Vec<String> {
    let (removed, remaining): (Vec<_>, Vec<_>) =
        std::mem::take(list).into_iter().partition(|name| names.is_empty() || names.contains(name));
    *list = remaining;
    removed
}
