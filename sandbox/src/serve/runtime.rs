//! Which versions are loaded: each on its first request, as many as there is room for.

use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, bail};
use camino::{Utf8Path, Utf8PathBuf};
use serde_json::{Value, json};
use tokio::sync::{Mutex, OnceCell};

use super::check::Checker;
use super::process::Process;
use super::{bindings, files};
use crate::log;
use crate::state::blobs::Blobs;
use crate::state::model::{Version, Worker};

/// The program that the process runs.
const PROGRAM: &str = include_str!("../../runtime/serve.ts");

/// How many versions are loaded at once; the one asked for longest ago makes room. A workerd takes
/// about 90 MB, most of it shared with the others.
const MOST: usize = 16;

/// Runs versions.
pub struct Runtime {
    bun: Utf8PathBuf,
    packages: Utf8PathBuf,
    dir: Utf8PathBuf,
    /// Loads versions once before they are stored.
    pub checker: Checker,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    process: Option<Arc<Process>>,
    /// By version, the one asked for last at the end.
    loaded: Vec<(String, Arc<OnceCell<Arc<Loaded>>>)>,
}

/// A loaded version. When nobody holds it any more, its workerd ends: a request that is being
/// answered is never interrupted because another version needs the room.
#[derive(Debug)]
pub struct Loaded {
    /// Where it answers on the loopback address.
    pub port: u16,
    name: String,
    folder: Utf8PathBuf,
    process: Arc<Process>,
}

impl Drop for Loaded {
    fn drop(&mut self) {
        self.process.unload(&self.name, &self.folder);
    }
}

impl Runtime {
    /// A runtime with its files below `state`, which is absolute. Nothing is started before the first request.
    pub fn new(bun: &Utf8Path, toolchain: &Utf8Path, state: &Utf8Path) -> Result<Runtime> {
        let packages = camino::absolute_utf8(toolchain)?.join("node_modules");
        for package in ["miniflare", "workerd"] {
            if !packages.join(package).is_dir() {
                bail!("{packages} does not hold {package}; install the toolchain's packages first");
            }
        }
        let dir = state.join("runtime");
        // All of it is made from the state, and what a killed run left behind is of no use.
        files::remove(&dir).with_context(|| format!("cannot empty {dir}"))?;
        std::fs::create_dir_all(dir.join("tmp")).with_context(|| format!("cannot make {dir}"))?;
        std::fs::write(dir.join("serve.ts"), PROGRAM).context("cannot write serve.ts")?;
        if bun.as_str().contains('/') && !bun.is_file() {
            bail!("{bun} is not a program");
        }
        let bun = if bun.as_str().contains('/') { camino::absolute_utf8(bun)? } else { bun.into() };
        let checker = Checker::new(&packages, &dir)?;
        Ok(Runtime { bun, packages, dir, checker, inner: Mutex::default() })
    }

    /// `version`, loaded. When the process ends meanwhile, it is tried once more with a new one.
    pub async fn load(
        &self,
        blobs: &Blobs,
        worker: &Worker,
        version: &Version,
    ) -> Result<Arc<Loaded>> {
        let (process, loaded) = self.load_once(blobs, worker, version).await?;
        if loaded.is_err() && process.ended() {
            return self.load_once(blobs, worker, version).await?.1;
        }
        loaded
    }

    async fn load_once(
        &self,
        blobs: &Blobs,
        worker: &Worker,
        version: &Version,
    ) -> Result<(Arc<Process>, Result<Arc<Loaded>>)> {
        let (process, cell) = self.place(&version.id).await?;
        let load = || async {
            let name = format!("{}-{}", version.id, crate::ids::hex(&crate::ids::random::<4>()));
            let folder = self.dir.join(&name);
            // From here on whatever fails is cleaned up by the drop.
            let mut loaded = Loaded { port: 0, name, folder, process: process.clone() };
            let order = tokio::task::block_in_place(|| {
                self.order(blobs, worker, version, &loaded.name, &loaded.folder)
            })?;
            loaded.port = process.load(&order).await?;
            log::line(&format!("runtime: loaded {} of {}", version.id, worker.name));
            anyhow::Ok(Arc::new(loaded))
        };
        let loaded = cell.get_or_try_init(load).await.cloned();
        if loaded.is_err() {
            self.forget(&version.id).await;
        }
        Ok((process, loaded))
    }

    /// Where a version is, or will be. Of those that ask at the same time, one loads it.
    async fn place(&self, id: &str) -> Result<(Arc<Process>, Arc<OnceCell<Arc<Loaded>>>)> {
        let mut inner = self.inner.lock().await;
        if inner.process.as_ref().is_some_and(|process| process.ended()) {
            inner.process = None;
            inner.loaded.clear();
        }
        let process = match &inner.process {
            Some(process) => process.clone(),
            None => Arc::new(Process::start(&self.bun, &self.dir, &self.packages)?),
        };
        inner.process = Some(process.clone());
        let at = inner.loaded.iter().position(|(loaded, _)| loaded == id);
        let (_, cell) = at.map_or_else(
            || (id.to_owned(), Arc::new(OnceCell::new())),
            |at| inner.loaded.remove(at),
        );
        inner.loaded.push((id.to_owned(), cell.clone()));
        if inner.loaded.len() > MOST {
            inner.loaded.remove(0);
        }
        Ok((process, cell))
    }

    /// Forgets a version that does not answer; the next request loads it anew.
    pub async fn forget(&self, id: &str) {
        self.inner.lock().await.loaded.retain(|(loaded, _)| loaded != id);
    }

    /// Ends all of it.
    pub async fn stop(&self) {
        let mut inner = self.inner.lock().await;
        inner.loaded.clear();
        if let Some(process) = inner.process.take() {
            process.stop().await;
        }
    }

    fn order(
        &self,
        blobs: &Blobs,
        worker: &Worker,
        version: &Version,
        name: &str,
        folder: &Utf8Path,
    ) -> Result<Value> {
        let env = bindings::env(version).map_err(|reason| anyhow!(reason))?;
        // What was changed on the disk since it was uploaded is not run.
        version.modules.iter().try_for_each(|module| blobs.read(&module.blob).map(drop))?;
        let modules = version.modules.iter().map(|module| {
            let kind = bindings::module_kind(&module.content_type);
            (module.name.clone(), json!({ "type": kind, "path": blobs.path(&module.blob) }))
        });
        let mut order = json!({
            "name": name, "compatibilityDate": version.compatibility_date,
            "compatibilityFlags": version.compatibility_flags, "env": env,
            "modules": modules.collect::<serde_json::Map<String, Value>>(),
            "data": self.dir.with_file_name("data").join(&worker.account),
        });
        if let Some(main) = &version.main_module {
            order["mainModule"] = json!(main);
        }
        if let Some(assets) = &version.assets {
            files::place(folder, blobs, &worker.account, assets)?;
            order["assets"] = bindings::assets(folder, &assets.config);
        }
        Ok(order)
    }
}
