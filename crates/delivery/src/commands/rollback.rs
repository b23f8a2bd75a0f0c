//! `rollback` and `promote`: make an existing version live.

use clap::Args;

use super::deploy::sandbox_port;
use base::error::{Exit, Result};
use deployment::context::Ctx;
use deployment::engine::rollback;
use deployment::engine::rollback::RollbackTarget;
use deployment::engine::setup::Setup;
use deployment::plan::destination::Destination;
use deployment::plan::protection;
use deployment::report::{self, RunReport};
use workspace::Workspace;
use workspace::before_deploy::BeforeDeploy;
use workspace::config::LOCAL;
use workspace::project::Project;

/// Make the previous version live again, or a named one.
///
/// Steps of `xtask.beforeDeploy` do not run, and what they changed stays: the version meets today's data.
#[derive(Debug, Args)]
pub struct RollbackCommand {
    #[command(flatten)]
    place: ProjectEnvironment,
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
    place: ProjectEnvironment,
    /// The preview's alias, such as `mr-42`, which means its newest version; or the id of a version, as
    /// the merge request comment names it
    #[arg(long, value_name = "ALIAS|VERSION")]
    from: String,
    /// Give the version only this percentage of the traffic. The live version keeps the rest
    #[arg(long, value_name = "PERCENT", default_value_t = 100, hide_default_value = true,
          value_parser = clap::value_parser!(u8).range(1..=100))]
    percent: u8,
}

/// The project and its environment.
#[derive(Debug, Args)]
struct ProjectEnvironment {
    /// Project, by any unique suffix of its path, its Worker name or package name
    #[arg(value_name = "PROJECT")]
    project: String,
    /// Environment: `local` (the sandbox) or one of the shared config file [default: `local`; none in
    /// pipelines]
    #[arg(long, value_name = "ENVIRONMENT")]
    env: Option<String>,
    /// Use the sandbox instead of Cloudflare
    #[arg(long)]
    sandbox: bool,
    /// Change a protected environment from this machine, and record the reason
    #[arg(long, value_name = "REASON", value_parser = super::deploy::reason)]
    break_glass: Option<String>,
}

impl RollbackCommand {
    /// Runs the command.
    pub fn run(self, ctx: &Ctx) -> Result<Exit> {
        let target = self.to.map_or(RollbackTarget::Previous, RollbackTarget::Version);
        self.place.make_live(ctx, &target, 100)
    }
}

impl PromoteCommand {
    /// Runs the command.
    pub fn run(self, ctx: &Ctx) -> Result<Exit> {
        self.place.make_live(ctx, &RollbackTarget::Alias(self.from), self.percent)
    }
}

impl ProjectEnvironment {
    /// Lists the steps that a deployment would run and a promotion does not.
    fn tell_steps(&self, ctx: &Ctx, project: &Project) {
        let steps = project.before_deploy().map(BeforeDeploy::steps).unwrap_or_default();
        let environment = self.env.as_ref().filter(|name| *name != LOCAL);
        let environment = environment.map(|name| format!(" --env {name}")).unwrap_or_default();
        for step in steps {
            let arguments = step.text.trim_start_matches("wrangler ");
            ctx.ui.note(&format!(
                "`{}` of `xtask.beforeDeploy` does not run; if the version needs it, run `cargo xtask wrangler {}{environment} -- \
                 {arguments}`",
                step.text, project.name
            ));
        }
    }

    fn make_live(&self, ctx: &Ctx, target: &RollbackTarget, percent: u8) -> Result<Exit> {
        let workspace = Workspace::survey(&ctx.root)?;
        let project = workspace.project(&self.project)?;
        if matches!(target, RollbackTarget::Alias(_)) {
            self.tell_steps(ctx, project);
        }
        let environment = self.env.clone().map_or_else(|| ctx.default_environment(), Ok)?;
        let port = sandbox_port(ctx, &environment, self.sandbox);
        let mut destination = if ctx.dry_run && self.break_glass.is_none() {
            Destination::to_read(&workspace.config, &environment, port)?
        } else {
            let glass = self.break_glass.as_deref();
            Destination::resolve(&workspace.config, &environment, port, &ctx.ci, glass)?
        };
        protection::check(&workspace.config, &workspace.projects, &[project], &environment)?;
        if destination.sandbox.is_some() && !ctx.dry_run {
            // Started like `deploy` does, because its versions are read.
            let mut setup = Setup::new(ctx, &workspace.config)?;
            let port = setup.running_sandbox(&workspace.config.account_ids())?.port;
            setup.finish(&format!("sandbox at http://127.0.0.1:{port}"));
            destination.move_sandbox(port);
        }
        let rollback = rollback::Rollback::plan(ctx, project, &destination, target, percent)?;
        if ctx.dry_run {
            ctx.ui.report(&rollback, &rollback.text());
            return Ok(Exit::Done);
        }
        let records = [rollback.execute(ctx)?];
        ctx.ui.report(&RunReport::new(&records), &report::summary(&records));
        Ok(report::exit(&records))
    }
}
