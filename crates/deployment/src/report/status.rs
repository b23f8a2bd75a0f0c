//! Formats the live versions of all projects and environments as a table.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use base::error::with_hints;
use base::terminal::table::{Cell, Table};
use base::terminal::{CYAN, DIM, GREEN, RED, YELLOW, paint};
use base::text::{join_lines, short_commit, short_version};
use base::time::parse_rfc3339;
use cloudflare::api::Live;
use workspace::git::Head;

/// One project in one environment.
#[derive(Debug, Serialize)]
pub struct StatusRow {
    /// The project's name.
    pub project: String,
    /// The environment.
    pub environment: String,
    /// The Worker's name there.
    pub worker: String,
    /// The live state.
    #[serde(flatten)]
    pub state: LiveState,
    /// The command that shows how the live version differs.
    #[serde(skip)]
    pub diff: String,
}

impl StatusRow {
    /// Returns true if the content of the working tree is live.
    #[must_use]
    pub fn is_up_to_date(&self) -> bool {
        matches!(self.state, LiveState::Live { is_up_to_date: true, .. })
    }

    /// Returns true if other content is live.
    #[must_use]
    pub fn is_outdated(&self) -> bool {
        matches!(self.state, LiveState::Live { is_up_to_date: false, .. })
    }
}

/// The live state of a project in an environment.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "status")]
pub enum LiveState {
    /// A version.
    Live {
        /// The version and its deployment.
        live: Box<Live>,
        /// The URLs.
        urls: Vec<String>,
        /// `true` if its content key is that of the working tree.
        #[serde(rename = "inStep")]
        is_up_to_date: bool,
        /// `true` if the crons, routes, domains and settings of the working tree are applied.
        triggers_applied: bool,
    },
    /// Nothing was ever deployed.
    Nothing,
    /// The wrangler config has no block for this environment, so it uses the Worker of another one.
    NoBlock {
        /// The environment that owns the Worker.
        worker_of: String,
    },
    /// The wrangler config is not meant for this environment, which would get the Worker of another one.
    Refused {
        /// The reason why a deployment is refused.
        reason: String,
        /// The next steps.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        hints: Vec<String>,
    },
    /// It could not be read.
    Unreadable {
        /// The reason.
        error: String,
    },
}

/// The JSON document.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusReport<'a> {
    /// The version of this shape.
    pub schema: u32,
    /// The commit that is checked out.
    pub head: &'a Head,
    /// By environment, then by project.
    pub rows: Vec<StatusRow>,
    /// Environments that cannot be read, with the reason.
    pub skipped: BTreeMap<String, String>,
    /// Workers that xtask deployed from a commit of this repository, and that no longer belong to a project.
    pub unowned: UnownedWorkers,
}

/// Workers that no longer belong to a project.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UnownedWorkers {
    /// By environment, then by name.
    pub workers: Vec<UnownedWorker>,
    /// The reasons why some may be missing.
    pub incomplete: Vec<String>,
}

/// A Worker that no longer belongs to a project.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UnownedWorker {
    /// Its name.
    pub worker: String,
    /// An environment whose account has it.
    pub environment: String,
    /// The commit that it was deployed from.
    pub commit: String,
    /// The command that deletes it.
    pub delete: String,
}

impl<'a> StatusReport<'a> {
    /// Creates the report of `rows`.
    #[must_use]
    pub fn new(head: &'a Head, rows: Vec<StatusRow>, skipped: BTreeMap<String, String>) -> Self {
        StatusReport { schema: 1, head, rows, skipped, unowned: UnownedWorkers::default() }
    }

    /// Returns true if every request got a response.
    #[must_use]
    pub fn complete(&self) -> bool {
        !self.rows.iter().any(|row| matches!(row.state, LiveState::Unreadable { .. }))
    }

    /// Returns the table, by project, for a terminal with `width` columns. `now` is in seconds since 1970.
    #[must_use]
    pub fn text(&self, now: u64, width: Option<usize>) -> String {
        let mut names: Vec<&str> = self.rows.iter().map(|row| row.project.as_str()).collect();
        let mut known = BTreeSet::new();
        names.retain(|name| known.insert(*name));
        let head = ["PROJECT", "ENV", "STATE", "VERSION", "COMMIT", "AGE", "URL"];
        let mut table = Table::new(&head).with_movable_last_column();
        for name in names {
            let rows = self.rows.iter().filter(|row| row.project == name);
            for (index, row) in rows.enumerate() {
                let name = if index == 0 { name } else { "" };
                let mut cells = vec![name.into(), row.environment.as_str().into()];
                cells.extend(row.state.cells(now));
                table.row(cells);
            }
        }
        let mut text = if self.rows.is_empty() { String::new() } else { table.text(width) };
        for StatusRow { project, environment, state, .. } in &self.rows {
            match state {
                LiveState::Refused { reason, hints } => {
                    let line = format!("A deployment of {project} to {environment} is refused");
                    let reason = with_hints(&join_lines(reason), hints);
                    text += &format!("{}: {reason}\n", paint(YELLOW, &line));
                }
                LiveState::Unreadable { error } => {
                    let error = join_lines(error);
                    let line = format!("{project} in {environment} cannot be read: {error}");
                    text += &format!("{}\n", paint(RED, &line));
                }
                LiveState::Live { .. } | LiveState::Nothing | LiveState::NoBlock { .. } => {}
            }
        }
        if let Some(row) = self.rows.iter().find(|row| row.is_outdated()) {
            text += &format!("next: `{}` lists what changed\n", row.diff);
        }
        let mut skipped: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (environment, reason) in &self.skipped {
            skipped.entry(reason).or_default().push(environment);
        }
        for (reason, environments) in skipped {
            let line = format!("Skipped: {} ({reason})", environments.join(", "));
            text += &(paint(DIM, &line) + "\n");
        }
        text + &self.unowned.text()
    }
}

impl UnownedWorkers {
    /// Returns a warning for each Worker.
    fn text(&self) -> String {
        let mut text = String::new();
        for UnownedWorker { worker, environment, commit, delete } in &self.workers {
            let commit = short_commit(commit);
            let line = format!(
                "The Worker {worker} in {environment} belongs to no project of this working tree (commit {commit})"
            );
            text += &format!("{}\n  to delete it: `{delete}`\n", paint(YELLOW, &line));
        }
        for reason in &self.incomplete {
            let line = format!("Workers without a project: {}", join_lines(reason));
            text += &(paint(DIM, &line) + "\n");
        }
        text
    }
}

impl LiveState {
    /// Returns the cells from the state to the URL.
    fn cells(&self, now: u64) -> Vec<Cell> {
        let (live, urls, state) = match self {
            LiveState::Nothing => return vec![Cell::new("nothing is live", DIM)],
            LiveState::NoBlock { worker_of } => {
                return vec![Cell::new(format!("no env block, the Worker is {worker_of}'s"), DIM)];
            }
            LiveState::Refused { .. } => return vec![Cell::new("refused", YELLOW)],
            LiveState::Unreadable { .. } => return vec![Cell::new("cannot be read", RED)],
            LiveState::Live { live, urls, is_up_to_date, triggers_applied } => {
                let state = match (is_up_to_date, triggers_applied) {
                    (true, true) => Cell::new("up to date", GREEN),
                    (true, false) => Cell::new("crons, routes or settings not applied", YELLOW),
                    (false, _) => Cell::new("out of date", YELLOW),
                };
                (live, urls, state)
            }
        };
        let dirty = if live.is_dirty() { " + changes" } else { "" };
        let commit = live.commit().map_or("none".to_owned(), |id| join_lines(short_commit(id)));
        let since = live.since.as_deref().and_then(parse_rfc3339);
        let age = since.map_or("?".to_owned(), |since| age(now.saturating_sub(since)));
        let shares: Vec<String> =
            live.shares.iter().map(|share| join_lines(&share.words())).collect();
        let version = match shares.as_slice() {
            [] => join_lines(short_version(&live.version)),
            shares => shares.join(", "),
        };
        vec![
            state,
            version.into(),
            (commit + dirty).into(),
            age.into(),
            Cell::new(join_lines(&urls.join(" ")), CYAN),
        ]
    }
}

/// Returns a duration in its largest unit.
#[must_use]
pub fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_in_their_largest_unit() {
        let ages = [5, 60, 7200, 172_800].map(age);
        assert_eq!(ages, ["5 s", "1 min", "2 h", "2 days"]);
    }
}
