//! One project's attempt, from its inputs to its record.

use std::time::Duration;

use anyhow::{Context as _, Result};

use super::Run;
use super::built::Built;
use super::lock::Lock;
use crate::plan::destination::Destination;
use crate::plan::{Engine, ProjectPlan, Verb};
use crate::record::{Record, Status};
use base::command::Command;
use base::env::variable;
use base::error::{Exit, Failure, exit_of, hints_of, refused};
use base::runner::{CompletedProcess, ExitReason};
use base::terminal::progress::Task;
use base::time::{rfc3339, unix_now};
use cloudflare::api::Attached;
use workspace::git;
use workspace::inside;
use workspace::strategy::Strategy;

/// A project's attempt in progress.
pub struct Attempt<'a> {
    pub(super) run: &'a Run<'a>,
    pub(super) part: &'a ProjectPlan,
    task: Option<Task>,
    pub(super) record: Record,
    /// Whether wrangler was started, after which the remote side may have changed.
    pub(super) uploading: bool,
    /// The project's lock, once it is held.
    lock: Option<Lock>,
    /// The upload was ended by a signal, its deadline or an interruption.
    pub(super) is_killed: bool,
    /// The newest version before the upload. `None` if it was not read.
    pub(super) newest: Option<String>,
    /// The crons, routes and domains that were set before. `None` if they were not read.
    pub(super) attached: Option<Box<Attached>>,
    /// What the build left, read while no other project builds into the same folder.
    pub(super) built: Option<Box<Built>>,
}

impl<'a> Attempt<'a> {
    /// An attempt at `part`, not begun.
    #[must_use]
    pub fn new(run: &'a Run<'a>, part: &'a ProjectPlan) -> Attempt<'a> {
        let (plan, worker) = (run.plan, &part.target.worker);
        let mut record =
            Record::new(plan.verb, &part.project, worker, &plan.destination, &part.nonce);
        record.engine = Some(plan.choice.engine.name().to_owned());
        record.commit.clone_from(&plan.head.commit);
        record.dirty = plan.head.dirty;
        record.key.clone_from(&part.key);
        record.alias.clone_from(&part.alias);
        record.strategy = part.strategy;
        record.tools = run.versions.clone();
        let task = Some(run.ctx.ui.task(&part.project));
        Attempt {
            run,
            part,
            task,
            record,
            uploading: false,
            lock: None,
            is_killed: false,
            newest: None,
            attached: None,
            built: None,
        }
    }

    /// Builds and uploads. Whatever happens ends up in the record. What is left is to wait until the
    /// version answers.
    #[must_use]
    pub fn make(mut self) -> Made<'a> {
        match self.lock().and_then(|()| self.steps()) {
            Ok(None) => Made::Unchecked(Unchecked { attempt: self }),
            Ok(Some(status)) => Made::Done(self.end(Ok(status))),
            Err(error) => Made::Done(self.end(Err(error))),
        }
    }

    fn end(mut self, result: Result<Status>) -> Record {
        match result {
            Ok(status) => self.record.status = status,
            Err(error) => self.fail(&error),
        }
        self.record.ended = rfc3339(unix_now());
        self.record.save_at_the_end(&self.run.ctx.root);
        if let Some(task) = self.task.take() {
            let good = self.record.status.exit() == Exit::Done;
            task.end(good, &crate::report::outcome(&self.record));
        }
        self.record
    }

    /// Everything up to a new version; a status where that is the end of it.
    fn steps(&mut self) -> Result<Option<Status>> {
        match self.run.plan.verb {
            Verb::Build => self.build().map(|()| Some(Status::Built)),
            Verb::Preview => self.preview(),
            Verb::Deploy | Verb::Promote | Verb::Rollback => self.deploy(),
        }
    }

    fn build(&mut self) -> Result<()> {
        match self.run.plan.choice.engine {
            Engine::Dagger if self.part.build.is_some() => self.run_script(),
            Engine::Dagger => Ok(()),
            Engine::Host => self.build_on_host(),
        }
    }

    fn deploy(&mut self) -> Result<Option<Status>> {
        self.read_previous()?;
        if self.unchanged()? {
            return Ok(Some(Status::Unchanged));
        }
        if self.record.previous.is_some() {
            self.read_attached();
        }
        self.make_version()?;
        Ok(None)
    }

    fn preview(&mut self) -> Result<Option<Status>> {
        self.read_previous()?;
        // A merge request that brings a project could not be merged if that was a failure.
        if self.record.previous.is_none() && variable("CI_MERGE_REQUEST_IID").is_some() {
            return Ok(Some(Status::Undeployed));
        }
        if self.record.previous.is_none() {
            let worker = &self.part.target.worker;
            return Err(refused(format!(
                "the Worker `{worker}` has never been deployed, and a preview needs one"
            ))
            .hint(format!(
                "`cargo xtask deploy {} --env {}` once",
                self.part.project, self.record.environment
            ))
            .into());
        }
        if self.part.strategy == Some(Strategy::Preview) {
            self.refuse_without_addresses()?;
        }
        if self.unchanged()? {
            return Ok(Some(Status::Unchanged));
        }
        self.make_version()?;
        Ok(None)
    }

    /// Builds and uploads, with either engine.
    fn make_version(&mut self) -> Result<()> {
        if let Some(main) = &self.part.target.main {
            inside::check(&self.run.ctx.root, &self.part.dir.join(main))?;
        }
        match self.run.plan.choice.engine {
            Engine::Dagger => self.run_script(),
            Engine::Host => {
                self.refuse_unknown_fields()?;
                self.build_on_host()?;
                self.upload_from_host()
            }
        }
    }

    /// Removes what an earlier build left, so that it cannot be taken for this one's output. Only a
    /// folder that git ignores is a build's to lose.
    pub(super) fn clear_dist(&self) -> Result<()> {
        let Some(dist) = &self.part.dist else {
            return Ok(());
        };
        let path = self.run.ctx.root.join(dist);
        if path.is_dir() && git::is_ignored(&self.run.ctx.root, dist)? {
            std::fs::remove_dir_all(&path).with_context(|| format!("cannot clear {dist}"))?;
        }
        Ok(())
    }

    /// Notes the version or the preview's deployment that a run made, and where it can be seen.
    pub(super) fn made(&mut self, version: String, urls: Vec<String>) {
        let worker = &self.part.target.worker;
        let in_sandbox = if self.run.plan.verb == Verb::Preview {
            self.preview_urls(&version)
        } else {
            self.run.plan.destination.sandbox_url(worker).map(|url| vec![url])
        };
        self.record.urls = in_sandbox.unwrap_or(urls);
        self.built = self.part.dist.as_ref().map(|dist| {
            let handling = self.part.target.html_handling.as_deref();
            let dist = self.run.ctx.root.join(dist);
            Box::new(Built::read(&dist, self.part.health.path(), handling))
        });
        self.record_id(version);
    }

    /// Notes an id as what it is the id of.
    pub(super) fn record_id(&mut self, id: String) {
        match self.part.strategy {
            Some(Strategy::Preview) => self.record.deployment = Some(id),
            Some(Strategy::Alias) | None => self.record.version = Some(id),
        }
    }

    /// Wrangler only warns about fields it does not know, and deploys a Worker without them.
    fn refuse_unknown_fields(&self) -> Result<(), Failure> {
        let root = &self.run.ctx.root;
        let fields =
            super::setup::unknown_fields(root, &self.part.config, self.run.wrangler_schema()?)?;
        match fields.split_first() {
            None => Ok(()),
            Some((field, _)) => {
                let failure = refused(format!(
                    "{}: wrangler knows no field `{}`",
                    self.part.config, field.path
                ));
                Err(match &field.nearest {
                    Some(near) => failure.hint(format!("did you mean `{near}`?")),
                    None => failure.hint("remove it, or move it to where it belongs"),
                })
            }
        }
    }

    fn fail(&mut self, error: &anyhow::Error) {
        let mut text = format!("{error:#}");
        let mut hints = hints_of(error);
        self.record.status = exit_of(error).into();
        let made = self.record.version.is_some() || self.record.deployment.is_some();
        if self.uploading && !made {
            text = format!("{text}\n{}", self.look_after_failure(&text, &mut hints));
        }
        for hint in hints {
            text = format!("{text}\nhint: {hint}");
        }
        self.record.error = Some(text);
    }

    /// Leaves a record that tells the truth if we are killed from here on, and lets the upload begin.
    pub(super) fn begin_upload(&mut self) -> Result<(), Failure> {
        self.record.begin(&self.run.ctx.root, &self.by_hand("status"))?;
        self.uploading = true;
        Ok(())
    }

    /// A command about this project and environment, as a person would type it.
    pub(super) fn by_hand(&self, verb: &str) -> String {
        by_hand(verb, &self.part.project, &self.run.plan.destination)
    }

    pub(super) fn execute(&self, command: &Command) -> Result<CompletedProcess> {
        self.run.ctx.run(&self.part.nonce, command, &|line| {
            if let Some(task) = &self.task {
                task.output(line);
            }
        })
    }

    /// Runs the command that uploads. The child keeps the project's lock even if this process is killed.
    pub(super) fn execute_upload(&mut self, command: &Command) -> Result<CompletedProcess> {
        let lock = self.lock.as_ref().map(Lock::file);
        let finished = self.run.ctx.run_locked(&self.part.nonce, command, lock, &|line| {
            if let Some(task) = &self.task {
                task.output(line);
            }
        })?;
        self.is_killed = !matches!(finished.exit_reason, ExitReason::Code(_));
        Ok(finished)
    }

    fn lock(&mut self) -> Result<()> {
        let waiting = |holder: &str| self.step(&format!("wait for {holder}"));
        let lock = super::setup::project_lock(&self.run.ctx.root, &self.part.slug, waiting)?;
        if self.run.plan.verb != Verb::Build {
            lock.settle(|why| self.step(why))?;
        }
        self.lock = Some(lock);
        Ok(())
    }

    pub(super) fn step(&self, step: &str) {
        if let Some(task) = &self.task {
            task.step(step);
        }
    }
}

/// How far an attempt came without waiting.
pub enum Made<'a> {
    /// To its end.
    Done(Record),
    /// To a version that nobody has looked at.
    Unchecked(Unchecked<'a>),
}

/// An attempt that has made its version.
pub struct Unchecked<'a> {
    attempt: Attempt<'a>,
}

impl Unchecked<'_> {
    /// Waits until the version answers, and puts the former one back where it does not.
    #[must_use]
    pub fn check(self) -> Record {
        let Unchecked { mut attempt } = self;
        let result = match attempt.run.plan.verb {
            Verb::Preview => attempt.check_preview(),
            _ => attempt.check_deployment(),
        };
        attempt.end(result)
    }
}

/// `verb` for `project` in an environment, as a person would type it.
pub(super) fn by_hand(verb: &str, project: &str, destination: &Destination) -> String {
    let environment = &destination.environment;
    let local = Destination::always_sandbox(environment);
    let environment = if local { String::new() } else { format!(" --env {environment}") };
    let sandbox = if destination.sandbox.is_some() && !local { " --sandbox" } else { "" };
    format!("cargo xtask {verb} {project}{environment}{sandbox}")
}

/// A duration in whole milliseconds.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
