//! The steps of a pipeline: its environments, the names of the deploy jobs, and the order of those jobs.

use std::collections::BTreeSet;

use base::error::{Result, refused};
use workspace::bound_workers::DeployOrder;
use workspace::config::{CONFIG_FILE, Config};
use workspace::key::short_hash;
use workspace::project::Project;
use workspace::wrangler::Target;

/// The number of `needs` that GitLab accepts for a job by default, and on gitlab.com
/// (<https://docs.gitlab.com/ci/yaml/#needs>). A job with more makes the whole pipeline invalid.
const MAX_NEEDS: usize = 50;

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

    /// Returns the jobs that must succeed before the job for all projects: the one of the previous environment. Empty if
    /// it needs only the job `check`.
    #[must_use]
    pub fn needs_of_all(&self) -> Vec<String> {
        self.previous.iter().map(|previous| self.name_with(None, previous)).collect()
    }

    /// Returns the jobs that must succeed before the job of `project`: the same deployment to the previous environment, and
    /// the deployments to this environment that `project` depends on. Empty if it needs only the job `check`. If GitLab
    /// would refuse the list, it has only the jobs that no other one of them waits for. Errors if these are still too many.
    pub fn needs(&self, project: &Project, order: &JobOrder<'_>) -> Result<Vec<String>> {
        let previous = self.previous.as_ref().map(|before| self.name_with(Some(project), before));
        let names = |projects: Vec<&Project>| -> Vec<String> {
            projects.into_iter().map(|project| self.job_name(Some(project))).collect()
        };
        let dependencies = names(order.dependencies(project));
        if previous.is_none() && dependencies.is_empty() {
            return Ok(Vec::new());
        }
        let first = previous.clone().unwrap_or_else(|| "check".to_owned());
        if dependencies.len() < MAX_NEEDS {
            return Ok(std::iter::once(first).chain(dependencies).collect());
        }
        // Each of them waits for the job `check`.
        let nearest = names(order.nearest_dependencies(project));
        let needs: Vec<String> = previous.into_iter().chain(nearest).collect();
        if needs.len() <= MAX_NEEDS {
            return Ok(needs);
        }
        Err(refused(format!(
            "{}: the job `{}` would wait for {} others, and GitLab accepts {MAX_NEEDS} by default; no pipeline was written",
            project.config,
            self.job_name(Some(project)),
            needs.len()
        ))
        .hint(format!(
            "set `\"pipeline\": {{ \"deploy\": \"one-job\" }}` in {CONFIG_FILE}: one job deploys all projects in the same order"
        )))
    }
}

/// Refuses a job for each of `projects` if GitLab would refuse the `needs` of one.
pub fn check_needs(projects: &[Project], config: &Config) -> Result<()> {
    for step in PipelineStep::all(config) {
        let order = JobOrder::new(projects, &step.environment);
        projects.iter().try_for_each(|project| step.needs(project, &order).map(drop))?;
    }
    Ok(())
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

    /// Returns the projects that are deployed before `project`, without those that another one of them follows.
    fn nearest_dependencies(&self, project: &Project) -> Vec<&'p Project> {
        let before = self.dependencies(project);
        let names: BTreeSet<&str> = before.iter().map(|one| one.name.as_str()).collect();
        let is_nearest = |one: &&Project| {
            let mut followers = self.followers(one).into_iter();
            !followers.any(|other| other.name != one.name && names.contains(other.name.as_str()))
        };
        before.iter().copied().filter(is_nearest).collect()
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
