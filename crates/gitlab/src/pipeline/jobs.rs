//! The jobs that people see.

use std::collections::BTreeSet;

use camino::Utf8Path;

use super::changes::changes;
use super::condition::Condition;
use super::reports::{self, Dotenv};
use super::types::{Job, JobEnvironment, Rule};
use super::{runner, scripts};
use workspace::Workspace;
use workspace::bound_workers::DeployOrder;
use workspace::config::Config;
use workspace::graph::Graph;
use workspace::key::short_hash;
use workspace::modules::TOOL_LOCK;
use workspace::pipeline::HOST;
use workspace::project::Project;
use workspace::wrangler::Target;

/// The job that tests.
pub const CHECK: &str = "check";
/// The job that uploads what a merge request changed.
pub const PREVIEW: &str = "preview";
/// The job that removes it.
pub const PREVIEW_STOP: &str = "preview-stop";

/// The job that removes what was left behind.
pub const PREVIEW_SWEEP: &str = "preview-sweep";

/// The hidden job that deploy jobs extend.
pub const DEPLOYMENT: &str = ".deployment";
/// The job that deploys everything, if one job deploys all projects.
pub const DEPLOY: &str = "deploy";

/// The environment of a merge request's previews. By its number, since names of branches collide once
/// they are cut to the length of a host name.
pub const REVIEW: &str = "review/$CI_MERGE_REQUEST_IID";

/// Everything CI checks, in merge requests and on the default branch.
#[must_use]
pub fn check(root: &Utf8Path, config: &Config) -> Job {
    let has_tool = root.join(TOOL_LOCK).is_file();
    let own = (!has_tool && root.join(".ci/run").is_file()).then(|| scripts::CHECK.to_owned());
    let tests = own.map_or_else(
        || {
            let projects = config.pipeline.check.iter().map(|script| scripts::run(script));
            std::iter::once(scripts::GENERATED.to_owned()).chain(projects).collect()
        },
        |own| vec![own],
    );
    Job {
        stage: Some("check".to_owned()),
        rules: vec![
            Rule::when(Condition::merge_request()),
            Rule::when(Condition::default_branch()),
        ],
        cache: vec![runner::cache("check")],
        before_script: vec![scripts::NPM.to_owned()],
        script: [vec![scripts::VARIABLES.to_owned()], tests].concat(),
        ..Job::default()
    }
}

/// Previews do not wait for the check: a reviewer looks while it runs.
#[must_use]
pub fn preview(config: &Config) -> Job {
    Job {
        extends: vec![runner::DAGGER.to_owned()],
        stage: Some("preview".to_owned()),
        rules: vec![Rule::when(Condition::preview())],
        needs: Some(Vec::new()),
        script: vec![scripts::preview(engine(config))],
        environment: Some(JobEnvironment {
            on_stop: Some(PREVIEW_STOP.to_owned()),
            auto_stop_in: Some(config.pipeline.preview_lifetime.clone()),
            ..environment(REVIEW, reports::PREVIEW)
        }),
        resource_group: Some(REVIEW.to_owned()),
        interruptible: Some(true),
        artifacts: Some(runner::artifacts(reports::PREVIEW)),
        ..Job::default()
    }
}

/// GitLab starts it when the merge request is merged or closed, and after the lifetime. It works when
/// the branch is gone, because a merge request's commits outlive its branch. It has the rules, the
/// environment and the resource group of [`preview`]; without one of them GitLab would not start it
/// (<https://docs.gitlab.com/ci/environments/#stop-an-environment>).
#[must_use]
pub fn preview_stop() -> Job {
    Job {
        extends: vec![runner::CARGO.to_owned()],
        stage: Some("preview".to_owned()),
        rules: vec![Rule::by_hand(Condition::preview())],
        needs: Some(Vec::new()),
        script: vec![scripts::PREVIEW_STOP.to_owned()],
        environment: Some(JobEnvironment {
            action: Some("stop"),
            url: None,
            ..environment(REVIEW, reports::PREVIEW)
        }),
        resource_group: Some(REVIEW.to_owned()),
        interruptible: Some(false),
        ..Job::default()
    }
}

/// On schedules: does what stop jobs did not, which do fail. Its environment is there for the variables
/// alone, whose scope is `review/*`.
#[must_use]
pub fn preview_sweep(config: &Config) -> Job {
    let place = "review/sweep";
    let condition = match deploys(config) {
        Condition::All(mut all) => {
            all.push(Condition::schedule());
            Condition::All(all)
        }
        one => Condition::All(vec![one, Condition::schedule()]),
    };
    Job {
        extends: vec![runner::CARGO.to_owned()],
        stage: Some("preview".to_owned()),
        rules: vec![Rule::when(condition)],
        needs: Some(Vec::new()),
        script: vec![scripts::PREVIEW_SWEEP.to_owned()],
        environment: Some(JobEnvironment {
            action: Some("access"),
            url: None,
            ..environment(place, reports::PREVIEW)
        }),
        resource_group: Some(place.to_owned()),
        interruptible: Some(false),
        ..Job::default()
    }
}

/// One environment in the row of those that the default branch deploys to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PipelineStep {
    /// The environment.
    pub environment: String,
    /// The environment before it. `None` for the first, which needs no click.
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
        let step = |(index, name): (usize, &&String)| PipelineStep {
            environment: (*name).clone(),
            previous: index.checked_sub(1).map(|before| names[before].clone()),
            is_only: names.len() == 1,
        };
        names.iter().enumerate().map(step).collect()
    }

    /// Returns the name of the job that deploys `project`, or everything.
    #[must_use]
    pub fn job_name(&self, project: Option<&Project>) -> String {
        self.name_with(project, &self.environment)
    }

    fn name_with(&self, project: Option<&Project>, environment: &str) -> String {
        let project = project.map(|project| format!(" {}", label(project))).unwrap_or_default();
        let to = if self.is_only { String::new() } else { format!(" to {environment}") };
        format!("{DEPLOY}{project}{to}")
    }

    /// Returns the jobs that have to end well before: the same deployment to the previous environment, and the
    /// deployments `after` to this one. `None` if there are none but the check.
    fn needs(&self, project: Option<&Project>, after: &[&Project]) -> Option<Vec<String>> {
        let previous = self.previous.as_ref().map(|previous| self.name_with(project, previous));
        if previous.is_none() && after.is_empty() {
            return None;
        }
        let after = after.iter().map(|project| self.job_name(Some(project)));
        Some(previous.or_else(|| Some(CHECK.to_owned())).into_iter().chain(after).collect())
    }
}

/// The project's name, or its Worker's where the whole repository is one project.
fn label(project: &Project) -> &str {
    if project.name.is_empty() { &project.worker } else { &project.name }
}

/// Returns the GitLab environment of a project, in the characters that GitLab takes
/// (<https://docs.gitlab.com/ci/yaml/#environmentname>). A hash follows a name of which some were replaced, because
/// another project's could become the same.
fn place(environment: &str, project: &Project) -> String {
    let taken = |c: char| if c.is_ascii_alphanumeric() || "-_/. ".contains(c) { c } else { '-' };
    let name = format!("{environment}/{}", label(project));
    let place: String = name.chars().map(taken).collect();
    if place == name { place } else { format!("{place}-{}", short_hash(&name)) }
}

/// Deploys one project. A push that changed none of its paths leaves the job for a person to start:
/// GitLab compares with the push before only, so a change whose pipeline failed would be lost else. A later environment
/// always waits for a person. GitLab skips its job until the job before it has run.
///
/// The job waits for those of the projects whose Workers this one's config names. They also run for the paths of this
/// project, since GitLab would let it wait for a job that only a person starts.
#[must_use]
pub fn deploy(
    workspace: &Workspace,
    graph: &Graph,
    project: &Project,
    order: &JobOrder<'_>,
    step: &PipelineStep,
) -> Job {
    let condition = deploys(&workspace.config);
    let rules = match changes(workspace, graph, &order.followers(project)) {
        _ if step.previous.is_some() => vec![Rule::by_hand(condition)],
        None => vec![Rule::when(condition)],
        paths => {
            vec![Rule { changes: paths, ..Rule::when(condition.clone()) }, Rule::by_hand(condition)]
        }
    };
    let name = &step.environment;
    let command = scripts::deploy(Some(label(project)), name, engine(&workspace.config));
    let needs = step.needs(Some(project), &order.after(project));
    Job { rules, needs, ..deploying(&place(name, project), command) }
}

/// Deploys everything that is not live, several projects in parallel.
#[must_use]
pub fn deploy_all(config: &Config, step: &PipelineStep) -> Job {
    let name = &step.environment;
    let rules = vec![match step.previous {
        None => Rule::when(deploys(config)),
        Some(_) => Rule::by_hand(deploys(config)),
    }];
    let command = scripts::deploy(None, name, engine(config));
    Job { rules, needs: step.needs(None, &[]), ..deploying(name, command) }
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
        let targets: Vec<Target> = projects.iter().map(|one| one.target(environment)).collect();
        let workers: Vec<(&str, &BTreeSet<String>)> =
            targets.iter().map(|one| (one.worker.as_str(), &one.bound_workers)).collect();
        JobOrder { projects, order: DeployOrder::new(&workers) }
    }

    /// Returns the projects that are deployed before `project`.
    fn after(&self, project: &Project) -> Vec<&'p Project> {
        let at = self.projects.iter().position(|one| one.name == project.name);
        let after = at.and_then(|at| self.order.after.get(at)).into_iter().flatten();
        after.filter_map(|at| self.projects.get(*at)).collect()
    }

    /// Returns `project` and those that are deployed after it, directly or through others.
    fn followers(&self, project: &Project) -> Vec<&'p Project> {
        let mut found: BTreeSet<usize> =
            self.projects.iter().position(|one| one.name == project.name).into_iter().collect();
        loop {
            let more = self.order.after.iter().enumerate();
            let more = more.filter(|(_, after)| !after.is_disjoint(&found)).map(|(at, _)| at);
            let all: BTreeSet<usize> = found.iter().copied().chain(more).collect();
            if all.len() == found.len() {
                return found.iter().filter_map(|at| self.projects.get(*at)).collect();
            }
            found = all;
        }
    }
}

/// Returns the common part of deployments. Nothing cancels one that has started.
#[must_use]
pub fn deployment(config: &Config) -> Job {
    Job {
        extends: vec![runner::DAGGER.to_owned()],
        tags: config.pipeline.deploy_tags.clone(),
        stage: Some("deploy".to_owned()),
        needs: Some(vec![CHECK.to_owned()]),
        interruptible: Some(false),
        // Longer than xtask's own deadlines, so that it is xtask which says what is live.
        timeout: Some("2 hours"),
        artifacts: Some(runner::artifacts(reports::DEPLOY)),
        ..Job::default()
    }
}

fn deploying(place: &str, command: String) -> Job {
    Job {
        extends: vec![DEPLOYMENT.to_owned()],
        script: vec![command],
        environment: Some(environment(place, reports::DEPLOY)),
        resource_group: Some(place.to_owned()),
        ..Job::default()
    }
}

/// The engine that jobs name.
fn engine(config: &Config) -> &'static str {
    if config.pipeline.has_dagger() { "dagger" } else { HOST }
}

/// On the default branch, and in a fork never: it has none of our tokens.
fn deploys(config: &Config) -> Condition {
    let own = config.gitlab.number().map(|id| Condition::is("CI_PROJECT_ID", id));
    match own {
        Some(own) => Condition::All(vec![Condition::default_branch(), own]),
        None => Condition::default_branch(),
    }
}

fn environment(name: &str, report: Dotenv) -> JobEnvironment {
    JobEnvironment {
        name: name.to_owned(),
        url: Some(format!("${}", report.variable)),
        on_stop: None,
        auto_stop_in: None,
        action: None,
    }
}
