//! Atomic writing of files.

use camino::Utf8Path;

use crate::error::{ErrorContext as _, Result, unwritable};
use crate::secret::redact;

/// Writes `text` as [`write_whole`] does, before anything has changed. The error states that.
pub fn write_first(path: &Utf8Path, text: &str) -> Result<()> {
    write_whole(path, text).map_err(|error| unwritable(format!("{error:#}")))
}

/// Writes `text`, without secrets, to a temporary file in the same folder, then renames it to `path`.
pub fn write_whole(path: &Utf8Path, text: &str) -> Result<()> {
    let folder = path.parent().unwrap_or(Utf8Path::new("."));
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {folder}"))?;
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    std::fs::write(&temporary, redact(text))
        .and_then(|()| std::fs::rename(&temporary, path))
        .inspect_err(|_| drop(std::fs::remove_file(&temporary)))
        .with_context(|| format!("cannot write {path}"))
}
