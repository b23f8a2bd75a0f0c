//! Changes a merge request, by a quick action or by the API.

use serde_json::{Map, Value, json};

use super::model::{MergeRequest, State, User};
use super::store::now;
use super::tokens::{Caller, Role};

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Close without a merge.
    Close,
    /// Open again.
    Reopen,
    /// Merge.
    Merge,
    /// Approve.
    Approve,
    /// Take an approval back.
    Unapprove,
    /// Add labels.
    Label(Vec<String>),
    /// Remove these labels, or all when none are named.
    Unlabel(Vec<String>),
    /// Put labels in the place of all.
    Relabel(Vec<String>),
    /// Another title.
    Title(String),
    /// Add assignees, by username.
    Assign(Vec<String>),
    /// Remove these assignees, or all when none are named.
    Unassign(Vec<String>),
    /// Turn draft on or off.
    Draft(bool),
    /// Lock or unlock the discussion.
    Lock(bool),
    /// Something that a quick action of this name does elsewhere, such as a to-do.
    Elsewhere(String),
}

/// What changes did.
#[derive(Clone, Debug, Default)]
pub struct Done {
    /// GitLab's `commands_changes`.
    pub changes: Map<String, Value>,
    /// A sentence for each.
    pub summary: Vec<String>,
    /// What the system notes say.
    pub system: Vec<String>,
}

impl Done {
    fn say(&mut self, key: &str, value: Value, summary: &str, system: &str) {
        drop(self.changes.insert(key.to_owned(), value));
        self.summary.push(summary.to_owned());
        if !system.is_empty() {
            self.system.push(system.to_owned());
        }
    }
}

/// Whether a title makes a draft (<https://docs.gitlab.com/user/project/merge_requests/drafts/>).
#[must_use]
pub fn is_draft(title: &str) -> bool {
    let title = title.to_ascii_lowercase();
    ["draft:", "[draft]", "(draft)"].iter().any(|mark| title.starts_with(mark))
}

/// Changes `merge_request`. What the caller may not do, or what does not fit its state, is left out
/// without a word, as GitLab does with quick actions.
pub fn apply(merge_request: &mut MergeRequest, actions: &[Action], caller: &Caller) -> Done {
    let mut done = Done::default();
    for action in actions {
        if may(merge_request, action, caller) {
            one(merge_request, action, &caller.user, &mut done);
        }
    }
    done
}

fn may(merge_request: &MergeRequest, action: &Action, caller: &Caller) -> bool {
    let own = merge_request.author == caller.user;
    match action {
        Action::Merge | Action::Approve | Action::Unapprove => caller.role >= Role::Developer,
        Action::Elsewhere(_) => true,
        _ => own || caller.role >= Role::Reporter,
    }
}

fn one(merge_request: &mut MergeRequest, action: &Action, user: &User, done: &mut Done) {
    let named = |names: &[String], mark: &str| {
        names.iter().map(|name| format!("{mark}{name}")).collect::<Vec<_>>().join(" ")
    };
    match action {
        Action::Close if merge_request.state == State::Opened => {
            merge_request.state = State::Closed;
            merge_request.ended = Some((now(), user.clone()));
            done.say("state_event", json!("close"), "Closed this merge request.", "closed");
        }
        Action::Reopen if merge_request.state == State::Closed => {
            merge_request.state = State::Opened;
            merge_request.ended = None;
            done.say("state_event", json!("reopen"), "Reopened this merge request.", "reopened");
        }
        Action::Merge
            if merge_request.state == State::Opened && !is_draft(&merge_request.title) =>
        {
            merge_request.state = State::Merged;
            merge_request.ended = Some((now(), user.clone()));
            done.say("merge", json!(true), "Merged this merge request.", "merged");
        }
        Action::Approve if !merge_request.approved_by.contains(&user.username) => {
            merge_request.approved_by.push(user.username.clone());
            let said = "approved this merge request";
            done.say("approve", json!(true), "Approved the current merge request.", said);
        }
        Action::Unapprove if merge_request.approved_by.contains(&user.username) => {
            merge_request.approved_by.retain(|name| *name != user.username);
            let said = "unapproved this merge request";
            done.say("unapprove", json!(true), "Unapproved the current merge request.", said);
        }
        Action::Label(names) => {
            let new = add(&mut merge_request.labels, names);
            if !new.is_empty() {
                let names = named(&new, "~");
                done.say(
                    "add_labels",
                    json!(new),
                    &format!("Added {names}."),
                    &format!("added {names}"),
                );
            }
        }
        Action::Unlabel(names) => {
            let gone = remove(&mut merge_request.labels, names);
            if !gone.is_empty() {
                let names = named(&gone, "~");
                done.say(
                    "remove_labels",
                    json!(gone),
                    &format!("Removed {names}."),
                    &format!("removed {names}"),
                );
            }
        }
        Action::Relabel(names) if merge_request.labels != *names => {
            merge_request.labels.clone_from(names);
            let text = named(names, "~");
            done.say(
                "labels",
                json!(names),
                &format!("Replaced all labels with {text}."),
                &format!("set labels to {text}"),
            );
        }
        Action::Title(title) if !title.is_empty() && merge_request.title != *title => {
            let said = format!("changed title from **{}** to **{title}**", merge_request.title);
            merge_request.title.clone_from(title);
            done.say("title", json!(title), &format!("Changed the title to \"{title}\"."), &said);
        }
        Action::Assign(names) => {
            let new = add(&mut merge_request.assignees, names);
            if !new.is_empty() {
                let names = named(&new, "@");
                done.say(
                    "assignees",
                    json!(new),
                    &format!("Assigned {names}."),
                    &format!("assigned to {names}"),
                );
            }
        }
        Action::Unassign(names) => {
            let gone = remove(&mut merge_request.assignees, names);
            if !gone.is_empty() {
                let names = named(&gone, "@");
                done.say(
                    "unassignees",
                    json!(gone),
                    &format!("Removed {names}."),
                    &format!("unassigned {names}"),
                );
            }
        }
        Action::Draft(draft) if is_draft(&merge_request.title) != *draft => {
            let (event, word) = if *draft { ("draft", "draft") } else { ("ready", "ready") };
            let bare = merge_request.title.split_once([':', ']', ')']);
            merge_request.title = match bare {
                Some((_, rest)) if !draft => rest.trim_start().to_owned(),
                _ => format!("Draft: {}", merge_request.title),
            };
            let said = format!("marked this merge request as **{word}**");
            done.say(
                "wip_event",
                json!(event),
                &format!("Marked this merge request as {word}."),
                &said,
            );
        }
        Action::Lock(locked) if merge_request.locked != *locked => {
            merge_request.locked = *locked;
            let word = if *locked { "locked" } else { "unlocked" };
            let said = format!("{word} the discussion in this merge request");
            done.say("discussion_locked", json!(locked), &format!("{word} the discussion."), &said);
        }
        Action::Elsewhere(name) => done.say(name, json!(true), &format!("Did /{name}."), ""),
        // It is so already, or cannot be.
        _ => {}
    }
}

fn add(list: &mut Vec<String>, names: &[String]) -> Vec<String> {
    let new: Vec<String> = names.iter().filter(|name| !list.contains(name)).cloned().collect();
    list.extend(new.iter().cloned());
    new
}

/// Removes `names`, or everything when there are none; what was there.
fn remove(list: &mut Vec<String>, names: &[String]) -> Vec<String> {
    let (gone, left) =
        std::mem::take(list).into_iter().partition(|name| names.is_empty() || names.contains(name));
    *list = left;
    gone
}
