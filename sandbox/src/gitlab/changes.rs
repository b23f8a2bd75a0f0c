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
    /// Reopen.
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

/// The changes from quick actions or a request.
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
    /// Records a change. An empty `system_note` adds none.
    fn record(&mut self, key: &str, value: Value, summary: &str, system_note: &str) {
        drop(self.changes.insert(key.to_owned(), value));
        self.summary.push(summary.to_owned());
        if !system_note.is_empty() {
            self.system_notes.push(system_note.to_owned());
        }
    }

    /// Records labels or users that were added or removed. `words` are the verbs of the summary and of
    /// the system note. Records nothing if `names` is empty.
    fn record_names(&mut self, key: &str, names: &[String], mark: char, words: (&str, &str)) {
        if names.is_empty() {
            return;
        }
        let list = mentions(names, mark);
        let (summary, note) = (format!("{} {list}.", words.0), format!("{} {list}", words.1));
        self.record(key, json!(names), &summary, &note);
    }
}

/// Returns whether a title marks a draft (<https://docs.gitlab.com/user/project/merge_requests/drafts/>).
#[must_use]
pub fn is_draft(title: &str) -> bool {
    let title = title.to_ascii_lowercase();
    ["draft:", "[draft]", "(draft)"].iter().any(|mark| title.starts_with(mark))
}

/// Applies `actions` to `merge_request`. Like GitLab, silently skips actions that the caller's role or the
/// state of the merge request does not permit.
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

/// Applies one action. Does nothing if the state is reached already or does not permit the action.
fn apply_one(
    merge_request: &mut StoredMergeRequest,
    action: &MergeRequestAction,
    user: &StoredUser,
    applied: &mut AppliedChanges,
) {
    match action {
        MergeRequestAction::Close | MergeRequestAction::Reopen | MergeRequestAction::Merge => {
            change_state(merge_request, action, user, applied);
        }
        MergeRequestAction::Approve | MergeRequestAction::Unapprove => {
            change_approval(merge_request, action, user, applied);
        }
        MergeRequestAction::Label(names) => {
            let added = add(&mut merge_request.labels, names);
            applied.record_names("add_labels", &added, '~', ("Added", "added"));
        }
        MergeRequestAction::Unlabel(names) => {
            let removed = remove(&mut merge_request.labels, names);
            applied.record_names("remove_labels", &removed, '~', ("Removed", "removed"));
        }
        MergeRequestAction::Relabel(names) if merge_request.labels != *names => {
            merge_request.labels.clone_from(names);
            let labels = mentions(names, '~');
            let summary = format!("Replaced all labels with {labels}.");
            applied.record("labels", json!(names), &summary, &format!("set labels to {labels}"));
        }
        MergeRequestAction::Assign(names) => {
            let added = add(&mut merge_request.assignees, names);
            applied.record_names("assignees", &added, '@', ("Assigned", "assigned to"));
        }
        MergeRequestAction::Unassign(names) => {
            let removed = remove(&mut merge_request.assignees, names);
            applied.record_names("unassignees", &removed, '@', ("Removed", "unassigned"));
        }
        MergeRequestAction::Title(title) if !title.is_empty() && merge_request.title != *title => {
            let note = format!("changed title from **{}** to **{title}**", merge_request.title);
            merge_request.title.clone_from(title);
            let summary = format!("Changed the title to \"{title}\".");
            applied.record("title", json!(title), &summary, &note);
        }
        MergeRequestAction::Draft(draft) if is_draft(&merge_request.title) != *draft => {
            change_draft(merge_request, *draft, applied);
        }
        MergeRequestAction::Lock(locked) if merge_request.locked != *locked => {
            merge_request.locked = *locked;
            let word = if *locked { "locked" } else { "unlocked" };
            let summary = format!("{word} the discussion.");
            let note = format!("{word} the discussion in this merge request");
            applied.record("discussion_locked", json!(locked), &summary, &note);
        }
        MergeRequestAction::Other(name) => {
            applied.record(name, json!(true), &format!("Executed /{name}."), "");
        }
        MergeRequestAction::Relabel(_)
        | MergeRequestAction::Title(_)
        | MergeRequestAction::Draft(_)
        | MergeRequestAction::Lock(_) => {}
    }
}

fn change_state(
    merge_request: &mut StoredMergeRequest,
    action: &MergeRequestAction,
    user: &StoredUser,
    applied: &mut AppliedChanges,
) {
    let end = Some((now(), user.clone()));
    match (action, merge_request.state) {
        (MergeRequestAction::Close, MergeRequestState::Open) => {
            merge_request.state = MergeRequestState::Closed;
            merge_request.ended = end;
            applied.record("state_event", json!("close"), "Closed this merge request.", "closed");
        }
        (MergeRequestAction::Reopen, MergeRequestState::Closed) => {
            merge_request.state = MergeRequestState::Open;
            merge_request.ended = None;
            let summary = "Reopened this merge request.";
            applied.record("state_event", json!("reopen"), summary, "reopened");
        }
        (MergeRequestAction::Merge, MergeRequestState::Open) if !is_draft(&merge_request.title) => {
            merge_request.state = MergeRequestState::Merged;
            merge_request.ended = end;
            applied.record("merge", json!(true), "Merged this merge request.", "merged");
        }
        _ => {}
    }
}

fn change_approval(
    merge_request: &mut StoredMergeRequest,
    action: &MergeRequestAction,
    user: &StoredUser,
    applied: &mut AppliedChanges,
) {
    let has_approved = merge_request.approved_by.contains(&user.username);
    match action {
        MergeRequestAction::Approve if !has_approved => {
            merge_request.approved_by.push(user.username.clone());
            let note = "approved this merge request";
            applied.record("approve", json!(true), "Approved the current merge request.", note);
        }
        MergeRequestAction::Unapprove if has_approved => {
            merge_request.approved_by.retain(|name| *name != user.username);
            let note = "unapproved this merge request";
            applied.record("unapprove", json!(true), "Unapproved the current merge request.", note);
        }
        _ => {}
    }
}

/// Adds the mark of a draft to the title, or removes it.
fn change_draft(merge_request: &mut StoredMergeRequest, draft: bool, applied: &mut AppliedChanges) {
    let word = if draft { "draft" } else { "ready" };
    merge_request.title = match merge_request.title.split_once([':', ']', ')']) {
        Some((_, rest)) if !draft => rest.trim_start().to_owned(),
        _ => format!("Draft: {}", merge_request.title),
    };
    let summary = format!("Marked this merge request as {word}.");
    let note = format!("marked this merge request as **{word}**");
    applied.record("wip_event", json!(word), &summary, &note);
}

/// Returns references to labels (`~`) or users (`@`) in Markdown.
fn mentions(names: &[String], mark: char) -> String {
    names.iter().map(|name| format!("{mark}{name}")).collect::<Vec<_>>().join(" ")
}

/// Adds `names` to `list`. Returns those that were missing.
fn add(list: &mut Vec<String>, names: &[String]) -> Vec<String> {
    let added: Vec<String> = names.iter().filter(|name| !list.contains(name)).cloned().collect();
    list.extend(added.iter().cloned());
    added
}

/// Removes `names`, or everything if `names` is empty. Returns the removed names.
fn remove(list: &mut Vec<String>, names: &[String]) -> Vec<String> {
    let (removed, remaining): (Vec<_>, Vec<_>) =
        std::mem::take(list).into_iter().partition(|name| names.is_empty() || names.contains(name));
    *list = remaining;
    removed
}
