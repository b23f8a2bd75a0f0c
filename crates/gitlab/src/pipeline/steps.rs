//! The steps of a pipeline: its environments, the names of the deploy jobs, and the order of those jobs.

use std::collections::BTreeSet;

use workspace::bound_workers::DeployOrder;
use workspace::config::Config;
use workspace::key::short_hash;
use workspace::project::Project;
use workspace::wrangler::Target;

/// One of the environments that the default branch deploys to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PipelineStep {
    /// The environment.
    pub environment: String,
    /// The previous environment. `None` for the first one, which is deployed automatically.
    pub previous: Option<String>,
    /// `true` if the pipeline deploys to this environment alone, so that its name is in no job's name.
    is_only: bool,
}

impl PipelineStep {
    /// Returns the steps of a pipeline, in order.
    #[must_use]
    pub fn all(config: &Config) -> Vec<PipelineStep> {
        let names = config.pipeline.environments.iter();
        let names: Vec<&String> =
            names.filter(|name| config.environments.contains_key(*name)).collect();
        let steps = names.iter().enumerate().map(|(index, name)| PipelineStep {
            environment: (*name).clone(),
            previous: index.checked_sub(1).map(|before| names[before].clone()),
            is_only: names.len() == 1,
        });
        steps.collect()
    }

    /// Returns the name of the job that deploys `project`, or everything.
    #[must_use]
    pub fn job_name(&self, project: Option<&Project>) -> String {
        self.name_with(project, &self.environment)
    }

    fn name_with(&self, project: Option<&Project>, environment: &str) -> String {
        let project = project.map(|project| format!(" {}", label(project))).unwrap_or_default();
        let to = if self.is_only { String::new() } else { format!(" to {environment}") };
        format!("deploy{project}{to}")
    }

    /// Returns the jobs that must succeed first: the same deployment to the previous environment, and the
    /// deployments to this environment that `project` depends on. Empty if it needs only the job `check`.
    #[must_use]
    pub fn needs(&self, project: Option<&Project>, dependencies: &[&Project]) -> Vec<String> {
        let previous = self.previous.as_ref().map(|previous| self.name_with(project, previous));
        if previous.is_none() && dependencies.is_empty() {
            return Vec::new();
        }
        let dependencies = dependencies.iter().map(|project| self.job_name(Some(project)));
        std::iter::once(previous.unwrap_or_else(|| "check".to_owned()))
            .chain(dependencies)
            .collect()
    }
}

/// Returns the project's name, or the name of its Worker if the whole repository is one project.
#[must_use]
pub fn label(project: &Project) -> &str {
    if project.name.is_empty() { &project.worker } else { &project.name }
}

/// Returns the name of a project's GitLab environment, in the characters that GitLab accepts
/// (<https://docs.gitlab.com/ci/yaml/#environmentname>). If some were replaced, a hash follows, so that two projects
/// never share an environment.
#[must_use]
pub fn gitlab_environment(environment: &str, project: &Project) -> String {
    let accepted = |c: char| if c.is_ascii_alphanumeric() || "-_/. ".contains(c) { c } else { '-' };
    let name = format!("{environment}/{}", label(project));
    let replaced: String = name.chars().map(accepted).collect();
    if replaced == name { replaced } else { format!("{replaced}-{}", short_hash(&name)) }
}

/// The order of the jobs that deploy to one environment.
pub struct JobOrder<'p> {
    projects: &'p [Project],
    order: DeployOrder,
}

impl<'p> JobOrder<'p> {
    /// Finds the order of all projects in `environment`.
    #[must_use]
    pub fn new(projects: &'p [Project], environment: &str) -> JobOrder<'p> {
        let targets: Vec<Target> =
            projects.iter().map(|project| project.target(environment)).collect();
        let workers: Vec<(&str, &BTreeSet<String>)> =
            targets.iter().map(|target| (target.worker.as_str(), &target.bound_workers)).collect();
        JobOrder { projects, order: DeployOrder::new(&workers) }
    }

    /// Returns the projects that are deployed before `project`.
    #[must_use]
    pub fn dependencies(&self, project: &Project) -> Vec<&'p Project> {
        let index = self.projects.iter().position(|other| other.name == project.name);
        let before = index.and_then(|index| self.order.after.get(index)).into_iter().flatten();
        before.filter_map(|index| self.projects.get(*index)).collect()
    }

    /// Returns `project` and those that are deployed after it, directly or through others.
    #[must_use]
    pub fn followers(&self, project: &Project) -> Vec<&'p Project> {
        let mut found: BTreeSet<usize> =
            self.projects.iter().position(|other| other.name == project.name).into_iter().collect();
        loop {
            let next = self.order.after.iter().enumerate();
            let next = next.filter(|(_, before)| !before.is_disjoint(&found)).map(|(at, _)| at);
            let all: BTreeSet<usize> = found.iter().copied().chain(next).collect();
            if all.len() == found.len() {
                return found.iter().filter_map(|index| self.projects.get(*index)).collect();
            }
            found = all;
        }
    }
}
