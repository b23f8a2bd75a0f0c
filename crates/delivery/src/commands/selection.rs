//! Selection of the projects for `build`, `deploy` and `preview`, with the reasons.

use std::collections::BTreeMap;
use std::thread::JoinHandle;
use std::time::Duration;

use camino::Utf8Path;
use clap::Args;

use super::affected::changes;
use super::content_keys::content_keys;
use crate::doctor;
use base::env::is_set;
use base::error::{Error, Exit, Result, failed};
use base::time::today;
use cloudflare::wrangler_fields::ConfigSchema;
use deployment::builds::plan_builds;
use deployment::context::Ctx;
use deployment::engine::setup;
use deployment::engine::upload::secrets;
use deployment::facts::read_facts;
use deployment::plan::refusal::{ProjectRefusal, RefusalRule};
use deployment::plan::{Operation, Plan, PlanRequest, ProjectInput, RunRequest};
use deployment::report::affected::{line, nothing};
use workspace::Workspace;
use workspace::affected::find_affected;
use workspace::change_base::{Base, Changes};
use workspace::discovery::BrokenConfig;
use workspace::git::{self, KnownFiles, TrackedChanges};
use workspace::key::fresh_nonce;
use workspace::lock_changes::LockChanges;
use workspace::project::Project;
use workspace::summary::Summary;

/// The age at which [`PlanReader`]'s list of changed files is too old for a content key.
const MAX_AGE: Duration = Duration::from_secs(3);

/// Facts of a plan that do not depend on its projects. They are read while the command reads the repository.
pub struct PlanReader {
    changes: JoinHandle<Result<TrackedChanges>>,
    /// The schema of wrangler's config, which an upload needs. `None` if wrangler is not installed.
    schema: Option<JoinHandle<Option<ConfigSchema>>>,
}

impl PlanReader {
    /// Starts to read the facts for a plan of `operation`.
    #[must_use]
    pub fn start(root: &Utf8Path, operation: Operation) -> PlanReader {
        let (of_changes, of_schema) = (root.to_owned(), root.to_owned());
        let changes = std::thread::spawn(move || TrackedChanges::read(&of_changes));
        let needs_schema = operation != Operation::Build;
        let read_schema = move || setup::installed_schema(&of_schema);
        let schema = needs_schema.then(|| std::thread::spawn(read_schema));
        PlanReader { changes, schema }
    }
}

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
    /// The reason for each of them.
    reasons: Vec<String>,
    /// The reason if no project is selected.
    pub nothing: Option<String>,
    /// The selected configs that cannot be used.
    pub broken: Vec<BrokenConfig>,
}

/// Reports the configs that could not be used after the other projects are done, and returns the exit code of both.
pub fn end(ctx: &Ctx, workspace: &Workspace, exit: Exit, broken: &[BrokenConfig]) -> Exit {
    let broken: Vec<&BrokenConfig> = BrokenConfig::needing_attention(broken).collect();
    let rows = workspace.broken_rows(&broken);
    for (_, failure) in &rows {
        ctx.ui.error_beside_report(failure);
    }
    exit.max(Exit::worst(rows.iter().map(|(_, failure)| failure.kind)))
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
            if self.all {
                require_any(workspace)?;
                note_sparse(ctx, workspace);
            }
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
        // A broken project that is affected becomes a row. The others continue.
        let broken: Vec<BrokenConfig> =
            affected.broken.iter().map(|&broken| broken.clone()).collect();
        let reasons: BTreeMap<&str, String> =
            affected.projects.iter().map(|each| (each.dir.as_str(), line(&each.reasons))).collect();
        let reason = |project: &Project| reasons.get(project.dir.as_str()).cloned();
        if affected.projects.is_empty() && is_on_default_branch(&changes) {
            require_any(workspace)?;
            note_sparse(ctx, workspace);
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

/// Names the projects that a sparse checkout leaves out of a run for every project.
fn note_sparse(ctx: &Ctx, workspace: &Workspace) {
    if let Some(note) = workspace.sparse_note() {
        ctx.ui.note(&note);
    }
}

/// Errors if the repository has neither a project nor a config that has its row.
fn require_any(workspace: &Workspace) -> Result<()> {
    let has_rows = BrokenConfig::needing_attention(&workspace.broken).next().is_some();
    workspace.no_project().filter(|_| !has_rows).map_or(Ok(()), Err)
}

/// Returns true if the working tree is compared, and the commit of the default branch is checked
/// out. If no changed file selects a project, all projects are selected, and the content key skips
/// those that are up to date.
fn is_on_default_branch(changes: &Changes) -> bool {
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
        let reasons = projects.iter().map(|project| reason(project)).collect();
        SelectedProjects { reasons, projects, nothing: None, broken: Vec::new() }
    }

    /// Plans `request` for them. Errors if no project remains. A run also errors if this machine lacks a tool or token,
    /// but a dry run is useful without them.
    pub fn plan(
        self,
        ctx: &Ctx,
        workspace: &Workspace,
        mut request: RunRequest,
        reader: PlanReader,
    ) -> Result<Plan> {
        let needs_upload = request.operation != Operation::Build;
        let selected = self.projects.len();
        let builds = plan_builds(workspace, &self.projects);
        let changes = reader.changes.join().map_err(|_| failed("git's reader failed"))??;
        // The choice of the projects may have waited for the network, and files may have changed since.
        let files = workspace.all_files.as_ref().filter(|_| changes.age() < MAX_AGE);
        let known = files.and_then(|files| KnownFiles::new(&workspace.root, files, &changes));
        let known = known.as_ref();
        let keys = content_keys(workspace, &builds, &request.destination, known)?;
        let schema = reader.schema.map(JoinHandle::join).transpose();
        let head = known.and_then(KnownFiles::head).map_or_else(|| git::head(&ctx.root), Ok)?;
        request.options.rebuild |= request.options.force;
        let projects = builds.into_iter().zip(keys).zip(self.reasons);
        let projects = projects.map(|((build, key), reason)| ProjectInput {
            inputs: build.inputs(workspace),
            facts: read_facts(workspace, build, &request.destination.environment),
            key,
            reason,
        });
        let input = PlanRequest {
            projects: projects.collect(),
            request,
            head,
            today: today(),
            schema: schema.map_err(|_| failed("the reader of wrangler's schema failed"))?.flatten(),
            is_set,
            nonce: &fresh_nonce()?,
        };
        let mut plan = Plan::new(workspace, input);
        if needs_upload && ctx.dry_run {
            refuse_missing_secrets(ctx, workspace, &mut plan);
        } else if needs_upload {
            // The refusals of a single project are one list. Several projects have a row each.
            let own = if selected == 1 { plan.refused.as_slice() } else { &[] };
            doctor::preflight(ctx, &workspace.config, &plan.destination, plan.choice.engine, own)?;
        }
        require_one(ctx, &plan)?;
        Ok(plan)
    }
}

/// Refuses the projects of a dry run whose Workers lack secrets, if Cloudflare or the sandbox is reachable. A run checks
/// this right before the upload.
fn refuse_missing_secrets(ctx: &Ctx, workspace: &Workspace, plan: &mut Plan) {
    if plan.operation != Operation::Deploy {
        return;
    }
    let is_planned =
        |project: &&Project| plan.projects.iter().any(|part| part.config == project.config);
    let check = |project: &Project| {
        let (root, timeout) = (&ctx.root, secrets::TIMEOUT);
        let checked =
            secrets::refuse_missing_if_readable(root, project, &plan.destination, timeout);
        Some((project.name.clone(), checked.err()?))
    };
    let refused: Vec<(String, Error)> =
        workspace.projects.iter().filter(is_planned).filter_map(check).collect();
    for (project, failure) in refused {
        plan.refuse(&project, RefusalRule::Secrets, &failure);
    }
}

/// Errors if no project remains. The error is the last refusal, and the others are printed before it.
fn require_one(ctx: &Ctx, plan: &Plan) -> Result<()> {
    if !plan.projects.is_empty() {
        return Ok(());
    }
    let mut rows = ProjectRefusal::join_same(&plan.refused);
    let Some(last) = rows.pop() else { return Ok(()) };
    for other in rows {
        ctx.ui.error_beside_report(&other);
    }
    Err(last)
}
