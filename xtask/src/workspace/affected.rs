//! Which projects and packages a change concerns, and why.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use camino::{Utf8Path, Utf8PathBuf};
use serde::Serialize;

use super::Workspace;
use super::base::{Base, Changes};
use super::config::CONFIG_FILE;
use super::edges::LOCK_FILES;
use super::graph::{Edge, Graph, Origin};
use super::package::Package;
use crate::tools::{bun, wrangler};

/// Why a project or package is affected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum Reason {
    /// A file in its folder differs.
    ChangedFile {
        /// The file.
        path: Utf8PathBuf,
    },
    /// Something that it is made from is affected.
    Dependency {
        /// What it depends on directly.
        on: Utf8PathBuf,
        /// Why it depends on that.
        origin: Origin,
        /// From there to the folder that holds the file.
        through: Vec<Utf8PathBuf>,
        /// The file that differs.
        path: Utf8PathBuf,
    },
    /// A file that many are made with differs: a lock file, a tool's pin, the shared config.
    GlobalInput {
        /// The file.
        path: Utf8PathBuf,
    },
    /// Nothing is known to have stayed the same.
    UnknownBase {
        /// Why.
        because: String,
    },
}

/// Affected folders with their reasons.
pub type Reasons = BTreeMap<Utf8PathBuf, Vec<Reason>>;

/// What a change concerns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Affected {
    /// Projects by folder.
    pub projects: Reasons,
    /// Packages by folder, without the roots of workspaces, which hold the others.
    pub packages: Reasons,
}

/// Files and folders that every project is made with.
#[must_use]
pub fn global_inputs() -> [&'static Utf8Path; 3] {
    [CONFIG_FILE, wrangler::TOOLCHAIN, bun::TOOLCHAIN].map(Utf8Path::new)
}

/// What `changes` concern.
#[must_use]
pub fn affected(workspace: &Workspace, graph: &Graph, changes: &Changes) -> Affected {
    let projects = || workspace.projects.iter().map(|project| &project.dir);
    let packages = || {
        let member = |package: &&Package| !workspace.is_workspace_root(package);
        workspace.packages.values().filter(member).map(|package| &package.dir)
    };
    if let Base::Everything { because } = &changes.base {
        let reason = || vec![Reason::UnknownBase { because: because.clone() }];
        return Affected {
            projects: projects().map(|dir| (dir.clone(), reason())).collect(),
            packages: packages().map(|dir| (dir.clone(), reason())).collect(),
        };
    }
    let reach = Reach::new(workspace, graph, &changes.paths);
    let global = |path: &&Utf8PathBuf| global_inputs().iter().any(|input| path.starts_with(input));
    let globals: Vec<Reason> = changes.paths.iter().filter(global).map(global_input).collect();
    let with_reasons = |dir: &Utf8PathBuf, more: &[Reason]| {
        let mut reasons = reach.reasons(dir);
        // Said once, though modules that read such a file are dependencies as well.
        let said = |reason: &Reason| match reason {
            Reason::Dependency { path, .. } => more.contains(&global_input(path)),
            _ => false,
        };
        reasons.retain(|reason| !said(reason));
        reasons.extend_from_slice(more);
        (!reasons.is_empty()).then(|| (dir.clone(), reasons))
    };
    Affected {
        projects: projects().filter_map(|dir| with_reasons(dir, &globals)).collect(),
        packages: packages().filter_map(|dir| with_reasons(dir, &[])).collect(),
    }
}

fn global_input(path: &Utf8PathBuf) -> Reason {
    Reason::GlobalInput { path: path.clone() }
}

/// What changed files reach through the edges of the graph, against their direction.
struct Reach<'a> {
    graph: &'a Graph,
    /// The changed files of each folder that the graph knows.
    direct: HashMap<&'a str, Vec<&'a Utf8PathBuf>>,
    /// For what is reached from elsewhere: the first step of a shortest way to a changed file.
    via: HashMap<&'a str, &'a Edge>,
    /// Changed lock files that no package is installed by now, because they are gone.
    lost_locks: Vec<&'a Utf8PathBuf>,
}

impl<'a> Reach<'a> {
    fn new(workspace: &'a Workspace, graph: &'a Graph, changed: &'a [Utf8PathBuf]) -> Reach<'a> {
        let mut nodes: HashSet<&str> = workspace.packages.keys().map(|dir| dir.as_str()).collect();
        nodes.extend(workspace.projects.iter().map(|project| project.dir.as_str()));
        let mut users: HashMap<&str, Vec<&Edge>> = HashMap::new();
        for edge in graph.all() {
            nodes.extend([edge.from.as_str(), edge.to.as_str()]);
            users.entry(edge.to.as_str()).or_default().push(edge);
        }
        let direct = changed_nodes(&nodes, changed);
        let mut via: HashMap<&str, &Edge> = HashMap::new();
        let mut waiting: VecDeque<&str> = direct.keys().copied().collect();
        while let Some(node) = waiting.pop_front() {
            for edge in users.get(node).into_iter().flatten() {
                let from = edge.from.as_str();
                if !direct.contains_key(from) && !via.contains_key(from) {
                    via.insert(from, edge);
                    waiting.push_back(from);
                }
            }
        }
        let lock = |path: &&Utf8PathBuf| {
            path.file_name().is_some_and(|name| LOCK_FILES.contains(&name))
                && !nodes.contains(path.as_str())
        };
        Reach { graph, direct, via, lost_locks: changed.iter().filter(lock).collect() }
    }

    fn reasons(&self, dir: &Utf8Path) -> Vec<Reason> {
        let mut reasons: Vec<Reason> = self
            .direct
            .get(dir.as_str())
            .into_iter()
            .flatten()
            .map(|path| Reason::ChangedFile { path: (*path).clone() })
            .collect();
        reasons.extend(self.graph.edges(dir).iter().filter_map(|edge| self.dependency(edge)));
        let above = |lock: &&&Utf8PathBuf| {
            lock.parent().is_some_and(|folder| folder != dir && dir.starts_with(folder))
        };
        reasons.extend(self.lost_locks.iter().filter(above).map(|path| global_input(path)));
        reasons
    }

    /// The reason that an edge is, when a changed file can be reached through it.
    fn dependency(&self, edge: &Edge) -> Option<Reason> {
        let mut through = Vec::new();
        let mut node = edge.to.as_str();
        while let Some(step) = self.via.get(node) {
            node = step.to.as_str();
            through.push(step.to.clone());
        }
        let path = (*self.direct.get(node)?.first()?).clone();
        if edge.origin == Origin::Install {
            return Some(Reason::GlobalInput { path });
        }
        Some(Reason::Dependency { on: edge.to.clone(), origin: edge.origin, through, path })
    }
}

/// The nodes that a changed file is, or lies in, with the files. A changed submodule is one path, and
/// concerns what lies in it.
fn changed_nodes<'a>(
    nodes: &HashSet<&'a str>,
    changed: &'a [Utf8PathBuf],
) -> HashMap<&'a str, Vec<&'a Utf8PathBuf>> {
    let above: HashSet<&str> = nodes
        .iter()
        .flat_map(|node| Utf8Path::new(*node).ancestors().skip(1))
        .map(Utf8Path::as_str)
        .collect();
    let mut found: HashMap<&str, Vec<&Utf8PathBuf>> = HashMap::new();
    for path in changed {
        for folder in path.ancestors() {
            if let Some(node) = nodes.get(folder.as_str()) {
                found.entry(node).or_default().push(path);
            }
        }
        if above.contains(path.as_str()) {
            let inside =
                |node: &&&str| Utf8Path::new(node).starts_with(path) && **node != path.as_str();
            for node in nodes.iter().filter(inside) {
                found.entry(node).or_default().push(path);
            }
        }
    }
    found
}
