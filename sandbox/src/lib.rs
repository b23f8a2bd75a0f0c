//! A local stand-in for the part of Cloudflare's API that wrangler calls, in front of the real
//! workerd, and for the part of GitLab's API that comments on merge requests need.
//!
//! It replaces the two services, but not the runtime, the CLI or the build. Its behavior follows the references
//! of Cloudflare and GitLab, the source of GitLab, and observations with wrangler 4.164.

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
pub mod mutex;
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
