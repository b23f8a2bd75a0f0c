//! Names of the files that define packages, projects and modules.

use camino::Utf8Path;

use super::config::CONFIG_FILE;
use super::files::{MANIFEST, MODULE, PROJECTS};
use super::installs;
use super::installs::INSTALL_SETTINGS;
use super::typescript::TSCONFIGS;
use super::wrangler::is_config_name;

/// Returns true if a file of this name defines a package, a project or a module.
pub(super) fn is_defining_name(name: &str) -> bool {
    name == MANIFEST || is_config_name(name) || TSCONFIGS.contains(&name) || installs(name)
}

/// Returns true if the uncommitted file at `path` below `root` can change the set of projects or
/// their graph.
#[must_use]
pub fn is_defining_path(path: &Utf8Path, root: &Utf8Path) -> bool {
    path == CONFIG_FILE
        || path.file_name().is_some_and(|name| is_defining_name(name) || name == MODULE)
        // Without the folder, projects are searched everywhere.
        || path.starts_with(PROJECTS) && !root.join(PROJECTS).is_dir()
}

/// Returns true if the content of `path` is read, and not only its existence.
pub(super) fn is_read(path: &str) -> bool {
    let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
    path == CONFIG_FILE
        || [MANIFEST, MODULE].contains(&name)
        || INSTALL_SETTINGS.contains(&name)
        || TSCONFIGS.contains(&name)
        || is_config_name(name)
}
