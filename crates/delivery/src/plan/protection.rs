//! Who may change a protected environment: a pipeline of the protected default branch of the one
//! project that the shared config file names.
//!
//! This stops mistakes, and every pipeline that GitLab itself describes truthfully. A person who sets
//! these variables by hand is not told apart from GitLab: what stops that person is the missing token,
//! which GitLab gives to no other pipeline. See SECURITY.md.

use base::error::{Failure, refused};
use workspace::config::{Config, Gitlab};
use workspace::project::Project;

/// The facts about the pipeline that protection is decided by. The default is no pipeline at all.
#[derive(Clone, Debug, Default)]
pub struct Pipeline {
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

impl Pipeline {
    /// Reads the variables that GitLab sets
    /// (<https://docs.gitlab.com/ci/variables/predefined_variables/>). One that is not set reads as
    /// empty; none is trimmed, since GitLab writes them without any space.
    #[must_use]
    pub fn from_variables(get: impl Fn(&str) -> Option<String>) -> Pipeline {
        let get = |name: &str| get(name).unwrap_or_default();
        Pipeline {
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

    /// Why this is no pipeline that may change a protected environment; nothing when it is one.
    #[must_use]
    pub fn objection(&self, gitlab: &Gitlab) -> Option<String> {
        if self.gitlab != "true" {
            return Some("this is no GitLab pipeline".to_owned());
        }
        // Neither has `CI_COMMIT_BRANCH`, so each of these was set by somebody else as well.
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

    /// Why this is another project than the config's. Without a number there, any will do.
    fn elsewhere(&self, gitlab: &Gitlab) -> Option<String> {
        let number = gitlab.number()?;
        if self.project != number {
            return Some(format!(
                "this is the GitLab project {}, and the config names {number}",
                if self.project.is_empty() { "without a number" } else { &self.project }
            ));
        }
        let own = gitlab.url.trim_end_matches('/');
        let api = format!("{own}/api/v4");
        [("CI_SERVER_URL", &self.server, own), ("CI_API_V4_URL", &self.api, &api)]
            .into_iter()
            .find(|(_, found, wanted)| !found.trim_end_matches('/').eq_ignore_ascii_case(wanted))
            .map(|(name, found, wanted)| {
                format!("{name} is `{found}`, and the config's `gitlab.url` means `{wanted}`")
            })
    }
}

/// Refuses what would change a protected environment through the unprotected `environment`: a Worker
/// that any project serves there, or a host name that leads to one. Wrangler takes a host name from
/// another Worker without asking when nobody can be asked (observed with 4.164).
///
/// `all` are the repository's projects, `projects` those that are about to change.
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
    let guarded: Vec<(&String, &Project)> = config
        .environments
        .iter()
        .filter(|(name, other)| other.protected && account(name) == account(environment))
        .flat_map(|(name, _)| all.iter().map(move |project| (name, project)))
        .collect();
    for project in projects {
        let worker = project.target(environment).worker;
        let routes = routes(&project.wrangler.patterns(environment));
        for (protected, other) in &guarded {
            if other.target(protected).worker == worker {
                return Err(shared_worker(project, environment, &worker, protected));
            }
            let theirs = self::routes(&other.wrangler.patterns(protected));
            let taken = routes.iter().find(|own| theirs.iter().any(|their| own.covers(their)));
            if let Some(route) = taken {
                return Err(refused(format!(
                    "{}: `{environment}` would take `{}` from the Worker that `{protected}` serves there",
                    project.config, route.pattern
                ))
                .hint(format!("give `env.{environment}` routes of its own, or an empty list: blocks inherit them")));
            }
        }
    }
    Ok(())
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
    failure.hint(format!("or give `{environment}` an account of its own"))
}

/// A route's pattern, taken apart (<https://developers.cloudflare.com/workers/configuration/routing/routes/>).
struct Route {
    pattern: String,
    host: String,
    path: String,
}

fn routes(patterns: &[String]) -> Vec<Route> {
    let route = |pattern: &String| {
        let rest = pattern.split_once("://").map_or(pattern.as_str(), |(_, rest)| rest);
        let (host, path) = rest.split_once('/').unwrap_or((rest, "*"));
        Route {
            pattern: pattern.clone(),
            host: host.trim().to_ascii_lowercase(),
            path: path.to_owned(),
        }
    };
    patterns.iter().map(route).collect()
}

impl Route {
    /// Whether every address of `other` is one of this route too.
    fn covers(&self, other: &Route) -> bool {
        let host = match self.host.strip_prefix('*') {
            Some(end) => other.host.ends_with(end),
            None => self.host == other.host,
        };
        let path = match self.path.strip_suffix('*') {
            Some(start) => other.path.starts_with(start),
            None => self.path == other.path,
        };
        host && path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_covers_what_it_would_take() {
        let covers = |own: &str, other: &str| {
            let (own, other) = ([own.to_owned()], [other.to_owned()]);
            routes(&own)[0].covers(&routes(&other)[0])
        };
        for (own, other) in [
            ("www.example.com", "www.example.com"),
            ("www.example.com/*", "WWW.example.com"),
            ("https://www.example.com/*", "www.example.com/*"),
            ("*.example.com/*", "www.example.com"),
            ("*example.com/*", "example.com/shop/*"),
        ] {
            assert!(covers(own, other), "{own} {other}");
        }
        for (own, other) in [
            ("staging.example.com", "www.example.com"),
            ("*.example.com/*", "example.com"),
            ("example.com/staging/*", "example.com/*"),
            ("example.com/up", "example.com/*"),
        ] {
            assert!(!covers(own, other), "{own} {other}");
        }
    }
}
