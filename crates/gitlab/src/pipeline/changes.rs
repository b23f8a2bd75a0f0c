//! Paths whose change starts a project's deployment automatically.

use std::collections::BTreeSet;

use camino::{Utf8Path, Utf8PathBuf};

use workspace::Workspace;
use workspace::graph::Graph;
use workspace::modules::TOOL_LOCK;
use workspace::pipeline::GITLAB_FILE;
use workspace::project::Project;

/// GitLab accepts no more patterns in a rule (<https://docs.gitlab.com/ci/yaml/#ruleschanges>).
const MOST: usize = 50;

/// The files that affect every project: config, modules, toolchains and the pipeline itself.
const SHARED: [&str; 2] = ["dagger/**/*", GITLAB_FILE];

/// Returns the patterns for `projects`: their folders and all of their inputs in the graph. They match
/// more than the content key does. `None` if there are too many for a rule. Then every push starts the
/// job.
#[must_use]
pub fn changes(workspace: &Workspace, graph: &Graph, projects: &[&Project]) -> Option<Vec<String>> {
    let inputs: BTreeSet<Utf8PathBuf> =
        projects.iter().flat_map(|project| graph.inputs(project)).collect();
    let mut paths: Vec<String> = inputs
        .iter()
        .filter(|path| !path.starts_with("dagger"))
        .map(|path| pattern(path, workspace.root.join(path).is_dir()))
        .collect();
    paths.extend(SHARED.map(str::to_owned));
    let file = Some(workspace.config.pipeline.file.as_str()).filter(|file| *file != GITLAB_FILE);
    let lock = Some(TOOL_LOCK).filter(|lock| workspace.root.join(lock).is_file());
    paths.extend(file.into_iter().chain(lock).map(str::to_owned));
    let literal = |path: &String| !path.contains(['[', ']', '{', '}', '\\', '?', '$']);
    (paths.len() <= MOST && paths.iter().all(literal)).then_some(paths)
}

fn pattern(path: &Utf8Path, folder: bool) -> String {
    match (folder, path.as_str()) {
        (true, "") => "**/*".to_owned(),
        (true, dir) => format!("{dir}/**/*"),
        (false, file) => file.to_owned(),
    }
}
