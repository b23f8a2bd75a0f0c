//! The table of all checks.

use std::sync::Arc;

use super::check::{Check, CheckGroup, Cost, Need};
use super::checks::{
    config, credentials, dagger, network, pipeline, projects, repository, sandbox,
    stored_variables, tools, variables,
};
use super::context::Context;
use super::finding::Finding;
use gitlab::pipeline::variables::table as variables_of;
use workspace::config::LOCAL;

const XTASK: &[Need] = &[Need::Xtask];
const EVERY: &[Need] = &[Need::Build, Need::Local, Need::Remote];
const DEPLOY: &[Need] = &[Need::Local, Need::Remote];
const REMOTE: &[Need] = &[Need::Remote];
const LOCAL_ONLY: &[Need] = &[Need::Local];
const DAGGER: &[Need] = &[Need::Dagger];
const PREVIEW: &[Need] = &[Need::Preview];
const PIPELINE: &[Need] = &[Need::Pipeline];

type CheckRow =
    (&'static str, &'static str, CheckGroup, Cost, &'static [Need], fn(&Context) -> Finding);

/// The checks that exist with every config.
#[rustfmt::skip]
fn table() -> [CheckRow; 30] {
    use Cost::{Local, Network, Read};
    use CheckGroup::{Config, Dagger, Network as Remote, Pipeline, Projects, Repository, Sandbox, Tools};
    [
        ("git", "git", Tools, Local, EVERY, tools::git),
        ("cargo", "Rust", Tools, Local, XTASK, tools::cargo),
        ("cc", "C compiler", Tools, Read, XTASK, tools::cc),
        ("npm", "npm", Tools, Read, EVERY, tools::npm),
        ("bun", "Bun", Tools, Local, EVERY, tools::bun),
        ("wrangler", "wrangler", Tools, Local, DEPLOY, tools::wrangler),
        ("git.repository", "git repository", Repository, Local, EVERY, repository::repository),
        ("disk", "disk", Repository, Local, EVERY, repository::disk),
        ("config", "shared config", Config, Read, EVERY, config::config),
        ("config.account", "account id", Config, Read, REMOTE, config::account),
        ("config.images", "images", Config, Read, DAGGER, config::images),
        ("config.pins", "tool pins", Config, Read, EVERY, config::pins),
        ("projects", "projects", Projects, Local, EVERY, projects::projects),
        ("projects.lock", "lock files", Projects, Read, EVERY, projects::lock),
        ("projects.config", "wrangler configs", Projects, Read, DEPLOY, projects::check_configs),
        ("projects.wrangler", "wrangler fields", Projects, Read, DEPLOY, projects::fields),
        ("projects.preview", "preview URLs", Projects, Read, PREVIEW, projects::preview),
        ("projects.secrets", "required secrets", Projects, Network, DEPLOY, projects::required_secrets),
        ("sandbox.program", "program", Sandbox, Read, LOCAL_ONLY, sandbox::program),
        ("sandbox", "process", Sandbox, Local, LOCAL_ONLY, sandbox::process),
        ("sandbox.token", "token", Sandbox, Read, LOCAL_ONLY, sandbox::token),
        ("port", "port 8787", Sandbox, Local, LOCAL_ONLY, sandbox::port),
        ("dagger", "CLI", Dagger, Local, DAGGER, dagger::cli),
        ("dagger.engine", "engine", Dagger, Network, DAGGER, dagger::engine),
        ("dagger.runtime", "container runtime", Dagger, Local, DAGGER, dagger::runtime),
        ("dagger.modules", "modules", Dagger, Read, DAGGER, dagger::modules),
        ("dagger.env", ".env files", Dagger, Read, DAGGER, dagger::env_files),
        ("dagger.images", "images to pull", Dagger, Read, DAGGER, dagger::images),
        ("pipeline", "GitLab", Pipeline, Read, REMOTE, pipeline::variables),
        ("network.variables", "variables in GitLab", Remote, Network, PIPELINE, stored_variables::check_variables),
    ]
}

/// Returns every check of `context`, in the order of the report. Checks the credentials of the
/// requested environment, or of all environments in the config.
#[must_use]
pub fn all(context: &Context) -> Vec<Check> {
    let mut checks: Vec<Check> = table()
        .into_iter()
        .map(|(id, title, group, cost, needed_by, run)| Check {
            id: id.to_owned(),
            title: title.to_owned(),
            group,
            needed_by,
            cost,
            run: Arc::new(run),
        })
        .collect();
    let all: Vec<String> = match context.config() {
        Ok(config) => config.environments.keys().cloned().collect(),
        Err(_) => Vec::new(),
    };
    let chosen = context.environment.clone().map_or(all, |name| vec![name]);
    for name in chosen.into_iter().filter(|name| name != LOCAL) {
        let title = format!("token of {name}");
        let (ours, theirs) = (name.clone(), name.clone());
        checks.push(Check {
            id: format!("credentials.{name}"),
            title: title.clone(),
            group: CheckGroup::Credentials,
            needed_by: REMOTE,
            cost: Cost::Read,
            run: Arc::new(move |context| credentials::token(context, &ours)),
        });
        checks.push(Check {
            id: format!("network.{name}"),
            title,
            group: CheckGroup::Network,
            needed_by: REMOTE,
            cost: Cost::Network,
            run: Arc::new(move |context| network::token(context, &theirs)),
        });
    }
    for row in context.config().map(variables_of).unwrap_or_default() {
        // `review/*` is `review` in the name of a check.
        let scope = row.scope.trim_end_matches("/*").to_owned();
        checks.push(Check {
            id: format!("pipeline.{}.{scope}", row.name),
            title: format!("{} of {scope}", row.name),
            group: CheckGroup::Pipeline,
            needed_by: PIPELINE,
            cost: Cost::Read,
            run: Arc::new(move |context| variables::check(context, &row)),
        });
    }
    checks.sort_by_key(|check| check.group);
    checks
}
