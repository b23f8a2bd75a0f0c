//! What exists in the repository: the shared config, the projects, and how they hang together.

pub mod config;
pub mod graph;
pub mod key;
pub mod package;
pub mod pipeline;
pub mod project;
pub mod wrangler;

use std::collections::BTreeMap;

use anyhow::Result;
use camino::{Utf8Path, Utf8PathBuf};

use crate::error::{Failure, refused};
use crate::tools::git;
use config::Config;
use package::Package;
use project::Project;
use wrangler::{CONFIG_NAMES, WranglerConfig};

/// The repository as xtask sees it.
#[derive(Debug)]
pub struct Workspace {
    /// The repository's root, absolute.
    pub root: Utf8PathBuf,
    /// The shared config file.
    pub config: Config,
    /// Every project, sorted by folder.
    pub projects: Vec<Project>,
    /// Every package below the places that projects are looked for, by folder.
    pub packages: BTreeMap<Utf8PathBuf, Package>,
}

impl Workspace {
    /// Reads the repository at `root`: projects below `projects/`, or anywhere when there is no such
    /// folder. Files that git ignores and dependency folders do not count.
    pub fn load(root: &Utf8Path) -> Result<Workspace> {
        let config = Config::load(root)?;
        let below = if root.join("projects").is_dir() { "projects" } else { "." };
        let files = git::files(root, below)?;
        let packages = packages(root, &files)?;
        let projects = projects(root, &files, &packages)?;
        Ok(Workspace { root: root.to_owned(), config, projects, packages })
    }

    /// The projects that `names` mean, or all of them for no name.
    pub fn select(&self, names: &[String]) -> Result<Vec<&Project>, Failure> {
        if names.is_empty() {
            return Ok(self.projects.iter().collect());
        }
        let mut selected: Vec<&Project> = Vec::new();
        for name in names {
            let project = project::select(&self.projects, name)?;
            if !selected.iter().any(|other| other.dir == project.dir) {
                selected.push(project);
            }
        }
        Ok(selected)
    }
}

fn packages(root: &Utf8Path, files: &[Utf8PathBuf]) -> Result<BTreeMap<Utf8PathBuf, Package>> {
    let manifests = files.iter().filter(|path| path.file_name() == Some("package.json"));
    let mut packages = BTreeMap::new();
    for path in manifests {
        let dir = path.parent().unwrap_or(Utf8Path::new(""));
        packages.insert(dir.to_owned(), Package::parse(dir, &read(root, path)?)?);
    }
    Ok(packages)
}

fn projects(
    root: &Utf8Path,
    files: &[Utf8PathBuf],
    packages: &BTreeMap<Utf8PathBuf, Package>,
) -> Result<Vec<Project>> {
    let rank =
        |path: &Utf8Path| CONFIG_NAMES.iter().position(|name| path.file_name() == Some(name));
    let mut configs: BTreeMap<&Utf8Path, &Utf8Path> = BTreeMap::new();
    for path in files.iter().filter(|path| rank(path).is_some()) {
        let dir = path.parent().unwrap_or(Utf8Path::new(""));
        let preferred = configs.entry(dir).or_insert(path);
        if rank(path) < rank(preferred) {
            *preferred = path;
        }
    }
    let load = |(dir, config): (&Utf8Path, &Utf8Path)| -> Result<Project> {
        let wrangler = WranglerConfig::parse(config, &read(root, config)?)?;
        Ok(Project {
            name: dir.strip_prefix("projects").unwrap_or(dir).to_string(),
            dir: dir.to_owned(),
            config: config.to_owned(),
            worker: wrangler.target(config::LOCAL).worker,
            environments: wrangler.environments.clone(),
            package: dir.ancestors().find_map(|dir| packages.get(dir)).cloned(),
            module: root.join(dir).join("dagger.json").is_file(),
            wrangler,
        })
    };
    configs.into_iter().map(load).collect()
}

fn read(root: &Utf8Path, path: &Utf8Path) -> Result<String, Failure> {
    std::fs::read_to_string(root.join(path))
        .map_err(|error| refused(format!("cannot read {path}: {error}")))
}
