//! `affected`: the projects and packages that a change affects.

use std::io::Read as _;

use camino::Utf8Path;
use clap::Args;

use super::projects::warn_of_broken;
use base::error::{ErrorContext as _, Exit, Result};
use deployment::context::Ctx;
use deployment::report::affected::AffectedReport;
use gitlab::ci::CiVariables;
use gitlab::deployments::Deployments;
use workspace::affected::find_affected;
use workspace::change_base::{
    Base, Changes, LastDeployment, MergeRequestCommits, PipelineFacts, Question,
};
use workspace::files::Source;
use workspace::lock_changes::LockChanges;
use workspace::names::is_defining_path;
use workspace::summaries::summary;
use workspace::summary::Summary;
use workspace::{Workspace, path_list};

/// List the projects affected by a change.
#[derive(Debug, Args)]
pub struct AffectedCommand {
    /// Compare with the merge base of this revision [default: depends on the pipeline, else the default branch]
    #[arg(long, value_name = "REVISION")]
    base: Option<String>,
    /// Compare this revision instead of the working tree
    #[arg(long, value_name = "REVISION")]
    head: Option<String>,
    /// Compare with the last deployment of this environment, in pipelines of the default branch
    #[arg(long, value_name = "ENVIRONMENT")]
    env: Option<String>,
    /// Read the changed paths from stdin, separated by NUL or newline
    #[arg(long, conflicts_with_all = ["base", "head", "env"])]
    stdin: bool,
    /// Show the reasons
    #[arg(long)]
    why: bool,
}

impl AffectedCommand {
    /// Runs the command.
    pub fn run(self, ctx: &Ctx) -> Result<Exit> {
        let (changes, summary) = if self.stdin {
            (changes_from_stdin(&ctx.root)?, working_tree_summary(&ctx.root)?)
        } else {
            self.changes(ctx)?
        };
        let affected =
            find_affected(&summary, &changes, &LockChanges::find(&ctx.root, &summary, &changes));
        let report = AffectedReport::new(&summary, &changes, &affected);
        warn_of_broken(ctx, &summary.broken);
        ctx.ui.report(&report, &report.text(self.why));
        Ok(Exit::Done)
    }

    /// Returns the changes and the summary of the repository. The summary is that of the commit,
    /// unless files of the working tree change it.
    fn changes(&self, ctx: &Ctx) -> Result<(Changes, Summary)> {
        let names = (self.base.as_deref(), self.head.as_deref(), self.env.as_deref());
        let compare = |question: Question| question.changes_and(|head| summary(&ctx.root, head));
        let (changes, committed) = ask(ctx, names, compare)?;
        let changes_graph = changes.working.iter().any(|path| is_defining_path(path));
        let summary = match committed {
            Some(summary) if self.head.is_some() => summary?,
            // The working tree may have the files that the commit lacks.
            Some(Ok(summary))
                if !changes_graph
                    && !summary.is_readable(&Source::from_working_tree(&ctx.root)) =>
            {
                summary
            }
            _ => working_tree_summary(&ctx.root)?,
        };
        Ok((changes, summary))
    }
}

/// Returns the summary of the working tree.
fn working_tree_summary(root: &Utf8Path) -> Result<Summary> {
    Ok(Summary::new(&Workspace::load(root)?))
}

/// Returns the files that differ from the base for `environment`.
pub fn changes(ctx: &Ctx, environment: Option<&str>) -> Result<Changes> {
    ask(ctx, (None, None, environment), |question| question.changes())
}

/// Compares the trees. `names` are the requested base, head and environment.
fn ask<T>(
    ctx: &Ctx,
    (base, head, environment): (Option<&str>, Option<&str>, Option<&str>),
    asked: impl FnOnce(Question) -> Result<T>,
) -> Result<T> {
    let deployed = || {
        // Inside a job with an `environment`, GitLab knows it by that name.
        let name = ctx.ci.environment_name.as_deref().or(environment);
        let (Some(name), Some(deployments)) = (name, Deployments::from_ci(&ctx.ci)) else {
            return LastDeployment::NoService;
        };
        deployments.last_successful(name, &ctx.retry_budget).into()
    };
    let (root, pipeline) = (&ctx.root, pipeline_facts(&ctx.ci));
    asked(Question { root, base, head, pipeline, deployed: &deployed })
}

/// Returns the facts that the base of a comparison depends on. `None` outside of a pipeline.
fn pipeline_facts(ci: &CiVariables) -> Option<PipelineFacts<'_>> {
    let commits = || MergeRequestCommits {
        is_on_merge_commit: ci.is_on_merge_commit(),
        start: ci.merge_request_diff_base_sha.as_deref(),
        target: ci.merge_request_target_branch_sha.as_deref(),
    };
    ci.is_set_by_gitlab().then(|| PipelineFacts {
        merge_request: ci.is_merge_request().then(commits),
        branch: ci.commit_branch.as_deref(),
        default_branch: ci.default_branch.as_deref(),
        before_push: ci.commit_before_sha.as_deref(),
    })
}

/// Reads the paths on standard input.
fn changes_from_stdin(root: &Utf8Path) -> Result<Changes> {
    let mut text = Vec::new();
    std::io::stdin().read_to_end(&mut text).context("standard input")?;
    let none = Changes {
        base: Base::PathList,
        head: None,
        uncommitted: false,
        paths: Vec::new(),
        working: Vec::new(),
    };
    Ok(match path_list::paths(root, &text) {
        Ok(paths) => Changes { paths, ..none },
        Err(because) => Changes { base: Base::Everything { because }, ..none },
    })
}
