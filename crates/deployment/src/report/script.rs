//! Formats a plan as a POSIX shell script that does the same without xtask.

use camino::{Utf8Path, Utf8PathBuf};

use crate::engine::upload::dagger;
use crate::plan::commands::{Bundling, CommandPaths};
use crate::plan::refusal::ProjectRefusal;
use crate::plan::{Engine, Operation, Plan, ProjectPlan};
use crate::script::upload::PROGRAM;
use crate::tools::sandbox::token_file;
use base::command::{ProcessCommand, heredoc, preamble, quote};
use base::error::Result;
use base::http;
use base::text::join_lines;
use cloudflare::wrangler::PREPARE_UPLOAD;
use workspace::health::Health;
use workspace::strategy::Strategy;

/// Returns the script that runs `commands` one after another.
#[must_use]
pub fn script_of<'c>(
    root: &Utf8Path,
    commands: impl IntoIterator<Item = &'c ProcessCommand>,
) -> String {
    let token_file = token_file(root);
    let commands = commands.into_iter().map(|command| command.script(root, &token_file));
    format!("#!/bin/sh\n{}{}", preamble(root), commands.collect::<String>())
}

/// Returns the script of `plan`. `setup` has the commands that install missing tools first.
pub fn script(plan: &Plan, paths: &CommandPaths, setup: &[ProcessCommand]) -> Result<String> {
    let mut text = header(plan, paths);
    // Containers have their own tools.
    if plan.choice.engine == Engine::Host {
        let token_file = token_file(&paths.root);
        let setup = setup.iter().map(|command| command.script(&paths.root, &token_file));
        text += &setup.collect::<String>();
    }
    text += &upload_program(plan, paths);
    for (refusal, failure) in ProjectRefusal::by_project(&plan.refused) {
        let (project, reason) = (join_lines(&refusal.project), join_lines(&format!("{failure:#}")));
        text += &format!("\n# {project} is left out: {reason}\n");
    }
    for project in &plan.projects {
        text += &notes(plan, project);
        text += &steps(plan, project, paths)?;
    }
    Ok(text)
}

/// Returns the first lines: the operation, the engine, the commit, and a test for the sandbox.
fn header(plan: &Plan, paths: &CommandPaths) -> String {
    let destination = &plan.destination;
    let commit = plan.head.commit.as_deref().unwrap_or("no commit");
    let mut text =
        format!("#!/bin/sh\n# {} {}", command_name(plan.operation), destination.environment);
    if destination.sandbox.is_some() {
        text += " in the sandbox (`cargo xtask sandbox up` starts it)";
    }
    text += &format!("\n# engine: {}\n# commit: {commit}", plan.choice.engine.name());
    text += if plan.head.dirty { ", with uncommitted changes\n" } else { "\n" };
    text += &preamble(&paths.root);
    if let Some(port) = destination.sandbox {
        // Another program may listen on the port of a stopped sandbox, and would get its token.
        let server = quote(paths.root.join(".xtask/sandbox/server.json").as_str());
        text += &format!(
            "grep -q '\"port\": {port},' {server} || {{ echo 'the sandbox does not run on port {port}: \
             cargo xtask sandbox up' >&2; exit 3; }}\n"
        );
    }
    text
}

/// Returns the commands that write the program which prepares uploads.
fn upload_program(plan: &Plan, paths: &CommandPaths) -> String {
    match (plan.operation, plan.choice.engine) {
        (Operation::Build, _) => String::new(),
        (_, Engine::Host) => format!(
            "\n# Prepares each upload from what was bundled, and looks for the token in it.\n\
             mkdir -p .xtask/tmp\ncat > {PROGRAM} {}",
            heredoc(PREPARE_UPLOAD)
        ),
        (_, Engine::Dagger) => {
            let project = plan.projects.first();
            project.map(|project| upload_files(project, &paths.root)).unwrap_or_default()
        }
    }
}

/// Returns the comments above the commands of a project.
fn notes(plan: &Plan, project: &ProjectPlan) -> String {
    let (name, reason) = (join_lines(&project.name), join_lines(&project.reason));
    let mut text = format!("\n# {name}: {reason}\n# content key: {}\n", project.key);
    if plan.operation == Operation::Deploy && !plan.options.force {
        text += "# skipped when the live version carries this key and answers\n";
    }
    if let Some(note) = project.inheritance_note() {
        text += &format!("# note: {}\n", join_lines(&note));
    }
    for what in &project.removes {
        text += &format!("# removes {}\n", join_lines(what));
    }
    if project.build.is_some() && plan.choice.engine == Engine::Host && !plan.options.rebuild {
        text += "# a build of the same content that is kept in .xtask/cache takes the place of this one\n";
    }
    if project.strategy == Some(Strategy::Preview) {
        text += "# strategy: preview, with the bindings of the config's `previews` block\n";
        text += "# refused when the Worker was never deployed: wrangler would make one unasked\n";
    }
    text
}

/// Returns the commands of a project, and the check after its deployment.
fn steps(plan: &Plan, project: &ProjectPlan, paths: &CommandPaths) -> Result<String> {
    let (token_file, program) = (token_file(&paths.root), paths.root.join(PROGRAM));
    let mut text = String::new();
    if plan.choice.engine == Engine::Host && plan.operation != Operation::Build {
        let empty = paths.upload_folder(project).join("empty");
        let folder = quote(empty.strip_prefix(&paths.root).unwrap_or(&empty).as_str());
        text += &format!("mkdir -p {folder}\n");
    }
    for command in commands(plan, project, paths, &program)? {
        text += &command.script(&paths.root, &token_file);
    }
    if let Some(percent) = plan.options.percent {
        let rest = 100_u8.saturating_sub(percent);
        text += &format!(
            "# then gives the version {percent} % of the traffic, and the live one {rest} %:\n\
             # wrangler versions deploy NEW@{percent}% LIVE@{rest}% --yes\n"
        );
    } else if plan.operation == Operation::Deploy
        && let Some(url) = plan.destination.sandbox_url(&project.target.worker)
    {
        text += &check(&url, &project.health);
    }
    Ok(text)
}

/// Returns the commands that write the files which containers get and which the repository does not have.
fn upload_files(project: &ProjectPlan, root: &Utf8Path) -> String {
    let write = |(path, content): (Utf8PathBuf, String)| {
        let path = path.strip_prefix(root).unwrap_or(&path);
        let folder = path.parent().map(|folder| quote(folder.as_str())).unwrap_or_default();
        format!("mkdir -p {folder}\ncat > {} {}", quote(path.as_str()), heredoc(&content))
    };
    let files: String = dagger::upload_files(project, root).into_iter().map(write).collect();
    match files.is_empty() {
        true => files,
        false => {
            format!("\n# The pinned wrangler, and the program that prepares an upload.\n{files}")
        }
    }
}

/// Returns the commands of one project, in order. `program` is the file of the program that prepares an upload.
fn commands(
    plan: &Plan,
    project: &ProjectPlan,
    paths: &CommandPaths,
    program: &Utf8Path,
) -> Result<Vec<ProcessCommand>> {
    if plan.choice.engine == Engine::Dagger {
        return Ok(vec![dagger::command(plan, project, &paths.root)?]);
    }
    let mut commands = Vec::new();
    let toolchain = &project.build_plan.toolchain;
    let installation = toolchain.installation.iter();
    commands.extend(installation.flat_map(|install| paths.install(toolchain, install)));
    for build in &project.build_plan.dependencies {
        commands.extend(paths.build(build, None));
    }
    if let Some(build) = project.build_plan.own.as_ref().filter(|_| !project.is_built_by_wrangler) {
        commands.extend(paths.build(build, project.build_environment.as_deref()));
    }
    if plan.operation != Operation::Build {
        let is_bundled = project.may_have_code() || project.target.has_build_command;
        let is_redirected = project.is_named_by_adapter();
        if is_bundled {
            let has_assets = project.target.assets.is_some() || is_redirected;
            commands.push(paths.bundle(project, Bundling { is_redirected, has_assets }));
        }
        let mut prepare =
            paths.prepare_upload(project, &plan.destination, is_redirected, is_bundled);
        prepare.stdin = None;
        for word in prepare.argv.iter_mut().filter(|word| *word == "-") {
            *word = program.to_string();
        }
        commands.push(prepare);
        if plan.operation == Operation::Deploy {
            commands.extend(paths.before_deploy(project, &plan.destination));
        }
        commands.push(paths.upload(project, &plan.destination, plan.kind(project)));
    }
    Ok(commands)
}

/// Returns the health check as one line. `curl --fail` is correct only if any success is accepted.
/// Configured status codes are compared.
fn check(base: &str, health: &Health) -> String {
    if *health == Health::Off {
        return "# no health check: `xtask.health` is false\n".to_owned();
    }
    let url = format!("{}{}", base.trim_end_matches('/'), health.path());
    let (address, host) = http::loopback(&url);
    let host = host.map(|host| format!(" --header {}", quote(&format!("Host: {host}"))));
    let host = host.unwrap_or_default();
    let address = quote(&address);
    let curl = "curl --silent --show-error --retry 20 --retry-all-errors --retry-delay 1 --output /dev/null";
    match health.accepted_codes() {
        None => format!("{curl} --fail --location{host} {address}\n"),
        Some(status) => {
            let codes: Vec<String> = status.iter().map(u16::to_string).collect();
            let write = "--write-out '%{http_code}'";
            format!(
                "case \"$({curl} {write}{host} {address})\" in {}) ;; *) exit 1 ;; esac\n",
                codes.join("|")
            )
        }
    }
}

fn command_name(operation: Operation) -> &'static str {
    match operation {
        Operation::Build => "build for",
        Operation::Deploy | Operation::Promote | Operation::Rollback => "deploy to",
        Operation::Preview => "preview in",
        Operation::Delete => "delete from",
    }
}
