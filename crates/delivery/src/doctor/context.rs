//! The values that the checks of one run share. Each is read once, by the first check that needs it.

use std::sync::OnceLock;

use camino::{Utf8Path, Utf8PathBuf};

use super::readiness;
use base::error::{Error, ErrorKind, Result};
use base::probe;
use deployment::plan::refusal::ProjectRefusal;
use deployment::tools::bun::{self, OnPath};
use deployment::tools::program::{Location, reported_version};
use gitlab::ci::CiVariables;
use workspace::Workspace;
use workspace::config::{Config, LOCAL};
use workspace::project::Project;

/// The shared values of the checks.
pub struct Context {
    /// The repository's root.
    pub root: Utf8PathBuf,
    /// The requested environment.
    pub environment: Option<String>,
    /// Skip requests over the network.
    pub offline: bool,
    /// The variables of the GitLab job.
    pub ci: CiVariables,
    config: Result<Config>,
    names: Vec<String>,
    workspace: OnceLock<Result<Workspace>>,
    projects: OnceLock<Result<Vec<Project>>>,
    refusals: OnceLock<Vec<ProjectRefusal>>,
    bun: OnceLock<Option<Location>>,
    bun_on_path: OnceLock<Option<OnPath>>,
}

impl Context {
    /// Creates the context below `root`. `names` are the requested projects. Empty means all.
    #[must_use]
    pub fn new(root: &Utf8Path, environment: Option<String>, names: Vec<String>) -> Context {
        Context::with_config(root, Config::load(root), environment, names)
    }

    /// Creates the context with a config that is read already.
    #[must_use]
    pub fn with_config(
        root: &Utf8Path,
        config: Result<Config>,
        environment: Option<String>,
        names: Vec<String>,
    ) -> Context {
        Context {
            root: root.to_owned(),
            environment,
            offline: true,
            ci: CiVariables::default(),
            config,
            names,
            workspace: OnceLock::new(),
            projects: OnceLock::new(),
            refusals: OnceLock::new(),
            bun: OnceLock::new(),
            bun_on_path: OnceLock::new(),
        }
    }

    /// Returns the shared config file, or the reason why it cannot be read.
    pub fn config(&self) -> Result<&Config, &Error> {
        self.config.as_ref()
    }

    /// Returns the requested environment, or `local`.
    #[must_use]
    pub fn environment(&self) -> &str {
        self.environment.as_deref().unwrap_or(LOCAL)
    }

    /// Returns true if an environment at Cloudflare was requested.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        self.environment() != LOCAL
    }

    /// Refuses names of environments and projects that do not exist. The checks report files that
    /// cannot be read.
    pub fn refuse_unknown_names(&self) -> Result<()> {
        if let (Ok(config), Some(name)) = (&self.config, &self.environment) {
            config.require_environment(name)?;
        }
        if self.names.is_empty() {
            return Ok(());
        }
        match self.read() {
            Err(error) if error.kind == ErrorKind::Usage => Err(error.clone()),
            _ => Ok(()),
        }
    }

    /// Returns the workspace, or the reason why it cannot be read.
    pub fn workspace(&self) -> Result<&Workspace, &Error> {
        self.workspace.get_or_init(|| Workspace::load_without_cache(&self.root)).as_ref()
    }

    /// Returns the requested projects, or the reason why they cannot be read.
    pub fn read(&self) -> Result<&Vec<Project>, &Error> {
        let read = || {
            let workspace = self.workspace().map_err(Error::clone)?;
            Ok(workspace.select(&self.names)?.into_iter().cloned().collect())
        };
        self.projects.get_or_init(read).as_ref()
    }

    /// Returns the requested projects. `None` if they cannot be read, which the check `projects` reports.
    pub fn projects(&self) -> Option<&[Project]> {
        self.read().ok().map(Vec::as_slice)
    }

    /// Returns the rules that the projects break in a deployment to the environment.
    pub fn refusals(&self) -> &[ProjectRefusal] {
        let find = || {
            let (Ok(workspace), Some(projects)) = (self.workspace(), self.projects()) else {
                return Vec::new();
            };
            readiness::refusals(workspace, projects, self.environment())
        };
        self.refusals.get_or_init(find)
    }

    /// Returns the Bun on PATH, in any version.
    pub fn bun_on_path(&self) -> Option<&OnPath> {
        self.bun_on_path.get_or_init(|| bun::on_path(probe::QUICK)).as_ref()
    }

    /// Returns Bun in the pinned version. `None` if the config with the pin cannot be read.
    pub fn bun(&self) -> Option<&Location> {
        let look = || {
            let version = &self.config.as_ref().ok()?.tools.bun;
            let on_path = self.bun_on_path().cloned();
            let ask = |program: &Utf8Path| reported_version(program, probe::PATIENT);
            Some(bun::choose(&self.root, version, on_path, ask))
        };
        self.bun.get_or_init(look).as_ref()
    }
}
