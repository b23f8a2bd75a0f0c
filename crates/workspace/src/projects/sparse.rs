//! Finds the files that a sparse checkout leaves out of the working tree.

use std::collections::BTreeSet;

use base::command::quote;
use base::error::{Error, Result, refused, usage};
use base::text::list_first;
use camino::{Utf8Path, Utf8PathBuf};

use crate::Workspace;
use crate::files::Source;
use crate::files::folder_name;
use crate::files::names::{MANIFEST, is_config_name};
use crate::git;
use crate::git::objects::contents;
use crate::packages::manifest::PackageManifest;
use crate::projects::project::ends_with_path;

/// Returns the files outside of the sparse checkout. Empty for a commit, which has all of its files.
fn files_outside(files: &Source) -> Vec<Utf8PathBuf> {
    match files {
        Source::WorkingTree { root, .. } => {
            git::outside_of_sparse_checkout(root).unwrap_or_default()
        }
        Source::Commit(_) => Vec::new(),
    }
}

/// Returns true if the file or folder at `path` is outside of the sparse checkout.
pub(crate) fn is_outside(files: &Source, path: &Utf8Path) -> bool {
    files_outside(files).iter().any(|outside| outside.starts_with(path))
}

/// Returns the folder of the package called `name` that is outside of the sparse checkout.
pub(crate) fn package_outside(files: &Source, name: &str) -> Option<Utf8PathBuf> {
    let Source::WorkingTree { root, .. } = files else { return None };
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
    format!("run `git sparse-checkout add {}`", quote(dir.as_str()))
}

/// Returns the wrangler configs among `missing` that are outside of the sparse checkout. Git is asked only if a config is
/// missing.
pub(crate) fn configs_outside(files: &Source, missing: Vec<Utf8PathBuf>) -> Vec<Utf8PathBuf> {
    if missing.is_empty() {
        return missing;
    }
    let outside: BTreeSet<Utf8PathBuf> = files_outside(files).into_iter().collect();
    missing.into_iter().filter(|path| outside.contains(path)).collect()
}

/// The number of folders that a message lists.
const MAX_LISTED_FOLDERS: usize = 8;

impl Workspace {
    /// Names the projects that a sparse checkout leaves out, and the submodules that may have projects and are not checked
    /// out. `None` if there are none.
    #[must_use]
    pub fn sparse_note(&self) -> Option<String> {
        let submodules = &self.missing_submodules;
        if let Some(update) = self.submodule_command() {
            return Some(format!(
                "submodules are not checked out here, so their projects are left out: {}; run `{update}`",
                list_first(MAX_LISTED_FOLDERS, submodules)
            ));
        }
        let folders = self.folders_outside();
        (!folders.is_empty()).then(|| {
            format!(
                "not checked out here, so left out: {}; `{}` adds {}",
                folder_list(&folders),
                command(&folders),
                if folders.len() == 1 { "it" } else { "them" }
            )
        })
    }

    /// Returns the error of a command that needs a project, if a sparse checkout leaves them all out.
    pub(crate) fn all_outside(&self) -> Option<Error> {
        let folders = self.folders_outside();
        (!folders.is_empty()).then(|| {
            usage(format!(
                "no project is checked out here; those of the repository: {}",
                folder_list(&folders)
            ))
            .hint(format!("run `{}`", command(&folders)))
        })
    }

    /// Returns the command that checks out the submodules that may have projects. `None` if none is missing.
    pub(crate) fn submodule_command(&self) -> Option<String> {
        let paths: Vec<String> =
            self.missing_submodules.iter().map(|path| quote(path.as_str())).collect();
        (!paths.is_empty()).then(|| format!("git submodule update --init {}", paths.join(" ")))
    }

    /// Refuses to list all projects of the repository if a sparse checkout leaves out a project, or a file that one needs, or
    /// if a submodule that may have projects is not checked out.
    pub fn refuse_sparse(&self) -> Result<()> {
        if let Some(update) = self.submodule_command() {
            let failure = refused(format!(
                "submodules that may have projects are not checked out, and the pipeline would lose their jobs: {}; nothing was written",
                list_first(MAX_LISTED_FOLDERS, &self.missing_submodules)
            ));
            return Err(failure.hint(format!("run `{update}`")));
        }
        let folders = self.folders_outside();
        if !folders.is_empty() {
            let add = command(&folders);
            let failure = refused(format!(
                "the sparse checkout leaves out projects, whose jobs the pipeline would lose: {}; nothing was written",
                folder_list(&folders)
            ));
            let failure = failure.hint(format!("run `{add}`"));
            return Err(match add.as_str() {
                DISABLE => failure,
                _ => failure.hint(format!("or check out everything with `{DISABLE}`")),
            });
        }
        let needs_file = |failure: &&Error| {
            failure.hints.iter().any(|hint| hint.contains("git sparse-checkout"))
        };
        let failures = self.broken.iter().map(|broken| &broken.failure);
        failures.into_iter().find(needs_file).map_or(Ok(()), |failure| {
            let message = format!("{}; nothing was written", failure.message);
            Err(failure.clone().with_message(message))
        })
    }

    /// Returns the folders of the projects that a sparse checkout leaves out.
    fn folders_outside(&self) -> Vec<&Utf8Path> {
        let folders = self.configs_outside_of_checkout.iter().filter_map(|path| path.parent());
        let folders: BTreeSet<&Utf8Path> = folders.collect();
        folders.into_iter().collect()
    }
}

/// The command that checks out every file.
const DISABLE: &str = "git sparse-checkout disable";

/// Returns the command that checks `folders` out. For many of them, and for files of the root, that is every file.
fn command(folders: &[&Utf8Path]) -> String {
    if folders.len() > MAX_LISTED_FOLDERS || folders.contains(&Utf8Path::new("")) {
        return DISABLE.to_owned();
    }
    let folders: Vec<String> = folders.iter().map(|folder| quote(folder.as_str())).collect();
    format!("git sparse-checkout add {}", folders.join(" "))
}

fn folder_list(folders: &[&Utf8Path]) -> String {
    let names: Vec<&str> = folders.iter().map(|folder| folder_name(folder)).collect();
    list_first(MAX_LISTED_FOLDERS, &names)
}
