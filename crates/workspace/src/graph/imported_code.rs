//! The code outside of a folder that its own code uses: by relative paths, by names of TypeScript configs, and by paths of
//! wrangler configs and of the commands of its build.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};

use base::error::Result;

use crate::Workspace;
use crate::files::names::{CARGO_MANIFEST, NX_PROJECT};
use crate::graph::Origin;
use crate::graph::builder::GraphBuilder;
use crate::graph::enclosing::{self, owner};
use crate::graph::imports::{self, ImportMapping, module_file};
use crate::graph::references;
use crate::graph::relative_imports::{self, RelativeImports};
use crate::graph::typescript::TypeScript;
use crate::packages::members::Members;

/// Adds the code that packages and projects use from outside of their folders, and the TypeScript configs that apply to them.
pub(super) fn add(graph: &mut GraphBuilder, workspace: &Workspace, members: &Members<'_>) {
    let mut mappings = Mappings::default();
    for (path, folders) in &workspace.tsconfigs {
        let config = TypeScript::follow(&workspace.files, path);
        for dir in folders {
            add_typescript_config(graph, members, dir, path, &config);
            mappings.insert(dir, config.mappings(&workspace.files, dir));
        }
    }
    match ImportedCode::find(workspace, mappings) {
        Ok(mut code) => {
            for dir in code.folders() {
                code.add_inputs(graph, &dir);
            }
        }
        Err(error) => {
            for project in &workspace.projects {
                let node = graph.node(&project.dir);
                graph.refuse(node, error.clone());
            }
        }
    }
}

/// Adds the configs that the TypeScript config at `path` leads to, for the code in `dir`.
fn add_typescript_config(
    graph: &mut GraphBuilder,
    members: &Members<'_>,
    dir: &Utf8Path,
    path: &Utf8PathBuf,
    config: &TypeScript,
) {
    let above = Some(path).filter(|path| !path.starts_with(dir));
    let named = config.paths.iter();
    let named = named.filter(|path| !path.starts_with(dir) || dir.as_str().is_empty());
    let outside: Vec<&Utf8PathBuf> = named.chain(above).collect();
    if outside.is_empty() && config.packages.is_empty() {
        return;
    }
    let node = graph.node(dir);
    for path in outside {
        graph.add(node, path, Origin::Input);
    }
    for package in config.packages.iter().flat_map(|name| members.asked_for(dir, name)) {
        graph.add(node, &package.dir, Origin::Input);
    }
}

/// The names that TypeScript configs map to code.
#[derive(Default)]
struct Mappings {
    /// The different lists. Most configs of a repository extend the same one.
    lists: Vec<Vec<ImportMapping>>,
    /// The index of each folder's list. Folders without mapped names have none.
    of_folder: BTreeMap<Utf8PathBuf, usize>,
}

impl Mappings {
    fn insert(&mut self, dir: &Utf8Path, list: Vec<ImportMapping>) {
        if list.is_empty() {
            return;
        }
        let index = self.lists.iter().position(|other| *other == list).unwrap_or_else(|| {
            self.lists.push(list);
            self.lists.len() - 1
        });
        self.of_folder.insert(dir.to_owned(), index);
    }
}

/// The imports of a repository's code that lead to other folders.
struct ImportedCode<'w> {
    workspace: &'w Workspace,
    mappings: Mappings,
    /// The texts of each file that may be mapped names.
    named: BTreeMap<Utf8PathBuf, Vec<String>>,
    /// The code that a folder or file uses, by the list of mapped names that applies to it. Projects share code.
    targets: BTreeMap<(Option<usize>, Utf8PathBuf), BTreeSet<Utf8PathBuf>>,
    relative: RelativeImports,
    /// The paths that the wrangler configs of each folder name outside of it, without those of other packages.
    configured: BTreeMap<&'w Utf8Path, Vec<Utf8PathBuf>>,
    /// The folders of packages, projects and crates. Each has its own imports.
    packages: BTreeSet<&'w Utf8Path>,
    /// The folders of packages, and of projects of Nx.
    boundaries: BTreeSet<&'w str>,
}

impl<'w> ImportedCode<'w> {
    fn find(workspace: &'w Workspace, mappings: Mappings) -> Result<ImportedCode<'w>> {
        let Workspace { files, all_files, projects, cargo_files, task_configs, .. } = workspace;
        let with_manifest: BTreeSet<&Utf8Path> =
            workspace.packages.keys().map(|dir| Utf8Path::new(dir.as_str())).collect();
        let mut packages = with_manifest.clone();
        packages.extend(projects.iter().map(|project| project.dir.as_path()));
        packages.extend(folders_with(cargo_files, CARGO_MANIFEST));
        let of_nx = folders_with(task_configs, NX_PROJECT);
        let boundaries = with_manifest.into_iter().chain(of_nx).map(Utf8Path::as_str).collect();
        let mut configured: BTreeMap<&Utf8Path, Vec<Utf8PathBuf>> = BTreeMap::new();
        for project in projects {
            let paths = references::of_wrangler(&project.wrangler, &project.dir).into_iter();
            let own = paths.filter(|path| owner(workspace, path, &project.dir).is_none());
            configured.entry(&project.dir).or_default().extend(own);
        }
        configured.retain(|_, paths| !paths.is_empty());
        let all: Vec<&ImportMapping> = mappings.lists.iter().flatten().collect();
        let mut named: BTreeMap<Utf8PathBuf, Vec<String>> = BTreeMap::new();
        for (file, text) in imports::find_imports(files, all_files.as_ref(), &all)? {
            named.entry(file).or_default().push(text);
        }
        let relative = RelativeImports::find(files, all_files.as_ref(), &packages)?;
        let targets = BTreeMap::new();
        Ok(ImportedCode {
            workspace,
            mappings,
            named,
            targets,
            relative,
            configured,
            packages,
            boundaries,
        })
    }

    /// Returns the folders whose code may use code outside of them.
    fn folders(&self) -> BTreeSet<Utf8PathBuf> {
        let above = self.relative.files().flat_map(|file| file.ancestors().skip(1));
        let with_imports = above.filter(|dir| self.packages.contains(dir));
        let packages = self.workspace.packages.values();
        let with_paths = packages.filter(|package| !package.outside_paths.is_empty());
        let with_paths = with_paths.map(|package| package.dir.as_path());
        let with_mappings = self.mappings.of_folder.keys().map(Utf8PathBuf::as_path);
        let with_config = self.configured.keys().copied();
        let all = with_imports.chain(with_paths).chain(with_mappings).chain(with_config);
        all.map(Utf8Path::to_owned).collect()
    }

    /// Adds what the code in `dir` uses, and what the used code uses in turn.
    fn add_inputs(&mut self, graph: &mut GraphBuilder, dir: &Utf8Path) {
        let node = graph.node(dir);
        let mappings = self.mappings.of_folder.get(dir).copied();
        let mut waiting = vec![dir.to_owned()];
        waiting.extend(self.configured.get(dir).into_iter().flatten().cloned());
        let mut seen = BTreeSet::new();
        while let Some(from) = waiting.pop() {
            let key = (mappings, from);
            if !self.targets.contains_key(&key) {
                let found = self.targets_of(&key.1, mappings);
                self.targets.insert(key.clone(), found);
            }
            for path in self.targets.get(&key).into_iter().flatten() {
                // A folder around this one would make every change in it count.
                if path.starts_with(dir) || dir.starts_with(path) {
                    continue;
                }
                let used = match owner(self.workspace, path, dir) {
                    Some(owner) => {
                        graph.add(node, owner, Origin::Input);
                        // Each package has its own imports, but bundlers apply the names of a config to all code.
                        if mappings.is_none() {
                            continue;
                        }
                        owner.to_owned()
                    }
                    None => {
                        let folder = self.folder_around(path, dir);
                        graph.add(node, &folder, Origin::Input);
                        enclosing::add_package_around(graph, self.workspace, node, dir, &folder);
                        folder
                    }
                };
                if seen.insert(used.clone()) {
                    waiting.push(used);
                }
            }
        }
    }

    /// Returns the files and folders outside of `from` that its code uses.
    fn targets_of(&self, from: &Utf8Path, mappings: Option<usize>) -> BTreeSet<Utf8PathBuf> {
        let files = &self.workspace.files;
        let mut found = self.relative.targets(files, from);
        if let Some(list) = mappings.and_then(|index| self.mappings.lists.get(index)) {
            let below = self.named.range(from.to_owned()..);
            let below = below.take_while(|(file, _)| file.starts_with(from));
            let texts: BTreeSet<&str> =
                below.flat_map(|(_, texts)| texts).map(String::as_str).collect();
            found.extend(imports::targets(files, &texts, list));
        }
        let package = self.workspace.packages.get(from.as_str());
        let paths = package.iter().flat_map(|package| &package.outside_paths);
        let paths = paths.filter_map(|path| relative_imports::resolve(from, path));
        found.extend(paths.filter_map(|path| module_file(files, &path)));
        found
    }

    /// Returns the largest folder around `path` that holds neither `dir` nor a package or project of Nx, because files of
    /// one folder import each other. Returns the file itself if there is none.
    fn folder_around(&self, path: &Utf8Path, dir: &Utf8Path) -> Utf8PathBuf {
        let holds_package = |folder: &Utf8Path| {
            let below = format!("{folder}/");
            let mut next = self.boundaries.range(below.as_str()..);
            next.next().is_some_and(|other| other.starts_with(&below))
        };
        let around = path.ancestors().take_while(|folder| {
            !folder.as_str().is_empty() && !dir.starts_with(folder) && !holds_package(folder)
        });
        around.last().unwrap_or(path).to_owned()
    }
}

/// Returns the folders of the `paths` with this file name.
fn folders_with<'p>(
    paths: impl IntoIterator<Item = &'p Utf8PathBuf>,
    name: &str,
) -> impl Iterator<Item = &'p Utf8Path> {
    let named = paths.into_iter().filter(move |path| path.file_name() == Some(name));
    named.filter_map(|path| path.parent())
}
