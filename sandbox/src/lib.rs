//! A local stand-in for the part of Cloudflare's API that wrangler calls, in front of the real
//! workerd, and for the part of GitLab's API that comments on merge requests need.
//!
//! It replaces two services, never the runtime, the CLI or the build. Its behavior was observed with
//! wrangler 4.164 and follows Cloudflare's reference and GitLab's reference and source.

pub mod app;
pub mod body;
pub mod cli;
pub mod cloudflare;
pub mod connection;
pub mod faults;
#[cfg(test)]
mod fuzz;
pub mod gate;
pub mod gitlab;
pub mod ids;
pub mod listener;
pub mod log;
pub mod page;
pub mod proof;
pub mod requests;
pub mod serve;
pub mod server;
pub mod state;
pub mod stream;
pub mod token;

use anyhow::Result;
use cli::{SandboxCli, ServerCommand};

/// Runs the command.
pub fn run(cli: SandboxCli) -> Result<()> {
    let ServerCommand::Serve(options) = cli.command;
    tokio::runtime::Runtime::new()?.block_on(server::serve(options))
}
