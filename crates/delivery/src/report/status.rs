//! The live versions of all projects and environments, as a table.

use std::collections::BTreeMap;

use serde::Serialize;

use base::terminal::{CYAN, DIM, GREEN, RED, YELLOW, paint};
use base::time::parse_rfc3339;
use cloudflare::api::Live;
use workspace::git::Head;

/// One project in one environment.
#[derive(Debug, Serialize)]
pub struct Row {
    /// The project's name.
    pub project: String,
    /// The environment.
    pub environment: String,
    /// The Worker's name there.
    pub worker: String,
    /// The live state.
    #[serde(flatten)]
    pub state: State,
}

/// The live state of a project in an environment.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "status")]
pub enum State {
    /// A version.
    Live {
        /// The version and its deployment.
        live: Live,
        /// The addresses.
        urls: Vec<String>,
        /// It was made from the content of the working tree: it carries this content key.
        in_step: bool,
        /// The crons, routes, domains and settings of the working tree were applied.
        triggers_applied: bool,
    },
    /// Nothing was ever deployed there.
    Nothing,
    /// The wrangler config has no block for this environment, so that it means another one's Worker.
    NoBlock {
        /// The environment whose Worker it is.
        worker_of: String,
    },
    /// It could not be read.
    Unreadable {
        /// The reason.
        error: String,
    },
}

/// The whole answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusReport<'a> {
    /// The version of this shape.
    pub schema: u32,
    /// The commit that is checked out.
    pub head: &'a Head,
    /// By environment, then by project.
    pub rows: Vec<Row>,
    /// Environments that cannot be asked from here, with the reason.
    pub skipped: BTreeMap<String, String>,
}

impl<'a> StatusReport<'a> {
    /// The report on `rows`.
    #[must_use]
    pub fn new(head: &'a Head, rows: Vec<Row>, skipped: BTreeMap<String, String>) -> Self {
        StatusReport { schema: 1, head, rows, skipped }
    }

    /// Returns whether every request got a response.
    #[must_use]
    pub fn complete(&self) -> bool {
        !self.rows.iter().any(|row| matches!(row.state, State::Unreadable { .. }))
    }

    /// The table; `now` in seconds since 1970.
    #[must_use]
    pub fn text(&self, now: u64) -> String {
        let names = self.rows.iter().map(|row| row.project.len()).max().unwrap_or(0);
        let places = self.rows.iter().map(|row| row.environment.len()).max().unwrap_or(0);
        let mut text = String::new();
        for row in &self.rows {
            let state = row.state.text(now);
            text += &format!("{:names$}  {:places$}  {state}\n", row.project, row.environment);
        }
        for (environment, reason) in &self.skipped {
            text += &paint(DIM, &format!("{environment} was not asked: {reason}\n"));
        }
        text
    }
}

impl State {
    fn text(&self, now: u64) -> String {
        match self {
            State::Nothing => paint(DIM, "nothing is live"),
            State::NoBlock { worker_of } => {
                paint(DIM, &format!("no env block; the Worker is that of {worker_of}"))
            }
            State::Unreadable { error } => paint(RED, &format!("cannot be read: {error}")),
            State::Live { live, urls, in_step, triggers_applied } => {
                let step = match (in_step, triggers_applied) {
                    (true, true) => paint(GREEN, "up to date"),
                    (true, false) => paint(YELLOW, "crons, routes or settings are not applied"),
                    (false, _) => paint(YELLOW, "out of date"),
                };
                let short = |text: &str, length| text.get(..length).unwrap_or(text).to_owned();
                let version = short(&live.version, 8);
                let dirty = if live.is_dirty() { " + changes" } else { "" };
                let commit = live.commit().map_or("no commit".to_owned(), |id| short(id, 12));
                let commit = commit + dirty;
                let since = live.since.as_deref().and_then(parse_rfc3339);
                let age = since.map_or("?".to_owned(), |since| age(now.saturating_sub(since)));
                let author = live
                    .author
                    .as_deref()
                    .map(|author| format!(" by {author}"))
                    .unwrap_or_default();
                let urls = paint(CYAN, &urls.join(" "));
                format!("{step}  {version}  {commit}  {age} ago{author}  {urls}")
                    .replace(|c: char| c.is_control() && c != '\u{1b}', "?")
            }
        }
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
