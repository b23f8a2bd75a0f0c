//! `sandbox`: the stand-in for Cloudflare on this machine.

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use serde::Serialize;

use crate::context::Ctx;
use crate::engine::setup::Setup;
use crate::tools::sandbox::{self as process, Server};
use base::error::{Exit, refused};
use base::terminal::{CYAN, paint};
use workspace::config::Config;

/// The stand-in for Cloudflare on this machine.
#[derive(Debug, Args)]
pub struct Sandbox {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Start it, unless it runs
    Up {
        /// The loopback port [default: 8787, or a free one when that is taken]
        #[arg(long)]
        port: Option<u16>,
    },
    /// Stop it; what is deployed stays
    Down,
    /// Say whether it runs, and where
    Status,
    /// Print the end of its log
    Logs {
        /// How many lines
        #[arg(long, short = 'n', default_value_t = 50)]
        lines: usize,
    },
    /// Stop it and forget everything deployed there
    Reset,
}

#[derive(Serialize)]
struct Report {
    schema: u32,
    running: bool,
    #[serde(flatten)]
    server: Option<Server>,
}

impl Sandbox {
    /// Runs the command.
    pub fn run(self, ctx: &Ctx) -> Result<Exit> {
        let running = process::running(&ctx.root);
        match self.verb {
            Verb::Up { port } => up(ctx, running, port),
            Verb::Down => {
                if let Some(server) = &running {
                    process::stop(&ctx.root, server)?;
                }
                Ok(report(
                    ctx,
                    None,
                    if running.is_some() { "stopped" } else { "it was not running" },
                ))
            }
            Verb::Status => {
                let exit = if running.is_some() { Exit::Done } else { Exit::Failed };
                report(ctx, running, "not running; `cargo xtask sandbox up` starts it");
                Ok(exit)
            }
            Verb::Logs { lines } => {
                ctx.ui.out(&process::last_lines(&process::log_file(&ctx.root), lines).join("\n"));
                Ok(Exit::Done)
            }
            Verb::Reset => reset(ctx, running.as_ref()),
        }
    }
}

fn up(ctx: &Ctx, running: Option<Server>, port: Option<u16>) -> Result<Exit> {
    if let Some(server) = running {
        if let Some(port) = port.filter(|port| *port != server.port) {
            return Err(refused(format!(
                "it runs already, on port {} and not {port}",
                server.port
            ))
            .hint("`cargo xtask sandbox down` first")
            .into());
        }
        return Ok(report(ctx, Some(server), ""));
    }
    let config = Config::load(&ctx.root)?;
    let setup = Setup::new(ctx, &config)?;
    let (places, _) = setup.tools()?;
    let (server, _) = setup.sandbox(&places, &config.account_ids(), port)?;
    setup.done("the sandbox answers");
    Ok(report(ctx, Some(server), ""))
}

fn reset(ctx: &Ctx, running: Option<&Server>) -> Result<Exit> {
    if let Some(server) = running {
        process::stop(&ctx.root, server)?;
    }
    let state = process::state(&ctx.root);
    if state.exists() {
        std::fs::remove_dir_all(&state).with_context(|| format!("cannot remove {state}"))?;
    }
    Ok(report(ctx, None, "nothing is deployed any more; it is not running"))
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
    ctx.ui.report(&Report { schema: 1, running: server.is_some(), server }, &text);
    Exit::Done
}
