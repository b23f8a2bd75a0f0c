//! `preview stop`: deletes previews and updates the comment.

use clap::Args;
use serde::Serialize;

use super::preview::{destination, name};
use base::error::{Error, ErrorKind, Exit, Result, refused};
use deployment::context::Ctx;
use deployment::engine::previews::cleanup::clean_up;
use deployment::engine::previews::comment::write::CommentAction;
use deployment::engine::previews::comment::{Comment, CommentResult};
use deployment::engine::previews::stop::{
    Outcome, PreviewDeletion, Previews, RemainingAlias, reachable,
};
use deployment::plan::block;
use deployment::plan::destination::Destination;
use workspace::Workspace;
use workspace::project::Project;
use workspace::strategy::Strategy;

/// Options that select the previews.
#[derive(Debug, Args)]
pub struct Stop {
    /// Projects, by any unique suffix of the path, Worker name or package name [default: all]
    #[arg(value_name = "PROJECT")]
    projects: Vec<String>,
    /// Environment of the Workers, as for `preview` [default with `--merged`: the one with `"previews": true`]
    #[arg(long, value_name = "ENVIRONMENT")]
    env: Option<String>,
    /// Use the sandbox instead of Cloudflare
    #[arg(long)]
    sandbox: bool,
    /// Name of the previews [default: mr-<iid> in a merge request, else the branch]
    #[arg(long, value_name = "NAME")]
    alias: Option<String>,
    /// Select all merged and closed merge requests that still have previews, and stop their environments. For
    /// scheduled pipelines
    #[arg(long, conflicts_with_all = ["projects", "alias"])]
    merged: bool,
    /// With `--merged`: only merge requests updated in the last DAYS days
    #[arg(long, value_name = "DAYS", default_value_t = 30, requires = "merged")]
    days: u32,
}

/// The report if there was nothing to delete.
const NOTHING: &str = "there is no preview and no alias of this name";

/// The result.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct StopReport {
    schema: u32,
    exit: Exit,
    previews: Vec<PreviewDeletion>,
    /// `None` if they could not be read.
    aliases: Option<Vec<RemainingAlias>>,
    #[serde(flatten)]
    comment: CommentResult,
}

impl Stop {
    /// Runs the command.
    pub fn run(self, ctx: &Ctx) -> Result<Exit> {
        let workspace = Workspace::load(&ctx.root)?;
        if self.merged {
            let marked = || workspace.config.preview_environment().ok();
            let environment = self.env.clone().or_else(marked);
            let destination = environment
                .map(|name| destination(ctx, &workspace.config, Some(&name), self.sandbox))
                .transpose()?;
            let report = clean_up(ctx, &workspace, destination.as_ref(), self.days)?;
            ctx.ui.report(&report, &report.text(ctx.dry_run));
            return Ok(Exit::worst(report.error_kind()));
        }
        let mut projects = workspace.select(&self.projects)?;
        self.leave_out_refused(ctx, &workspace, &mut projects)?;
        let previews = self.previews(ctx, &workspace, &projects)?;
        let has_outcome = |name: &str, outcome: Outcome| {
            previews.iter().any(|one| one.project == name && one.outcome == outcome)
        };
        let aliases = self.aliases(ctx, &workspace, &projects);
        // If the aliases cannot be read, none of them counts as removed.
        let has_alias = |name: &str| match &aliases {
            Some(aliases) => aliases.iter().any(|one| one.project == name),
            None => !has_outcome(name, Outcome::Deleted),
        };
        let names = projects.iter().map(|project| project.name.as_str());
        let removed: Vec<&str> = names.filter(|name| !has_outcome(name, Outcome::Failed)).collect();
        let is_complete = removed.len() == projects.len();
        let all = self.projects.is_empty() && is_complete;
        let comment = Comment::new(ctx, &workspace.config).show_removed(&removed, all, has_alias);
        let exit = Exit::worst((!is_complete).then_some(ErrorKind::Remote));
        let lines = previews.iter().filter_map(PreviewDeletion::line);
        let lines = lines.chain(aliases.iter().flatten().map(RemainingAlias::line));
        let lines: Vec<String> = lines
            .chain((comment.action != CommentAction::Skipped).then(|| comment.text()))
            .collect();
        let text = if lines.is_empty() { NOTHING.to_owned() } else { lines.join("\n") };
        ctx.ui.report(&StopReport { schema: 1, exit, previews, aliases, comment }, &text);
        Ok(exit)
    }

    /// Takes out the projects that `preview` refuses, because the environment would get the Worker of another one. Errors
    /// if the command line names them.
    fn leave_out_refused(
        &self,
        ctx: &Ctx,
        workspace: &Workspace,
        projects: &mut Vec<&Project>,
    ) -> Result<()> {
        // Without a destination nothing is deleted.
        let destination = destination(ctx, &workspace.config, self.env.as_deref(), self.sandbox);
        let Ok(Destination { environment, .. }) = destination else { return Ok(()) };
        let check = |project: &Project| block::check(workspace, project, &environment);
        if !self.projects.is_empty() {
            projects.iter().try_for_each(|project| check(project))?;
        }
        projects.retain(|project| check(project).is_ok());
        Ok(())
    }

    /// Returns the aliases that still work. Prints a note and returns `None` if they cannot be read.
    fn aliases(
        &self,
        ctx: &Ctx,
        workspace: &Workspace,
        projects: &[&Project],
    ) -> Option<Vec<RemainingAlias>> {
        let read = || {
            let destination =
                destination(ctx, &workspace.config, self.env.as_deref(), self.sandbox)?;
            let workers = projects.iter().map(|p| p.target(&destination.environment).worker);
            let name = name(ctx, self.alias.as_deref(), &workers.collect::<Vec<_>>())?;
            Previews::at(ctx, &destination)?.remaining_aliases(projects, &name)
        };
        let note = |error: Error| {
            ctx.ui.note(&format!(
                "skipped the search for aliases, which cannot be deleted and still work: {error:#}"
            ));
        };
        read().map_err(note).ok()
    }

    /// Searches previews of every project, because a preview may be older than a change of the strategy. If
    /// no project has previews that can be deleted, an error does not block the comment.
    fn previews(
        &self,
        ctx: &Ctx,
        workspace: &Workspace,
        projects: &[&Project],
    ) -> Result<Vec<PreviewDeletion>> {
        let config = &workspace.config;
        let destination = destination(ctx, config, self.env.as_deref(), self.sandbox);
        let environment =
            destination.as_ref().map_or("", |destination| destination.environment.as_str());
        let deletable =
            |project: &&Project| project.strategy(config, environment, None) == Strategy::Preview;
        let needed = projects.iter().any(deletable) || self.alias.is_some();
        let deleted = destination.and_then(|destination| {
            if !needed && !reachable(ctx, &destination) {
                return Ok(Vec::new());
            }
            if destination.sandbox.is_some() && !reachable(ctx, &destination) {
                let failure = refused("the sandbox is not running, and the previews are there");
                return Err(failure.hint("run `cargo xtask sandbox up`, then retry"));
            }
            let workers = projects.iter().map(|p| p.target(&destination.environment).worker);
            let workers: Vec<String> = workers.collect();
            let name = name(ctx, self.alias.as_deref(), &workers)?;
            Previews::at(ctx, &destination)?.stop(projects, &name, needed)
        });
        match deleted {
            Err(error) if !needed => {
                ctx.ui.note(&format!("skipped the search for previews: {error:#}"));
                Ok(Vec::new())
            }
            deleted => deleted,
        }
    }
}
