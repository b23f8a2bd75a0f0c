//! `projects`: what exists.

use anyhow::Result;
use clap::Args;

use crate::context::Ctx;
use crate::report::projects::ProjectsReport;
use base::error::Exit;
use workspace::Workspace;
use workspace::discovery::Broken;

/// List what can be deployed.
#[derive(Debug, Args)]
pub struct Projects {}

impl Projects {
    /// Runs the command.
    pub fn run(self, ctx: &Ctx) -> Result<Exit> {
        let workspace = Workspace::survey(&ctx.root)?;
        let graph = &workspace.graph;
        let report = ProjectsReport::new(&workspace, graph);
        warn_of_broken(ctx, &workspace.broken);
        ctx.ui.report(&report, &report.text());
        Ok(Exit::Done)
    }
}

/// Names the wrangler configs that no project can be made of.
pub fn warn_of_broken(ctx: &Ctx, broken: &[Broken]) {
    for each in broken.iter().take(SHOWN) {
        ctx.ui.warn(&format!("left out: {}", each.failure.message));
    }
    if let Some(more) = broken.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        ctx.ui.warn(&format!("left out: {more} more, which `--json` lists"));
    }
}

/// How many broken configs people are told of.
const SHOWN: usize = 5;
