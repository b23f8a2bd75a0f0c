//! Parses, dispatches, and turns the result into an exit code.

use std::process::ExitCode;
use std::sync::atomic::Ordering;

use anyhow::{Context as _, Result};
use base::error::{Exit, exit_of};
use base::runner::INTERRUPTED;
use base::terminal::{Options, Ui};
use clap::Parser as _;
use delivery::cli::Cli;
use delivery::context::Ctx;

fn main() -> ExitCode {
    base::env::hide();
    let Cli { command, global } = Cli::parse();
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
