//! Installs and builds of packages that several projects share: each once in a run.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use anyhow::Result;
use camino::{Utf8Path, Utf8PathBuf};

use super::job::{ProjectRun, millis};
use super::lock::FileLock;
use super::setup::install_lock;
use crate::tools::packages::{Installation, failure};
use base::error::{Failure, as_failure};

/// Work that is done once per run and folder. A second caller waits for the first and gets its
/// result.
#[derive(Debug)]
pub struct OncePerFolder<T>(Mutex<BTreeMap<Utf8PathBuf, SharedResult<T>>>);

/// A result that is waited for.
type SharedResult<T> = Arc<OnceLock<Result<T, Failure>>>;

impl<T> Default for OncePerFolder<T> {
    fn default() -> OncePerFolder<T> {
        OncePerFolder(Mutex::default())
    }
}

impl<T: Clone> OncePerFolder<T> {
    /// Returns the result for `dir`. Runs `work` if there is none yet.
    fn once(&self, dir: &Utf8Path, work: impl FnOnce() -> Result<T>) -> Result<T, Failure> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let cell = Arc::clone(all.entry(dir.to_owned()).or_default());
        drop(all);
        cell.get_or_init(|| work().map_err(as_failure)).clone()
    }
}

/// A finished install.
#[derive(Clone, Debug)]
pub struct InstallResult {
    /// The duration in milliseconds.
    took: u64,
    /// No other run installs here before this one ends: it would take the packages away.
    _lock: Arc<FileLock>,
}

impl ProjectRun<'_> {
    /// Installs what the project needs and builds the packages that it imports. Returns how many milliseconds the
    /// install took. `None` if there was nothing to install.
    pub(super) fn install(&self) -> Result<Option<u64>> {
        let mut took = None;
        if let Some(installation) = &self.part.toolchain.installation {
            self.step("install dependencies");
            let installed = self
                .run
                .installs
                .once(&installation.dir, || self.install_packages(installation))?;
            took = Some(installed.took);
        }
        for build in &self.part.dependencies {
            self.step(&format!("build {}", build.dir));
            self.run.builds.once(&build.dir, || self.build_package(build))?;
        }
        Ok(took)
    }

    fn install_packages(&self, installation: &Installation) -> Result<InstallResult> {
        let root = &self.run.ctx.root;
        let alone =
            install_lock(root, installation, |holder| self.step(&format!("wait for {holder}")))?;
        let mut took = 0;
        for command in self.run.places.install(&self.part.toolchain, installation) {
            let finished = self.execute_install(&command)?;
            let hint = failure::hint(installation, &self.run.places.variables, &finished.tail);
            let finished = finished.success().map_err(|failure| failure.hint_if_failed(&hint))?;
            took += millis(finished.took);
        }
        // Other runs may build here, and may not install.
        alone.share()?;
        Ok(InstallResult { took, _lock: Arc::new(alone) })
    }
}
