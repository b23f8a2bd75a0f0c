//! `preview`: a version that is not live, at an address of its own.

use anyhow::Result;
use clap::Args;

use super::build::{EngineArgs, Task, nothing_to_do};
use super::deploy::sandbox_port;
use super::selection::Selection;
use crate::context::{Ctx, variable};
use crate::doctor;
use crate::error::{Exit, Failure, usage};
use crate::plan::destination::{Destination, Pipeline};
use crate::plan::{Verb, alias, guard};
use crate::tools::git;
use crate::workspace::Workspace;
use crate::workspace::config::LOCAL;
use crate::workspace::project::Project;

/// Upload a version that is not live, check it at its own address, and say where it is.
#[derive(Debug, Args)]
pub struct Preview {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    engine: EngineArgs,
    /// Whose Workers: `local` (the sandbox; the default outside of pipelines) or an environment of
    /// the shared config file (the default in pipelines is the one with `"previews": true`)
    #[arg(long, value_name = "ENVIRONMENT")]
    env: Option<String>,
    /// Upload to the sandbox instead of Cloudflare
    #[arg(long)]
    sandbox: bool,
    /// The first part of the address [default: mr-<iid> in a merge request, else the branch]
    #[arg(long)]
    alias: Option<String>,
    /// Upload even where the same content is there already
    #[arg(long)]
    force: bool,
}

impl Preview {
    /// Runs the command.
    pub fn run(self, ctx: &Ctx) -> Result<Exit> {
        let workspace = Workspace::load(&ctx.root)?;
        let destination = self.destination(ctx, &workspace)?;
        let chosen = self.selection.choose(&workspace, Some(&destination.environment))?;
        if let Some(because) = &chosen.nothing {
            return Ok(nothing_to_do(ctx, because));
        }
        let projects = &chosen.projects;
        let alias = self.alias(ctx, projects, &destination)?;
        let choice = self.engine.choose(ctx, &workspace)?;
        for project in projects {
            guard::check(&workspace.config, project, &destination.environment)?;
            guard::check_preview(project, &destination.environment)?;
        }
        if !ctx.dry_run {
            doctor::preflight(ctx, &destination, choice.engine, projects)?;
        }
        let alias = Some(alias);
        let task =
            Task { force: self.force, alias, ..Task::new(Verb::Preview, choice, destination) };
        let plan = chosen.plan(&workspace, task)?;
        super::build::carry_out(ctx, &workspace, plan)
    }

    /// A preview changes nothing that is live, so protection does not ask for the default branch.
    fn destination(&self, ctx: &Ctx, workspace: &Workspace) -> Result<Destination, Failure> {
        let environment = match &self.env {
            Some(environment) => environment.clone(),
            None if variable("GITLAB_CI").is_some() => workspace.config.preview_environment()?,
            None => LOCAL.to_owned(),
        };
        let port = sandbox_port(ctx, &environment, self.sandbox);
        let reason = Some("a preview changes nothing that is live");
        let pipeline = Pipeline::default();
        Destination::resolve(&workspace.config, &environment, port, &pipeline, reason)
            .map(|destination| Destination { break_glass: None, ..destination })
    }

    fn alias(&self, ctx: &Ctx, projects: &[&Project], destination: &Destination) -> Result<String> {
        let workers: Vec<String> = projects
            .iter()
            .map(|project| project.target(&destination.environment).worker)
            .collect();
        let longest = workers.iter().map(String::len).max().unwrap_or(0);
        let alias = match (&self.alias, variable("CI_MERGE_REQUEST_IID")) {
            (Some(alias), _) => alias.clone(),
            (None, Some(iid)) => alias::of_merge_request(&iid),
            (None, None) => {
                let branch = variable("CI_COMMIT_REF_NAME")
                    .map_or_else(|| git::branch(&ctx.root), |b| Ok(Some(b)))?;
                let branch = branch.ok_or_else(|| {
                    usage("no branch is checked out, so the preview has no name")
                        .hint("name it: `--alias`")
                })?;
                alias::of_branch(&branch, longest)
            }
        };
        workers.iter().try_for_each(|worker| alias::check(&alias, worker))?;
        Ok(alias)
    }
}
