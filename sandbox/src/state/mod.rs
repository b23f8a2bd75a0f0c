//! What is deployed: Workers with their versions and deployments, kept on disk.

pub mod blobs;
pub mod model;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};

use blobs::Blobs;
use model::Worker;

/// A Worker's place: account and name.
pub type Key = (String, String);

/// Everything that is deployed. Memory is what requests read; a change is on disk before it is in
/// memory, so an acknowledged one survives a kill.
#[derive(Debug)]
pub struct Store {
    dir: Utf8PathBuf,
    /// Contents of modules and assets.
    pub blobs: Blobs,
    workers: Mutex<BTreeMap<Key, Worker>>,
}

impl Store {
    /// Opens the state in `dir`, which is made when missing.
    pub fn open(dir: &Utf8Path) -> Result<Store> {
        let workers_dir = dir.join("workers");
        std::fs::create_dir_all(&workers_dir)
            .with_context(|| format!("cannot make {workers_dir}"))?;
        let mut workers = BTreeMap::new();
        for entry in workers_dir.read_dir_utf8()?.filter_map(Result::ok) {
            let path = entry.path();
            if path.extension() != Some("json") {
                continue;
            }
            let text =
                std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
            let worker: Worker =
                serde_json::from_str(&text).with_context(|| format!("{path} is damaged"))?;
            workers.insert((worker.account.clone(), worker.name.clone()), worker);
        }
        let blobs = Blobs::open(&dir.join("blobs"))?;
        Ok(Store { dir: dir.to_owned(), blobs, workers: Mutex::new(workers) })
    }

    /// A copy of a Worker.
    #[must_use]
    pub fn worker(&self, account: &str, name: &str) -> Option<Worker> {
        self.lock().get(&(account.to_owned(), name.to_owned())).cloned()
    }

    /// A copy of every Worker.
    #[must_use]
    pub fn workers(&self) -> Vec<Worker> {
        self.lock().values().cloned().collect()
    }

    /// How many Workers there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// Changes a Worker, or makes it when `change` is given none. Nothing is changed when `change`
    /// fails or the disk does.
    pub fn change<T, E: From<anyhow::Error>>(
        &self,
        account: &str,
        name: &str,
        change: impl FnOnce(Option<Worker>) -> Result<(Worker, T), E>,
    ) -> Result<T, E> {
        let mut workers = self.lock();
        let key = (account.to_owned(), name.to_owned());
        let (worker, result) = change(workers.get(&key).cloned())?;
        self.save(&worker)?;
        workers.insert(key, worker);
        Ok(result)
    }

    /// Forgets a Worker; whether there was one.
    pub fn remove(&self, account: &str, name: &str) -> Result<bool> {
        let mut workers = self.lock();
        let found = workers.remove(&(account.to_owned(), name.to_owned())).is_some();
        if found {
            std::fs::remove_file(self.path(account, name))
                .context("cannot remove a Worker's file")?;
        }
        Ok(found)
    }

    fn save(&self, worker: &Worker) -> Result<()> {
        let path = self.path(&worker.account, &worker.name);
        write_durably(&path, &serde_json::to_vec_pretty(worker)?)
    }

    fn path(&self, account: &str, name: &str) -> Utf8PathBuf {
        self.dir.join("workers").join(format!("{account}.{name}.json"))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Worker>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes a file so that it is there whole, or as it was, whenever power is lost: temporary file,
/// sync, rename, sync of the folder. Only its owner can read it, since bindings may hold secrets.
pub fn write_durably(path: &Utf8Path, bytes: &[u8]) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let temporary =
        Utf8PathBuf::from(format!("{path}.{}.tmp", crate::ids::hex(&crate::ids::random::<4>())));
    let write = || -> std::io::Result<()> {
        let mut options = File::options();
        let mut file = options.write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)?;
        match path.parent() {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    };
    write().with_context(|| format!("cannot write {path}"))
}
