//! Finds the projects: folders with a wrangler config.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};
use serde::Serialize;

use crate::config::modules;
use crate::config::{self, CONFIG_FILE, Config};
use crate::files::Source;
use crate::files::names::{MANIFEST, MODULE, PROJECTS, is_config_name};
use crate::files::pattern::Patterns;
use crate::packages::package::Package;
use crate::projects::project::{Project, ends_with_path};
use crate::wrangler::{CONFIG_NAMES, WranglerConfig, is_variant};
use base::error::{Error, Result, did_you_mean, invalid_config, refused};
use base::text::{is_control_or_bidi, list_first, one_line};

/// The folders that are searched for projects: those in the shared config, else those below `projects/`. If that folder
/// has no project, all except for ours.
#[derive(Debug)]
pub struct SearchFolders {
    patterns: Option<Patterns>,
    folder: String,
    is_everywhere: bool,
}

impl SearchFolders {
    /// Returns the folders that the shared config names, else `projects/`.
    pub fn new(config: &Config) -> Result<SearchFolders> {
        let Some(patterns) = &config.projects else {
            let folder = PROJECTS.to_owned();
            return Ok(SearchFolders { patterns: None, folder, is_everywhere: false });
        };
        let first = patterns.iter().find(|pattern| !pattern.starts_with('!'));
        let fixed = first.map_or("", |pattern| pattern.split(['*', '?', '{']).next().unwrap_or(""));
        let folder = fixed.trim_end_matches('/').to_owned();
        let patterns = Patterns::new(patterns)
            .map_err(|error| invalid_config(format!("{CONFIG_FILE}: `projects`: {error}")))?;
        Ok(SearchFolders { patterns: Some(patterns), folder, is_everywhere: false })
    }

    /// Returns all folders except for ours.
    fn everywhere() -> SearchFolders {
        SearchFolders { patterns: None, folder: String::new(), is_everywhere: true }
    }

    /// Returns true if only `projects/` is searched, because it has projects and the shared config names no folders.
    #[must_use]
    pub fn is_projects_folder(&self) -> bool {
        self.patterns.is_none() && !self.is_everywhere
    }

    /// Returns the folder for a new project: the one that the first pattern begins with.
    #[must_use]
    pub fn folder(&self) -> &Utf8Path {
        Utf8Path::new(&self.folder)
    }

    /// Returns true if the submodule `path`, whose files are unknown, may have a folder that is searched.
    pub(crate) fn may_hold(&self, path: &Utf8Path) -> bool {
        let is_below = !self.folder.is_empty() && path.starts_with(&self.folder);
        !self.is_everywhere && (is_below || self.holds(path))
    }

    /// Returns true if `dir` is searched.
    #[must_use]
    pub fn holds(&self, dir: &Utf8Path) -> bool {
        match &self.patterns {
            Some(patterns) => patterns.matches(dir),
            None => (self.is_everywhere || dir.starts_with(PROJECTS)) && !modules::is_of_tool(dir),
        }
    }
}

/// A wrangler config that cannot be used.
#[derive(Clone, Debug, Serialize)]
pub struct BrokenConfig {
    /// Its folder, relative to the repository's root.
    pub dir: Utf8PathBuf,
    /// The config, relative to the repository's root.
    pub config: Utf8PathBuf,
    /// The reason why it cannot be read.
    pub failure: Error,
    /// `true` if it has no name. Such a config is probably a test, so it is not expected among the projects.
    pub is_unnamed: bool,
}

impl BrokenConfig {
    /// Returns true if `name` can refer to this project.
    #[must_use]
    pub fn answers_to(&self, name: &str) -> bool {
        ends_with_path(&self.dir, name)
    }

    /// Returns true if these files have it in a readable form.
    #[must_use]
    pub fn is_readable(&self, files: &Source) -> bool {
        let config = |text: String| WranglerConfig::parse(&self.config, &text).is_ok();
        let manifest = |dir: &Utf8Path| {
            let text = files.read(&dir.join(MANIFEST));
            text.is_ok_and(|text| Package::parse(dir, &text).is_ok())
        };
        let package = self.dir.ancestors().find(|dir| files.is_file(&dir.join(MANIFEST)));
        !self.dir.as_str().chars().any(is_control_or_bidi)
            && files.read(&self.config).map_or_else(|_| files.is_missing(&self.config), config)
            && package.is_none_or(manifest)
    }

    /// Returns those of `all` that need a fix.
    pub fn needing_attention(all: &[BrokenConfig]) -> impl Iterator<Item = &BrokenConfig> {
        all.iter().filter(|broken| !broken.is_unnamed)
    }

    /// Returns its error, with the path of the config.
    #[must_use]
    pub fn labeled_failure(&self) -> Error {
        let failure = self.failure.clone();
        if failure.message.contains(self.config.as_str()) {
            return failure;
        }
        let message = format!("{}: {failure:#}", self.label());
        failure.with_message(message)
    }

    /// Returns the path of the config for a line of text.
    #[must_use]
    pub fn label(&self) -> String {
        one_line(self.config.as_str())
    }

    /// Returns true if it may be left out. A mistake in a setting of xtask, or in a sparse checkout, is that of a project
    /// which is meant to be delivered.
    #[must_use]
    pub(crate) fn may_be_left_out(&self) -> bool {
        let mut texts = std::iter::once(&self.failure.message).chain(&self.failure.hints);
        !texts.any(|text| text.contains("`xtask.") || text.contains("sparse-checkout"))
    }
}

/// Returns the package of a project, with the build that its config needs.
fn own_build(package: &Package, dir: &Utf8Path, wrangler: &WranglerConfig) -> Package {
    let package = package.clone();
    if package.dir == dir { package.for_config(&wrangler.value) } else { package }
}

/// The number of configs that a note names.
pub(super) const MAX_LISTED_NAMES: usize = 3;

/// Names the configs without a name in one line. `None` if there are none.
#[must_use]
pub fn unnamed_note(broken: &[BrokenConfig]) -> Option<String> {
    let unnamed: Vec<&str> =
        broken.iter().filter(|one| one.is_unnamed).map(|one| one.config.as_str()).collect();
    let names = list_first(MAX_LISTED_NAMES, &unnamed);
    match unnamed.len() {
        0 => None,
        1 => Some(format!("{names} has no `name`, so it is not a project")),
        count => Some(format!("{count} configs without a `name` are not projects: {names}")),
    }
}

/// Returns true if a project in a folder above `project` deploys the same Worker, so that this config is that of a test.
/// `projects` are sorted by folder.
fn is_below_the_same(projects: &[Project], project: &Project) -> bool {
    let is_above =
        |above: &&Project| project.dir != above.dir && project.dir.starts_with(&above.dir);
    projects.iter().filter(is_above).any(|above| above.worker == project.worker)
}

/// Names the configs that are not used, in a line for those beside one that is used, one for those below one that
/// deploys the same Worker, and one for the others. `used` are the folders of the configs that are used.
#[must_use]
pub fn ignored_notes(ignored: &[Utf8PathBuf], used: &BTreeSet<&Utf8Path>) -> Vec<String> {
    let is_beside = |path: &&Utf8PathBuf| path.parent().is_some_and(|dir| used.contains(dir));
    let (beside, others): (Vec<&Utf8PathBuf>, Vec<&Utf8PathBuf>) =
        ignored.iter().partition(is_beside);
    let has_own_name =
        |path: &&Utf8PathBuf| path.file_name().is_some_and(|name| CONFIG_NAMES.contains(&name));
    let (below, alone): (Vec<&Utf8PathBuf>, Vec<&Utf8PathBuf>) =
        others.into_iter().partition(has_own_name);
    let shown = |paths: &[&Utf8PathBuf]| list_first(MAX_LISTED_NAMES, paths);
    let mut notes = Vec::new();
    if !beside.is_empty() {
        notes.push(format!(
            "not used, because another config in the folder is: {}; `\"xtask\": {{ \"configs\": [\"wrangler.jsonc\", …] }}` \
             in package.json lists those that are projects",
            shown(&beside)
        ));
    }
    if let Some(name) = below.first().and_then(|path| path.file_name()) {
        notes.push(format!(
            "not used, because a config in a folder above deploys the same Worker: {}; `\"xtask\": {{ \"configs\": [\"{name}\"] }}` \
             in package.json makes it a project",
            shown(&below)
        ));
    }
    let (dotted, others): (Vec<&Utf8PathBuf>, Vec<&Utf8PathBuf>) = alone
        .into_iter()
        .partition(|path| path.file_name().is_some_and(|name| name.starts_with("wrangler.")));
    for (reason, paths) in [
        ("is that of a test, an example or a variant", dotted),
        ("does not begin with `wrangler.`", others),
    ] {
        if let Some(name) = paths.first().and_then(|path| path.file_name()) {
            notes.push(format!(
                "not used, because its name {reason}: {}; `\"xtask\": {{ \"configs\": [\"{name}\"] }}` \
                 in package.json makes it a project",
                shown(&paths)
            ));
        }
    }
    notes
}

/// Returns the refusal of a config that a package lists and that does not exist.
fn missing_config(dir: &Utf8Path, name: &str, configs: &[&Utf8Path]) -> Error {
    let failure = invalid_config(format!(
        "{}: `xtask.configs` lists `{name}`, which is not a wrangler config of its folder",
        dir.join(MANIFEST)
    ));
    let names: Vec<&str> = configs.iter().filter_map(|path| path.file_name()).collect();
    let hint = did_you_mean(name, names.iter().copied());
    failure.hint(hint.unwrap_or_else(|| format!("list some of: {}", names.join(", "))))
}

/// The projects of a repository, and the configs that are not projects.
#[derive(Debug, Default)]
pub(crate) struct Discoveries {
    /// The projects.
    pub projects: Vec<Project>,
    /// The configs that cannot be used.
    pub broken: Vec<BrokenConfig>,
    /// The configs that are a variant of a project in the same folder or in one above.
    pub ignored: Vec<Utf8PathBuf>,
    /// The configs that wrangler would use, in folders that are not searched.
    pub outside: Vec<Utf8PathBuf>,
    /// The configs that a sparse checkout leaves out, in folders that are searched.
    pub not_checked_out: Vec<Utf8PathBuf>,
}

impl Discoveries {
    /// Returns true if there is a project, or a config that is meant to be one.
    fn has_projects(&self) -> bool {
        !self.projects.is_empty() || BrokenConfig::needing_attention(&self.broken).next().is_some()
    }
}

/// The configs of one folder.
struct FolderConfigs<'c> {
    /// The first one that the package lists. Without a list, the one that wrangler would use.
    main: Option<&'c Utf8Path>,
    /// The others of the list. Without one, those whose names are those of further projects.
    others: Vec<&'c Utf8Path>,
    ignored: Vec<&'c Utf8Path>,
}

impl<'c> FolderConfigs<'c> {
    fn new(configs: &[&'c Utf8Path], listed: &[String]) -> FolderConfigs<'c> {
        let main = match listed {
            [] => CONFIG_NAMES.iter().find_map(|name| with_file_name(configs, name)),
            [first, ..] => with_file_name(configs, first),
        };
        let is_further = |path: &&Utf8Path| {
            let name = path.file_name().unwrap_or_default();
            match listed {
                [] => !CONFIG_NAMES.contains(&name) && !is_variant(name),
                _ => listed.iter().any(|listed| listed == name),
            }
        };
        let others = configs.iter().copied().filter(|path| main != Some(*path));
        let (others, ignored) = others.partition(is_further);
        FolderConfigs { main, others, ignored }
    }
}

fn with_file_name<'c>(configs: &[&'c Utf8Path], name: &str) -> Option<&'c Utf8Path> {
    configs.iter().copied().find(|path| path.file_name() == Some(name))
}

/// The inputs from which projects are discovered.
pub(crate) struct Discovery<'w> {
    files: &'w Source,
    folders: SearchFolders,
    packages: &'w BTreeMap<String, Package>,
    unreadable: &'w BTreeMap<Utf8PathBuf, Error>,
    submodules: &'w [Utf8PathBuf],
}

impl<'w> Discovery<'w> {
    pub(crate) fn new(
        files: &'w Source,
        folders: SearchFolders,
        (packages, unreadable): (&'w BTreeMap<String, Package>, &'w BTreeMap<Utf8PathBuf, Error>),
        submodules: &'w [Utf8PathBuf],
    ) -> Discovery<'w> {
        Discovery { files, folders, packages, unreadable, submodules }
    }

    /// Returns true if `dir` is searched. A submodule is, if it is in `projects/` or the shared config names its folder: it may
    /// be the repository of another team, whose Workers are not those of this one.
    fn searches(&self, dir: &Utf8Path) -> bool {
        self.folders.holds(dir)
            && !(self.folders.is_everywhere
                && self.submodules.iter().any(|path| dir.starts_with(path)))
    }

    /// Returns the projects whose configs are among `listed`, with the folders that were searched. Without a project in
    /// `projects/`, which other tools use too, that is the whole repository. A sparse checkout leaves `not_checked_out` out.
    pub(crate) fn find(
        mut self,
        listed: &[Utf8PathBuf],
        not_checked_out: Vec<Utf8PathBuf>,
    ) -> (Discoveries, SearchFolders) {
        let mut folders: BTreeMap<&Utf8Path, Vec<&Utf8Path>> = BTreeMap::new();
        for path in listed.iter().filter(|path| path.file_name().is_some_and(is_config_name)) {
            let dir = path.parent().unwrap_or(Utf8Path::new(""));
            folders.entry(dir).or_default().push(path);
        }
        let mut found = self.search(&folders);
        let is_below_projects = |path: &Utf8PathBuf| self.holds_project(path);
        let is_empty = !found.has_projects() && !not_checked_out.iter().any(is_below_projects);
        if self.folders.is_projects_folder() && is_empty {
            self.folders = SearchFolders::everywhere();
            found = self.search(&folders);
            if !found.has_projects() && self.files.is_folder(PROJECTS.into()) {
                PROJECTS.clone_into(&mut self.folders.folder);
            }
        }
        found.not_checked_out = not_checked_out;
        found.not_checked_out.retain(|path| self.holds_project(path));
        (found, self.folders)
    }

    /// Returns true if a config that cannot be read would be that of a project: wrangler would use it, or its name is that
    /// of a further project, and its folder is searched.
    fn holds_project(&self, config: &Utf8Path) -> bool {
        let dir = config.parent().unwrap_or(Utf8Path::new(""));
        let name = config.file_name().unwrap_or_default();
        (CONFIG_NAMES.contains(&name) || !is_variant(name))
            && self.searches(dir)
            && !(self.folders.is_everywhere && self.is_crate_template(dir))
    }

    fn search(&self, folders: &BTreeMap<&Utf8Path, Vec<&Utf8Path>>) -> Discoveries {
        let mut found = Discoveries::default();
        for (dir, configs) in folders {
            if !self.searches(dir) {
                let is_main =
                    |path: &&&Utf8Path| CONFIG_NAMES.iter().any(|n| path.file_name() == Some(n));
                let main = configs.iter().find(is_main);
                let main =
                    main.filter(|_| !modules::is_of_tool(dir) && !self.is_crate_template(dir));
                found.outside.extend(main.map(|path| (*path).to_owned()));
            } else if !(self.folders.is_everywhere && self.is_crate_template(dir)) {
                self.find_in(dir, configs, &mut found);
            }
        }
        found
    }

    /// Finds the projects of one folder: the configs that its package lists, else the config that wrangler would use
    /// and every other one that names a different Worker.
    fn find_in(&self, dir: &Utf8Path, configs: &[&Utf8Path], found: &mut Discoveries) {
        let own = self.packages.get(dir.as_str());
        let listed = own.map(|package| package.settings.configs.as_slice()).unwrap_or_default();
        let FolderConfigs { main, others, ignored } = FolderConfigs::new(configs, listed);
        // Other files may have a name such as `wrangler-notes.toml`.
        let is_config = |path: &&Utf8Path| {
            path.file_name().is_some_and(|name| name.starts_with("wrangler."))
                || self.files.read(path).is_ok_and(|text| WranglerConfig::is_of_worker(path, &text))
        };
        found.ignored.extend(ignored.into_iter().filter(is_config).map(Utf8Path::to_owned));
        for name in listed.iter().filter(|name| with_file_name(configs, name).is_none()) {
            found.broken.push(BrokenConfig {
                dir: dir.to_owned(),
                config: dir.join(name),
                failure: missing_config(dir, name, configs),
                is_unnamed: false,
            });
        }
        let mut workers: BTreeSet<String> = BTreeSet::new();
        for config in main.into_iter().chain(others) {
            match self.project(dir, config, main == Some(config)) {
                // Another config of the same Worker, for example for a test, is not a separate project.
                Ok(project)
                    if listed.is_empty()
                        && (!workers.insert(project.worker.clone())
                            || is_below_the_same(&found.projects, &project)) =>
                {
                    found.ignored.push(config.to_owned());
                }
                Ok(project) => found.projects.push(project),
                Err(failure) => found.broken.push(self.broken_config(dir, config, failure)),
            }
        }
    }

    fn broken_config(&self, dir: &Utf8Path, config: &Utf8Path, failure: Error) -> BrokenConfig {
        let text = self.files.read(config);
        let is_unnamed = text.is_ok_and(|text| WranglerConfig::is_unnamed(config, &text));
        BrokenConfig { dir: dir.to_owned(), config: config.to_owned(), failure, is_unnamed }
    }

    /// Returns true if `dir` belongs to the templates of a Rust crate, such as those of `new`.
    fn is_crate_template(&self, dir: &Utf8Path) -> bool {
        let mut above = dir.ancestors().filter(|above| above.file_name() == Some("templates"));
        above.any(|templates| {
            let owner = templates.parent().unwrap_or(Utf8Path::new(""));
            self.files.is_file(&owner.join("Cargo.toml"))
        })
    }

    fn project(&self, dir: &Utf8Path, config: &Utf8Path, is_main: bool) -> Result<Project> {
        if dir.as_str().chars().any(is_control_or_bidi) {
            return Err(refused(format!(
                "the folder {dir:?} has an invisible character in its name"
            ))
            .hint("rename it: such a name looks like another one, and can end a line"));
        }
        let known = |dir: &&Utf8Path| {
            self.packages.contains_key(dir.as_str()) || self.unreadable.contains_key(*dir)
        };
        let nearest = dir.ancestors().find(known);
        let package = nearest.and_then(|dir| self.packages.get(dir.as_str()));
        let text = self.files.read(config)?;
        let own_package = package.filter(|package| package.dir == dir);
        let wrangler = WranglerConfig::parse(config, &text)?
            .with_default_name(own_package.and_then(|package| package.name.as_deref()), dir);
        if let Some(failure) = nearest.and_then(|dir| self.unreadable.get(dir)) {
            return Err(failure.clone());
        }
        let worker = wrangler.target(config::LOCAL).worker;
        let name = match (dir.as_str(), is_main) {
            // A project in the root is named after its Worker.
            ("", _) => worker.clone(),
            (_, true) => dir.strip_prefix(PROJECTS).unwrap_or(dir).to_string(),
            (_, false) => config.strip_prefix(PROJECTS).unwrap_or(config).with_extension("").into(),
        };
        Ok(Project {
            name,
            dir: dir.to_owned(),
            config: config.to_owned(),
            worker,
            environments: wrangler.environments.clone(),
            package: package.map(|package| own_build(package, dir, &wrangler)),
            module: self.files.is_file(&dir.join(MODULE)),
            wrangler,
        })
    }
}
