//! The values that `setup` needs, from the environment or a prompt.

use base::env::variable;
use base::error::{Error, Result, refused};
use base::secret::{Secret, is_token, remember};
use deployment::context::Ctx;
use gitlab::ci::PROJECT_ID;
use gitlab::pipeline::variables::Variable;
use workspace::config::{Config, is_cloudflare_id, is_project_number};

/// Returns true if the environment has a token for a variable of the pipeline.
#[must_use]
pub fn is_given(row: &Variable) -> bool {
    variable(&variable_of(row)).is_some_and(|value| is_token(&value))
}

/// The variable with the account id, as in wrangler.
const ACCOUNT: &str = "CLOUDFLARE_ACCOUNT_ID";

/// The variable of a maintainer's token, as in GitLab's own tools.
pub const GITLAB_TOKEN: &str = "GITLAB_TOKEN";

/// A token for a variable of the pipeline.
pub struct PipelineToken<'a> {
    /// The variable.
    pub row: &'a Variable,
    /// The token.
    pub value: Secret,
}

/// The values so far.
pub struct SetupInputs<'a> {
    ctx: &'a Ctx,
    /// The missing values, each with its variable.
    pub missing: Vec<String>,
}

impl<'a> SetupInputs<'a> {
    /// Starts without values.
    #[must_use]
    pub fn new(ctx: &'a Ctx) -> SetupInputs<'a> {
        SetupInputs { ctx, missing: Vec::new() }
    }

    /// Returns the account id. `None` if the config has it. Errors if it is not a valid account id.
    pub fn account(&mut self, config: &Config) -> Result<Option<String>> {
        if !config.cloudflare.is_placeholder() {
            return Ok(None);
        }
        let question = "Cloudflare account id (in the address dash.cloudflare.com/<accountId>)";
        let found = self.plain(variable(ACCOUNT), ACCOUNT, question, "the account id");
        match found.map(|id| id.to_lowercase()) {
            Some(id) if !is_cloudflare_id(&id) => {
                Err(refused(format!("`{id}` is not an account id; nothing was changed"))
                    .hint("copy the 32 hexadecimal digits after `dash.cloudflare.com/`"))
            }
            found => Ok(found),
        }
    }

    /// Returns the number of the GitLab project. `None` if the config has it.
    pub fn project(&mut self, config: &Config) -> Result<Option<String>> {
        if config.gitlab.number().is_some() {
            return Ok(None);
        }
        let question = "Number of the GitLab project (Settings → General)";
        let number = self.ctx.ci.project_id.clone();
        match self.plain(number, PROJECT_ID, question, "the number of the GitLab project") {
            Some(number) if !is_project_number(&number) => {
                Err(refused(format!("`{number}` is not a project number; nothing was changed"))
                    .hint("copy the number below the project's name in *Settings → General*"))
            }
            found => Ok(found),
        }
    }

    /// Returns a token that may change the project's settings.
    pub fn gitlab_token(&mut self) -> Option<Secret> {
        self.secret_value(
            GITLAB_TOKEN,
            "GitLab token of a maintainer with the scope api (Enter: no change in GitLab)",
            "a GitLab token of a maintainer with the scope `api`",
        )
    }

    /// Returns the token for a variable of the pipeline. GitLab keeps the one that it has if no other is given.
    pub fn token(&mut self, row: &Variable, is_stored: bool) -> Option<Secret> {
        let name = variable_of(row);
        let holds = row.holds.replace('*', "");
        let question = format!(
            "{} for {} ({holds}; Enter: {})",
            row.name,
            row.scope,
            if is_stored { "keep" } else { "later" }
        );
        let what = format!("the token for `{}`: {holds}", row.scope);
        if (!row.required || is_stored) && variable(&name).is_none() && !self.ctx.ui.can_ask() {
            return None;
        }
        self.secret_value(&name, &question, &what)
    }

    /// Returns `value`, which comes from the variable `name`, or the answer to `question`.
    fn plain(
        &mut self,
        value: Option<String>,
        name: &str,
        question: &str,
        what: &str,
    ) -> Option<String> {
        let found = value.or_else(|| self.ctx.ui.ask(question));
        let found = found.map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        self.note_missing(found, name, what)
    }

    fn secret_value(&mut self, name: &str, question: &str, what: &str) -> Option<Secret> {
        let from_variable = variable(name).filter(|value| is_token(value));
        let found = from_variable.map(|value| Secret::new(&value));
        let found = found.or_else(|| self.ctx.ui.ask_hidden(question));
        let found = found.filter(|value| is_token(value.expose()));
        found.iter().for_each(remember);
        self.note_missing(found, name, what)
    }

    fn note_missing<T>(&mut self, found: Option<T>, name: &str, what: &str) -> Option<T> {
        if found.is_none() {
            self.missing.push(format!("set {name} to {what}"));
        }
        found
    }

    /// Returns the error for a run without a terminal, which names each missing value.
    #[must_use]
    pub fn refusal(&self) -> Error {
        let failure = refused("stdin is not a terminal; nothing was changed");
        let failure = self.missing.iter().cloned().fold(failure, Error::hint);
        failure.hint("then run `cargo xtask setup --yes`, or run it in a terminal")
    }
}

/// Returns the variable that a token is read from. A variable in GitLab may have several scopes, so the scope is a
/// part of the name.
#[must_use]
pub fn variable_of(row: &Variable) -> String {
    let scope = row.scope.split('/').next().unwrap_or_default();
    let word = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    format!("{}_{}", row.name, scope.chars().map(word).collect::<String>())
}
