//! The pipeline: `pipeline.yml` and `deploy.yml`, filled with the values of a repository.

mod changes;
mod expression;
pub mod guide;
pub mod kind;
pub mod own_jobs;
pub mod reports;
pub mod steps;
pub mod template;
pub mod variables;
mod yaml;

use base::command::quote;
use base::error::Result;
use steps::{JobOrder, PipelineStep, gitlab_environment, label};
use template::{TemplateValue, Values, fill};
use workspace::Workspace;
use workspace::config::{CONFIG_FILE, Config};
use workspace::modules::TOOL_LOCK;
use workspace::own_repository::OwnRepository;
use workspace::pipeline::{DIND, DeployJobs, HOST, Stages};
use workspace::project::Project;

pub use workspace::pipeline::GITLAB_FILE as FILE;

/// The beginning of a generated file.
pub const HEADER: &str = "# Written by `cargo xtask ci generate`";

/// The file without the deploy jobs.
const PIPELINE: &str = include_str!("pipeline.yml");

/// A deploy job.
const DEPLOY_JOB: &str = include_str!("deploy.yml");

/// Scripts of several lines by name.
const SCRIPTS: [(&str, &str); 4] = [
    ("add_to_path", include_str!("scripts/add-to-path.sh")),
    ("install_dagger", include_str!("scripts/install-dagger.sh")),
    ("install_xtask", include_str!("scripts/install-xtask.sh")),
    ("wait_for_docker", include_str!("scripts/wait-for-docker.sh")),
];

/// Returns the text of the pipeline's file for `workspace`.
pub fn generate(workspace: &Workspace) -> Result<String> {
    let config = &workspace.config;
    let values = values(workspace);
    let mut text = fill(PIPELINE, &values)?;
    for step in PipelineStep::all(config) {
        for job in DeployJob::all(workspace, &step)? {
            let job = values.clone().into_iter().chain(job.values(config, &step)).collect();
            text += &fill(DEPLOY_JOB, &job)?;
        }
    }
    Ok(text)
}

/// Returns the values of `pipeline.yml`. A deploy job also has those of [`DeployJob::values`].
fn values(workspace: &Workspace) -> Values {
    let config = &workspace.config;
    let settings = &config.pipeline;
    let stages = match settings.is_included() {
        true => settings.stages.clone().unwrap_or_default(),
        false => {
            let [check, preview, deploy] = ["check", "preview", "deploy"].map(str::to_owned);
            Stages { check, preview, deploy }
        }
    };
    let has_tool_workspace = workspace.root.join(TOOL_LOCK).is_file();
    let has_archive = settings.xtask_archive.is_some();
    // The repository's own test command compiles more than xtask, so its job needs Cargo even with an archive.
    let own = OwnRepository::read(&workspace.root);
    let own_check = own.as_ref().map(|own| format!("bash {}", quote(&own.check)));
    let caches = own_check.is_some() || !has_archive;
    let scripts = SCRIPTS.map(|(name, script)| (name, script.trim_end().into()));
    let values: [(&'static str, TemplateValue); 34] = [
        ("archive", settings.xtask_archive.as_deref().into()),
        ("archive_sha256", settings.xtask_sha256.as_deref().into()),
        ("caches", caches.into()),
        ("cargo_lock", if has_tool_workspace { TOOL_LOCK } else { "Cargo.lock" }.into()),
        ("check_compiles", caches.into()),
        ("check_stage", stages.check.into()),
        ("checks", settings.check.iter().map(|script| quote(script)).collect::<Vec<_>>().into()),
        ("config_file", CONFIG_FILE.into()),
        ("dagger", settings.has_dagger().into()),
        ("dagger_downloads", settings.dagger_downloads.trim_end_matches('/').into()),
        ("dagger_sha256", settings.dagger_sha256.as_deref().into()),
        ("dagger_version", config.tools.dagger.as_str().into()),
        ("deploy_stage", stages.deploy.into()),
        ("deploy_tags", settings.deploy_tags.clone().into()),
        ("deployments", (!PipelineStep::all(config).is_empty()).into()),
        ("docker", (settings.engine == DIND).into()),
        ("docker_image", settings.docker_image.as_str().into()),
        ("engine", if settings.has_dagger() { "dagger" } else { HOST }.into()),
        ("file", settings.file.as_str().into()),
        ("guide", own.as_ref().map(|own| own.guide.as_str()).into()),
        ("image", settings.image.as_str().into()),
        ("included", settings.is_included().into()),
        ("on_default_branch", on_default_branch(config).into()),
        ("own_check", own_check.as_deref().into()),
        ("prefix", prefix(config).into()),
        ("preview_lifetime", settings.preview_lifetime.as_str().into()),
        ("preview_stage", stages.preview.into()),
        ("previews", config.preview_environment().is_ok().into()),
        ("shared_engine", settings.shared_engine().into()),
        ("submodules", changes::needs_submodules(workspace).into()),
        ("tags", settings.tags.clone().into()),
        ("target", if has_tool_workspace { "xtask/target" } else { "target" }.into()),
        ("writes_caches", (settings.is_included() && caches).into()),
        ("xtask", if has_archive { "xtask" } else { "cargo xtask" }.into()),
    ];
    scripts.into_iter().chain(values).collect()
}

/// Returns the start of job names in a file that `.gitlab-ci.yml` includes.
fn prefix(config: &Config) -> &'static str {
    if config.pipeline.is_included() { "xtask:" } else { "" }
}

/// Returns the condition of deployments: the default branch of this project. A fork does not have our tokens.
fn on_default_branch(config: &Config) -> String {
    let branch = "$CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH";
    match config.gitlab.number() {
        Some(id) => format!("{branch} && $CI_PROJECT_ID == \"{id}\""),
        None => branch.to_owned(),
    }
}

/// A job that deploys one project or all of them.
struct DeployJob {
    name: String,
    /// The project. `None` for all.
    project: Option<String>,
    /// The patterns of the paths whose change starts the job. Empty if every push starts it.
    changes: Vec<String>,
    needs: Vec<String>,
    /// The name of the environment in GitLab.
    gitlab_environment: String,
}

impl DeployJob {
    /// Returns the jobs of `step`.
    fn all(workspace: &Workspace, step: &PipelineStep) -> Result<Vec<DeployJob>> {
        match workspace.config.pipeline.deploy {
            DeployJobs::OneJob => Ok(vec![DeployJob {
                name: step.job_name(None),
                project: None,
                changes: Vec::new(),
                needs: step.needs_of_all(),
                gitlab_environment: step.environment.clone(),
            }]),
            DeployJobs::JobPerProject => {
                let order = JobOrder::new(&workspace.projects, &step.environment);
                let projects = workspace.projects.iter();
                projects.map(|project| DeployJob::new(workspace, project, &order, step)).collect()
            }
        }
    }

    /// Returns the job that deploys `project`. It needs the jobs of the projects whose Workers this project's config
    /// names. Those jobs also run for the paths of this project. Otherwise GitLab would make this job wait for a
    /// manual job.
    fn new(
        workspace: &Workspace,
        project: &Project,
        order: &JobOrder<'_>,
        step: &PipelineStep,
    ) -> Result<DeployJob> {
        let changes = changes::patterns(workspace, &order.followers(project));
        Ok(DeployJob {
            name: step.job_name(Some(project)),
            project: Some(label(project).to_owned()),
            changes: changes.unwrap_or_default(),
            needs: step.needs(project, order)?,
            gitlab_environment: gitlab_environment(&step.environment, project),
        })
    }

    /// Returns the values of `deploy.yml`. GitLab skips the job of a later environment until the previous job has run.
    /// Then the job is manual.
    fn values(self, config: &Config, step: &PipelineStep) -> [(&'static str, TemplateValue); 8] {
        let is_first = step.previous.is_none();
        let prefix = prefix(config);
        let needs: Vec<String> = self.needs.iter().map(|job| format!("{prefix}{job}")).collect();
        [
            ("automatic", is_first.into()),
            ("manual", (!is_first || !self.changes.is_empty()).into()),
            ("changes", self.changes.into()),
            ("environment", quote(&step.environment).into()),
            ("gitlab_environment", self.gitlab_environment.into()),
            ("job", format!("{prefix}{}", self.name).into()),
            ("needs", needs.into()),
            ("project", self.project.map(|name| quote(&name)).unwrap_or_default().into()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Other code writes these files and searches for these strings.
    #[test]
    fn the_template_has_the_header_and_the_reports() {
        assert!(
            PIPELINE
                .lines()
                .find(|line| !line.starts_with("##"))
                .is_some_and(|line| line.starts_with(HEADER))
        );
        for report in [reports::PREVIEW, reports::DEPLOY] {
            assert!(PIPELINE.contains(&format!("dotenv: {}\n", report.file)));
            assert!(
                [PIPELINE, DEPLOY_JOB].concat().contains(&format!("url: ${}\n", report.variable))
            );
        }
        assert!(PIPELINE.contains(&format!("annotations: {}\n", reports::ANNOTATIONS)));
    }
}
