//! The package around code: the one that owns it, and the one that has a project in one of its folders.
//!
//! The second is no input as a whole, because then every change of it would count. Its manifest is one, with what the manifest
//! leads to: the lock file and the local dependencies. Its TypeScript config is one too, because bundlers read it.

use camino::Utf8Path;

use crate::Workspace;
use crate::files::names::MANIFEST;
use crate::graph::builder::GraphBuilder;
use crate::graph::typescript::TypeScript;
use crate::graph::{NodeIndex, Origin};
use crate::packages::package::Package;

/// Returns the folder of the package that owns `path`. `None` if no package does, or if that package contains `dir`.
pub(super) fn owner<'p>(
    workspace: &Workspace,
    path: &'p Utf8Path,
    dir: &Utf8Path,
) -> Option<&'p Utf8Path> {
    path.ancestors()
        .find(|above| workspace.packages.contains_key(above.as_str()) && !dir.starts_with(above))
}

/// Returns the nearest package around `path`, if the folder `dir` is below it too.
pub(super) fn package_around<'w>(
    workspace: &'w Workspace,
    dir: &Utf8Path,
    path: &Utf8Path,
) -> Option<&'w Package> {
    let mut above = path.ancestors().skip(1);
    let package = above.find_map(|above| workspace.packages.get(above.as_str()))?;
    (package.dir != dir && dir.starts_with(&package.dir)).then_some(package)
}

/// Adds what all code of the package around `path` depends on to the inputs of the folder `dir`, whose node is `node`, if `dir`
/// is below that package too.
pub(super) fn add_package_around(
    graph: &mut GraphBuilder,
    workspace: &Workspace,
    node: NodeIndex,
    dir: &Utf8Path,
    path: &Utf8Path,
) {
    if let Some(package) = package_around(workspace, dir, path) {
        add_manifest(graph, workspace, node, package);
    }
}

/// Adds what all code of `package` depends on to the inputs of `node`. The edges of the package have to be in the graph.
pub(super) fn add_manifest(
    graph: &mut GraphBuilder,
    workspace: &Workspace,
    node: NodeIndex,
    package: &Package,
) {
    let manifest = package.dir.join(MANIFEST);
    let from = graph.node(&manifest);
    // What the root depends on is for the whole repository, such as the configs of linters.
    let is_root = package.dir.as_str().is_empty();
    let own = graph.node(&package.dir);
    for (to, origin) in graph.edges_of(own) {
        let counts = match origin {
            Origin::Install => true,
            Origin::Manifest => !is_root,
            _ => false,
        };
        if counts {
            let to = graph.path(to).to_owned();
            graph.add(from, &to, origin);
        }
    }
    let files = workspace.install_files.iter();
    for path in files.filter(|path| path.parent() == Some(&package.dir)) {
        graph.add(from, path, Origin::Install);
    }
    for config in ["tsconfig.json", "jsconfig.json"].map(|name| package.dir.join(name)) {
        if workspace.files.is_file(&config) {
            let extended = TypeScript::follow(&workspace.files, &config).paths.into_iter();
            let configs = extended.filter(|path| workspace.files.is_file(path)).chain([config]);
            for path in configs {
                graph.add(from, &path, Origin::Input);
            }
        }
    }
    graph.add(node, &manifest, Origin::Manifest);
}
