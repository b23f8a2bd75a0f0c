//! Installs and builds of packages that several projects share: each once in a run.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use base::mutex;
use camino::{Utf8Path, Utf8PathBuf};

use crate::engine::build::npm_install::NpmInstall;
use crate::engine::build::package::build_package;
use crate::engine::build::variables::digests;
use crate::engine::lock::{FileLock, lock};
use crate::engine::project_run::ProjectRun;
use crate::tools::packages::failure;
use base::command::ProcessCommand;
use base::error::Result;
use workspace::installation::Installation;
use workspace::package_manager::PackageManager;

/// Runs work once per run and folder. A second caller waits for the first one and gets its result.
#[derive(Debug)]
pub struct OncePerFolder<T>(Mutex<BTreeMap<Utf8PathBuf, SharedResult<T>>>);

/// A result that callers wait for.
type SharedResult<T> = Arc<OnceLock<Result<T>>>;

impl<T> Default for OncePerFolder<T> {
    fn default() -> OncePerFolder<T> {
        OncePerFolder(Mutex::default())
    }
}

impl<T: Clone> OncePerFolder<T> {
    /// Returns the result for `dir`. Runs `work` if there is none yet.
    fn once(&self, dir: &Utf8Path, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let mut all = mutex::lock(&self.0);
        let cell = Arc::clone(all.entry(dir.to_owned()).or_default());
        drop(all);
        cell.get_or_init(work).clone()
    }
}

/// File locks that the projects of one run share. Other runs wait for them.
///
/// A project acquires its own lock first, then that of its installation, then that of the built packages. A holder of
/// the last one waits for no other lock, so there is no deadlock between two runs. No lock is held until the end of a
/// run, because a later project of the run may wait for a lock of another run.
#[derive(Debug, Default)]
pub struct RunLocks(Mutex<BTreeMap<String, SharedLock>>);

/// A lock that projects of the run hold, or none.
type SharedLock = Arc<Mutex<Weak<FileLock>>>;

/// The name of the lock on the output of all packages that projects import.
pub const PACKAGES: &str = "packages";

/// The installed dependencies of a project.
#[derive(Clone, Debug, Default)]
pub struct DependencyResult {
    /// The duration of the install. `None` if there was nothing to install.
    pub duration: Option<Duration>,
    /// Held while the project is built and bundled, because another run would replace the packages.
    pub locks: Vec<Arc<FileLock>>,
}

/// Returns the name of the lock on an installation.
#[must_use]
pub fn install_lock(installation: &Installation) -> String {
    format!("install.{}", installation.slug())
}

/// Returns the path of a lock.
#[must_use]
pub fn lock_path(root: &Utf8Path, name: &str) -> Utf8PathBuf {
    root.join(".xtask/locks").join(format!("{name}.lock"))
}

/// Installs the dependencies of the project and builds the packages that it imports.
pub(crate) fn install_dependencies(run: &ProjectRun<'_>) -> Result<DependencyResult> {
    let mut dependencies = DependencyResult::default();
    if let Some(installation) = &run.project.build_plan.toolchain.installation {
        dependencies.locks.push(lock_for_run(run, &install_lock(installation))?);
        run.step("install dependencies");
        let install = || install_packages(run, installation);
        dependencies.duration = Some(run.shared.installs.once(&installation.dir, install)?);
    }
    if !run.project.build_plan.dependencies.is_empty() {
        dependencies.locks.push(lock_for_run(run, PACKAGES)?);
    }
    for build in &run.project.build_plan.dependencies {
        run.step(&format!("build {}", build.dir));
        run.shared.builds.once(&build.dir, || build_package(run, build))?;
    }
    Ok(dependencies)
}

/// Acquires a lock that other projects of this run may share.
fn lock_for_run(run: &ProjectRun<'_>, name: &str) -> Result<Arc<FileLock>> {
    let mut all = mutex::lock(&run.shared.locks.0);
    let shared = Arc::clone(all.entry(name.to_owned()).or_default());
    drop(all);
    let mut shared = mutex::lock(&shared);
    if let Some(held) = shared.upgrade() {
        return Ok(held);
    }
    let path = lock_path(&run.ctx.root, name);
    let own = Arc::new(lock(&path, |holder| run.step(&format!("wait for {holder}")))?);
    *shared = Arc::downgrade(&own);
    Ok(own)
}

/// Returns the duration.
fn install_packages(run: &ProjectRun<'_>, installation: &Installation) -> Result<Duration> {
    let mut duration = Duration::ZERO;
    let commands = run.shared.paths.install(&run.project.build_plan.toolchain, installation);
    let npm = npm_install(run, installation, &commands);
    let may_keep = !run.plan.options.force;
    if may_keep && npm.as_ref().is_some_and(NpmInstall::is_current) {
        return Ok(duration);
    }
    for command in &commands {
        let finished = run.execute_install(command)?;
        let hint = failure::hint(installation, &run.shared.paths.variables, &finished.tail);
        let finished = finished.success().map_err(|failure| failure.hint_if_failed(&hint))?;
        duration += finished.took;
    }
    npm.iter().for_each(NpmInstall::remember);
    Ok(duration)
}

/// Describes an install of npm whose packages may be there already.
fn npm_install(
    run: &ProjectRun<'_>,
    installation: &Installation,
    commands: &[ProcessCommand],
) -> Option<NpmInstall> {
    if installation.manager != PackageManager::Npm {
        return None;
    }
    let (root, paths) = (&run.ctx.root, &run.shared.paths);
    let node = run.project.build_plan.toolchain.node.as_ref().map(|node| paths.program(node));
    let node = node.and_then(|node| std::fs::metadata(node).ok());
    let node = node.map(|node| (node.len(), node.modified().ok()));
    let facts = BTreeMap::from([
        ("commands", format!("{commands:?}")),
        ("node", format!("{node:?} {:?}", run.project.build_plan.toolchain.fact())),
        ("variables", format!("{:?}", digests(&paths.variables.install))),
    ]);
    NpmInstall::new(&root.join(&installation.dir), installation.lock, facts)
}
