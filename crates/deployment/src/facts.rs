//! Reads the facts of a project that the rules of a plan need.

use crate::builds::ProjectBuild;
use crate::engine::build::expected_output;
use crate::plan::ProjectFacts;
use workspace::Workspace;

/// The file that leaves files out of the assets.
const IGNORE: &str = ".assetsignore";

/// Returns a project with all facts that the rules need.
#[must_use]
pub fn read_facts<'a>(
    workspace: &Workspace,
    build: ProjectBuild<'a>,
    environment: &str,
) -> ProjectFacts<'a> {
    let ProjectBuild { project, build } = build;
    let assets = project.target(environment).assets;
    let ignore_file = assets.map(|dir| workspace.root.join(&project.dir).join(dir).join(IGNORE));
    ProjectFacts {
        project,
        build,
        missing_output: expected_output::check_unbuilt(workspace, project).err(),
        may_be_generated: expected_output::may_be_generated(&workspace.root, project, environment),
        has_assets_ignore: ignore_file.is_some_and(|path| path.is_file()),
    }
}
