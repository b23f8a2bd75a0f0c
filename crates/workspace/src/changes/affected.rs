//! Finds the projects and packages that a change affects, with the reasons.

use std::collections::VecDeque;

use camino::{Utf8Path, Utf8PathBuf};
use serde::Serialize;

use crate::changes::change_base::{Base, Changes};
use crate::changes::lock_changes::LockChanges;
use crate::changes::summary::{NamedNode, Summary};
use crate::config::CONFIG_FILE;
use crate::config::modules::{BUN_TOOLCHAIN, TOOL_LOCK, WRANGLER_TOOLCHAIN};
use crate::files::names::{CARGO_LOCK, CARGO_MANIFEST, cargo_folder, is_install_file};
use crate::graph::{Graph, NodeIndex, Origin};
use crate::projects::discovery::BrokenConfig;

/// The reason why a project or package is affected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum Reason {
    /// A file in its folder differs.
    ChangedFile {
        /// The file.
        path: Utf8PathBuf,
    },
    /// One of its inputs is affected.
    Dependency {
        /// The direct dependency.
        on: Utf8PathBuf,
        /// The source of that dependency.
        origin: Origin,
        /// From there to the folder that holds the file.
        through: Vec<Utf8PathBuf>,
        /// The file that differs.
        path: Utf8PathBuf,
    },
    /// A file that many projects depend on differs: a lock file, a tool's pin, the shared config.
    GlobalInput {
        /// The file.
        path: Utf8PathBuf,
    },
    /// Its inputs cannot be compared.
    UnknownBase {
        /// The reason.
        because: String,
    },
}

/// A project or package that a change affects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AffectedItem<'o> {
    /// Its name. A package without a name has the name of its folder.
    pub name: &'o str,
    /// Its folder.
    pub dir: &'o Utf8Path,
    /// The reasons.
    pub reasons: Vec<Reason>,
}

/// The projects and packages that a change affects, each sorted by folder.
#[derive(Clone, Debug, Default)]
pub struct Affected<'o> {
    /// Projects.
    pub projects: Vec<AffectedItem<'o>>,
    /// The packages, except for the roots of workspaces, which contain the others.
    pub packages: Vec<AffectedItem<'o>>,
    /// The broken wrangler configs that changed or whose inputs changed.
    pub broken: Vec<&'o BrokenConfig>,
}

/// Files and folders that affect every project.
fn global_inputs() -> [&'static Utf8Path; 4] {
    [CONFIG_FILE, WRANGLER_TOOLCHAIN, BUN_TOOLCHAIN, TOOL_LOCK].map(Utf8Path::new)
}

/// Returns the projects and packages that `changes` affect.
#[must_use]
pub fn find_affected<'o>(
    summary: &'o Summary,
    changes: &Changes,
    locks: &LockChanges,
) -> Affected<'o> {
    let item = |named: &'o NamedNode, reasons: Vec<Reason>| AffectedItem {
        name: &named.name,
        dir: summary.graph.path(named.node),
        reasons,
    };
    if let Base::Everything { because } = &changes.base {
        let reason = || vec![Reason::UnknownBase { because: because.clone() }];
        let all =
            |named: &'o [NamedNode]| named.iter().map(|named| item(named, reason())).collect();
        return Affected {
            projects: all(&summary.projects),
            packages: all(&summary.packages),
            broken: summary.broken.iter().collect(),
        };
    }
    let reach = Reach::new(&summary.graph, &changes.paths, locks);
    let global = |path: &&Utf8PathBuf| global_inputs().iter().any(|input| path.starts_with(input));
    let globals: Vec<Reason> = changes.paths.iter().filter(global).map(global_input).collect();
    let with_reasons = |named: &'o NamedNode, more: &[Reason]| {
        let mut reasons = reach.reasons(named.node);
        // Reported once, although modules that read such a file are dependencies as well.
        let is_duplicate = |reason: &Reason| match reason {
            Reason::Dependency { path, .. } => more.contains(&global_input(path)),
            _ => false,
        };
        reasons.retain(|reason| !is_duplicate(reason));
        reasons.extend_from_slice(more);
        (!reasons.is_empty()).then(|| item(named, reasons))
    };
    Affected {
        projects: summary
            .projects
            .iter()
            .filter_map(|named| with_reasons(named, &globals))
            .collect(),
        packages: summary.packages.iter().filter_map(|named| with_reasons(named, &[])).collect(),
        broken: summary.broken.iter().filter(|broken| reach.touches(&broken.dir)).collect(),
    }
}

fn global_input(path: &Utf8PathBuf) -> Reason {
    Reason::GlobalInput { path: path.clone() }
}

/// Returns the first step of a shortest path to a changed node, for each node that is affected through others.
fn first_steps(graph: &Graph, is_changed: &dyn Fn(NodeIndex) -> bool) -> Vec<Option<NodeIndex>> {
    let mut users: Vec<Vec<NodeIndex>> = vec![Vec::new(); graph.len()];
    for from in 0..graph.len() {
        for (to, _) in graph.edges_of(from) {
            users[*to].push(from);
        }
    }
    let mut steps: Vec<Option<NodeIndex>> = vec![None; graph.len()];
    let mut waiting: VecDeque<NodeIndex> =
        (0..graph.len()).filter(|node| is_changed(*node)).collect();
    while let Some(node) = waiting.pop_front() {
        for from in users[node].iter().copied() {
            if !is_changed(from) && steps[from].is_none() {
                steps[from] = Some(node);
                waiting.push_back(from);
            }
        }
    }
    steps
}

/// The nodes that depend on changed files, directly or through others.
struct Reach<'a> {
    graph: &'a Graph,
    changed: &'a [Utf8PathBuf],
    /// The changed files in each node. A node may be a changed file itself.
    direct: Vec<Vec<&'a Utf8PathBuf>>,
    /// The changed lock files that change the packages of each node.
    locked: Vec<Vec<&'a Utf8PathBuf>>,
    /// For each node that is affected through others: the first step of a shortest path to a changed file.
    via: Vec<Option<NodeIndex>>,
    /// Changed lock files and settings that no longer exist, so that no package is installed by them.
    lost: Vec<&'a Utf8PathBuf>,
}

impl<'a> Reach<'a> {
    fn new(graph: &'a Graph, changed: &'a [Utf8PathBuf], locks: &LockChanges) -> Reach<'a> {
        let mut direct = changed_nodes(graph, changed);
        let mut locked = vec![Vec::new(); graph.len()];
        for path in changed {
            // The node of a lock file represents all of it.
            if let (Some(nodes), Some(lock)) = (locks.affected_by(path), graph.index_of(path)) {
                direct[lock].retain(|other| *other != path);
                nodes.iter().for_each(|node| locked[*node].push(path));
            }
        }
        add_lost_cargo_files(graph, changed, &mut direct);
        let is_changed = |node: NodeIndex| !direct[node].is_empty() || !locked[node].is_empty();
        let via = first_steps(graph, &is_changed);
        let is_lost = |path: &&Utf8PathBuf| {
            path.file_name().is_some_and(is_install_file) && graph.index_of(path).is_none()
        };
        Reach {
            graph,
            changed,
            direct,
            locked,
            via,
            lost: changed.iter().filter(is_lost).collect(),
        }
    }

    /// Returns true if a file in `folder`, or one of its inputs, changed.
    fn touches(&self, folder: &Utf8Path) -> bool {
        let node = self.graph.index_of(folder);
        node.is_some_and(|node| !self.reasons(node).is_empty())
            || self.changed.iter().any(|path| path.starts_with(folder))
    }

    fn reasons(&self, node: NodeIndex) -> Vec<Reason> {
        let changed = self.direct[node].iter();
        let mut reasons: Vec<Reason> =
            changed.map(|path| Reason::ChangedFile { path: (*path).clone() }).collect();
        reasons.extend(self.locked[node].iter().map(|path| self.locked_reason(node, path)));
        let steps = self.graph.edges_of(node).iter();
        reasons.extend(steps.filter_map(|(to, origin)| self.dependency(node, *to, *origin)));
        if !self.lost.is_empty() {
            let dir = self.graph.path(node);
            let above = |lock: &&&Utf8PathBuf| {
                lock.parent().is_some_and(|folder| folder != dir && dir.starts_with(folder))
            };
            reasons.extend(self.lost.iter().filter(above).map(|path| global_input(path)));
        }
        reasons
    }

    /// Returns the reason for a change of locked packages. Of `Cargo.lock`, the reason is that of the dependency.
    fn locked_reason(&self, node: NodeIndex, lock: &Utf8PathBuf) -> Reason {
        let mut steps = self.graph.edges_of(node).iter();
        let step = steps.find(|(to, _)| self.graph.path(*to) == lock);
        match step.map(|(_, origin)| *origin) {
            Some(origin) if lock.file_name() == Some(CARGO_LOCK) => Reason::Dependency {
                on: lock.clone(),
                origin,
                through: Vec::new(),
                path: lock.clone(),
            },
            _ => global_input(lock),
        }
    }

    /// Returns the reason for a dependency on `on`. `None` if it leads to no changed file, or only to
    /// a file of `from` itself, in a cycle.
    fn dependency(&self, from: NodeIndex, on: NodeIndex, origin: Origin) -> Option<Reason> {
        let mut through = Vec::new();
        let mut node = on;
        while let Some(next) = self.via[node] {
            node = next;
            if node == from {
                return None;
            }
            through.push(self.graph.path(node).to_owned());
        }
        let path = (*self.direct[node].first().or_else(|| self.locked[node].first())?).clone();
        if origin == Origin::Install {
            return Some(Reason::GlobalInput { path });
        }
        Some(Reason::Dependency { on: self.graph.path(on).to_owned(), origin, through, path })
    }
}

/// Returns the changed files in each node. A node may be a changed file itself. A changed submodule
/// is one path, and affects the files in it.
fn changed_nodes<'a>(graph: &Graph, changed: &'a [Utf8PathBuf]) -> Vec<Vec<&'a Utf8PathBuf>> {
    let mut found = vec![Vec::new(); graph.len()];
    for path in changed {
        for node in path.ancestors().filter_map(|folder| graph.index_of(folder)) {
            found[node].push(path);
        }
        for node in graph.below(path) {
            found[node].push(path);
        }
    }
    found
}

/// Adds the changed files of Cargo that no longer exist to the crates below them, because Cargo read them before the change.
/// Each existing file of Cargo above such a crate is a node, also the manifest of the crate. A lock file is an input even if
/// it does not exist.
fn add_lost_cargo_files<'a>(
    graph: &Graph,
    changed: &'a [Utf8PathBuf],
    direct: &mut [Vec<&'a Utf8PathBuf>],
) {
    let is_lock = |path: &Utf8Path| path.file_name() == Some(CARGO_LOCK);
    for path in changed.iter().filter(|path| !is_lock(path) && graph.index_of(path).is_none()) {
        let Some(folder) = cargo_folder(path) else { continue };
        let manifests = (0..graph.len()).map(|node| graph.path(node));
        let manifests = manifests.filter(|path| path.file_name() == Some(CARGO_MANIFEST));
        let crates = manifests.filter_map(Utf8Path::parent);
        let below = crates.filter(|dir| *dir != folder && dir.starts_with(folder));
        for node in below.filter_map(|dir| graph.index_of(dir)) {
            direct[node].push(path);
        }
    }
}
