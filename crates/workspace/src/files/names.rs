//! Names of files: those that define packages, projects and modules, and those that an install reads.

use camino::Utf8Path;

use crate::packages::package_manager::is_lock_file;

/// The path of the config file, relative to the repository's root.
pub const CONFIG_FILE: &str = "dagger/config/config.json";

/// The folder of projects, in a repository that has projects in it.
pub const PROJECTS: &str = "projects";

/// The file that makes a folder a package.
pub const MANIFEST: &str = "package.json";

/// The file that makes a folder a Dagger module.
pub const MODULE: &str = "dagger.json";

/// The name of the file that makes a pnpm workspace.
pub const PNPM: &str = "pnpm-workspace.yaml";

/// The file that makes a folder a crate or a workspace of Cargo.
pub const CARGO_MANIFEST: &str = "Cargo.toml";

/// The lock file of Cargo, beside the manifest of the root of a workspace.
pub const CARGO_LOCK: &str = "Cargo.lock";

/// The files that choose the version of Rust.
pub const RUST_TOOLCHAINS: [&str; 2] = ["rust-toolchain", "rust-toolchain.toml"];

/// The settings of Cargo.
pub const CARGO_CONFIGS: [&str; 2] = [".cargo/config", ".cargo/config.toml"];

/// Settings of npm and pnpm.
pub const NPMRC: &str = ".npmrc";

/// The config files of TypeScript in a folder that count.
pub const TSCONFIGS: [&str; 2] = ["tsconfig.json", "jsconfig.json"];

/// Settings of package managers and of the programs that they start. They are inputs like the lock file.
pub const INSTALL_SETTINGS: [&str; 12] = [
    NPMRC,
    ".yarnrc",
    YARNRC,
    ".pnpmfile.cjs",
    ".pnpmfile.mjs",
    "bunfig.toml",
    PNPM,
    ".nvmrc",
    ".mise.toml",
    "mise.toml",
    ".node-version",
    ".tool-versions",
];

/// The settings of Turborepo, in the root and in packages.
pub const TURBO_CONFIGS: [&str; 2] = ["turbo.json", "turbo.jsonc"];

/// The settings of Nx, in the root.
pub const NX_CONFIG: &str = "nx.json";

/// The settings of a project of Nx.
pub const NX_PROJECT: &str = "project.json";

/// Returns true if a file of this name has settings of Turborepo or Nx.
pub(crate) fn is_task_config(name: &str) -> bool {
    TURBO_CONFIGS.contains(&name) || [NX_CONFIG, NX_PROJECT].contains(&name)
}

/// Settings that the programs of a build look for in the folders above a package, too.
const BUILD_SETTINGS: [&str; 18] = [
    ".browserslistrc",
    ".postcssrc",
    ".postcssrc.cjs",
    ".postcssrc.js",
    ".postcssrc.json",
    ".postcssrc.mjs",
    ".postcssrc.ts",
    ".postcssrc.yaml",
    ".postcssrc.yml",
    "babel.config.cjs",
    "babel.config.js",
    "babel.config.json",
    "babel.config.mjs",
    "postcss.config.cjs",
    "postcss.config.js",
    "postcss.config.mjs",
    "postcss.config.mts",
    "postcss.config.ts",
];

/// Returns true if a file of this name is a lock file or such a setting.
pub(crate) fn is_install_file(name: &str) -> bool {
    is_lock_file(Utf8Path::new(name))
        || INSTALL_SETTINGS.contains(&name)
        || BUILD_SETTINGS.contains(&name)
}

/// The settings of Yarn berry.
pub const YARNRC: &str = ".yarnrc.yml";

/// The lock file of both generations of Yarn.
pub const YARN_LOCK: &str = "yarn.lock";

/// Returns true if a file of this name may be a wrangler config: the main one or another one of the folder, such as
/// `wrangler.api.toml` or `wrangler-production.toml`.
#[must_use]
pub fn is_config_name(name: &str) -> bool {
    let ends = [".json", ".jsonc", ".toml"];
    let rest = name.strip_prefix("wrangler");
    rest.is_some_and(|rest| rest.starts_with(['.', '-', '_']))
        && ends.iter().any(|end| name.ends_with(end))
}

/// Returns the folder whose crates the file at `path` affects, and of all folders below it. `None` if it is not a file of Cargo.
pub(crate) fn cargo_folder(path: &Utf8Path) -> Option<&Utf8Path> {
    let folder = path.parent()?;
    let name = path.file_name()?;
    if [CARGO_MANIFEST, CARGO_LOCK].contains(&name) || RUST_TOOLCHAINS.contains(&name) {
        return Some(folder);
    }
    CARGO_CONFIGS.iter().any(|config| path.ends_with(config)).then(|| folder.parent())?
}

/// Returns true if a file of this name may be a file of Cargo.
pub(crate) fn is_cargo_name(name: &str) -> bool {
    [CARGO_MANIFEST, CARGO_LOCK, "config", "config.toml"].contains(&name)
        || RUST_TOOLCHAINS.contains(&name)
}

/// Returns true if a file of this name may define a package, a crate, a project or a module.
pub(crate) fn is_defining_name(name: &str) -> bool {
    name == MANIFEST
        || is_config_name(name)
        || TSCONFIGS.contains(&name)
        || is_install_file(name)
        || is_task_config(name)
        || is_cargo_name(name)
}

/// Returns true if the uncommitted file at `path` can change the set of projects or their graph.
#[must_use]
pub fn is_defining_path(path: &Utf8Path) -> bool {
    let is_cargo = path.file_name().is_some_and(is_cargo_name);
    path == CONFIG_FILE
        || is_cargo && cargo_folder(path).is_some()
        || !is_cargo
            && path.file_name().is_some_and(|name| is_defining_name(name) || name == MODULE)
}

/// Returns true if the content of `path` is read, and not only its existence.
pub(crate) fn is_read(path: &str) -> bool {
    let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
    path == CONFIG_FILE
        || [MANIFEST, MODULE].contains(&name)
        || INSTALL_SETTINGS.contains(&name)
        || TSCONFIGS.contains(&name)
        || is_task_config(name)
        || is_config_name(name)
}
