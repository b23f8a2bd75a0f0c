//! `build`: installs dependencies and builds, without an upload.

use clap::Args;

use super::execution::{EngineArgs, execute_or_print, nothing_to_do};
use super::selection::{self, PlanReader, Selection};
use base::error::{Exit, Result};
use deployment::context::Ctx;
use deployment::plan::destination::Destination;
use deployment::plan::{Operation, RunOptions, RunRequest};
use deployment::tools::sandbox;
use workspace::Workspace;
use workspace::config::LOCAL;

/// Install dependencies and build.
#[derive(Debug, Args)]
pub struct BuildCommand {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    engine: EngineArgs,
}

impl BuildCommand {
    /// Runs the command.
    pub fn run(self, ctx: &Ctx) -> Result<Exit> {
        self.engine.prepare(ctx);
        let reader = PlanReader::start(&ctx.root, Operation::Build);
        let workspace = Workspace::load(&ctx.root)?;
        let chosen = self.selection.choose(ctx, &workspace, None)?;
        if let Some(because) = &chosen.nothing {
            let exit = nothing_to_do(ctx, because);
            return Ok(selection::end(ctx, &workspace, exit, &chosen.broken));
        }
        let port = Some(sandbox::DEFAULT_PORT);
        let destination = Destination::to_read(&workspace.config, LOCAL, port)?;
        let choice = self.engine.choose(ctx, &workspace)?;
        let options = RunOptions { rebuild: self.engine.no_cache, ..RunOptions::default() };
        let request =
            RunRequest { options, ..RunRequest::new(Operation::Build, choice, destination) };
        let broken = chosen.broken.clone();
        let plan = chosen.plan(ctx, &workspace, request, reader)?;
        let exit = execute_or_print(ctx, &workspace, plan)?;
        Ok(selection::end(ctx, &workspace, exit, &broken))
    }
}
