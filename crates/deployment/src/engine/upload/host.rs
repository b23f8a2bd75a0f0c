//! The steps of a deployment that run the pinned tools on this machine.
//!
//! An upload takes two steps. The first bundles the code and may run any code of the project, so it gets no
//! credential. The second has the token, and runs wrangler in a folder with only files that we wrote and checked.

use camino::Utf8Path;

use crate::engine::build::expected_output::{check_entry, check_output, is_beside_code};
use crate::engine::project_run::ProjectRun;
use crate::engine::upload::{NewVersion, PreparedUpload, kept_variables};
use crate::plan::commands::Bundling;
use crate::plan::guard::check_containers;
use crate::plan::{Operation, ProjectPlan};
use base::error::{Error, Result, failed, interrupted, refused, unwritable};
use base::runner::{CompletedProcess, ExitReason};
use cloudflare::wrangler;
use cloudflare::wrangler::strict::StrictStop;
use workspace::names::MANIFEST;
use workspace::paths::normalize;
use workspace::symlinks;
use workspace::wrangler::{Target, WranglerConfig, is_default_config};

/// Bundles the code and writes the folder to upload from.
pub fn prepare(run: &ProjectRun<'_>) -> Result<PreparedUpload> {
    let (paths, project) = (&run.shared.paths, run.project);
    // First, because an output for another host may have no assets.
    if !is_redirected(&run.ctx.root, project) {
        check_entry(&run.ctx.root, project)?;
    }
    if !project.is_built_by_wrangler {
        check_assets(run)?;
    }
    let command = paths.upload(project, &run.plan.destination, run.plan.kind(project));
    let folder = Some(paths.upload_folder(project));
    let warnings = Vec::new();
    let mut prepared =
        PreparedUpload { command, report: paths.output_file(project), folder, warnings };
    prepared.warnings = prepare_folder(run)?;
    prepared.warnings.extend(ignored_redirect(&run.ctx.root, project));
    kept_variables::add(run, &mut prepared)?;
    Ok(prepared)
}

/// Refuses a folder of assets that the build did not write.
fn check_assets(run: &ProjectRun<'_>) -> Result<()> {
    let project = run.project;
    let Some(dist) = &project.dist else { return Ok(()) };
    let manifest = project.build.as_ref().unwrap_or(&project.dir).join(MANIFEST);
    check_output(&run.ctx.root, dist, is_beside_code(project, dist), &manifest)
}

/// Reads wrangler's output file. Exit code 0 alone proves nothing.
pub fn read_report(
    run: &ProjectRun<'_>,
    prepared: &PreparedUpload,
    finished: &CompletedProcess,
) -> Result<NewVersion> {
    let output = std::fs::read_to_string(&prepared.report).unwrap_or_default();
    match upload_outcome(run, finished.exit_reason, &output, &finished.tail) {
        wrangler::WranglerOutcome::Done { version, targets, previews } => {
            let urls = urls(run, &targets, previews);
            // The folder is kept after a failure, for debugging.
            let _left = std::fs::remove_file(&prepared.report);
            let warnings = prepared.warnings.clone();
            Ok(NewVersion { id: version, urls, wrangler: None, warnings })
        }
        wrangler::WranglerOutcome::Failed { reason, hint } => {
            let reason = match finished.exit_reason {
                ExitReason::Deadline => format!("wrangler {}", finished.ending()),
                _ => reason,
            };
            let text = wrangler::excerpt(&reason, &finished.tail, Some(log(run, finished)));
            let failure = match finished.exit_reason {
                ExitReason::Interrupted => interrupted(),
                _ => failed(text),
            };
            Err(hint.into_iter().fold(failure, Error::hint))
        }
    }
}

/// Returns wrangler's result, by its exit and its output file. `lines` are what it printed: the file has the code of an
/// error, and not its text.
pub(crate) fn upload_outcome(
    run: &ProjectRun<'_>,
    exit_reason: ExitReason,
    output: &str,
    lines: &[String],
) -> wrangler::WranglerOutcome {
    match wrangler::parse_outcome(run.plan.kind(run.project), exit_reason, output) {
        wrangler::WranglerOutcome::Failed { reason, hint } => {
            let next_step = next_step(run, exit_reason, lines);
            wrangler::WranglerOutcome::Failed { reason, hint: next_step.or(hint) }
        }
        done @ wrangler::WranglerOutcome::Done { .. } => done,
    }
}

/// Returns the next step after a failure that wrangler's output explains better than its output file.
fn next_step(run: &ProjectRun<'_>, exit_reason: ExitReason, lines: &[String]) -> Option<String> {
    if let Some(stop) = StrictStop::find(lines).filter(|_| exit_reason == ExitReason::Code(1)) {
        return Some(stop.hint(&run.command_line("wrangler")));
    }
    let output = lines.join("\n");
    wrangler::error_hint_in_output(&output)
        .map(str::to_owned)
        .or_else(|| deploy_bound_project(run, &output))
}

/// Returns the command that deploys the missing Worker of a service binding. `None` if no project has it.
fn deploy_bound_project(run: &ProjectRun<'_>, output: &str) -> Option<String> {
    if !output.contains("[code: 10143]") && !output.contains("[code: 10144]") {
        return None;
    }
    let is_named = |worker: &str| output.contains(&format!("'{worker}'"));
    let (worker, project) =
        run.project.bound_projects.iter().find(|(worker, _)| is_named(worker))?;
    let command = run.plan.destination.command_line("deploy", project);
    Some(format!("run `{command}` first, which creates the Worker `{worker}`"))
}

/// Returns the URLs of the new version.
pub(crate) fn urls(run: &ProjectRun<'_>, targets: &[String], previews: Vec<String>) -> Vec<String> {
    match run.plan.operation {
        Operation::Preview => previews,
        _ => wrangler::urls(targets),
    }
}

/// Returns the last lines that a `build.command` printed. `None` if it did not fail. Wrangler prints an internal object after
/// them, which is longer than `tail`, so they are read from the log.
fn build_command_output(root: &Utf8Path, log: &str, tail: &[String]) -> Option<Vec<String>> {
    const MAX_LINES: usize = 20;
    if !tail.iter().any(|line| line.contains("[ERROR] Running custom build")) {
        return None;
    }
    let text = std::fs::read_to_string(root.join(log)).unwrap_or_default();
    let last_command = text.rsplit("\n$ ").next().unwrap_or_default();
    let lines = last_command.lines().filter_map(|line| line.strip_prefix("[custom build] "));
    let lines: Vec<String> = lines.skip(1).map(str::to_owned).collect();
    Some(lines[lines.len().saturating_sub(MAX_LINES)..].to_vec())
}

/// Bundles the code if there is any, and writes the folder to upload from. Returns warnings.
fn prepare_folder(run: &ProjectRun<'_>) -> Result<Vec<String>> {
    let (paths, project) = (&run.shared.paths, run.project);
    let folder = paths.upload_folder(project);
    std::fs::create_dir_all(folder.join("empty"))
        .map_err(|error| unwritable(format!("cannot create {folder}: {error}")))?;
    let root = &run.ctx.root;
    let is_redirected = is_redirected(root, project);
    let generated = if is_redirected { Some(generated_target(root, &project.dir)?) } else { None };
    let target = generated.as_ref().unwrap_or(&project.target);
    // wrangler would need Docker for the image, also to bundle.
    check_containers(&project.config, target)?;
    let is_bundled = target.main.is_some() || target.has_build_command;
    if is_bundled {
        run.step("bundle");
        let bundling = Bundling { is_redirected, has_assets: target.assets.is_some() };
        let finished = run.execute(&paths.bundle(project, bundling))?;
        if matches!(finished.exit_reason, ExitReason::Code(code) if code != 0) {
            let log = log(run, &finished);
            let command_output = build_command_output(root, log, &finished.tail);
            let reason = match command_output {
                Some(_) => {
                    "wrangler bundled nothing: the `build.command` of its config failed".to_owned()
                }
                None => format!("wrangler bundled nothing: it {}", finished.ending()),
            };
            let output = command_output.as_ref().unwrap_or(&finished.tail);
            let failure = failed(wrangler::excerpt(&reason, output, Some(log)));
            return Err(failure.hint(wrangler::bundle_hint(&output.join("\n"))));
        }
        finished.success().map_err(|failure| failure.hint_if_failed(wrangler::BUNDLE))?;
        if project.is_built_by_wrangler {
            check_assets(run)?;
        }
    }
    let destination = &run.plan.destination;
    let command = paths.prepare_upload(project, destination, is_redirected, is_bundled);
    let finished = run.execute(&command)?;
    match finished.exit_reason {
        ExitReason::Code(wrangler::REFUSAL_EXIT_CODE) => Err(refusal(&finished)),
        _ => Ok(warnings(&finished.success()?.tail)),
    }
}

/// Returns true if wrangler uses the config of an adapter instead of the project's own. Only the build of this run may have
/// written it: the content key does not have the output of an earlier one.
pub(crate) fn is_redirected(root: &Utf8Path, project: &ProjectPlan) -> bool {
    project.may_be_redirected() && has_redirect(root, project)
}

fn has_redirect(root: &Utf8Path, project: &ProjectPlan) -> bool {
    root.join(&project.dir).join(wrangler::REDIRECT).is_file()
        && is_default_config(root, &project.config)
}

/// Returns the warning for the config of an adapter that no build of the project writes.
fn ignored_redirect(root: &Utf8Path, project: &ProjectPlan) -> Option<String> {
    let is_ignored = !project.may_be_redirected() && has_redirect(root, project);
    is_ignored.then(|| {
        let path = project.dir.join(wrangler::REDIRECT);
        format!("{path} was not used, because the project has no build that writes it")
    })
}

/// Returns the path of the log with all of a command's output, relative to the repository's root.
pub(crate) fn log<'f>(run: &ProjectRun<'_>, finished: &'f CompletedProcess) -> &'f str {
    finished.log.strip_prefix(&run.ctx.root).unwrap_or(&finished.log).as_str()
}

/// Reads the config of an adapter. The program that prepares the upload checks it.
fn generated_target(root: &Utf8Path, dir: &Utf8Path) -> Result<Target> {
    let redirect = dir.join(wrangler::REDIRECT);
    let text = symlinks::read(root, &redirect)?;
    let value: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| refused(format!("{redirect}: {error}")))?;
    let target = value["configPath"]
        .as_str()
        .and_then(|path| normalize(&redirect.parent().unwrap_or(dir).join(path)));
    let path = target.ok_or_else(|| {
        refused(format!("{redirect}: `configPath` names no file of the repository"))
            .hint(format!("remove `{}` and build again", wrangler::REDIRECT))
    })?;
    let config = WranglerConfig::parse(&path, &symlinks::read(root, &path)?)?;
    if !config.environments.is_empty() {
        let names = config.environments.join("`, `");
        let text = format!(
            "{path}: wrangler refuses the config that the build wrote, because it has `env` (`{names}`); nothing was uploaded"
        );
        return Err(refused(text).hint(wrangler::GENERATED_ENV));
    }
    Ok(config.target(""))
}

/// Returns the warnings in the output of the program that prepares an upload.
pub(crate) fn warnings(output: &[String]) -> Vec<String> {
    let warning = |line: &String| line.strip_prefix(wrangler::WARNING).map(str::to_owned);
    output.iter().filter_map(warning).collect()
}

/// Returns the refusal of the program that prepares an upload.
fn refusal(finished: &CompletedProcess) -> Error {
    refusal_in(&finished.tail).unwrap_or_else(|| refused(finished.explain()))
}

/// Returns the refusal at the end of the output of the program that prepares an upload. `None` if there is none.
pub(crate) fn refusal_in(output: &[String]) -> Option<Error> {
    let line = |prefix: &str| output.iter().rev().find_map(|line| line.strip_prefix(prefix));
    let failure = refused(line("refused: ")?);
    Some(match line("hint: ") {
        Some(hint) => failure.hint(hint),
        None => failure,
    })
}
