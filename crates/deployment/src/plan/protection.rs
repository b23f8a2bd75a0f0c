//! Decides who may change a protected environment: a pipeline of the protected default branch of
//! the one project that the shared config file names.
//!
//! This prevents mistakes in every pipeline whose variables GitLab sets. It cannot detect a person
//! who sets these variables. The missing token stops that person, because GitLab gives it to no
//! other pipeline. See SECURITY.md.

use base::error::{Error, Result, refused};
use gitlab::ci::{API_V4_URL, CiVariables, SERVER_URL};
use workspace::config::{CONFIG_FILE, Config, Gitlab};
use workspace::project::Project;
use workspace::routes::Route;

/// Returns the reason why a job with these variables may not change a protected environment. `None` if
/// it may. An unset variable counts as empty. Values are not trimmed, because GitLab writes no spaces.
#[must_use]
pub fn objection(ci: &CiVariables, gitlab: &Gitlab) -> Option<String> {
    if !ci.is_set_by_gitlab() {
        return Some("this is not a GitLab pipeline".to_owned());
    }
    // Neither kind has a branch, so a person must have set these variables.
    if ci.is_merge_request() {
        return Some("this pipeline is a merge request's".to_owned());
    }
    if ci.pipeline_source.as_deref() == Some("external_pull_request_event") {
        return Some("this pipeline is a pull request's".to_owned());
    }
    if let Some(tag) = &ci.commit_tag {
        return Some(format!("this pipeline is of the tag `{tag}`"));
    }
    let branch = or_empty(&ci.commit_branch);
    if branch.is_empty() || ci.commit_branch != ci.default_branch {
        return Some(format!(
            "this pipeline is of the branch `{branch}`, and the default branch is `{}`",
            or_empty(&ci.default_branch)
        ));
    }
    if let Some(reference) = ci.commit_ref_name.as_deref().filter(|name| *name != branch) {
        return Some(format!(
            "CI_COMMIT_REF_NAME is `{reference}` and CI_COMMIT_BRANCH `{branch}`"
        ));
    }
    if !ci.is_protected() {
        return Some(format!(
            "CI_COMMIT_REF_PROTECTED is `{}`: protect the branch `{branch}`",
            or_empty(&ci.commit_ref_protected)
        ));
    }
    elsewhere(ci, gitlab)
}

/// Returns the reason why this is another project than that of the config. If the config has no
/// number, any project matches.
fn elsewhere(ci: &CiVariables, gitlab: &Gitlab) -> Option<String> {
    let number = gitlab.number()?;
    let project = or_empty(&ci.project_id);
    if project != number {
        return Some(format!(
            "this is the GitLab project {}, and the config names {number}",
            if project.is_empty() { "without a number" } else { project }
        ));
    }
    let own = gitlab.url.trim_end_matches('/');
    let api = gitlab.api();
    [(SERVER_URL, or_empty(&ci.server_url), own), (API_V4_URL, or_empty(&ci.api_v4_url), &api)]
        .into_iter()
        .find(|(_, found, wanted)| !found.trim_end_matches('/').eq_ignore_ascii_case(wanted))
        .map(|(name, found, wanted)| {
            format!("{name} is `{found}`, and the config's `gitlab.url` means `{wanted}`")
        })
}

fn or_empty(value: &Option<String>) -> &str {
    value.as_deref().unwrap_or_default()
}

/// Refuses a change of a protected environment through the unprotected `environment`: a Worker that
/// any project serves there, or a host name that leads to one. Without a terminal, wrangler silently
/// takes over a host name of another Worker (observed with 4.164).
///
/// `all` are the repository's projects, `projects` those that will change.
pub fn check(
    config: &Config,
    all: &[Project],
    projects: &[&Project],
    environment: &str,
) -> Result<()> {
    if config.environments.get(environment).is_none_or(|own| own.protected) {
        return Ok(());
    }
    let account = |name: &str| config.cloudflare(name).account_id.to_ascii_lowercase();
    let served = |project: &Project, environment: &str| {
        let routes = Route::all(&project.wrangler.patterns(environment));
        (project.target(environment).worker, routes)
    };
    let guarded: Vec<(&String, (String, Vec<Route>))> = config
        .environments
        .iter()
        .filter(|(name, other)| other.protected && account(name) == account(environment))
        .flat_map(|(name, _)| all.iter().map(move |project| (name, served(project, name))))
        .collect();
    let shared = config.environments.get(environment).map(|own| Route::all(&own.shared_routes));
    let is_allowed = |route: &Route| shared.iter().flatten().any(|shared| shared.is_same(route));
    for project in projects {
        let (worker, routes) = served(project, environment);
        for (protected, (their_worker, their_routes)) in &guarded {
            if *their_worker == worker {
                return Err(shared_worker(project, environment, &worker, protected));
            }
            for their in their_routes {
                let overlapping = routes.iter().find(|own| own.overlaps(their) && !is_allowed(own));
                if let Some(route) = overlapping {
                    return Err(shared_route(project, environment, route, protected, their));
                }
            }
        }
    }
    Ok(())
}

fn shared_route(
    project: &Project,
    environment: &str,
    route: &Route,
    protected: &str,
    their: &Route,
) -> Error {
    let (pattern, config) = (&route.pattern, &project.config);
    let text = match route.is_same(their) {
        true => format!(
            "{config}: `{environment}` would take `{pattern}` from the Worker that `{protected}` serves there"
        ),
        false => format!(
            "{config}: `{environment}` would take visitors with `{pattern}` from `{}`, which `{protected}` serves",
            their.pattern
        ),
    };
    refused(text)
        .hint(format!("give `env.{environment}` its own routes, or an empty list: blocks inherit them"))
        .hint(format!(
            "if it is meant, add `{pattern}` to `environments.{environment}.sharedRoutes` in {CONFIG_FILE}"
        ))
}

fn shared_worker(project: &Project, environment: &str, worker: &str, protected: &str) -> Error {
    let config = &project.config;
    let failure = if project.wrangler.has(environment) {
        refused(format!(
            "{config}: `{environment}` would change the Worker `{worker}` that `{protected}` serves"
        ))
        .hint(format!("give the block `env.{environment}` another `name`"))
    } else {
        refused(format!(
            "{config}: without an `env.{environment}` block, `{environment}` would change the Worker `{worker}` that `{protected}` serves"
        ))
        .hint(format!("add `\"env\": {{ \"{environment}\": {{ … }} }}` to it"))
    };
    failure.hint(format!("or give `{environment}` its own account"))
}
