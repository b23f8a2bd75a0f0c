//! The outcome of `setup`: the writes, and the remaining steps.

use serde::Serialize;

use super::inputs::variable_of;
use base::error::ErrorKind;
use base::terminal::table::{Cell, Table};
use base::terminal::{BOLD, DIM, GREEN, RED, YELLOW, paint};
use gitlab::pipeline::variables::Variable;
use workspace::config::Config;

/// The state of a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "state", content = "error")]
pub enum StepState {
    /// Written.
    Done,
    /// It exists already.
    AlreadyThere,
    /// A dry run would write it.
    Planned,
    /// It was declined.
    NotConfirmed,
    /// The write failed, for this reason.
    Failed(String),
}

/// One write, which needs a confirmation.
#[derive(Clone, Debug, Serialize)]
pub struct SetupStep {
    /// The kind of the written thing.
    pub what: &'static str,
    /// Its name.
    pub name: String,
    /// The state.
    #[serde(flatten)]
    pub state: StepState,
    /// `true` if GitLab has another value, which this replaces.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub replaces: bool,
}

impl SetupStep {
    /// Creates a step that is not done yet.
    #[must_use]
    pub fn new(what: &'static str, name: &str) -> SetupStep {
        SetupStep { what, name: name.to_owned(), state: StepState::Planned, replaces: false }
    }

    /// Marks the step as done before, unless it is needed.
    #[must_use]
    pub fn with_need(self, is_needed: bool) -> SetupStep {
        if is_needed { self } else { SetupStep { state: StepState::AlreadyThere, ..self } }
    }

    /// Returns the question that confirms it.
    #[must_use]
    pub fn question(&self) -> String {
        let instead = if self.replaces { ", in place of the one in GitLab" } else { "" };
        format!("{}: {}{instead}. Continue?", self.what, self.name)
    }
}

/// The outcome.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SetupReport {
    schema: u32,
    dry_run: bool,
    /// The writes.
    pub steps: Vec<SetupStep>,
    /// The manual steps that remain.
    #[serde(rename = "left")]
    pub remaining: Vec<String>,
}

impl SetupReport {
    /// Creates an empty report.
    #[must_use]
    pub fn new(dry_run: bool) -> SetupReport {
        SetupReport { schema: 1, dry_run, steps: Vec::new(), remaining: Vec::new() }
    }

    /// Returns the kind of its failures. `None` if no step failed.
    #[must_use]
    pub fn error_kind(&self) -> Option<ErrorKind> {
        let is_failed = |step: &SetupStep| matches!(step.state, StepState::Failed(_));
        self.steps.iter().any(is_failed).then_some(ErrorKind::Failed)
    }

    /// Adds a manual step for a variable.
    pub fn add_remaining_variable(&mut self, row: &Variable) {
        let protected = if row.protected { "protected, " } else { "" };
        self.remaining.push(format!(
            "Add the variable {} with the scope `{}` ({protected}masked) in *Settings → CI/CD → Variables*, or set {} and run `cargo xtask setup` again. It holds: {}",
            row.name,
            row.scope,
            variable_of(row),
            row.holds
        ));
    }

    /// Adds a manual step for the schedule.
    pub fn add_remaining_schedule(&mut self) {
        self.remaining.push(
            "Create a nightly schedule on the default branch in *Build → Pipeline schedules*"
                .to_owned(),
        );
    }

    /// Adds the steps that this command does not do.
    pub fn add_remaining(&mut self, config: &Config) {
        let protected = config.environments.iter().any(|(_, environment)| environment.protected);
        if protected {
            self.remaining.push(
                "Protect the default branch in *Settings → Repository → Protected branches*: Maintainers merge, no one pushes"
                    .to_owned(),
            );
        }
        self.remaining.push(
            "Register the account's workers.dev subdomain once: open *Workers & Pages* in Cloudflare's dashboard"
                .to_owned(),
        );
        self.remaining.push("Choose a runner: *Settings → CI/CD → Runners*".to_owned());
        self.remaining.push(
            "Run `cargo xtask ci generate`, commit the pipeline with the config, and merge it"
                .to_owned(),
        );
    }

    /// Returns the report for a terminal with `width` columns.
    #[must_use]
    pub fn text(&self, width: Option<usize>) -> String {
        let mut table = Table::new(&["STEP", "NAME", "STATE"]);
        for step in &self.steps {
            let state = match &step.state {
                StepState::Done if step.replaces => Cell::new("replaced", GREEN),
                StepState::Done => Cell::new("written", GREEN),
                StepState::AlreadyThere => Cell::new("there already", DIM),
                StepState::Planned => Cell::new("would be written", YELLOW),
                StepState::NotConfirmed => Cell::new("not written", YELLOW),
                StepState::Failed(_) => Cell::new("failed", RED),
            };
            table.row(vec![step.what.into(), step.name.as_str().into(), state]);
        }
        let mut text = table.text(width);
        text += &format!("\n{}\n", paint(BOLD, "left to do"));
        for (number, line) in self.remaining.iter().enumerate() {
            text += &format!("{}. {line}\n", number + 1);
        }
        for step in &self.steps {
            if let StepState::Failed(error) = &step.state {
                let line = format!("{} {} failed: {error}", step.what, step.name);
                text += &format!("{}\n", paint(RED, &line));
            }
        }
        text
    }
}
