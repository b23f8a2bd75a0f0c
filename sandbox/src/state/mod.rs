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
use std::sync::{Arc, Mutex, MutexGuard};

use anyhow::{Context as _, Result, bail};
use camino::{Utf8Path, Utf8PathBuf};

use blobs::BlobStore;
use model::Worker;
use resources::ResourceStore;

use crate::mutex::lock;

/// The key of a Worker: its account and its name.
type WorkerKey = (String, String);

/// Everything that is deployed. Requests read from memory. A change is written to disk before memory, so an
/// acknowledged change survives a kill.
#[derive(Debug)]
pub struct WorkerStore {
    dir: Utf8PathBuf,
    /// The files of modules, manifests and assets.
    pub blobs: BlobStore,
    /// The KV namespaces, D1 databases, R2 buckets, queues and workflows of each account.
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
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot create {dir}"))?;
        remove_temporary(&dir)?;
        let (mut workers, mut damaged) = (BTreeMap::new(), BTreeMap::new());
        for entry in dir.read_dir_utf8()? {
            let entry = entry?;
            // Only the name of a state file has an account and a Worker.
            let Some(key) = worker_key(entry.file_name()) else { continue };
            match read(entry.path(), &key) {
                Ok(worker) => drop(workers.insert(key, Arc::new(worker))),
                Err(error) => {
                    let remedy =
                        "Restore the file, or delete it and deploy again; then restart the sandbox";
                    damaged.insert(key, report_damage(entry.path(), &error, remedy));
                }
            }
        }
        let (workers, write_lock) = (Mutex::new(workers), Mutex::default());
        Ok(WorkerStore { dir, blobs, resources, workers, damaged, write_lock })
    }

    /// Returns a Worker. `None` if it does not exist, or if its state file is damaged.
    #[must_use]
    pub fn worker(&self, account: &str, name: &str) -> Option<Arc<Worker>> {
        self.lock_workers().get(&(account.to_owned(), name.to_owned())).cloned()
    }

    /// Returns the message about the damaged state file of a Worker. `None` if it is intact.
    #[must_use]
    pub fn damage(&self, account: &str, name: &str) -> Option<&str> {
        self.damaged.get(&(account.to_owned(), name.to_owned())).map(String::as_str)
    }

    /// Lists the names of the Workers with a damaged state file, each with the message.
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

    /// Changes or creates a Worker. `change` gets `None` if the Worker does not exist. If `change` or the write
    /// fails, nothing is changed.
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

    /// Removes custom domains from every Worker except one, so that this one can use them.
    pub fn remove_domains(&self, hosts: &[String], except: (&str, &str)) -> Result<()> {
        let _guard = self.lock_writes();
        let is_removed = |host: &String| hosts.contains(host);
        for worker in self.workers() {
            if (worker.account.as_str(), worker.name.as_str()) != except
                && worker.domains.iter().any(is_removed)
            {
                let mut changed = Worker::clone(&worker);
                changed.domains.retain(|host| !is_removed(host));
                self.save(changed)?;
            }
        }
        Ok(())
    }

    /// Deletes a Worker. Returns whether it existed.
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
        lock(&self.write_lock)
    }

    fn lock_workers(&self) -> MutexGuard<'_, BTreeMap<WorkerKey, Arc<Worker>>> {
        lock(&self.workers)
    }
}

/// Returns the key of the Worker that a state file belongs to. `None` for other files.
fn worker_key(file: &str) -> Option<WorkerKey> {
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

/// Logs that a state file is damaged. Returns the message for clients, which ends with `remedy`.
pub fn report_damage(path: &Utf8Path, error: &anyhow::Error, remedy: &str) -> String {
    let message = format!("The state file {path} is damaged: {error:#}. {remedy}");
    crate::log::line(&message);
    message
}

/// The remedy for a state file that a client cannot replace.
pub const RESTORE_OR_DELETE: &str = "Restore or delete it, then restart the sandbox";

/// Writes a file atomically and durably. After a loss of power it has the old or the new content.
pub fn write_durably(path: &Utf8Path, bytes: &[u8]) -> Result<()> {
    write_file(path, bytes)
        .and_then(|()| sync(&File::open(path.parent().unwrap_or(path))?))
        .with_context(|| format!("cannot write {path}"))
}

/// Writes a file atomically: writes a temporary file, syncs it and renames it. The rename is durable only after a
/// sync of the folder. Only the owner can read the file, because bindings may have secrets.
fn write_file(path: &Utf8Path, bytes: &[u8]) -> std::io::Result<()> {
    let unique = crate::ids::hex(&crate::ids::random::<6>());
    let temporary = Utf8PathBuf::from(format!("{path}.{unique}{TEMPORARY}"));
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&temporary)?;
    let result = file.write_all(bytes).and_then(|()| sync(&file));
    let result = result.and_then(|()| std::fs::rename(&temporary, path));
    if result.is_err() {
        // The caller reports the first error.
        let _leftover = std::fs::remove_file(&temporary);
    }
    result
}

/// The variable that turns syncs off, for tests with many writes at once.
const NO_SYNC_VARIABLE: &str = "SANDBOX_NO_SYNC";

/// Waits until a file or folder is on the disk, unless syncs are off.
fn sync(file: &File) -> std::io::Result<()> {
    if std::env::var_os(NO_SYNC_VARIABLE).is_some() { Ok(()) } else { file.sync_all() }
}

/// The suffix of temporary files.
const TEMPORARY: &str = ".tmp";

/// Removes the temporary files that a killed run left.
pub fn remove_temporary(dir: &Utf8Path) -> Result<()> {
    for entry in dir.read_dir_utf8()? {
        let entry = entry?;
        if entry.file_name().ends_with(TEMPORARY) {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
