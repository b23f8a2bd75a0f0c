//! `projects`: what exists.

use anyhow::Result;
use clap::Args;

use crate::context::Ctx;
use crate::error::Exit;
use crate::report::projects::ProjectsReport;
use crate::workspace::Workspace;
use crate::workspace::graph::Graph;

/// List what can be deployed.
#[derive(Debug, Args)]
pub struct Projects {}

impl Projects {
    /// Runs the command.
    pub fn run(self, ctx: &Ctx) -> Result<Exit> {
        let workspace = Workspace::load(&ctx.root)?;
        let graph = Graph::new(&workspace)?;
        let report = ProjectsReport::new(&workspace.projects, &graph);
        ctx.ui.report(&report, &report.text());
        Ok(Exit::Done)
    }
}
