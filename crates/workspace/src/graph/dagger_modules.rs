//! The Dagger modules that build and deploy projects, with the modules that they depend on.

use camino::Utf8Path;

use crate::Workspace;
use crate::config::modules;
use crate::files::Source;
use crate::files::names::MODULE;
use crate::files::paths::normalize;
use crate::graph::Origin;
use crate::graph::builder::GraphBuilder;
use crate::packages::package::Package;

/// Adds the shared module that deploys every project, and the one that builds projects without
/// their own module. They count with both engines, so that the same content always has the same
/// key.
pub(super) fn add_shared(graph: &mut GraphBuilder, workspace: &Workspace) {
    let files = &workspace.files;
    let exists = |module: &&str| files.is_file(&Utf8Path::new(module).join(MODULE));
    let builder = Some(modules::BUN).filter(exists);
    let deployer = Some(modules::CLOUDFLARE).filter(exists);
    for project in &workspace.projects {
        let builds = project.package.as_ref().is_some_and(Package::builds);
        let builder = builder.filter(|_| builds && !project.module);
        let node = graph.node(&project.dir);
        for module in [builder, deployer].into_iter().flatten() {
            graph.add(node, Utf8Path::new(module), Origin::Module);
        }
    }
    for module in [builder, deployer].into_iter().flatten() {
        add(graph, files, Utf8Path::new(module));
    }
}

/// Follows the local dependencies of the `dagger.json` in `dir`, and of those they lead to.
pub(super) fn add(graph: &mut GraphBuilder, files: &Source, dir: &Utf8Path) {
    let mut waiting = vec![dir.to_owned()];
    while let Some(dir) = waiting.pop() {
        let path = dir.join(MODULE);
        let Ok(text) = files.read(&path) else { continue };
        let node = graph.node(&dir);
        let sources = match modules::local_dependencies(&text) {
            Ok(sources) => sources,
            Err(error) => {
                graph.problem(node, format!("{path}: {error}"));
                continue;
            }
        };
        for source in sources {
            let to = normalize(&dir.join(&source)).filter(|to| files.is_file(&to.join(MODULE)));
            let Some(to) = to else {
                graph.problem(node, format!("{path}: no Dagger module at `{source}`"));
                continue;
            };
            if let Some(real) = files.resolve_link(&to) {
                graph.add(node, &real, Origin::Module);
            }
            if graph.add(node, &to, Origin::Module) {
                waiting.push(to);
            }
        }
    }
}
