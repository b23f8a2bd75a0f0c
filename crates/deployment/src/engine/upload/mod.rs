//! Uploads with either engine: prepares a command, runs it with the token, and reads its result.

pub mod before_deploy;
pub mod container_results;
pub mod dagger;
pub mod engine_watch;
pub mod failed_upload;
pub mod host;
pub mod kept_variables;
pub mod secrets;
pub mod storage;

use std::convert::Infallible;
use std::time::Duration;

use camino::Utf8PathBuf;

use crate::engine::deployment::UploadedVersion;
use crate::engine::health::build_output::BuildOutput;
use crate::engine::live;
use crate::engine::lock::FileLock;
use crate::engine::project_run::ProjectRun;
use crate::engine::setup;
use crate::plan::{Engine, Operation, alias, guard};
use crate::record::StepResult;
use base::command::ProcessCommand;
use base::error::Result;
use base::runner::{CompletedProcess, ExitReason};
use workspace::symlinks;

/// A prepared upload.
#[derive(Debug)]
pub struct PreparedUpload {
    /// The command with the token.
    pub command: ProcessCommand,
    /// The path of the command's report.
    pub report: Utf8PathBuf,
    /// A folder to remove afterwards.
    pub folder: Option<Utf8PathBuf>,
    /// The warnings that do not stop the upload.
    pub warnings: Vec<String>,
}

impl Drop for PreparedUpload {
    fn drop(&mut self) {
        if let Some(folder) = &self.folder {
            let _left = std::fs::remove_dir_all(folder);
        }
    }
}

/// The version that an engine uploaded.
#[derive(Debug)]
pub struct NewVersion {
    /// The id of the version, or of the preview's deployment.
    pub id: String,
    /// Its URLs, from Cloudflare.
    pub urls: Vec<String>,
    /// The version of wrangler, if it is not the one on this machine.
    pub wrangler: Option<String>,
    /// The warnings of a successful upload.
    pub warnings: Vec<String>,
}

/// The outcome of an upload.
pub struct Upload {
    /// The duration of the command. `None` if it was not started.
    pub duration: Option<Duration>,
    /// `true` if a signal, the deadline or an interruption ended the command when it may have sent a request.
    pub is_killed: bool,
    /// The steps before it that ran in the same command.
    pub steps: Vec<StepResult>,
    /// The upload, or its failure.
    pub result: Result<UploadedVersion>,
}

/// Checks the rules that need the working tree, Cloudflare, or a wrangler that this run installed. Nothing is built yet.
pub fn refuse(run: &ProjectRun<'_>) -> Result<()> {
    if let Some(main) = &run.project.target.main {
        symlinks::check(&run.ctx.root, &run.project.dir.join(main))?;
    }
    check_links_of_steps(run)?;
    secrets::refuse_missing(run)?;
    match run.plan.choice.engine {
        Engine::Host => check_fields(run),
        Engine::Dagger => Ok(()),
    }
}

/// Prepares the upload. Nothing is uploaded yet, and the project's code runs without the token.
pub fn prepare(run: &ProjectRun<'_>) -> Result<PreparedUpload> {
    match run.plan.choice.engine {
        Engine::Host => host::prepare(run),
        Engine::Dagger => dagger::prepare(run),
    }
}

/// Uploads, and for a deployment makes the version live.
pub fn upload(run: &ProjectRun<'_>, prepared: &PreparedUpload, lock: &FileLock) -> Upload {
    let engine = run.plan.choice.engine;
    run.step(if engine == Engine::Dagger { "dagger: build and upload" } else { "upload" });
    let finished = match run.execute_upload(&prepared.command, lock) {
        Ok(finished) => finished,
        Err(error) => {
            return Upload {
                duration: None,
                is_killed: false,
                steps: Vec::new(),
                result: Err(error),
            };
        }
    };
    let duration = Some(finished.took);
    let (finished, is_killed) = match engine {
        Engine::Host => {
            let is_killed = !matches!(finished.exit_reason, ExitReason::Code(_));
            (finished, is_killed)
        }
        Engine::Dagger => {
            let dagger::ContainerExit { finished, is_killed } = dagger::container_exit(finished);
            (finished, is_killed || dagger::is_upload_killed(run, prepared))
        }
    };
    let steps = match engine {
        Engine::Host => Vec::new(),
        Engine::Dagger => dagger::read_steps(run, prepared),
    };
    Upload { duration, is_killed, steps, result: read_upload(run, prepared, finished) }
}

fn read_upload(
    run: &ProjectRun<'_>,
    prepared: &PreparedUpload,
    finished: CompletedProcess,
) -> Result<UploadedVersion> {
    let mut version = match run.plan.choice.engine {
        Engine::Host => host::read_report(run, prepared, &finished)?,
        Engine::Dagger => dagger::read_report(run, prepared, finished)?,
    };
    let destination = &run.plan.destination;
    if run.plan.operation == Operation::Preview {
        if let Some(urls) = live::preview_urls(run, &version.id) {
            version.urls = urls;
        }
    } else if destination.sandbox.is_some() || run.plan.options.percent.is_some() {
        // wrangler prints the URLs of a version that is not live yet.
        let target = &run.project.target;
        let address =
            || Ok::<_, Infallible>(run.ask(|api| api.address(&target.worker)).ok().flatten());
        let Ok(urls) = destination.live_urls(target, address);
        version.urls = urls;
    }
    // wrangler names the address of a version also if it is too long for a host name.
    version.urls.retain(|url| alias::has_valid_host(url));
    let output = run.project.dist.as_ref().map(|dist| {
        let handling = run.project.target.html_handling.as_deref();
        let dist = run.ctx.root.join(dist);
        Box::new(BuildOutput::read(&dist, run.project.health.path(), handling))
    });
    Ok(UploadedVersion { version, output })
}

/// Refuses links out of the repository in what steps before the upload read. The program that prepares the upload checks
/// the paths again after the build.
fn check_links_of_steps(run: &ProjectRun<'_>) -> Result<()> {
    let files = run.project.read_by_steps();
    files.iter().try_for_each(|file| symlinks::check(&run.ctx.root, file))
}

/// Refuses unknown fields in the config, as the plan did if wrangler was installed then.
fn check_fields(run: &ProjectRun<'_>) -> Result<()> {
    let (root, project) = (&run.ctx.root, run.project);
    let config = setup::wrangler_config(root, &project.config)?;
    let unknown = guard::unknown_fields(&project.config, &config, run.shared.wrangler_schema()?);
    unknown.into_iter().next().map_or(Ok(()), Err)
}
