//! Finds Bun in the pinned version: the one on PATH if it fits, else our own locked install.

use std::time::Duration;
use workspace::toolchain::{Toolchain, tools_folder};

use camino::{Utf8Path, Utf8PathBuf};

use base::cmd;
use base::command::ProcessCommand;
use base::{probe, version_cache};

/// The timeout of an install.
pub const INSTALL_DEADLINE: Duration = Duration::from_secs(600);

/// The next step if packages cannot be installed.
pub const REGISTRY: &str = "is there a way to the package registry (network, `HTTPS_PROXY`, `npm_config_registry`)? \
                            `cargo xtask doctor`";

/// The location of Bun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bun {
    /// On PATH, in the pinned version.
    OnPath(Utf8PathBuf),
    /// Installed by us.
    Installed(Utf8PathBuf),
    /// Not installed yet. [`install`] installs it here.
    Missing(Utf8PathBuf),
}

impl Bun {
    /// Returns the path of the program, installed or not.
    #[must_use]
    pub fn program(&self) -> &Utf8Path {
        match self {
            Bun::OnPath(path) | Bun::Installed(path) | Bun::Missing(path) => path,
        }
    }
}

/// The Bun on PATH and its version.
pub type OnPath = (Utf8PathBuf, Option<String>);

/// Finds Bun on PATH. `timeout` limits the query of its version.
#[must_use]
pub fn on_path(deadline: Duration) -> Option<OnPath> {
    let path = which("bun")?;
    let version = reported_version(&path, deadline);
    Some((path, version))
}

/// Finds Bun `version`. Queries the version of a program once. `XTASK_TOOLS` sets the folder of our own
/// installs, so that several checkouts can share it. The default is `.xtask/tools`.
#[must_use]
pub fn find(root: &Utf8Path, version: &str) -> Bun {
    let ask = |program: &Utf8Path| {
        version_cache::version(root, program, || reported_version(program, probe::PATIENT))
    };
    let on_path = which("bun").map(|path| {
        let version = ask(&path);
        (path, version)
    });
    choose(root, version, on_path, ask)
}

/// Chooses between the Bun on PATH and our own install, whose version `ask` reads.
#[must_use]
pub fn choose(
    root: &Utf8Path,
    version: &str,
    on_path: Option<OnPath>,
    ask: impl FnOnce(&Utf8Path) -> Option<String>,
) -> Bun {
    if let Some((path, reported)) = on_path
        && reported.as_deref() == Some(version)
    {
        return Bun::OnPath(path);
    }
    let program = folder(root, version).join(installed_program());
    if ask(&program).as_deref() == Some(version) {
        Bun::Installed(program)
    } else {
        Bun::Missing(program)
    }
}

/// Returns the folder of our own install.
#[must_use]
pub fn folder(root: &Utf8Path, version: &str) -> Utf8PathBuf {
    tools_folder(root).join(format!("bun-{version}"))
}

/// Returns npm's path of the program. It is in the package of this platform, so no install script
/// has to run.
fn installed_program() -> String {
    let os = if cfg!(target_os = "macos") { "darwin" } else { std::env::consts::OS };
    let arch = if cfg!(target_arch = "x86_64") { "x64" } else { std::env::consts::ARCH };
    let libc = if cfg!(target_env = "musl") { "-musl" } else { "" };
    format!("node_modules/@oven/bun-{os}-{arch}{libc}/bin/bun")
}

/// Returns the commands that install Bun from npm with a frozen lock file.
#[must_use]
pub fn install(root: &Utf8Path, version: &str) -> Vec<ProcessCommand> {
    let folder = folder(root, version);
    let toolchain = Toolchain::bun(root);
    // An unreachable registry must not delay an install from the cache.
    let install = cmd!(
        &folder,
        "npm ci --no-workspaces --prefer-offline --ignore-scripts --no-audit --no-fund",
        INSTALL_DEADLINE
    );
    let mut commands = vec![cmd!(root, "mkdir -p {folder}", INSTALL_DEADLINE)];
    if toolchain.is_carried() {
        commands.extend(write_pins(root, &toolchain.at(folder.clone())));
    } else {
        let pins = &toolchain.dir;
        commands.push(cmd!(
            root,
            "cp {pins}/package.json {pins}/package-lock.json {folder}",
            INSTALL_DEADLINE
        ));
    }
    commands.push(install);
    commands
}

/// Returns the commands that write the pins that are compiled into this program. Empty for those of the repository.
#[must_use]
pub fn write_pins(root: &Utf8Path, toolchain: &Toolchain) -> Vec<ProcessCommand> {
    let unwritten = toolchain.unwritten();
    if unwritten.is_empty() {
        return Vec::new();
    }
    let folder = &toolchain.dir;
    let mut commands = vec![cmd!(root, "mkdir -p {folder}", INSTALL_DEADLINE)];
    for (path, text) in unwritten {
        commands.push(cmd!(root, "tee {path}", INSTALL_DEADLINE).stdin(text));
    }
    commands
}

/// Returns the output of `program --version`. `None` if it cannot be run.
#[must_use]
pub fn reported_version(program: &Utf8Path, deadline: Duration) -> Option<String> {
    probe::capture_stdout(&cmd!(".", "{program} --version", deadline))
}

/// Returns the first program called `name` on PATH.
#[must_use]
pub fn which(name: &str) -> Option<Utf8PathBuf> {
    let path = base::env::raw_variable("PATH")?;
    path.split(':')
        .filter(|dir| !dir.is_empty())
        .map(|dir| Utf8Path::new(dir).join(name))
        .find(|p| p.is_file())
}
