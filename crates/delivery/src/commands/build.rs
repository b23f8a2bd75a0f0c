//! `build`, and what it has in common with `deploy`.

use std::collections::{BTreeMap, BTreeSet};
use workspace::modules;

use anyhow::Result;
use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;

use super::selection::Selection;
use crate::builds::{Builds, tools_of};
use crate::context::Ctx;
use crate::engine::Run;
use crate::engine::choice::{Wanted, choose};
use crate::engine::live;
use crate::engine::setup::{self, Setup};
use crate::plan::destination::Destination;
use crate::plan::variables::{self, digests};
use crate::plan::{BuildPlan, Choice, Engine, Plan, Verb};
use crate::record::{Record, Versions};
use crate::report::{self, RunReport, script};
use crate::tools::{dagger, sandbox};
use base::error::{Exit, Failure};
use workspace::Workspace;
use workspace::config::LOCAL;
use workspace::git;
use workspace::graph::Graph;
use workspace::key::content_key;
use workspace::project::Project;
use workspace::strategy::Strategy;

/// Install dependencies and build.
#[derive(Debug, Args)]
pub struct Build {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    engine: EngineArgs,
}

impl Build {
    /// Runs the command.
    pub fn run(self, ctx: &Ctx) -> Result<Exit> {
        self.engine.prepare(ctx);
        let workspace = Workspace::survey(&ctx.root)?;
        let chosen = self.selection.choose(ctx, &workspace, None)?;
        if let Some(because) = &chosen.nothing {
            return Ok(nothing_to_do(ctx, because));
        }
        let port = Some(sandbox::DEFAULT_PORT);
        let destination = Destination::to_read(&workspace.config, LOCAL, port)?;
        let choice = self.engine.choose(ctx, &workspace)?;
        let rebuild = self.engine.no_cache;
        let task = Task { rebuild, ..Task::new(Verb::Build, choice, destination) };
        let plan = chosen.plan(ctx, &workspace, task)?;
        carry_out(ctx, &workspace, plan)
    }
}

/// What executes the plan.
#[derive(Clone, Copy, Debug, Args)]
pub struct EngineArgs {
    /// What builds and uploads
    #[arg(long, value_enum, default_value_t)]
    engine: Wanted,
    /// Build even what is kept from an earlier build of the same content. Dagger keeps what it builds
    /// by itself, and does not see this
    #[arg(long)]
    pub no_cache: bool,
}

impl EngineArgs {
    /// Asks early for what [`EngineArgs::choose`] will want to know.
    pub fn prepare(self, ctx: &Ctx) {
        if self.engine != Wanted::Host {
            dagger::ask_version(&ctx.root);
        }
    }

    /// The engine, and why.
    pub fn choose(self, ctx: &Ctx, workspace: &Workspace) -> Result<Choice, Failure> {
        choose(&ctx.root, self.engine, &workspace.config.tools.dagger, ctx.dry_run)
    }
}

/// What is to be done with the selected projects.
#[derive(Debug)]
pub struct Task {
    /// What is asked for.
    pub verb: Verb,
    /// What executes it.
    pub choice: Choice,
    /// Where to.
    pub destination: Destination,
    /// Do it even where the same content is there already.
    pub force: bool,
    /// Build even where the output of the same build is kept.
    pub rebuild: bool,
    /// Put the former version back when the new one does not answer.
    pub rollback: bool,
    /// The preview's alias, or its name.
    pub alias: Option<String>,
    /// How each project's preview is made.
    pub strategies: BTreeMap<String, Strategy>,
}

impl Task {
    /// A task without any extra.
    #[must_use]
    pub fn new(verb: Verb, choice: Choice, destination: Destination) -> Task {
        Task {
            verb,
            choice,
            destination,
            force: false,
            rebuild: false,
            rollback: true,
            alias: None,
            strategies: BTreeMap::new(),
        }
    }
}

/// Says why there is nothing to do, as a script of comments where a script was asked for.
pub fn nothing_to_do(ctx: &Ctx, because: &str) -> Exit {
    let text = if ctx.dry_run { format!("#!/bin/sh\n# {because}") } else { because.to_owned() };
    ctx.ui.report(&RunReport::nothing(because), &text);
    Exit::Done
}

/// Prints the plan, or executes it and reports.
pub fn carry_out(ctx: &Ctx, workspace: &Workspace, mut plan: Plan) -> Result<Exit> {
    if ctx.dry_run {
        let destination = &plan.destination;
        for part in plan.projects.iter_mut().filter(|_| plan.verb == Verb::Deploy) {
            part.removes = live::removals(ctx, destination, part);
        }
        ctx.ui.report(&plan, &by_hand(ctx, workspace, &plan)?);
        return Ok(Exit::Done);
    }
    if plan.projects.iter().any(|part| part.build.is_some()) {
        variables::notes(&workspace.config).iter().for_each(|note| ctx.ui.note(note));
    }
    let records = execute(ctx, workspace, plan)?;
    tell(ctx, &records)
}

/// The plan as a script for people.
pub fn by_hand(ctx: &Ctx, workspace: &Workspace, plan: &Plan) -> Result<String, Failure> {
    let (places, missing) = setup::missing(&ctx.root, &workspace.config, &tools_of(plan));
    script::script(plan, &places, &missing)
}

/// Reports what came of the projects, to the person and to the pipeline.
pub fn tell(ctx: &Ctx, records: &[Record]) -> Result<Exit> {
    super::ci::leave_reports(ctx, records)?;
    ctx.ui.report(&RunReport::new(records), &report::summary(records));
    Ok(report::exit(records))
}

/// Puts the tools in place and executes the plan.
pub fn execute(ctx: &Ctx, workspace: &Workspace, mut plan: Plan) -> Result<Vec<Record>> {
    let setup = Setup::new(ctx, &workspace.config)?;
    // Containers bring their own tools; the sandbox needs them here in any case.
    let to_sandbox = plan.verb != Verb::Build && plan.destination.sandbox.is_some();
    let (places, mut versions) = if plan.choice.engine == Engine::Host || to_sandbox {
        setup.tools_for(&tools_of(&plan))?
    } else {
        let none = BTreeSet::new();
        (setup::missing(&ctx.root, &workspace.config, &none).0, Versions::new())
    };
    versions.dagger.clone_from(&plan.choice.dagger);
    let mut ready = format!("engine: {} ({})", plan.choice.engine.name(), plan.choice.reason);
    if to_sandbox {
        let (server, _) = setup.sandbox(&places, &workspace.config.account_ids(), None)?;
        ready += &format!(", sandbox at {}", server.url);
        plan.destination.move_sandbox(server.port);
    }
    setup.done(&ready);
    Ok(Run::new(ctx, &plan, places, versions).execute())
}

/// The content key of each project: the files it is made from, and the tools that make it.
pub(super) fn keys(
    workspace: &Workspace,
    graph: &Graph,
    projects: &[&Project],
    destination: &Destination,
    builds: &Builds,
) -> Result<BTreeMap<String, String>> {
    let root = &workspace.root;
    let pins = Utf8PathBuf::from(modules::WRANGLER_TOOLCHAIN).join("bun.lock");
    let inputs = projects.iter().map(|project| {
        let mut paths = graph.inputs(project);
        paths.insert(pins.clone());
        paths.extend(builds.get(&project.name).and_then(|build| lock_file(build.as_ref().ok()?)));
        paths
    });
    let inputs: Vec<BTreeSet<Utf8PathBuf>> = inputs.collect();
    // Asked once for all of them, since projects share inputs and git takes its time to start.
    let all: BTreeSet<&Utf8Path> = inputs.iter().flatten().map(Utf8PathBuf::as_path).collect();
    let blobs = git::blobs(root, &all.into_iter().collect::<Vec<_>>())?;
    let mut facts = BTreeMap::from([
        ("account", destination.account_id.clone()),
        ("bun", workspace.config.tools.bun.clone()),
        ("environment", destination.environment.clone()),
    ]);
    let variables = digests(&workspace.config.variables.build);
    if !variables.is_empty() {
        facts.insert("variables", format!("{variables:?}"));
    }
    let key = |(project, paths): (&&Project, &BTreeSet<Utf8PathBuf>)| {
        let mut facts = facts.clone();
        let build = builds.get(&project.name).and_then(|build| build.as_ref().ok());
        let tools = build.and_then(|build| build.toolchain.fact());
        facts.extend(tools.map(|tools| ("tools", tools)));
        let paths: Vec<&Utf8Path> = paths.iter().map(Utf8PathBuf::as_path).collect();
        (project.name.clone(), content_key(&git::below(root, &blobs, &paths), &facts))
    };
    Ok(projects.iter().zip(&inputs).map(key).collect())
}

/// What decides each project's build, whichever environment it is for.
pub(super) fn build_inputs(
    graph: &Graph,
    projects: &[&Project],
    builds: &Builds,
) -> BTreeMap<String, BTreeSet<Utf8PathBuf>> {
    let inputs = |project: &&Project| {
        let mut paths = graph.build_inputs(project);
        paths.extend(builds.get(&project.name).and_then(|build| lock_file(build.as_ref().ok()?)));
        (project.name.clone(), paths)
    };
    projects.iter().map(inputs).collect()
}

/// Returns the lock file of a build, relative to the repository's root.
fn lock_file(build: &BuildPlan) -> Option<Utf8PathBuf> {
    let installation = build.toolchain.installation.as_ref()?;
    Some(installation.dir.join(installation.lock))
}
