//! The folders of the Dagger modules and pinned tools in a repository.

use camino::Utf8Path;
use serde::Deserialize;

use crate::files::config_text::parse_jsonc;

/// The folder of the module that deploys, relative to the repository's root.
pub const CLOUDFLARE: &str = "dagger/cloudflare";

/// The folder of the module that builds projects without their own module.
pub const BUN: &str = "dagger/bun";

/// The folder of the module with the shared config file.
pub const CONFIG: &str = "dagger/config";

/// The folder of the module that writes the comments of merge requests.
const GITLAB: &str = "dagger/gitlab";

/// The folder in which wrangler is pinned and installed.
pub const WRANGLER_TOOLCHAIN: &str = "dagger/cloudflare/toolchain";

/// The folder that pins Bun for machines with npm: `package.json` and `package-lock.json`.
pub const BUN_TOOLCHAIN: &str = "dagger/bun/toolchain";

/// The folder of the crate that runs xtask and the commands of the repository.
pub const TOOL: &str = "xtask";

/// The lock file of that crate. It pins the version of xtask, and with it the default pins.
pub const TOOL_LOCK: &str = "xtask/Cargo.lock";

/// The folders of the Dagger modules, in a repository that has them.
pub const MODULES: [&str; 4] = [BUN, CLOUDFLARE, CONFIG, GITLAB];

/// Returns true if `dir` belongs to xtask. A wrangler config in it is not a project.
#[must_use]
pub fn is_of_tool(dir: &Utf8Path) -> bool {
    dir.starts_with(TOOL) || MODULES.iter().any(|module| dir.starts_with(module))
}

/// Returns true if the source of a dependency in a `dagger.json` is a folder of the same
/// repository. It has neither the parts of a URL nor a version.
#[must_use]
pub fn is_local(source: &str) -> bool {
    source.starts_with('.') || !source.contains(['/', '@', ':'])
}

/// The fields of a `dagger.json` that we read.
#[derive(Deserialize)]
struct DaggerModule {
    #[serde(default)]
    dependencies: Vec<ModuleDependency>,
}

#[derive(Deserialize)]
struct ModuleDependency {
    source: String,
}

/// Returns the sources of the dependencies in a `dagger.json` that are folders of the same repository.
pub(crate) fn local_dependencies(text: &str) -> Result<Vec<String>, String> {
    let module: DaggerModule =
        serde_json::from_value(parse_jsonc(text)?).map_err(|error| error.to_string())?;
    let sources = module.dependencies.into_iter().map(|dependency| dependency.source);
    Ok(sources.filter(|source| is_local(source)).collect())
}
