//! `dev`: a project's development server.

use std::collections::BTreeSet;

use anyhow::Result;
use clap::Args;
use ring::digest::{SHA256, digest};

use super::target::{ProjectTarget, TargetArgs};
use super::wrangler::{command, exit};
use crate::builds::plan_builds;
use crate::context::Ctx;
use crate::engine::setup::{Setup, install_lock, missing};
use crate::plan::BuildPlan;
use crate::plan::commands::Places;
use crate::tools::packages::detect::node_of_wrangler;
use crate::tools::packages::{PackageToolchain, Tool, failure};
use crate::tools::sandbox;
use base::command::{ProcessCommand, preamble};
use base::error::Exit;
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
        let target = self.target.to_read(ctx)?;
        let workspace = &target.workspace;
        let mut builds = plan_builds(workspace, &workspace.graph, &[&target.project]);
        let build = builds.remove(&target.project.name).transpose()?;
        let mut tools = build.as_ref().map(tools_of).unwrap_or_default();
        if !has_script(&target.project) {
            tools.insert(node_of_wrangler());
        }
        let port = self.port.unwrap_or_else(|| port_of(&target.project.name));
        if ctx.dry_run {
            let (places, _) = missing(&ctx.root, &workspace.config, &tools);
            let mut commands = preparation(&places, build.as_ref());
            commands.push(server(&places, &target, build.as_ref(), port, &self.arguments));
            let token = sandbox::token_file(&ctx.root);
            let script: String =
                commands.iter().map(|command| command.script(&ctx.root, &token)).collect();
            ctx.ui.out(&format!("#!/bin/sh\n{}{script}", preamble(&ctx.root)));
            return Ok(Exit::Done);
        }
        let mut setup = Setup::new(ctx, &workspace.config)?;
        let (places, _) = setup.tools_for(&tools)?;
        setup.finish("ready");
        prepare(ctx, &places, &target.project, build.as_ref())?;
        let server = server(&places, &target, build.as_ref(), port, &self.arguments);
        ctx.ui.note(&format!("{} at http://localhost:{port}/", target.project.name));
        Ok(exit(ctx.run_attached(&server)?))
    }
}

/// Returns the tools that a project's install, builds and scripts need.
pub(super) fn tools_of(build: &BuildPlan) -> BTreeSet<Tool> {
    let own = build.own.iter().chain(&build.dependencies).map(|build| &build.toolchain);
    own.chain([&build.toolchain]).flat_map(PackageToolchain::tools).cloned().collect()
}

/// Returns the commands that install what the project needs and build the packages that it imports.
pub(super) fn preparation(places: &Places, build: Option<&BuildPlan>) -> Vec<ProcessCommand> {
    let Some(build) = build else { return Vec::new() };
    let install = build.toolchain.installation.as_ref();
    let install = install.map(|installation| places.install(&build.toolchain, installation));
    let builds = build.dependencies.iter().flat_map(|build| places.build(build, None));
    install.into_iter().flatten().chain(builds).collect()
}

fn prepare(ctx: &Ctx, places: &Places, project: &Project, build: Option<&BuildPlan>) -> Result<()> {
    let task = ctx.ui.task(&project.name);
    let installation = build.and_then(|build| build.toolchain.installation.as_ref());
    let install = build.zip(installation);
    let installs = install.map_or(0, |(build, one)| places.install(&build.toolchain, one).len());
    // Held while packages are built, and not while the server runs: a deployment may install meanwhile.
    let lock = installation
        .map(|one| install_lock(&ctx.root, one, |holder| task.step(&format!("wait for {holder}"))));
    let lock = lock.transpose()?;
    for (index, command) in preparation(places, build).iter().enumerate() {
        task.step(&command.brief());
        let log = format!("{}.dev", project.slug());
        let on_line = |line: &str| task.output(line);
        let finished = if index < installs {
            ctx.run_install(&log, command, &on_line)?
        } else {
            ctx.run(&log, command, &on_line)?
        };
        let hint = installation.filter(|_| index < installs);
        let hint = hint.map(|one| failure::hint(one, &places.variables, &finished.tail));
        if let Err(failure) = finished.success() {
            task.end(false, "not prepared");
            return Err(match hint {
                Some(hint) => failure.hint_if_failed(&hint),
                None => failure,
            }
            .into());
        }
        if index + 1 == installs
            && let Some(lock) = &lock
        {
            lock.share()?;
        }
    }
    drop(lock);
    task.end(true, "dependencies ready");
    Ok(())
}

fn has_script(project: &Project) -> bool {
    project.package.as_ref().is_some_and(|package| package.scripts.contains("dev"))
}

/// Returns the command of the server. Nothing in its environment is a credential.
fn server(
    places: &Places,
    target: &ProjectTarget,
    build: Option<&BuildPlan>,
    port: u16,
    arguments: &[String],
) -> ProcessCommand {
    let project = &target.project;
    let package = project.package.as_ref().filter(|_| has_script(project));
    if let (Some(package), Some(build)) = (package, build) {
        return places
            .run_script(&package.dir, &build.toolchain, "dev", arguments)
            .text("PORT", port.to_string());
    }
    let mut all = vec!["dev".to_owned(), "--ip=127.0.0.1".to_owned(), format!("--port={port}")];
    all.extend(arguments.iter().cloned());
    command(places, target, &all, false)
}

/// Returns the port of a project: always the same one, below the ports that systems hand out.
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
