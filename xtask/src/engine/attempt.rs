//! One project's attempt, from its inputs to its record.

use std::fs::File;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use camino::Utf8Path;

use super::Run;
use super::check::{self, Expectation};
use crate::clock::{rfc3339, unix_now};
use crate::error::{Exit, Failure, exit_of, hints_of, refused, remote};
use crate::plan::{Engine, ProjectPlan, Verb};
use crate::record::{Record, Status};
use crate::tools::cloudflare::{Api, Live};
use crate::tools::command::Command;
use crate::tools::git;
use crate::tools::runner::Finished;
use crate::ui::progress::Task;

/// How long a fresh deployment may take to answer: at Cloudflare it spreads over the world first.
const CHECK_DEADLINE: Duration = Duration::from_secs(60);

/// How long what was live already may take to answer.
const UNCHANGED_DEADLINE: Duration = Duration::from_secs(5);

/// A project's attempt in progress.
pub struct Attempt<'a> {
    pub(super) run: &'a Run<'a>,
    pub(super) part: &'a ProjectPlan,
    task: Option<Task>,
    pub(super) record: Record,
    /// Whether wrangler was started, after which the remote side may have changed.
    pub(super) uploading: bool,
}

impl<'a> Attempt<'a> {
    /// An attempt at `part`, not begun.
    #[must_use]
    pub fn new(run: &'a Run<'a>, part: &'a ProjectPlan) -> Attempt<'a> {
        let destination = &run.plan.destination;
        let log = Utf8Path::new(".xtask/logs").join(format!("{}.log", part.nonce));
        let record = Record {
            schema: 1,
            project: part.project.clone(),
            worker: part.target.worker.clone(),
            environment: destination.environment.clone(),
            sandbox: destination.sandbox.is_some(),
            engine: run.plan.choice.engine.name().to_owned(),
            commit: run.plan.head.commit.clone(),
            dirty: run.plan.head.dirty,
            key: part.key.clone(),
            nonce: part.nonce.clone(),
            break_glass: destination.break_glass.clone(),
            status: Status::Failed,
            error: None,
            version: None,
            previous: None,
            live: None,
            urls: Vec::new(),
            tools: run.versions.clone(),
            started: rfc3339(unix_now()),
            ended: String::new(),
            timings: crate::record::Timings::default(),
            log,
        };
        let task = Some(run.ctx.ui.task(&part.project));
        Attempt { run, part, task, record, uploading: false }
    }

    /// Makes the attempt. Whatever happens ends up in the record.
    #[must_use]
    pub fn run(mut self) -> Record {
        let result = self.steps();
        match result {
            Ok(status) => self.record.status = status,
            Err(error) => self.fail(&error),
        }
        self.record.ended = rfc3339(unix_now());
        if let Some(task) = self.task.take() {
            let good = self.record.status.exit() == Exit::Done;
            task.end(good, &crate::report::outcome(&self.record));
        }
        self.record
    }

    fn steps(&mut self) -> Result<Status> {
        let lock = self.lock()?;
        let status = match self.run.plan.verb {
            Verb::Build => self.build().map(|()| Status::Built),
            Verb::Deploy => self.deploy(),
        };
        drop(lock);
        status
    }

    fn build(&mut self) -> Result<()> {
        match self.run.plan.choice.engine {
            Engine::Dagger if self.part.build.is_some() => self.run_script(),
            Engine::Dagger => Ok(()),
            Engine::Host => self.build_on_host(),
        }
    }

    fn deploy(&mut self) -> Result<Status> {
        self.step("read what is live");
        self.record.previous = self.live().map_err(|error| {
            refused(format!("cannot read what is live: {error:#}"))
                .hint("nothing was changed; check the token and the account id")
        })?;
        self.record.live = self.record.previous.clone();
        if let Some(live) = self.unchanged() {
            self.record.version = Some(live.version);
            return Ok(Status::Unchanged);
        }
        if self.run.plan.choice.engine == Engine::Host {
            self.refuse_unknown_fields()?;
        }
        match self.run.plan.choice.engine {
            Engine::Dagger => self.run_script()?,
            Engine::Host => {
                self.build_on_host()?;
                self.upload_from_host()?;
            }
        }
        self.check()?;
        Ok(Status::Live)
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

    /// Notes the version that a run made live, and where it can be seen.
    pub(super) fn deployed(&mut self, version: String, urls: Vec<String>) {
        self.record.version = Some(version);
        let destination = &self.run.plan.destination;
        self.record.urls = match destination.sandbox_url(&self.part.target.worker) {
            Some(url) => vec![url],
            None => urls,
        };
    }

    /// Waits until the deployment is what serves, by the API's word and by the site's own answer.
    fn check(&mut self) -> Result<()> {
        self.step("check that it answers");
        let started = Instant::now();
        self.record.live = self.live().context("deployed, but what is live cannot be read")?;
        let serving = self.record.live.as_ref().map(|live| live.version.clone());
        if serving != self.record.version {
            let serving = serving.unwrap_or_else(|| "nothing".to_owned());
            return Err(
                remote(format!("another deployment came in between: {serving} is live")).into()
            );
        }
        for url in self.record.urls.clone() {
            let expectation = Expectation::new(&self.run.ctx.root, self.part, &url);
            check::wait(&expectation, CHECK_DEADLINE).map_err(|reason| {
                remote(format!(
                    "deployed, but {} does not answer as it should: {reason}",
                    expectation.url
                ))
                .hint("this version is live; look at it, or deploy the former commit")
            })?;
        }
        self.record.timings.check = Some(millis(started.elapsed()));
        Ok(())
    }

    /// What is live, when it is the content of this plan and answers.
    fn unchanged(&mut self) -> Option<Live> {
        let live = self.record.previous.clone()?;
        if self.run.plan.force || live.tag.as_deref() != Some(&self.part.key) {
            return None;
        }
        let destination = &self.run.plan.destination;
        let urls: Vec<String> = match destination.sandbox_url(&self.part.target.worker) {
            Some(url) => vec![url],
            None => {
                self.part.target.domains.iter().map(|domain| format!("https://{domain}/")).collect()
            }
        };
        let answers = urls.iter().all(|url| {
            check::wait(&Expectation::health(&self.part.health, url), UNCHANGED_DEADLINE).is_ok()
        });
        answers.then(|| {
            self.record.urls = urls;
            live
        })
    }

    fn live(&self) -> Result<Option<Live>> {
        let destination = &self.run.plan.destination;
        let token = self.run.ctx.secret(&destination.token())?;
        Api::new(&destination.api, &destination.account_id, &token).live(&self.part.target.worker)
    }

    /// Wrangler only warns about fields it does not know, and deploys a Worker without them.
    fn refuse_unknown_fields(&self) -> Result<(), Failure> {
        let root = &self.run.ctx.root;
        let fields = super::setup::unknown_fields(root, &self.part.config)?;
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
        let exit = exit_of(error);
        let mut text = format!("{error:#}");
        self.record.status = match exit {
            Exit::Refused => Status::Refused,
            Exit::Interrupted => Status::Interrupted,
            Exit::Remote => Status::Unknown,
            Exit::Done | Exit::Failed | Exit::Usage => Status::Failed,
        };
        if self.uploading && self.record.version.is_none() {
            text = format!("{text}\n{}", self.look_after_failure());
        }
        for hint in hints_of(error) {
            text = format!("{text}\nhint: {hint}");
        }
        self.record.error = Some(text);
    }

    /// A failed upload may have gone live before it failed, so the API is asked.
    fn look_after_failure(&mut self) -> String {
        let version = |live: &Option<Live>| live.as_ref().map(|live| live.version.clone());
        match self.live() {
            Ok(now) if version(&now) == version(&self.record.previous) => match version(&now) {
                Some(version) => format!("version {version} is still live, as before"),
                None => "nothing is live, as before".to_owned(),
            },
            Ok(now) => {
                let text = format!(
                    "version {} is live now; before it was {}",
                    version(&now).as_deref().unwrap_or("none"),
                    version(&self.record.previous).as_deref().unwrap_or("none")
                );
                self.record.live = now;
                self.record.status = Status::Unknown;
                text
            }
            Err(error) => {
                self.record.status = Status::Unknown;
                format!("what is live now cannot be read: {error:#}")
            }
        }
    }

    pub(super) fn execute(&self, command: &Command) -> Result<Finished> {
        self.run.ctx.run(&self.part.nonce, command, &|line| {
            if let Some(task) = &self.task {
                task.output(line);
            }
        })
    }

    /// Two runs on one project would write the same `dist`.
    fn lock(&self) -> Result<File> {
        let path = self.run.ctx.root.join(".xtask/locks").join(format!("{}.lock", self.part.slug));
        super::setup::lock(&path, || self.step("wait for another run on this project"))
            .map_err(|error| anyhow!("cannot lock {path}: {error}"))
    }

    pub(super) fn step(&self, step: &str) {
        if let Some(task) = &self.task {
            task.step(step);
        }
    }
}

/// A duration in whole milliseconds.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
