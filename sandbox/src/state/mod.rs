//! What is deployed: Workers with their versions and deployments, kept on disk.

pub mod blobs;
pub mod model;
pub mod preview;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};

use blobs::Blobs;
use model::Worker;

/// A Worker's place: account and name.
type Key = (String, String);

/// Everything that is deployed. Memory is what requests read; a change is on disk before it is in
/// memory, so an acknowledged one survives a kill.
#[derive(Debug)]
pub struct Store {
    dir: Utf8PathBuf,
    /// Contents of modules, manifests and assets.
    pub blobs: Blobs,
    workers: Mutex<BTreeMap<Key, Arc<Worker>>>,
    /// Changes come one after the other. Readers do not wait for the disk.
    turn: Mutex<()>,
}

impl Store {
    /// Opens the state in `dir`, which is made when missing.
    pub fn open(dir: &Utf8Path) -> Result<Store> {
        let blobs = dir.join("blobs");
        let dir = dir.join("cloudflare/workers");
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {dir}"))?;
        remove_temporary(&dir)?;
        let mut workers = BTreeMap::new();
        for entry in dir.read_dir_utf8()? {
            let entry = entry?;
            let path = entry.path();
            let text = std::fs::read(path).with_context(|| format!("cannot read {path}"))?;
            let worker: Worker = serde_json::from_slice(&text).with_context(|| {
                format!("{path} is not of this version; `cargo xtask sandbox reset` starts anew")
            })?;
            workers.insert((worker.account.clone(), worker.name.clone()), Arc::new(worker));
        }
        let blobs = Blobs::open(&blobs)?;
        Ok(Store { dir, blobs, workers: Mutex::new(workers), turn: Mutex::default() })
    }

    /// A Worker.
    #[must_use]
    pub fn worker(&self, account: &str, name: &str) -> Option<Arc<Worker>> {
        self.lock().get(&(account.to_owned(), name.to_owned())).cloned()
    }

    /// Every Worker.
    #[must_use]
    pub fn workers(&self) -> Vec<Arc<Worker>> {
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
        let _turn = self.turn();
        let former = self.worker(account, name).map(|worker| Worker::clone(&worker));
        let (worker, result) = change(former)?;
        self.blobs.sync()?;
        self.save(worker)?;
        Ok(result)
    }

    /// Takes host names away from every Worker except one, which then may have them.
    pub fn release(&self, hosts: &[String], except: (&str, &str)) -> Result<()> {
        let _turn = self.turn();
        let taken = |host: &String| hosts.contains(host);
        for worker in self.workers() {
            if (worker.account.as_str(), worker.name.as_str()) != except
                && worker.domains.iter().any(taken)
            {
                let mut changed = Worker::clone(&worker);
                changed.domains.retain(|host| !taken(host));
                self.save(changed)?;
            }
        }
        Ok(())
    }

    /// Forgets a Worker; whether there was one.
    pub fn remove(&self, account: &str, name: &str) -> Result<bool> {
        let _turn = self.turn();
        if self.worker(account, name).is_none() {
            return Ok(false);
        }
        std::fs::remove_file(self.path(account, name))
            .and_then(|()| File::open(&self.dir)?.sync_all())
            .context("cannot remove a Worker's file")?;
        self.lock().remove(&(account.to_owned(), name.to_owned()));
        Ok(true)
    }

    /// Puts a Worker on disk, then into memory.
    fn save(&self, worker: Worker) -> Result<()> {
        let path = self.path(&worker.account, &worker.name);
        let text = serde_json::to_vec_pretty(&worker).context("cannot write a Worker")?;
        write_durably(&path, &text)?;
        self.lock().insert((worker.account.clone(), worker.name.clone()), Arc::new(worker));
        Ok(())
    }

    fn path(&self, account: &str, name: &str) -> Utf8PathBuf {
        self.dir.join(format!("{account}.{name}.json"))
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Arc<Worker>>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes a file so that it is there whole, or as it was, whenever power is lost.
pub fn write_durably(path: &Utf8Path, bytes: &[u8]) -> Result<()> {
    write_file(path, bytes)
        .and_then(|()| File::open(path.parent().unwrap_or(path))?.sync_all())
        .with_context(|| format!("cannot write {path}"))
}

/// Writes a file whole: temporary file, sync, rename. The rename is durable only after a sync of the
/// folder. Only its owner can read it, since bindings may hold secrets.
fn write_file(path: &Utf8Path, bytes: &[u8]) -> std::io::Result<()> {
    let unique = crate::ids::hex(&crate::ids::random::<6>());
    let temporary = Utf8PathBuf::from(format!("{path}.{unique}{TEMPORARY}"));
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&temporary)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    let written = written.and_then(|()| std::fs::rename(&temporary, path));
    if written.is_err() {
        // The first error is the one to report.
        let _left = std::fs::remove_file(&temporary);
    }
    written
}

/// How the names of unfinished files end.
const TEMPORARY: &str = ".tmp";

/// Removes what a killed run had not finished writing.
pub fn remove_temporary(dir: &Utf8Path) -> Result<()> {
    for entry in dir.read_dir_utf8()? {
        let entry = entry?;
        if entry.file_name().ends_with(TEMPORARY) {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
