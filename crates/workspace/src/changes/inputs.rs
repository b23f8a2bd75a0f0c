//! Reads the contents of the inputs of projects, as a build would read them.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};

use base::error::{Error, Result};

use crate::Workspace;
use crate::cargo::lock::CargoLock;
use crate::changes::lock_changes;
use crate::files::key::Blob;
use crate::files::names::CARGO_LOCK;
use crate::git::{self, Contents, KnownFiles};
use crate::packages::locks::LockFile;
use crate::packages::package_manager::is_lock_file;
use crate::projects::project::Project;

/// The contents of the inputs of one project.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// Every file by its path.
    pub blobs: BTreeMap<Utf8PathBuf, Blob>,
    /// The reason why the key cannot be computed: the content of a file is missing here.
    pub refusal: Option<Error>,
}

/// Reads the inputs of each of `projects`, and `pins`, the files and folders that affect every
/// project. Calls git once for all of them, because projects share inputs. With `known` files, it
/// does not list the root repository again.
pub fn read(
    workspace: &Workspace,
    projects: &[&Project],
    pins: &[&Utf8Path],
    known: Option<&KnownFiles<'_>>,
) -> Result<Vec<Inputs>> {
    let inputs_of = |project: &&Project| {
        let mut paths = workspace.graph.inputs(project);
        paths.extend(pins.iter().map(|pin| (*pin).to_owned()));
        paths
    };
    let inputs: Vec<BTreeSet<Utf8PathBuf>> = projects.iter().map(inputs_of).collect();
    let all: BTreeSet<&Utf8Path> = inputs.iter().flatten().map(Utf8PathBuf::as_path).collect();
    let contents = git::contents(&workspace.root, &all.into_iter().collect::<Vec<_>>(), known)?;
    let mut locks = SharedLocks { workspace, packages: BTreeMap::new(), crates: BTreeMap::new() };
    Ok(inputs.iter().map(|paths| Inputs::of_paths(paths, &contents, &mut locks)).collect())
}

impl Inputs {
    fn of_paths(
        inputs: &BTreeSet<Utf8PathBuf>,
        contents: &Contents,
        locks: &mut SharedLocks<'_>,
    ) -> Inputs {
        let paths: Vec<&Utf8Path> = inputs.iter().map(Utf8PathBuf::as_path).collect();
        let found = git::below(&contents.blobs, &paths).into_iter();
        let mut blobs: BTreeMap<_, _> = found.map(|(path, blob)| (path.to_owned(), blob)).collect();
        // Of a lock file in a parent folder, only the packages that the project installs count.
        let is_lock = |path: &Utf8Path| is_lock_file(path) || path.file_name() == Some(CARGO_LOCK);
        for path in paths.iter().filter(|path| is_lock(path) && is_above(path, &paths)) {
            if let Some(id) = locks.slice(path, inputs) {
                blobs.insert((*path).to_owned(), Blob { mode: "locked".to_owned(), id });
            }
        }
        let mut gaps = contents.gaps.iter();
        let gap = gaps.find(|(gap, _)| paths.iter().any(|path| overlaps(path, gap)));
        Inputs { blobs, refusal: gap.map(|(path, gap)| gap.refusal(path)) }
    }
}

/// The lock files that projects share. They are long, so each is parsed once, and only if it is needed.
struct SharedLocks<'w> {
    workspace: &'w Workspace,
    packages: BTreeMap<Utf8PathBuf, Option<LockFile>>,
    crates: BTreeMap<Utf8PathBuf, Option<CargoLock>>,
}

impl SharedLocks<'_> {
    /// Returns a digest of what the lock file at `path` installs for a project with these inputs. `None` if it
    /// cannot be parsed.
    fn slice(&mut self, path: &Utf8Path, inputs: &BTreeSet<Utf8PathBuf>) -> Option<String> {
        let workspace = self.workspace;
        if path.file_name() == Some(CARGO_LOCK) {
            let parse = || CargoLock::parse(&workspace.files.read(path).ok()?);
            let lock = self.crates.entry(path.to_owned()).or_insert_with(parse);
            return lock_changes::cargo_slice(workspace, inputs, path, lock.as_ref()?);
        }
        let parse = || LockFile::parse(path.file_name()?, &workspace.files.read(path).ok()?);
        let lock = self.packages.entry(path.to_owned()).or_insert_with(parse);
        lock_changes::slice(workspace, inputs, path, lock.as_ref()?)
    }
}

/// Returns true if a file is in none of the other inputs.
fn is_above(path: &Utf8Path, inputs: &[&Utf8Path]) -> bool {
    !inputs.iter().any(|input| *input != path && path.starts_with(input))
}

/// Returns true if the gap is in an input, or the input in the gap.
fn overlaps(input: &Utf8Path, gap: &Utf8Path) -> bool {
    gap.starts_with(input) || input.starts_with(gap)
}
