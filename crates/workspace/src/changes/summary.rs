//! The summary of a repository: all data that is needed to find the projects that a change affects.

use camino::Utf8PathBuf;

use crate::Workspace;
use crate::files::Source;
use crate::graph::{Graph, NodeIndex};
use crate::packages::package::Package;
use crate::projects::discovery::BrokenConfig;

/// The projects and packages of a repository, with their dependencies.
#[derive(Debug)]
pub struct Summary {
    /// The dependencies.
    pub graph: Graph,
    /// Every project.
    pub(crate) projects: Vec<NamedNode>,
    /// Every package, except for the roots of workspaces, which contain the others.
    pub(crate) packages: Vec<NamedNode>,
    /// The wrangler configs that cannot be used.
    pub broken: Vec<BrokenConfig>,
}

/// A node with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamedNode {
    pub(crate) node: NodeIndex,
    pub(crate) name: String,
}

impl Summary {
    /// Returns the summary of `workspace`.
    #[must_use]
    pub fn new(workspace: &Workspace) -> Summary {
        let graph = workspace.graph.clone();
        let named = |dir: &Utf8PathBuf, name: &str| {
            Some(NamedNode { node: graph.index_of(dir)?, name: name.to_owned() })
        };
        let member = |package: &&Package| !workspace.is_workspace_root(package);
        let packages = workspace.packages.values().filter(member);
        let name = |package: &Package| {
            named(&package.dir, package.name.as_deref().unwrap_or(package.dir.as_str()))
        };
        let mut projects: Vec<_> =
            workspace.projects.iter().filter_map(|p| named(&p.dir, &p.name)).collect();
        // Sorted by the text of their folders, like the nodes.
        projects.sort_by_key(|named| named.node);
        Summary {
            projects,
            packages: packages.filter_map(name).collect(),
            broken: workspace.broken.clone(),
            graph,
        }
    }

    /// Returns true if a broken config can be read among these files. Git may store a file in
    /// another form than it checks out, for example encrypted, and a link may lead out of a commit.
    #[must_use]
    pub fn is_readable(&self, files: &Source) -> bool {
        self.broken.iter().any(|broken| broken.is_readable(files))
    }

    /// Returns the number of projects.
    #[must_use]
    pub fn projects(&self) -> usize {
        self.projects.len()
    }
}
