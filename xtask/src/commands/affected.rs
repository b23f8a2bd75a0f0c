//! `affected`: what changed, and whom it concerns.

use std::io::Read as _;

use anyhow::{Context as _, Result, anyhow};
use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;

use super::projects::warn_of_broken;
use crate::context::{Ctx, variable};
use crate::error::Exit;
use crate::report::affected::AffectedReport;
use crate::tools::deployments::Deployments;
use crate::workspace::affected::affected;
use crate::workspace::base::{Base, Changes, Question};
use crate::workspace::graph::Graph;
use crate::workspace::{Workspace, listed, matters};

/// List what a change concerns.
#[derive(Debug, Args)]
pub struct Affected {
    /// Compare with where this revision was left [default: by the kind of pipeline, or the default
    /// branch]
    #[arg(long, value_name = "REVISION")]
    base: Option<String>,
    /// Compare this revision instead of the working tree
    #[arg(long, value_name = "REVISION")]
    head: Option<String>,
    /// The environment whose last deployment counts in pipelines of the default branch
    #[arg(long, value_name = "ENVIRONMENT")]
    env: Option<String>,
    /// Read the changed paths from standard input, separated by NUL or else by line
    #[arg(long, conflicts_with_all = ["base", "head", "env"])]
    stdin: bool,
    /// Show the reasons
    #[arg(long)]
    why: bool,
}

impl Affected {
    /// Runs the command.
    pub fn run(self, ctx: &Ctx) -> Result<Exit> {
        let (tracked, changes) = std::thread::scope(|scope| {
            // What exists and what changed are found out side by side.
            let changes =
                scope.spawn(|| if self.stdin { given(&ctx.root) } else { self.changes(ctx) });
            (Workspace::survey_tracked(&ctx.root).and_then(with_graph), changes.join())
        });
        let changes = changes.map_err(|_| anyhow!("the reader of changes failed"))??;
        // Files that git does not track yet are known from the changes, and rarely say what exists.
        let (workspace, graph) = match may_hold_new(&changes) {
            true => with_graph(Workspace::survey(&ctx.root)?)?,
            false => tracked?,
        };
        let affected = affected(&workspace, &graph, &changes);
        let report = AffectedReport::new(&workspace, &changes, &affected);
        warn_of_broken(ctx, &workspace);
        ctx.ui.report(&report, &report.text(self.why));
        Ok(Exit::Done)
    }

    fn changes(&self, ctx: &Ctx) -> Result<Changes> {
        changes(ctx, self.base.as_deref(), self.head.as_deref(), self.env.as_deref())
    }
}

fn with_graph(workspace: Workspace) -> Result<(Workspace, Graph)> {
    let graph = Graph::new(&workspace)?;
    Ok((workspace, graph))
}

/// What differs from the base that the circumstances ask for.
pub fn changes(
    ctx: &Ctx,
    base: Option<&str>,
    head: Option<&str>,
    environment: Option<&str>,
) -> Result<Changes> {
    let deployed = || {
        // Inside a job with an `environment`, GitLab knows it by that name.
        let name = variable("CI_ENVIRONMENT_NAME").or_else(|| environment.map(str::to_owned))?;
        Some(Deployments::from_variables(variable)?.last_successful(&name, &ctx.patience))
    };
    let root = &ctx.root;
    Question { root, base, head, variable: &variable, deployed: &deployed }.changes()
}

/// Whether a file that git does not track yet may say what exists.
fn may_hold_new(changes: &Changes) -> bool {
    let matters = |path: &Utf8PathBuf| path.file_name().is_some_and(matters);
    let compared = changes.head.is_some() && !changes.uncommitted;
    !compared && (changes.paths.iter().any(matters) || !matches!(changes.base, Base::Commit { .. }))
}

/// The paths on standard input.
fn given(root: &Utf8Path) -> Result<Changes> {
    let mut text = Vec::new();
    std::io::stdin().read_to_end(&mut text).context("standard input")?;
    let none = Changes { base: Base::Given, head: None, uncommitted: false, paths: Vec::new() };
    Ok(match listed::paths(root, &text) {
        Ok(paths) => Changes { paths, ..none },
        Err(because) => Changes { base: Base::Everything { because }, ..none },
    })
}
