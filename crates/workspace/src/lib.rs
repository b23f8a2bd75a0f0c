//! What exists in the repository: the shared config, the projects, and how they hang together.

pub mod affected;
pub mod change_base;
pub mod config;
pub mod discovery;
mod draft;
mod edges;
pub mod files;
pub mod git;
mod glob;
pub mod graph;
pub mod health;
pub mod inside;
pub mod key;
pub mod listed;
mod members;
pub mod modules;
pub mod names;
pub mod outline;
mod outline_text;
pub mod outlines;
pub mod package;
pub mod pipeline;
pub mod project;
mod range;
pub mod strategy;
pub mod toolchain;
pub mod tree;
pub mod triggers;
pub mod wrangler;

use std::collections::BTreeMap;

use anyhow::Result;
use camino::{Utf8Path, Utf8PathBuf};

use base::error::{Failure, refused};
use config::Config;
use discovery::{Broken, Discovery, Place};
use edges::{INSTALL_SETTINGS, LOCK_FILES};
use files::{Files, MANIFEST, NPMRC, PNPM};
use inside::Reader;
use members::Root;
use package::Package;
use project::Project;

/// The repository as xtask sees it.
#[derive(Debug)]
pub struct Workspace {
    /// The repository's root, absolute.
    pub root: Utf8PathBuf,
    /// Where its files are read.
    pub files: Files,
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
        Workspace::of(root, Files::here(root))
    }

    /// The same of a commit, whatever the working tree holds.
    pub fn survey_commit(root: &Utf8Path, commit: &str) -> Result<Workspace> {
        Workspace::of(root, Files::of(root, commit)?)
    }

    /// Reads the repository at `root` as a config would have it that is not there yet.
    pub fn survey_with(root: &Utf8Path, config: Config) -> Result<Workspace> {
        Workspace::with(root, Files::here(root), config)
    }

    /// Returns the patterns of the workspaces of npm, Yarn, Bun and pnpm, from the repository's root.
    #[must_use]
    pub fn workspace_patterns(&self) -> Vec<String> {
        let own = self.packages.get("").into_iter().flat_map(|package| package.workspaces.clone());
        own.chain(self.pnpm.get("").into_iter().flat_map(|root| root.patterns())).collect()
    }

    fn of(root: &Utf8Path, files: Files) -> Result<Workspace> {
        let config = Config::read(&files)?;
        Workspace::with(root, files, config)
    }

    fn with(root: &Utf8Path, files: Files, config: Config) -> Result<Workspace> {
        let mut listed = files.list()?;
        let (packages, unreadable) = packages(&files, &listed)?;
        listed.retain(|path| path.file_name() != Some(MANIFEST) && !files.is_gone(path));
        let (projects, broken) =
            Discovery::new(&files, &config, &packages, &unreadable).find(&listed);
        let npmrc = |dir: &Utf8Path| files.read(&dir.join(NPMRC)).unwrap_or_default();
        let pnpm = listed.iter().filter(|path| path.file_name() == Some(PNPM)).filter_map(|path| {
            let dir = path.parent().unwrap_or(Utf8Path::new(""));
            Some((dir.to_string(), Root::pnpm(&files.read(path).ok()?, &npmrc(dir))))
        });
        Ok(Workspace {
            root: root.to_owned(),
            config,
            projects,
            broken,
            packages,
            unreadable,
            pnpm: pnpm.collect(),
            install_files: listed.into_iter().filter(|path| named(path, installs)).collect(),
            files,
        })
    }

    /// Whether `package` stands above the packages of a workspace.
    #[must_use]
    pub fn is_workspace_root(&self, package: &Package) -> bool {
        !package.workspaces.is_empty() || self.pnpm.contains_key(package.dir.as_str())
    }

    /// The packages below the place that projects are looked for.
    pub fn packages_beside_projects(&self) -> impl Iterator<Item = &Package> {
        let place = Place::of(&self.files, &self.config);
        self.packages.values().filter(move |package| place.holds(&package.dir))
    }

    /// Returns the projects that `names` mean, or all of them for no name. A config that cannot be used is
    /// an error if it is named.
    pub fn select(&self, names: &[String]) -> Result<Vec<&Project>, Failure> {
        if names.is_empty() {
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

fn named(path: &Utf8Path, test: impl Fn(&str) -> bool) -> bool {
    path.file_name().is_some_and(test)
}

fn installs(name: &str) -> bool {
    LOCK_FILES.contains(&name) || INSTALL_SETTINGS.contains(&name)
}

type Packages = (BTreeMap<String, Package>, BTreeMap<Utf8PathBuf, String>);

/// The packages, and why some cannot be read. Several threads read, since a repository may hold
/// thousands.
fn packages(files: &Files, listed: &[Utf8PathBuf]) -> Result<Packages> {
    let manifests: Vec<&Utf8PathBuf> =
        listed.iter().filter(|path| named(path, |name| name == MANIFEST)).collect();
    let load = |reader: &mut Reader, path: &Utf8Path| {
        let dir = path.parent().unwrap_or(Utf8Path::new(""));
        let package = match reader.read(path) {
            Err(_) if files.is_gone(path) => return None,
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
                    let mut reader = Reader::new(files);
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
