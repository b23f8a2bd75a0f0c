//! `deploy`: build, upload, route traffic, check, record.

use clap::Args;

use super::execution::{EngineArgs, execute_or_print, nothing_to_do};
use super::selection::{self, PlanReader, Selection};
use base::error::{Exit, Result};
use deployment::context::Ctx;
use deployment::plan::destination::Destination;
use deployment::plan::{Operation, RunOptions, RunRequest};
use deployment::tools::sandbox;
use workspace::Workspace;

/// Build projects, upload them, route traffic to them and check that they work.
#[derive(Debug, Args)]
pub struct DeployCommand {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    engine: EngineArgs,
    /// Environment: `local` (the sandbox) or one of the shared config file [default: `local`; none in
    /// pipelines]
    #[arg(long, value_name = "ENVIRONMENT")]
    env: Option<String>,
    /// Deploy this environment to the sandbox instead of Cloudflare
    #[arg(long)]
    sandbox: bool,
    /// Build and deploy even if the same content is live
    #[arg(long)]
    force: bool,
    /// Give the new version only this percentage of the traffic. The live version keeps the rest. Crons, routes, domains
    /// and settings are not applied
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(1..=100))]
    percent: Option<u8>,
    /// Do not roll back when the health check fails
    #[arg(long)]
    no_rollback: bool,
    /// Deploy to the sandbox although it cannot run some bindings. Requests that use one are answered with 501
    #[arg(long)]
    allow_stub: bool,
    /// Change a protected environment from this machine, and record the reason
    #[arg(long, value_name = "REASON", value_parser = reason)]
    break_glass: Option<String>,
}

impl DeployCommand {
    /// Runs the command.
    pub fn run(self, ctx: &Ctx) -> Result<Exit> {
        self.engine.prepare(ctx);
        let reader = PlanReader::start(&ctx.root, Operation::Deploy);
        if self.sandbox || self.env.as_deref().is_none_or(Destination::always_sandbox) {
            sandbox::ask_for_proof(&ctx.root);
        }
        let workspace = Workspace::load(&ctx.root)?;
        let destination = self.destination(ctx, &workspace)?;
        let chosen = self.selection.choose(ctx, &workspace, Some(&destination.environment))?;
        if let Some(because) = &chosen.nothing {
            let exit = nothing_to_do(ctx, because);
            return Ok(selection::end(ctx, &workspace, exit, &chosen.broken));
        }
        let choice = self.engine.choose(ctx, &workspace)?;
        let options = RunOptions {
            force: self.force,
            rebuild: self.engine.no_cache,
            rollback: !self.no_rollback,
            allow_stub: self.allow_stub,
            percent: self.percent.filter(|percent| *percent < 100),
        };
        let request =
            RunRequest { options, ..RunRequest::new(Operation::Deploy, choice, destination) };
        let broken = chosen.broken.clone();
        let plan = chosen.plan(ctx, &workspace, request, reader)?;
        let exit = execute_or_print(ctx, &workspace, plan)?;
        Ok(selection::end(ctx, &workspace, exit, &broken))
    }

    fn destination(&self, ctx: &Ctx, workspace: &Workspace) -> Result<Destination> {
        let environment = self.env.clone().map_or_else(|| ctx.default_environment(), Ok)?;
        let port = sandbox_port(ctx, &environment, self.sandbox);
        if ctx.dry_run && self.break_glass.is_none() {
            return Destination::to_read(&workspace.config, &environment, port);
        }
        let glass = self.break_glass.as_deref();
        Destination::resolve(&workspace.config, &environment, port, &ctx.ci, glass)
    }
}

/// Returns the sandbox's port if `environment` is deployed there. If the sandbox is down, returns the port on
/// which it would start.
pub fn sandbox_port(ctx: &Ctx, environment: &str, asked: bool) -> Option<u16> {
    let is_sandbox = asked || Destination::always_sandbox(environment);
    is_sandbox.then(|| sandbox::planned_port(&ctx.root))
}

/// Parses the reason of `--break-glass`, which is recorded and may not be blank.
pub(super) fn reason(text: &str) -> Result<String, String> {
    // Invisible letters.
    let is_seen = |c: char| c.is_alphanumeric() && !"\u{115f}\u{1160}\u{3164}\u{ffa0}".contains(c);
    match text.trim() {
        blank if !blank.contains(is_seen) => {
            Err("a reason is needed, because it is recorded".to_owned())
        }
        reason => Ok(reason.to_owned()),
    }
}
