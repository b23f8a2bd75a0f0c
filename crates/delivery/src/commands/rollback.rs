//! `rollback` and `promote`: make an existing version live.

use clap::Args;

use super::target::{ChangeTargetArgs, ProjectTarget};
use base::error::{Exit, Result};
use deployment::context::Ctx;
use deployment::engine::traffic::rollback::{Rollback, RollbackTarget};
use deployment::report::{self, RunReport};
use workspace::before_deploy::BeforeDeploy;

/// Make the previous version live again, or a named one.
///
/// Steps of `xtask.beforeDeploy` do not run, and what they changed stays: the version meets today's data.
#[derive(Debug, Args)]
pub struct RollbackCommand {
    #[command(flatten)]
    target: ChangeTargetArgs,
    /// Version that was live: its id, the first 8 digits of it, or its commit [default: the previous
    /// version]
    #[arg(long, value_name = "VERSION|COMMIT")]
    to: Option<String>,
}

/// Make a preview's version live.
///
/// Steps of `xtask.beforeDeploy` do not run, because the version is there already. If it needs a migration, apply that first.
#[derive(Debug, Args)]
pub struct PromoteCommand {
    #[command(flatten)]
    target: ChangeTargetArgs,
    /// The preview's alias, such as `mr-42`, which means its newest version; or the id of a version, as
    /// the merge request comment names it
    #[arg(long, value_name = "ALIAS|VERSION")]
    from: String,
    /// Give the version only this percentage of the traffic. The live version keeps the rest
    #[arg(long, value_name = "PERCENT", default_value_t = 100, hide_default_value = true,
          value_parser = clap::value_parser!(u8).range(1..=100))]
    percent: u8,
}

impl RollbackCommand {
    /// Runs the command.
    pub fn run(self, ctx: &Ctx) -> Result<Exit> {
        let to = self.to.map_or(RollbackTarget::Previous, RollbackTarget::Version);
        let target = self.target.resolve(ctx)?;
        make_live(ctx, &target, &to, 100)
    }
}

impl PromoteCommand {
    /// Runs the command.
    pub fn run(self, ctx: &Ctx) -> Result<Exit> {
        let target = self.target.resolve(ctx)?;
        list_steps(ctx, &target);
        make_live(ctx, &target, &RollbackTarget::Alias(self.from), self.percent)
    }
}

/// Lists the steps that a deployment would run and a promotion does not.
fn list_steps(ctx: &Ctx, target: &ProjectTarget) {
    let ProjectTarget { project, destination, .. } = target;
    let wrangler = destination.command_line("wrangler", &project.name);
    for step in project.before_deploy().map(BeforeDeploy::steps).unwrap_or_default() {
        let arguments = step.text.trim_start_matches("wrangler ");
        ctx.ui.note(&format!(
            "`{}` of `xtask.beforeDeploy` does not run; if the version needs it, run `{wrangler} -- {arguments}`",
            step.text
        ));
    }
}

fn make_live(ctx: &Ctx, target: &ProjectTarget, to: &RollbackTarget, percent: u8) -> Result<Exit> {
    let rollback = Rollback::plan(ctx, &target.project, &target.destination, to, percent)?;
    if ctx.dry_run {
        ctx.ui.report(&rollback, &rollback.text());
        return Ok(Exit::Done);
    }
    let records = [rollback.execute(ctx)?];
    ctx.ui.report(&RunReport::new(&records), &report::summary(&records));
    Ok(report::exit(&records))
}
