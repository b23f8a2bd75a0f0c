//! Refuses files that a symbolic link puts outside of the repository. Such files were not reviewed,
//! are in no content key, and may not exist on the machine that deploys.

use std::collections::HashSet;

use camino::{Utf8Path, Utf8PathBuf};

use crate::files::Source;
use base::error::{Error, Result, refused};

/// Refuses a path, relative to `root`, that leads out of the repository. A link within the repository
/// is allowed, and so is a path that does not exist.
pub fn check(root: &Utf8Path, path: &Utf8Path) -> Result<()> {
    let Ok(real) = root.join(path).canonicalize_utf8() else {
        return dangling(root, path);
    };
    if real.starts_with(root) || root.canonicalize_utf8().is_ok_and(|root| real.starts_with(root)) {
        return Ok(());
    }
    Err(leaves(path, &real))
}

/// Resolves the symbolic links of a path. `None` if it leads out of the repository, or does not exist.
#[must_use]
pub fn real(root: &Utf8Path, path: &Utf8Path) -> Option<Utf8PathBuf> {
    let straight = root.join(path);
    let real = straight.canonicalize_utf8().ok()?;
    if real == straight {
        return Some(path.to_owned());
    }
    real.strip_prefix(root.canonicalize_utf8().ok()?).ok().map(Utf8Path::to_owned)
}

/// Reads many files, and checks the folders above them only once.
pub struct SymlinkReader<'f> {
    files: &'f Source,
    /// Folders whose path has no symbolic link.
    plain: HashSet<String>,
}

impl<'f> SymlinkReader<'f> {
    /// Creates a reader of these files.
    #[must_use]
    pub fn new(files: &'f Source) -> SymlinkReader<'f> {
        SymlinkReader { files, plain: HashSet::from([String::new()]) }
    }

    /// Reads a file as [`Source::read`] does.
    pub fn read(&mut self, path: &Utf8Path) -> Result<String> {
        let files = self.files;
        match files {
            Source::WorkingTree { root, .. } if self.is_plain(root, path) => text(root, path),
            _ => files.read(path),
        }
    }

    fn is_plain(&mut self, root: &Utf8Path, path: &Utf8Path) -> bool {
        let folder = path.parent().unwrap_or(Utf8Path::new(""));
        if !self.plain.contains(folder.as_str()) {
            if !self.is_plain(root, folder) {
                return false;
            }
            self.plain.insert(folder.as_str().to_owned());
        }
        !is_link(&root.join(path))
    }
}

fn is_link(path: &Utf8Path) -> bool {
    path.symlink_metadata().is_ok_and(|meta| meta.is_symlink())
}

/// Reads the text of a file of the repository.
pub fn read(root: &Utf8Path, path: &Utf8Path) -> Result<String> {
    check(root, path)?;
    text(root, path)
}

fn text(root: &Utf8Path, path: &Utf8Path) -> Result<String> {
    let bytes = std::fs::read(root.join(path))
        .map_err(|error| refused(format!("cannot read {path}: {error}")))?;
    String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = valid.split(|byte| *byte == b'\n').count();
        refused(format!("{path}:{line}: the text is not UTF-8")).hint("save the file as UTF-8")
    })
}

/// The target of a dangling link may exist on another machine.
fn dangling(root: &Utf8Path, path: &Utf8Path) -> Result<()> {
    let Ok(target) = root.join(path).read_link_utf8() else {
        return Ok(());
    };
    let folder = path.parent().unwrap_or(Utf8Path::new(""));
    match crate::files::paths::normalize(&folder.join(&target)) {
        Some(_) => Ok(()),
        None if target.starts_with(root) => Ok(()),
        None => Err(leaves(path, &target)),
    }
}

fn leaves(path: &Utf8Path, target: &Utf8Path) -> Error {
    refused(format!("{path} leads out of the repository, to {target}"))
        .hint("put a copy of it into the repository, or remove the symbolic link")
}
