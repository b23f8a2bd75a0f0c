//! Settings of GitLab's pipeline: the optional `pipeline` section of the shared config file.

use serde::{Deserialize, Serialize};

use crate::config::Config;
use base::error::{Result, invalid_config};

/// A separate engine for every job, in Docker-in-Docker.
pub const DIND: &str = "dind";

/// No engine: jobs build and deploy with the pinned tools, on runners without privileged containers.
pub const HOST: &str = "host";

/// The start of a URL in GitLab's API. Only the job has its value.
pub const API_VARIABLE: &str = "$CI_API_V4_URL/";

/// The file that GitLab reads the pipeline from.
pub const GITLAB_FILE: &str = ".gitlab-ci.yml";

/// The URL schemes of a shared engine
/// (<https://docs.dagger.io/reference/configuration/custom-runner/>).
const SCHEMES: [&str; 5] = ["unix://", "tcp://", "kube-pod://", "ssh://", "tls://"];

/// Values for the generated `.gitlab-ci.yml`. Every field has a default.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "camelCase", default, expecting = "an object")]
pub struct PipelineSettings {
    /// The file that `cargo xtask ci generate` writes. Any file other than `.gitlab-ci.yml` is for an
    /// `include`: its jobs have a prefix, and it has no keys that would apply to other jobs.
    #[serde(skip_serializing_if = "is_gitlab_file")]
    pub file: String,
    /// The stages of an included pipeline's jobs, which `.gitlab-ci.yml` must have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stages: Option<Stages>,
    /// Dagger's engine. `dind` starts one for every job. A URL such as
    /// `unix:///run/dagger/engine.sock` or `tcp://10.0.0.7:1234` is a shared engine. `host` uses no
    /// Dagger, for runners without privileged containers.
    pub engine: String,
    /// One deploy job per project, or one for all of them.
    pub deploy: DeployJobs,
    /// The scripts of `package.json` that the job `check` runs in the affected projects. A project without the script
    /// is skipped.
    pub check: Vec<String>,
    /// The environments that the default branch deploys to, in this order. The first is deployed automatically. The
    /// jobs of each other one are manual and need the jobs of the previous environment.
    pub environments: Vec<String>,
    /// The time after which GitLab stops a preview, in GitLab's format of durations.
    pub preview_lifetime: String,
    /// The image that jobs run in: git, curl, a C compiler, rustup.
    pub image: String,
    /// The image of the Docker daemon that runs as a service of the job. Unused with a shared engine.
    pub docker_image: String,
    /// The URL of the Dagger CLI's releases: a folder with one folder per version.
    pub dagger_downloads: String,
    /// The SHA-256 of the Dagger CLI's archive for the runners. Without it the archive is compared
    /// with the checksums next to it, which detects a broken download but not a forged one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dagger_sha256: Option<String>,
    /// The URL of an archive of `cargo xtask dist`, for runners without Rust. Jobs download it instead of compiling
    /// xtask. A URL that begins with `$CI_API_V4_URL/` is a file of GitLab's package registry, which gets the job
    /// token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub xtask_archive: Option<String>,
    /// The SHA-256 of that archive. Required with `xtaskArchive`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub xtask_sha256: Option<String>,
    /// The tags of the runners for the jobs. By default any runner.
    pub tags: Vec<String>,
    /// The tags of the runners for deployments, if they differ.
    pub deploy_tags: Vec<String>,
}

/// The stages of an included pipeline's jobs.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "camelCase", expecting = "an object")]
pub struct Stages {
    /// The stage of the check.
    pub check: String,
    /// The stage of previews.
    pub preview: String,
    /// The stage of deployments.
    pub deploy: String,
}

impl Default for Stages {
    /// Returns stages that GitLab has by default.
    fn default() -> Stages {
        let [check, preview, deploy] = ["test", "deploy", "deploy"].map(str::to_owned);
        Stages { check, preview, deploy }
    }
}

fn is_gitlab_file(file: &str) -> bool {
    file == GITLAB_FILE
}

/// The division of deployments into jobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum DeployJobs {
    /// A job, an environment and a history for each project.
    #[default]
    JobPerProject,
    /// One job that deploys several projects in parallel, for repositories with many projects.
    OneJob,
}

impl Default for PipelineSettings {
    fn default() -> PipelineSettings {
        PipelineSettings {
            file: GITLAB_FILE.to_owned(),
            stages: None,
            engine: DIND.to_owned(),
            deploy: DeployJobs::default(),
            check: vec!["test".to_owned()],
            environments: vec!["production".to_owned()],
            preview_lifetime: "1 week".to_owned(),
            image: "rust:1-trixie".to_owned(),
            docker_image: "docker:27.2.0-dind".to_owned(),
            dagger_downloads: "https://dl.dagger.io/dagger/releases".to_owned(),
            dagger_sha256: None,
            xtask_archive: None,
            xtask_sha256: None,
            tags: Vec::new(),
            deploy_tags: Vec::new(),
        }
    }
}

impl PipelineSettings {
    /// Returns the URL of the shared engine. `None` for an engine per job, and without Dagger.
    #[must_use]
    pub fn shared_engine(&self) -> Option<&str> {
        (self.engine != DIND && self.engine != HOST).then_some(self.engine.as_str())
    }

    /// Returns true if jobs use Dagger.
    #[must_use]
    pub fn has_dagger(&self) -> bool {
        self.engine != HOST
    }

    /// Returns true if another file includes the generated one.
    #[must_use]
    pub fn is_included(&self) -> bool {
        self.file != GITLAB_FILE
    }

    /// Refuses unknown environments and repeated ones. The default may be missing: without it, nothing is deployed.
    fn check_environments(&self, config: &Config, at: &dyn Fn(&str) -> String) -> Result<()> {
        if self.environments == PipelineSettings::default().environments {
            return Ok(());
        }
        let names =
            || config.environments.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        for (index, name) in self.environments.iter().enumerate() {
            let place = at("\"environments\"");
            if !config.environments.contains_key(name) {
                return Err(invalid_config(format!(
                    "{place}: `pipeline.environments` has `{name}`, which is not one of `environments`"
                ))
                .hint(format!("choose from: {}", names())));
            }
            if self.environments[..index].contains(name) {
                return Err(invalid_config(format!(
                    "{place}: `pipeline.environments` has `{name}` twice"
                ))
                .hint("remove one of them"));
            }
        }
        Ok(())
    }

    /// Refuses an archive of xtask that a job could not download or verify.
    fn check_archive(&self, at: &dyn Fn(&str) -> String) -> Result<()> {
        let Some(archive) = &self.xtask_archive else {
            return match self.xtask_sha256 {
                None => Ok(()),
                Some(_) => Err(invalid_config(format!(
                    "{}: `pipeline.xtaskSha256` is the checksum of no archive",
                    at("\"xtaskSha256\"")
                ))
                .hint("add `pipeline.xtaskArchive`, or remove it")),
            };
        };
        let place = at("\"xtaskArchive\"");
        let rest = ["https://", "http://", API_VARIABLE]
            .iter()
            .find_map(|start| archive.strip_prefix(start));
        let is_address = rest.is_some_and(|rest| {
            !rest.is_empty()
                && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~:/?&=%+@[]".contains(&b))
        });
        if !is_address {
            return Err(invalid_config(format!(
                "{place}: `pipeline.xtaskArchive` is `{archive}`, and must be an address"
            ))
            .hint(format!(
                "write `https://…`, or `{API_VARIABLE}projects/…` for GitLab's package registry"
            )));
        }
        if self.xtask_sha256.is_none() {
            return Err(invalid_config(format!(
                "{place}: `pipeline.xtaskArchive` needs its checksum, `pipeline.xtaskSha256`"
            ))
            .hint("write the one that `cargo xtask dist` printed; the file `.sha256` beside the archive has it too"));
        }
        Ok(())
    }

    /// Refuses values with which the pipeline could not run. `at` formats a position in the file.
    pub fn check(&self, config: &Config, at: &dyn Fn(&str) -> String) -> Result<()> {
        let known = SCHEMES.iter().any(|scheme| self.engine.starts_with(scheme));
        let path = camino::Utf8Path::new(&self.file);
        let is_inside = crate::files::paths::normalize(path).is_some_and(|normal| normal == path);
        if !is_inside || !matches!(path.extension(), Some("yml" | "yaml")) {
            return Err(invalid_config(format!(
                "{}: `pipeline.file` is `{}`, and must be the path of a YAML file in the repository",
                at("\"file\""),
                self.file
            ))
            .hint("write `.gitlab/xtask.yml`, for example"));
        }
        if self.engine != DIND && self.engine != HOST && !known {
            return Err(invalid_config(format!(
                "{}: `pipeline.engine` is `{}`",
                at("\"engine\""),
                self.engine
            ))
            .hint(format!("write `{DIND}`, `{HOST}`, or an address: {}", SCHEMES.join(", "))));
        }
        let digits = |sum: &String| sum.len() == 64 && sum.bytes().all(|b| b.is_ascii_hexdigit());
        for (name, sum) in
            [("daggerSha256", &self.dagger_sha256), ("xtaskSha256", &self.xtask_sha256)]
        {
            if !sum.as_ref().is_none_or(digits) {
                return Err(invalid_config(format!(
                    "{}: `pipeline.{name}` must be 64 hexadecimal digits",
                    at(&format!("\"{name}\""))
                ))
                .hint("run `sha256sum` on the archive, which prints it"));
            }
        }
        self.check_archive(at)?;
        self.check_environments(config, at)
    }
}
