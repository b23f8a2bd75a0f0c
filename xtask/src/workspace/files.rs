//! Where the files are read that say what exists: in the working tree, or in a commit.

use anyhow::Result;
use camino::{Utf8Path, Utf8PathBuf};

use super::config::CONFIG_FILE;
use super::tree::Tree;
use super::wrangler::CONFIG_NAMES;
use super::{inside, installs};
use crate::error::Failure;
use crate::tools::git;

/// Whether a file of this name says what exists.
fn says(name: &str) -> bool {
    name == MANIFEST || CONFIG_NAMES.contains(&name) || installs(name)
}

/// Whether a file at `path` says what exists, or what it is made from.
#[must_use]
pub fn decides(path: &Utf8Path) -> bool {
    path == CONFIG_FILE || path.file_name().is_some_and(|name| says(name) || name == MODULE)
}

/// Whether the text at `path` is read, and not only that it is there.
fn is_read(path: &str) -> bool {
    let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
    path == CONFIG_FILE
        || [MANIFEST, MODULE, NPMRC, PNPM].contains(&name)
        || CONFIG_NAMES.contains(&name)
}

/// What makes a folder a package.
pub const MANIFEST: &str = "package.json";

/// What makes a folder a Dagger module.
pub const MODULE: &str = "dagger.json";

/// The name of the file that makes a pnpm workspace.
pub const PNPM: &str = "pnpm-workspace.yaml";

/// Settings of npm and pnpm.
pub const NPMRC: &str = ".npmrc";

/// The files of the repository.
#[derive(Debug)]
pub enum Files {
    /// Those of the working tree.
    Here {
        /// The repository's root, absolute.
        root: Utf8PathBuf,
    },
    /// Those of a commit.
    Of(Tree),
}

impl Files {
    /// Those of the working tree at `root`.
    #[must_use]
    pub fn here(root: &Utf8Path) -> Files {
        Files::Here { root: root.to_owned() }
    }

    /// Those of `commit` in the repository at `root`.
    pub fn of(root: &Utf8Path, commit: &str) -> Result<Files> {
        Ok(Files::Of(Tree::load(root, commit, is_read)?))
    }

    /// Every file that says what exists, sorted by its text. A deleted one may be among those of the
    /// working tree.
    pub fn list(&self) -> Result<Vec<Utf8PathBuf>> {
        match self {
            Files::Here { root } => git::files(root, says),
            Files::Of(tree) => Ok(git::named(tree.paths(), says).map(Utf8PathBuf::from).collect()),
        }
    }

    /// Whether a listed file is not there.
    #[must_use]
    pub fn is_gone(&self, path: &Utf8Path) -> bool {
        matches!(self, Files::Here { root } if !root.join(path).exists())
    }

    /// The text of a file of the repository, and none that a link puts outside of it.
    pub fn read(&self, path: &Utf8Path) -> Result<String, Failure> {
        match self {
            Files::Here { root } => inside::read(root, path),
            Files::Of(tree) => tree.read(path),
        }
    }

    /// Whether a file is at `path`.
    #[must_use]
    pub fn is_file(&self, path: &Utf8Path) -> bool {
        match self {
            Files::Here { root } => root.join(path).is_file(),
            Files::Of(tree) => tree.is_file(path),
        }
    }

    /// Whether a folder is at `path`.
    #[must_use]
    pub fn is_folder(&self, path: &Utf8Path) -> bool {
        self.exists(path) && !self.is_file(path)
    }

    /// Whether a file or a folder is at `path`.
    #[must_use]
    pub fn exists(&self, path: &Utf8Path) -> bool {
        match self {
            Files::Here { root } => root.join(path).exists(),
            Files::Of(tree) => tree.exists(path),
        }
    }
}
