//! Checks whether tokens are set, and names their sources. It never prints a token.

use crate::doctor::context::Context;
use crate::doctor::finding::Finding;
use crate::plan::destination::{Destination, PipelineFacts};
use base::env::{raw_variable, variable};
use base::secret::is_token;
use workspace::config::CONFIG_FILE;

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
    let empty = format!(
        "the variable {name} is set but empty\n\
         in a pipeline, a protected variable is empty outside of protected branches"
    );
    let finding = match (variable(&name), base::env::os_variable(&name)) {
        (Some(value), _) if !is_token(&value) => Finding::fail(format!(
            "the variable {name} contains characters that are not allowed in a token"
        ))
        .manual_fix(help),
        (Some(_), _) => present(config, environment),
        (None, Some(_)) if is_requested => Finding::fail(empty).manual_fix(help),
        (None, Some(_)) => Finding::warn(empty).manual_fix(help),
        (None, None) if is_requested => {
            Finding::fail(format!("the variable {name} is not set")).manual_fix(help)
        }
        (None, None) => Finding::skip(format!(
            "the variable {name} is not set; only `--env {environment}` needs it"
        ))
        .with_value("not set"),
    };
    finding.source(name)
}

/// A token is set. Another check decides whether it may be used here.
fn present(config: &workspace::config::Config, environment: &str) -> Finding {
    let pipeline = PipelineFacts::from_variables(raw_variable);
    match Destination::resolve(config, environment, None, &pipeline, None) {
        Ok(_) => Finding::ok().with_value("set"),
        Err(protected) => Finding::warn(&protected.message)
            .manual_fix(protected.hints.join("\n"))
            .with_value("set"),
    }
}
