//! Atomic writing of files.

use anyhow::{Context as _, Result};
use camino::Utf8Path;

use crate::secret::redact;

/// Writes `text`, without any secret that was used, to a temporary file in the same folder, then renames it to `path`.
pub fn write_whole(path: &Utf8Path, text: &str) -> Result<()> {
    let folder = path.parent().unwrap_or(Utf8Path::new("."));
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {folder}"))?;
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    std::fs::write(&temporary, redact(text))
        .with_context(|| format!("cannot write {temporary}"))?;
    std::fs::rename(&temporary, path).with_context(|| format!("cannot write {path}"))
}
