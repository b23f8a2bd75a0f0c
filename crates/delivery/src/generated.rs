//! Files that are derived from the code: their contents, and how they are written or checked.

pub mod faults;

use std::fmt::Write as _;

use anyhow::Result;
use camino::Utf8Path;
use clap::CommandFactory as _;

use crate::cli::Cli;
use crate::commands::bench;
use base::files::write_whole;
use gitlab::pipeline::guide;
use workspace::Workspace;
use workspace::config::Config;

/// What to do with the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Write those that are out of date.
    Write,
    /// Change nothing.
    Check,
}

/// Every derived file of the repository at `root`: its path below it, and what it must hold.
pub fn files(root: &Utf8Path) -> Result<Vec<(&'static str, String)>> {
    let mut files = guide::files(&Workspace::load(root)?)?;
    files.push(("dagger/config/config.schema.json", schema()?));
    files.push(("docs/reference/cli.md", reference()));
    if let Some(found) = bench::read(&root.join(bench::SAVED))? {
        files.push((bench::PAGE, found.page()));
    }
    if root.join(faults::TABLES).is_dir() {
        files.push(("docs/reference/faults.md", faults::page(&faults::read(root)?)));
    }
    Ok(files)
}

/// The files that were out of date.
pub fn generate(root: &Utf8Path, mode: Mode) -> Result<Vec<&'static str>> {
    let mut stale = Vec::new();
    for (path, wanted) in files(root)? {
        let file = root.join(path);
        if std::fs::read_to_string(&file).ok().as_ref() != Some(&wanted) {
            stale.push(path);
            if mode == Mode::Write {
                write_whole(&file, &wanted)?;
            }
        }
    }
    Ok(stale)
}

fn schema() -> Result<String> {
    let schema = schemars::schema_for!(Config);
    Ok(serde_json::to_string_pretty(&schema)? + "\n")
}

/// The command line as a page: the help of every command.
fn reference() -> String {
    let mut text = String::from(
        "# Command line\n\n<!-- Written by `cargo xtask generate`. -->\n\n\
         Exit codes: 0 done · 1 failed, and nothing of it is live · 2 usage · 3 refused before anything \
         changed · 4 the remote side may have changed · 130 interrupted.\n",
    );
    let mut root = <Cli>::command();
    root.build();
    describe(&root, "cargo xtask", &mut text);
    text
}

fn describe(command: &clap::Command, path: &str, text: &mut String) {
    let help = command.clone().bin_name(path).term_width(100).render_long_help().to_string();
    let help: Vec<&str> = help.lines().map(str::trim_end).collect();
    let _infallible =
        write!(text, "\n## `{path}`\n\n```text\n{}\n```\n", help.join("\n").trim_end());
    for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
        describe(inner, &format!("{path} {}", inner.get_name()), text);
    }
}
