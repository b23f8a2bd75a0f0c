//! Reads a repository: the shared config, the projects, and their dependencies.
//!
//! Each folder is a domain. The modules that other crates use have one path, without the folder.

mod cargo;
mod changes;
pub mod config;
pub mod files;
#[cfg(test)]
mod fuzz;
pub mod git;
pub mod graph;
#[cfg(test)]
mod mutation;
mod packages;
mod projects;
mod settings;
pub mod wrangler;

pub use changes::{affected, change_base, inputs, lock_changes, path_list, summaries, summary};
pub use config::{cargo_config, environment_names, modules, own_repository, pipeline, toolchain};
pub use files::{key, names, paths, pattern, symlinks, yaml};
pub use packages::{
    build_script, deploy_script, detect, install_coverage, installation, node_version, package,
    package_manager, range,
};
pub use projects::{discovery, exclusion, project};
pub use settings::{before_deploy, health, steps, strategy, wrangler_flags};
pub use wrangler::{
    bound_workers, compatibility_date, cron_rules, dev_vars, field_types, remote_binding,
    route_rules, routes, triggers,
};

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};

use base::error::{Error, Result, refused, usage};
use config::Config;
use files::names::{
    MANIFEST, NPMRC, PNPM, TSCONFIGS, YARN_LOCK, YARNRC, cargo_folder, is_config_name,
    is_install_file, is_task_config,
};
use files::symlinks::SymlinkReader;
use files::{Source, folder_name};
use git::{FileList, Listing};
use graph::Graph;
use graph::edges::EdgeBuilder;
use packages::package::Package;
use packages::package_manager::LockFileKind;
use packages::roots::{Root, RootFiles};
use projects::discovery::{
    BrokenConfig, Discoveries, Discovery, SearchFolders, ignored_notes, unnamed_note,
};
use projects::project::Project;

/// The content of the repository.
#[derive(Debug)]
pub struct Workspace {
    /// The repository's root, absolute.
    pub root: Utf8PathBuf,
    /// The source of its files.
    pub files: Source,
    /// The shared config file.
    pub config: Config,
    /// Every project, sorted by folder.
    pub projects: Vec<Project>,
    /// The wrangler configs that cannot be used, sorted by folder.
    pub broken: Vec<BrokenConfig>,
    /// The wrangler configs that are a variant of a project in the same folder.
    pub ignored_configs: Vec<Utf8PathBuf>,
    /// The folders that are searched for projects.
    pub folders: SearchFolders,
    /// The configs that wrangler would use, in folders that are not searched.
    pub outside_configs: Vec<Utf8PathBuf>,
    /// The configs of projects that a sparse checkout leaves out.
    configs_outside_of_checkout: Vec<Utf8PathBuf>,
    /// Every package of the repository, by the text of its folder: comparing paths part by part is
    /// slow.
    pub packages: BTreeMap<String, Package>,
    /// The error of each `package.json` that cannot be read, by folder.
    pub unreadable: BTreeMap<Utf8PathBuf, Error>,
    /// The dependencies of each project and package.
    pub graph: Graph,
    /// The caller's folder, relative to the root. `None` if it is outside of the repository.
    pub current_folder: Option<Utf8PathBuf>,
    /// Every file of the working tree. `None` for a commit, or if a path is not UTF-8.
    pub all_files: Option<FileList>,
    /// The files of Cargo that git lists. Some may be deleted.
    cargo_files: BTreeSet<Utf8PathBuf>,
    /// Lock files and settings of package managers.
    install_files: Vec<Utf8PathBuf>,
    /// The submodules without a checkout, in folders that are searched and in no project.
    missing_submodules: Vec<Utf8PathBuf>,
    /// The submodules with a checkout, sorted.
    submodules: Vec<Utf8PathBuf>,
    /// The settings of Turborepo and Nx, sorted.
    task_configs: Vec<Utf8PathBuf>,
    /// The kinds of the lock files in each folder.
    locks: BTreeMap<String, Vec<LockFileKind>>,
    /// The TypeScript configs of packages and projects, each with the folders whose code it is for.
    tsconfigs: BTreeMap<Utf8PathBuf, Vec<Utf8PathBuf>>,
    /// The symbolic links of the repository.
    links: Vec<Utf8PathBuf>,
    /// The roots of workspaces, by folder.
    roots: BTreeMap<String, Root>,
}

impl Workspace {
    /// Reads the repository at `root`: all packages, and the projects in [`discovery::SearchFolders`]. Ignored
    /// files and dependency folders do not count. Collects the configs that cannot be read, because repositories contain
    /// such configs in fixtures and templates. Caches its searches of the code below `.xtask/`.
    pub fn load(root: &Utf8Path) -> Result<Workspace> {
        Workspace::from_source(root, Source::from_working_tree_with_cache(root))
    }

    /// Reads the repository as [`Workspace::load`] does. A wrangler config that cannot be read is an error.
    pub fn load_strict(root: &Utf8Path) -> Result<Workspace> {
        let mut workspace = Workspace::load(root)?;
        match workspace.broken.iter().position(|broken| !broken.is_unnamed) {
            None => Ok(workspace),
            Some(index) => Err(workspace.broken.remove(index).failure),
        }
    }

    /// Reads the repository as [`Workspace::load`] does, and writes nothing, for `doctor`.
    pub fn load_without_cache(root: &Utf8Path) -> Result<Workspace> {
        Workspace::from_source(root, Source::from_working_tree(root))
    }

    /// Reads a commit as [`Workspace::load`] does, independent of the working tree.
    pub fn load_commit(root: &Utf8Path, commit: &str) -> Result<Workspace> {
        Workspace::from_source(root, Source::from_commit(root, commit)?)
    }

    /// Reads the repository at `root` with a shared config that does not exist yet.
    pub fn load_with_config(root: &Utf8Path, config: Config) -> Result<Workspace> {
        Workspace::with_config(root, Source::from_working_tree(root), config)
    }

    fn from_source(root: &Utf8Path, files: Source) -> Result<Workspace> {
        let config = Config::read(&files)?;
        Workspace::with_config(root, files, config)
    }

    fn with_config(root: &Utf8Path, files: Source, config: Config) -> Result<Workspace> {
        let folders = SearchFolders::new(&config)?;
        let Listing {
            files: mut listed,
            links,
            all: all_files,
            submodules,
            mut missing_submodules,
        } = files.list()?;
        let (packages, unreadable) = packages(&files, &listed)?;
        let cargo_files = listed.extract_if(.., |path| cargo_folder(path).is_some()).collect();
        listed.retain(|path| path.file_name() != Some(MANIFEST));
        let missing: Vec<_> = listed.extract_if(.., |path| files.is_missing(path)).collect();
        let missing = missing.into_iter().filter(|path| has_name(path, is_config_name)).collect();
        let not_checked_out = projects::sparse::configs_outside(&files, missing);
        let (found, folders) =
            Discovery::new(&files, folders, (&packages, &unreadable), &submodules)
                .find(&listed, not_checked_out);
        let Discoveries {
            projects,
            broken,
            ignored: ignored_configs,
            outside: outside_configs,
            not_checked_out: configs_outside_of_checkout,
        } = found;
        missing_submodules.retain(|path| {
            folders.may_hold(path) && !projects.iter().any(|project| path.starts_with(&project.dir))
        });
        let dirs: BTreeSet<&str> = projects.iter().map(|project| project.dir.as_str()).collect();
        let code: BTreeSet<&str> = packages.keys().map(String::as_str).chain(dirs).collect();
        let tsconfigs = find_tsconfigs(&listed, &code);
        let task_configs: Vec<_> =
            listed.iter().filter(|path| has_name(path, is_task_config)).cloned().collect();
        let mut projects = projects;
        projects::nx_build::infer(&files, all_files.as_ref(), &task_configs, &mut projects);
        let install_files: Vec<_> =
            listed.into_iter().filter(|path| has_name(path, is_install_file)).collect();
        let mut workspace = Workspace {
            root: root.to_owned(),
            config,
            projects,
            broken,
            ignored_configs,
            folders,
            outside_configs,
            configs_outside_of_checkout,
            unreadable,
            graph: Graph::default(),
            current_folder: current_folder(root),
            roots: find_roots(&files, &packages, &install_files),
            locks: packages::lock_folder::locks_by_folder(&install_files),
            packages,
            cargo_files,
            install_files,
            task_configs,
            submodules,
            missing_submodules,
            tsconfigs,
            links,
            all_files,
            files,
        };
        let graph_builder = EdgeBuilder::new(&workspace).build();
        workspace.set_aside(|project| graph_builder.problem_of(&project.dir).cloned());
        workspace.graph = graph_builder.finish();
        Ok(workspace)
    }

    /// Moves the projects that have a problem to the broken configs, so that it stops no other project.
    fn set_aside(&mut self, problem_of: impl Fn(&Project) -> Option<Error>) {
        for project in std::mem::take(&mut self.projects) {
            match problem_of(&project) {
                None => self.projects.push(project),
                Some(failure) => {
                    self.broken.push(BrokenConfig {
                        failure,
                        dir: project.dir,
                        config: project.config,
                        is_unnamed: false,
                    });
                }
            }
        }
        self.broken.sort_by(|one, other| one.config.cmp(&other.config));
    }

    /// Returns the packages with a build, also those whose wrangler config has it.
    pub(crate) fn built_packages(&self) -> impl Iterator<Item = &Package> {
        let own = self.projects.iter().filter_map(|project| {
            let has_command = project.wrangler.value["build"]["command"].is_string();
            project
                .package
                .as_ref()
                .filter(|package| package.builds() || (has_command && package.dir == project.dir))
        });
        self.packages.values().filter(|package| package.builds()).chain(own)
    }

    /// Returns the submodules with a checkout.
    #[must_use]
    pub fn submodules(&self) -> &[Utf8PathBuf] {
        &self.submodules
    }

    /// Returns the submodule that `dir` is in. `None` if it is in none.
    pub(crate) fn submodule_of(&self, dir: &Utf8Path) -> Option<&Utf8Path> {
        let around = self.submodules.iter().filter(|path| dir.starts_with(path));
        around.max_by_key(|path| path.as_str().len()).map(Utf8PathBuf::as_path)
    }

    /// Returns true if `package` is the root of a workspace.
    #[must_use]
    pub fn is_workspace_root(&self, package: &Package) -> bool {
        self.roots.contains_key(package.dir.as_str())
    }

    /// Returns the root of the workspace that a package in `dir` is a member of, which may not exist yet. With the package
    /// manager, if a file names one.
    #[must_use]
    pub fn workspace_of(&self, dir: &Utf8Path) -> Option<(&Utf8Path, Option<LockFileKind>)> {
        let root = packages::members::find_root(&self.roots, dir)?;
        let manager = self.roots.get(root).and_then(|root| root.manager);
        let has_pnpm_file = self.install_files.contains(&Utf8Path::new(root).join(PNPM));
        let manager = manager.or_else(|| has_pnpm_file.then_some(LockFileKind::Pnpm));
        Some((Utf8Path::new(root), manager))
    }

    /// Returns the folder in which the dependencies of `package` are installed: the root of its workspace, else its own.
    /// With the package manager, if a file names one.
    #[must_use]
    pub fn install_folder<'a>(
        &'a self,
        package: &'a Package,
    ) -> (&'a Utf8Path, Option<LockFileKind>) {
        self.workspace_of(&package.dir).unwrap_or_else(|| {
            let field = package.package_manager.as_deref();
            (&package.dir, field.and_then(LockFileKind::from_field))
        })
    }

    /// Returns the packages in the folders that are searched for projects.
    pub fn packages_beside_projects(&self) -> impl Iterator<Item = &Package> {
        self.packages.values().filter(|package| self.folders.holds(&package.dir))
    }

    /// Returns the projects with these names, or all projects if `names` is empty. Errors if a name refers
    /// to a config that cannot be used.
    pub fn select(&self, names: &[String]) -> Result<Vec<&Project>> {
        if names.is_empty() {
            return Ok(self.projects.iter().collect());
        }
        let mut selected: Vec<&Project> = Vec::new();
        for name in names {
            let project = self.project(name)?;
            if !selected.iter().any(|other| other.config == project.config) {
                selected.push(project);
            }
        }
        Ok(selected)
    }

    /// Returns notes on the configs that are not projects, and on the lock files that are not used.
    #[must_use]
    pub fn config_notes(&self) -> Vec<String> {
        let projects = self.projects.iter().map(|project| project.dir.as_path());
        let used = projects.chain(self.broken.iter().map(|broken| broken.dir.as_path())).collect();
        let ignored = ignored_notes(&self.ignored_configs, &used);
        let notes =
            unnamed_note(&self.broken).into_iter().chain(ignored).chain(self.outside_note());
        notes.chain(self.sparse_note()).chain(self.unused_lock_notes()).collect()
    }

    /// Returns the project whose folder contains the caller's. `None` in the repository's root, which selects every
    /// project, and outside of projects. Errors if the folder has several projects, or one that cannot be used.
    pub fn current_project(&self) -> Result<Option<&Project>> {
        let Some(folder) = self.current_folder.as_deref().filter(|dir| !dir.as_str().is_empty())
        else {
            return Ok(None);
        };
        let nearest = folder.ancestors().filter(|dir| !dir.as_str().is_empty()).find(|dir| {
            let has = |own: &Utf8Path| own == *dir;
            self.projects.iter().any(|project| has(&project.dir))
                || self.broken.iter().any(|broken| has(&broken.dir))
        });
        let Some(dir) = nearest else { return Ok(None) };
        let found: Vec<&Project> =
            self.projects.iter().filter(|project| project.dir == dir).collect();
        match (found.as_slice(), self.broken.iter().find(|broken| broken.dir == dir)) {
            ([project], _) => Ok(Some(project)),
            ([], Some(broken)) => Err(broken.failure.clone()),
            (several, _) => {
                let names: Vec<&str> =
                    several.iter().map(|project| project.name.as_str()).collect();
                Err(usage(format!("the folder {dir} has more than one project"))
                    .hint(format!("name one: {}", names.join(", "))))
            }
        }
    }

    /// Returns the project `name`. `.` is the project of the caller's folder.
    pub fn project(&self, name: &str) -> Result<&Project> {
        if name == "." {
            return self.project_here();
        }
        project::select(&self.projects, name).map_err(|unknown| {
            let unknown = self.explain_unknown(name, unknown);
            let broken = self.broken.iter().find(|broken| broken.answers_to(name));
            let found = broken.map(|broken| broken.failure.clone());
            found
                .or_else(|| projects::sparse::project_outside(&self.files, name))
                .unwrap_or(unknown)
        })
    }

    /// Returns the project of the caller's folder. In the root that is the project of the root, if there is one.
    fn project_here(&self) -> Result<&Project> {
        if let Some(project) = self.current_project()? {
            return Ok(project);
        }
        let folder = self.current_folder.as_ref();
        let folder = folder.map_or("outside of the repository", |folder| folder_name(folder));
        let in_root: Vec<&Project> = match &self.current_folder {
            Some(folder) if folder.as_str().is_empty() => {
                self.projects.iter().filter(|project| project.dir.as_str().is_empty()).collect()
            }
            _ => Vec::new(),
        };
        match in_root.as_slice() {
            [project] => Ok(project),
            _ => Err(usage(format!("`.` means no project, because this is {folder}"))
                .hint("name a project; `cargo xtask projects` lists them")),
        }
    }
}

/// Returns the caller's folder, relative to `root`.
fn current_folder(root: &Utf8Path) -> Option<Utf8PathBuf> {
    let folder = std::env::current_dir().ok()?.canonicalize().ok()?;
    let root = root.canonicalize_utf8().ok()?;
    Utf8PathBuf::from_path_buf(folder.strip_prefix(root).ok()?.to_owned()).ok()
}

fn has_name(path: &Utf8Path, test: impl Fn(&str) -> bool) -> bool {
    path.file_name().is_some_and(test)
}

/// Returns the TypeScript configs of the folders in `code`, each with those whose code it is for. A folder without a
/// config has the nearest one above, as bundlers have it.
fn find_tsconfigs(
    listed: &[Utf8PathBuf],
    code: &BTreeSet<&str>,
) -> BTreeMap<Utf8PathBuf, Vec<Utf8PathBuf>> {
    let mut there: BTreeMap<&Utf8Path, Vec<&Utf8PathBuf>> = BTreeMap::new();
    for path in listed.iter().filter(|path| has_name(path, |name| TSCONFIGS.contains(&name))) {
        there.entry(path.parent().unwrap_or(Utf8Path::new(""))).or_default().push(path);
    }
    let mut found: BTreeMap<Utf8PathBuf, Vec<Utf8PathBuf>> = BTreeMap::new();
    if there.is_empty() {
        return found;
    }
    for dir in code.iter().map(Utf8Path::new) {
        let configs = dir.ancestors().find_map(|above| there.get(above));
        for path in configs.into_iter().flatten() {
            found.entry((*path).clone()).or_default().push(dir.to_owned());
        }
    }
    found
}

/// Returns the roots of workspaces, by folder.
fn find_roots(
    files: &Source,
    packages: &BTreeMap<String, Package>,
    install_files: &[Utf8PathBuf],
) -> BTreeMap<String, Root> {
    let mut settings: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for path in install_files {
        let dir = path.parent().map_or("", Utf8Path::as_str);
        settings.entry(dir).or_default().extend(path.file_name());
    }
    let is_root = |package: &&Package| !package.workspaces.is_empty();
    let with_patterns = packages.values().filter(is_root).map(|package| package.dir.as_str());
    let with_pnpm = settings.iter().filter(|(_, names)| names.contains(&PNPM)).map(|(dir, _)| *dir);
    let dirs: BTreeSet<&str> = with_patterns.chain(with_pnpm).collect();
    let root = |dir: &str| {
        let names = settings.get(dir).map_or(&[][..], Vec::as_slice);
        let read = |name: &str| {
            let path = Utf8Path::new(dir).join(name);
            names.contains(&name).then(|| files.read(&path).ok()).flatten()
        };
        let (pnpm_workspace, npmrc, yarnrc) = (read(PNPM), read(NPMRC), read(YARNRC));
        // It is long, and its format matters only beside another one.
        let is_below = |path: &Utf8PathBuf| {
            has_name(path, |name| name == YARN_LOCK)
                && path.parent().is_some_and(|folder| folder != dir && folder.starts_with(dir))
        };
        let yarn_lock = install_files.iter().any(is_below).then(|| read(YARN_LOCK)).flatten();
        let locks: Vec<_> =
            names.iter().filter_map(|name| LockFileKind::from_file_name(name)).collect();
        Root::new(&RootFiles {
            package: packages.get(dir),
            pnpm_workspace: pnpm_workspace.as_deref(),
            npmrc: npmrc.as_deref(),
            yarnrc: yarnrc.as_deref(),
            yarn_lock: yarn_lock.as_deref(),
            locks: &locks,
        })
    };
    dirs.into_iter().filter_map(|dir| Some((dir.to_owned(), root(dir)?))).collect()
}

type Packages = (BTreeMap<String, Package>, BTreeMap<Utf8PathBuf, Error>);

/// Reads the packages, and the errors of those that cannot be read. Uses several threads, because a
/// repository may have thousands.
fn packages(files: &Source, listed: &[Utf8PathBuf]) -> Result<Packages> {
    let manifests: Vec<&Utf8PathBuf> =
        listed.iter().filter(|path| has_name(path, |name| name == MANIFEST)).collect();
    let load = |reader: &mut SymlinkReader, path: &Utf8Path| {
        let dir = path.parent().unwrap_or(Utf8Path::new(""));
        let package = match reader.read(path) {
            Err(_) if files.is_missing(path) => return None,
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
                    let mut reader = SymlinkReader::new(files);
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
                Err(failure) => drop(unreadable.insert(dir, failure)),
            }
        }
    }
    Ok((packages.into_iter().collect(), unreadable))
}

/// The number of threads that read manifests.
const READERS: usize = 4;
