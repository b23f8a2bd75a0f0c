//! Defines the command line, which xtask calls.

use camino::Utf8PathBuf;
use clap::{Args, Parser, Subcommand};

/// A local stand-in for Cloudflare and GitLab.
#[derive(Debug, Parser)]
#[command(name = "sandbox", version)]
pub struct SandboxCli {
    /// The command.
    #[command(subcommand)]
    pub command: ServerCommand,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum ServerCommand {
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
    /// An account that exists, 32 hexadecimal digits; may be given more than once
    #[arg(long = "account-id", required = true, value_parser = account)]
    pub accounts: Vec<String>,
    /// A zone of the accounts; may be given more than once. Without it every name is a zone
    #[arg(long = "zone", env = "SANDBOX_ZONES", value_delimiter = ',')]
    pub zones: Vec<String>,
    /// The relative root of GitLab, as `/gitlab`, beside `/api/v4`
    #[arg(long, env = "SANDBOX_GITLAB_ROOT", default_value = "")]
    pub gitlab_root: String,
    /// The id of GitLab's only project; with 0 a project is made by its first merge request,
    /// deployment or environment
    #[arg(long, env = "SANDBOX_GITLAB_PROJECT", default_value_t = 0)]
    pub gitlab_project: u64,
    /// The git repository of GitLab's projects, from which their commits, branches and files are read
    #[arg(long, env = "SANDBOX_GITLAB_REPOSITORY")]
    pub gitlab_repository: Option<Utf8PathBuf>,
    /// The number of seconds by which the clock of cron triggers is ahead, for tests that cannot wait for a minute to begin
    #[arg(long, hide = true, default_value_t = 0)]
    pub cron_clock_ahead: u64,
}

fn account(text: &str) -> Result<String, &'static str> {
    let hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if hex { Ok(text.to_ascii_lowercase()) } else { Err("not 32 hexadecimal digits") }
}

#[cfg(test)]
mod tests {
    use super::account;

    #[test]
    fn accounts_are_hexadecimal() {
        assert!(account("0123456789abcdef0123456789ABCDEF").is_ok());
        assert!(account("0123456789abcdef").is_err());
        assert!(account("../../../../../../etc/passwd-...").is_err());
    }
}
