//! Code of a package that a project in a folder of that package uses.
//!
//! The package is no input as a whole, because then every change of it would count. Its manifest is one, with what the manifest
//! leads to: the lock file and the local dependencies.

use camino::Utf8Path;

use crate::Workspace;
use crate::files::names::MANIFEST;
use crate::graph::builder::GraphBuilder;
use crate::graph::{NodeIndex, Origin};

/// Adds the manifest of the package around `path` to the inputs of the folder `dir`, whose node is `node`, if `dir` is below
/// that package. The edges of the package have to be in the graph.
pub(super) fn add_manifest(
    graph: &mut GraphBuilder,
    workspace: &Workspace,
    node: NodeIndex,
    dir: &Utf8Path,
    path: &Utf8Path,
) {
    let mut above = path.ancestors().skip(1);
    let Some(package) = above.find(|above| workspace.packages.contains_key(above.as_str())) else {
        return;
    };
    if package == dir || !dir.starts_with(package) {
        return;
    }
    let manifest = package.join(MANIFEST);
    let from = graph.node(&manifest);
    // What the root depends on is for the whole repository, such as the configs of linters.
    let is_root = package.as_str().is_empty();
    let own = graph.node(package);
    for (to, origin) in graph.edges_of(own).into_iter().filter(|_| !is_root) {
        let leads_around = dir.starts_with(graph.path(to));
        if matches!(origin, Origin::Manifest | Origin::Install) && !leads_around {
            let to = graph.path(to).to_owned();
            graph.add(from, &to, origin);
        }
    }
    graph.add(node, &manifest, Origin::Input);
}
