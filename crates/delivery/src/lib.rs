//! Delivers every project of a repository with one command, `cargo xtask`.
//!
//! Has the commands, their help, `doctor` and `init`. A command creates a plan, and `deployment` executes it.
//! `ARCHITECTURE.md` has the map and the rules.

pub mod cli;
pub mod commands;
pub mod complete;
mod config_edit;
pub mod doctor;
pub mod help;
pub mod init;

use std::process::ExitCode;

pub use anyhow;
pub use base::error::Exit;
pub use clap;
pub use deployment::context::Ctx;

use clap::error::{ContextKind, ContextValue};
use clap::{CommandFactory as _, FromArgMatches as _, Subcommand};

use base::error::{Error, ErrorContext as _, ErrorKind};
use base::open_files;
use base::runner::interrupt;
use base::supervisor;
use base::terminal::{OutputOptions, Ui};
use cli::{Cli, Global};
use cloudflare::wrangler::access;
use deployment::tools;

/// The commands that change the remote side. If their report is lost, the record remains.
const CHANGING: [&str; 5] = ["delete", "deploy", "preview", "promote", "rollback"];

/// Adds the way to run a command of wrangler to the error about an unknown command.
fn with_tip(mut error: clap::Error) -> clap::Error {
    let unknown = error.get(ContextKind::InvalidSubcommand).map(ToString::to_string);
    if let Some(word) = unknown.filter(|word| access::is_command(word)) {
        let tip =
            format!("wrangler's own commands are run by `cargo xtask wrangler PROJECT -- {word}`");
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    error
}

/// A command that runs in the repository.
pub trait Run {
    /// Runs the command, and returns the exit code of a run that ended without an error.
    fn run(self, ctx: &Ctx) -> anyhow::Result<Exit>;
}

/// Returns the error of a command as ours, with the kind and the hints of the first of ours in its chain.
fn from_anyhow(error: anyhow::Error) -> Error {
    let own = error.chain().find_map(|cause| cause.downcast_ref::<Error>());
    let (kind, hints) =
        own.map_or((ErrorKind::Failed, Vec::new()), |own| (own.kind, own.hints.clone()));
    let cause: Box<dyn std::error::Error + Send + Sync> = error.into();
    Error { kind, hints, ..Error::from_shared(cause.into()) }
}

/// Parses the command line of `program`, runs the command, and turns its result into an exit code.
/// `C` holds the commands: those of this library, flattened, and those of a team.
#[must_use]
pub fn main<C: Subcommand + Run>(program: &'static str) -> ExitCode {
    if let Some(code) = supervisor::run(std::env::args_os()) {
        return code;
    }
    let open_files = open_files::raise_limit();
    if open_files.is_ok() {
        base::env::hide();
    }
    let width = base::terminal::width().map_or(help::WIDTH, |width| width.min(help::WIDTH));
    let command_line = Cli::<C>::command().name(program).bin_name(program);
    let mut command_line = help::arrange_for(std::env::args_os(), command_line, program, width);
    let matches = command_line
        .try_get_matches_from_mut(std::env::args_os())
        .unwrap_or_else(|error| with_tip(error).exit());
    let global = Global::from_matches(&matches);
    if let Some(option) = Global::find_misplaced(&matches) {
        let text = format!("`{option}` does not affect this command");
        command_line.error(clap::error::ErrorKind::UnknownArgument, text).exit();
    }
    let Cli { command } = Cli::<C>::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let (json, quiet, verbose) = (global.json, global.quiet, global.verbose);
    let ui = Ui::new(OutputOptions { json, quiet, verbose, no_progress: global.no_progress });
    let run = || -> anyhow::Result<Exit> {
        open_files?;
        ctrlc::set_handler(interrupt).map_err(Error::from_source).context("signals")?;
        let jobs = global.jobs.map(usize::from);
        let ctx = Ctx::new(ui.clone(), global.dry_run, jobs, command_line)?;
        tools::distribution::warn_if_other(&ctx);
        command.run(&ctx)
    };
    let exit = run().map_err(from_anyhow).unwrap_or_else(|error| {
        let exit = Exit::from(error.kind);
        ui.error(&error, exit);
        exit
    });
    let exit = match ui.complete() {
        Ok(()) => exit,
        Err(failure) => {
            ui.error_beside_report(&failure);
            let is_changing =
                matches.subcommand_name().is_some_and(|name| CHANGING.contains(&name));
            let changes = is_changing && !global.dry_run;
            exit.max(if changes { Exit::Remote } else { Exit::Failed })
        }
    };
    ExitCode::from(exit as u8)
}

#[cfg(test)]
mod tests {
    use base::error::refused;

    use super::*;

    #[test]
    fn errors_of_a_team_keep_kind_hints_and_causes() {
        let own = refused("no token").hint("set it");
        let plain = from_anyhow(own.clone().into());
        assert_eq!(
            (plain.kind, plain.with_hints().as_str()),
            (ErrorKind::Refused, "no token\nhint: set it")
        );
        let within = from_anyhow(anyhow::Error::from(own).context("seed"));
        assert_eq!(within.kind, ErrorKind::Refused);
        assert_eq!(within.with_hints(), "seed: no token\nhint: set it");
        let foreign = from_anyhow(anyhow::anyhow!("no rows").context("seed"));
        assert_eq!(
            (foreign.kind, format!("{foreign:#}").as_str()),
            (ErrorKind::Failed, "seed: no rows")
        );
    }
}
