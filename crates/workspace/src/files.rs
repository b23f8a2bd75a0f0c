//! Reads files from the working tree or from a commit.

use anyhow::Result;
use camino::{Utf8Path, Utf8PathBuf};

use super::inside;
use super::names::{is_read, says};
use super::tree::Tree;
use crate::git;
use base::error::Failure;

/// The folder that projects stand in, in a repository that has it.
pub const PROJECTS: &str = "projects";

/// The file that makes a folder a package.
pub const MANIFEST: &str = "package.json";

/// The file that makes a folder a Dagger module.
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

    /// Returns whether a listed file is missing, or is a dangling link.
    #[must_use]
    pub fn is_gone(&self, path: &Utf8Path) -> bool {
        match self {
            Files::Here { root } => !root.join(path).exists(),
            Files::Of(tree) => tree.dangles(path),
        }
    }

    /// The text of a file of the repository, and none that a link puts outside of it.
    pub fn read(&self, path: &Utf8Path) -> Result<String, Failure> {
        match self {
            Files::Here { root } => inside::read(root, path),
            Files::Of(tree) => tree.read(path),
        }
    }

    /// Returns the path that `path` resolves to. `None` if no symbolic link leads elsewhere in the
    /// repository.
    #[must_use]
    pub fn behind(&self, path: &Utf8Path) -> Option<Utf8PathBuf> {
        let real = match self {
            Files::Here { root } => inside::real(root, path),
            Files::Of(tree) => tree.real(path),
        };
        real.filter(|real| real != path)
    }

    /// Returns whether a file is at `path`.
    #[must_use]
    pub fn is_file(&self, path: &Utf8Path) -> bool {
        match self {
            Files::Here { root } => root.join(path).is_file(),
            Files::Of(tree) => tree.is_file(path),
        }
    }

    /// Returns whether a folder is at `path`.
    #[must_use]
    pub fn is_folder(&self, path: &Utf8Path) -> bool {
        self.exists(path) && !self.is_file(path)
    }

    /// Returns whether a file or a folder is at `path`.
    #[must_use]
    pub fn exists(&self, path: &Utf8Path) -> bool {
        match self {
            Files::Here { root } => root.join(path).exists(),
            Files::Of(tree) => tree.exists(path),
        }
    }
}
