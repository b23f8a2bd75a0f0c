//! One project's deployment, preview or build: its steps in order, and the record of their results.
//!
//! Each step is a function that takes values and returns a value. Only this file combines them.

use std::time::Duration;

use crate::engine::build::install::DependencyResult;
use crate::engine::build::project::build_on_host;
use crate::engine::health::build_output::BuildOutput;
use crate::engine::live::{
    Existing, PreviousState, find_existing, read_live, require_preview_urls,
};
use crate::engine::lock::FileLock;
use crate::engine::phases::Phase;
use crate::engine::project_run::{ProjectRun, millis};
use crate::engine::queue;
use crate::engine::upload::before_deploy;
use crate::engine::upload::dagger::build_in_container;
use crate::engine::upload::failed_upload::{FailedUpload, explain_failed_upload};
use crate::engine::upload::storage::provide_storage;
use crate::engine::upload::{self, NewVersion, PreparedUpload};
use crate::engine::verify::{Verification, Verifier, VerifyOutcome};
use crate::plan::{Engine, Operation};
use crate::record::{BuildSource, DeployStatus, Record, StepResult};
use base::error::{Error, Result, refused};
use base::time::{rfc3339, unix_now};
use cloudflare::api::Live;
use workspace::strategy::Strategy;

/// The result of a build on this machine.
#[derive(Clone, Debug, Default)]
pub struct BuildResult {
    /// The installed and built dependencies.
    pub dependencies: DependencyResult,
    /// The duration of the build. `None` if it did not run.
    pub duration: Option<Duration>,
    /// The source of the output. `None` if there is no build.
    pub output: Option<BuildSource>,
}

impl BuildResult {
    /// Returns the result for a project with nothing to build.
    #[must_use]
    pub fn new(dependencies: DependencyResult) -> BuildResult {
        BuildResult { dependencies, ..BuildResult::default() }
    }
}

/// A version, or a preview's deployment, that was uploaded.
#[derive(Debug)]
pub struct UploadedVersion {
    /// The version.
    pub version: NewVersion,
    /// The build's output, read while no other project builds into the same folder. `None` without
    /// assets.
    pub output: Option<Box<BuildOutput>>,
}

/// The state of a deployment before its responses are checked.
pub enum Progress<'a> {
    /// It has ended.
    Finished(Box<Record>),
    /// A version is uploaded, and its responses are not checked yet.
    Uploaded(Box<ProjectDeployment<'a>>, UploadedVersion),
}

/// The result of the steps up to the upload.
enum UploadStep {
    /// The deployment ends without an upload.
    End(DeployStatus),
    /// A version is uploaded.
    Upload(UploadedVersion),
}

/// A project's deployment with the results of its steps so far.
pub struct ProjectDeployment<'a> {
    run: ProjectRun<'a>,
    /// The project's lock, which is held until the record is saved.
    lock: Option<FileLock>,
    started: String,
    before: PreviousState,
    existing: Option<Existing>,
    build: BuildResult,
    /// The steps before the upload that ran.
    steps: Vec<StepResult>,
    /// The duration of the upload. `None` if it did not run.
    upload_duration: Option<Duration>,
    version: Option<NewVersion>,
    verification: Verification,
    /// The live version now. `None` if nothing is live, or if it is unknown.
    live: Option<Live>,
}

impl<'a> ProjectDeployment<'a> {
    fn new(run: ProjectRun<'a>) -> ProjectDeployment<'a> {
        ProjectDeployment {
            run,
            lock: None,
            started: rfc3339(unix_now()),
            before: PreviousState::default(),
            existing: None,
            build: BuildResult::default(),
            steps: Vec::new(),
            upload_duration: None,
            version: None,
            verification: Verification::default(),
            live: None,
        }
    }

    /// Runs the steps up to an uploaded version.
    #[must_use]
    pub fn start(run: ProjectRun<'a>) -> Progress<'a> {
        let mut deployment = ProjectDeployment::new(run);
        let lock = match deployment.run.lock() {
            Ok(lock) => lock,
            Err(error) => return Progress::Finished(Box::new(deployment.fail(&error))),
        };
        let step = deployment.up_to_upload(&lock);
        deployment.lock = Some(lock);
        match step {
            Ok(UploadStep::Upload(uploaded)) => Progress::Uploaded(Box::new(deployment), uploaded),
            Ok(UploadStep::End(status)) => {
                Progress::Finished(Box::new(deployment.end(status, None)))
            }
            Err(error) => Progress::Finished(Box::new(deployment.fail(&error))),
        }
    }

    /// Ends with a refusal before the first step.
    #[must_use]
    pub fn refuse(run: ProjectRun<'a>, refusal: &Error) -> Record {
        ProjectDeployment::new(run).fail(refusal)
    }

    /// Checks the uploaded version, and rolls back if it is wrong.
    #[must_use]
    pub fn check(mut self, uploaded: UploadedVersion) -> Record {
        let (verification, result) = Verifier::new(&self.run, &self.before, &uploaded).verify();
        self.version = Some(uploaded.version);
        self.live.clone_from(&verification.live);
        self.verification = verification;
        match result {
            Ok(VerifyOutcome { status, rollback }) => self.end(status, rollback),
            Err(error) => self.fail(&error),
        }
    }

    fn up_to_upload(&mut self, lock: &FileLock) -> Result<UploadStep> {
        if self.run.plan.operation == Operation::Build {
            self.run.phase(Phase::Build);
            self.build = build(&self.run)?;
            return Ok(UploadStep::End(DeployStatus::Built));
        }
        self.before = read_live(&self.run)?;
        self.live.clone_from(&self.before.live);
        if let Some(status) = refuse_preview(&self.run, &self.before)? {
            return Ok(UploadStep::End(status));
        }
        refuse_first_share(&self.run, &self.before)?;
        // The live version may need the storage to answer.
        provide_storage(self.run.shared);
        self.existing = find_existing(&self.run, &self.before)?;
        if self.existing.is_some() {
            return Ok(UploadStep::End(DeployStatus::Unchanged));
        }
        self.before.read_newest_and_triggers(&self.run);
        upload::refuse(&self.run)?;
        if self.run.plan.choice.engine == Engine::Host {
            self.run.phase(Phase::Build);
            self.build = build(&self.run)?;
        }
        let is_preview = self.run.plan.operation == Operation::Preview;
        self.run.phase(if is_preview { Phase::Preview } else { Phase::Deploy });
        let prepared = upload::prepare(&self.run)?;
        // The upload reads only the prepared folder.
        self.build.dependencies.locks.clear();
        Ok(UploadStep::Upload(self.upload(&prepared, lock)?))
    }

    /// Runs the steps before the upload, and uploads. From here on the remote side may have changed. A saved record
    /// states this, in case we are killed.
    fn upload(&mut self, prepared: &PreparedUpload, lock: &FileLock) -> Result<UploadedVersion> {
        let look = self.run.command_line("status");
        self.record().begin(&self.run.ctx.root, &look)?;
        if before_deploy::has_steps(&self.run) {
            before_deploy::run(&self.run, lock, &mut self.steps)?;
        }
        let upload = upload::upload(&self.run, prepared, lock);
        self.upload_duration = upload.duration;
        self.steps.extend(upload.steps);
        let is_killed = upload.is_killed;
        upload.result.map_err(|error| FailedUpload { error, is_killed }.into())
    }

    /// Ends with an error. After a failed upload it reads the live version, so that the record does not guess.
    fn fail(mut self, error: &Error) -> Record {
        let mut failure = error.clone().with_message(format!("{error:#}"));
        let mut status: DeployStatus = failure.kind.into();
        if let Some(failed) = error.find::<FailedUpload>() {
            let hints = std::mem::take(&mut failure.hints);
            let now = explain_failed_upload(&self.run, &self.before, failed, status, hints);
            failure.message = format!("{}\n{}", failure.message, now.text);
            (self.live, status, failure.hints) = (now.live, now.status, now.hints);
            if self.before.live.is_none() {
                let first = queue::first_deployment_hint(self.run.project, &failure.message);
                failure.hints.splice(0..0, first);
            }
        }
        self.end(status, Some(failure))
    }

    fn end(self, status: DeployStatus, failure: Option<Error>) -> Record {
        let record = match failure {
            Some(failure) => self.record().ended_by(failure),
            None => self.record(),
        };
        let mut record = Record { status, ended: rfc3339(unix_now()), ..record };
        record.save_at_the_end(&self.run.ctx.root);
        // Released first, so that the next run may start.
        drop(self.lock);
        self.run.end(record.status.is_done(), &crate::report::outcome(&record));
        record
    }

    /// Creates the record of the steps so far. All records are created here.
    fn record(&self) -> Record {
        let ProjectRun { shared, plan, project, .. } = &self.run;
        let base = Record::new(
            plan.operation,
            &project.name,
            &project.target.worker,
            &plan.destination,
            &project.nonce,
        );
        let new = self.version.as_ref();
        let from_upload = new.map(|new| (&new.id, &new.urls));
        let found = self.existing.as_ref().map(|existing| (&existing.id, &existing.urls));
        let (id, urls) = match from_upload.or(found) {
            Some((id, urls)) => (Some(id.clone()), urls.clone()),
            None => (None, Vec::new()),
        };
        let is_preview = project.strategy == Some(Strategy::Preview);
        let (version, deployment) = if is_preview { (None, id) } else { (id, None) };
        let mut tools = shared.versions.clone();
        if let Some(wrangler) = new.and_then(|new| new.wrangler.clone()) {
            tools.wrangler = Some(wrangler);
        }
        let warnings = [&self.before.warnings, &self.verification.warnings];
        let new_warnings = new.iter().flat_map(|new| &new.warnings);
        let found = self.existing.iter().flat_map(|existing| &existing.warnings);
        Record {
            engine: Some(plan.choice.engine.name().to_owned()),
            commit: plan.head.commit.clone(),
            dirty: plan.head.dirty,
            key: project.key.clone(),
            alias: project.alias.clone(),
            strategy: project.strategy,
            started: self.started.clone(),
            previous: self.before.live.clone(),
            live: self.live.clone(),
            warnings: warnings
                .into_iter()
                .flatten()
                .chain(new_warnings)
                .chain(found)
                .cloned()
                .collect(),
            output: self.build.output.clone(),
            before_deploy: self.steps.clone(),
            timings: crate::record::Timings {
                install: self.build.dependencies.duration.map(millis),
                build: self.build.duration.map(millis),
                deploy: self.upload_duration.map(millis),
                check: self.verification.duration.map(millis),
            },
            percent: plan.options.percent.filter(|_| self.verification.is_routed),
            version,
            deployment,
            urls,
            tools,
            ..base
        }
    }
}

/// Builds with the engine of the plan. A project without a build is installed only.
fn build(run: &ProjectRun<'_>) -> Result<BuildResult> {
    match run.plan.choice.engine {
        Engine::Host => build_on_host(run),
        Engine::Dagger => build_in_container(run).map(|()| BuildResult::default()),
    }
}

/// Refuses a gradual deployment of a Worker without a live version.
fn refuse_first_share(run: &ProjectRun<'_>, before: &PreviousState) -> Result<()> {
    let Some(percent) = run.plan.options.percent.filter(|_| before.live.is_none()) else {
        return Ok(());
    };
    let worker = &run.project.target.worker;
    Err(refused(format!(
        "the Worker `{worker}` has no live version to keep {} % of the traffic",
        100 - percent
    ))
    .hint(format!("run `{}` without `--percent`", run.command_line("deploy"))))
}

/// Refuses a preview of a Worker that cannot have one. Returns a status if the Worker was never deployed.
fn refuse_preview(run: &ProjectRun<'_>, before: &PreviousState) -> Result<Option<DeployStatus>> {
    if run.plan.operation != Operation::Preview {
        return Ok(None);
    }
    // Otherwise a merge request that adds a project could not be merged.
    if before.live.is_none() && run.ctx.ci.is_merge_request() {
        return Ok(Some(DeployStatus::Undeployed));
    }
    if before.live.is_none() {
        let worker = &run.project.target.worker;
        return Err(refused(format!(
            "the Worker `{worker}` has never been deployed, and a preview needs one"
        ))
        .hint(format!("run `{}` once", run.command_line("deploy"))));
    }
    match run.project.strategy {
        Some(Strategy::Preview) => require_preview_urls(run).map(|()| None),
        Some(Strategy::Alias) | None => Ok(None),
    }
}
