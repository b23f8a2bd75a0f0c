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

/// The commands of the sandbox.
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
    /// The loopback port [default: 8787, or a free port if that is taken]
    #[arg(long)]
    pub port: Option<u16>,
    /// The Bun program, which runs the runtime
    #[arg(long)]
    pub bun: Utf8PathBuf,
    /// The folder whose `node_modules` has miniflare and workerd
    #[arg(long)]
    pub toolchain: Utf8PathBuf,
    /// The id of an account, 32 hexadecimal digits; can be repeated
    #[arg(long = "account-id", required = true, value_parser = account)]
    pub accounts: Vec<String>,
    /// A zone of the accounts; can be repeated. Without it every name is a zone
    #[arg(long = "zone", env = "SANDBOX_ZONES", value_delimiter = ',')]
    pub zones: Vec<String>,
    /// The relative root of GitLab, such as `/gitlab`. The API is then also below it
    #[arg(long, env = "SANDBOX_GITLAB_ROOT", default_value = "")]
    pub gitlab_root: String,
    /// The id of GitLab's only project. With 0, the first merge request, deployment or environment
    /// creates its project
    #[arg(long, env = "SANDBOX_GITLAB_PROJECT", default_value_t = 0)]
    pub gitlab_project: u64,
    /// The git repository of GitLab's projects, which has their commits, branches and files
    #[arg(long, env = "SANDBOX_GITLAB_REPOSITORY")]
    pub gitlab_repository: Option<Utf8PathBuf>,
    /// The number of seconds to add to the clock of cron triggers, for tests that cannot wait for the next minute
    #[arg(long, hide = true, default_value_t = 0)]
    pub cron_clock_ahead: u64,
}

/// Parses the id of an account. Converts it to lower case.
fn account(text: &str) -> Result<String, &'static str> {
    let is_id = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_id { Ok(text.to_ascii_lowercase()) } else { Err("not 32 hexadecimal digits") }
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
