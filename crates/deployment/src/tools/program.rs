//! Programs: their location, their version, and what their installation needs.

use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};

use base::{cmd, probe};

/// The timeout of an install.
pub const INSTALL_DEADLINE: Duration = Duration::from_secs(600);

/// The next step if packages cannot be installed.
pub const REGISTRY: &str = "check the way to the package registry (network, `HTTPS_PROXY`, `npm_config_registry`), or run \
                            `cargo xtask doctor`";

/// The location of a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// On PATH, in a matching version.
    OnPath(Utf8PathBuf),
    /// Installed by us.
    Installed(Utf8PathBuf),
    /// Not installed yet. Its installation writes it here.
    Missing(Utf8PathBuf),
}

impl Location {
    /// Returns the path of the program, installed or not.
    #[must_use]
    pub fn program(&self) -> &Utf8Path {
        match self {
            Location::OnPath(path) | Location::Installed(path) | Location::Missing(path) => path,
        }
    }
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
