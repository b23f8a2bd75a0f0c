//! Selection of the projects for `build`, `deploy` and `preview`, with the reasons.

use std::collections::BTreeMap;

use anyhow::{Result, anyhow};
use clap::Args;

use super::affected::changes;
use super::build::{Task, build_inputs, keys};
use crate::builds::plan_builds;
use crate::context::Ctx;
use crate::doctor;
use crate::plan::{Inputs, Plan, Verb};
use crate::report::affected::{line, nothing};
use workspace::Workspace;
use workspace::affected::affected;
use workspace::change_base::{Base, Changes};
use workspace::git;
use workspace::key::fresh_nonce;
use workspace::outline::Outline;
use workspace::project::Project;

/// Options that select projects.
#[derive(Debug, Args)]
pub struct Selection {
    /// Projects, by any unique suffix of the path, Worker name or package name [default: the projects of
    /// `cargo xtask affected`; all on an unchanged default branch]
    #[arg(value_name = "PROJECT")]
    names: Vec<String>,
    /// Select every project
    #[arg(long, conflicts_with = "names")]
    all: bool,
}

/// The selected projects.
#[derive(Debug)]
pub struct Chosen<'w> {
    /// The projects.
    pub projects: Vec<&'w Project>,
    /// The reason for each.
    reasons: BTreeMap<String, String>,
    /// The reason if no project is selected.
    pub nothing: Option<String>,
}

impl Selection {
    /// Returns the selected projects. `environment` is their destination, if any.
    pub fn choose<'w>(
        &self,
        ctx: &Ctx,
        workspace: &'w Workspace,
        environment: Option<&str>,
    ) -> Result<Chosen<'w>> {
        if self.all || !self.names.is_empty() {
            let reason = if self.all { "every project" } else { "named on the command line" };
            return Ok(Chosen::new(workspace.select(&self.names)?, |_| reason.to_owned()));
        }
        let changes = changes(ctx, environment)?;
        let outline = Outline::new(workspace);
        let affected = affected(&outline, &changes);
        // A broken project blocks only if it is affected.
        if let Some(broken) = affected.broken.first() {
            return Err(broken.in_the_way().into());
        }
        let reasons: BTreeMap<&str, String> =
            affected.projects.iter().map(|each| (each.dir.as_str(), line(&each.reasons))).collect();
        let reason = |project: &Project| reasons.get(project.dir.as_str()).cloned();
        if affected.projects.is_empty() && stands_on_default_branch(&changes) {
            let reason = "every project, since the default branch is checked out";
            return Ok(Chosen::new(workspace.select(&[])?, |_| reason.to_owned()));
        }
        let projects = workspace.projects.iter().filter(|project| reason(project).is_some());
        let mut chosen =
            Chosen::new(projects.collect(), |project| reason(project).unwrap_or_default());
        chosen.nothing = chosen.projects.is_empty().then(|| nothing(&changes));
        Ok(chosen)
    }
}

/// Whether a person has the default branch's own commit checked out. When no file points at a project
/// there, the person means all of them, and what is live already is found out by its content key.
fn stands_on_default_branch(changes: &Changes) -> bool {
    let base = match &changes.base {
        Base::Commit { commit, .. } => Some(commit),
        Base::Given | Base::Everything { .. } => None,
    };
    changes.uncommitted && base.is_some() && base == changes.head.as_ref()
}

impl<'w> Chosen<'w> {
    fn new(projects: Vec<&'w Project>, reason: impl Fn(&Project) -> String) -> Chosen<'w> {
        let reasons = projects.iter().map(|project| (project.name.clone(), reason(project)));
        Chosen { reasons: reasons.collect(), projects, nothing: None }
    }

    /// Plans `task` for them. Meanwhile it is found out whether a run would have what it needs; a script
    /// is worth seeing without.
    pub fn plan(self, ctx: &Ctx, workspace: &Workspace, task: Task) -> Result<Plan> {
        let graph = &workspace.graph;
        let builds = plan_builds(workspace, graph, &self.projects);
        let preflight = || match ctx.dry_run || task.verb == Verb::Build {
            true => Ok(()),
            false => doctor::preflight(ctx, &task.destination, task.choice.engine, &self.projects),
        };
        let (ready, keys, head) = std::thread::scope(|scope| {
            let ready = scope.spawn(preflight);
            let head = scope.spawn(|| git::head(&workspace.root));
            let keys = keys(workspace, &self.projects, &task.destination, &builds);
            (ready.join(), keys, head.join())
        });
        ready.map_err(|_| anyhow!("a check of this machine failed"))??;
        let inputs = Inputs {
            verb: task.verb,
            choice: task.choice,
            keys: keys?.into_iter().map(|(name, key)| Ok((name, key?))).collect::<Result<_>>()?,
            destination: task.destination,
            head: head.map_err(|_| anyhow!("git's reader failed"))??,
            force: task.force,
            rebuild: task.rebuild || task.force,
            allow_stub: task.allow_stub,
            inputs: build_inputs(graph, &self.projects, &builds),
            rollback: task.rollback,
            alias: task.alias,
            strategies: task.strategies,
            reasons: self.reasons,
            builds,
            nonce: &fresh_nonce()?,
        };
        Ok(Plan::new(&self.projects, inputs)?)
    }
}
