//! An attempt's steps as one Dagger Shell script.

use camino::{Utf8Path, Utf8PathBuf};
use serde::Deserialize;
use workspace::modules;

use crate::context::RunLimits;
use crate::engine::project_run::ProjectRun;
use crate::engine::upload::before_deploy;
use crate::engine::upload::container_results::{self, AttemptResult, SIGNALS};
use crate::engine::upload::{NewVersion, PreparedUpload};
use crate::plan::{Operation, ProjectPlan};
use crate::record::StepResult;
use crate::script;
use crate::tools::packages::failure;
use crate::tools::{dagger, dagger_output, engine_address};
use base::command;
use base::error::{Error, ErrorContext as _, Result, failed, refused};
use base::files::write_whole;
use base::runner::{CompletedProcess, ExitReason, TAIL};
use base::text::strip_escapes;
use cloudflare::wrangler;
use cloudflare::wrangler::PREPARE_UPLOAD;
use workspace::config::ContainerUpload;
use workspace::git;
use workspace::strategy::Strategy;
use workspace::symlinks;
use workspace::toolchain::Toolchain;

/// The next step after an unknown failure.
const ELSEWHERE: &str =
    "`cargo xtask doctor dagger`; without containers: the same command with `--engine=host`";

/// The fields of the Cloudflare module's record that we read.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ModuleRecord {
    nonce: String,
    exit_code: i32,
    version_id: Option<String>,
    #[serde(default)]
    deployment_id: Option<String>,
    #[serde(default)]
    urls: Vec<String>,
    wrangler: Option<String>,
    error: Option<String>,
    #[serde(default)]
    warnings: Vec<String>,
    #[serde(default)]
    steps: Vec<StepResult>,
    #[serde(default)]
    log: String,
}

impl ModuleRecord {
    /// Parses the record of the module. `None` if it is not the record of the attempt with `nonce`.
    fn parse(text: &str, nonce: &str) -> Option<ModuleRecord> {
        let record: ModuleRecord = serde_json::from_str(text).ok()?;
        (record.nonce == nonce).then_some(record)
    }

    /// Returns the uploaded version. Errors if wrangler failed.
    fn new_version(self, strategy: Option<Strategy>) -> Result<NewVersion> {
        let id = match strategy {
            Some(Strategy::Preview) => self.deployment_id,
            Some(Strategy::Alias) | None => self.version_id,
        };
        match (self.exit_code, id, self.error) {
            (0, Some(id), None) => Ok(NewVersion {
                id,
                urls: self.urls,
                wrangler: self.wrangler,
                warnings: self.warnings.iter().map(|text| strip_escapes(text)).collect(),
            }),
            (code, _, error) => {
                let reason = error.unwrap_or_else(|| format!("wrangler exited with {code}"));
                let lines: Vec<String> = self.log.lines().map(strip_escapes).collect();
                let failure = failed(wrangler::excerpt(&reason, &lines, None));
                Err(match self.steps.iter().all(|step| step.is_ok) {
                    true => failure.hint(wrangler::hint_in_output(&lines.join("\n"))),
                    false => failure.hint(before_deploy::HINT),
                })
            }
        }
    }
}

/// Returns the result of the attempt with `nonce` in the Cloudflare module's record `text`. It is missing if the text is
/// another attempt's, or not a record.
#[must_use]
pub fn module_record(text: &str, nonce: &str, strategy: Option<Strategy>) -> AttemptResult {
    match ModuleRecord::parse(text, nonce) {
        Some(record) => record.new_version(strategy).into(),
        None => AttemptResult::Missing,
    }
}

/// Returns the steps before the upload that ran.
pub fn read_steps(run: &ProjectRun<'_>, prepared: &PreparedUpload) -> Vec<StepResult> {
    if run.project.build_plan.containers.upload == ContainerUpload::Api {
        return container_results::read_steps(run, &prepared.report);
    }
    let text = std::fs::read_to_string(&prepared.report).unwrap_or_default();
    ModuleRecord::parse(&text, &run.project.nonce).map(|record| record.steps).unwrap_or_default()
}

/// Returns true if wrangler was killed in its container while it uploaded.
pub fn is_upload_killed(run: &ProjectRun<'_>, prepared: &PreparedUpload) -> bool {
    run.project.build_plan.containers.upload == ContainerUpload::Api
        && container_results::is_upload_killed(run, &prepared.report)
}

/// Prepares the run of the project's script, which builds and uploads in containers.
pub fn prepare(run: &ProjectRun<'_>) -> Result<PreparedUpload> {
    let (command, report) = container_command(run)?;
    Ok(PreparedUpload { command, report, folder: None, warnings: Vec::new() })
}

/// Reads the results of the upload. Exit code 0 proves nothing. Only results with our nonce count.
pub fn read_report(
    run: &ProjectRun<'_>,
    prepared: &PreparedUpload,
    finished: CompletedProcess,
) -> Result<NewVersion> {
    let result = match run.project.build_plan.containers.upload {
        ContainerUpload::Api => container_results::read(run, &prepared.report),
        ContainerUpload::Module => {
            let text = std::fs::read_to_string(&prepared.report).unwrap_or_default();
            module_record(&text, &run.project.nonce, run.project.strategy)
        }
    };
    match result {
        AttemptResult::Uploaded(version) => {
            check_success(run, finished)?;
            Ok(version)
        }
        AttemptResult::Failed(failure) => Err(failure),
        AttemptResult::Missing => {
            check_success(run, finished)?;
            Err(failed("dagger exited with 0 but left no record of this attempt: it ran nothing, or answered from a cache")
                .hint(format!("look for the record at {}", prepared.report)))
        }
    }
}

/// Returns true if the CLI may have reached an engine. Until then it prints one line: `connecting to engine`
/// (observed with v0.21.8).
fn is_connected(finished: &CompletedProcess) -> bool {
    finished
        .tail
        .iter()
        .any(|line| !line.trim().is_empty() && !line.contains("connecting to engine"))
}

/// The way in which the CLI and the command in a container ended.
pub(crate) struct ContainerExit {
    /// The result of the CLI.
    pub finished: CompletedProcess,
    /// `true` if the request to deploy may have been sent, and nothing reported its end.
    pub is_killed: bool,
}

/// Tells a CLI that a signal killed from one that exited with the code of a command in a container, such as 137 of a
/// command that ran out of memory (observed with v0.21.8).
pub(crate) fn container_exit(mut finished: CompletedProcess) -> ContainerExit {
    let is_killed = is_connected(&finished) && !matches!(finished.exit_reason, ExitReason::Code(_));
    let ExitReason::Signal(signal) = finished.exit_reason else {
        return ContainerExit { finished, is_killed };
    };
    let code = SIGNALS + signal;
    let Some(command) = dagger_output::failed_command(&finished.log, code) else {
        return ContainerExit { finished, is_killed };
    };
    finished.exit_reason = ExitReason::Code(code);
    ContainerExit { finished, is_killed: command.contains("wrangler") }
}

/// Builds in a container, if there is a build.
pub(crate) fn build_in_container(run: &ProjectRun<'_>) -> Result<()> {
    if run.project.build.is_none() {
        return Ok(());
    }
    let (command, _) = container_command(run)?;
    run.step("dagger: build");
    let finished = run.execute_within(&command, RunLimits::default())?;
    check_success(run, container_exit(finished).finished).map(|_| ())
}

/// Returns the command that runs the project's script, and the path of its record.
fn container_command(run: &ProjectRun<'_>) -> Result<(command::ProcessCommand, Utf8PathBuf)> {
    let root = &run.ctx.root;
    check_modules(root, run.project)?;
    check_wipe(run)?;
    let report = match run.project.build_plan.containers.upload {
        ContainerUpload::Api => root.join(script::upload::results(run.project)),
        ContainerUpload::Module => root.join(&run.project.dir).join(script::RECORD),
    };
    let removed = match report.symlink_metadata() {
        Ok(found) if found.is_dir() => std::fs::remove_dir_all(&report),
        Ok(_) => std::fs::remove_file(&report),
        Err(_) => Ok(()),
    };
    removed.with_context(|| format!("cannot remove {report}"))?;
    if run.plan.operation != Operation::Build {
        for (path, text) in upload_files(run.project, root) {
            write_whole(&root.join(path), &text)?;
        }
    }
    Ok((command(run.plan, run.project, root)?, report))
}

/// Refuses an export folder that is not only for build output, because `export --wipe` deletes everything else
/// in it.
fn check_wipe(run: &ProjectRun<'_>) -> Result<()> {
    let exported = run.project.build.as_ref().and_then(|_| script::exports(run.project));
    let Some(dist) = exported else {
        return Ok(());
    };
    let root = &run.ctx.root;
    symlinks::check(root, &dist)?;
    if !root.join(&dist).is_dir() || git::is_ignored(root, &dist)? {
        return Ok(());
    }
    let failure =
        refused(format!("{dist} is not ignored by git, and the build would replace all of it"));
    Err(match run.project.dist {
        Some(_) => failure.hint(format!("add `{dist}` to .gitignore")),
        None => failure.hint(
            "Dagger exports the folder of `main`, so a build has to write it: into a folder that git \
             ignores; where the build writes something else, take `--engine host`",
        ),
    })
}

/// Returns the files that the script of an upload reads and the repository does not have, with their content.
#[must_use]
pub fn upload_files(project: &ProjectPlan, root: &Utf8Path) -> Vec<(Utf8PathBuf, String)> {
    if project.build_plan.containers.upload == ContainerUpload::Module {
        return Vec::new();
    }
    let pins = Toolchain::wrangler(root);
    let mut files: Vec<(Utf8PathBuf, String)> =
        pins.carried_files().map(|(path, text)| (path, text.to_owned())).collect();
    if project.build_plan.containers.program == script::upload::PROGRAM {
        files.push((project.build_plan.containers.program.clone(), PREPARE_UPLOAD.to_owned()));
    }
    files
}

/// Returns the command that runs a project's script in its folder.
pub fn command(
    plan: &crate::plan::Plan,
    project: &ProjectPlan,
    root: &Utf8Path,
) -> Result<command::ProcessCommand> {
    let mut command = dagger::command(&root.join(&project.dir), script::script(plan, project)?);
    if script::container::is_used(project) {
        let variables = &project.build_plan.containers.variables;
        command = command.inherits(&variables.install, true).inherits(&variables.build, false);
    }
    Ok(match (plan.operation, plan.destination.sandbox) {
        (Operation::Build, _) => command,
        (_, Some(_)) => command.credential(script::SANDBOX_TOKEN, plan.destination.credential()),
        (_, None) => {
            let variable = plan.destination.token_variable.clone();
            command.credential(&variable, plan.destination.credential())
        }
    })
}

/// Refuses a missing module, because Dagger would search parent folders and load another one.
fn check_modules(root: &Utf8Path, project: &ProjectPlan) -> Result<()> {
    let own = Some(project.dir.as_path());
    let builder = own.filter(|_| project.module && project.build.is_some());
    let uploads = project.build_plan.containers.upload == ContainerUpload::Module;
    let uploader = uploads.then_some(Utf8Path::new(modules::CLOUDFLARE));
    for module in [uploader, builder].into_iter().flatten() {
        symlinks::check(root, &module.join("dagger.json"))?;
        if !root.join(module).join("dagger.json").is_file() {
            return Err(
                refused(format!("{module} has no dagger.json")).hint("make it a Dagger module")
            );
        }
    }
    if !root.ancestors().any(|dir| dir.join(".git").exists()) {
        return Err(refused(format!(
            "{root} is in no git repository, which Dagger's references need"
        ))
        .hint("run `git init`, or add `--engine host`"));
    }
    Ok(())
}

/// The prefix of a refusal of the Cloudflare module. Nothing was changed before it.
const REFUSAL_PREFIX: &str = "refused, nothing was changed: ";

/// Returns the refusal of the Cloudflare module in the output of the CLI. Its last part is the next step.
fn refusal(output: &[String]) -> Option<Error> {
    let line = output.iter().rev().find_map(|line| line.split_once(REFUSAL_PREFIX))?.1;
    let text = line.split(" [traceparent:").next().unwrap_or(line);
    Some(refused(text).hint(container_results::REFUSAL_HINT))
}

fn check_success(run: &ProjectRun<'_>, mut finished: CompletedProcess) -> Result<CompletedProcess> {
    if finished.exit_reason == ExitReason::Code(0) {
        return Ok(finished);
    }
    if let Some(refusal) = refusal(&finished.tail) {
        return Err(refusal);
    }
    let output =
        dagger_output::failure_in_log(&finished.log).unwrap_or_else(|| finished.tail.clone());
    let install = || {
        let installation = run.project.build_plan.toolchain.installation.as_ref();
        let installation = installation.filter(|_| script::container::is_used(run.project))?;
        failure::specific_hint(installation, &run.project.build_plan.containers.variables, &output)
    };
    let hint = dagger::hint(&output).map(str::to_owned).or_else(install);
    let hint = hint.or_else(|| dagger::step_hint(&output).map(str::to_owned));
    finished.tail = output[output.len().saturating_sub(TAIL)..].to_vec();
    let reason = finished.exit_reason;
    let deadline = reason == ExitReason::Deadline;
    finished.success().map_err(|failure| {
        let failure = match hint {
            _ if reason == ExitReason::Caller => {
                let message = format!("the Dagger engine stopped answering; {failure:#}");
                let address = engine_address::as_text();
                failure
                    .with_message(message)
                    .hint(format!("start the engine at {address}, then run it again"))
            }
            Some(hint) => failure.hint(hint),
            None if deadline => failure
                .hint("run `cargo xtask doctor dagger`; without an engine the CLI waits forever"),
            None => failure.hint_if_failed(ELSEWHERE),
        };
        // The message contains a trace URL that works only in Dagger Cloud.
        let text = format!("{failure:#}");
        let lines = text.lines().map(|line| line.split(" [traceparent:").next().unwrap_or(line));
        let message = lines.collect::<Vec<_>>().join("\n");
        failure.with_message(message)
    })
}
