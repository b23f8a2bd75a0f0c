//! Writes one comment from several jobs: reads, merges, writes, and verifies.
//!
//! GitLab has no conditional edit. A job that reads before and writes after another job's write
//! removes the other's rows. So every job reads the note again after a delay, and restores its rows
//! if they are missing. This works if no edit takes longer than the delay: [`Timing::settle`], or more
//! if the requests of this job are slow, because those of the others then are too. A job that was delayed
//! between reading and writing reads again first.

use std::collections::BTreeSet;
use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, Instant};

use serde::Serialize;

use base::error::{Result, failed};
use base::retry::RetryBudget;
use gitlab::api::{Note, Notes, WriteOutcome};
use gitlab::comment::{CommentRow, RowChange, render, state, union_of_notes};

/// The maximum number of writes.
const TRIES: u32 = 12;

/// The maximum number of comments to create: one, and another if the first was deleted in the meantime.
const CREATED: u32 = 2;

/// The delay after a write, as a multiple of the slowest try so far.
const TIMES_SLOWEST: u32 = 3;

/// The longest delay after a write that slow requests cause.
const MAX_SETTLE_DELAY: Duration = Duration::from_secs(10);

/// The delays between requests.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// The delay between a write and the next read.
    pub settle: Duration,
}

impl Default for Timing {
    fn default() -> Timing {
        Timing { settle: Duration::from_millis(1500) }
    }
}

/// The action on the comment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum CommentAction {
    /// The comment is new.
    Created,
    /// It was edited in place.
    Edited,
    /// It was up to date, or it does not exist.
    Unchanged,
    /// It was not attempted. The message has the reason.
    Skipped,
    /// It failed. The message has the reason.
    Failed,
    /// A dry run: the Markdown is what would be written.
    Planned,
}

/// A comment that is up to date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteResult {
    /// The action.
    pub action: CommentAction,
    /// The note. `None` if there was nothing to change.
    pub note: Option<u64>,
    /// The duplicates that were deleted.
    pub deleted: Vec<u64>,
    /// The rows that it has now.
    pub rows: Vec<CommentRow>,
}

/// One job's change of the comment.
pub struct Writer<'a> {
    /// The comments of the merge request.
    pub notes: Notes<'a>,
    /// The retry budget of the command.
    pub retry_budget: &'a RetryBudget,
    /// The delays.
    pub timing: Timing,
}

impl Writer<'_> {
    /// Writes the change. The oldest of our notes remains, and our other notes are deleted once it
    /// has their rows. Without `lasting`, rows that a concurrent job overwrites are not restored,
    /// because the next write follows soon.
    pub fn write(&self, change: &RowChange<'_>, lasting: bool) -> Result<WriteResult> {
        let mut action = CommentAction::Unchanged;
        let (mut gone, mut created) = (BTreeSet::new(), 0);
        let mut slowest = Duration::ZERO;
        for tried in 1..=TRIES {
            let started = Instant::now();
            let mut ours = self.notes.ours()?;
            ours.retain(|note| !gone.contains(&note.id));
            let Some((first, others)) = ours.split_first() else {
                let rows = change.apply(Vec::new());
                if rows.is_empty() {
                    return Ok(WriteResult { action, note: None, deleted: Vec::new(), rows });
                }
                if created == CREATED {
                    break;
                }
                if let WriteOutcome::Done(_) = self.notes.create(&render::body(&rows), tried)? {
                    (action, created) = (CommentAction::Created, created + 1);
                    slowest = slowest.max(started.elapsed());
                    self.settle(lasting, slowest)?;
                }
                continue;
            };
            let read = Instant::now();
            // The list may be out of date.
            let Some(note) = self.notes.note(first.id)? else {
                gone.insert(first.id);
                continue;
            };
            let (shown, body) = (state::rows(&note.body), wanted_body(change, &note, others));
            let right = if action == CommentAction::Unchanged {
                note.body.trim_end() == body
            } else {
                shown == state::rows(&body)
            };
            if right {
                return self.tidy(action, &note, others, &body);
            }
            if read.elapsed() > self.timing.settle / 2 {
                continue;
            }
            match self.notes.edit(note.id, &body, tried)? {
                WriteOutcome::Unknown => continue,
                WriteOutcome::Missing => {
                    gone.insert(note.id);
                    continue;
                }
                WriteOutcome::Done(_) if action == CommentAction::Unchanged => {
                    action = CommentAction::Edited;
                }
                WriteOutcome::Done(_) => {}
            }
            if !lasting && others.is_empty() {
                return self.tidy(action, &note, others, &body);
            }
            slowest = slowest.max(started.elapsed());
            self.settle(lasting, slowest)?;
        }
        Err(failed("the comment is changed by others faster than it can be kept up to date")
            .hint("give the jobs that write it one `resource_group`"))
    }

    /// Deletes the duplicates of a note whose body is now `body`.
    fn tidy(
        &self,
        action: CommentAction,
        note: &Note,
        others: &[Note],
        body: &str,
    ) -> Result<WriteResult> {
        let mut deleted = Vec::new();
        for other in others {
            if self.notes.delete(other.id)? {
                deleted.push(other.id);
            }
        }
        Ok(WriteResult { action, note: Some(note.id), deleted, rows: state::rows(body) })
    }

    /// Waits until jobs that read before our write have written. The delay is random. `slowest` is the duration of the
    /// slowest try.
    fn settle(&self, lasting: bool, slowest: Duration) -> Result<()> {
        if !lasting {
            return Ok(());
        }
        let most = u64::try_from(self.timing.settle.as_millis() / 2).unwrap_or(0).max(1);
        let jitter = RandomState::new().hash_one(std::process::id()) % most;
        let delay = self.timing.settle.max((slowest * TIMES_SLOWEST).min(MAX_SETTLE_DELAY));
        self.retry_budget.sleep(delay + Duration::from_millis(jitter))
    }
}

/// Returns the new body of `note`, with the rows of its duplicates.
fn wanted_body(change: &RowChange<'_>, note: &Note, others: &[Note]) -> String {
    let bodies = std::iter::once(note).chain(others);
    let stored: Vec<Vec<CommentRow>> = bodies.map(|note| state::rows(&note.body)).collect();
    render::body(&change.apply(union_of_notes(stored)))
}
