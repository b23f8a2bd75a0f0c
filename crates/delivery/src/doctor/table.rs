//! The table of all checks.

use std::sync::Arc;

use super::check::{Check, Cost, Group, Need};
use super::checks::{
    config, credentials, dagger, network, pipeline, projects, repository, sandbox, stored, tools,
    variables,
};
use super::finding::Finding;
use super::scene::Scene;
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

type Row = (&'static str, &'static str, Group, Cost, &'static [Need], fn(&Scene) -> Finding);

/// The checks that are there whatever the config says.
#[rustfmt::skip]
fn table() -> [Row; 29] {
    use Cost::{Local, Look, Network};
    use Group::{Config, Dagger, Network as Remote, Pipeline, Projects, Repository, Sandbox, Tools};
    [
        ("git", "git", Tools, Local, EVERY, tools::git),
        ("cargo", "Rust", Tools, Local, XTASK, tools::cargo),
        ("cc", "C compiler", Tools, Look, XTASK, tools::cc),
        ("npm", "npm", Tools, Look, EVERY, tools::npm),
        ("bun", "Bun", Tools, Local, EVERY, tools::bun),
        ("wrangler", "wrangler", Tools, Local, DEPLOY, tools::wrangler),
        ("git.repository", "git repository", Repository, Local, EVERY, repository::repository),
        ("disk", "disk", Repository, Local, EVERY, repository::disk),
        ("config", "shared config", Config, Look, EVERY, config::config),
        ("config.account", "account id", Config, Look, REMOTE, config::account),
        ("config.images", "images", Config, Look, DAGGER, config::images),
        ("config.pins", "tool pins", Config, Look, EVERY, config::pins),
        ("projects", "projects", Projects, Local, EVERY, projects::projects),
        ("projects.lock", "lock files", Projects, Look, EVERY, projects::lock),
        ("projects.config", "wrangler configs", Projects, Look, DEPLOY, projects::guarded),
        ("projects.wrangler", "wrangler fields", Projects, Look, DEPLOY, projects::fields),
        ("projects.preview", "preview URLs", Projects, Look, PREVIEW, projects::preview),
        ("sandbox.program", "program", Sandbox, Look, LOCAL_ONLY, sandbox::program),
        ("sandbox", "process", Sandbox, Local, LOCAL_ONLY, sandbox::process),
        ("sandbox.token", "token", Sandbox, Look, LOCAL_ONLY, sandbox::token),
        ("port", "port 8787", Sandbox, Local, LOCAL_ONLY, sandbox::port),
        ("dagger", "CLI", Dagger, Local, DAGGER, dagger::cli),
        ("dagger.engine", "engine", Dagger, Network, DAGGER, dagger::engine),
        ("dagger.runtime", "container runtime", Dagger, Local, DAGGER, dagger::runtime),
        ("dagger.modules", "modules", Dagger, Look, DAGGER, dagger::modules),
        ("dagger.env", ".env files", Dagger, Look, DAGGER, dagger::env_files),
        ("dagger.images", "images to pull", Dagger, Look, DAGGER, dagger::images),
        ("pipeline", "GitLab", Pipeline, Look, REMOTE, pipeline::variables),
        ("network.variables", "variables in GitLab", Remote, Network, PIPELINE, stored::stored),
    ]
}

/// Every check of `scene`, in the order of the report. Credentials are those of the environment that
/// was named, or of all that the config has.
#[must_use]
pub fn all(scene: &Scene) -> Vec<Check> {
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
    let all: Vec<String> = match scene.config() {
        Ok(config) => config.environments.keys().cloned().collect(),
        Err(_) => Vec::new(),
    };
    let chosen = scene.environment.clone().map_or(all, |name| vec![name]);
    for name in chosen.into_iter().filter(|name| name != LOCAL) {
        let title = format!("token of {name}");
        let (ours, theirs) = (name.clone(), name.clone());
        checks.push(Check {
            id: format!("credentials.{name}"),
            title: title.clone(),
            group: Group::Credentials,
            needed_by: REMOTE,
            cost: Cost::Look,
            run: Arc::new(move |scene| credentials::token(scene, &ours)),
        });
        checks.push(Check {
            id: format!("network.{name}"),
            title,
            group: Group::Network,
            needed_by: REMOTE,
            cost: Cost::Network,
            run: Arc::new(move |scene| network::token(scene, &theirs)),
        });
    }
    for row in scene.config().map(variables_of).unwrap_or_default() {
        // `review/*` is `review` in a name, as people type it.
        let scope = row.scope.trim_end_matches("/*").to_owned();
        checks.push(Check {
            id: format!("pipeline.{}.{scope}", row.name),
            title: format!("{} of {scope}", row.name),
            group: Group::Pipeline,
            needed_by: PIPELINE,
            cost: Cost::Look,
            run: Arc::new(move |scene| variables::here(scene, &row)),
        });
    }
    checks.sort_by_key(|check| check.group);
    checks
}
