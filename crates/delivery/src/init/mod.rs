//! Sets up delivery in an existing repository: every written file, as a value. An existing file is
//! never overwritten.

pub mod alias;
pub mod cargo_checks;
pub mod defaults;
pub mod source;

use camino::{Utf8Path, Utf8PathBuf};
use serde::Serialize;

use alias::{Alias, AliasCrate};
use base::error::{Result, refused};
use source::LibrarySource;
use workspace::cargo_config;
use workspace::config::{CONFIG_FILE, Config};
use workspace::git;
use workspace::modules::{MODULES, TOOL, TOOL_LOCK};

/// The paths to add to `.gitignore`.
const IGNORED: [&str; 2] = ["/.xtask/", "/xtask/target/"];

/// The `main.rs` of the new crate.
const MAIN: &str = include_str!("../../templates/xtask/main.rs");

/// The action on a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum FileAction {
    /// It is new.
    Create,
    /// Lines are added to it.
    Add,
    /// It exists and is not changed.
    Keep,
}

/// A file and the action on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FileChange {
    /// The file, relative to the repository's root.
    pub path: Utf8PathBuf,
    /// The action.
    pub action: FileAction,
    /// The manual step that remains.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Its new text.
    #[serde(skip)]
    pub text: String,
}

impl FileChange {
    /// Creates the change for a new file. An existing file is not changed.
    #[must_use]
    pub fn create(root: &Utf8Path, path: impl Into<Utf8PathBuf>, text: String) -> FileChange {
        let path = path.into();
        let is_there = root.join(&path).symlink_metadata().is_ok();
        let action = if is_there { FileAction::Keep } else { FileAction::Create };
        FileChange { path, action, note: None, text }
    }

    /// Returns true if the file is written.
    #[must_use]
    pub fn is_written(&self) -> bool {
        self.action != FileAction::Keep
    }
}

/// Returns the changes to the repository at `root`, except for the pipeline.
pub fn changes(
    root: &Utf8Path,
    source: &LibrarySource,
    config: &Config,
    vendored: Vec<(Utf8PathBuf, String)>,
) -> Result<Vec<FileChange>> {
    let is_vendored = !vendored.is_empty();
    let own = own_crate(root)?;
    let mut changes = tool(root, source, own.as_deref());
    changes.push(cargo_config(root, own.as_deref())?);
    changes.extend(ignore_file(root)?);
    changes.push(FileChange::create(root, CONFIG_FILE, defaults::text(config, is_vendored)));
    changes.extend(vendored.into_iter().map(|(path, text)| FileChange::create(root, path, text)));
    Ok(changes)
}

/// Returns the manifest of the crate that the repository's alias `xtask` runs already.
fn own_crate(root: &Utf8Path) -> Result<Option<Utf8PathBuf>> {
    let config = read(root, cargo_config::file(root))?;
    match config.and_then(|text| alias::find_crate(&text)) {
        None => Ok(None),
        Some(AliasCrate::Manifest(path)) => Ok(root.join(&path).is_file().then_some(path)),
        Some(AliasCrate::Name(name)) => find_manifest(root, &name),
    }
}

/// Finds the manifest of a crate by its name, or by that of one of its programs.
fn find_manifest(root: &Utf8Path, name: &str) -> Result<Option<Utf8PathBuf>> {
    let is_named = |path: &Utf8PathBuf| {
        let text = workspace::symlinks::read(root, path).ok();
        let Some(manifest) = text.and_then(|text| cargo_config::parse(&text)) else { return false };
        let programs = manifest["bin"].as_array().into_iter().flatten();
        let mut names = std::iter::once(&manifest["package"]["name"])
            .chain(programs.map(|program| &program["name"]));
        names.any(|found| found.as_str() == Some(name))
    };
    let is_manifest = |path: &Utf8PathBuf| path.file_name() == Some("Cargo.toml");
    let files = git::list(root, |_| true)?.files;
    Ok(files.into_iter().filter(is_manifest).find(is_named))
}

/// Returns true if the crate with this manifest depends on the library of the commands.
fn has_library(root: &Utf8Path, manifest: &Utf8Path) -> bool {
    let text = workspace::symlinks::read(root, manifest).ok();
    let manifest = text.and_then(|text| cargo_config::parse(&text)).unwrap_or_default();
    !manifest["dependencies"]["delivery"].is_null()
}

/// Returns the files of the new crate. It is its own Cargo workspace, so that the repository's
/// lints, resolver, toolchain and lock file do not change. A repository with its `own` crate gets no second one.
fn tool(root: &Utf8Path, source: &LibrarySource, own: Option<&Utf8Path>) -> Vec<FileChange> {
    let manifest = format!(
        "[package]\nname = \"{TOOL}\"\nversion = \"0.1.0\"\nedition = \"2024\"\npublish = false\n\n\
         # A separate workspace: the repository's workspace, if there is one, stays as it is.\n[workspace]\n\n\
         [dependencies]\ndelivery = {}\n",
        source.dependency()
    );
    let path = own.map_or_else(|| format!("{TOOL}/Cargo.toml").into(), Utf8Path::to_owned);
    let mut manifest = FileChange::create(root, path, manifest);
    if manifest.action == FileAction::Keep {
        if !has_library(root, &manifest.path) {
            manifest.note = Some(format!(
                "add `delivery = {}` to its dependencies, and `delivery::cli::Command` to its commands",
                source.dependency()
            ));
        }
        return vec![manifest];
    }
    vec![
        manifest,
        FileChange::create(root, TOOL_LOCK, source.lock()),
        FileChange::create(root, format!("{TOOL}/src/main.rs"), MAIN.to_owned()),
    ]
}

fn cargo_config(root: &Utf8Path, own: Option<&Utf8Path>) -> Result<FileChange> {
    let path = cargo_config::file(root);
    let there = read(root, path)?;
    if let Some(crate_folder) = own.and_then(Utf8Path::parent) {
        let note = format!(
            "its alias `{TOOL}` stays, because it runs the crate in {crate_folder} of this repository"
        );
        let action = FileAction::Keep;
        return Ok(FileChange {
            path: path.to_owned(),
            action,
            note: Some(note),
            text: String::new(),
        });
    }
    let (action, note, text) = match alias::merge(there.as_deref()) {
        Alias::Present => (FileAction::Keep, None, String::new()),
        Alias::ManualStep { note } => (FileAction::Keep, Some(note), String::new()),
        Alias::Addition(text) if there.is_some() => (FileAction::Add, None, text),
        Alias::Addition(text) => (FileAction::Create, None, text),
    };
    Ok(FileChange { path: path.to_owned(), action, note, text })
}

fn ignore_file(root: &Utf8Path) -> Result<Option<FileChange>> {
    let path = Utf8Path::new(".gitignore");
    let there = read(root, path)?;
    let mut text = there.clone().unwrap_or_default();
    let missing: Vec<&str> = IGNORED
        .into_iter()
        .filter(|line| !text.lines().any(|there| there.trim() == *line))
        .collect();
    if missing.is_empty() {
        return Ok(None);
    }
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text += &missing.iter().map(|line| format!("{line}\n")).collect::<String>();
    let action = if there.is_some() { FileAction::Add } else { FileAction::Create };
    Ok(Some(FileChange { path: path.to_owned(), action, note: None, text }))
}

/// Reads a file of the repository. `None` if it does not exist. Errors for a link that leads out of the
/// repository, because a write would change its target.
fn read(root: &Utf8Path, path: &Utf8Path) -> Result<Option<String>> {
    if root.join(path).symlink_metadata().is_err() {
        return Ok(None);
    }
    workspace::symlinks::read(root, path).map(Some)
}

/// Reads the Dagger modules of `checkout`, without its config.
pub fn modules(checkout: &Utf8Path) -> Result<Vec<(Utf8PathBuf, String)>> {
    let is_of_module = |path: &Utf8PathBuf| MODULES.iter().any(|module| path.starts_with(module));
    let files = git::list(checkout, |_| true).map_err(|error| {
        refused(format!("cannot list the Dagger modules of {checkout}: {error:#}"))
    })?;
    files
        .files
        .into_iter()
        .filter(|path| is_of_module(path) && path != CONFIG_FILE)
        .map(|path| Ok((path.clone(), workspace::symlinks::read(checkout, &path)?)))
        .collect()
}
