//! The execution of a plan, which `build`, `deploy` and `preview` share.

use std::collections::BTreeSet;

use clap::Args;

use base::error::{Error, Exit, Result};
use deployment::builds::tools_of;
use deployment::context::Ctx;
use deployment::engine::RunContext;
use deployment::engine::build::variables;
use deployment::engine::choice::{RequestedEngine, choose};
use deployment::engine::live;
use deployment::engine::phases::Phase;
use deployment::engine::queue::cycle_note;
use deployment::engine::setup::{self, Setup, ToolPlan};
use deployment::plan::refusal::ProjectRefusal;
use deployment::plan::{Engine, EngineChoice, Operation, Plan, ProjectPlan};
use deployment::record::{Record, ToolVersions};
use deployment::report::{self, RunReport, script};
use deployment::tools::dagger;
use workspace::Workspace;

/// Options that select the engine.
#[derive(Clone, Copy, Debug, Args)]
pub struct EngineArgs {
    /// Engine that builds and uploads
    #[arg(long, value_enum, default_value_t)]
    engine: RequestedEngine,
    /// Ignore the build cache. It has no effect on Dagger's own cache
    #[arg(long)]
    pub no_cache: bool,
}

impl EngineArgs {
    /// Starts the query that [`EngineArgs::choose`] waits for.
    pub fn prepare(self, ctx: &Ctx) {
        if self.engine != RequestedEngine::Host {
            dagger::ask_version(&ctx.root);
        }
    }

    /// Returns the engine and the reason for it.
    pub fn choose(self, ctx: &Ctx, workspace: &Workspace) -> Result<EngineChoice> {
        choose(&ctx.root, self.engine, &workspace.config.tools.dagger, ctx.dry_run)
    }
}

/// Reports the reason why there is nothing to do. A dry run prints it as a comment.
pub fn nothing_to_do(ctx: &Ctx, because: &str) -> Exit {
    let text = if ctx.dry_run { format!("#!/bin/sh\n# {because}") } else { because.to_owned() };
    ctx.ui.report(&RunReport::nothing(because), &text);
    Exit::Done
}

/// Prints the plan, or executes it and reports.
pub fn execute_or_print(ctx: &Ctx, workspace: &Workspace, mut plan: Plan) -> Result<Exit> {
    if ctx.dry_run {
        let destination = &plan.destination;
        for project in plan.projects.iter_mut().filter(|_| plan.operation == Operation::Deploy) {
            project.removes = live::removed_triggers(ctx, destination, project);
        }
        ctx.ui.report(&plan, &plan_script(ctx, workspace, &plan)?);
        return Ok(tell_refused(ctx, &plan));
    }
    if plan.projects.iter().any(|project| project.build.is_some()) {
        variables::notes(&workspace.config).iter().for_each(|note| ctx.ui.note(note));
    }
    cycle_note(&plan).iter().for_each(|note| ctx.ui.note(note));
    if plan.operation != Operation::Build {
        let notes = plan.projects.iter().filter_map(ProjectPlan::inheritance_note);
        notes.for_each(|note| ctx.ui.note(&note));
    }
    let records = execute(ctx, workspace, plan)?;
    tell(ctx, &records)
}

/// Reports the projects that a plan leaves out, and returns the exit code of a dry run.
pub fn tell_refused(ctx: &Ctx, plan: &Plan) -> Exit {
    for failure in ProjectRefusal::join_same(&plan.refused) {
        ctx.ui.error_beside_report(&failure);
    }
    Exit::worst(plan.refused.iter().map(|refused| refused.failure.kind))
}

/// Returns the plan as a script.
pub fn plan_script(ctx: &Ctx, workspace: &Workspace, plan: &Plan) -> Result<String> {
    let tools = ToolPlan::new(&ctx.root, &workspace.config, &tools_of(plan))?;
    script::script(plan, &tools.paths, &tools.installs)
}

/// Reports the results to the user and to the pipeline.
pub fn tell(ctx: &Ctx, records: &[Record]) -> Result<Exit> {
    super::ci::leave_reports(ctx, records)?;
    ctx.ui.report(&RunReport::new(records), &report::summary(records));
    Ok(report::exit(records))
}

/// Installs missing tools and executes the plan.
pub fn execute(ctx: &Ctx, workspace: &Workspace, mut plan: Plan) -> Result<Vec<Record>> {
    let mut setup = Setup::new(ctx, &workspace.config)?;
    // Containers have their own tools, but the sandbox needs local ones.
    let to_sandbox = plan.operation != Operation::Build && plan.destination.sandbox.is_some();
    setup.number_phases(to_sandbox, Phase::of_plan(&plan));
    let (root, config) = (&ctx.root, &workspace.config);
    let (paths, versions) = if plan.choice.engine == Engine::Host || to_sandbox {
        (setup.tools_for(&tools_of(&plan))?, setup::installed_versions(root, config))
    } else {
        (ToolPlan::new(root, config, &BTreeSet::new())?.paths, ToolVersions::new())
    };
    let versions = ToolVersions { dagger: plan.choice.dagger.clone(), ..versions };
    let mut ready = format!("engine: {} ({})", plan.choice.engine.name(), plan.choice.reason);
    if to_sandbox {
        let server = setup.sandbox(&paths, &workspace.config.account_ids(), None)?;
        ready += &format!(", sandbox at {}", server.url);
        plan.destination.move_sandbox(server.port);
    }
    let phases = setup.phases();
    setup.finish(&ready);
    let refused = ProjectRefusal::by_project(&plan.refused).into_iter().enumerate();
    let refused: Vec<Record> = refused
        .map(|(index, (refusal, failure))| refused_record(ctx, &plan, index, refusal, &failure))
        .collect();
    let run = RunContext::new(ctx, &plan, paths, versions, phases);
    Ok(run.execute().into_iter().chain(refused).collect())
}

/// Saves and returns the record of a refused project.
fn refused_record(
    ctx: &Ctx,
    plan: &Plan,
    index: usize,
    refusal: &ProjectRefusal,
    failure: &Error,
) -> Record {
    let ProjectRefusal { project, worker, .. } = refusal;
    let nonce = plan.projects.first().map_or("", |project| project.nonce.as_str());
    let nonce = format!("{nonce}-refused-{index}");
    let base = Record::new(plan.operation, project, worker, &plan.destination, &nonce);
    let mut record = Record {
        commit: plan.head.commit.clone(),
        dirty: plan.head.dirty,
        ended: base.started.clone(),
        ..base
    }
    .ended_by(failure.clone());
    record.save_at_the_end(&ctx.root);
    record
}
