//! The variables that you set in GitLab, as one table.

use std::fmt::Write as _;

use serde::Serialize;

use super::kind::Kind;
use super::steps::PipelineStep;
use workspace::config::Config;
use workspace::pipeline::DeployJobs;

/// One variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// The environments whose jobs see it, as GitLab's *environment scope*.
    pub scope: String,
    /// `true` if only pipelines of protected branches see it.
    pub protected: bool,
    /// `true` if GitLab hides it in job logs.
    pub masked: bool,
    /// `true` if jobs fail without it.
    pub required: bool,
    /// The jobs that use it.
    pub used_by: String,
    /// Its value, with the minimal permissions.
    pub holds: String,
    /// The pipelines whose jobs need it.
    pub pipelines: &'static [Kind],
}

impl Variable {
    /// Returns `true` if jobs of `environment` see a variable of this row's scope.
    #[must_use]
    pub fn reaches(&self, environment: &str) -> bool {
        covers(&self.scope, environment)
    }
}

/// Returns `true` if a variable of `scope` reaches `environment`. An environment with a `*` is every
/// environment that it matches. `*` matches any text
/// (<https://docs.gitlab.com/ci/environments/#limit-the-environment-scope-of-a-cicd-variable>).
#[must_use]
pub fn covers(scope: &str, environment: &str) -> bool {
    let Some((first, rest)) = scope.split_once('*') else {
        return scope == environment;
    };
    let Some(mut left) = environment.strip_prefix(first) else { return false };
    let mut parts = rest.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return left.ends_with(part);
        }
        let Some(at) = left.find(part) else { return false };
        left = &left[at + part.len()..];
    }
    true
}

/// The variables that the pipeline of `config` uses.
#[must_use]
pub fn table(config: &Config) -> Vec<Variable> {
    let token = "Cloudflare API token: *Workers Scripts: Edit* on the account";
    let row = |name: &str, scope: &str, used_by: &str, holds: String| Variable {
        pipelines: &[Kind::MergeRequest],
        name: name.to_owned(),
        scope: scope.to_owned(),
        protected: false,
        masked: true,
        required: true,
        used_by: used_by.to_owned(),
        holds,
    };
    let previews = "`preview`, `preview-stop`, `preview-sweep`";
    let pipelines = &[Kind::MergeRequest, Kind::Schedule];
    let mut rows = Vec::new();
    let steps = PipelineStep::all(config);
    for step in &steps {
        let name = step.environment.as_str();
        let protected = config.environments.get(name).is_some_and(|e| e.protected);
        let (project, scope) = match config.pipeline.deploy {
            DeployJobs::JobPerProject => (" …", format!("{name}/*")),
            DeployJobs::OneJob => ("", name.to_owned()),
        };
        let to = if steps.len() == 1 { String::new() } else { format!(" to {name}") };
        let holds = format!("{token}, and *Workers Routes: Edit* on the zone of each route");
        let variable = config.cloudflare(name).token_variable;
        let pipelines = &[Kind::DefaultBranch, Kind::Schedule];
        let deploys = format!("`deploy{project}{to}`");
        rows.push(Variable { protected, pipelines, ..row(&variable, &scope, &deploys, holds) });
    }
    if let Ok(environment) = config.preview_environment() {
        let variable = config.cloudflare(&environment).token_variable;
        let preview = row(&variable, "review/*", previews, token.to_owned());
        rows.push(Variable { pipelines, ..preview });
        let holds = "Project access token, scope `api`, the lowest role that may comment (*Reporter*), \
                     a short life: writes the comment";
        let comment = row(&config.gitlab.token_variable, "review/*", previews, holds.to_owned());
        rows.push(Variable { required: false, pipelines, ..comment });
    }
    rows
}

/// Returns the table as Markdown.
#[must_use]
pub fn markdown(rows: &[Variable]) -> String {
    let mut text = String::from(
        "| variable | scope | protected | masked | needed | used by | what it holds |\n\
         |---|---|---|---|---|---|---|\n",
    );
    let yes = |value: bool| if value { "yes" } else { "no" };
    for row in rows {
        let _infallible = writeln!(
            text,
            "| `{}` | `{}` | {} | {} | {} | {} | {} |",
            row.name,
            row.scope,
            yes(row.protected),
            yes(row.masked),
            if row.required { "yes" } else { "for comments" },
            row.used_by,
            row.holds
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::covers;

    #[test]
    fn scopes_are_patterns() {
        for (scope, environment) in [
            ("*", "production/site"),
            ("*", "review/*"),
            ("review/*", "review/42"),
            ("review/*", "review/*"),
            ("*/site", "production/site"),
            ("a*b*c", "a-b-b-c"),
            ("production", "production"),
        ] {
            assert!(covers(scope, environment), "{scope} {environment}");
        }
        for (scope, environment) in [
            ("review/*", "production/site"),
            ("review/*", "*"),
            ("review/42", "review/*"),
            ("production", "production/site"),
            ("a*b*c", "a-c"),
        ] {
            assert!(!covers(scope, environment), "{scope} {environment}");
        }
    }
}
