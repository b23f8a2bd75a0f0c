//! A local stand-in for the part of Cloudflare's API that wrangler calls, in front of the real
//! workerd, and for the part of GitLab's API that comments on merge requests need.
//!
//! It stands in for two services, never for the runtime, the CLI or the build. What it knows about
//! the APIs was observed with wrangler 4.164, and read in Cloudflare's reference and in GitLab's
//! reference and source.

pub mod app;
pub mod body;
pub mod cli;
pub mod cloudflare;
pub mod connection;
pub mod faults;
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
use cli::{Cli, Command};

/// Runs the command.
pub fn run(cli: Cli) -> Result<()> {
    let Command::Serve(options) = cli.command;
    tokio::runtime::Runtime::new()?.block_on(server::serve(options))
}
