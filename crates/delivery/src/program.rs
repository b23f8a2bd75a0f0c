//! The start of a repository's `cargo xtask`: these commands as they are, or its own beside them.

use std::process::ExitCode;
use std::sync::atomic::Ordering;

use anyhow::{Context as _, Result};
use clap::{Parser as _, Subcommand};

use crate::cli::{Cli, Command};
use crate::context::Ctx;
use base::error::{Exit, exit_of};
use base::runner::INTERRUPTED;
use base::terminal::{Options, Ui};

/// A command, or an enum of commands.
pub trait Run {
    /// Runs the command.
    fn run(self, ctx: &Ctx) -> Result<Exit>;
}

impl Run for Command {
    fn run(self, ctx: &Ctx) -> Result<Exit> {
        Command::run(self, ctx)
    }
}

/// Parses the command line, runs the command and returns the exit code.
#[must_use]
pub fn main<C: Subcommand + Run>() -> ExitCode {
    let Cli { command, global } = Cli::<C>::parse();
    let (json, quiet, verbose) = (global.json, global.quiet, global.verbose);
    let ui = Ui::new(Options { json, quiet, verbose, no_progress: global.no_progress });
    let run = || -> Result<Exit> {
        ctrlc::set_handler(|| INTERRUPTED.store(true, Ordering::SeqCst)).context("signals")?;
        command.run(&Ctx::new(ui.clone(), global.dry_run, global.jobs.map(usize::from))?)
    };
    let exit = run().unwrap_or_else(|error| {
        ui.error(&error);
        exit_of(&error)
    });
    ExitCode::from(exit as u8)
}
