//! The run of one project, with the values that its steps share: the plan, the API, and the output.

use std::time::Duration;

use crate::context::{Ctx, RunLimits};
use crate::engine::RunContext;
use crate::engine::health::build_output::BuildOutput;
use crate::engine::health::response::ExpectedResponse;
use crate::engine::health::{Limits, Verdict, check_version};
use crate::engine::lock::FileLock;
use crate::engine::phases::Phase;
use crate::engine::upload::engine_watch;
use crate::plan::{Engine, Operation, Plan, ProjectPlan};
use base::command::ProcessCommand;
use base::error::{Error, Result, interrupted, refused};
use base::runner::{CompletedProcess, is_interrupted};
use base::secret::Secret;
use base::terminal::progress::ProgressLine;
use cloudflare::api;
use cloudflare::api::{Api, Live};

/// The run of one project. It is immutable: the steps return their results.
pub struct ProjectRun<'a> {
    /// Values that all projects of the run share.
    pub shared: &'a RunContext<'a>,
    /// The context of the run.
    pub ctx: &'a Ctx,
    /// The plan of the whole run.
    pub plan: &'a Plan,
    /// The project's plan.
    pub project: &'a ProjectPlan,
    task: ProgressLine,
}

impl<'a> ProjectRun<'a> {
    /// Creates it and shows it in the progress.
    #[must_use]
    pub fn new(shared: &'a RunContext<'a>, project: &'a ProjectPlan) -> ProjectRun<'a> {
        let (ctx, plan) = (shared.ctx, shared.plan);
        ProjectRun { shared, ctx, plan, project, task: ctx.ui.task(&project.name) }
    }

    /// Ends the progress with the result.
    pub(crate) fn end(self, is_good: bool, text: &str) {
        self.task.end(is_good, text);
    }

    /// Shows the current step.
    pub(crate) fn step(&self, step: &str) {
        self.task.step(step);
    }

    /// Sets the phase of the run that the next steps belong to.
    pub(crate) fn phase(&self, phase: Phase) {
        self.task.phase(self.shared.phases.label(phase));
    }

    /// Runs a command with its output in the project's log.
    pub(crate) fn execute(&self, command: &ProcessCommand) -> Result<CompletedProcess> {
        self.ctx.run(&self.project.nonce, command, &|line| self.task.output(line))
    }

    /// Runs a command that installs packages. Prints the registry if it waits for an unreachable one.
    pub(crate) fn execute_install(&self, command: &ProcessCommand) -> Result<CompletedProcess> {
        self.ctx.run_install(&self.project.nonce, command, &|line| self.task.output(line))
    }

    /// Runs the command that uploads. The child keeps the project's lock even if this process is killed.
    pub(crate) fn execute_upload(
        &self,
        command: &ProcessCommand,
        lock: &FileLock,
    ) -> Result<CompletedProcess> {
        self.execute_within(command, RunLimits { lock: Some(lock.file()), stop: None })
    }

    /// Runs a command within `limits`. With the Dagger engine, it is stopped if the engine stops.
    pub(crate) fn execute_within(
        &self,
        command: &ProcessCommand,
        limits: RunLimits<'_>,
    ) -> Result<CompletedProcess> {
        let on_line = |line: &str| self.task.output(line);
        let run = |limits: RunLimits<'_>| {
            self.ctx.run_within(&self.project.nonce, command, limits, &on_line)
        };
        match self.plan.choice.engine {
            Engine::Host => run(limits),
            Engine::Dagger => {
                engine_watch::run_beside(|stop| run(RunLimits { stop: Some(stop), ..limits }))
            }
        }
    }

    /// Locks the project and waits for the last request of a run that was killed.
    pub(crate) fn lock(&self) -> Result<FileLock> {
        let waiting = |holder: &str| self.step(&format!("wait for {holder}"));
        let lock = crate::engine::setup::project_lock(&self.ctx.root, &self.project.slug, waiting)?;
        if self.plan.operation != Operation::Build {
            lock.settle(|why| self.step(why))?;
        }
        Ok(lock)
    }

    /// Checks the responses of a version. `live` is the live version, if it is known. `built` is the output of the build that
    /// it was made from, if that is known.
    pub(crate) fn check_version(
        &self,
        live: Option<&Live>,
        built: Option<&BuildOutput>,
        urls: &[String],
        own: impl FnOnce() -> Option<String>,
        limits: Limits,
    ) -> Verdict {
        match ExpectedResponse::new(self.project, built) {
            Some(expected) => check_version(self.ctx, &expected, live, urls, own, limits),
            None => Verdict::Right { notes: Vec::new() },
        }
    }

    /// Returns the command line of `command` for this project and environment.
    pub(crate) fn command_line(&self, command: &str) -> String {
        self.plan.destination.command_line(command, &self.project.name)
    }

    /// Reads from the API before anything changes. An error is a refusal.
    pub(crate) fn read<T>(&self, what: &str, ask: impl FnOnce(&Api<'_>) -> Result<T>) -> Result<T> {
        self.ask(ask).map_err(|error| read_failure(what, &error))
    }

    /// Reads the live version.
    pub(crate) fn live(&self) -> Result<Option<Live>> {
        self.ask(|api| api.live(&self.project.target.worker))
    }

    /// Reads from Cloudflare's API, within the run's retry budget.
    pub(crate) fn ask<T>(&self, ask: impl FnOnce(&Api<'_>) -> Result<T>) -> Result<T> {
        let destination = &self.plan.destination;
        let token: Secret = self.ctx.token(destination)?;
        let api = destination.client(&token);
        ask(&api.patient(&self.ctx.retry_budget))
    }
}

/// Returns the refusal because `what` cannot be read from the API. Nothing has changed.
pub(crate) fn read_failure(what: &str, error: &Error) -> Error {
    if is_interrupted() {
        return interrupted().hint("nothing was changed");
    }
    refused(format!("cannot read {what}: {error:#}"))
        .hint(format!("nothing was changed; {}", api::next_step(error)))
}

/// Returns a duration in whole milliseconds.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
