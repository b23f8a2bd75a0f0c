//! Finds the files that a sparse checkout leaves out of the working tree.

use base::error::{Error, refused};
use camino::{Utf8Path, Utf8PathBuf};

use crate::files::Source;
use crate::files::names::{MANIFEST, is_config_name};
use crate::git;
use crate::git::objects::contents;
use crate::packages::manifest::PackageManifest;
use crate::projects::project::ends_with_path;

/// Returns the files outside of the sparse checkout. Empty for a commit, which has all of its files.
fn files_outside(files: &Source) -> Vec<Utf8PathBuf> {
    match files {
        Source::WorkingTree { root } => git::outside_of_sparse_checkout(root).unwrap_or_default(),
        Source::Commit(_) => Vec::new(),
    }
}

/// Returns true if the file or folder at `path` is outside of the sparse checkout.
pub(crate) fn is_outside(files: &Source, path: &Utf8Path) -> bool {
    files_outside(files).iter().any(|outside| outside.starts_with(path))
}

/// Returns the folder of the package called `name` that is outside of the sparse checkout.
pub(crate) fn package_outside(files: &Source, name: &str) -> Option<Utf8PathBuf> {
    let Source::WorkingTree { root } = files else { return None };
    let outside = files_outside(files);
    let manifests: Vec<&Utf8PathBuf> =
        outside.iter().filter(|path| path.file_name() == Some(MANIFEST)).collect();
    // `:./PATH` is the file in the index.
    let revisions: Vec<String> = manifests.iter().map(|path| format!(":./{path}")).collect();
    let texts = contents(root, &revisions.iter().map(String::as_str).collect::<Vec<_>>()).ok()?;
    let named = |text: &Vec<u8>| {
        let manifest = PackageManifest::parse(&String::from_utf8_lossy(text)).ok();
        manifest.is_some_and(|manifest| manifest.name.as_deref() == Some(name))
    };
    let (path, _) = manifests.into_iter().zip(&texts).find(|(_, text)| named(text))?;
    path.parent().map(Utf8Path::to_owned)
}

/// Returns the refusal of the project `name`, which is outside of the sparse checkout.
pub(crate) fn project_outside(files: &Source, name: &str) -> Option<Error> {
    let outside = files_outside(files);
    let configs = outside.iter().filter(|path| path.file_name().is_some_and(is_config_name));
    let mut dirs = configs.filter_map(|path| path.parent());
    let dir = dirs.find(|dir| ends_with_path(dir, name))?;
    Some(refused(format!("{dir} is not checked out here")).hint(hint(dir)))
}

/// Returns the command that checks a folder out.
pub(crate) fn hint(dir: &Utf8Path) -> String {
    format!("run `git sparse-checkout add {dir}`")
}
