//! Paths whose change starts a project's deployment automatically.

use std::collections::BTreeSet;

use camino::{Utf8Path, Utf8PathBuf};

use workspace::Workspace;
use workspace::git::FileList;
use workspace::modules::TOOL_LOCK;
use workspace::pipeline::GITLAB_FILE;
use workspace::project::Project;

/// GitLab accepts no more patterns in a rule (<https://docs.gitlab.com/ci/yaml/#ruleschanges>).
const MAX_PATTERNS: usize = 50;

/// The files that affect every project: config, modules, toolchains and the pipeline itself.
const SHARED: [&str; 2] = ["dagger/**/*", GITLAB_FILE];

/// Returns the patterns for `projects`: their folders and all of their inputs in the graph. They match
/// more than the content key does. `None` if there are too many for a rule. Then every push starts the
/// job. A commit that changes a submodule or a symbolic link names only its own path, so that is a pattern too.
#[must_use]
pub fn patterns(workspace: &Workspace, projects: &[&Project]) -> Option<Vec<String>> {
    let inputs: BTreeSet<Utf8PathBuf> =
        projects.iter().flat_map(|project| workspace.graph.inputs(project)).collect();
    let submodules = submodules(workspace);
    let mut patterns: Vec<String> = Vec::new();
    if inputs.contains(Utf8Path::new("")) {
        return Some(vec!["**/*".to_owned()]);
    }
    for path in inputs.iter().filter(|path| !path.starts_with("dagger")) {
        let above = path.ancestors().filter(|above| !above.as_str().is_empty());
        let whole = above.filter(|above| {
            submodules.contains(above.as_str()) || is_link(&workspace.root.join(above))
        });
        let own = pattern(path, workspace.root.join(path).is_dir());
        for pattern in whole.map(Utf8Path::to_string).chain([own]) {
            if !patterns.contains(&pattern) {
                patterns.push(pattern);
            }
        }
    }
    patterns.extend(SHARED.map(str::to_owned));
    let file = Some(workspace.config.pipeline.file.as_str()).filter(|file| *file != GITLAB_FILE);
    let lock = Some(TOOL_LOCK).filter(|lock| workspace.root.join(lock).is_file());
    patterns.extend(file.into_iter().chain(lock).map(str::to_owned));
    let is_literal = |path: &String| !path.contains(['[', ']', '{', '}', '\\', '?', '$']);
    (patterns.len() <= MAX_PATTERNS && patterns.iter().all(is_literal)).then_some(patterns)
}

fn pattern(path: &Utf8Path, is_folder: bool) -> String {
    if is_folder { format!("{path}/**/*") } else { path.to_string() }
}

/// Returns the paths of the repository's submodules.
fn submodules(workspace: &Workspace) -> BTreeSet<&str> {
    workspace.all_files.iter().flat_map(FileList::submodules).collect()
}

fn is_link(path: &Utf8Path) -> bool {
    path.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink())
}

/// Returns true if the inputs of a project include files of a submodule, so that jobs need its checkout.
#[must_use]
pub fn needs_submodules(workspace: &Workspace) -> bool {
    let submodules = submodules(workspace);
    if submodules.is_empty() || !workspace.root.join(".gitmodules").is_file() {
        return false;
    }
    let mut inputs = workspace.projects.iter().flat_map(|project| workspace.graph.inputs(project));
    inputs.any(|input| {
        submodules
            .iter()
            .any(|path| input.starts_with(path) || Utf8Path::new(path).starts_with(&input))
    })
}
