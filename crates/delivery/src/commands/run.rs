//! `run`: a script of `package.json` in the selected projects.

use std::collections::BTreeSet;

use clap::Args;
use serde::Serialize;

use super::dev::{PreparationStep, lock_dependencies, preparation, tools_of};
use super::execution::nothing_to_do;
use super::selection::{self, Selection};
use base::error::{Error, ErrorKind, Exit, Result};
use deployment::builds::{ProjectBuild, plan_builds};
use deployment::context::Ctx;
use deployment::engine::setup::{Setup, ToolPlan};
use deployment::plan::BuildPlan;
use deployment::plan::commands::CommandPaths;
use deployment::report::script::script_of;
use workspace::Workspace;
use workspace::package::Package;
use workspace::project::Project;

/// Run a script of `package.json` in projects.
///
/// Dependencies are installed and the packages that a project imports are built first. No token is in the environment.
/// Projects without the script are skipped, and a failure stops no other project.
#[derive(Debug, Args)]
pub struct RunCommand {
    /// Name of the script
    #[arg(value_name = "SCRIPT")]
    script: String,
    #[command(flatten)]
    selection: Selection,
}

/// The result of one project.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ScriptRow {
    project: String,
    status: ScriptStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
enum ScriptStatus {
    #[serde(rename = "passed")]
    Success,
    Failed,
    Skipped,
}

#[derive(Debug, Serialize)]
struct ScriptReport<'a> {
    schema: u32,
    script: &'a str,
    projects: &'a [ScriptRow],
}

impl RunCommand {
    /// Runs the command.
    pub fn run(self, ctx: &Ctx) -> Result<Exit> {
        let workspace = Workspace::load(&ctx.root)?;
        let chosen = self.selection.choose(ctx, &workspace, None)?;
        if let Some(because) = &chosen.nothing {
            let exit = nothing_to_do(ctx, because);
            return Ok(selection::end(ctx, &workspace, exit, &chosen.broken));
        }
        let (with, without): (Vec<&Project>, Vec<&Project>) =
            chosen.projects.iter().partition(|project| self.package(project).is_some());
        let builds = plan_builds(&workspace, &with);
        if ctx.dry_run {
            ctx.ui.out(&self.dry_run(ctx, &workspace, &builds)?);
            return Ok(selection::end(ctx, &workspace, Exit::Done, &chosen.broken));
        }
        let mut rows: Vec<ScriptRow> = without
            .iter()
            .map(|project| ScriptRow::new(project, ScriptStatus::Skipped, None))
            .collect();
        let mut kinds = Vec::new();
        if !builds.is_empty() {
            let buildable = builds.iter().filter_map(|one| one.build.as_ref().ok());
            let tools = buildable.flat_map(tools_of).collect();
            let mut setup = Setup::new(ctx, &workspace.config)?;
            let paths = setup.tools_for(&tools)?;
            setup.finish("tools ready");
            let mut finished = BTreeSet::new();
            for ProjectBuild { project, build } in &builds {
                let ended = match build {
                    Err(failure) => Err(failure.clone()),
                    Ok(build) => self.run_in(ctx, &paths, project, build, &mut finished),
                };
                if let Err(failure) = &ended {
                    kinds.push(failure.kind);
                    if failure.kind == ErrorKind::Interrupted {
                        return Err(failure.clone());
                    }
                    ctx.ui.error_beside_report(failure);
                }
                let status =
                    if ended.is_ok() { ScriptStatus::Success } else { ScriptStatus::Failed };
                rows.push(ScriptRow::new(
                    project,
                    status,
                    ended.err().map(|failure| format!("{failure:#}")),
                ));
            }
        }
        let report = ScriptReport { schema: 1, script: &self.script, projects: &rows };
        ctx.ui.report(&report, &text(&self.script, &rows));
        Ok(selection::end(ctx, &workspace, Exit::worst(kinds), &chosen.broken))
    }

    /// Returns the project's package if it has the script.
    fn package<'p>(&self, project: &'p Project) -> Option<&'p Package> {
        project.package.as_ref().filter(|package| package.scripts.contains(&self.script))
    }

    /// Prepares the project and runs its script. `finished` contains the commands that an earlier project ran.
    fn run_in(
        &self,
        ctx: &Ctx,
        paths: &CommandPaths,
        project: &Project,
        build: &BuildPlan,
        finished: &mut BTreeSet<String>,
    ) -> Result<()> {
        let task = ctx.ui.task(&project.name);
        let log = format!("{}.run", project.slug());
        let mut locks = lock_dependencies(&ctx.root, build, &task)?;
        let ended = self.steps(paths, project, build).iter().try_for_each(|step| {
            if step.is_script {
                locks.clear();
            }
            let line = format!("{} {:?}", step.command.dir, step.command.argv);
            if finished.contains(&line) {
                return Ok(());
            }
            step.run(ctx, paths, &log, &task)?;
            finished.insert(line);
            Ok(())
        });
        let word = if ended.is_ok() { "passed" } else { "failed" };
        task.end(ended.is_ok(), &format!("{} {word}", self.script));
        ended.map_err(|failure: Error| {
            let message = format!("{}: {failure:#}", project.name);
            failure.with_message(message)
        })
    }

    /// Returns the steps of a project: its preparation, then its script.
    fn steps<'b>(
        &self,
        paths: &CommandPaths,
        project: &Project,
        build: &'b BuildPlan,
    ) -> Vec<PreparationStep<'b>> {
        let mut steps = preparation(paths, Some(build), CommandPaths::install);
        steps.extend(self.package(project).map(|package| PreparationStep {
            command: paths.run_script(&package.dir, &build.toolchain, &self.script, &[]),
            installation: None,
            is_script: true,
        }));
        steps
    }

    fn dry_run(
        &self,
        ctx: &Ctx,
        workspace: &Workspace,
        builds: &[ProjectBuild<'_>],
    ) -> Result<String> {
        let mut commands = Vec::new();
        for ProjectBuild { project, build } in builds {
            let build = build.as_ref().map_err(Clone::clone)?;
            let paths = ToolPlan::new(&ctx.root, &workspace.config, &tools_of(build))?.paths;
            let steps = self.steps(&paths, project, build).into_iter();
            commands.extend(steps.map(|step| step.command));
        }
        Ok(script_of(&ctx.root, &commands))
    }
}

impl ScriptRow {
    fn new(project: &Project, status: ScriptStatus, failure: Option<String>) -> ScriptRow {
        ScriptRow { project: project.name.clone(), status, failure }
    }
}

fn text(script: &str, rows: &[ScriptRow]) -> String {
    let names = |status: ScriptStatus| -> Vec<&str> {
        rows.iter().filter(|row| row.status == status).map(|row| row.project.as_str()).collect()
    };
    let mut text = String::new();
    for (word, names) in [
        ("passed", names(ScriptStatus::Success)),
        ("failed", names(ScriptStatus::Failed)),
        ("skipped, because they have no such script", names(ScriptStatus::Skipped)),
    ] {
        if !names.is_empty() {
            text += &format!("{script} {word}: {}\n", names.join(", "));
        }
    }
    text
}
