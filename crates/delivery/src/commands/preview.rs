//! `preview`: a version that is not live, at its own URL.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use super::deploy::sandbox_port;
use super::execution::{EngineArgs, execute, nothing_to_do, plan_script, tell, tell_refused};
use super::preview_stop::Stop;
use super::selection::{self, PlanReader, Selection};
use base::error::{Exit, Result, usage};
use deployment::context::Ctx;
use deployment::engine::previews::comment::Comment;
use deployment::plan::alias::LONGEST_WORKER;
use deployment::plan::destination::Destination;
use deployment::plan::refusal::RefusalRule;
use deployment::plan::{Operation, RunOptions, RunRequest, alias};
use deployment::report::comment_outcome;
use gitlab::comment::{CommentRow, PreviewStatus};
use workspace::Workspace;
use workspace::config::{Config, LOCAL};
use workspace::git;
use workspace::project::Project;
use workspace::strategy::Strategy;

/// Upload a version that is not live and check it at its own URL.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct PreviewCommand {
    #[command(subcommand)]
    action: Option<PreviewAction>,
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    engine: EngineArgs,
    /// Environment of the Workers: `local` (the sandbox) or one of the shared config file [default: `local`;
    /// in pipelines the one with `"previews": true`]
    #[arg(long, value_name = "ENVIRONMENT")]
    env: Option<String>,
    /// Upload to the sandbox instead of Cloudflare
    #[arg(long)]
    sandbox: bool,
    /// First part of the URL [default: mr-<iid> in a merge request, else the branch]
    #[arg(long)]
    alias: Option<String>,
    /// Preview strategy [default: `previewStrategy` of the project or environment, else alias]
    #[arg(long, value_enum)]
    strategy: Option<StrategyName>,
    /// Upload even if the same content is already there
    #[arg(long)]
    force: bool,
    /// Upload to the sandbox although it cannot run some bindings. Requests that use one are answered with 501
    #[arg(long)]
    allow_stub: bool,
}

/// The names of the strategies on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum StrategyName {
    /// Version of the Worker with an alias and production's bindings. It cannot be deleted
    Alias,
    /// Worker Preview with the bindings of the `previews` block. `preview stop` deletes it
    Preview,
}

impl From<StrategyName> for Strategy {
    fn from(name: StrategyName) -> Strategy {
        match name {
            StrategyName::Alias => Strategy::Alias,
            StrategyName::Preview => Strategy::Preview,
        }
    }
}

#[derive(Debug, Subcommand)]
enum PreviewAction {
    /// Delete the previews of a merge request or branch, and update the comment
    ///
    /// Only previews of the strategy `preview` can be deleted. Cloudflare cannot delete a version or its
    /// alias: its URL works until the alias is reused or is no longer among the last thousand. Live versions
    /// are not affected.
    Stop(Stop),
}

impl PreviewCommand {
    /// Runs the command.
    pub fn run(self, ctx: &Ctx) -> Result<Exit> {
        if let Some(PreviewAction::Stop(stop)) = self.action {
            return stop.run(ctx);
        }
        self.engine.prepare(ctx);
        let reader = PlanReader::start(&ctx.root, Operation::Preview);
        let workspace = Workspace::load(&ctx.root)?;
        let destination = destination(ctx, &workspace.config, self.env.as_deref(), self.sandbox)?;
        let chosen = self.selection.choose(ctx, &workspace, Some(&destination.environment))?;
        let comment = Comment::new(ctx, &workspace.config);
        let others = unaffected_rows(&workspace, &chosen.projects);
        if let Some(because) = &chosen.nothing {
            comment.finish(&others);
            let exit = nothing_to_do(ctx, because);
            return Ok(selection::end(ctx, &workspace, exit, &chosen.broken));
        }
        let alias = self.alias(ctx, &chosen.projects, &destination.environment)?;
        let choice = self.engine.choose(ctx, &workspace)?;
        let strategy = self.strategy.map(Strategy::from);
        let alias = Some(alias);
        let options = RunOptions {
            force: self.force,
            rebuild: self.engine.no_cache,
            allow_stub: self.allow_stub,
            ..RunOptions::default()
        };
        let request = RunRequest {
            options,
            alias,
            strategy,
            ..RunRequest::new(Operation::Preview, choice, destination)
        };
        let broken = chosen.broken.clone();
        let mut plan = chosen.plan(ctx, &workspace, request, reader)?;
        let building = plan
            .projects
            .iter()
            .map(|project| CommentRow::new(&project.name, PreviewStatus::Building));
        let building: Vec<CommentRow> = building.chain(others.iter().cloned()).collect();
        let announced = comment.building(&building);
        if ctx.dry_run {
            let script = plan_script(ctx, &workspace, &plan)?;
            let comment = announced.markdown.as_deref().map(as_comment).unwrap_or_default();
            ctx.ui.report(&json!({ "plan": plan, "comment": announced }), &(script + &comment));
            let exit = tell_refused(ctx, &plan);
            return Ok(selection::end(ctx, &workspace, exit, &broken));
        }
        let planned = plan.projects.iter().map(|project| project.name.clone());
        for project in planned.collect::<Vec<_>>() {
            if let Err(failure) = comment.refuse_outdated(&project, &announced) {
                plan.refuse(&project, RefusalRule::Pipeline, &failure);
            }
        }
        let records = execute(ctx, &workspace, plan)?;
        comment.finish(
            &records.iter().map(comment_outcome::row).chain(others).collect::<Vec<CommentRow>>(),
        );
        let exit = tell(ctx, &records)?;
        Ok(selection::end(ctx, &workspace, exit, &broken))
    }

    fn alias(&self, ctx: &Ctx, projects: &[&Project], environment: &str) -> Result<String> {
        let workers: Vec<String> =
            projects.iter().map(|project| project.target(environment).worker).collect();
        name(ctx, self.alias.as_deref(), &workers)
    }
}

/// Returns the destination of a preview. It changes nothing live, so protected environments are allowed.
pub(super) fn destination(
    ctx: &Ctx,
    config: &Config,
    environment: Option<&str>,
    sandbox: bool,
) -> Result<Destination> {
    let environment = match environment {
        Some(environment) => environment.to_owned(),
        None if ctx.ci.is_pipeline() => config.preview_environment()?,
        None => LOCAL.to_owned(),
    };
    let port = sandbox_port(ctx, &environment, sandbox);
    Destination::to_read(config, &environment, port)
}

/// Returns the alias or name of a preview: the requested one, else that of the merge request, else that of the
/// branch.
pub(super) fn name(ctx: &Ctx, given: Option<&str>, workers: &[String]) -> Result<String> {
    if let Some(alias) = given {
        return Ok(alias.to_owned());
    }
    if let Some(iid) = &ctx.ci.merge_request_iid {
        return Ok(alias::of_merge_request(iid));
    }
    let reference = ctx.ci.commit_ref_name.clone();
    let branch = reference.map_or_else(|| git::branch(&ctx.root), |branch| Ok(Some(branch)))?;
    let branch = branch.ok_or_else(|| {
        usage("no branch is checked out, so the preview has no name").hint("name it with `--alias`")
    })?;
    // A longer name is refused for itself, and does not shorten the alias of the others.
    let lengths = workers.iter().map(String::len).filter(|length| *length <= LONGEST_WORKER);
    let longest = lengths.max().unwrap_or(LONGEST_WORKER);
    Ok(alias::of_branch(&branch, longest))
}

/// Returns the Markdown of a merge request's comment as the end of a script.
fn as_comment(markdown: &str) -> String {
    let lines = markdown.lines().map(|line| format!("# {line}").trim_end().to_owned() + "\n");
    format!("\n# First, the merge request gets this comment:\n#\n{}", lines.collect::<String>())
}

/// Returns the rows of projects that this run does not change.
fn unaffected_rows(workspace: &Workspace, chosen: &[&Project]) -> Vec<CommentRow> {
    let is_unaffected = |project: &&Project| !chosen.iter().any(|other| other.dir == project.dir);
    let projects = workspace.projects.iter().filter(is_unaffected);
    projects.map(|project| CommentRow::new(&project.name, PreviewStatus::Unaffected)).collect()
}
