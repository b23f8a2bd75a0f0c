//! `test`: every check that CI runs.

use std::collections::BTreeSet;
use std::sync::Mutex;

use base::mutex;
use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;
use workspace::toolchain::Toolchain;

use base::cmd;
use base::command::ProcessCommand;
use base::error::{Exit, Result, failed, nearest, usage};
use base::probe;
use base::terminal::{BOLD, paint};
use cloudflare::wrangler;
use delivery::Ctx;
use deployment::engine::setup::{self, Setup};
use deployment::plan::commands::CommandPaths;
use deployment::tools::{cargo, engine_address};
use workspace::config::Config;
use workspace::node_version::node_of_wrangler;

/// Set up and run every test.
#[derive(Debug, Args)]
pub struct TestCommand {
    /// The checks to run [default: all]; `--list` prints their names
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Print the names of the checks, and run none
    #[arg(long)]
    list: bool,
}

/// One check: the commands that make it, and how far it goes.
struct TestCheck {
    name: String,
    commands: Vec<ProcessCommand>,
    /// The commands that run at the same time as the last of `commands`. The output of each comes in one piece.
    beside: Vec<ProcessCommand>,
    note: Option<String>,
}

impl TestCheck {
    fn new(name: &str, commands: Vec<ProcessCommand>) -> Self {
        Self { name: name.to_owned(), commands, beside: Vec::new(), note: None }
    }

    /// Returns the check with the linter as the compiler, so that cargo reuses what [`LINT`] compiled.
    fn with_linter(mut self) -> Self {
        self.commands = self.commands.into_iter().map(with_linter).collect();
        self.beside = self.beside.into_iter().map(with_linter).collect();
        self
    }
}

/// Compiles the crates of this workspace with `clippy-driver`, which is the compiler with more warnings.
///
/// `cargo clippy` does the same without code generation, and a later `cargo test` would compile every
/// dependency and every crate again.
fn with_linter(command: ProcessCommand) -> ProcessCommand {
    command
        .text("RUSTC_WORKSPACE_WRAPPER", "clippy-driver")
        // The form in which `cargo clippy -- -D warnings` gives it its arguments.
        .text("CLIPPY_ARGS", "-D__CLIPPY_HACKERY__warnings__CLIPPY_HACKERY__")
}

impl TestCommand {
    /// Runs the command. A check that fails does not stop the others.
    pub fn run(self, ctx: &Ctx) -> Result<Exit> {
        let packages = testable(ctx)?;
        let known: Vec<&str> =
            CHECKS.into_iter().chain(packages.iter().map(|(name, _)| name.as_str())).collect();
        if self.list {
            ctx.ui.out(&known.join("\n"));
            return Ok(Exit::Done);
        }
        reject_unknown("check", &self.names, &known)?;
        let paths = set_up(ctx)?;
        let is_selected =
            |check: &TestCheck| self.names.is_empty() || self.names.contains(&check.name);
        let mut failures = Vec::new();
        let mut is_linted = false;
        for mut check in checks(ctx, &paths, &packages).into_iter().filter(is_selected) {
            ctx.ui.note(&paint(BOLD, &format!("── {}", check.name)));
            if is_linted && [RUST, DEPENDENCIES].contains(&check.name.as_str()) {
                check = check.with_linter();
            }
            let ended = run(ctx, &check);
            is_linted |= check.name == LINT && ended.is_ok();
            if let Err(error) = ended {
                ctx.ui.error_beside_report(&error);
                failures.push(check.name);
            }
        }
        if let Some(first) = failures.first() {
            return Err(failed(format!("failed: {}", failures.join(", ")))
                .hint(format!("`cargo xtask test {first}` runs that check alone")));
        }
        ctx.ui.note("every check passed");
        Ok(Exit::Done)
    }
}

/// The checks of the repository itself, in the order in which they run.
const CHECKS: [&str; 5] = ["format", LINT, RUST, DEPENDENCIES, "modules"];

const LINT: &str = "lint";

const RUST: &str = "rust";

const DEPENDENCIES: &str = "dependencies";

/// Errors if a name is none of the `known` ones. `kind` is what they name.
pub fn reject_unknown(kind: &str, names: &[String], known: &[&str]) -> Result<()> {
    let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) else {
        return Ok(());
    };
    let mut failure = usage(format!("no {kind} is called `{unknown}`"));
    if let Some(name) = nearest(unknown, known.iter().copied()) {
        failure = failure.hint(format!("did you mean `{name}`?"));
    }
    Err(failure.hint(format!("the {kind}s are: {}", known.join(", "))))
}

/// Sets up, and runs one test of xtask with its own variable.
pub fn one_test(ctx: &Ctx, name: &str, (variable, value): (&'static str, &str)) -> Result<Exit> {
    let paths = set_up(ctx)?;
    let test = ["test", "--locked", "--package", "xtask", "--test", "it", "--", "--exact", name];
    let test = with_tools(&paths, cargo::command(&ctx.root, &test)).text(variable, value);
    let build = cargo::command(&ctx.root, &["build", "--locked", "--workspace"]);
    run(ctx, &TestCheck::new("test", vec![build, test]))?;
    Ok(Exit::Done)
}

/// Installs Bun, wrangler, and Node if PATH has none that wrangler accepts. Returns their paths.
pub fn set_up(ctx: &Ctx) -> Result<CommandPaths> {
    let config = Config::load(&ctx.root)?;
    let mut setup = Setup::new(ctx, &config)?;
    let paths = setup.tools_for(&BTreeSet::from([node_of_wrangler()]))?;
    setup.finish("Bun, Node and wrangler are in place");
    // The tests run wrangler often, also in CI. Each of their sandboxes adds a file.
    let compile_cache = wrangler::compile_cache(&ctx.root);
    let _absent = std::fs::remove_dir_all(&compile_cache);
    std::fs::create_dir_all(&compile_cache)?;
    Ok(paths)
}

fn run(ctx: &Ctx, check: &TestCheck) -> Result<()> {
    // A terminal shows below the output that a long compilation is active. Cargo prints nothing during it.
    let task = ctx.ui.is_on_terminal().then(|| ctx.ui.task(&check.name));
    let run = |command: &ProcessCommand| -> Result<()> {
        if let Some(task) = &task {
            task.step(&command.brief());
        }
        ctx.run("test", command, &|line| ctx.ui.out(line))?.success()?;
        Ok(())
    };
    if let Some((last, first)) = check.commands.split_last() {
        first.iter().try_for_each(run)?;
        std::thread::scope(|scope| {
            let beside = check.beside.iter();
            let threads: Vec<_> =
                beside.map(|command| scope.spawn(|| run_beside(ctx, command))).collect();
            let result = run(last);
            threads.into_iter().fold(result, |result, thread| match thread.join() {
                Ok(beside) => result.and(beside),
                Err(panic) => std::panic::resume_unwind(panic),
            })
        })?;
    }
    if let Some(note) = &check.note {
        ctx.ui.note(note);
    }
    Ok(())
}

/// Runs a command beside another one: its output is held back until it has ended.
fn run_beside(ctx: &Ctx, command: &ProcessCommand) -> Result<()> {
    let output = Mutex::new(String::new());
    let keep = |line: &str| {
        let mut output = mutex::lock(&output);
        output.push_str(line);
        output.push('\n');
    };
    let ended = ctx.run("test.beside", command, &keep);
    ctx.ui.out(mutex::into_inner(output).trim_end());
    ended?.success()?;
    Ok(())
}

fn checks(ctx: &Ctx, paths: &CommandPaths, packages: &[(String, Utf8PathBuf)]) -> Vec<TestCheck> {
    let root = &ctx.root;
    let check = TestCheck::new;
    let one = |name, arguments: &[&str]| check(name, vec![cargo::command(root, arguments)]);
    // All targets: those that are no tests are compiled for the tests of their package.
    let compile = ["test", "--locked", "--workspace", "--no-run"];
    let tests = |targets: &[&str]| {
        let test = [&["test", "--locked", "--workspace", "--no-fail-fast"], targets].concat();
        with_threads(with_tools(paths, cargo::command(root, &test)))
    };
    let modules = root.join("dagger/test");
    let mut checks = vec![
        one("format", &["fmt", "--all", "--check"]),
        one(LINT, &compile).with_linter(),
        TestCheck {
            beside: vec![tests(&WAITING_TESTS)],
            ..check(
                RUST,
                vec![
                    // The stand-in for Dagger reads the modules' signatures with what is installed here.
                    setup::install(paths, &modules),
                    // Everything is compiled before several commands want to.
                    cargo::command(root, &compile),
                    tests(&OTHER_TESTS),
                ],
            )
        },
        // The whole workspace, as above: the package alone has other features.
        dependencies(root, &["test", "--locked", "--workspace", "--test", "deny"]),
        check("modules", package(paths, &modules, &["check", "test"])),
    ];
    let projects = packages.iter();
    checks.extend(
        projects.map(|(name, dir)| check(name, package(paths, &root.join(dir), &["test"]))),
    );
    checks
}

/// The tests that wait for servers most of their time. They run beside the others.
///
/// Both commands name the whole workspace: a package alone has other features, so that cargo would
/// compile its dependencies again.
const WAITING_TESTS: [&str; 4] = ["--test", "conformance", "--test", "server"];

/// All the others.
const OTHER_TESTS: [&str; 13] = [
    "--lib",
    "--bins",
    "--benches",
    "--test",
    "deny",
    "--test",
    "doctor",
    "--test",
    "faults",
    "--test",
    "gitlab",
    "--test",
    "it",
];

/// `deny.toml`: our own test of it, and cargo-deny itself where it is installed.
fn dependencies(root: &Utf8Path, own: &[&str]) -> TestCheck {
    let mut commands = vec![cargo::command(root, own)];
    let found = probe::capture_stdout(&cmd!(root, "cargo-deny --version", probe::QUICK));
    let note = if let Some(version) = found {
        commands.push(cargo::command(root, &["deny", "check"]));
        format!("{version} looked as well, at advisories too")
    } else {
        "advisories were not checked: `cargo install --locked cargo-deny` installs what does it"
            .to_owned()
    };
    TestCheck { note: Some(note), ..TestCheck::new(DEPENDENCIES, commands) }
}

/// Returns the name and the folder of each project and package that has tests.
fn testable(ctx: &Ctx) -> Result<Vec<(String, Utf8PathBuf)>> {
    let workspace = workspace::Workspace::load_strict(&ctx.root)?;
    let packages =
        workspace.packages_beside_projects().filter(|package| package.scripts.contains("test"));
    let name = |dir: &Utf8Path| {
        let project = workspace.projects.iter().find(|project| project.dir == dir);
        project.map_or_else(|| dir.to_string(), |project| project.name.clone())
    };
    Ok(packages.map(|package| (name(&package.dir), package.dir.clone())).collect())
}

/// Installs a package's dependencies and runs some of its scripts.
fn package(paths: &CommandPaths, dir: &Utf8Path, scripts: &[&str]) -> Vec<ProcessCommand> {
    let bun = &paths.bun;
    let run = |script: &&str| {
        with_tools(paths, cmd!(dir, "{bun} --bun run {script}", cargo::RUN_DEADLINE))
    };
    std::iter::once(setup::install(paths, dir)).chain(scripts.iter().map(run)).collect()
}

/// Variables that some tests use if they are set: Go and its proxy, a Dagger engine, a factor for the longest wait of all tests.
const OPTIONAL: [&str; 14] = [
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
    "XTASK_TEST_WAIT_FACTOR",
    engine_address::VARIABLE,
];

/// Runs two tests for each core, because tests wait for servers and deadlines half of their time.
fn with_threads(command: ProcessCommand) -> ProcessCommand {
    if base::env::variable(THREADS).is_some() {
        return command;
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    command.text(THREADS, (2 * cores).to_string())
}

/// The number of tests that run at the same time, for the harness of Rust.
const THREADS: &str = "RUST_TEST_THREADS";

/// Sets the variables with the paths of the tools for tests and benchmarks.
pub fn with_tools(paths: &CommandPaths, mut command: ProcessCommand) -> ProcessCommand {
    command.inherit.extend(OPTIONAL);
    command
        .text("XTASK_BUN", paths.bun.as_str())
        .text("XTASK_NODE", paths.program(&node_of_wrangler()).as_str())
        .text("XTASK_TOOLCHAIN", Toolchain::wrangler(&paths.root).dir)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::error::ErrorKind;

    #[test]
    fn every_test_of_the_workspace_is_run_by_one_of_the_two_commands() {
        let root = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace");
        let folders = ["dev/tests", "sandbox/tests", "xtask/tests"].map(|tests| root.join(tests));
        let crates = root.join("crates").read_dir_utf8().expect("crates");
        let crates = crates.map(|entry| entry.expect("a crate").path().join("tests"));
        let mut found: Vec<String> = Vec::new();
        for tests in folders.into_iter().chain(crates).filter(|folder| folder.exists()) {
            for entry in tests.read_dir_utf8().expect("tests").map(|entry| entry.expect("a test")) {
                if entry.path().extension() == Some("rs") || entry.path().join("main.rs").exists() {
                    found.push(entry.path().file_stem().expect("a name").to_owned());
                }
            }
        }
        // `xtask/Cargo.toml` calls the tests in `rows` by what they show.
        let mut found: Vec<_> = found.iter().map(|name| name.replace("rows", "faults")).collect();
        found.sort();
        let named = WAITING_TESTS.iter().chain(&OTHER_TESTS).filter(|name| !name.starts_with("--"));
        let mut named: Vec<String> = named.map(|name| (*name).to_owned()).collect();
        named.sort();
        assert_eq!(found, named);
    }

    #[test]
    fn the_tests_reuse_what_the_linter_compiled() {
        let root = Utf8Path::new("/repository");
        let plain = TestCheck {
            beside: vec![cargo::command(root, &["test"])],
            ..TestCheck::new(RUST, vec![cargo::command(root, &["build"])])
        };
        let wrapper = |command: &ProcessCommand| {
            let wrapper = command.env.iter().find(|(name, _)| name == "RUSTC_WORKSPACE_WRAPPER");
            wrapper.map(|(_, value)| format!("{value:?}"))
        };
        assert!(plain.commands.iter().chain(&plain.beside).all(|one| wrapper(one).is_none()));
        let linted = plain.with_linter();
        let mut wrappers = linted.commands.iter().chain(&linted.beside).map(wrapper);
        assert!(wrappers.all(|name| name.is_some_and(|name| name.contains("clippy-driver"))));
    }

    #[test]
    fn an_unknown_check_is_an_error_with_the_names() {
        let known = ["format", "rust", "rawkode.studio", "modules"];
        let reject = |name: &str| reject_unknown("check", &[name.to_owned()], &known);
        assert!(reject("rawkode.studio").is_ok() && reject_unknown("check", &[], &known).is_ok());
        let text = |name: &str| {
            let failure = reject(name).expect_err(name);
            assert_eq!(failure.kind, ErrorKind::Usage, "{name}");
            format!("{}\n{}\n", failure.message, failure.hints.join("\n"))
        };
        assert_eq!(
            text("website"),
            "no check is called `website`\nthe checks are: format, rust, rawkode.studio, modules\n"
        );
        assert_eq!(
            text("modles"),
            "no check is called `modles`\ndid you mean `modules`?\nthe checks are: format, rust, rawkode.studio, modules\n"
        );
    }
}
