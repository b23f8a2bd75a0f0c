//! Stores files by the hash of their content. Compares each with its hash before it is used.

use std::collections::{BTreeMap, HashMap};
use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use camino::{Utf8Path, Utf8PathBuf};
use ring::digest::{SHA256, digest};

use super::model::Asset;

use crate::mutex::lock;

/// Maps the path of an asset to its hash and size.
pub type AssetManifest = BTreeMap<String, Asset>;

/// The maximum number of threads that write at the same time.
const WRITERS: usize = 16;

/// A folder of files, each with a hash as its name.
#[derive(Clone, Debug)]
pub struct BlobStore {
    dir: Utf8PathBuf,
    /// The stamps of the files whose content matched the hash, by name.
    intact: Arc<Mutex<HashMap<String, FileStamp>>>,
}

/// The size, the inode and the change times of a file. It changes whenever the file does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileStamp {
    size: u64,
    inode: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl FileStamp {
    fn from_metadata(meta: &Metadata) -> FileStamp {
        FileStamp {
            size: meta.size(),
            inode: meta.ino(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }
}

impl BlobStore {
    /// Opens the folder. Creates it if it is missing.
    pub fn open(dir: &Utf8Path) -> Result<BlobStore> {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot create {dir}"))?;
        super::remove_temporary(dir)?;
        Ok(BlobStore { dir: dir.to_owned(), intact: Arc::default() })
    }

    /// Returns the name of an asset. It contains the account, so accounts share no assets.
    #[must_use]
    pub fn asset_name(account: &str, hash: &str) -> String {
        format!("asset-{account}-{hash}")
    }

    /// Stores `bytes` as the file `name`, which may have letters, digits and dashes. Replaces a damaged file.
    /// The file is durable only after [`BlobStore::sync`].
    pub fn put(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.path(name);
        if std::fs::read(&path).is_ok_and(|stored| stored == bytes) {
            return Ok(());
        }
        super::write_file(&path, bytes).with_context(|| format!("cannot write {path}"))
    }

    /// Stores many files. Several threads write at the same time, because the disk can sync many files in the
    /// time of one.
    pub fn put_all(&self, files: &[(String, Vec<u8>)]) -> Result<()> {
        let chunk_size = files.len().div_ceil(WRITERS).max(1);
        std::thread::scope(|scope| {
            let write = |chunk: &[(String, Vec<u8>)]| {
                chunk.iter().try_for_each(|(name, bytes)| self.put(name, bytes))
            };
            let writers: Vec<_> =
                files.chunks(chunk_size).map(|chunk| scope.spawn(move || write(chunk))).collect();
            writers.into_iter().try_for_each(|writer| {
                writer.join().unwrap_or_else(|_| bail!("cannot write the files: a thread panicked"))
            })
        })
    }

    /// Stores `bytes` and returns their hash, which is the name of the file. The file is durable only after
    /// [`BlobStore::sync`].
    pub fn add(&self, bytes: &[u8]) -> Result<String> {
        let name = blake3::hash(bytes).to_hex().to_string();
        self.put(&name, bytes)?;
        Ok(name)
    }

    /// Makes all stored files durable, so that they survive a loss of power.
    pub fn sync(&self) -> Result<()> {
        File::open(&self.dir)?.sync_all().with_context(|| format!("cannot sync {}", self.dir))
    }

    /// Returns the content of a file from [`BlobStore::add`]. Errors if it does not match its hash.
    pub fn read(&self, name: &str) -> Result<Vec<u8>> {
        let path = self.path(name);
        let bytes = std::fs::read(&path).with_context(|| format!("cannot read {path}"))?;
        if blake3::hash(&bytes).to_hex().as_str() != name {
            bail!(
                "{path} is damaged: its content does not match its hash; deploy again to replace it"
            );
        }
        Ok(bytes)
    }

    /// Returns the manifest in a file from [`BlobStore::add`]. Errors if it does not match its hash.
    pub fn manifest(&self, name: &str) -> Result<AssetManifest> {
        let bytes = self.read(name)?;
        serde_json::from_slice(&bytes).with_context(|| format!("{name} is not a manifest"))
    }

    /// Returns whether an asset is stored and matches its hash. Does not read a file again that has not changed
    /// since the last comparison.
    #[must_use]
    pub fn has_asset(&self, account: &str, path: &str, asset: &Asset) -> bool {
        let name = BlobStore::asset_name(account, &asset.hash);
        let file = self.path(&name);
        let Ok(meta) = file.metadata() else { return false };
        let stamp = FileStamp::from_metadata(&meta);
        let stored = lock(&self.intact).get(&name).copied();
        if stored == Some(stamp) {
            return true;
        }
        let is_intact = std::fs::read(&file).is_ok_and(|bytes| matches(&bytes, path, asset));
        if is_intact {
            lock(&self.intact).insert(name, stamp);
        }
        is_intact
    }

    /// Returns the path of the file of an asset. Errors if it does not match its hash.
    pub fn asset_file(&self, account: &str, path: &str, asset: &Asset) -> Result<Utf8PathBuf> {
        let file = self.path(&BlobStore::asset_name(account, &asset.hash));
        let bytes =
            std::fs::read(&file).with_context(|| format!("cannot read the asset {path}"))?;
        if !matches(&bytes, path, asset) {
            bail!(
                "the stored asset {path} is damaged ({file} does not match its hash); deploy again to \
                 replace it"
            );
        }
        Ok(file)
    }

    /// Returns the path of a file.
    #[must_use]
    pub fn path(&self, name: &str) -> Utf8PathBuf {
        self.dir.join(name)
    }
}

/// Returns whether `bytes` are the content of an asset, by any of the hashes that clients compute.
#[must_use]
pub fn matches(bytes: &[u8], path: &str, asset: &Asset) -> bool {
    if bytes.len() as u64 != asset.size {
        return false;
    }
    let base64 = STANDARD.encode(bytes);
    asset_hash(&base64, path) == asset.hash
        || sha256(&[bytes]) == asset.hash
        || sha256(&[base64.as_bytes(), extension(path).as_bytes()]) == asset.hash
}

/// Returns the hash that wrangler gives an asset: the first 32 digits of BLAKE3 over its base64 text
/// and its extension (observed with wrangler 4.164).
#[must_use]
pub fn asset_hash(base64: &str, path: &str) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(base64.as_bytes()).update(extension(path).as_bytes());
    hasher.finalize().to_hex()[..32].to_owned()
}

/// Returns the first 32 digits of SHA-256, which Cloudflare's guide gives an asset
/// (<https://developers.cloudflare.com/workers/static-assets/direct-upload/>).
fn sha256(parts: &[&[u8]]) -> String {
    crate::ids::hex(&digest(&SHA256, &parts.concat()).as_ref()[..16])
}

fn extension(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or_default();
    name.rfind('.').filter(|index| *index > 0).map_or("", |index| &name[index + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_files_with_other_extensions_differ() {
        let text = STANDARD.encode("hello");
        assert_ne!(asset_hash(&text, "/a.html"), asset_hash(&text, "/a.txt"));
        assert_eq!(asset_hash(&text, "/a.html"), asset_hash(&text, "/x/y.b.html"));
        assert_eq!(asset_hash(&text, "/.well-known/LICENSE"), asset_hash(&text, "/.profile"));
        // wrangler 4.164 sent this hash.
        assert_eq!(asset_hash(&text, "/index.html"), "a2b82584e50075886b08927390f2f573");
    }

    #[test]
    fn an_asset_matches_by_any_of_the_hashes_that_clients_compute() {
        let text = STANDARD.encode("hello");
        let wrangler = asset_hash(&text, "/a.txt");
        // `sha256sum` of the content, and of its base64 text with the extension.
        let guide = "2cf24dba5fb0a30e26e83b2ac5b9e29e";
        let base64 = sha256(&[text.as_bytes(), b"txt"]);
        for hash in [wrangler.as_str(), guide, base64.as_str()] {
            let asset = Asset { hash: hash.to_owned(), size: 5 };
            assert!(matches(b"hello", "/a.txt", &asset), "{hash}");
            assert!(!matches(b"hellO", "/a.txt", &asset), "{hash}");
            assert!(!matches(b"hello", "/a.txt", &Asset { size: 6, ..asset }), "{hash}");
        }
        assert!(!matches(b"hello", "/a.css", &Asset { hash: wrangler, size: 5 }));
    }
}
