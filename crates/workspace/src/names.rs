//! Which files say what exists, by their names.

use camino::Utf8Path;

use super::config::CONFIG_FILE;
use super::files::{MANIFEST, MODULE, PROJECTS};
use super::installs;
use super::installs::INSTALL_SETTINGS;
use super::wrangler::is_config_name;

/// Whether a file of this name says what exists.
pub(super) fn says(name: &str) -> bool {
    name == MANIFEST || is_config_name(name) || installs(name)
}

/// Whether the file at `path`, which is not committed as it is below `root`, says what exists, or what
/// it is made from.
#[must_use]
pub fn decides(path: &Utf8Path, root: &Utf8Path) -> bool {
    path == CONFIG_FILE
        || path.file_name().is_some_and(|name| says(name) || name == MODULE)
        // Without the folder, projects are looked for everywhere.
        || path.starts_with(PROJECTS) && !root.join(PROJECTS).is_dir()
}

/// Whether the text at `path` is read, and not only that it is there.
pub(super) fn is_read(path: &str) -> bool {
    let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
    path == CONFIG_FILE
        || [MANIFEST, MODULE].contains(&name)
        || INSTALL_SETTINGS.contains(&name)
        || is_config_name(name)
}
