//! `projects`: the list of projects.

use clap::Args;

use base::error::{Exit, Result};
use deployment::context::Ctx;
use deployment::report::projects::ProjectsReport;
use workspace::Workspace;
use workspace::discovery::BrokenConfig;

/// List the projects.
#[derive(Debug, Args)]
pub struct ProjectsCommand {}

impl ProjectsCommand {
    /// Runs the command.
    pub fn run(self, ctx: &Ctx) -> Result<Exit> {
        let workspace = Workspace::load(&ctx.root)?;
        let report = ProjectsReport::new(&workspace);
        warn_of_broken(ctx, &workspace.broken);
        for note in workspace.config_notes() {
            ctx.ui.note(&note);
        }
        ctx.ui.report(&report, &report.text(ctx.ui.width()));
        Ok(Exit::Done)
    }
}

/// Warns of invalid wrangler configs.
pub fn warn_of_broken(ctx: &Ctx, broken: &[BrokenConfig]) {
    let all: Vec<&BrokenConfig> = BrokenConfig::needing_attention(broken).collect();
    for each in all.iter().take(MAX_LISTED_CONFIGS) {
        ctx.ui.warn(&format!("skipped: {:#}", each.failure));
    }
    if let Some(more) = all.len().checked_sub(MAX_LISTED_CONFIGS).filter(|more| *more > 0) {
        ctx.ui.warn(&format!("skipped: {more} more, see `--json`"));
    }
}

/// The number of invalid configs that are shown.
const MAX_LISTED_CONFIGS: usize = 5;
