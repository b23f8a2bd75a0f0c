//! The manifest of a cache entry, against which its files are verified.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use base::error::Result;
use base::files::write_whole;
use workspace::key::hex;
use workspace::paths::normalize;

/// The name of an entry's manifest.
pub(super) const NAME: &str = "manifest.json";

/// The folder of an entry's files.
pub(super) const FILES: &str = "files";

/// A cached file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct CachedFile {
    /// The size in bytes.
    pub size: u64,
    /// The SHA-256 of the content, in hexadecimal digits.
    pub sha256: String,
    /// `true` if it is executable.
    pub executable: bool,
}

/// The parts of an output: whole folders, and single files in other folders.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutputParts {
    /// Whole folders.
    pub folders: BTreeSet<Utf8PathBuf>,
    /// Files outside of these folders.
    pub files: BTreeSet<Utf8PathBuf>,
}

impl OutputParts {
    /// Returns the parts of an output that is one folder.
    #[must_use]
    pub fn one_folder() -> OutputParts {
        OutputParts { folders: BTreeSet::from([Utf8PathBuf::new()]), files: BTreeSet::new() }
    }
}

/// The files of an entry.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct CacheManifest {
    /// The version of this shape.
    schema: u32,
    /// The key of the entry.
    key: String,
    /// The time of the build, RFC 3339.
    pub built: String,
    /// The folders that contain only files of the entry.
    pub folders: BTreeSet<Utf8PathBuf>,
    /// Every file, by its path inside the output.
    pub files: BTreeMap<Utf8PathBuf, CachedFile>,
    /// The SHA-256 of the fields above, to detect a lost line of this file.
    sha256: String,
}

impl CacheManifest {
    /// Creates a manifest without files.
    #[must_use]
    pub(super) fn new(key: &str, built: String, folders: BTreeSet<Utf8PathBuf>) -> CacheManifest {
        CacheManifest {
            schema: 2,
            key: key.to_owned(),
            built,
            folders,
            files: BTreeMap::new(),
            sha256: String::new(),
        }
    }

    /// Returns the folders, and the files outside of them.
    #[must_use]
    pub(super) fn parts(&self) -> OutputParts {
        let is_alone = |path: &&Utf8PathBuf| !self.folders.iter().any(|dir| path.starts_with(dir));
        let files = self.files.keys().filter(is_alone).cloned().collect();
        OutputParts { folders: self.folders.clone(), files }
    }

    pub(super) fn add(&mut self, path: Utf8PathBuf, kept: CachedFile) {
        self.files.insert(path, kept);
    }

    /// Writes it into its entry.
    pub(super) fn write(&mut self, entry: &Utf8Path) -> Result<()> {
        self.sha256 = self.own_hash()?;
        write_whole(&entry.join(NAME), &serde_json::to_string_pretty(self)?)
    }

    /// Reads the manifest of the entry for `key`. `None` if there is no entry. Errors if it is
    /// corrupt.
    pub(super) fn read(entry: &Utf8Path, key: &str) -> Result<Option<CacheManifest>, String> {
        if !entry.exists() {
            return Ok(None);
        }
        let text = std::fs::read_to_string(entry.join(NAME)).map_err(|e| format!("{NAME}: {e}"))?;
        let manifest: CacheManifest =
            serde_json::from_str(&text).map_err(|error| format!("{NAME}: {error}"))?;
        let inside = |path: &Utf8PathBuf| normalize(path).as_ref() == Some(path);
        let whole = manifest.own_hash().ok().as_ref() == Some(&manifest.sha256)
            && manifest.key == key
            && manifest.files.keys().all(inside)
            && manifest.folders.iter().all(|path| path.as_str().is_empty() || inside(path));
        if whole { Ok(Some(manifest)) } else { Err(format!("{NAME} is not what was kept")) }
    }

    /// Returns the size of all files in bytes.
    #[must_use]
    pub(super) fn size(&self) -> u64 {
        self.files.values().map(|kept| kept.size).sum()
    }

    fn own_hash(&self) -> Result<String> {
        let text = serde_json::to_string(&(
            self.schema,
            &self.key,
            &self.built,
            &self.folders,
            &self.files,
        ))?;
        Ok(hex(digest(&SHA256, text.as_bytes()).as_ref()))
    }
}
