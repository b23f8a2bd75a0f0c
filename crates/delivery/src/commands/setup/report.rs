//! The outcome of `setup`: the writes, and the remaining steps.

use serde::Serialize;

use super::inputs::variable_of;
use base::error::Exit;
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

/// One write.
#[derive(Clone, Debug, Serialize)]
pub struct SetupStep {
    what: &'static str,
    name: String,
    #[serde(flatten)]
    state: StepState,
    /// `true` if something else was there.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    replaces: bool,
}

impl SetupStep {
    /// Creates a step.
    #[must_use]
    pub fn new(what: &'static str, name: &str, state: StepState) -> SetupStep {
        SetupStep { what, name: name.to_owned(), state, replaces: false }
    }

    /// The same for a step that replaces something.
    #[must_use]
    pub fn replacing(self, replaces: bool) -> SetupStep {
        SetupStep { replaces, ..self }
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
    pub left: Vec<String>,
}

impl SetupReport {
    /// Creates an empty report.
    #[must_use]
    pub fn new(dry_run: bool) -> SetupReport {
        SetupReport { schema: 1, dry_run, steps: Vec::new(), left: Vec::new() }
    }

    /// Returns the exit code.
    #[must_use]
    pub fn exit(&self) -> Exit {
        let is_failed = |step: &SetupStep| matches!(step.state, StepState::Failed(_));
        if self.steps.iter().any(is_failed) { Exit::Failed } else { Exit::Done }
    }

    /// Adds a manual step for a variable.
    pub fn left_variable(&mut self, row: &Variable) {
        let protected = if row.protected { "protected, " } else { "" };
        self.left.push(format!(
            "Add the variable {} with the scope `{}` ({protected}masked) in *Settings → CI/CD → Variables*, or set {} and run `cargo xtask setup` again. It holds: {}",
            row.name,
            row.scope,
            variable_of(row),
            row.holds
        ));
    }

    /// Adds a manual step for the schedule.
    pub fn left_schedule(&mut self) {
        self.left.push(
            "Create a nightly schedule on the default branch in *Build → Pipeline schedules*"
                .to_owned(),
        );
    }

    /// Adds the steps that this command does not do.
    pub fn leave_rest(&mut self, config: &Config) {
        let protected = config.environments.iter().any(|(_, environment)| environment.protected);
        if protected {
            self.left.push(
                "Protect the default branch in *Settings → Repository → Protected branches*: Maintainers merge, no one pushes"
                    .to_owned(),
            );
        }
        self.left.push(
            "Register the account's workers.dev subdomain once: open *Workers & Pages* in Cloudflare's dashboard"
                .to_owned(),
        );
        self.left.push("Choose a runner: *Settings → CI/CD → Runners*".to_owned());
        self.left.push(
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
        for (number, line) in self.left.iter().enumerate() {
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
