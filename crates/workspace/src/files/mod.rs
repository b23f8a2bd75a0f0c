//! Reads files from the working tree or from a commit.

pub(crate) mod config_text;
pub mod key;
pub(crate) mod limits;
pub mod names;
pub mod paths;
pub mod pattern;
pub mod symlinks;
pub(crate) mod text_cache;
pub mod tree;
pub mod yaml;

use std::collections::BTreeSet;

use camino::{Utf8Path, Utf8PathBuf};

use crate::files::names::{is_cargo_name, is_defining_name, is_read};
use crate::files::tree::Tree;
use crate::git::{self, FileList, FoundText, Listing};
use base::error::Result;

/// Returns a folder of the repository as messages name it.
#[must_use]
pub fn folder_name(dir: &Utf8Path) -> &str {
    if dir.as_str().is_empty() { "the repository's root" } else { dir.as_str() }
}

/// Returns true if the repository may have submodules.
pub(crate) fn has_submodules(root: &Utf8Path) -> bool {
    root.join(".gitmodules").is_file()
}

/// The files of the repository.
#[derive(Debug)]
pub enum Source {
    /// The files of the working tree.
    WorkingTree {
        /// The repository's root, absolute.
        root: Utf8PathBuf,
        /// `true` if the results of searches are written to their cache.
        caches_searches: bool,
    },
    /// The files of a commit.
    Commit(Tree),
}

impl Source {
    /// Reads from the working tree at `root`, and writes nothing.
    #[must_use]
    pub fn from_working_tree(root: &Utf8Path) -> Source {
        Source::WorkingTree { root: root.to_owned(), caches_searches: false }
    }

    /// Reads from the working tree at `root`, and caches the results of searches in it.
    #[must_use]
    pub fn from_working_tree_with_cache(root: &Utf8Path) -> Source {
        Source::WorkingTree { root: root.to_owned(), caches_searches: true }
    }

    /// Reads from `commit` in the repository at `root`.
    pub fn from_commit(root: &Utf8Path, commit: &str) -> Result<Source> {
        Ok(Source::Commit(Tree::load(root, commit, is_read)?))
    }

    /// Returns every file that defines a package, a project or a module, and every symbolic link, sorted by path
    /// text, with those in checked out submodules. For the working tree, deleted files may be included.
    pub fn list(&self) -> Result<Listing> {
        let (root, mut listing) = match self {
            Source::WorkingTree { root, .. } => {
                (root.as_path(), git::list(root, is_defining_name)?)
            }
            Source::Commit(tree) => {
                let files = git::with_names(tree.paths(), is_defining_name);
                let links = git::with_names(tree.links(), |_| true);
                let listing = Listing {
                    files: files.map(Utf8PathBuf::from).collect(),
                    links: links.map(Utf8PathBuf::from).collect(),
                    ..Listing::default()
                };
                (tree.root(), listing)
            }
        };
        if has_submodules(root) {
            let submodules: Vec<Utf8PathBuf> = match self {
                Source::WorkingTree { .. } => {
                    let all = listing.all.iter().flat_map(FileList::submodules);
                    all.map(Utf8PathBuf::from).collect()
                }
                Source::Commit(tree) => tree.submodules().map(Utf8PathBuf::from).collect(),
            };
            // Crates are found by the paths in manifests.
            listing.add_submodules(root, &submodules, |name| {
                is_defining_name(name) && !is_cargo_name(name)
            })?;
        }
        Ok(listing)
    }

    /// Returns the names of the files and folders in `folder`, files without their extension, that can be the start
    /// of an import.
    #[must_use]
    pub fn names_in(&self, folder: &Utf8Path) -> BTreeSet<String> {
        let names: Vec<String> = match self {
            Source::WorkingTree { root, .. } => {
                let entries = root.join(folder).read_dir_utf8().into_iter().flatten().flatten();
                entries.map(|entry| entry.file_name().to_owned()).collect()
            }
            Source::Commit(tree) => tree.names_in(folder).map(str::to_owned).collect(),
        };
        let names = names.iter().filter(|name| !name.starts_with('.') && *name != "node_modules");
        names.map(|name| name.split('.').next().unwrap_or(name).to_owned()).collect()
    }

    /// Returns the files whose paths pass `wanted`. `listed` are the files of a working tree, if they are known.
    pub(crate) fn paths(
        &self,
        listed: Option<&FileList>,
        wanted: impl Fn(&Utf8Path) -> bool,
    ) -> Vec<Utf8PathBuf> {
        let all: Box<dyn Iterator<Item = &str>> = match self {
            Source::WorkingTree { .. } => Box::new(listed.into_iter().flat_map(FileList::paths)),
            Source::Commit(tree) => Box::new(tree.paths()),
        };
        all.map(Utf8Path::new).filter(|path| wanted(path)).map(Utf8Path::to_owned).collect()
    }

    /// Returns what matches an extended regular expression in the repository's code. `listed` are the files of a working
    /// tree, if they are known.
    pub fn grep(&self, pattern: &str, listed: Option<&FileList>) -> Result<Vec<FoundText>> {
        match self {
            Source::WorkingTree { root, caches_searches } => {
                git::grep_working_tree(root, pattern, listed, *caches_searches)
            }
            Source::Commit(tree) => tree.grep(pattern),
        }
    }

    /// Returns true if a listed file is missing, or is a dangling link.
    #[must_use]
    pub fn is_missing(&self, path: &Utf8Path) -> bool {
        match self {
            Source::WorkingTree { root, .. } => !root.join(path).exists(),
            Source::Commit(tree) => tree.dangles(path),
        }
    }

    /// Reads the text of a file of the repository. Refuses a file that a link puts outside of it.
    pub fn read(&self, path: &Utf8Path) -> Result<String> {
        match self {
            Source::WorkingTree { root, .. } => symlinks::read(root, path),
            Source::Commit(tree) => tree.read(path),
        }
    }

    /// Reads several files as [`Source::read`] does, those of a commit with one process.
    #[must_use]
    pub(crate) fn read_all(&self, paths: &[Utf8PathBuf]) -> Vec<Result<String>> {
        match self {
            Source::WorkingTree { root, .. } => {
                paths.iter().map(|path| symlinks::read(root, path)).collect()
            }
            Source::Commit(tree) => tree.read_all(paths),
        }
    }

    /// Returns the path that `path` resolves to. `None` if no symbolic link redirects it within the
    /// repository.
    #[must_use]
    pub fn resolve_link(&self, path: &Utf8Path) -> Option<Utf8PathBuf> {
        let real = match self {
            Source::WorkingTree { root, .. } => symlinks::real(root, path),
            Source::Commit(tree) => tree.real(path),
        };
        real.filter(|real| real != path)
    }

    /// Returns true if a file is at `path`.
    #[must_use]
    pub fn is_file(&self, path: &Utf8Path) -> bool {
        match self {
            Source::WorkingTree { root, .. } => root.join(path).is_file(),
            Source::Commit(tree) => tree.is_file(path),
        }
    }

    /// Returns true if a folder is at `path`.
    #[must_use]
    pub fn is_folder(&self, path: &Utf8Path) -> bool {
        self.exists(path) && !self.is_file(path)
    }

    /// Returns true if git has a file at or below `path`, or would add one. False for the output of a build that git ignores.
    /// `listed` are the files of the working tree, if they could be listed.
    pub(crate) fn is_known(&self, path: &Utf8Path, listed: Option<&FileList>) -> bool {
        match (self, listed) {
            (Source::WorkingTree { .. }, Some(listed)) => {
                let in_submodule = || listed.submodules().any(|dir| path.starts_with(dir));
                listed.holds(path) || (in_submodule() && self.exists(path))
            }
            _ => self.exists(path),
        }
    }

    /// Returns true if a file or a folder is at `path`.
    #[must_use]
    pub fn exists(&self, path: &Utf8Path) -> bool {
        match self {
            Source::WorkingTree { root, .. } => root.join(path).exists(),
            Source::Commit(tree) => tree.exists(path),
        }
    }
}
