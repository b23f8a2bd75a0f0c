//! `test`: everything that CI checks.

use anyhow::Result;
use camino::Utf8Path;
use clap::Args;
use workspace::modules;

use crate::context::Ctx;
use crate::engine::setup::{self, Setup};
use crate::plan::commands::Places;
use crate::tools::{cargo, engine_address};
use base::command::Command;
use base::error::{Exit, failed};
use base::probe;
use base::terminal::{BOLD, paint};
use workspace::config::Config;

/// Set up and run every test.
#[derive(Debug, Args)]
pub struct Test {
    /// Only the checks whose name contains one of these words
    #[arg(value_name = "NAME")]
    only: Vec<String>,
}

/// One check: a name, the commands that make it, and what to know of how far it goes.
struct Check {
    name: &'static str,
    commands: Vec<Command>,
    note: Option<String>,
}

impl Test {
    /// Runs the command. A check that fails does not stop the others.
    pub fn run(self, ctx: &Ctx) -> Result<Exit> {
        let places = set_up(ctx)?;
        let checks = checks(ctx, &places)?;
        let asked = |check: &Check| {
            self.only.is_empty() || self.only.iter().any(|word| check.name.contains(word.as_str()))
        };
        let mut failures = Vec::new();
        for check in checks.iter().filter(|check| asked(check)) {
            ctx.ui.note(&paint(BOLD, &format!("── {}", check.name)));
            if let Err(error) = run(ctx, check) {
                ctx.ui.error(&error);
                failures.push(check.name);
            }
        }
        if failures.is_empty() {
            ctx.ui.note("every check passed");
            return Ok(Exit::Done);
        }
        Err(failed(format!("failed: {}", failures.join(", ")))
            .hint(format!("`cargo xtask test {}` runs that alone", failures[0]))
            .into())
    }
}

/// Sets up, and runs one test of xtask with a variable of its own.
pub fn one_test(ctx: &Ctx, name: &str, (variable, value): (&'static str, &str)) -> Result<Exit> {
    let places = set_up(ctx)?;
    let features = ["--features", "xtask/generate"];
    let build = ["build", "--locked", "--workspace"];
    let test = ["test", "--locked", "--package", "xtask", "--test", "it"];
    let test = [&test[..], &features[..], &["--", "--exact", name]].concat();
    let test = with_tools(&places, cargo::command(&ctx.root, &test)).text(variable, value);
    let commands = vec![cargo::command(&ctx.root, &[&build[..], &features[..]].concat()), test];
    run(ctx, &Check { name: "test", commands, note: None })?;
    Ok(Exit::Done)
}

/// Bun and wrangler in place.
pub(super) fn set_up(ctx: &Ctx) -> Result<Places> {
    let config = Config::load(&ctx.root)?;
    let setup = Setup::new(ctx, &config)?;
    let (places, _) = setup.tools()?;
    setup.done("Bun and wrangler are in place");
    Ok(places)
}

fn run(ctx: &Ctx, check: &Check) -> Result<()> {
    for command in &check.commands {
        ctx.run("test", command, &|line| ctx.ui.out(line))?.success()?;
    }
    if let Some(note) = &check.note {
        ctx.ui.note(note);
    }
    Ok(())
}

fn checks(ctx: &Ctx, places: &Places) -> Result<Vec<Check>> {
    let root = &ctx.root;
    let check = |name, commands| Check { name, commands, note: None };
    let one = |name, arguments: &[&str]| check(name, vec![cargo::command(root, arguments)]);
    let features = ["--features", "xtask/generate"];
    let lint = ["clippy", "--locked", "--workspace", "--all-targets"];
    let build = ["build", "--locked", "--workspace"];
    let test = ["test", "--locked", "--workspace"];
    let modules = root.join("dagger/test");
    let mut checks = vec![
        one("format", &["fmt", "--all", "--check"]),
        one("lint", &[&lint[..], &features[..], &["--", "-D", "warnings"]].concat()),
        check(
            "rust",
            vec![
                // The stand-in for Dagger reads the modules' signatures with what is installed here.
                setup::install(places, &modules),
                cargo::command(root, &[&build[..], &features[..]].concat()),
                with_tools(places, cargo::command(root, &[&test[..], &features[..]].concat())),
            ],
        ),
        dependencies(root, &[&test[..], &features[..], &["--test", "deny"]].concat()),
        check("modules", package(places, &modules, &["check", "test"])),
    ];
    for manifest in testable(ctx)? {
        checks.push(check("projects", package(places, &root.join(manifest), &["test"])));
    }
    Ok(checks)
}

/// `deny.toml`: our own test of it, and cargo-deny itself where it is installed.
fn dependencies(root: &Utf8Path, own: &[&str]) -> Check {
    let mut commands = vec![cargo::command(root, own)];
    let found =
        probe::capture_stdout(root, Utf8Path::new("cargo-deny"), &["--version"], probe::QUICK);
    let note = if let Some(version) = found {
        commands.push(cargo::command(root, &["deny", "check"]));
        format!("{version} looked as well, at advisories too")
    } else {
        "advisories were not checked: `cargo install --locked cargo-deny` installs what does it"
            .to_owned()
    };
    Check { name: "dependencies", commands, note: Some(note) }
}

/// The folders of packages that have tests of their own.
fn testable(ctx: &Ctx) -> Result<Vec<camino::Utf8PathBuf>> {
    let workspace = workspace::Workspace::load(&ctx.root)?;
    let packages = workspace.packages_beside_projects().filter(|package| package.tests);
    Ok(packages.map(|package| package.dir.clone()).collect())
}

/// Installs a package's dependencies and runs some of its scripts.
fn package(places: &Places, dir: &Utf8Path, scripts: &[&str]) -> Vec<Command> {
    let run = |script: &&str| {
        let argv = [places.bun.as_str(), "--bun", "run", script];
        with_tools(places, Command::new(dir, &argv, cargo::DEADLINE))
    };
    std::iter::once(setup::install(places, dir)).chain(scripts.iter().map(run)).collect()
}

/// What some tests use where it is there: Go and its proxy, a Dagger engine.
const OPTIONAL: [&str; 13] = [
    "DOCKER_CERT_PATH",
    "DOCKER_HOST",
    "DOCKER_TLS_VERIFY",
    "GOCACHE",
    "GOFLAGS",
    "GOMODCACHE",
    "GOPATH",
    "GOPROXY",
    "GOSUMDB",
    "KUBECONFIG",
    "KUBERNETES_SERVICE_HOST",
    "KUBERNETES_SERVICE_PORT",
    engine_address::VARIABLE,
];

/// Tells tests and benchmarks where the tools are.
pub(super) fn with_tools(places: &Places, mut command: Command) -> Command {
    command.inherit.extend(OPTIONAL);
    command
        .text("XTASK_BUN", places.bun.as_str())
        .text("XTASK_TOOLCHAIN", places.root.join(modules::WRANGLER_TOOLCHAIN))
}
