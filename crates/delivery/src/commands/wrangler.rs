//! `wrangler`: the pinned wrangler for one project, with its config, its account and its token.

use std::collections::BTreeSet;
use std::io::Write as _;

use camino::Utf8Path;
use clap::Args;

use super::target::{EnvironmentUse, ProjectTarget, TargetArgs};
use base::command::ProcessCommand;
use base::error::{Error, ErrorContext as _, Exit, Result, refused, usage};
use base::runner::ExitReason;
use base::time::{rfc3339, unix_now};
use cloudflare::wrangler::LAUNCHER;
use cloudflare::wrangler::access::{Access, access, needs_node, uses_environment};
use deployment::context::Ctx;
use deployment::engine::setup::{Setup, ToolPlan};
use deployment::plan::commands::{CommandPaths, DEPLOY_DEADLINE};
use deployment::plan::wrangler_environment;
use deployment::report::script::script_of;
use workspace::installation::Tool;
use workspace::node_version::node_of_wrangler;

/// Run the pinned wrangler for a project: secrets, migrations, storage, queues.
///
/// wrangler gets the project's config, the environment's account and its token. Commands that run code of the project,
/// such as `dev` and `types`, get no token. `deploy` and `versions upload` are refused, because `cargo xtask deploy`
/// does what they do and never runs that code with the token.
#[derive(Debug, Args)]
pub struct WranglerCommand {
    #[command(flatten)]
    target: TargetArgs,
    /// Change a protected environment from this machine, and record the reason
    #[arg(long, value_name = "REASON", value_parser = super::deploy::reason)]
    break_glass: Option<String>,
    /// Arguments of wrangler
    #[arg(value_name = "ARGS", last = true, required = true)]
    arguments: Vec<String>,
}

/// The options that this command sets itself.
const OWN: [(&str, &str); 4] =
    [("--env", "--env"), ("-e", "--env"), ("--config", "PROJECT"), ("-c", "PROJECT")];

impl WranglerCommand {
    /// Runs the command.
    pub fn run(self, ctx: &Ctx) -> Result<Exit> {
        check_options(&self.arguments)?;
        let access = access(&self.arguments);
        let needed = match uses_environment(&self.arguments) {
            true => EnvironmentUse::Worker,
            false => EnvironmentUse::Account,
        };
        let break_glass = self.break_glass.as_deref();
        let target = match access {
            Access::Refused(instead) => return Err(instead_of(&self.arguments, instead)),
            Access::Change => self.target.to_change(ctx, break_glass, needed)?,
            Access::Read | Access::NoToken => self.target.to_read(ctx, needed)?,
        };
        let has_token = access != Access::NoToken;
        let tools = tools(&self.arguments);
        if ctx.dry_run {
            let paths = ToolPlan::new(&ctx.root, &target.workspace.config, &tools)?.paths;
            let command = command(&paths, &target, &self.arguments, has_token);
            ctx.ui.out(&script_of(&ctx.root, [&command]));
            return Ok(Exit::Done);
        }
        let mut setup = Setup::new(ctx, &target.workspace.config)?;
        let paths = setup.tools_for(&tools)?;
        setup.finish("ready");
        if has_token {
            // No other program on the sandbox's port may get the token.
            drop(ctx.checked_token(&target.destination)?);
        }
        if let Some(reason) = &target.destination.break_glass {
            record(&ctx.root, &target, &self.arguments, reason)?;
        }
        let command = command(&paths, &target, &self.arguments, has_token);
        Ok(exit(ctx.run_attached(&command)?))
    }
}

/// Returns the tools that a command of wrangler needs in addition to Bun.
#[must_use]
pub fn tools(arguments: &[String]) -> BTreeSet<Tool> {
    needs_node(arguments).then(node_of_wrangler).into_iter().collect()
}

/// Returns the exit code for the end of a program that the user requested.
#[must_use]
pub fn exit(reason: ExitReason) -> Exit {
    match reason {
        ExitReason::Code(0) => Exit::Done,
        ExitReason::Interrupted => Exit::Interrupted,
        ExitReason::Code(_) | ExitReason::Signal(_) | ExitReason::Deadline | ExitReason::Caller => {
            Exit::Failed
        }
    }
}

/// Returns the command of wrangler with `arguments` in the project's folder. With `has_token` it has access to the
/// account.
#[must_use]
pub fn command(
    paths: &CommandPaths,
    target: &ProjectTarget,
    arguments: &[String],
    has_token: bool,
) -> ProcessCommand {
    let (project, destination) = (&target.project, &target.destination);
    let mut all = Vec::new();
    all.extend(project.config.file_name().map(|name| format!("--config={name}")));
    let environment = wrangler_environment(project, &destination.environment);
    all.extend(environment.map(|name| format!("--env={name}")));
    if has_token {
        // A file of the folder could set another account or API. The option consumes every word up to the next
        // option.
        all.insert(0, cloudflare::wrangler::NO_ENV_FILE.to_owned());
    }
    all.extend(arguments.iter().cloned());
    let dir = paths.root.join(&project.dir);
    let mut command = paths.wrangler(dir, all, DEPLOY_DEADLINE);
    if needs_node(arguments)
        && let Some((_, node)) = paths.tools.iter().find(|(tool, _)| tool.name == "node")
        && let Some(launcher) = command.argv.iter().position(|word| word.ends_with(LAUNCHER))
    {
        command.argv.splice(..launcher, [node.to_string()]);
        // Programs that wrangler starts need it too.
        command.path.extend(paths.path.iter().cloned());
    }
    // With it, wrangler answers each prompt with yes.
    command.env.retain(|(name, _)| name != "CI");
    if !has_token {
        return command;
    }
    command
        .text("CLOUDFLARE_ACCOUNT_ID", target.account())
        .text("CLOUDFLARE_API_BASE_URL", &destination.api)
        .credential("CLOUDFLARE_API_TOKEN", destination.credential())
}

/// Refuses options that would select another environment or project than the one that was checked.
fn check_options(arguments: &[String]) -> Result<()> {
    let end = arguments.iter().position(|word| word == "--").unwrap_or(arguments.len());
    for word in &arguments[..end] {
        let name = word.split('=').next().unwrap_or(word);
        if let Some((_, own)) = OWN.iter().find(|(option, _)| *option == name) {
            return Err(usage(format!("`{name}` is set by this command")).hint(format!(
                "give `{own}` before `--`: `cargo xtask wrangler PROJECT --env ENVIRONMENT -- {}`",
                arguments[0]
            )));
        }
    }
    Ok(())
}

fn instead_of(arguments: &[String], instead: &str) -> Error {
    let words: Vec<&str> =
        arguments.iter().map(String::as_str).take_while(|word| !word.starts_with('-')).collect();
    let words = words.join(" ");
    refused(format!(
        "`wrangler {words}` would run code of the project with the token; nothing was run"
    ))
    .hint(format!("run `cargo xtask {instead}`"))
}

/// The file below `.xtask/logs` with the reasons of `--break-glass`.
pub(super) const BREAK_GLASS_LOG: &str = "break-glass.log";

/// Records the reason why a protected environment was changed from this machine.
fn record(
    root: &Utf8Path,
    target: &ProjectTarget,
    arguments: &[String],
    reason: &str,
) -> Result<()> {
    let folder = root.join(".xtask/logs");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {folder}"))?;
    let path = folder.join(BREAK_GLASS_LOG);
    let mut file = std::fs::File::options().create(true).append(true).open(&path)?;
    let (name, environment) = (&target.project.name, &target.destination.environment);
    // Later words may be values.
    let words: Vec<&str> = arguments.iter().take(2).map(String::as_str).collect();
    let (time, words) = (rfc3339(unix_now()), words.join(" "));
    writeln!(file, "{time} {name} {environment} wrangler {words}: {reason}")
        .with_context(|| format!("cannot write {path}"))
}
