//! Decides who may change a protected environment: a pipeline of the protected default branch of
//! the one project that the shared config file names.
//!
//! This prevents mistakes in every pipeline whose variables GitLab sets. It cannot detect a person
//! who sets these variables. The missing token stops that person, because GitLab gives it to no
//! other pipeline. See SECURITY.md.

use base::error::{Failure, refused};
use workspace::config::{CONFIG_FILE, Config, Gitlab};
use workspace::project::Project;
use workspace::routes::Route;

/// The facts about the pipeline that protection depends on. The default is no pipeline.
#[derive(Clone, Debug, Default)]
pub struct PipelineFacts {
    gitlab: String,
    protected: String,
    branch: String,
    default_branch: String,
    reference: String,
    tag: String,
    source: String,
    merge_request: String,
    project: String,
    server: String,
    api: String,
}

impl PipelineFacts {
    /// Reads the variables that GitLab sets
    /// (<https://docs.gitlab.com/ci/variables/predefined_variables/>). An unset variable counts as
    /// empty. Values are not trimmed, because GitLab writes no spaces.
    #[must_use]
    pub fn from_variables(get: impl Fn(&str) -> Option<String>) -> PipelineFacts {
        let get = |name: &str| get(name).unwrap_or_default();
        PipelineFacts {
            gitlab: get("GITLAB_CI"),
            protected: get("CI_COMMIT_REF_PROTECTED"),
            branch: get("CI_COMMIT_BRANCH"),
            default_branch: get("CI_DEFAULT_BRANCH"),
            reference: get("CI_COMMIT_REF_NAME"),
            tag: get("CI_COMMIT_TAG"),
            source: get("CI_PIPELINE_SOURCE"),
            merge_request: get("CI_MERGE_REQUEST_IID"),
            project: get("CI_PROJECT_ID"),
            server: get("CI_SERVER_URL"),
            api: get("CI_API_V4_URL"),
        }
    }

    /// Returns the reason why this pipeline may not change a protected environment. `None` if it
    /// may.
    #[must_use]
    pub fn objection(&self, gitlab: &Gitlab) -> Option<String> {
        if self.gitlab != "true" {
            return Some("this is not a GitLab pipeline".to_owned());
        }
        // Neither kind has `CI_COMMIT_BRANCH`, so a person must have set these variables.
        if !self.merge_request.is_empty() || self.source == "merge_request_event" {
            return Some("this pipeline is a merge request's".to_owned());
        }
        if self.source == "external_pull_request_event" {
            return Some("this pipeline is a pull request's".to_owned());
        }
        if !self.tag.is_empty() {
            return Some(format!("this pipeline is of the tag `{}`", self.tag));
        }
        if self.branch.is_empty() || self.branch != self.default_branch {
            return Some(format!(
                "this pipeline is of the branch `{}`, and the default branch is `{}`",
                self.branch, self.default_branch
            ));
        }
        if !self.reference.is_empty() && self.reference != self.branch {
            return Some(format!(
                "CI_COMMIT_REF_NAME is `{}` and CI_COMMIT_BRANCH `{}`",
                self.reference, self.branch
            ));
        }
        if self.protected != "true" {
            return Some(format!(
                "CI_COMMIT_REF_PROTECTED is `{}`: protect the branch `{}`",
                self.protected, self.branch
            ));
        }
        self.elsewhere(gitlab)
    }

    /// Returns the reason why this is another project than that of the config. If the config has no
    /// number, any project matches.
    fn elsewhere(&self, gitlab: &Gitlab) -> Option<String> {
        let number = gitlab.number()?;
        if self.project != number {
            return Some(format!(
                "this is the GitLab project {}, and the config names {number}",
                if self.project.is_empty() { "without a number" } else { &self.project }
            ));
        }
        let own = gitlab.url.trim_end_matches('/');
        let api = gitlab.api();
        [("CI_SERVER_URL", &self.server, own), ("CI_API_V4_URL", &self.api, &api)]
            .into_iter()
            .find(|(_, found, wanted)| !found.trim_end_matches('/').eq_ignore_ascii_case(wanted))
            .map(|(name, found, wanted)| {
                format!("{name} is `{found}`, and the config's `gitlab.url` means `{wanted}`")
            })
    }
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
) -> Result<(), Failure> {
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
) -> Failure {
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

fn shared_worker(project: &Project, environment: &str, worker: &str, protected: &str) -> Failure {
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
