//! `delete`: a Worker with its versions, routes and crons.

use std::collections::BTreeSet;

use clap::Args;
use serde_json::json;

use super::target::{EnvironmentUse, ProjectTarget, TargetArgs};
use super::wrangler::command;
use base::command::ProcessCommand;
use base::error::{Error, Exit, Result, failed, refused, remote};
use base::runner::CompletedProcess;
use base::time::{rfc3339, unix_now};
use cloudflare::api::{Api, ListedVersion, Live};
use deployment::context::Ctx;
use deployment::engine::setup::{Setup, ToolPlan, project_lock};
use deployment::plan::Operation;
use deployment::plan::commands::CommandPaths;
use deployment::record::{DeployStatus, Record, ToolVersions};
use deployment::report::script::script_of;
use workspace::git;
use workspace::key::fresh_nonce;

/// Delete a project's Worker with its versions, routes and crons.
///
/// Storage that it is bound to is kept. So is the project.
#[derive(Debug, Args)]
pub struct DeleteCommand {
    #[command(flatten)]
    target: TargetArgs,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
    /// Change a protected environment from this machine, and record the reason
    #[arg(long, value_name = "REASON", value_parser = super::deploy::reason)]
    break_glass: Option<String>,
}

impl DeleteCommand {
    /// Runs the command.
    pub fn run(self, ctx: &Ctx) -> Result<Exit> {
        let break_glass = self.break_glass.as_deref();
        let target = self.target.to_change(ctx, break_glass, EnvironmentUse::Worker)?;
        let (name, worker) = (&target.project.name, target.worker());
        let environment = &target.destination.environment;
        let mut setup = Setup::new(ctx, &target.workspace.config)?;
        if ctx.dry_run {
            let config = &target.workspace.config;
            let paths = ToolPlan::new(&ctx.root, config, &BTreeSet::new())?.paths;
            let text = script_of(&ctx.root, [&deletion(&target, &paths)]);
            setup.finish("nothing is deleted");
            let report = json!({ "schema": 1, "project": name, "environment": environment,
                                 "worker": worker, "deleted": false });
            ctx.ui.report(&report, &text);
            return Ok(Exit::Done);
        }
        let credentials = target.credentials(ctx)?;
        let api = target.api(ctx, &credentials);
        let report = |deleted: bool, version: Option<&str>| {
            json!({ "schema": 1, "project": name, "environment": environment, "worker": worker,
                    "deleted": deleted, "version": version })
        };
        if api.newest_versions(&worker)?.is_empty() {
            let text = format!("there is no Worker `{worker}` in {environment}");
            ctx.ui.report(&report(false, None), &text);
            return Ok(Exit::Done);
        }
        let live = api.live(&worker)?.map(|live| live.version);
        if !self.confirm(ctx, &worker, environment)? {
            ctx.ui.report(&report(false, live.as_deref()), "nothing was deleted");
            return Ok(Exit::Done);
        }
        let paths = setup.tools()?;
        setup.finish("wrangler is installed");
        delete(ctx, &target, &api, &deletion(&target, &paths))?;
        let text = format!(
            "deleted the Worker `{worker}` in {environment}\nundo: `{}` recreates it, without its secrets",
            target.destination.command_line("deploy", name)
        );
        ctx.ui.report(&report(true, live.as_deref()), &text);
        Ok(Exit::Done)
    }

    /// Returns true if the user confirms the deletion. Errors if there is no terminal to ask.
    fn confirm(&self, ctx: &Ctx, worker: &str, environment: &str) -> Result<bool> {
        if self.yes {
            return Ok(true);
        }
        let question = format!(
            "Delete the Worker `{worker}` in {environment} with all of its versions? This cannot be undone."
        );
        ctx.ui.confirm(&question).ok_or_else(|| {
            refused(format!("the deletion of `{worker}` in {environment} is not confirmed"))
                .hint("add `--yes`, because stdin is not a terminal")
        })
    }
}

/// Returns the command that deletes. wrangler's prompts are answered with yes, so all confirmation happens before.
fn deletion(target: &ProjectTarget, paths: &CommandPaths) -> ProcessCommand {
    let arguments = ["delete".to_owned(), target.worker()];
    command(paths, target, &arguments, true).text("CI", "1")
}

/// Deletes the Worker, verifies that it is gone, and saves a record.
fn delete(
    ctx: &Ctx,
    target: &ProjectTarget,
    api: &Api<'_>,
    deletion: &ProcessCommand,
) -> Result<()> {
    let worker = target.worker();
    let task = ctx.ui.task("delete");
    let lock = project_lock(&ctx.root, &target.project.slug(), |holder| {
        task.step(&format!("wait for {holder}"));
    })?;
    lock.settle(|why| task.step(why))?;
    let mut record = record(ctx, target, api.live(&worker)?)?;
    let look = target.destination.command_line("versions", &target.project.name);
    record.begin(&ctx.root, &look)?;
    let log = record.nonce.clone();
    let finished = ctx.run(&log, deletion, &|line| task.output(line))?;
    // Exit 0 alone proves nothing.
    let remaining = api.newest_versions(&worker);
    let is_gone = remaining.as_ref().is_ok_and(Vec::is_empty);
    let result =
        if is_gone { Ok(()) } else { Err(not_deleted(&worker, &look, &finished, remaining)) };
    record.ended = rfc3339(unix_now());
    match &result {
        Ok(()) => record.status = DeployStatus::Deleted,
        Err(failure) => {
            record = record.ended_by(failure.clone());
            record.live.clone_from(&record.previous);
        }
    }
    record.save_at_the_end(&ctx.root);
    task.end(is_gone, if is_gone { "deleted" } else { "not deleted" });
    result
}

/// Returns the record of a deletion that has begun.
fn record(ctx: &Ctx, target: &ProjectTarget, live: Option<Live>) -> Result<Record> {
    let (project, destination) = (&target.project, &target.destination);
    let nonce = format!("{}-{}", fresh_nonce()?, project.slug());
    let mut record =
        Record::new(Operation::Delete, &project.name, &target.worker(), destination, &nonce);
    record.commit = git::head(&ctx.root)?.commit;
    record.previous = live;
    record.tools = ToolVersions::new();
    Ok(record)
}

/// Explains why the Worker still exists, or may still exist.
fn not_deleted(
    worker: &str,
    look: &str,
    finished: &CompletedProcess,
    left: Result<Vec<ListedVersion>>,
) -> Error {
    let reason = finished.explain();
    match left {
        Ok(_) => failed(format!("the Worker `{worker}` is still there: {reason}"))
            .hint("remove what depends on it first, such as service bindings of other Workers"),
        Err(error) => remote(format!(
            "the Worker `{worker}` may be deleted: {reason}; what is left cannot be read: {error:#}"
        ))
        .hint(format!("run `{look}`")),
    }
}
