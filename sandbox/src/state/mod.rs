//! Stores Workers with their versions and deployments on disk.

pub mod blobs;
pub mod model;
pub mod preview;
pub mod resources;
pub mod seal;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result, bail};
use camino::{Utf8Path, Utf8PathBuf};

use blobs::BlobStore;
use model::Worker;
use resources::ResourceStore;

/// Identifies a Worker: account and name.
type WorkerKey = (String, String);

/// Everything that is deployed. Requests read memory. A change is on disk before it is in memory, so
/// an acknowledged one survives a kill.
#[derive(Debug)]
pub struct WorkerStore {
    dir: Utf8PathBuf,
    /// Contents of modules, manifests and assets.
    pub blobs: BlobStore,
    /// KV namespaces, D1 databases, R2 buckets, queues and workflows of each account.
    pub resources: ResourceStore,
    workers: Mutex<BTreeMap<WorkerKey, Arc<Worker>>>,
    /// Workers whose state file cannot be read, with the reason.
    damaged: BTreeMap<WorkerKey, String>,
    /// Serializes changes. Readers do not wait for the disk.
    write_lock: Mutex<()>,
}

impl WorkerStore {
    /// Opens the state in `dir`. Creates the folder if it is missing.
    pub fn open(dir: &Utf8Path) -> Result<WorkerStore> {
        let blobs = BlobStore::open(&dir.join("blobs"))?;
        let resources = ResourceStore::open(dir)?;
        let dir = dir.join("cloudflare/workers");
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {dir}"))?;
        remove_temporary(&dir)?;
        let (mut workers, mut damaged) = (BTreeMap::new(), BTreeMap::new());
        for entry in dir.read_dir_utf8()? {
            let entry = entry?;
            // A file whose name has no account and Worker is not a state file.
            let Some(key) = key(entry.file_name()) else { continue };
            match read(entry.path(), &key) {
                Ok(worker) => drop(workers.insert(key, Arc::new(worker))),
                Err(error) => {
                    let reason = format!(
                        "The state file {} is damaged: {error:#}. Restore the file, or delete it and \
                         deploy again; then restart the sandbox",
                        entry.path()
                    );
                    crate::log::line(&reason);
                    damaged.insert(key, reason);
                }
            }
        }
        let (workers, write_lock) = (Mutex::new(workers), Mutex::default());
        Ok(WorkerStore { dir, blobs, resources, workers, damaged, write_lock })
    }

    /// Returns a Worker. `None` if there is none, or if its state file is damaged.
    #[must_use]
    pub fn worker(&self, account: &str, name: &str) -> Option<Arc<Worker>> {
        self.lock_workers().get(&(account.to_owned(), name.to_owned())).cloned()
    }

    /// Returns the damage of a Worker's state file. `None` if it is intact.
    #[must_use]
    pub fn damage(&self, account: &str, name: &str) -> Option<&str> {
        self.damaged.get(&(account.to_owned(), name.to_owned())).map(String::as_str)
    }

    /// Lists the names of Workers whose state file is damaged, with the reason.
    pub fn damages(&self) -> impl Iterator<Item = (&str, &str)> {
        self.damaged.iter().map(|((_, name), reason)| (name.as_str(), reason.as_str()))
    }

    /// Lists every Worker.
    #[must_use]
    pub fn workers(&self) -> Vec<Arc<Worker>> {
        self.lock_workers().values().cloned().collect()
    }

    /// Counts the Workers.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock_workers().len()
    }

    /// Changes a Worker. `change` gets `None` if there is none and returns a new one. If `change` or the
    /// write fails, nothing is changed.
    pub fn change<T, E: From<anyhow::Error>>(
        &self,
        account: &str,
        name: &str,
        change: impl FnOnce(Option<Worker>) -> Result<(Worker, T), E>,
    ) -> Result<T, E> {
        let _guard = self.lock_writes();
        if let Some(reason) = self.damage(account, name) {
            return Err(anyhow::anyhow!("{reason}").into());
        }
        let previous = self.worker(account, name).map(|worker| Worker::clone(&worker));
        let (worker, result) = change(previous)?;
        self.blobs.sync()?;
        self.save(worker)?;
        Ok(result)
    }

    /// Removes host names from every Worker except one, so that this one can use them.
    pub fn release(&self, hosts: &[String], except: (&str, &str)) -> Result<()> {
        let _guard = self.lock_writes();
        let is_released = |host: &String| hosts.contains(host);
        for worker in self.workers() {
            if (worker.account.as_str(), worker.name.as_str()) != except
                && worker.domains.iter().any(is_released)
            {
                let mut changed = Worker::clone(&worker);
                changed.domains.retain(|host| !is_released(host));
                self.save(changed)?;
            }
        }
        Ok(())
    }

    /// Deletes a Worker. Returns whether there was one.
    pub fn remove(&self, account: &str, name: &str) -> Result<bool> {
        let _guard = self.lock_writes();
        if self.worker(account, name).is_none() {
            return Ok(false);
        }
        std::fs::remove_file(self.path(account, name))
            .and_then(|()| File::open(&self.dir)?.sync_all())
            .context("cannot remove a Worker's file")?;
        self.lock_workers().remove(&(account.to_owned(), name.to_owned()));
        Ok(true)
    }

    /// Writes a Worker to disk, then to memory.
    fn save(&self, worker: Worker) -> Result<()> {
        let path = self.path(&worker.account, &worker.name);
        write_durably(&path, &seal::seal(&worker)?)?;
        self.lock_workers().insert((worker.account.clone(), worker.name.clone()), Arc::new(worker));
        Ok(())
    }

    fn path(&self, account: &str, name: &str) -> Utf8PathBuf {
        self.dir.join(format!("{account}.{name}.json"))
    }

    fn lock_writes(&self) -> MutexGuard<'_, ()> {
        self.write_lock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_workers(&self) -> MutexGuard<'_, BTreeMap<WorkerKey, Arc<Worker>>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the Worker that a file name belongs to.
fn key(file: &str) -> Option<WorkerKey> {
    let (account, name) = file.strip_suffix(".json")?.split_once('.')?;
    Some((account.to_owned(), name.to_owned()))
}

fn read(path: &Utf8Path, key: &WorkerKey) -> Result<Worker> {
    let bytes = std::fs::read(path).context("it cannot be read")?;
    let worker: Worker = seal::unseal(&bytes)?;
    if (&worker.account, &worker.name) != (&key.0, &key.1) {
        bail!("it is the file of the Worker {}", worker.name);
    }
    Ok(worker)
}

/// Writes a file atomically and durably. A loss of power leaves the old or the new content.
pub fn write_durably(path: &Utf8Path, bytes: &[u8]) -> Result<()> {
    write_file(path, bytes)
        .and_then(|()| File::open(path.parent().unwrap_or(path))?.sync_all())
        .with_context(|| format!("cannot write {path}"))
}

/// Writes a file atomically: temporary file, sync, rename. The rename is durable only after a sync of
/// the folder. Only its owner can read it, because bindings may hold secrets.
fn write_file(path: &Utf8Path, bytes: &[u8]) -> std::io::Result<()> {
    let unique = crate::ids::hex(&crate::ids::random::<6>());
    let temporary = Utf8PathBuf::from(format!("{path}.{unique}{TEMPORARY}"));
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&temporary)?;
    let result = file.write_all(bytes).and_then(|()| file.sync_all());
    let result = result.and_then(|()| std::fs::rename(&temporary, path));
    if result.is_err() {
        // The first error is the one to report.
        let _leftover = std::fs::remove_file(&temporary);
    }
    result
}

/// The suffix of temporary files.
const TEMPORARY: &str = ".tmp";

/// Removes the temporary files of a killed run.
pub fn remove_temporary(dir: &Utf8Path) -> Result<()> {
    for entry in dir.read_dir_utf8()? {
        let entry = entry?;
        if entry.file_name().ends_with(TEMPORARY) {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
