//! `completions`: scripts that complete `cargo xtask` in a shell.
//!
//! Cargo owns the completion of the word `cargo`, so a script extends it: after `cargo xtask` it calls the
//! hidden command [`CompleteCommand`], and before that it keeps the previous completion.

use std::collections::BTreeSet;

use camino::Utf8Path;
use clap::{Args, ValueEnum};

use crate::complete::{Names, candidates};
use base::error::{Exit, Result};
use deployment::context::Ctx;

/// Print the completion script of a shell.
#[derive(Debug, Args)]
pub struct CompletionsCommand {
    /// The shell
    shell: Shell,
}

/// The supported shells.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    /// Bash 4 or later
    Bash,
    /// zsh
    Zsh,
    /// fish
    Fish,
}

impl CompletionsCommand {
    /// Runs the command.
    pub fn run(self, ctx: &Ctx) -> Result<Exit> {
        ctx.ui.out(match self.shell {
            Shell::Bash => {
                concat!(include_str!("completions/ask.sh"), include_str!("completions/xtask.bash"))
            }
            Shell::Zsh => {
                concat!(include_str!("completions/ask.sh"), include_str!("completions/xtask.zsh"))
            }
            Shell::Fish => include_str!("completions/xtask.fish"),
        });
        Ok(Exit::Done)
    }
}

/// Print the completions of a command line, one per line. The scripts of `completions` call it.
#[derive(Debug, Args)]
pub struct CompleteCommand {
    /// The words after `cargo xtask`. The last one is the word to complete
    #[arg(value_name = "WORD", trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

impl CompleteCommand {
    /// Runs the command.
    pub fn run(self, ctx: &Ctx) -> Result<Exit> {
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        let found = candidates(&ctx.command_line, &words, &WorkspaceNames(&ctx.root));
        ctx.ui.out(&found.join("\n"));
        Ok(Exit::Done)
    }
}

/// The names of a repository. A repository that cannot be read has none.
struct WorkspaceNames<'a>(&'a Utf8Path);

impl Names for WorkspaceNames<'_> {
    fn projects(&self) -> Vec<String> {
        let workspace = workspace::Workspace::load(self.0);
        let projects = workspace.map(|workspace| workspace.projects).unwrap_or_default();
        projects.into_iter().map(|project| project.name).collect()
    }

    fn environments(&self) -> Vec<String> {
        let config = workspace::config::Config::load(self.0);
        let names = config.map(|config| config.environments.into_keys().collect());
        let mut names: Vec<String> = names.unwrap_or_default();
        names.insert(0, workspace::config::LOCAL.to_owned());
        names
    }

    fn aliases(&self) -> Vec<String> {
        let records = self.0.join(".xtask/records").read_dir_utf8();
        let records = records.into_iter().flatten().filter_map(Result::ok);
        let alias = |text: String| {
            let record: serde_json::Value = serde_json::from_str(&text).ok()?;
            Some(record["alias"].as_str()?.to_owned())
        };
        let texts = records.filter_map(|file| std::fs::read_to_string(file.path()).ok());
        texts.filter_map(alias).collect::<BTreeSet<_>>().into_iter().collect()
    }
}
