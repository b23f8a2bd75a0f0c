//! `preview stop`: deletes the previews that can be deleted, and says so in the comment.

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use super::preview::{destination, name};
use crate::context::Ctx;
use crate::engine::comment::{Comment, Commented};
use crate::engine::stop::{Outcome, Previews, Stopped, reachable};
use crate::engine::sweep::sweep;
use base::error::{Exit, refused};
use gitlab::comment::{Row, Status};
use workspace::Workspace;
use workspace::project::Project;
use workspace::strategy::Strategy;

/// Which previews are to go.
#[derive(Debug, Args)]
pub struct Stop {
    /// Projects by path, any unique end of it, Worker name or package name [default: every project]
    #[arg(value_name = "PROJECT")]
    projects: Vec<String>,
    /// Whose Workers, as for `preview`; with `--merged` the environment with `"previews": true`
    #[arg(long, value_name = "ENVIRONMENT")]
    env: Option<String>,
    /// In the sandbox instead of at Cloudflare
    #[arg(long)]
    sandbox: bool,
    /// The previews' name [default: mr-<iid> in a merge request, else the branch]
    #[arg(long, value_name = "NAME")]
    alias: Option<String>,
    /// Of every merge request that is merged or closed and still has or shows previews, and stop its
    /// environment: for a schedule
    #[arg(long, conflicts_with_all = ["projects", "alias"])]
    merged: bool,
    /// With `--merged`, those that changed within so many days
    #[arg(long, value_name = "DAYS", default_value_t = 30, requires = "merged")]
    days: u32,
}

/// What came of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct StopReport {
    schema: u32,
    exit: u8,
    previews: Vec<Stopped>,
    #[serde(flatten)]
    comment: Commented,
}

impl Stop {
    /// Runs the command.
    pub fn run(self, ctx: &Ctx) -> Result<Exit> {
        let workspace = Workspace::survey(&ctx.root)?;
        if self.merged {
            let marked = || workspace.config.preview_environment().ok();
            let environment = self.env.clone().or_else(marked);
            let place =
                |name: String| destination(ctx, &workspace.config, Some(&name), self.sandbox);
            let place = environment.map(place).transpose()?;
            let swept = sweep(ctx, &workspace, place.as_ref(), self.days)?;
            ctx.ui.report(&swept, &swept.text(ctx.dry_run));
            return Ok(swept.exit());
        }
        let projects = workspace.select(&self.projects)?;
        let previews = self.previews(ctx, &workspace, &projects)?;
        let left = |name: &str| {
            previews.iter().any(|one| one.project == name && one.outcome == Outcome::Failed)
        };
        let comment = Comment::new(ctx, &workspace.config);
        let gone = projects.iter().filter(|project| !left(&project.name));
        let rows: Vec<Row> = gone.map(|p| Row::new(&p.name, Status::Removed)).collect();
        let all = self.projects.is_empty() && rows.len() == projects.len();
        let comment = if all { comment.removed() } else { comment.finish(&rows) };
        let failed = rows.len() < projects.len();
        let exit = if failed { Exit::Remote } else { Exit::Done };
        let lines = previews.iter().filter_map(Stopped::line);
        let text = lines.map(|line| line + "\n").collect::<String>() + &comment.text();
        ctx.ui.report(&StopReport { schema: 1, exit: exit as u8, previews, comment }, &text);
        Ok(exit)
    }

    /// Asks for every project, whatever its strategy is now: a preview may be from before it changed.
    /// Where no project has previews that can be deleted, nothing stands in the way of the comment.
    fn previews(
        &self,
        ctx: &Ctx,
        workspace: &Workspace,
        projects: &[&Project],
    ) -> Result<Vec<Stopped>> {
        let config = &workspace.config;
        let place = destination(ctx, config, self.env.as_deref(), self.sandbox);
        let environment = place.as_ref().map_or("", |place| place.environment.as_str());
        let deletable =
            |project: &&Project| project.strategy(config, environment, None) == Strategy::Preview;
        let needed = projects.iter().any(deletable) || self.alias.is_some();
        let asked = place.map_err(Into::into).and_then(|place| {
            if !needed && !reachable(ctx, &place) {
                return Ok(Vec::new());
            }
            if place.sandbox.is_some() && !reachable(ctx, &place) {
                let failure = refused("the sandbox does not run, and it holds the previews");
                return Err(failure.hint("`cargo xtask sandbox up`, then again").into());
            }
            let workers = projects.iter().map(|p| p.target(&place.environment).worker);
            let workers: Vec<String> = workers.collect();
            let name = name(ctx, self.alias.as_deref(), &workers)?;
            Previews::at(ctx, &place)?.stop(projects, &name, needed)
        });
        match asked {
            Err(error) if !needed => {
                ctx.ui.note(&format!("no preview was looked for: {error:#}"));
                Ok(Vec::new())
            }
            asked => asked,
        }
    }
}
