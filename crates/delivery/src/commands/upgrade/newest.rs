//! Reads the newest version of a tool from the configured npm registry.

use std::time::Duration;

use camino::Utf8Path;

use super::PinnedTool;
use base::cmd;
use base::error::{Result, failed};
use base::probe;
use deployment::tools::bun;
use deployment::tools::program::{Location, which};
use workspace::toolchain::is_exact;

/// The timeout of a request to the registry.
const REGISTRY_TIMEOUT: Duration = Duration::from_secs(60);

/// Returns the npm package whose versions are those of a tool. The SDK of Dagger is released with each engine, under
/// the same number.
fn package(tool: PinnedTool) -> &'static str {
    match tool {
        PinnedTool::Wrangler => "wrangler",
        PinnedTool::Bun => "bun",
        PinnedTool::Dagger => "@dagger.io/dagger",
    }
}

/// Reads the newest version of `tool` with npm, else with Bun.
pub fn newest(root: &Utf8Path, bun_version: &str, tool: PinnedTool) -> Result<String> {
    let package = package(tool);
    let npm = which("npm").map(|npm| cmd!(root, "{npm} view {package} version", REGISTRY_TIMEOUT));
    let bun = || match bun::find(root, bun_version) {
        Location::OnPath(bun) | Location::Installed(bun) => {
            Some(cmd!(root, "{bun} pm view {package} version", REGISTRY_TIMEOUT))
        }
        Location::Missing(_) => None,
    };
    let Some(command) = npm.or_else(bun) else {
        return Err(failed("neither npm nor Bun is there to ask for the newest version")
            .hint("install npm, or name the version"));
    };
    let latest = probe::capture_stdout(&command);
    latest.filter(|version| is_exact(version)).ok_or_else(|| {
        let line = command.brief();
        let name = line.split(' ').next().unwrap_or_default();
        failed(format!("{name} does not tell the newest version of {package}; nothing was changed"))
            .hint(format!("run `{line}` for the reason, or name the version"))
    })
}
