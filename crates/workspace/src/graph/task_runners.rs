//! Finds the files and packages that the settings of Turborepo and Nx declare as inputs of a build.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value;

use crate::Workspace;
use crate::files::config_text::parse_jsonc;
use crate::files::names::{MANIFEST, NX_CONFIG, NX_PROJECT, TURBO_CONFIGS};
use crate::files::paths::normalize;
use crate::files::pattern::Patterns;
use crate::graph::Origin;
use crate::graph::builder::GraphBuilder;
use crate::graph::declaration::{BuildDeclaration, PathBase};
use crate::graph::nx::NxSettings;
use crate::graph::turbo;
use crate::packages::build_tasks::BuildTasks;
use crate::packages::members::Members;
use crate::packages::package::Package;

/// Adds what the settings of Turborepo and Nx declare for the build of each package to `graph`.
pub(super) fn add_inputs(graph: &mut GraphBuilder, workspace: &Workspace, members: &Members<'_>) {
    let Some(mut runners) = TaskRunners::new(workspace, members) else { return };
    for package in workspace.built_packages() {
        let node = graph.node(&package.dir);
        for (to, origin) in runners.inputs(package) {
            graph.add(node, &to, origin);
        }
    }
}

/// The settings of Turborepo and Nx in a repository.
struct TaskRunners<'w> {
    workspace: &'w Workspace,
    members: &'w Members<'w>,
    /// Each file that can be parsed. A broken one declares nothing, as for its own tool.
    configs: BTreeMap<&'w Utf8Path, Value>,
    /// The folders of the projects of Nx by their names.
    projects: BTreeMap<String, Utf8PathBuf>,
    /// The files that patterns match, because packages share patterns.
    matches: BTreeMap<String, Vec<Utf8PathBuf>>,
}

impl<'w> TaskRunners<'w> {
    /// Reads the settings. `None` if the repository has none.
    pub(crate) fn new(
        workspace: &'w Workspace,
        members: &'w Members<'w>,
    ) -> Option<TaskRunners<'w>> {
        let is_root = |path: &&Utf8PathBuf| path.file_name() != Some(NX_PROJECT);
        workspace.task_configs.iter().find(is_root)?;
        let texts = workspace.files.read_all(&workspace.task_configs);
        let paths = workspace.task_configs.iter().map(Utf8PathBuf::as_path);
        let parsed = paths.zip(texts);
        let configs: BTreeMap<&Utf8Path, Value> = parsed
            .filter_map(|(path, text)| Some((path, parse_jsonc(&text.ok()?).ok()?)))
            .collect();
        let nx_projects = configs.iter().filter(|(path, _)| path.file_name() == Some(NX_PROJECT));
        let projects = nx_projects.filter_map(|(path, config)| {
            let dir = path.parent()?;
            let name = config["name"].as_str().or_else(|| dir.file_name())?;
            Some((name.to_owned(), dir.to_owned()))
        });
        let projects = projects.collect();
        Some(TaskRunners { workspace, members, configs, projects, matches: BTreeMap::new() })
    }

    /// Returns what is declared for the build of `package` outside of its folder.
    pub(crate) fn inputs(&mut self, package: &Package) -> BTreeSet<(Utf8PathBuf, Origin)> {
        let mut found = self.of_turbo(package);
        found.extend(self.of_nx(package));
        found
    }

    /// Returns what Turborepo declares, with its settings if they declare anything or the build runs it.
    fn of_turbo(&mut self, package: &Package) -> BTreeSet<(Utf8PathBuf, Origin)> {
        let config_in = |dir: &Utf8Path| {
            let mut paths = TURBO_CONFIGS.iter().map(|name| dir.join(name));
            paths.find_map(|path| Some((path.clone(), self.configs.get(path.as_path())?)))
        };
        let mut above = package.dir.ancestors().filter_map(config_in);
        let root = above.find(|(_, config)| !turbo::is_of_package(config));
        let Some((root_path, root)) = root else { return BTreeSet::new() };
        let own = config_in(&package.dir).filter(|(_, config)| turbo::is_of_package(config));
        let mut used = vec![root_path.clone()];
        let mut configs = vec![root];
        for name in own.iter().flat_map(|(_, config)| turbo::extended_names(config)) {
            for (path, config) in
                self.members.with_name(name).iter().filter_map(|other| config_in(&other.dir))
            {
                used.push(path);
                configs.push(config);
            }
        }
        configs.extend(own.map(|(_, config)| config));
        let mut declared = BuildDeclaration::default();
        turbo::add_global(root, &mut declared);
        let BuildTasks { names, runs_turbo, .. } = &package.build_tasks;
        declared.add_tasks(names, *runs_turbo, |task, declared| {
            turbo::add_task(&configs, package.name.as_deref(), task, declared);
        });
        let base = root_path.parent().unwrap_or(Utf8Path::new("")).to_owned();
        let mut found = self.resolve(&declared, &base, package);
        if !found.is_empty() || *runs_turbo {
            let outside = used.into_iter().filter(|path| !path.starts_with(&package.dir));
            found.extend(outside.map(|path| (path, Origin::Input)));
        }
        found
    }

    /// Returns what Nx declares, with its settings if they declare anything or the build runs it.
    fn of_nx(&mut self, package: &Package) -> BTreeSet<(Utf8PathBuf, Origin)> {
        let mut above = package.dir.ancestors().map(|dir| dir.join(NX_CONFIG));
        let root = above.find(|path| self.configs.contains_key(path.as_path()));
        let Some(path) = root else { return BTreeSet::new() };
        // Only Nx reads the key `nx` of a `package.json`.
        let manifest = self.workspace.files.read(&package.dir.join(MANIFEST));
        let manifest = manifest.ok().and_then(|text| parse_jsonc(&text).ok()).unwrap_or_default();
        let project = self.configs.get(package.dir.join(NX_PROJECT).as_path());
        let Some(root) = self.configs.get(path.as_path()) else { return BTreeSet::new() };
        let settings = NxSettings { root, own: [project.unwrap_or(&Value::Null), &manifest["nx"]] };
        let mut declared = BuildDeclaration::default();
        settings.add_dependencies(&mut declared);
        let BuildTasks { names, runs_nx, .. } = &package.build_tasks;
        declared.add_tasks(names, *runs_nx, |task, declared| settings.add_task(task, declared));
        let base = path.parent().unwrap_or(Utf8Path::new("")).to_owned();
        let mut found = self.resolve(&declared, &base, package);
        if (!found.is_empty() || *runs_nx) && !path.starts_with(&package.dir) {
            found.insert((path, Origin::Input));
        }
        found
    }

    /// Returns the files and folders that are declared, relative to the repository's root. Those in the package's own
    /// folder count anyway, and those around it would make every change count.
    fn resolve(
        &mut self,
        declared: &BuildDeclaration,
        root: &Utf8Path,
        package: &Package,
    ) -> BTreeSet<(Utf8PathBuf, Origin)> {
        let dir = &package.dir;
        let at = |(base, path): &(PathBase, String)| match base {
            PathBase::Root => join(root, path),
            PathBase::Package => join(dir, path),
        };
        let excluded: Vec<String> = declared.excluded.iter().filter_map(at).collect();
        let excluded = Patterns::new(excluded).unwrap_or_default();
        let mut found = BTreeSet::new();
        for path in declared.paths.iter().filter_map(at) {
            for path in self.matching(&path, dir) {
                let is_outside = !path.starts_with(dir) && !dir.starts_with(&path);
                if is_outside && !excluded.matches(&path) {
                    found.insert((path, Origin::Input));
                }
            }
        }
        for name in &declared.packages {
            let of_name = self.members.asked_for(dir, name).into_iter().map(|other| &other.dir);
            let others = of_name.chain(self.projects.get(name));
            let others = others.filter(|other| *other != dir);
            found.extend(others.map(|other| (other.clone(), Origin::DependsOn)));
        }
        found
    }

    /// Returns what a path or a pattern means for a package in `dir`. Of a pattern in a folder without packages, the folder
    /// counts, so that a deleted file counts too. Of another pattern, the files that it matches.
    fn matching(&mut self, path: &str, dir: &Utf8Path) -> Vec<Utf8PathBuf> {
        let Some(start) = path.find(['*', '?', '[', '{', '(']) else {
            let path = Utf8Path::new(path);
            // Git may ignore a file that the package around it writes.
            let owner = self.owner(path).filter(|_| !self.workspace.files.exists(path));
            return vec![owner.unwrap_or(path).to_owned()];
        };
        let folder = path[..start].rsplit_once('/').map_or("", |(folder, _)| folder);
        let folder = Utf8Path::new(folder);
        let is_root = folder.as_str().is_empty();
        if !is_root && !dir.starts_with(folder) && !self.holds_package(folder) {
            let owner = self.owner(folder).filter(|_| !self.workspace.files.exists(folder));
            return vec![owner.unwrap_or(folder).to_owned()];
        }
        if !self.matches.contains_key(path) {
            let found = self.expand(path, folder);
            self.matches.insert(path.to_owned(), found);
        }
        self.matches.get(path).cloned().unwrap_or_default()
    }

    /// Returns the files that a pattern matches. `**` directly below `folder` is meant for every package's own file, such
    /// as `**/.env`, so the files of other packages do not count.
    fn expand(&self, path: &str, folder: &Utf8Path) -> Vec<Utf8PathBuf> {
        let Ok(patterns) = Patterns::new([path]) else { return Vec::new() };
        let rest = path.strip_prefix(folder.as_str()).unwrap_or(path).trim_start_matches('/');
        let is_of_each = rest.starts_with("**");
        let Workspace { files, all_files, .. } = self.workspace;
        files.paths(all_files.as_ref(), |path| {
            patterns.matches(path)
                && !path.as_str().split('/').any(|part| part == "node_modules")
                && !(is_of_each && self.owner(path).is_some())
        })
    }

    /// Returns the folder of the package around `path`, unless that is the root.
    fn owner<'p>(&self, path: &'p Utf8Path) -> Option<&'p Utf8Path> {
        let mut above = path.ancestors().filter(|above| !above.as_str().is_empty());
        above.find(|above| self.workspace.packages.contains_key(above.as_str()))
    }

    fn holds_package(&self, folder: &Utf8Path) -> bool {
        let below = format!("{folder}/");
        let mut next = self.workspace.packages.range(below.clone()..);
        next.next().is_some_and(|(other, _)| other.starts_with(&below))
    }
}

/// Returns `path` below `base`, without `.` and `..` before its first pattern. `None` if it leads out of the repository.
fn join(base: &Utf8Path, path: &str) -> Option<String> {
    let path = path.trim_start_matches("./");
    let start = path.find(['*', '?', '[', '{', '(']).unwrap_or(path.len());
    let (folder, rest) = match path[..start].rsplit_once('/') {
        Some((folder, _)) if start < path.len() => (folder, &path[folder.len() + 1..]),
        _ if start < path.len() => ("", path),
        _ => (path, ""),
    };
    let folder = normalize(&base.join(folder))?;
    let all = folder.join(rest).into_string();
    Some(all.trim_end_matches('/').to_owned()).filter(|path| !path.is_empty())
}
