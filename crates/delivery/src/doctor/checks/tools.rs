//! Checks the programs on this machine. If a program prints its version slowly, the version is read from a file.

use camino::Utf8Path;

use crate::doctor::context::Context;
use crate::doctor::finding::Finding;
use base::cmd;
use base::command::ProcessCommand;
use base::probe;
use base::version::Version;
use cloudflare::wrangler;
use deployment::engine::setup;
use deployment::plan::commands::CommandPaths;
use deployment::tools::bun;
use deployment::tools::packages::registry::manifest_version;
use deployment::tools::program::{INSTALL_DEADLINE, Location, which};
use workspace::cargo_config;
use workspace::config::CONFIG_FILE;
use workspace::toolchain::Toolchain;

/// The oldest git with `ls-files --deduplicate` and the options of `rev-parse` that we use. Debian
/// 12 and Ubuntu 22.04 have a newer one.
const GIT: Version = Version([2, 35, 0]);

/// The oldest supported Rust: `rust-version` of `Cargo.toml`.
pub const RUST: &str = env!("CARGO_PKG_RUST_VERSION");

/// Instructions to install npm.
const GET_NPM: &str =
    "install Node.js with npm: `apt-get install npm`, `brew install node`, or https://nodejs.org";

/// `git`
pub fn git(context: &Context) -> Finding {
    let get = "install git: `apt-get install git`, `brew install git`, or https://git-scm.com";
    let Some(path) = which("git") else {
        return Finding::fail("not on PATH").with_expected(format!(">= {GIT}")).manual_fix(get);
    };
    at_least(context, &path, &["--version"], GIT, get)
}

/// `cargo`
pub fn cargo(context: &Context) -> Finding {
    let minimum = Version::find(RUST).unwrap_or(Version([0; 3]));
    let get = match cargo_config::pinned_toolchain(&context.root) {
        Some((file, channel)) => format!(
            "install what {file} pins, `{channel}`: `rustup toolchain install`; if it is older than {minimum}, raise it or run \
             `cargo +stable xtask`"
        ),
        None => "`rustup update stable`, or install it: https://rustup.rs".to_owned(),
    };
    let from_cargo = base::env::raw_variable("CARGO").map(Into::into);
    let Some(cargo) = from_cargo.or_else(|| which("cargo")) else {
        return Finding::fail("cargo is not on PATH")
            .with_expected(format!(">= {minimum}"))
            .manual_fix(&get);
    };
    let Some(rustc) = which("rustc") else {
        return Finding::fail("rustc is not on PATH")
            .with_expected(format!(">= {minimum}"))
            .manual_fix(&get);
    };
    let cargo = at_least(context, &cargo, &["--version"], minimum, &get);
    if cargo.is_problem() {
        return cargo;
    }
    at_least(context, &rustc, &["--version"], minimum, &get)
}

fn at_least(
    context: &Context,
    path: &Utf8Path,
    arguments: &[&str],
    wanted: Version,
    get: &str,
) -> Finding {
    let output = probe::capture_stdout(&cmd!(&context.root, "{path} {arguments...}", probe::QUICK));
    let finding = match output.as_deref().and_then(Version::find) {
        None => Finding::fail("it does not say its version").manual_fix(get),
        Some(found) if found < wanted => {
            Finding::fail("too old").with_value(found.to_string()).manual_fix(get)
        }
        Some(found) => Finding::ok().with_value(found.to_string()),
    };
    finding.with_expected(format!(">= {wanted}")).source(path.as_str())
}

/// `cc`
pub fn cc(_: &Context) -> Finding {
    match ["cc", "gcc", "clang"].into_iter().find_map(which) {
        Some(path) => Finding::ok()
            .with_value(path.file_name().unwrap_or_default())
            .source(path.as_str()),
        None => Finding::fail("none of cc, gcc, clang is on PATH; parts of xtask are written in C").manual_fix(
            "install one: `apt-get install build-essential`, `dnf install gcc`, or `xcode-select --install`",
        ),
    }
}

/// `npm`
pub fn npm(context: &Context) -> Finding {
    if let Some(path) = which("npm") {
        let program = path.canonicalize_utf8().unwrap_or_else(|_| path.clone());
        if program.extension() == Some("js") && which("node").is_none() {
            return Finding::fail("npm is there, but node, which runs it, is not on PATH")
                .source(path.as_str())
                .manual_fix(GET_NPM);
        }
        let finding = Finding::ok().source(path.as_str());
        return match manifest_version(&program, "npm") {
            Some(version) => finding.with_value(version),
            None => finding,
        };
    }
    let Ok(config) = context.config() else {
        return Finding::skip("not on PATH; whether it is needed depends on the shared config");
    };
    let version = &config.tools.bun;
    match context.bun() {
        Some(Location::OnPath(_) | Location::Installed(_)) => {
            Finding::skip(format!("not on PATH, and not needed: Bun {version} is there"))
        }
        _ => Finding::fail(format!("neither npm nor Bun {version} is on PATH")).manual_fix(
            format!("{GET_NPM}\nor install Bun {version}: https://bun.sh/docs/installation"),
        ),
    }
}

/// `bun`
pub fn bun(context: &Context) -> Finding {
    let (Ok(config), Some(found)) = (context.config(), context.bun()) else {
        return Finding::skip("the shared config, which pins it, cannot be read; see `config`");
    };
    let version = &config.tools.bun;
    let other = context.bun_on_path().filter(|(_, other)| other.as_ref() != Some(version));
    let passed_over = other.map(|(path, other)| match other {
        Some(other) => format!("the one on PATH, {path}, is {other}"),
        None => format!("the one on PATH, {path}, does not say its version"),
    });
    let finding = match found {
        Location::OnPath(path) | Location::Installed(path) => Finding::ok()
            .with_value(version)
            .source(path.as_str())
            .detail(passed_over.unwrap_or_default()),
        Location::Missing(_) if which("npm").is_none() => {
            let there = passed_over.unwrap_or_else(|| "not installed".to_owned());
            Finding::skip(format!("{there}; its installation needs npm; see `npm`"))
                .source(CONFIG_FILE)
        }
        Location::Missing(_) => {
            let there = passed_over.map_or_else(String::new, |other| format!("{other}; "));
            Finding::warn(format!("{there}not installed yet: the first build does it"))
                .source(CONFIG_FILE)
                .safe_fix("install it from npm, locked", bun::install(&context.root, version))
        }
    };
    finding.with_expected(version)
}

/// `wrangler`
pub fn wrangler(context: &Context) -> Finding {
    let toolchain = Toolchain::wrangler(&context.root);
    let (Some(pinned), Some(lock)) = (wrangler::pinned_version(&context.root), toolchain.lock())
    else {
        return Finding::skip("its pins cannot be read; see `config.pins`");
    };
    let source = toolchain.dir.strip_prefix(&context.root).unwrap_or(&toolchain.dir).to_owned();
    let stamp = std::fs::read_to_string(setup::stamp(&toolchain)).ok();
    let finding = match wrangler::installed_version(&context.root) {
        Some(found) if found == pinned && stamp.as_ref() == Some(&lock) => {
            return Finding::ok().with_value(found).with_expected(pinned).source(source.as_str());
        }
        Some(found) if found == pinned => {
            Finding::warn("installed, but from another bun.lock: the next deploy does it again")
                .with_value(found)
        }
        Some(found) => Finding::warn("another version: the next deploy installs the pinned one")
            .with_value(found),
        None => Finding::warn("not installed yet: the first deploy does it"),
    };
    let finding = finding.with_expected(pinned).source(source.join("package.json").as_str());
    match install(context, &toolchain) {
        Some(commands) => finding.safe_fix("install it as its lock file says", commands),
        None if context.config().is_err() => {
            finding.manual_fix("first fix the shared config; see `config`")
        }
        None => finding.manual_fix("first get npm or Bun; see `npm`"),
    }
}

/// Returns the commands that install wrangler, and Bun before it if it is missing too.
fn install(context: &Context, toolchain: &Toolchain) -> Option<Vec<ProcessCommand>> {
    let root = &context.root;
    let bun = context.bun()?;
    let mut commands = match bun {
        Location::Missing(_) if which("npm").is_none() => return None,
        Location::Missing(_) => bun::install(root, &context.config().ok()?.tools.bun),
        Location::OnPath(_) | Location::Installed(_) => Vec::new(),
    };
    let paths = CommandPaths::new(root, bun.program());
    commands.extend(setup::install_wrangler(&paths, toolchain));
    let relative = |path: &Utf8Path| path.strip_prefix(root).unwrap_or(path).to_string();
    let (lock, stamp) = (relative(&toolchain.lock_file()), relative(&setup::stamp(toolchain)));
    commands.push(cmd!(root, "cp {lock} {stamp}", INSTALL_DEADLINE));
    Some(commands)
}
