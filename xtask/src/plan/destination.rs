//! Where a run goes: which account, through which API, with whose token.

use serde::Serialize;

use crate::error::{Failure, refused};
use crate::tools::cloudflare::PUBLIC_API;
use crate::tools::command::Value;
use crate::workspace::config::{Config, LOCAL};

/// A resolved environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Destination {
    /// The environment's name.
    pub environment: String,
    /// The Cloudflare account.
    pub account_id: String,
    /// The base address of the API.
    pub api: String,
    /// The sandbox's port, when it goes there instead of to Cloudflare.
    pub sandbox: Option<u16>,
    /// The variable that holds the token.
    pub token_variable: String,
    /// Why a protected environment may be changed from here.
    pub break_glass: Option<String>,
}

/// The facts about the pipeline that protection is decided by.
#[derive(Clone, Debug, Default)]
pub struct Pipeline {
    /// `GITLAB_CI` is `true`.
    pub gitlab: bool,
    /// `CI_COMMIT_REF_PROTECTED` is `true`.
    pub protected_ref: bool,
    /// `CI_COMMIT_BRANCH` is set and equals `CI_DEFAULT_BRANCH`.
    pub default_branch: bool,
}

impl Pipeline {
    /// Reads the variables that GitLab sets
    /// (<https://docs.gitlab.com/ci/variables/predefined_variables/>).
    #[must_use]
    pub fn from_variables(get: impl Fn(&str) -> Option<String>) -> Pipeline {
        let branch = get("CI_COMMIT_BRANCH").filter(|branch| !branch.is_empty());
        Pipeline {
            gitlab: get("GITLAB_CI").as_deref() == Some("true"),
            protected_ref: get("CI_COMMIT_REF_PROTECTED").as_deref() == Some("true"),
            default_branch: branch.is_some() && branch == get("CI_DEFAULT_BRANCH"),
        }
    }

    fn may_change_protected(&self) -> bool {
        self.gitlab && self.protected_ref && self.default_branch
    }
}

impl Destination {
    /// Resolves `environment`. With `sandbox` (a port) everything goes to the sandbox, where nothing
    /// is protected because nothing is public; `local` always does.
    pub fn resolve(
        config: &Config,
        environment: &str,
        sandbox: Option<u16>,
        pipeline: &Pipeline,
        break_glass: Option<&str>,
    ) -> Result<Destination, Failure> {
        config.known(environment)?;
        let cloudflare = config.cloudflare(environment);
        let protected = config.environments.get(environment).is_some_and(|e| e.protected);
        if protected
            && sandbox.is_none()
            && !pipeline.may_change_protected()
            && break_glass.is_none()
        {
            return Err(refused(format!(
                "`{environment}` is protected: only a pipeline of the protected default branch changes it"
            ))
            .hint("merge, and let the pipeline deploy")
            .hint("to see what it would do: `--dry-run`; to try it here: `--sandbox`")
            .hint("in an emergency: `--break-glass \"reason\"`; the reason is recorded"));
        }
        Ok(Destination {
            environment: environment.to_owned(),
            account_id: cloudflare.account_id,
            api: sandbox.map_or_else(|| PUBLIC_API.to_owned(), sandbox_api),
            sandbox,
            token_variable: cloudflare.token_variable,
            break_glass: break_glass.filter(|_| protected).map(str::to_owned),
        })
    }

    /// Whether this environment is the sandbox's whatever was asked.
    #[must_use]
    pub fn always_sandbox(environment: &str) -> bool {
        environment == LOCAL
    }

    /// The sandbox was started on another port than the plan assumed.
    pub fn move_sandbox(&mut self, port: u16) {
        self.sandbox = Some(port);
        self.api = sandbox_api(port);
    }

    /// Where the token comes from.
    #[must_use]
    pub fn token(&self) -> Value {
        match self.sandbox {
            Some(_) => Value::SandboxToken,
            None => Value::Variable(self.token_variable.clone()),
        }
    }

    /// The address of a host's first part in the sandbox: a Worker's name, or an alias or the first 8
    /// digits of a version before it. None elsewhere.
    #[must_use]
    pub fn sandbox_url(&self, label: &str) -> Option<String> {
        self.sandbox.map(|port| format!("http://{label}.localhost:{port}/"))
    }
}

fn sandbox_api(port: u16) -> String {
    format!("http://127.0.0.1:{port}/client/v4")
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = include_str!("../../../dagger/config/config.json");

    fn resolve(
        environment: &str,
        sandbox: Option<u16>,
        variables: &[(&str, &str)],
    ) -> Result<Destination, Failure> {
        let config = Config::parse(CONFIG).expect("valid");
        let get = |name: &str| {
            variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned())
        };
        Destination::resolve(&config, environment, sandbox, &Pipeline::from_variables(get), None)
    }

    #[test]
    fn protection_asks_for_the_default_branch_s_pipeline() {
        let whole = [
            ("GITLAB_CI", "true"),
            ("CI_COMMIT_REF_PROTECTED", "true"),
            ("CI_COMMIT_BRANCH", "main"),
            ("CI_DEFAULT_BRANCH", "main"),
        ];
        assert!(resolve("production", None, &whole).is_ok());
        assert!(resolve("staging", None, &[]).is_ok());
        assert!(resolve("production", Some(8787), &[]).is_ok());
        for missing in 0..whole.len() {
            let mut fewer = whole.to_vec();
            fewer.remove(missing);
            assert!(resolve("production", None, &fewer).is_err(), "without {}", whole[missing].0);
        }
        let mut empty = whole;
        (empty[2].1, empty[3].1) = ("", "");
        assert!(resolve("production", None, &empty).is_err(), "empty branch names");
    }
}
