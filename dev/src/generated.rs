//! Files that are derived from the code: their contents, and how they are written or checked.

pub mod faults;

use std::fmt::Write as _;

use anyhow::Result;
use camino::Utf8Path;
use clap::CommandFactory as _;

use crate::bench;
use base::files::write_whole;
use delivery::cli::{Cli, Command};
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

/// Returns the path and the expected text of every derived file of the repository at `root`.
pub fn files(root: &Utf8Path) -> Result<Vec<(String, String)>> {
    let mut files = guide::files(&Workspace::load(root)?)?;
    files.push(("dagger/config/config.schema.json".to_owned(), schema()?));
    files.push(("docs/reference/cli.md".to_owned(), reference()));
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

fn schema() -> Result<String> {
    let schema = schemars::schema_for!(Config);
    Ok(serde_json::to_string_pretty(&schema)? + "\n")
}

/// Returns the reference page of the command line: the help of every command.
fn reference() -> String {
    let mut text = String::from(
        "# Command line\n\n<!-- Written by `cargo dev generate`. -->\n\n\
         Exit codes: 0 done · 1 failed, and nothing of it is live · 2 usage · 3 refused before anything \
         changed · 4 the remote side may have changed · 130 interrupted.\n",
    );
    let mut root = Cli::<Command>::command();
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
