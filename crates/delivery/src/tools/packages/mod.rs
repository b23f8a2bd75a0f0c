//! Package managers and runtimes.
//!
//! [`detect`] determines the manager of a folder and its version from the lock file and
//! `packageManager`. [`Tool`] is one program in one version. [`registry`] finds it on PATH or installs
//! it from the npm registry. [`failure`] finds the reason of a failed install and the next step.
//! [`waiting`] reports an unreachable registry.

pub mod detect;
pub mod failure;
pub mod registry;
pub mod waiting;

use camino::Utf8PathBuf;
use serde::Serialize;
use workspace::steps::Runtime;

/// A package manager with its own commands. [`PackageManager`](workspace::package_manager::PackageManager) is the same without
/// Yarn's generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Manager {
    /// npm.
    Npm,
    /// pnpm.
    Pnpm,
    /// Yarn 1.
    YarnClassic,
    /// Yarn 2 and later.
    YarnBerry,
    /// Bun.
    Bun,
}

impl Manager {
    /// Returns the program's name.
    #[must_use]
    pub fn program(self) -> &'static str {
        match self {
            Manager::Npm => "npm",
            Manager::Pnpm => "pnpm",
            Manager::YarnClassic | Manager::YarnBerry => "yarn",
            Manager::Bun => "bun",
        }
    }

    /// Returns the arguments of an install that changes no lock file.
    #[must_use]
    pub fn frozen_install(self) -> &'static [&'static str] {
        match self {
            Manager::Npm => &["ci", "--no-audit", "--no-fund"],
            Manager::Pnpm | Manager::Bun => &["install", "--frozen-lockfile"],
            Manager::YarnClassic => &["install", "--frozen-lockfile", "--non-interactive"],
            Manager::YarnBerry => &["install", "--immutable"],
        }
    }

    /// Returns the arguments of an install that changes no lock file and keeps what fits. Another server may use it.
    /// `npm ci` would delete all of it first.
    #[must_use]
    pub fn install_in_place(self) -> &'static [&'static str] {
        match self {
            Manager::Npm => &["install", "--no-save", "--no-audit", "--no-fund"],
            _ => self.frozen_install(),
        }
    }

    /// Returns the command that updates the lock file.
    #[must_use]
    pub fn update_lock(self) -> String {
        format!("{} install", self.program())
    }

    /// Returns the runtime of a package's scripts if nothing else is set.
    #[must_use]
    pub fn runtime(self) -> Runtime {
        if self == Manager::Bun { Runtime::Bun } else { Runtime::Node }
    }
}

/// A program in one version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tool {
    /// Its name: `node` or the name of a package manager.
    pub name: &'static str,
    /// The npm package that contains it.
    #[serde(skip)]
    pub package: String,
    /// The version that is installed if PATH has no matching one.
    pub version: String,
    /// The range of matching versions. `None` if only `version` matches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accepts: Option<String>,
}

impl Tool {
    /// Returns the name and version: `pnpm 9.1.0`.
    #[must_use]
    pub fn label(&self) -> String {
        format!("{} {}", self.name, self.version)
    }

    /// Returns true if `version` matches.
    #[must_use]
    pub fn fits(&self, version: &str) -> bool {
        match &self.accepts {
            None => version == self.version,
            Some(range) => workspace::range::satisfies(range, Some(version)),
        }
    }
}

/// The installation of one folder's packages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Installation {
    /// The folder of the lock file, relative to the repository's root. Everything that the lock file
    /// covers is installed from here.
    pub dir: Utf8PathBuf,
    /// The manager.
    pub manager: Manager,
    /// The lock file's name.
    pub lock: &'static str,
    /// The manager's program.
    pub tool: Tool,
    /// The `yarnPath` of Yarn's settings, relative to `dir`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<Utf8PathBuf>,
}

impl Installation {
    /// Returns its folder as part of a file's name.
    #[must_use]
    pub fn slug(&self) -> String {
        match self.dir.as_str() {
            "" => "root".to_owned(),
            dir => dir.replace('/', "-"),
        }
    }
}

/// The tools that install and build a project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PackageToolchain {
    /// The install. `None` for a project without dependencies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub installation: Option<Installation>,
    /// The runtime of the scripts.
    pub runtime: Runtime,
    /// Node, if the manager or the scripts need it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<Tool>,
}

impl PackageToolchain {
    /// Returns the programs that it needs.
    pub fn tools(&self) -> impl Iterator<Item = &Tool> {
        let installation = self.installation.as_ref().filter(|install| install.release.is_none());
        installation.map(|install| &install.tool).into_iter().chain(&self.node)
    }

    /// Describes it for the content key. `None` for Bun alone, which is part of every key.
    #[must_use]
    pub fn fact(&self) -> Option<String> {
        let manager = self.installation.as_ref().map(|install| install.tool.label());
        let node = self.node.as_ref().map(|node| (&node.version, &node.accepts));
        node.map(|node| format!("{manager:?} {node:?} {}", self.runtime.name()))
    }
}
