//! What exists in the repository: the shared config, the projects, and how they hang together.

pub mod affected;
pub mod base;
pub mod config;
pub mod discovery;
mod edges;
mod glob;
pub mod graph;
pub mod inside;
pub mod key;
pub mod listed;
mod members;
pub mod package;
pub mod pipeline;
pub mod project;
mod range;
pub mod strategy;
pub mod wrangler;

use std::collections::BTreeMap;

use anyhow::Result;
use camino::{Utf8Path, Utf8PathBuf};

use crate::error::{Failure, refused};
use crate::tools::git;
use config::Config;
use discovery::{Broken, Discovery, Place};
use edges::{INSTALL_SETTINGS, LOCK_FILES};
use inside::{Reader, read};
use members::Root;
use package::Package;
use project::Project;
use wrangler::CONFIG_NAMES;

/// The repository as xtask sees it.
#[derive(Debug)]
pub struct Workspace {
    /// The repository's root, absolute.
    pub root: Utf8PathBuf,
    /// The shared config file.
    pub config: Config,
    /// Every project, sorted by folder.
    pub projects: Vec<Project>,
    /// The wrangler configs that no project can be made of, sorted by folder.
    pub broken: Vec<Broken>,
    /// Every package of the repository, by the text of its folder: comparing paths part by part is
    /// slow.
    pub packages: BTreeMap<String, Package>,
    /// Why a `package.json` cannot be read, by folder.
    pub unreadable: BTreeMap<Utf8PathBuf, String>,
    /// Lock files and settings of package managers.
    install_files: Vec<Utf8PathBuf>,
    /// The folders with a `pnpm-workspace.yaml`.
    pnpm: BTreeMap<String, Root>,
}

impl Workspace {
    /// Reads the repository at `root`: packages of the whole tree; projects where
    /// [`discovery::Place`] says. Files that git ignores and dependency folders do not count. A wrangler
    /// config that cannot be read is an error.
    pub fn load(root: &Utf8Path) -> Result<Workspace> {
        let mut workspace = Workspace::survey(root)?;
        match workspace.broken.is_empty() {
            true => Ok(workspace),
            false => Err(workspace.broken.remove(0).failure.into()),
        }
    }

    /// The same with the configs that cannot be read beside the projects: repositories hold such ones
    /// as fixtures and templates.
    pub fn survey(root: &Utf8Path) -> Result<Workspace> {
        Workspace::of(root, true)
    }

    /// The same without files that git does not track yet, which takes a walk through all folders.
    pub fn survey_tracked(root: &Utf8Path) -> Result<Workspace> {
        Workspace::of(root, false)
    }

    fn of(root: &Utf8Path, untracked: bool) -> Result<Workspace> {
        let config = Config::load(root)?;
        let mut files = git::files(root, untracked, matters)?;
        let (packages, unreadable) = packages(root, &files)?;
        files.retain(|path| path.file_name() != Some("package.json") && root.join(path).exists());
        let (projects, broken) = Discovery::new(root, &config, &packages, &unreadable).find(&files);
        let npmrc = |dir: &Utf8Path| read(root, &dir.join(".npmrc")).unwrap_or_default();
        let pnpm = files.iter().filter(|path| path.file_name() == Some(PNPM)).filter_map(|path| {
            let dir = path.parent().unwrap_or(Utf8Path::new(""));
            Some((dir.to_string(), Root::pnpm(&read(root, path).ok()?, &npmrc(dir))))
        });
        Ok(Workspace {
            root: root.to_owned(),
            config,
            projects,
            broken,
            packages,
            unreadable,
            pnpm: pnpm.collect(),
            install_files: files.into_iter().filter(|path| named(path, installs)).collect(),
        })
    }

    /// Whether `package` stands above the packages of a workspace.
    #[must_use]
    pub fn is_workspace_root(&self, package: &Package) -> bool {
        !package.workspaces.is_empty() || self.pnpm.contains_key(package.dir.as_str())
    }

    /// The packages below the place that projects are looked for.
    pub fn packages_beside_projects(&self) -> impl Iterator<Item = &Package> {
        let place = Place::of(&self.root, &self.config);
        self.packages.values().filter(move |package| place.holds(&package.dir))
    }

    /// The projects that `names` mean, or all of them for no name. A config that cannot be read is an
    /// error where it is meant.
    pub fn select(&self, names: &[String]) -> Result<Vec<&Project>, Failure> {
        if names.is_empty() {
            self.broken.first().map_or(Ok(()), |broken| Err(broken.in_the_way()))?;
            return Ok(self.projects.iter().collect());
        }
        let mut selected: Vec<&Project> = Vec::new();
        for name in names {
            let project = self.project(name)?;
            if !selected.iter().any(|other| other.dir == project.dir) {
                selected.push(project);
            }
        }
        Ok(selected)
    }

    /// The project that `name` means.
    pub fn project(&self, name: &str) -> Result<&Project, Failure> {
        project::select(&self.projects, name).map_err(|unknown| {
            let broken = self.broken.iter().find(|broken| broken.answers_to(name));
            broken.map_or(unknown, |broken| broken.failure.clone())
        })
    }
}

/// The name of the file that makes a pnpm workspace.
const PNPM: &str = "pnpm-workspace.yaml";

fn named(path: &Utf8Path, test: impl Fn(&str) -> bool) -> bool {
    path.file_name().is_some_and(test)
}

fn installs(name: &str) -> bool {
    LOCK_FILES.contains(&name) || INSTALL_SETTINGS.contains(&name)
}

/// Whether a file of this name says what exists.
#[must_use]
pub fn matters(name: &str) -> bool {
    name == "package.json" || CONFIG_NAMES.contains(&name) || installs(name)
}

type Packages = (BTreeMap<String, Package>, BTreeMap<Utf8PathBuf, String>);

/// The packages, and why some cannot be read. Several threads read, since a repository may hold
/// thousands.
fn packages(root: &Utf8Path, files: &[Utf8PathBuf]) -> Result<Packages> {
    let manifests: Vec<&Utf8PathBuf> =
        files.iter().filter(|path| named(path, |name| name == "package.json")).collect();
    let load = |reader: &mut Reader, path: &Utf8Path| {
        let dir = path.parent().unwrap_or(Utf8Path::new(""));
        let package = match reader.read(path) {
            Err(_) if !root.join(path).exists() => return None,
            text => text.and_then(|text| Package::parse(dir, &text)),
        };
        Some((dir.to_owned(), package))
    };
    let share = manifests.len().div_ceil(READERS).max(1);
    let loaded: Vec<_> = std::thread::scope(|scope| {
        let readers: Vec<_> = manifests
            .chunks(share)
            .map(|part| {
                scope.spawn(move || {
                    let mut reader = Reader::new(root);
                    part.iter().filter_map(|path| load(&mut reader, path)).collect::<Vec<_>>()
                })
            })
            .collect();
        readers.into_iter().map(std::thread::ScopedJoinHandle::join).collect()
    });
    let (mut packages, mut unreadable) = (Vec::with_capacity(manifests.len()), BTreeMap::new());
    for part in loaded {
        for (dir, package) in part.map_err(|_| refused("a thread that read manifests failed"))? {
            match package {
                Ok(package) => packages.push((dir.into_string(), package)),
                Err(failure) => drop(unreadable.insert(dir, failure.message)),
            }
        }
    }
    Ok((packages.into_iter().collect(), unreadable))
}

/// How many threads read manifests.
const READERS: usize = 4;
