//! `dev`: a project's development server.

use std::collections::BTreeSet;

use camino::Utf8Path;
use clap::Args;
use ring::digest::{SHA256, digest};

use super::target::{EnvironmentUse, ProjectTarget, TargetArgs};
use super::wrangler::{command, exit};
use base::command::ProcessCommand;
use base::error::{Exit, Result};
use base::terminal::progress::ProgressLine;
use deployment::builds::plan_builds;
use deployment::context::Ctx;
use deployment::engine::build::install::{PACKAGES, install_lock, lock_path};
use deployment::engine::lock::{FileLock, lock};
use deployment::engine::setup::{Setup, ToolPlan};
use deployment::plan::BuildPlan;
use deployment::plan::commands::CommandPaths;
use deployment::report::script::script_of;
use deployment::tools::packages::failure;
use workspace::installation::{Installation, PackageToolchain, Tool};
use workspace::node_version::node_of_wrangler;
use workspace::project::Project;

/// Start a project's development server: its script `dev`, else `wrangler dev`.
///
/// Dependencies are installed and the packages that it imports are built first. No token is in the environment. The
/// port depends on the project's name alone; a script finds it in `PORT`.
#[derive(Debug, Args)]
pub struct DevCommand {
    #[command(flatten)]
    target: TargetArgs,
    /// Port of the server [default: one that belongs to the project]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// Further arguments of the script or of `wrangler dev`
    #[arg(value_name = "ARGS", last = true)]
    arguments: Vec<String>,
}

impl DevCommand {
    /// Runs the command.
    pub fn run(self, ctx: &Ctx) -> Result<Exit> {
        let target = self.target.to_read(ctx, EnvironmentUse::Worker)?;
        let workspace = &target.workspace;
        let mut builds = plan_builds(workspace, &[&target.project]);
        let build = builds.pop().map(|one| one.build).transpose()?;
        let mut tools = build.as_ref().map(tools_of).unwrap_or_default();
        if !has_script(&target.project) {
            tools.insert(node_of_wrangler());
        }
        let port = self.port.unwrap_or_else(|| port_of(&target.project.name));
        if ctx.dry_run {
            let paths = ToolPlan::new(&ctx.root, &workspace.config, &tools)?.paths;
            let steps =
                preparation(&paths, build.as_ref(), CommandPaths::install_in_place).into_iter();
            let mut commands: Vec<ProcessCommand> = steps.map(|step| step.command).collect();
            commands.push(server(&paths, &target, build.as_ref(), port, &self.arguments));
            ctx.ui.out(&script_of(&ctx.root, &commands));
            return Ok(Exit::Done);
        }
        let mut setup = Setup::new(ctx, &workspace.config)?;
        let paths = setup.tools_for(&tools)?;
        setup.finish("ready");
        prepare(ctx, &paths, &target.project, build.as_ref())?;
        let server = server(&paths, &target, build.as_ref(), port, &self.arguments);
        let name = &target.project.name;
        ctx.ui.note(&match build.is_some() && has_script(&target.project) {
            // A script may choose another port. It prints its address itself.
            true => format!("{name}: the script `dev` with PORT={port}"),
            false => format!("{name} at http://localhost:{port}/"),
        });
        Ok(exit(ctx.run_attached(&server)?))
    }
}

/// Returns the tools that a project's install, builds and scripts need.
pub(super) fn tools_of(build: &BuildPlan) -> BTreeSet<Tool> {
    build.toolchains().flat_map(PackageToolchain::tools).cloned().collect()
}

/// A command that prepares a project for a script.
pub(super) struct PreparationStep<'b> {
    /// The command.
    pub command: ProcessCommand,
    /// The install that it belongs to. `None` for a build.
    pub installation: Option<&'b Installation>,
    /// The script that the project is prepared for.
    pub is_script: bool,
}

impl PreparationStep<'_> {
    /// Runs the command with its output in `log`. An install that fails has its own next step.
    pub(super) fn run(
        &self,
        ctx: &Ctx,
        paths: &CommandPaths,
        log: &str,
        task: &ProgressLine,
    ) -> Result<()> {
        task.step(&self.command.brief());
        let on_line = |line: &str| task.output(line);
        let finished = match self.installation {
            Some(_) => ctx.run_install(log, &self.command, &on_line)?,
            None => ctx.run(log, &self.command, &on_line)?,
        };
        let hint =
            self.installation.map(|one| failure::hint(one, &paths.variables, &finished.tail));
        finished.success().map_err(|failure| match hint {
            Some(hint) => failure.hint_if_failed(&hint),
            None => failure,
        })?;
        Ok(())
    }
}

/// Returns the commands of an install.
type Install = fn(&CommandPaths, &PackageToolchain, &Installation) -> Vec<ProcessCommand>;

/// Returns the steps that install what the project needs and build the packages that it imports.
pub(super) fn preparation<'b>(
    paths: &CommandPaths,
    build: Option<&'b BuildPlan>,
    install: Install,
) -> Vec<PreparationStep<'b>> {
    let Some(build) = build else { return Vec::new() };
    let installation = build.toolchain.installation.as_ref();
    let install = installation.map(|one| install(paths, &build.toolchain, one));
    let install = install.into_iter().flatten();
    let step = |command, installation| PreparationStep { command, installation, is_script: false };
    let install = install.map(|command| step(command, installation));
    let builds = build.dependencies.iter().flat_map(|build| paths.build(build, None));
    install.chain(builds.map(|command| step(command, None))).collect()
}

/// Locks the folders that the preparation of a project writes to. The locks are released before its script runs,
/// because a server may run for hours.
pub(super) fn lock_dependencies(
    root: &Utf8Path,
    build: &BuildPlan,
    task: &ProgressLine,
) -> Result<Vec<FileLock>> {
    let install = build.toolchain.installation.as_ref().map(install_lock);
    let packages = (!build.dependencies.is_empty()).then(|| PACKAGES.to_owned());
    install
        .iter()
        .chain(&packages)
        .map(|name| lock(&lock_path(root, name), |holder| task.step(&format!("wait for {holder}"))))
        .collect()
}

fn prepare(
    ctx: &Ctx,
    paths: &CommandPaths,
    project: &Project,
    build: Option<&BuildPlan>,
) -> Result<()> {
    let task = ctx.ui.task(&project.name);
    let log = format!("{}.dev", project.slug());
    let _locks = build.map(|build| lock_dependencies(&ctx.root, build, &task)).transpose()?;
    let prepared = preparation(paths, build, CommandPaths::install_in_place)
        .iter()
        .try_for_each(|step| step.run(ctx, paths, &log, &task));
    let text = if prepared.is_ok() { "dependencies ready" } else { "not prepared" };
    task.end(prepared.is_ok(), text);
    prepared
}

fn has_script(project: &Project) -> bool {
    project.package.as_ref().is_some_and(|package| package.scripts.contains("dev"))
}

/// Returns the command of the server. Its environment contains no credential.
fn server(
    paths: &CommandPaths,
    target: &ProjectTarget,
    build: Option<&BuildPlan>,
    port: u16,
    arguments: &[String],
) -> ProcessCommand {
    let project = &target.project;
    let package = project.package.as_ref().filter(|_| has_script(project));
    if let (Some(package), Some(build)) = (package, build) {
        return paths
            .run_script(&package.dir, &build.toolchain, "dev", arguments)
            .text("PORT", port.to_string());
    }
    let mut all = vec!["dev".to_owned(), "--ip=127.0.0.1".to_owned(), format!("--port={port}")];
    all.extend(arguments.iter().cloned());
    command(paths, target, &all, false)
}

/// Returns the port of a project. It is always the same, and below the range of ephemeral ports.
fn port_of(name: &str) -> u16 {
    let digest = digest(&SHA256, name.as_bytes());
    let bytes = digest.as_ref();
    10_000 + u16::from_be_bytes([bytes[0], bytes[1]]) % 20_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_stable_and_differ() {
        assert_eq!([port_of("website"), port_of("shop")], [port_of("website"), port_of("shop")]);
        assert_ne!(port_of("website"), port_of("shop"));
        assert!((10_000..30_000).contains(&port_of("anything")));
    }
}
