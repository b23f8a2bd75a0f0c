//! Reads the contents of the inputs of projects, as a build would read them.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};

use base::error::{Error, Result};

use crate::Workspace;
use crate::cargo::lock::CargoLock;
use crate::changes::lock_changes;
use crate::files::key::Blob;
use crate::files::names::CARGO_LOCK;
use crate::git::{self, KnownFiles};
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
    let root = &workspace.root;
    let paths: Vec<BTreeSet<Utf8PathBuf>> = projects
        .iter()
        .map(|project| {
            let mut paths = workspace.graph.inputs(project);
            paths.extend(pins.iter().map(|pin| (*pin).to_owned()));
            paths
        })
        .collect();
    let all: BTreeSet<&Utf8Path> = paths.iter().flatten().map(Utf8PathBuf::as_path).collect();
    let contents = git::contents(root, &all.into_iter().collect::<Vec<_>>(), known)?;
    // Projects share the lock file of their workspace. It is long, so it is parsed once, and only if it is needed.
    let mut locks: BTreeMap<Utf8PathBuf, Option<LockFile>> = BTreeMap::new();
    let mut cargo_locks: BTreeMap<Utf8PathBuf, Option<CargoLock>> = BTreeMap::new();
    let mut inputs = |all: &BTreeSet<Utf8PathBuf>| {
        let paths: Vec<&Utf8Path> = all.iter().map(Utf8PathBuf::as_path).collect();
        let found = git::below(&contents.blobs, &paths).into_iter();
        let mut gaps = contents.gaps.iter();
        let gap = gaps.find(|(gap, _)| paths.iter().any(|path| overlaps(path, gap)));
        let mut blobs: BTreeMap<_, _> = found.map(|(path, blob)| (path.to_owned(), blob)).collect();
        // Of a lock file in a parent folder, only the packages that the project installs count.
        let above = all.iter().filter(|path| is_lock_file(path) && is_above(path, &paths));
        for path in above {
            let lock = locks.entry(path.clone()).or_insert_with(|| {
                LockFile::parse(path.file_name()?, &workspace.files.read(path).ok()?)
            });
            let lock = lock.as_ref();
            if let Some(id) = lock.and_then(|lock| lock_changes::slice(workspace, all, path, lock))
            {
                blobs.insert(path.clone(), Blob { mode: "locked".to_owned(), id });
            }
        }
        let above = all.iter().filter(|path| path.file_name() == Some(CARGO_LOCK));
        for path in above.filter(|path| is_above(path, &paths)) {
            let lock = cargo_locks
                .entry(path.clone())
                .or_insert_with(|| CargoLock::parse(&workspace.files.read(path).ok()?));
            let slice = |lock: &CargoLock| lock_changes::cargo_slice(workspace, all, path, lock);
            if let Some(id) = lock.as_ref().and_then(slice) {
                blobs.insert(path.clone(), Blob { mode: "locked".to_owned(), id });
            }
        }
        Inputs { blobs, refusal: gap.map(|(path, gap)| gap.refusal(path)) }
    };
    Ok(paths.iter().map(&mut inputs).collect())
}

/// Returns true if a file is in none of the other inputs.
fn is_above(path: &Utf8Path, inputs: &[&Utf8Path]) -> bool {
    !inputs.iter().any(|input| *input != path && path.starts_with(input))
}

/// Returns true if the gap is in an input, or the input in the gap.
fn overlaps(input: &Utf8Path, gap: &Utf8Path) -> bool {
    gap.starts_with(input) || input.starts_with(gap)
}
