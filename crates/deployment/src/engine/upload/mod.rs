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

use std::time::Duration;

use camino::Utf8PathBuf;

use crate::engine::deployment::UploadedVersion;
use crate::engine::health::build_output::BuildOutput;
use crate::engine::job::ProjectRun;
use crate::engine::live;
use crate::engine::lock::FileLock;
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
pub fn refuse(job: &ProjectRun<'_>) -> Result<()> {
    if let Some(main) = &job.part.target.main {
        symlinks::check(&job.run.ctx.root, &job.part.dir.join(main))?;
    }
    check_links_of_steps(job)?;
    secrets::refuse_missing(job)?;
    match job.run.plan.choice.engine {
        Engine::Host => check_fields(job),
        Engine::Dagger => Ok(()),
    }
}

/// Prepares the upload. Nothing is uploaded yet, and the project's code runs without the token.
pub fn prepare(job: &ProjectRun<'_>) -> Result<PreparedUpload> {
    match job.run.plan.choice.engine {
        Engine::Host => host::prepare(job),
        Engine::Dagger => dagger::prepare(job),
    }
}

/// Uploads, and for a deployment makes the version live.
pub fn upload(job: &ProjectRun<'_>, prepared: &PreparedUpload, lock: &FileLock) -> Upload {
    let engine = job.run.plan.choice.engine;
    job.step(if engine == Engine::Dagger { "dagger: build and upload" } else { "upload" });
    let finished = match job.execute_upload(&prepared.command, lock) {
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
            (finished, is_killed || dagger::is_upload_killed(job, prepared))
        }
    };
    let steps = match engine {
        Engine::Host => Vec::new(),
        Engine::Dagger => dagger::read_steps(job, prepared),
    };
    Upload { duration, is_killed, steps, result: read_upload(job, prepared, finished) }
}

fn read_upload(
    job: &ProjectRun<'_>,
    prepared: &PreparedUpload,
    finished: CompletedProcess,
) -> Result<UploadedVersion> {
    let mut version = match job.run.plan.choice.engine {
        Engine::Host => host::read_report(job, prepared, &finished)?,
        Engine::Dagger => dagger::read_report(job, prepared, finished)?,
    };
    let in_sandbox = match job.run.plan.operation {
        Operation::Preview => live::preview_urls(job, &version.id),
        _ => job.run.plan.destination.sandbox_url(&job.part.target.worker).map(|url| vec![url]),
    };
    let is_share =
        job.run.plan.operation == Operation::Deploy && job.run.plan.options.percent.is_some();
    if let Some(urls) = in_sandbox {
        version.urls = urls;
    } else if is_share {
        // wrangler prints the URLs of the version, which is not live yet.
        version.urls = live_urls(job);
    }
    // wrangler names the address of a version also if it is too long for a host name.
    version.urls.retain(|url| alias::has_valid_host(url));
    let output = job.part.dist.as_ref().map(|dist| {
        let handling = job.part.target.html_handling.as_deref();
        let dist = job.run.ctx.root.join(dist);
        Box::new(BuildOutput::read(&dist, job.part.health.path(), handling))
    });
    Ok(UploadedVersion { version, output })
}

/// Returns the URLs of the Worker, without those that cannot be read.
fn live_urls(job: &ProjectRun<'_>) -> Vec<String> {
    let target = &job.part.target;
    let domains = target.domains.iter().map(|domain| format!("https://{domain}/"));
    let address = job.ask(|api| api.address(&target.worker)).ok().flatten();
    domains.chain(address).collect()
}

/// Refuses links out of the repository in what steps before the upload read. The program that prepares the upload checks
/// the paths again after the build.
fn check_links_of_steps(job: &ProjectRun<'_>) -> Result<()> {
    let files = job.part.read_by_steps();
    files.iter().try_for_each(|file| symlinks::check(&job.run.ctx.root, file))
}

/// Refuses unknown fields in the config, as the plan did if wrangler was installed then.
fn check_fields(job: &ProjectRun<'_>) -> Result<()> {
    let (root, part) = (&job.run.ctx.root, job.part);
    let config = setup::wrangler_config(root, &part.config)?;
    let unknown = guard::unknown_fields(&part.config, &config, job.run.wrangler_schema()?);
    unknown.into_iter().next().map_or(Ok(()), Err)
}
