//! Finds Bun in the pinned version: the one on PATH if it fits, else our own locked install.

use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};

use crate::tools::program::{INSTALL_DEADLINE, Location, reported_version, which};
use base::cmd;
use base::command::ProcessCommand;
use base::{probe, version_cache};
use workspace::installation::bun_package;
use workspace::toolchain::{Toolchain, tools_folder};

/// The Bun on PATH and its version.
pub type OnPath = (Utf8PathBuf, Option<String>);

/// Finds Bun on PATH. `deadline` limits the query of its version.
#[must_use]
pub fn on_path(deadline: Duration) -> Option<OnPath> {
    let path = which("bun")?;
    let version = reported_version(&path, deadline);
    Some((path, version))
}

/// Finds Bun `version`. Queries the version of a program once. `XTASK_TOOLS` sets the folder of our own
/// installs, so that several checkouts can share it. The default is `.xtask/tools`.
#[must_use]
pub fn find(root: &Utf8Path, version: &str) -> Location {
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
) -> Location {
    if let Some((path, reported)) = on_path
        && reported.as_deref() == Some(version)
    {
        return Location::OnPath(path);
    }
    let program = folder(root, version).join(installed_program());
    if ask(&program).as_deref() == Some(version) {
        Location::Installed(program)
    } else {
        Location::Missing(program)
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
    format!("node_modules/{}/bin/bun", bun_package())
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
