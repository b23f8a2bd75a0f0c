//! `preview`: a version that is not live, at an address of its own.

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::json;

use super::build::{EngineArgs, Task, nothing_to_do};
use super::deploy::sandbox_port;
use super::preview_stop::Stop;
use super::selection::Selection;
use crate::context::{Ctx, variable};
use crate::doctor;
use crate::engine::comment::Comment;
use crate::error::{Exit, Failure, usage};
use crate::plan::destination::Destination;
use crate::plan::{Verb, alias, guard};
use crate::report::comment::{Row, Status};
use crate::tools::git;
use crate::workspace::Workspace;
use crate::workspace::config::LOCAL;
use crate::workspace::project::Project;

/// Upload a version that is not live, check it at its own address, and say where it is.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Preview {
    #[command(subcommand)]
    action: Option<Action>,
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
    /// Build and upload even where the same content is there already
    #[arg(long)]
    force: bool,
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum Action {
    Stop(Stop),
}

impl Preview {
    /// Runs the command.
    pub fn run(self, ctx: &Ctx) -> Result<Exit> {
        if let Some(Action::Stop(stop)) = self.action {
            return stop.run(ctx);
        }
        self.engine.prepare(ctx);
        let workspace = Workspace::load(&ctx.root)?;
        let destination = self.destination(ctx, &workspace)?;
        let chosen = self.selection.choose(&workspace, Some(&destination.environment))?;
        let comment = Comment::new(ctx, &workspace.config);
        let others = unaffected(&workspace, &chosen.projects);
        if let Some(because) = &chosen.nothing {
            comment.finish(&others);
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
        let task = Task {
            force: self.force,
            rebuild: self.engine.no_cache,
            alias,
            ..Task::new(Verb::Preview, choice, destination)
        };
        let building =
            chosen.projects.iter().map(|project| Row::new(&project.name, Status::Building));
        let building: Vec<Row> = building.chain(others.iter().cloned()).collect();
        let plan = chosen.plan(&workspace, task)?;
        let announced = comment.building(&building);
        if ctx.dry_run {
            let script = super::build::by_hand(ctx, &workspace, &plan)?;
            let comment = announced.markdown.as_deref().map(as_comment).unwrap_or_default();
            ctx.ui.report(&json!({ "plan": plan, "comment": announced }), &(script + &comment));
            return Ok(Exit::Done);
        }
        let records = super::build::execute(ctx, &workspace, plan)?;
        comment.finish(&records.iter().map(Row::of).chain(others).collect::<Vec<Row>>());
        super::build::tell(ctx, &records)
    }

    /// A preview changes nothing that is live, so protection does not ask for the default branch.
    fn destination(&self, ctx: &Ctx, workspace: &Workspace) -> Result<Destination, Failure> {
        let environment = match &self.env {
            Some(environment) => environment.clone(),
            None if variable("GITLAB_CI").is_some() => workspace.config.preview_environment()?,
            None => LOCAL.to_owned(),
        };
        let port = sandbox_port(ctx, &environment, self.sandbox);
        Destination::to_read(&workspace.config, &environment, port)
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

/// The Markdown of a merge request's comment, as the end of a script.
fn as_comment(markdown: &str) -> String {
    let lines = markdown.lines().map(|line| format!("# {line}").trim_end().to_owned() + "\n");
    format!("\n# First, the merge request gets this comment:\n#\n{}", lines.collect::<String>())
}

/// The rows of projects that this run leaves alone.
fn unaffected(workspace: &Workspace, chosen: &[&Project]) -> Vec<Row> {
    let left = |project: &&Project| !chosen.iter().any(|other| other.dir == project.dir);
    let projects = workspace.projects.iter().filter(left);
    projects.map(|project| Row::new(&project.name, Status::Unaffected)).collect()
}
