//! `delete`: a Worker with its versions, routes and crons.

use anyhow::Result;
use clap::Args;
use serde_json::json;

use super::target::TargetArgs;
use super::wrangler::command;
use crate::context::Ctx;
use crate::engine::setup::Setup;
use crate::report::script::script_of;
use base::error::{Exit, failed, refused, remote};

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
        let target = self.target.to_change(ctx, self.break_glass.as_deref())?;
        let (name, worker) = (&target.project.name, target.worker());
        let environment = &target.destination.environment;
        let setup = Setup::new(ctx, &target.workspace.config)?;
        // A prompt would be answered with yes, so everything is asked before.
        let arguments = ["delete", &worker].map(str::to_owned);
        let command = |places: &_| command(places, &target, &arguments, true).text("CI", "1");
        if ctx.dry_run {
            let (places, _) = crate::engine::setup::missing(
                &ctx.root,
                &target.workspace.config,
                &std::collections::BTreeSet::new(),
            )?;
            let text = script_of(&ctx.root, [&command(&places)]);
            let report = json!({ "schema": 1, "project": name, "environment": environment, "worker": worker, "deleted": false });
            setup.finish("nothing is deleted");
            ctx.ui.report(&report, &text);
            return Ok(Exit::Done);
        }
        let (places, _) = setup.tools()?;
        setup.finish("ready");
        let credentials = target.credentials(ctx)?;
        let api = target.api(ctx, &credentials);
        let report = |deleted: bool, version: Option<&str>| {
            json!({ "schema": 1, "project": name, "environment": environment, "worker": worker,
                    "deleted": deleted, "version": version })
        };
        let versions = api.versions(&worker)?;
        if versions.is_empty() {
            ctx.ui.report(
                &report(false, None),
                &format!("there is no Worker `{worker}` in {environment}"),
            );
            return Ok(Exit::Done);
        }
        let live = api.live(&worker)?.map(|live| live.version);
        if !self.yes {
            let question = format!(
                "Delete the Worker `{worker}` in {environment} with all of its versions? This cannot be undone."
            );
            match ctx.ui.confirm(&question) {
                Some(true) => {}
                Some(false) => {
                    ctx.ui.report(&report(false, live.as_deref()), "nothing was deleted");
                    return Ok(Exit::Done);
                }
                None => {
                    return Err(refused(format!(
                        "the deletion of `{worker}` in {environment} is not confirmed"
                    ))
                    .hint("add `--yes`, because this is no terminal that could ask")
                    .into());
                }
            }
        }
        let task = ctx.ui.task("delete");
        let finished =
            ctx.run(&format!("{}.delete", target.project.slug()), &command(&places), &|line| {
                task.output(line);
            })?;
        // Exit 0 alone proves nothing.
        let left = api.versions(&worker);
        let is_gone = left.as_ref().is_ok_and(Vec::is_empty);
        task.end(is_gone, if is_gone { "deleted" } else { "not deleted" });
        if is_gone {
            let text = format!(
                "deleted the Worker `{worker}` in {environment}\nundo: `cargo xtask deploy {name} --env {environment}` makes it again, without its secrets"
            );
            ctx.ui.report(&report(true, live.as_deref()), &text);
            return Ok(Exit::Done);
        }
        let reason = finished.explain();
        Err(match left {
            Ok(_) => failed(format!("the Worker `{worker}` is still there: {reason}"))
                .hint("remove what depends on it first, such as service bindings of other Workers"),
            Err(error) => {
                remote(format!("the Worker `{worker}` may be deleted: {reason}; what is left cannot be read: {error:#}"))
                    .hint(format!("run `cargo xtask versions {name} --env {environment}`"))
            }
        }
        .into())
    }
}
