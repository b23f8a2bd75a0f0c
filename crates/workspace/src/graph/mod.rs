//! The graph of the folders and files that a project's output depends on.

pub(crate) mod builder;
mod dagger_modules;
pub(crate) mod declaration;
pub(crate) mod edges;
mod enclosing;
mod imported_code;
pub(crate) mod imports;
pub(crate) mod nx;
pub mod references;
pub(crate) mod relative_imports;
pub(crate) mod task_runners;
pub(crate) mod turbo;
pub(crate) mod typescript;

use std::collections::BTreeSet;

use camino::{Utf8Path, Utf8PathBuf};
use serde::Serialize;

use crate::projects::project::Project;

/// The reason why one folder depends on another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Origin {
    /// The package that builds the project is in a folder above it.
    Package,
    /// A dependency of a `package.json`: `workspace:`, `file:`, `link:`, `portal:`, or a version that
    /// a member of the same workspace satisfies.
    Manifest,
    /// A lock file or a package manager's settings in a folder above.
    Install,
    /// The Dagger module that builds or deploys the project, or a local dependency of a `dagger.json`.
    Module,
    /// `xtask.dependsOn` of a `package.json`, or a package that Turborepo or Nx builds first.
    DependsOn,
    /// `xtask.inputs` of a `package.json`, the configs that a TypeScript config extends, code that is imported from
    /// outside of the folder, or a file that Turborepo or Nx declares as an input of the build.
    Input,
    /// A path of a wrangler config that leads out of its folder.
    Config,
    /// A symbolic link that leads out of its folder.
    Link,
    /// A crate that the project is compiled with: a path dependency of its `Cargo.toml`, directly or through others.
    Crate,
    /// A file that Cargo reads when it compiles the project: a manifest, a lock file, settings.
    Cargo,
}

/// An edge from a folder to one of its inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Edge<'g> {
    /// The folder that depends.
    pub from: &'g Utf8Path,
    /// The dependency: a folder, or a file for an input. Relative to the repository's root.
    pub to: &'g Utf8Path,
    /// The reason.
    pub origin: Origin,
}

/// The index of a folder, or of a file that is an input.
pub(crate) type NodeIndex = usize;

/// The edges of a whole repository, by the folder that depends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Graph {
    /// Every node, sorted by the text of its path: comparing paths part by part is slow.
    pub(super) paths: Vec<Utf8PathBuf>,
    pub(super) edges: Vec<Vec<(NodeIndex, Origin)>>,
}

impl Graph {
    /// Creates the graph of these nodes, sorted by the text of their paths, with the edges of each.
    /// `None` if they are not sorted, or if an edge leads to no node.
    pub(crate) fn from_parts(
        paths: Vec<Utf8PathBuf>,
        edges: Vec<Vec<(NodeIndex, Origin)>>,
    ) -> Option<Graph> {
        let sorted = paths.windows(2).all(|pair| pair[0].as_str() < pair[1].as_str());
        let inside = edges.iter().flatten().all(|(to, _)| *to < paths.len());
        (sorted && inside && paths.len() == edges.len()).then_some(Graph { paths, edges })
    }

    /// Returns the inputs of `project`: its own folder and, through every edge, the folders and
    /// files that it depends on. Sorted.
    #[must_use]
    pub fn inputs(&self, project: &Project) -> BTreeSet<Utf8PathBuf> {
        self.reachable(&project.dir, |_| true)
    }

    /// Returns the inputs of a build of the package or project in `dir` with the tools of this machine, which uses no Dagger
    /// module.
    #[must_use]
    pub fn build_inputs(&self, dir: &Utf8Path) -> BTreeSet<Utf8PathBuf> {
        self.reachable(dir, |origin| origin != Origin::Module)
    }

    fn reachable(&self, dir: &Utf8Path, follow: impl Fn(Origin) -> bool) -> BTreeSet<Utf8PathBuf> {
        let mut found = BTreeSet::from([dir.to_owned()]);
        let mut waiting: Vec<NodeIndex> = self.index_of(dir).into_iter().collect();
        while let Some(node) = waiting.pop() {
            for (to, _) in self.edges[node].iter().filter(|(_, origin)| follow(*origin)) {
                if found.insert(self.paths[*to].clone()) {
                    waiting.push(*to);
                }
            }
        }
        found
    }

    /// Returns the edges from `dir`.
    pub fn edges<'g>(&'g self, dir: &'g Utf8Path) -> impl Iterator<Item = Edge<'g>> {
        let edges = self.index_of(dir).into_iter().flat_map(|node| &self.edges[node]);
        edges.map(move |(to, origin)| Edge { from: dir, to: &self.paths[*to], origin: *origin })
    }

    /// Returns the index of the folder or file at `path`. `None` if it has no edge or package.
    pub(super) fn index_of(&self, path: &Utf8Path) -> Option<NodeIndex> {
        self.paths.binary_search_by(|other| other.as_str().cmp(path.as_str())).ok()
    }

    /// Returns the path of a node.
    pub(crate) fn path(&self, node: NodeIndex) -> &Utf8Path {
        &self.paths[node]
    }

    /// Returns the dependencies of a node, by index.
    pub(crate) fn edges_of(&self, node: NodeIndex) -> &[(NodeIndex, Origin)] {
        &self.edges[node]
    }

    /// Returns the number of nodes.
    pub(crate) fn len(&self) -> usize {
        self.paths.len()
    }

    /// Returns the nodes below `folder`.
    pub(super) fn below(&self, folder: &Utf8Path) -> impl Iterator<Item = NodeIndex> {
        let prefix = format!("{folder}/");
        let from = self.paths.partition_point(|path| path.as_str() < prefix.as_str());
        (from..self.len()).take_while(move |node| self.paths[*node].as_str().starts_with(&prefix))
    }
}
