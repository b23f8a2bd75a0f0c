//! Selection of the projects for `build`, `deploy` and `preview`, with the reasons.

use std::collections::BTreeMap;

use anyhow::{Result, anyhow};
use clap::Args;

use super::affected::changes;
use super::build::{BuildRequest, build_inputs, keys};
use crate::builds::plan_builds;
use crate::context::Ctx;
use crate::doctor;
use crate::plan::{Operation, Plan, PlanRequest, RefusedProject};
use crate::report::affected::{line, nothing};
use base::error::{Exit, Failure};
use workspace::Workspace;
use workspace::affected::find_affected;
use workspace::change_base::{Base, Changes};
use workspace::discovery::BrokenConfig;
use workspace::git;
use workspace::key::fresh_nonce;
use workspace::lock_changes::LockChanges;
use workspace::project::Project;
use workspace::summary::Summary;

/// Options that select projects.
#[derive(Debug, Args)]
pub struct Selection {
    /// Projects, by any unique suffix of the path, Worker name or package name. `.` is that of the current
    /// folder [default: that of the current folder, if it has one; else the projects of `cargo xtask
    /// affected`; all on an unchanged default branch]
    #[arg(value_name = "PROJECT")]
    names: Vec<String>,
    /// Select every project
    #[arg(long, conflicts_with = "names")]
    all: bool,
}

/// The selected projects.
#[derive(Debug)]
pub struct SelectedProjects<'w> {
    /// The projects.
    pub projects: Vec<&'w Project>,
    /// The reason for each.
    reasons: BTreeMap<String, String>,
    /// The reason if no project is selected.
    pub nothing: Option<String>,
    /// The configs that would take part, if a project could be made of them.
    pub broken: Vec<BrokenConfig>,
    /// The selected projects that take no part, each with the reason.
    pub refused: Vec<RefusedProject>,
}

/// Reports what could not take part, after the others are done, and returns the exit code of both.
pub fn end(ctx: &Ctx, exit: Exit, broken: &[BrokenConfig]) -> Exit {
    let rows = BrokenConfig::needing_attention(broken).map(|each| {
        ctx.ui.error_beside_report(&each.row().into());
        Exit::Refused
    });
    Exit::worst([exit].into_iter().chain(rows))
}

impl Selection {
    /// Returns the selected projects. `environment` is their destination, if any.
    pub fn choose<'w>(
        &self,
        ctx: &Ctx,
        workspace: &'w Workspace,
        environment: Option<&str>,
    ) -> Result<SelectedProjects<'w>> {
        if self.all || !self.names.is_empty() {
            let reason = if self.all { "every project" } else { "named on the command line" };
            let mut chosen =
                SelectedProjects::new(workspace.select(&self.names)?, |_| reason.to_owned());
            chosen.broken = if self.all { workspace.broken.clone() } else { Vec::new() };
            return Ok(chosen);
        }
        if let Some(project) = workspace.current_project()? {
            let reason = |_: &Project| "the project of the current folder".to_owned();
            return Ok(SelectedProjects::new(vec![project], reason));
        }
        let changes = changes(ctx, environment)?;
        let summary = Summary::new(workspace);
        let affected =
            find_affected(&summary, &changes, &LockChanges::find(&ctx.root, &summary, &changes));
        // An affected project that is broken becomes a row. The others continue.
        let broken: Vec<BrokenConfig> =
            affected.broken.iter().map(|&broken| broken.clone()).collect();
        let reasons: BTreeMap<&str, String> =
            affected.projects.iter().map(|each| (each.dir.as_str(), line(&each.reasons))).collect();
        let reason = |project: &Project| reasons.get(project.dir.as_str()).cloned();
        if affected.projects.is_empty() && stands_on_default_branch(&changes) {
            let reason = "every project, since the default branch is checked out";
            let mut chosen = SelectedProjects::new(workspace.select(&[])?, |_| reason.to_owned());
            chosen.broken.clone_from(&workspace.broken);
            return Ok(chosen);
        }
        let projects = workspace.projects.iter().filter(|project| reason(project).is_some());
        let mut chosen = SelectedProjects::new(projects.collect(), |project| {
            reason(project).unwrap_or_default()
        });
        chosen.broken = broken;
        chosen.nothing = chosen.projects.is_empty().then(|| nothing(&changes));
        Ok(chosen)
    }
}

/// Returns whether a person has checked out the default branch's own commit. If no file there
/// selects a project, all of them are meant, and the content key tells which are live already.
fn stands_on_default_branch(changes: &Changes) -> bool {
    let base = match &changes.base {
        Base::Commit { commit, .. } => Some(commit),
        Base::PathList | Base::Everything { .. } => None,
    };
    changes.uncommitted && base.is_some() && base == changes.head.as_ref()
}

impl<'w> SelectedProjects<'w> {
    fn new(
        projects: Vec<&'w Project>,
        reason: impl Fn(&Project) -> String,
    ) -> SelectedProjects<'w> {
        let reasons = projects.iter().map(|project| (project.name.clone(), reason(project)));
        SelectedProjects {
            reasons: reasons.collect(),
            projects,
            nothing: None,
            broken: Vec::new(),
            refused: Vec::new(),
        }
    }

    /// Takes out the projects that `check` refuses. Errors if none is left.
    pub fn refuse(
        &mut self,
        ctx: &Ctx,
        environment: &str,
        check: impl Fn(&Project) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        for project in std::mem::take(&mut self.projects) {
            match check(project) {
                Ok(()) => self.projects.push(project),
                Err(failure) => {
                    self.refused.push(RefusedProject::new(project, environment, failure));
                }
            }
        }
        require_one(ctx, self.projects.is_empty(), &self.refused)
    }

    /// Takes out the projects that lack something, and errors if this machine lacks something.
    fn check_requirements(&mut self, ctx: &Ctx, task: &BuildRequest) -> Result<(), Failure> {
        let (destination, engine) = (&task.destination, task.choice.engine);
        let checked = doctor::preflight(ctx, destination, engine, &self.projects);
        if checked.is_ok() || self.projects.len() < 2 {
            return checked;
        }
        doctor::preflight_machine(ctx, destination, engine)?;
        self.refuse(ctx, &destination.environment, |project| {
            doctor::preflight_projects(ctx, destination, &[project])
        })
    }

    /// Plans `task` for them. A run also checks the requirements first, but a script is worth seeing without.
    pub fn plan(mut self, ctx: &Ctx, workspace: &Workspace, task: BuildRequest) -> Result<Plan> {
        if !ctx.dry_run && task.verb != Operation::Build {
            self.check_requirements(ctx, &task)?;
        }
        let graph = &workspace.graph;
        let builds = plan_builds(workspace, graph, &self.projects);
        let (keys, head) = std::thread::scope(|scope| {
            let head = scope.spawn(|| git::head(&workspace.root));
            (keys(workspace, &self.projects, &task.destination, &builds), head.join())
        });
        let inputs = PlanRequest {
            verb: task.verb,
            choice: task.choice,
            keys: keys?,
            destination: task.destination,
            head: head.map_err(|_| anyhow!("git's reader failed"))??,
            force: task.force,
            rebuild: task.rebuild || task.force,
            allow_stub: task.allow_stub,
            percent: task.percent,
            inputs: build_inputs(graph, &self.projects, &builds),
            rollback: task.rollback,
            alias: task.alias,
            strategies: task.strategies,
            reasons: self.reasons,
            builds,
            nonce: &fresh_nonce()?,
        };
        let mut plan = Plan::new(&self.projects, inputs);
        plan.refused.splice(0..0, self.refused);
        require_one(ctx, plan.projects.is_empty(), &plan.refused)?;
        Ok(plan)
    }
}

/// Errors if no project is left. The error is the last refusal, and the others are printed before it.
fn require_one(ctx: &Ctx, is_empty: bool, refused: &[RefusedProject]) -> Result<(), Failure> {
    let Some((last, others)) = refused.split_last().filter(|_| is_empty) else { return Ok(()) };
    for other in others {
        ctx.ui.error_beside_report(&other.failure.clone().into());
    }
    Err(last.failure.clone())
}
