//! Caches the outputs of builds below `.xtask/cache/` by a digest of all of their inputs, so that
//! nothing is built twice. A wrong cache hit would publish the wrong site, so a build is stored only if everything that it
//! read and wrote is known.

mod manifest;

use std::fs::File;
use std::io::{Read, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::time::SystemTime;

use camino::{Utf8Path, Utf8PathBuf};
use ring::digest::{Context, SHA256, digest};

use base::error::{ErrorContext as _, Result, failed};
pub use manifest::{CacheManifest, CachedFile, OutputParts};
use workspace::key::hex;

/// The maximum size of the cache in bytes. The least recently used entries are evicted first.
pub const MAX_CACHE_SIZE: u64 = 2 << 30;

/// The cached outputs of one checkout. Any number of runs may use it at the same time.
///
/// Each entry is a folder named by its key, with `manifest.json`, `size` and the files. It is written under
/// another name and then renamed, so it is complete or absent. It is removed only while no process reads it.
#[derive(Debug)]
pub struct BuildCache {
    dir: Utf8PathBuf,
    limit: u64,
}

/// The result of a lookup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// The entry is intact.
    Hit {
        /// The time of its build, RFC 3339.
        built: String,
        /// The parts of its output.
        parts: OutputParts,
    },
    /// There is no entry.
    Miss,
    /// The entry differs from what was stored. It is removed.
    Corrupt(String),
}

impl BuildCache {
    /// Returns the cache of the repository at `root`.
    #[must_use]
    pub fn at(root: &Utf8Path) -> BuildCache {
        BuildCache { dir: root.join(".xtask/cache"), limit: MAX_CACHE_SIZE }
    }

    /// Restores the entry for `key` into the folder `to`, which must not exist. Copies each file and
    /// compares its hash. Removes the folder if it is incomplete.
    pub fn restore(&self, key: &str, to: &Utf8Path) -> Result<Lookup> {
        let entry = self.dir.join(key);
        if !entry.exists() {
            return Ok(Lookup::Miss);
        }
        let reading = self.lock()?;
        reading.lock_shared()?;
        let corrupt = |reading: File, damage: String| {
            remove(to);
            drop(reading);
            self.remove(key)?;
            Ok(Lookup::Corrupt(damage))
        };
        let manifest = match CacheManifest::read(&entry, key) {
            Ok(None) => return Ok(Lookup::Miss),
            Ok(Some(manifest)) => manifest,
            Err(damage) => return corrupt(reading, damage),
        };
        if let Some(damage) = copy_all(&manifest, &entry, to).inspect_err(|_| remove(to))? {
            return corrupt(reading, damage);
        }
        // That it was used. Not worth failing for.
        let _untouched =
            File::open(entry.join(SIZE)).and_then(|file| file.set_modified(SystemTime::now()));
        let parts = manifest.parts();
        Ok(Lookup::Hit { built: manifest.built, parts })
    }

    /// Returns true if the folder `at` contains exactly the files of the entry for `key`.
    pub fn is_in_place(&self, key: &str, at: &Utf8Path) -> Result<bool> {
        let Ok(Some(manifest)) = CacheManifest::read(&self.dir.join(key), key) else {
            return Ok(false);
        };
        if !at.is_dir() {
            return Ok(false);
        }
        let Ok(found) = files_below(at) else { return Ok(false) };
        if found.len() != manifest.files.len() {
            return Ok(false);
        }
        for (path, size) in found {
            let Some(kept) = manifest.files.get(&path).filter(|kept| kept.size == size) else {
                return Ok(false);
            };
            let content = std::fs::read(at.join(&path))?;
            if hex(digest(&SHA256, &content).as_ref()) != kept.sha256 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Stores the files of the folder `from` by `key`, in place of what is stored by it, and makes room. Errors if they
    /// cannot be stored. The build goes on without the cache.
    pub fn store(&self, key: &str, from: &Utf8Path, built: String) -> Result<()> {
        self.store_parts(key, from, OutputParts::one_folder(), built)
    }

    /// Stores parts of the folder `from`, as [`store`](Self::store) does with all of it.
    pub fn store_parts(
        &self,
        key: &str,
        from: &Utf8Path,
        parts: OutputParts,
        built: String,
    ) -> Result<()> {
        let mut files = Files::new();
        for folder in &parts.folders {
            let found = files_below(&from.join(folder))?;
            files.extend(found.into_iter().map(|(path, size)| (folder.join(path), size)));
        }
        for path in parts.files {
            let meta = std::fs::symlink_metadata(from.join(&path));
            let meta = meta.with_context(|| format!("cannot read {path}"))?;
            if !meta.is_file() {
                return Err(failed(format!("{path} is neither a file nor a folder")));
            }
            files.push((path, meta.len()));
        }
        if files.is_empty() {
            return Err(failed("it holds no file"));
        }
        if files.iter().map(|(_, size)| size).sum::<u64>() > self.limit {
            return Err(failed(format!("it is larger than {} MiB", self.limit >> 20)));
        }
        std::fs::create_dir_all(&self.dir)?;
        self.remove(key)?;
        let writing = self.lock()?;
        writing.lock_shared()?;
        let number = workspace::key::fresh_nonce()?;
        let entry = self.dir.join(format!("{UNFINISHED}{number}"));
        let mut manifest = CacheManifest::new(key, built, parts.folders);
        for (path, _) in files {
            let source = File::open(from.join(&path)).with_context(|| format!("{path}"))?;
            let executable = source.metadata()?.permissions().mode() & 0o100 != 0;
            let kept = copy(source, &entry.join(manifest::FILES).join(&path), executable)?;
            manifest.add(path, kept);
        }
        manifest.write(&entry)?;
        std::fs::write(entry.join(SIZE), manifest.size().to_string())?;
        if std::fs::rename(&entry, self.dir.join(key)).is_err() {
            // Another run stored the same output in the meantime, and a folder with files is not replaced.
            std::fs::remove_dir_all(&entry)?;
        }
        drop(writing);
        self.evict()
    }

    /// Removes the entry for `key`.
    pub fn remove(&self, key: &str) -> Result<()> {
        let entry = self.dir.join(key);
        if entry.exists() {
            let alone = self.lock()?;
            alone.lock()?;
            remove(&entry);
        }
        Ok(())
    }

    /// Evicts the least recently used entries until the cache is within the limit. Also removes partial entries of
    /// ended runs.
    fn evict(&self) -> Result<()> {
        let alone = self.lock()?;
        alone.lock()?;
        let mut entries = Vec::new();
        for entry in self.dir.read_dir_utf8()?.filter_map(Result::ok) {
            if !entry.file_type()?.is_dir() {
                continue;
            }
            match usage(&entry.path().join(SIZE)) {
                Some((used, size)) => entries.push((used, size, entry.into_path())),
                None => remove(entry.path()),
            }
        }
        entries.sort();
        let mut total: u64 = entries.iter().map(|(_, size, _)| size).sum();
        for (_, size, entry) in entries {
            if total > self.limit {
                remove(&entry);
                total -= size;
            }
        }
        Ok(())
    }

    /// The lock file. Readers and writers share the lock, and a removal holds it exclusively. The
    /// system releases it when a process ends, even if it is killed.
    fn lock(&self) -> Result<File> {
        let path = self.dir.join("lock");
        File::create(&path).with_context(|| format!("cannot create {path}"))
    }
}

/// The file with the size of an entry. Its modification time is the last use. Manifests are long, and
/// every build checks all entries.
const SIZE: &str = "size";

/// Returns the last use and the size of the entry at `path`.
fn usage(path: &Utf8Path) -> Option<(SystemTime, u64)> {
    let size = std::fs::read_to_string(path).ok()?.parse().ok()?;
    Some((path.metadata().ok()?.modified().ok()?, size))
}

/// The prefix of entries that are not complete yet.
const UNFINISHED: &str = "unfinished-";

/// Copies an entry's files. Errors if one is corrupt.
fn copy_all(manifest: &CacheManifest, entry: &Utf8Path, to: &Utf8Path) -> Result<Option<String>> {
    for (path, kept) in &manifest.files {
        let Ok(source) = File::open(entry.join(manifest::FILES).join(path)) else {
            return Ok(Some(format!("{path} is gone")));
        };
        if copy(source, &to.join(path), kept.executable)? != *kept {
            return Ok(Some(format!("{path} is not what was kept")));
        }
    }
    Ok(None)
}

/// Copies a file and returns its size and hash. Never creates a hard link, because a later step may write to the
/// file.
fn copy(mut source: File, to: &Utf8Path, executable: bool) -> Result<CachedFile> {
    if let Some(folder) = to.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot create {folder}"))?;
    }
    let mode = if executable { 0o755 } else { 0o644 };
    let mut options = File::options();
    let mut target = options
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(to)
        .with_context(|| format!("cannot create {to}"))?;
    let (mut context, mut size) = (Context::new(&SHA256), 0);
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = source.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        context.update(&buffer[..read]);
        target.write_all(&buffer[..read]).with_context(|| format!("cannot write {to}"))?;
        size += read as u64;
    }
    Ok(CachedFile { size, sha256: hex(context.finish().as_ref()), executable })
}

type Files = Vec<(Utf8PathBuf, u64)>;

/// Returns the files below `dir` with their sizes. Errors if something else is there, such as a link.
fn files_below(dir: &Utf8Path) -> Result<Files> {
    let (mut found, mut waiting) = (Vec::new(), vec![Utf8PathBuf::new()]);
    while let Some(below) = waiting.pop() {
        for entry in std::fs::read_dir(dir.join(&below)).with_context(|| format!("{dir}"))? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else {
                return Err(failed(format!("{below}/{:?} is not UTF-8", entry.file_name())));
            };
            let (path, kind) = (below.join(name), entry.file_type()?);
            if kind.is_dir() {
                waiting.push(path);
            } else if kind.is_file() {
                found.push((path, entry.metadata()?.len()));
            } else {
                return Err(failed(format!("{path} is neither a file nor a folder")));
            }
        }
    }
    Ok(found)
}

/// Removes a folder and ignores errors. A later run removes the remaining files.
fn remove(dir: &Utf8Path) {
    let _rest = std::fs::remove_dir_all(dir);
}

#[cfg(test)]
mod tests;
