//! The command line. xtask is who calls it.

use camino::Utf8PathBuf;
use clap::{Args, Parser, Subcommand};

/// A local stand-in for Cloudflare.
#[derive(Debug, Parser)]
#[command(name = "sandbox", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve until SIGTERM or SIGINT
    Serve(Serve),
}

/// Serve until SIGTERM or SIGINT.
#[derive(Clone, Debug, Args)]
pub struct Serve {
    /// The folder of the state
    #[arg(long)]
    pub state: Utf8PathBuf,
    /// The loopback port [default: 8787, or a free one when that is taken]
    #[arg(long)]
    pub port: Option<u16>,
    /// The program that runs the runtime
    #[arg(long)]
    pub bun: Utf8PathBuf,
    /// The folder whose `node_modules` hold miniflare and workerd
    #[arg(long)]
    pub toolchain: Utf8PathBuf,
    /// The accounts that exist
    #[arg(long = "account-id", required = true)]
    pub accounts: Vec<String>,
}
