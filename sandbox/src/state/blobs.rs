//! Contents, by hash.

use std::collections::BTreeMap;
use std::fs::File;

use anyhow::{Context as _, Result, bail};
use camino::{Utf8Path, Utf8PathBuf};

use super::model::Asset;

/// Path to asset.
pub type Manifest = BTreeMap<String, Asset>;

/// How many files are written at once.
const WRITERS: usize = 16;

/// A folder of contents, each named by a hash.
#[derive(Clone, Debug)]
pub struct Blobs(Utf8PathBuf);

impl Blobs {
    /// Opens the folder, which is made when missing.
    pub fn open(dir: &Utf8Path) -> Result<Blobs> {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make {dir}"))?;
        super::remove_temporary(dir)?;
        Ok(Blobs(dir.to_owned()))
    }

    /// The name of an asset. Accounts do not see each other's.
    #[must_use]
    pub fn asset(account: &str, hash: &str) -> String {
        format!("asset-{account}-{hash}")
    }

    /// Keeps `bytes` under `name`, which must be made of letters, digits and dashes. Durable only
    /// after [`Blobs::sync`].
    pub fn put(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.path(name);
        if path.is_file() {
            return Ok(());
        }
        super::write_file(&path, bytes).with_context(|| format!("cannot write {path}"))
    }

    /// Keeps many contents. Several threads write at once, since the disk can make many files
    /// durable in the time of one.
    pub fn put_all(&self, contents: &[(String, Vec<u8>)]) -> Result<()> {
        let share = contents.len().div_ceil(WRITERS).max(1);
        std::thread::scope(|scope| {
            let write = |share: &[(String, Vec<u8>)]| {
                share.iter().try_for_each(|(name, bytes)| self.put(name, bytes))
            };
            let writers: Vec<_> =
                contents.chunks(share).map(|share| scope.spawn(move || write(share))).collect();
            writers.into_iter().try_for_each(|writer| {
                writer.join().unwrap_or_else(|_| bail!("cannot write: a thread ended early"))
            })
        })
    }

    /// Keeps `bytes` under the hash of their content, and returns it. Durable only after
    /// [`Blobs::sync`].
    pub fn add(&self, bytes: &[u8]) -> Result<String> {
        let name = blake3::hash(bytes).to_hex().to_string();
        self.put(&name, bytes)?;
        Ok(name)
    }

    /// Makes what was put so far survive a loss of power.
    pub fn sync(&self) -> Result<()> {
        File::open(&self.0)?.sync_all().with_context(|| format!("cannot sync {}", self.0))
    }

    /// The manifest that [`Blobs::add`] kept under `name`.
    pub fn manifest(&self, name: &str) -> Result<Manifest> {
        let path = self.path(name);
        let bytes = std::fs::read(&path).with_context(|| format!("cannot read {path}"))?;
        serde_json::from_slice(&bytes).with_context(|| format!("{path} is not a manifest"))
    }

    /// Whether there is a content of this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.path(name).is_file()
    }

    /// The file of a content.
    #[must_use]
    pub fn path(&self, name: &str) -> Utf8PathBuf {
        self.0.join(name)
    }
}
