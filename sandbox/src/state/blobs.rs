//! Contents, by hash.

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};

/// A folder of contents, each named by a hash.
#[derive(Clone, Debug)]
pub struct Blobs(Utf8PathBuf);

impl Blobs {
    /// Opens the folder, which is made when missing.
    pub fn open(dir: &Utf8Path) -> Result<Blobs> {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make {dir}"))?;
        Ok(Blobs(dir.to_owned()))
    }

    /// Keeps `bytes` under `name`, which must be made of hexadecimal digits, dots and dashes.
    pub fn put(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.path(name);
        if path.is_file() {
            return Ok(());
        }
        super::write_durably(&path, bytes)
    }

    /// Keeps `bytes` under the hash of their content, and returns it.
    pub fn add(&self, bytes: &[u8]) -> Result<String> {
        let name = blake3::hash(bytes).to_hex().to_string();
        self.put(&name, bytes)?;
        Ok(name)
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
