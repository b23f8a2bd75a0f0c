//! `sandbox`: the local stand-in for Cloudflare and GitLab.

use clap::{Args, Subcommand};
use serde::Serialize;

use super::merge_request::MergeRequestCommand;
use base::error::{ErrorContext as _, Exit, Result, refused};
use base::terminal::{CYAN, paint};
use deployment::context::Ctx;
use deployment::engine::setup::Setup;
use deployment::plan::block;
use deployment::tools::sandbox::{self as process, Server};
use workspace::Workspace;
use workspace::config::{Config, LOCAL};

/// Start and stop the local stand-in for Cloudflare and GitLab.
#[derive(Debug, Args)]
pub struct SandboxCommand {
    #[command(subcommand)]
    action: SandboxAction,
}

#[derive(Debug, Subcommand)]
enum SandboxAction {
    /// Start the sandbox if it is not running
    #[command(alias = "start")]
    Up {
        /// Loopback port [default: 8787, or a free port if that is taken]
        #[arg(long)]
        port: Option<u16>,
    },
    /// Stop the sandbox and keep its deployments
    #[command(alias = "stop")]
    Down,
    /// Show the sandbox's URL and process, or exit with 1 if it is not running
    Status,
    /// Print what the sandbox's Workers wrote: their console, and exceptions that they did not catch
    Logs {
        /// Number of lines
        #[arg(long, short = 'n', default_value_t = 50)]
        lines: usize,
        /// Print its own log instead: requests to the APIs and what the runtime does
        #[arg(long)]
        requests: bool,
    },
    /// Run the cron triggers of a deployed project now
    Cron {
        /// Project, by a unique suffix of its path, its Worker name or its package name
        project: String,
        /// Environment whose Worker runs, if it was deployed with `--sandbox`
        #[arg(long, value_name = "ENVIRONMENT", default_value = LOCAL)]
        env: String,
        /// Run this trigger only, for example `0 3 * * 1` [default: all]
        #[arg(long)]
        cron: Option<String>,
    },
    /// Open a merge request in the sandbox's GitLab, to try previews and the comment
    MergeRequest(MergeRequestCommand),
    /// Stop the sandbox and delete all of its deployments
    Reset {
        /// Do not ask for confirmation
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Serialize)]
struct SandboxReport {
    schema: u32,
    running: bool,
    #[serde(flatten)]
    server: Option<Server>,
}

impl SandboxCommand {
    /// Runs the command.
    pub fn run(self, ctx: &Ctx) -> Result<Exit> {
        let running = process::running(&ctx.root);
        match self.action {
            SandboxAction::Up { port } => up(ctx, running, port),
            SandboxAction::Down => {
                let running = running.or_else(|| process::holder(&ctx.root));
                if let Some(server) = &running {
                    process::stop(&ctx.root, server)?;
                }
                Ok(report(
                    ctx,
                    None,
                    if running.is_some() {
                        "sandbox stopped"
                    } else {
                        "the sandbox is not running"
                    },
                ))
            }
            SandboxAction::Status => {
                let exit = if running.is_some() { Exit::Done } else { Exit::Failed };
                report(
                    ctx,
                    running,
                    "the sandbox is not running; start it with `cargo xtask sandbox up`",
                );
                Ok(exit)
            }
            SandboxAction::Logs { lines, requests } => {
                let sandbox_log = process::log_file(&ctx.root);
                let file = if requests { sandbox_log } else { process::output_file(&ctx.root) };
                ctx.ui.out(&process::last_lines(&file, lines).join("\n"));
                Ok(Exit::Done)
            }
            SandboxAction::Cron { project, env, cron } => {
                run_cron(ctx, &project, &env, cron.as_deref())
            }
            SandboxAction::MergeRequest(command) => command.run(ctx),
            SandboxAction::Reset { yes } => reset(ctx, running.as_ref(), yes),
        }
    }
}

fn up(ctx: &Ctx, running: Option<Server>, port: Option<u16>) -> Result<Exit> {
    if let Some(server) = running {
        if let Some(port) = port.filter(|port| *port != server.port) {
            return Err(refused(format!(
                "the sandbox is already running on port {}, not on {port}",
                server.port
            ))
            .hint("run `cargo xtask sandbox down`, then retry"));
        }
        return Ok(report(ctx, Some(server), ""));
    }
    let config = Config::load(&ctx.root)?;
    let mut setup = Setup::new(ctx, &config)?;
    let paths = setup.tools()?;
    let server = setup.sandbox(&paths, &config.account_ids(), port)?;
    setup.finish("sandbox ready");
    Ok(report(ctx, Some(server), ""))
}

fn run_cron(ctx: &Ctx, project: &str, environment: &str, cron: Option<&str>) -> Result<Exit> {
    let workspace = Workspace::load(&ctx.root)?;
    workspace.config.require_environment(environment)?;
    let project = workspace.project(project)?;
    block::check(&workspace, project, environment)?;
    let worker = project.target(environment).worker;
    let runs = process::run_cron(&ctx.root, &worker, cron)?;
    let line = |run: &process::CronRun| format!("{worker}  {}  {}", run.cron, run.outcome);
    let text: Vec<String> = runs.iter().map(line).collect();
    let is_good = runs.iter().all(|run| run.outcome == "ok");
    let report = serde_json::json!({ "schema": 1, "worker": worker, "runs": runs });
    ctx.ui.report(&report, &text.join("\n"));
    if !is_good {
        ctx.ui.note("see `cargo xtask sandbox logs` for the exceptions");
    }
    Ok(if is_good { Exit::Done } else { Exit::Failed })
}

fn reset(ctx: &Ctx, running: Option<&Server>, is_confirmed: bool) -> Result<Exit> {
    let question = "Delete all deployments, tokens and merge requests of the sandbox?";
    if !is_confirmed && ctx.ui.confirm(question) == Some(false) {
        return Ok(report(ctx, running.cloned(), "nothing was deleted"));
    }
    if let Some(server) = running.cloned().or_else(|| process::holder(&ctx.root)) {
        process::stop(&ctx.root, &server)?;
    }
    let state = process::state(&ctx.root);
    if state.exists() {
        std::fs::remove_dir_all(&state).with_context(|| format!("cannot remove {state}"))?;
    }
    Ok(report(ctx, None, "sandbox reset: deployments deleted, not running"))
}

fn report(ctx: &Ctx, server: Option<Server>, otherwise: &str) -> Exit {
    let text = server.as_ref().map_or_else(
        || otherwise.to_owned(),
        |server| {
            format!(
                "sandbox  {}  (process {}, since {})",
                paint(CYAN, &server.url),
                server.pid,
                server.started
            )
        },
    );
    ctx.ui.report(&SandboxReport { schema: 1, running: server.is_some(), server }, &text);
    Exit::Done
}
