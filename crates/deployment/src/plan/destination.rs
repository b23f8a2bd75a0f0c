//! The destination of a run: the account, its API, and the source of the token.

use serde::Serialize;

use super::alias;
use super::protection::objection;
use base::command::{Credential, xtask_line};
use base::error::{Result, refused};
use base::secret::Secret;
use cloudflare::api::{Api, PUBLIC_API};
use gitlab::ci::CiVariables;
use workspace::config::{CONFIG_FILE, Config, LOCAL};
use workspace::wrangler::Target;

/// A resolved environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Destination {
    /// The environment's name.
    pub environment: String,
    /// The Cloudflare account.
    pub account_id: String,
    /// The field of the shared config, if it has the placeholder of the account id.
    #[serde(skip)]
    pub placeholder_field: Option<String>,
    /// The base URL of the API.
    pub api: String,
    /// The sandbox's port. `None` for Cloudflare.
    pub sandbox: Option<u16>,
    /// The variable that holds the token.
    pub token_variable: String,
    /// The reason why a protected environment may be changed from here.
    pub break_glass: Option<String>,
}

impl Destination {
    /// Resolves `environment`. With `sandbox` (a port) the destination is the sandbox, where nothing
    /// is protected because nothing is public. `local` is always the sandbox.
    pub fn resolve(
        config: &Config,
        environment: &str,
        sandbox: Option<u16>,
        ci: &CiVariables,
        break_glass: Option<&str>,
    ) -> Result<Destination> {
        config.require_environment(environment)?;
        let protected = config.environments.get(environment).is_some_and(|e| e.protected);
        if protected
            && sandbox.is_none()
            && break_glass.is_none()
            && let Some(objection) = objection(ci, &config.gitlab)
        {
            return Err(refused(format!(
                    "`{environment}` is protected: only a pipeline of the protected default branch changes it, and {objection}"
                ))
                .hint("merge, and let the pipeline deploy")
                .hint("pass `--dry-run` to see the plan, or `--sandbox` to deploy locally")
                .hint("pass `--break-glass \"reason\"` in an emergency; the reason is recorded"));
        }
        let destination = Destination::to_read(config, environment, sandbox)?;
        let break_glass = break_glass.filter(|_| protected).map(str::to_owned);
        Ok(Destination { break_glass, ..destination })
    }

    /// Resolves `environment` for a read, a preview or a dry run, which do not change the live
    /// version. Protection does not apply.
    pub fn to_read(
        config: &Config,
        environment: &str,
        sandbox: Option<u16>,
    ) -> Result<Destination> {
        config.require_environment(environment)?;
        let cloudflare = config.cloudflare(environment);
        let placeholder_field =
            cloudflare.is_placeholder().then(|| config.account_field(environment));
        Ok(Destination {
            environment: environment.to_owned(),
            placeholder_field,
            account_id: cloudflare.account_id,
            api: sandbox.map_or_else(|| PUBLIC_API.to_owned(), sandbox_api),
            sandbox,
            token_variable: cloudflare.token_variable,
            break_glass: None,
        })
    }

    /// Returns true if this environment is always the sandbox.
    #[must_use]
    pub fn always_sandbox(environment: &str) -> bool {
        environment == LOCAL
    }

    /// Returns the options that select a destination, each after a space. Empty for `local`, the default.
    #[must_use]
    pub fn options(environment: &str, is_sandbox: bool) -> String {
        if Destination::always_sandbox(environment) {
            return String::new();
        }
        format!(" --env {environment}{}", if is_sandbox { " --sandbox" } else { "" })
    }

    /// Returns the line that runs `command` for `project` at this destination.
    #[must_use]
    pub fn command_line(&self, command: &str, project: &str) -> String {
        let words: Vec<&str> = command.split(' ').chain([project]).collect();
        xtask_line(&words) + &Destination::options(&self.environment, self.sandbox.is_some())
    }

    /// Sets the port of the sandbox, if it started on another one than planned.
    pub fn move_sandbox(&mut self, port: u16) {
        self.sandbox = Some(port);
        self.api = sandbox_api(port);
    }

    /// Refuses requests to Cloudflare if the shared config has no account id.
    pub fn check_account(&self) -> Result<()> {
        match &self.placeholder_field {
            Some(field) if self.sandbox.is_none() => {
                Err(refused(placeholder_message(field)).hint(PLACEHOLDER_HINT))
            }
            _ => Ok(()),
        }
    }

    /// Returns a client of the API with this token.
    #[must_use]
    pub fn client<'a>(&'a self, token: &'a Secret) -> Api<'a> {
        Api::new(&self.api, &self.account_id, token)
    }

    /// Returns the source of the token.
    #[must_use]
    pub fn credential(&self) -> Credential {
        match self.sandbox {
            Some(_) => Credential::SandboxToken,
            None => Credential::Variable(self.token_variable.clone()),
        }
    }

    /// Returns the preview URL of an alias, or of the first 8 digits of a version. `suffix` is that of the
    /// Worker's preview host names at Cloudflare. `None` if the host name would be too long.
    #[must_use]
    pub fn preview_url(&self, prefix: &str, worker: &str, suffix: &str) -> Option<String> {
        let in_sandbox = self.sandbox_url(&format!("{prefix}-{worker}"));
        let url = in_sandbox.unwrap_or_else(|| format!("https://{prefix}{suffix}/"));
        alias::has_valid_host(&url).then_some(url)
    }

    /// Returns the URLs of the live version, custom domains first. `address` reads the workers.dev URL from
    /// Cloudflare.
    pub fn live_urls<E>(
        &self,
        target: &Target,
        address: impl FnOnce() -> Result<Option<String>, E>,
    ) -> Result<Vec<String>, E> {
        if let Some(url) = self.sandbox_url(&target.worker) {
            return Ok(vec![url]);
        }
        let domains = target.domains.iter().map(|domain| format!("https://{domain}/"));
        Ok(domains.chain(address()?).collect())
    }

    /// Returns the URL in the sandbox for the first part of a host: a Worker's name, optionally after
    /// an alias or the first 8 digits of a version. `None` for Cloudflare.
    #[must_use]
    pub fn sandbox_url(&self, label: &str) -> Option<String> {
        self.sandbox.map(|port| format!("http://{label}.localhost:{port}/"))
    }
}

/// Returns the message for a placeholder in place of the account id.
#[must_use]
pub fn placeholder_message(field: &str) -> String {
    format!("`{field}` in {CONFIG_FILE} is the placeholder that the repository comes with")
}

/// Returns the next step for a placeholder in place of the account id.
pub const PLACEHOLDER_HINT: &str = "write your account id there; it is in the address of the Cloudflare dashboard, \
     dash.cloudflare.com/<accountId>";

fn sandbox_api(port: u16) -> String {
    format!("http://127.0.0.1:{port}/client/v4")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_select_the_same_destination() {
        assert_eq!(Destination::options("local", true), "");
        assert_eq!(Destination::options("staging", false), " --env staging");
        assert_eq!(Destination::options("staging", true), " --env staging --sandbox");
    }
}
