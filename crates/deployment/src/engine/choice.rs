//! Chooses the engine that executes a plan, with the reason.

use camino::Utf8Path;
use clap::ValueEnum;

use crate::plan::{Engine, EngineChoice};
use crate::tools::program::which;
use crate::tools::{dagger, engine_address};
use base::error::{Result, refused};

/// The requested engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum RequestedEngine {
    /// Dagger if an engine responds, else this machine
    #[default]
    Auto,
    /// Containers, by the `dagger` CLI
    Dagger,
    /// Pinned tools on this machine
    Host,
}

/// Chooses the engine. `pin` is the version of Dagger in the shared config file.
pub fn choose(
    root: &Utf8Path,
    wanted: RequestedEngine,
    pin: &str,
    dry_run: bool,
) -> Result<EngineChoice> {
    match wanted {
        RequestedEngine::Host => Ok(host("asked for")),
        RequestedEngine::Auto => Ok(auto(root)),
        // A dry run also prints the script on machines without the CLI.
        RequestedEngine::Dagger if dry_run => {
            Ok(with(Engine::Dagger, "asked for", dagger::version(root)))
        }
        RequestedEngine::Dagger => require_dagger(root, pin),
    }
}

fn auto(root: &Utf8Path) -> EngineChoice {
    if which("dagger").is_none() {
        return host("no `dagger` on PATH");
    }
    match dagger::version(root) {
        None => host("`dagger version` does not answer"),
        Some(version) if !dagger::is_supported(&version) => {
            host(&format!("`dagger` {version} is outside of what is supported"))
        }
        Some(_) if dagger::engine_version(root).is_none() => host("no Dagger engine answers"),
        version => with(Engine::Dagger, "a Dagger engine answers", version),
    }
}

fn require_dagger(root: &Utf8Path, pin: &str) -> Result<EngineChoice> {
    if which("dagger").is_none() {
        return Err(refused("there is no `dagger` on PATH")
            .hint(format!("install the Dagger CLI {pin}: https://docs.dagger.io/install"))
            .hint("pass `--engine host` to use the tools of this machine"));
    }
    let version = dagger::version(root).ok_or_else(|| {
        refused("`dagger version` does not answer").hint("run `cargo xtask doctor dagger`")
    })?;
    if !dagger::is_supported(&version) {
        return Err(refused(format!(
            "`dagger` is {version}; the scripts work with >={}, <{}",
            dagger::SUPPORTED.start,
            dagger::SUPPORTED.end
        ))
        .hint(format!("install {pin}, the version that dagger/config/config.json names")));
    }
    if engine_address::current().refuses() {
        return Err(refused(format!("no Dagger engine answers at {}", engine_address::as_text()))
            .hint(format!("start it, or name another one in {}", engine_address::VARIABLE))
            .hint("pass `--engine host` to use the tools of this machine"));
    }
    Ok(with(Engine::Dagger, "asked for", Some(version)))
}

fn host(reason: &str) -> EngineChoice {
    with(Engine::Host, reason, None)
}

fn with(engine: Engine, reason: &str, dagger: Option<String>) -> EngineChoice {
    EngineChoice { engine, reason: reason.to_owned(), dagger }
}
