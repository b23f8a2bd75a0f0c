//! Files that are derived from the code: their contents, and how they are written or checked.

pub mod faults;

use std::fmt::Write as _;

use camino::Utf8Path;
use clap::CommandFactory as _;

use crate::bench;
use base::error::{Exit, Result};
use base::files::write_whole;
use cloudflare::wrangler::PREPARE_UPLOAD;
use delivery::cli::{Cli, Command};
use delivery::help;
use gitlab::pipeline::guide;
use workspace::Workspace;
use workspace::config::Config;

/// The way to treat files that are out of date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Write those that are out of date.
    Write,
    /// Change nothing.
    Check,
}

/// The copies of pins that are compiled into xtask, with their sources.
const COPIES: [(&str, &str); 5] = [
    ("crates/workspace/pins/config.json", "dagger/config/config.json"),
    ("crates/workspace/pins/wrangler.package.json", "dagger/cloudflare/toolchain/package.json"),
    ("crates/workspace/pins/wrangler.bun.lock", "dagger/cloudflare/toolchain/bun.lock"),
    ("crates/workspace/pins/bun.package.json", "dagger/bun/toolchain/package.json"),
    ("crates/workspace/pins/bun.package-lock.json", "dagger/bun/toolchain/package-lock.json"),
];

/// The lock file of the crate that `init` writes.
const LIBRARY_LOCK: &str = "crates/delivery/templates/xtask/Cargo.lock";

/// Returns the path and the expected text of every derived file of the repository at `root`.
pub fn files(root: &Utf8Path) -> Result<Vec<(String, String)>> {
    let mut files = guide::files(&Workspace::load_strict(root)?)?;
    files.push(("dagger/config/config.schema.json".to_owned(), schema()?));
    files.push(("docs/reference/cli.md".to_owned(), reference()));
    for (path, source) in COPIES {
        files.push((path.to_owned(), std::fs::read_to_string(root.join(source))?));
    }
    files.push((
        LIBRARY_LOCK.to_owned(),
        library_lock(&std::fs::read_to_string(root.join("Cargo.lock"))?),
    ));
    let module = root.join("dagger/cloudflare/toolchain");
    if module.is_dir() {
        files.push((
            "dagger/cloudflare/toolchain/prepare-upload.js".to_owned(),
            PREPARE_UPLOAD.to_owned(),
        ));
    }
    if let Some(found) = bench::read(&root.join(bench::SAVED))? {
        files.push((bench::PAGE.to_owned(), found.page()));
    }
    if root.join(faults::TABLES).is_dir() {
        files.push(("docs/reference/faults.md".to_owned(), faults::page(&faults::read(root)?)));
    }
    Ok(files)
}

/// Returns the files that were out of date.
pub fn generate(root: &Utf8Path, mode: Mode) -> Result<Vec<String>> {
    let mut stale = Vec::new();
    for (path, wanted) in files(root)? {
        let file = root.join(&path);
        if std::fs::read_to_string(&file).ok().as_ref() != Some(&wanted) {
            stale.push(path);
            if mode == Mode::Write {
                write_whole(&file, &wanted)?;
            }
        }
    }
    Ok(stale)
}

/// Returns the lock file of a crate that depends on `delivery` only, from that of this repository. Cargo removes the
/// packages that only the sandbox and the developers' tools need.
fn library_lock(lock: &str) -> String {
    let package = |block: &str| {
        let name = block.lines().find_map(|line| line.strip_prefix("name = \""));
        match name.map(|name| name.trim_end_matches('"')) {
            Some("sandbox" | "dev") => None,
            Some("xtask") => Some(
                "[[package]]\nname = \"xtask\"\nversion = \"0.1.0\"\ndependencies = [\n \"delivery\",\n]".to_owned(),
            ),
            _ => Some(block.to_owned()),
        }
    };
    let blocks: Vec<String> = lock.trim_end().split("\n\n").filter_map(package).collect();
    blocks.join("\n\n") + "\n"
}

fn schema() -> Result<String> {
    let schema = schemars::schema_for!(Config);
    Ok(serde_json::to_string_pretty(&schema)? + "\n")
}

/// Returns the reference page of the command line: global options once, then the help of every command.
fn reference() -> String {
    let mut root = help::arrange(Cli::<Command>::command(), "cargo xtask", help::WIDTH);
    root.build();
    let mut text = String::from(
        "# Command line\n\n<!-- Written by `cargo dev generate`. -->\n\n\
         | exit code | meaning |\n|---|---|\n",
    );
    for exit in Exit::ALL {
        text += &format!("| {} | {} |\n", exit as u8, exit.meaning());
    }
    text += "\n| global option | effect |\n|---|---|\n";
    for option in root.get_arguments().filter(|option| is_global(option)) {
        let effect = option.get_help().map(ToString::to_string).unwrap_or_default();
        let _infallible = writeln!(text, "| {} | {effect} |", name(option));
    }
    text += "\nEach page lists the global options that the command accepts.\n";
    describe(&root, "cargo xtask", &mut text);
    text
}

fn is_global(option: &clap::Arg) -> bool {
    option.get_help_heading() == Some("Global options")
}

fn name(option: &clap::Arg) -> String {
    let short = option.get_short().map(|short| format!("`-{short}`, ")).unwrap_or_default();
    let value = option.get_action().takes_values().then(|| option.get_value_names()).flatten();
    let value = value.and_then(<[_]>::first).map(|value| format!(" <{value}>")).unwrap_or_default();
    format!("{short}`--{}{value}`", option.get_long().unwrap_or_default())
}

fn describe(command: &clap::Command, path: &str, text: &mut String) {
    let own = command.clone().bin_name(path).term_width(help::WIDTH);
    let own = own.mut_args(|option| {
        let is_hidden = is_global(&option) || option.is_hide_set();
        option.hide(is_hidden)
    });
    let help = own.clone().render_long_help().to_string();
    let help: Vec<&str> = help.lines().map(str::trim_end).collect();
    let _infallible =
        write!(text, "\n## `{path}`\n\n```text\n{}\n```\n", help.join("\n").trim_end());
    let shown = command.get_arguments().filter(|option| is_global(option) && !option.is_hide_set());
    let globals: Vec<String> = shown.map(name).collect();
    if !globals.is_empty() {
        let _infallible = writeln!(text, "\nGlobal options: {}", globals.join(" · "));
    }
    let shown = |inner: &&clap::Command| !inner.is_hide_set() && inner.get_name() != "help";
    for inner in command.get_subcommands().filter(shown) {
        describe(inner, &format!("{path} {}", inner.get_name()), text);
    }
}
