//! `.gitlab-ci.yml` as a value, made from what the repository holds.

pub mod changes;
pub mod condition;
pub mod guide;
mod include;
pub mod jobs;
pub mod kind;
pub mod reports;
pub mod runner;
pub mod scripts;
pub mod types;
pub mod variables;
pub mod yaml;

use anyhow::Result;

use condition::Condition;
use types::{
    AutoCancel, Defaults, Job, OrderedMap, Pipeline, Rule, VariableMap, Workflow, variables,
};
use workspace::Workspace;
use workspace::config::CONFIG_FILE;
use workspace::graph::Graph;
use workspace::modules::TOOL_LOCK;
use workspace::pipeline::{DeployJobs, PipelineSettings};

pub use workspace::pipeline::GITLAB_FILE as FILE;

/// The first words of a file that we wrote.
pub const HEADER: &str = "# Written by `cargo xtask ci generate`";

impl Pipeline {
    /// The pipeline of `workspace`.
    #[must_use]
    pub fn new(workspace: &Workspace, graph: &Graph) -> Pipeline {
        let settings = &workspace.config.pipeline;
        let jobs = jobs(workspace, graph);
        let default = Defaults { image: settings.image.clone(), tags: settings.tags.clone() };
        let pipeline = Pipeline {
            head: head(workspace),
            workflow: Some(workflow(has_cache(&jobs))),
            stages: vec!["check", "preview", "deploy"],
            default: Some(default),
            variables: pipeline_variables(settings, &jobs),
            jobs,
        };
        match settings.is_included() {
            true => pipeline.into_included(&settings.stages.clone().unwrap_or_default()),
            false => pipeline,
        }
    }

    /// The file's text.
    pub fn text(&self) -> Result<String> {
        Ok(format!("{}\n\n{}", self.head, yaml::document(self, &comment)?))
    }
}

/// The comment that the file begins with.
fn head(workspace: &Workspace) -> String {
    let mut head = format!(
        "{HEADER} from the projects of this repository and\n\
         # {CONFIG_FILE}. Change those, then run it again."
    );
    if workspace.root.join(guide::GUIDE).is_file() {
        head += &format!(" {} explains it.", guide::GUIDE);
    }
    let settings = &workspace.config.pipeline;
    if settings.is_included() {
        head += &format!("\n# {FILE} includes it: `include: [{{ local: {} }}]`.", settings.file);
    }
    head
}

/// Returns the variables of every job.
fn pipeline_variables(settings: &PipelineSettings, jobs: &OrderedMap<Job>) -> VariableMap {
    let mut pairs = vec![("GIT_DEPTH", "20")];
    if has_cache(jobs) {
        pairs.extend([
            ("CARGO_HOME", "$CI_PROJECT_DIR/.xtask/cargo"),
            ("CARGO_INCREMENTAL", "0"),
            (runner::CACHE_POLICY, "pull"),
        ]);
    }
    if let (Some(archive), Some(sum)) = (&settings.xtask_archive, &settings.xtask_sha256) {
        pairs.extend([("XTASK_ARCHIVE", archive.as_str()), ("XTASK_SHA256", sum.as_str())]);
    }
    variables(&pairs)
}

/// Tells whether a job compiles, which a cache shortens.
fn has_cache(jobs: &OrderedMap<Job>) -> bool {
    jobs.0.iter().any(|(_, job)| !job.cache.is_empty())
}

/// Merge requests and the default branch have pipelines; other branches and tags have none, so that no
/// commit is checked twice.
fn workflow(has_cache: bool) -> Workflow {
    let writes = match has_cache {
        true => variables(&[(runner::CACHE_POLICY, "pull-push")]),
        false => OrderedMap::default(),
    };
    Workflow {
        auto_cancel: AutoCancel { on_new_commit: "interruptible" },
        rules: vec![
            Rule::when(Condition::merge_request()),
            Rule { variables: writes, ..Rule::when(Condition::default_branch()) },
        ],
    }
}

fn jobs(workspace: &Workspace, graph: &Graph) -> OrderedMap<Job> {
    let mut jobs = made_jobs(workspace, graph);
    if workspace.config.pipeline.xtask_archive.is_some() {
        jobs.0.iter_mut().for_each(|(name, job)| runner::use_archive(name, job));
    }
    if workspace.root.join(TOOL_LOCK).is_file() {
        let caches = jobs.0.iter_mut().flat_map(|(_, job)| &mut job.cache);
        caches.for_each(runner::move_cache);
    }
    jobs
}

fn made_jobs(workspace: &Workspace, graph: &Graph) -> OrderedMap<Job> {
    let config = &workspace.config;
    let mut jobs = Vec::new();
    let mut add = |name: &str, job| jobs.push((name.to_owned(), job));
    add(runner::CARGO, runner::cargo());
    if config.pipeline.has_dagger() && config.pipeline.shared_engine().is_none() {
        add(runner::DOCKER, runner::docker(config));
    }
    add(runner::DAGGER, runner::dagger(config));
    add(jobs::CHECK, jobs::check(&workspace.root, config));
    if config.preview_environment().is_ok() {
        add(jobs::PREVIEW, jobs::preview(config));
        add(jobs::PREVIEW_STOP, jobs::preview_stop());
        add(jobs::PREVIEW_SWEEP, jobs::preview_sweep(config));
    }
    let steps = jobs::PipelineStep::all(config);
    if !steps.is_empty() {
        add(jobs::DEPLOYMENT, jobs::deployment(config));
    }
    for step in &steps {
        match config.pipeline.deploy {
            DeployJobs::OneJob => add(&step.job_name(None), jobs::deploy_all(config, step)),
            DeployJobs::JobPerProject => {
                let order = jobs::JobOrder::new(&workspace.projects, &step.environment);
                for project in &workspace.projects {
                    let job = jobs::deploy(workspace, graph, project, &order, step);
                    add(&step.job_name(Some(project)), job);
                }
            }
        }
    }
    OrderedMap(jobs)
}

/// Returns the comment above an entry of the file.
fn comment(name: &str) -> Option<String> {
    let text = match include::without_prefix(name).as_str() {
        "workflow" => {
            "Merge requests and the default branch. A fork's merge request is checked in the fork."
        }
        runner::CARGO => "What every job shares that runs `cargo xtask`.",
        runner::DOCKER => {
            "Docker-in-Docker with TLS. The runner is privileged and has the volume /certs/client."
        }
        runner::DAGGER => "What builds and deployments need.",
        jobs::CHECK => "What every change must pass.",
        jobs::PREVIEW => {
            "Uploads what the merge request changed, as versions that serve no visitor, and keeps one\n\
             comment up to date."
        }
        jobs::PREVIEW_STOP => "Started by GitLab when the merge request is merged or closed.",
        jobs::PREVIEW_SWEEP => "On schedules: what a failed stop job left behind.",
        jobs::DEPLOYMENT => {
            "Deployments, after the check. A push that changed none of a project's paths leaves its job\n\
             waiting for a person; a schedule starts all of them. Each deploys only what is not live."
        }
        _ => return None,
    };
    Some(text.to_owned())
}
