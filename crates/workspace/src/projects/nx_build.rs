//! Finds the builds of projects in integrated repositories of Nx: `project.json` has a target `build`, and no `package.json` has a
//! script for it.

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value;

use crate::files::Source;
use crate::files::config_text::parse_jsonc;
use crate::files::names::{NX_CONFIG, NX_PROJECT};
use crate::files::paths::normalize;
use crate::git::FileList;
use crate::packages::package::BuildOrigin;
use crate::projects::project::Project;

/// Gives each project that needs a build of Nx that build. `task_configs` are the paths of the settings of Nx.
pub(crate) fn infer(
    files: &Source,
    listed: Option<&FileList>,
    task_configs: &[Utf8PathBuf],
    projects: &mut [Project],
) {
    let has_nx =
        |dir: &Utf8Path| dir.ancestors().any(|above| task_configs.contains(&above.join(NX_CONFIG)));
    let has_command = |project: &Project| project.wrangler.value["build"]["command"].is_string();
    for project in projects.iter_mut().filter(|project| !project.module && !has_command(project)) {
        let path = project.dir.join(NX_PROJECT);
        if !task_configs.contains(&path) || !has_nx(&project.dir) || has_own_build(project) {
            continue;
        }
        let Some(name) = buildable_name(files, &path) else { continue };
        let is_written = |path: &Utf8PathBuf| !files.is_known(path, listed);
        if output_paths(project).iter().any(is_written) {
            project.package = project.package.take().map(|package| package.with_nx_build(&name));
        }
    }
}

/// Returns true if the project has its own build. The script of a package around it builds more than the project.
fn has_own_build(project: &Project) -> bool {
    let Some(package) = &project.package else { return false };
    package.build == Some(BuildOrigin::Setting) || (package.builds() && package.dir == project.dir)
}

/// Returns the name of the project of Nx at `path` if it has a target `build`.
fn buildable_name(files: &Source, path: &Utf8Path) -> Option<String> {
    let config: Value = parse_jsonc(&files.read(path).ok()?).ok()?;
    let folder = path.parent().and_then(Utf8Path::file_name);
    let name = config["name"].as_str().or(folder)?;
    config["targets"]["build"].is_object().then(|| name.to_owned())
}

/// Returns the paths of the wrangler config that a build may write.
fn output_paths(project: &Project) -> Vec<Utf8PathBuf> {
    let config = &project.wrangler.value;
    let blocks = config["env"].as_object().into_iter().flat_map(|blocks| blocks.values());
    let fields = blocks.chain([config]).flat_map(|block| {
        [&block["main"], &block["assets"]["directory"], &block["site"]["bucket"]]
    });
    let paths = fields.filter_map(Value::as_str);
    paths.filter_map(|path| normalize(&project.dir.join(path))).collect()
}
