//! Checks whether tokens are set, and names their sources. It never prints a token.

use crate::doctor::context::Context;
use crate::doctor::finding::Finding;
use base::env::os_variable;
use base::secret::{TokenProblem, parse_token};
use deployment::plan::destination::Destination;
use gitlab::ci::CiVariables;
use workspace::config::{CONFIG_FILE, Config};

/// `credentials.<environment>`
pub fn token(context: &Context, environment: &str) -> Finding {
    let Ok(config) = context.config() else {
        return Finding::skip("see `config`");
    };
    if let Err(unknown) = config.require_environment(environment) {
        return Finding::from(&unknown);
    }
    let name = config.cloudflare(environment).token_variable;
    let is_requested = context.environment.as_deref() == Some(environment);
    let help = format!("put a Cloudflare API token into {name}; {CONFIG_FILE} names the variable");
    let finding = match parse_token(os_variable(&name).as_deref()) {
        Ok(_) => present(&context.ci, config, environment),
        Err(TokenProblem::Unset) if !is_requested => Finding::skip(format!(
            "{}; only `--env {environment}` needs it",
            TokenProblem::Unset.message(&name)
        ))
        .with_value("not set"),
        Err(problem) => {
            let mut message = problem.message(&name);
            if problem == TokenProblem::Empty {
                message +=
                    "\nin a pipeline, a protected variable is empty outside of protected branches";
            }
            let is_harmless = problem == TokenProblem::Empty && !is_requested;
            let finding = if is_harmless { Finding::warn(message) } else { Finding::fail(message) };
            finding.manual_fix(help)
        }
    };
    finding.source(name)
}

/// A token is set. Another check decides whether it may be used here.
fn present(ci: &CiVariables, config: &Config, environment: &str) -> Finding {
    match Destination::resolve(config, environment, None, ci, None) {
        Ok(_) => Finding::ok().with_value("set"),
        Err(protected) => Finding::warn(format!("{protected:#}"))
            .manual_fix(protected.hints.join("\n"))
            .with_value("set"),
    }
}
