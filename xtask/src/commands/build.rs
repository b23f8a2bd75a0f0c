//! `build`, and what it has in common with `deploy`.

use std::collections::BTreeMap;

use anyhow::Result;
use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;

use crate::context::Ctx;
use crate::engine::Run;
use crate::engine::setup::{self, Setup};
use crate::error::{Exit, Failure};
use crate::plan::destination::{Destination, Pipeline};
use crate::plan::{Inputs, Plan, Verb};
use crate::report::{self, RunReport, script};
use crate::tools::{git, sandbox, wrangler};
use crate::workspace::Workspace;
use crate::workspace::config::LOCAL;
use crate::workspace::graph::Graph;
use crate::workspace::key::{content_key, fresh_nonce};
use crate::workspace::project::Project;

/// Install dependencies and build.
#[derive(Debug, Args)]
pub struct Build {
    #[command(flatten)]
    selection: Selection,
}

impl Build {
    /// Runs the command.
    pub fn run(self, ctx: &Ctx) -> Result<Exit> {
        let workspace = Workspace::load(&ctx.root)?;
        let projects = self.selection.projects(&workspace)?;
        let port = Some(sandbox::DEFAULT_PORT);
        let destination =
            Destination::resolve(&workspace.config, LOCAL, port, &Pipeline::default(), None)?;
        let plan = self
            .selection
            .plan(&workspace, &projects, Verb::Build, destination, false)?;
        carry_out(ctx, &workspace, plan)
    }
}

/// Which projects take part.
#[derive(Debug, Args)]
pub struct Selection {
    /// Projects by path, any unique end of it, Worker name or package name [default: all]
    #[arg(value_name = "PROJECT")]
    names: Vec<String>,
}

impl Selection {
    /// The projects that are meant.
    pub fn projects<'w>(&self, workspace: &'w Workspace) -> Result<Vec<&'w Project>, Failure> {
        workspace.select(&self.names)
    }

    /// Plans `verb` for `projects`.
    pub fn plan(
        &self,
        workspace: &Workspace,
        projects: &[&Project],
        verb: Verb,
        destination: Destination,
        force: bool,
    ) -> Result<Plan> {
        let reason = if self.names.is_empty() {
            "every project"
        } else {
            "named on the command line"
        };
        let inputs = Inputs {
            verb,
            keys: keys(workspace, projects, &destination)?,
            destination,
            head: git::head(&workspace.root)?,
            force,
            reason,
            locks: locks(&workspace.root, projects),
            nonce: &fresh_nonce()?,
        };
        Ok(Plan::new(projects, inputs)?)
    }
}

/// Prints the plan, or executes it and reports.
pub fn carry_out(ctx: &Ctx, workspace: &Workspace, mut plan: Plan) -> Result<Exit> {
    if ctx.dry_run {
        let (places, missing) = setup::missing(&ctx.root, &workspace.config);
        ctx.ui
            .report(&plan, &script::script(&plan, &places, &missing));
        return Ok(Exit::Done);
    }
    if plan.destination.sandbox.is_none() {
        ctx.secret(&plan.destination.token())?;
    }
    let setup = Setup::new(ctx, &workspace.config)?;
    let (places, versions) = setup.tools()?;
    let mut ready = format!("Bun {}", workspace.config.tools.bun);
    if plan.verb == Verb::Deploy && plan.destination.sandbox.is_some() {
        let (server, _) = setup.sandbox(&places, &workspace.config.account_ids(), None)?;
        ready += &format!(", sandbox at {}", server.url);
        plan.destination.move_sandbox(server.port);
    }
    setup.done(&format!("{ready}, engine: {}", plan.engine.name()));
    let records = Run::new(ctx, &plan, places, versions).execute()?;
    ctx.ui
        .report(&RunReport::new(&records), &report::summary(&records));
    Ok(report::exit(&records))
}

/// The content key of each project: the files it is made from, and the tools that make it.
fn keys(
    workspace: &Workspace,
    projects: &[&Project],
    destination: &Destination,
) -> Result<BTreeMap<String, String>> {
    let graph = Graph::new(workspace)?;
    let pins = Utf8PathBuf::from(wrangler::TOOLCHAIN).join("bun.lock");
    let mut keys = BTreeMap::new();
    for project in projects {
        let mut paths = graph.inputs(project);
        paths.insert(pins.clone());
        paths.extend(lock_folder(&workspace.root, project).map(|dir| dir.join("bun.lock")));
        let paths: Vec<&Utf8Path> = paths.iter().map(Utf8PathBuf::as_path).collect();
        let facts = BTreeMap::from([
            ("account", destination.account_id.clone()),
            ("bun", workspace.config.tools.bun.clone()),
            ("environment", destination.environment.clone()),
        ]);
        keys.insert(
            project.name.clone(),
            content_key(&git::blobs(&workspace.root, &paths)?, &facts),
        );
    }
    Ok(keys)
}

fn locks(root: &Utf8Path, projects: &[&Project]) -> BTreeMap<String, Utf8PathBuf> {
    let lock = |project: &&Project| Some((project.name.clone(), lock_folder(root, project)?));
    projects.iter().filter_map(lock).collect()
}

/// The nearest folder at or above the project's package that holds a `bun.lock`.
fn lock_folder(root: &Utf8Path, project: &Project) -> Option<Utf8PathBuf> {
    let package = project.package.as_ref()?;
    package
        .dir
        .ancestors()
        .find(|dir| root.join(dir).join("bun.lock").is_file())
        .map(Utf8Path::to_owned)
}
