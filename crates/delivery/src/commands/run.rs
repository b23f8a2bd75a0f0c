//! `run`: a script of `package.json` in the selected projects.

use std::collections::BTreeSet;

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use super::build::nothing_to_do;
use super::dev::{preparation, tools_of};
use super::selection::{self, Selection};
use crate::builds::{Builds, plan_builds};
use crate::context::Ctx;
use crate::engine::setup::{Setup, install_lock, missing};
use crate::plan::BuildPlan;
use crate::plan::commands::Places;
use crate::tools::bun::INSTALL_DEADLINE;
use crate::tools::packages::failure;
use crate::tools::sandbox;
use base::command::{ProcessCommand, preamble};
use base::error::{Exit, Failure, as_failure};
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
        let workspace = Workspace::survey(&ctx.root)?;
        let chosen = self.selection.choose(ctx, &workspace, None)?;
        if let Some(because) = &chosen.nothing {
            let exit = nothing_to_do(ctx, because);
            return Ok(selection::end(ctx, exit, &chosen.broken));
        }
        let (with, without): (Vec<&Project>, Vec<&Project>) =
            chosen.projects.iter().partition(|project| self.package(project).is_some());
        let builds = plan_builds(&workspace, &workspace.graph, &with);
        if ctx.dry_run {
            ctx.ui.out(&self.dry_run(ctx, &workspace, &with, builds)?);
            return Ok(selection::end(ctx, Exit::Done, &chosen.broken));
        }
        let mut rows: Vec<ScriptRow> = without
            .iter()
            .map(|project| ScriptRow::new(project, ScriptStatus::Skipped, None))
            .collect();
        let mut exits = vec![Exit::Done];
        if !with.is_empty() {
            let tools = builds.values().flatten().flat_map(tools_of).collect();
            let mut setup = Setup::new(ctx, &workspace.config)?;
            let (places, _) = setup.tools_for(&tools)?;
            setup.finish("tools ready");
            let mut finished = BTreeSet::new();
            for project in with {
                let ended = match builds.get(&project.name) {
                    Some(Err(failure)) => Err(failure.clone()),
                    Some(Ok(build)) => self.run_in(ctx, &places, project, build, &mut finished),
                    None => continue,
                };
                if let Err(failure) = &ended {
                    exits.push(failure.exit);
                    if failure.exit == Exit::Interrupted {
                        return Err(failure.clone().into());
                    }
                    ctx.ui.error_beside_report(&failure.clone().into());
                }
                let status =
                    if ended.is_ok() { ScriptStatus::Success } else { ScriptStatus::Failed };
                rows.push(ScriptRow::new(
                    project,
                    status,
                    ended.err().map(|failure| failure.message),
                ));
            }
        }
        let report = ScriptReport { schema: 1, script: &self.script, projects: &rows };
        ctx.ui.report(&report, &text(&self.script, &rows));
        Ok(selection::end(ctx, Exit::worst(exits), &chosen.broken))
    }

    /// Returns the project's package if it has the script.
    fn package<'p>(&self, project: &'p Project) -> Option<&'p Package> {
        project.package.as_ref().filter(|package| package.scripts.contains(&self.script))
    }

    /// Prepares the project and runs its script. `finished` holds the commands that an earlier project ran.
    fn run_in(
        &self,
        ctx: &Ctx,
        places: &Places,
        project: &Project,
        build: &BuildPlan,
        finished: &mut BTreeSet<String>,
    ) -> Result<(), Failure> {
        let task = ctx.ui.task(&project.name);
        let log = format!("{}.run", project.slug());
        let installation = build.toolchain.installation.as_ref();
        // Held until the script ends, because it uses the packages.
        let lock = installation.map(|one| {
            install_lock(&ctx.root, one, |holder| task.step(&format!("wait for {holder}")))
        });
        let lock = lock.transpose().map_err(as_failure)?;
        let is_install = |command: &ProcessCommand| command.deadline == INSTALL_DEADLINE;
        let ended = self.commands(places, project, build).into_iter().try_for_each(|command| {
            if !is_install(&command)
                && let Some(lock) = &lock
            {
                lock.share()?;
            }
            let line = format!("{} {:?}", command.dir, command.argv);
            if finished.contains(&line) {
                return Ok(());
            }
            task.step(&command.brief());
            let on_line = |line: &str| task.output(line);
            let process = if is_install(&command) {
                ctx.run_install(&log, &command, &on_line)
            } else {
                ctx.run(&log, &command, &on_line)
            };
            let process = process.map_err(as_failure)?;
            let installation = installation.filter(|_| is_install(&command));
            let hint = installation.map(|one| failure::hint(one, &places.variables, &process.tail));
            process.success().map_err(|failure| match hint {
                Some(hint) => failure.hint_if_failed(&hint),
                None => failure,
            })?;
            finished.insert(line);
            Ok(())
        });
        let word = if ended.is_ok() { "passed" } else { "failed" };
        task.end(ended.is_ok(), &format!("{} {word}", self.script));
        ended.map_err(|failure: Failure| Failure {
            message: format!("{}: {}", project.name, failure.message),
            ..failure
        })
    }

    fn commands(
        &self,
        places: &Places,
        project: &Project,
        build: &BuildPlan,
    ) -> Vec<ProcessCommand> {
        let mut commands = preparation(places, Some(build));
        let package = self.package(project);
        commands.extend(
            package.map(|package| {
                places.run_script(&package.dir, &build.toolchain, &self.script, &[])
            }),
        );
        commands
    }

    fn dry_run(
        &self,
        ctx: &Ctx,
        workspace: &Workspace,
        projects: &[&Project],
        mut builds: Builds,
    ) -> Result<String, Failure> {
        let mut text = format!("#!/bin/sh\n{}", preamble(&ctx.root));
        let token = sandbox::token_file(&ctx.root);
        for project in projects {
            let Some(build) = builds.remove(&project.name).transpose()? else { continue };
            let (places, _) = missing(&ctx.root, &workspace.config, &tools_of(&build));
            for command in self.commands(&places, project, &build) {
                text += &command.script(&ctx.root, &token);
            }
        }
        Ok(text)
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
