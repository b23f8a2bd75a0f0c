//! Checks the Dagger engine. Deployments do not need it, so the worst result is a warning. Without a
//! CLI, the checks are skipped.

use camino::Utf8Path;

use super::modules;
use crate::doctor::context::Context;
use crate::doctor::finding::Finding;
use base::env::variable;
use deployment::tools::dagger::{self, SUPPORTED};
use deployment::tools::engine_address::{self, Address, VARIABLE};
use deployment::tools::program::which;
use workspace::config::CONFIG_FILE;

/// The message if there is no CLI.
const NO_CLI: &str = "no `dagger` on PATH; only the Dagger engine needs it";

/// `dagger`
pub fn cli(context: &Context) -> Finding {
    let Some(path) = which("dagger") else {
        return Finding::skip(NO_CLI);
    };
    let pin = context.config().ok().map(|config| config.tools.dagger.clone());
    let range = format!(">= {}, < {}", SUPPORTED.start, SUPPORTED.end);
    let version = pin.clone().unwrap_or_else(|| range.clone());
    let get = format!("install Dagger {version}: https://docs.dagger.io/install");
    let finding = match dagger::reported_version(&context.root) {
        None => {
            Finding::warn("it does not say its version; a local build has none").manual_fix(get)
        }
        Some(found) if !dagger::is_supported(&found) => {
            Finding::warn(format!("the scripts and modules work with {range}"))
                .with_value(found)
                .manual_fix(get)
        }
        Some(found) if pin.as_ref().is_some_and(|pin| *pin != found) => {
            Finding::ok().with_value(found).detail("not the pinned version, but it fits")
        }
        Some(found) => Finding::ok().with_value(found),
    };
    finding.with_expected(version).source(path.as_str())
}

/// `dagger.engine`
pub fn engine(context: &Context) -> Finding {
    if which("dagger").is_none() {
        return Finding::skip(NO_CLI);
    }
    let finding = match engine_address::current() {
        Address::Unknown(scheme) => {
            return Finding::warn("the CLI knows no such engine address")
                .with_value(scheme)
                .source(VARIABLE)
                .manual_fix("use unix://PATH, tcp://HOST:PORT, kube-pod://NAME or container://NAME");
        }
        Address::Socket(path) if !Utf8Path::new(&path).exists() => {
            return Finding::warn(format!("there is no socket {path}"))
                .source(VARIABLE)
                .manual_fix("start the engine, or unset the variable");
        }
        // The first contact would pull the engine's image.
        Address::Container(_) if context.offline => return Finding::skip("offline"),
        Address::Open(_) | Address::Pod(_) | Address::Secure(_) if context.offline => {
            return exposed_engine().unwrap_or_else(|| Finding::skip("offline"));
        }
        _ => match dagger::engine_version(&context.root) {
            Some(version) => match dagger::version(&context.root).filter(|cli| *cli != version) {
                Some(cli) => {
                    Finding::warn(format!("the CLI is {cli}; versions that differ may not work"))
                        .with_value(version)
                        .manual_fix("give CLI and engine the same version")
                }
                None => Finding::ok().with_value(version),
            },
            None => Finding::warn(
                "none answers within seconds; `--engine auto` then takes this machine's tools",
            )
            .manual_fix(match engine_address::current() {
                Address::Container(_) => {
                    "start the container runtime; a first start may still be pulling the engine's image: `dagger -M -c version` shows it"
                }
                Address::Pod(_) => {
                    "see whether `kubectl exec` reaches the pod, and which context it uses"
                }
                _ => "see whether the engine runs, and whether its version is the CLI's",
            }),
        },
    };
    let source = if variable(VARIABLE).is_some() { VARIABLE } else { "the default, a container" };
    let found: Vec<Finding> = match exposed_engine() {
        // The report still shows the version of the CLI.
        Some(exposed) if !finding.is_problem() => {
            vec![exposed.with_value(finding.found.clone().unwrap_or_default())]
        }
        exposed => std::iter::once(finding).chain(exposed).collect(),
    };
    Finding::all(found, Finding::ok()).source(source)
}

/// Warns of an unencrypted connection to another machine.
fn exposed_engine() -> Option<Finding> {
    engine_address::current().is_exposed().then(|| {
        Finding::warn("tcp:// neither encrypts nor asks who is there: whoever reaches the port is root on that machine and reads the tokens that pass")
            .source(VARIABLE)
            .manual_fix("keep the port in a private network, or use kube-pod://, unix:// or ssh://")
    })
}

/// `dagger.runtime`
pub fn runtime(context: &Context) -> Finding {
    if which("dagger").is_none() {
        return Finding::skip(NO_CLI);
    }
    let Address::Container(programs) = engine_address::current() else {
        return Finding::skip(format!("{VARIABLE} names an engine that needs none here"));
    };
    let Some(path) = programs.iter().find_map(|name| which(name)) else {
        return Finding::warn("no container runtime is on PATH to start an engine with")
            .with_expected(programs.join(", "))
            .manual_fix(format!("install Docker or Podman, or name an engine in {VARIABLE}"));
    };
    let finding = match path.file_name() {
        Some(name @ ("docker" | "podman" | "nerdctl")) => {
            match dagger::daemon_version(&context.root, &path) {
                Some(version) => Finding::ok().with_value(format!("{name} {version}")),
                None => Finding::warn(format!("`{name}` is there, but its daemon does not answer"))
                    .manual_fix("start it; in a GitLab job, DOCKER_HOST and DOCKER_TLS_CERTDIR must fit the service"),
            }
        }
        name => Finding::ok().with_value(name.unwrap_or_default()),
    };
    finding.source(path.as_str())
}

/// `dagger.modules`
pub fn modules(context: &Context) -> Finding {
    if which("dagger").is_none() {
        return Finding::skip(NO_CLI);
    }
    // Only the check `dagger` reports an unsupported version.
    let cli = dagger::version(&context.root).filter(|version| dagger::is_supported(version));
    let found = modules::read(context);
    let wrong = modules::problems(&context.root, &found, cli.as_deref());
    Finding::all(wrong, Finding::ok().with_value(found.len().to_string()))
}

/// `dagger.env`
pub fn env_files(context: &Context) -> Finding {
    if which("dagger").is_none() {
        return Finding::skip(NO_CLI);
    }
    let found = modules::env_files(&context.root, &modules::read(context));
    Finding::all(found, Finding::ok().detail("none sets arguments of a module"))
}

/// `dagger.images`
pub fn images(context: &Context) -> Finding {
    if which("dagger").is_none() {
        return Finding::skip(NO_CLI);
    }
    let Ok(config) = context.config() else {
        return Finding::skip("see `config`");
    };
    let engine = match engine_address::current() {
        Address::Container(_) => {
            format!("\nby the CLI: registry.dagger.io/engine:v{}", config.tools.dagger)
        }
        _ => String::new(),
    };
    Finding::ok()
        .detail(format!(
            "by the modules: {}\nby the engine, to load TypeScript modules: golang and oven/bun, from Docker Hub or its mirror{engine}",
            config.images.bun
        ))
        .source(CONFIG_FILE)
}
