//! Finds the folders that a changed lock file affects: those whose locked packages changed. The
//! content key of their projects uses the same rule.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};

use crate::Workspace;
use crate::cargo::lock::CargoLock;
use crate::cargo::manifest::CargoManifest;
use crate::changes::change_base::{Base, Changes};
use crate::changes::summary::Summary;
use crate::files::names::{CARGO_LOCK, CARGO_MANIFEST, MANIFEST};
use crate::git::objects::contents;
use crate::graph::{Graph, NodeIndex, Origin};
use crate::packages::locks::LockFile;
use crate::packages::manifest::Specs;
use crate::packages::package::Package;
use crate::packages::package_manager::is_lock_file;

/// The lock files whose changes are known per package, with the nodes that each affects.
#[derive(Debug, Default)]
pub struct LockChanges {
    affected: BTreeMap<Utf8PathBuf, BTreeSet<NodeIndex>>,
}

impl LockChanges {
    /// Compares the changed lock files with those of the base. A lock file that cannot be read on
    /// either side affects everything below it, and is left out here.
    #[must_use]
    pub fn find(root: &Utf8Path, summary: &Summary, changes: &Changes) -> LockChanges {
        let Base::Commit { commit, .. } = &changes.base else { return LockChanges::default() };
        let now = match (&changes.head, changes.uncommitted) {
            (Some(head), false) => Side::Commit { root, commit: head },
            _ => Side::WorkingTree { root },
        };
        let before = Side::Commit { root, commit };
        let mut found = LockChanges::default();
        for path in &changes.paths {
            let nodes = if is_lock_file(path) {
                let compared = Comparison::new(&before, &now, path);
                compared.and_then(|compared| compared.nodes(summary, &now))
            } else if path.file_name() == Some(CARGO_LOCK) {
                nodes_of_cargo_lock(&summary.graph, path, &before, &now)
            } else {
                None
            };
            if let Some(nodes) = nodes {
                found.affected.insert(path.clone(), nodes);
            }
        }
        found
    }

    /// Returns the nodes that a changed lock file affects. `None` if it affects everything that it installs.
    pub(crate) fn affected_by(&self, path: &Utf8Path) -> Option<&BTreeSet<NodeIndex>> {
        self.affected.get(path)
    }
}

/// The files before or after a change.
enum Side<'r> {
    Commit { root: &'r Utf8Path, commit: &'r str },
    WorkingTree { root: &'r Utf8Path },
}

impl Side<'_> {
    /// Returns the texts of files. `None` if one of them does not exist.
    fn read(&self, paths: &[Utf8PathBuf]) -> Option<Vec<String>> {
        match self {
            Side::Commit { root, commit } => {
                let revisions: Vec<String> =
                    paths.iter().map(|path| format!("{commit}:./{path}")).collect();
                let revisions: Vec<&str> = revisions.iter().map(String::as_str).collect();
                let texts = contents(root, &revisions).ok()?;
                texts.into_iter().map(|text| String::from_utf8(text).ok()).collect()
            }
            Side::WorkingTree { root } => {
                paths.iter().map(|path| std::fs::read_to_string(root.join(path)).ok()).collect()
            }
        }
    }
}

/// A lock file before and after a change.
struct Comparison<'p> {
    path: &'p Utf8Path,
    folder: &'p Utf8Path,
    before: LockFile,
    now: LockFile,
}

impl<'p> Comparison<'p> {
    fn new(before: &Side, now: &Side, path: &'p Utf8Path) -> Option<Comparison<'p>> {
        let parse = |side: &Side| {
            let text = side.read(&[path.to_owned()])?.pop()?;
            LockFile::parse(path.file_name()?, &text)
        };
        let (before, now) = (parse(before)?, parse(now)?);
        let folder = path.parent().unwrap_or(Utf8Path::new(""));
        Some(Comparison { path, folder, before, now })
    }

    fn nodes(&self, summary: &Summary, now: &Side) -> Option<BTreeSet<NodeIndex>> {
        let graph = &summary.graph;
        let lock = graph.index_of(self.path)?;
        let installed: Vec<NodeIndex> = (0..graph.len())
            .filter(|node| graph.edges_of(*node).contains(&(lock, Origin::Install)))
            .collect();
        let members: BTreeSet<NodeIndex> =
            summary.packages.iter().map(|named| named.node).collect();
        let manifests = self.manifests(graph, &installed, &members, now)?;
        let root = now.read(&[self.folder.join(MANIFEST)]).is_some();
        if root && self.is_changed("", &manifests) {
            return Some(installed.into_iter().collect());
        }
        let is_changed = |node: &NodeIndex| {
            let dir = package_of(graph.path(*node));
            let below = dir.strip_prefix(self.folder).unwrap_or(dir);
            is_member(graph, &members, dir) && self.is_changed(below.as_str(), &manifests)
        };
        Some(installed.into_iter().filter(is_changed).collect())
    }

    /// Reads the manifests of the root and of the folders, if the lock file needs them.
    fn manifests(
        &self,
        graph: &Graph,
        installed: &[NodeIndex],
        members: &BTreeSet<NodeIndex>,
        now: &Side,
    ) -> Option<BTreeMap<String, Specs>> {
        if !self.before.needs_manifests() && !self.now.needs_manifests() {
            return Some(BTreeMap::new());
        }
        let mut dirs: Vec<&Utf8Path> = Vec::new();
        dirs.extend(now.read(&[self.folder.join(MANIFEST)]).map(|_| self.folder));
        let installed = installed.iter().map(|node| package_of(graph.path(*node)));
        dirs.extend(installed.filter(|dir| is_member(graph, members, dir)));
        let paths: Vec<Utf8PathBuf> = dirs.iter().map(|dir| dir.join(MANIFEST)).collect();
        let texts = now.read(&paths)?;
        let specs = |(dir, text): (&&Utf8Path, String)| {
            let package = Package::parse(dir, &text).ok()?;
            let below = dir.strip_prefix(self.folder).unwrap_or(dir);
            Some((below.to_string(), package.named_dependencies))
        };
        Some(dirs.iter().zip(texts).filter_map(specs).collect())
    }

    fn is_changed(&self, folder: &str, manifests: &BTreeMap<String, Specs>) -> bool {
        let folders = BTreeSet::from([folder]);
        let manifests = manifests.iter().map(|(dir, specs)| (dir.as_str(), specs)).collect();
        let slice = |lock: &LockFile| lock.slice(&folders, &manifests);
        let now = slice(&self.now);
        now.is_none() || slice(&self.before) != now
    }
}

/// Returns the folder of the package of a node, which is that folder or its manifest.
fn package_of(path: &Utf8Path) -> &Utf8Path {
    match path.file_name() {
        Some(MANIFEST) => path.parent().unwrap_or(path),
        _ => path,
    }
}

fn is_member(graph: &Graph, members: &BTreeSet<NodeIndex>, dir: &Utf8Path) -> bool {
    graph.index_of(dir).is_some_and(|node| members.contains(&node))
}

/// Returns the nodes that a changed `Cargo.lock` affects: the projects whose locked crates changed, and those that the lock file
/// affects for another reason. `None` if it cannot be read on either side.
fn nodes_of_cargo_lock(
    graph: &Graph,
    path: &Utf8Path,
    before: &Side,
    now: &Side,
) -> Option<BTreeSet<NodeIndex>> {
    let lock = graph.index_of(path)?;
    let parse = |side: &Side| CargoLock::parse(&side.read(&[path.to_owned()])?.pop()?);
    let (before, after) = (parse(before)?, parse(now)?);
    let users = |of_cargo: bool| {
        (0..graph.len()).filter(move |node| {
            let mut steps = graph.edges_of(*node).iter().filter(|(to, _)| *to == lock);
            steps.any(|(_, origin)| (*origin == Origin::Cargo) == of_cargo)
        })
    };
    let projects: Vec<NodeIndex> = users(true).collect();
    let manifests = projects.iter().map(|node| graph.path(*node).join(CARGO_MANIFEST));
    let texts = now.read(&manifests.collect::<Vec<_>>())?;
    let is_changed = |text: &str| {
        let name = CargoManifest::parse(text).ok().and_then(|manifest| manifest.package);
        let names = name.into_iter().collect();
        let slice = after.slice(&names);
        slice.is_none() || slice != before.slice(&names)
    };
    let changed = projects.iter().zip(&texts).filter(|(_, text)| is_changed(text));
    Some(changed.map(|(node, _)| *node).chain(users(false)).collect())
}

/// Returns a digest of the locked crates that the projects among `inputs` are compiled with, by the `Cargo.lock` at `path`.
/// `None` if the whole file counts.
pub(crate) fn cargo_slice(
    workspace: &Workspace,
    inputs: &BTreeSet<Utf8PathBuf>,
    path: &Utf8Path,
    lock: &CargoLock,
) -> Option<String> {
    let mut names = BTreeSet::new();
    for dir in inputs {
        let mut edges = workspace.graph.edges(dir).filter(|edge| edge.to == path).peekable();
        if edges.peek().is_none() {
            continue;
        }
        if edges.any(|edge| edge.origin != Origin::Cargo) {
            return None;
        }
        let text = workspace.files.read(&dir.join(CARGO_MANIFEST)).ok()?;
        names.insert(CargoManifest::parse(&text).ok()?.package?);
    }
    lock.slice(&names)
}

/// Returns a digest of the locked packages that `inputs` install by the lock file at `path`. `None` if the
/// lock file cannot be read, or does not cover them. Then the whole file counts.
pub(crate) fn slice(
    workspace: &Workspace,
    inputs: &BTreeSet<Utf8PathBuf>,
    path: &Utf8Path,
    lock: &LockFile,
) -> Option<String> {
    let folder = path.parent().unwrap_or(Utf8Path::new(""));
    let graph = &workspace.graph;
    let packages = inputs.iter().filter(|dir| {
        let mut edges = graph.edges(dir);
        edges.any(|edge| edge.to == path && edge.origin == Origin::Install)
    });
    let packages = packages.filter_map(|path| workspace.packages.get(package_of(path).as_str()));
    let packages: Vec<&Package> = packages.chain(workspace.packages.get(folder.as_str())).collect();
    let below = |package: &&Package| {
        let below = package.dir.strip_prefix(folder).unwrap_or(&package.dir);
        (below.to_owned(), package.named_dependencies.clone())
    };
    let manifests: BTreeMap<Utf8PathBuf, Specs> = packages.iter().map(below).collect();
    let folders = manifests.keys().map(|dir| dir.as_str()).collect();
    let manifests = manifests.iter().map(|(dir, specs)| (dir.as_str(), specs)).collect();
    lock.slice(&folders, &manifests)
}
