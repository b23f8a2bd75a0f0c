//! Reads the facts of a project that the rules of a plan need.

use crate::builds::ProjectBuild;
use crate::engine::build::expected_output;
use crate::plan::ProjectFacts;
use workspace::Workspace;

/// Returns a project with all facts that the rules need.
#[must_use]
pub fn read_facts<'a>(workspace: &Workspace, build: ProjectBuild<'a>) -> ProjectFacts<'a> {
    let ProjectBuild { project, build } = build;
    ProjectFacts {
        project,
        build,
        missing_output: expected_output::check_unbuilt(workspace, project).err(),
        may_be_generated: expected_output::may_be_generated(&workspace.root, project),
    }
}
