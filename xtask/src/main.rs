//! `cargo xtask`: the commands of delivery, and this repository's own commands.
//!
//! A team adds a command here: a variant of [`XtaskCommand`] and what it runs.

mod test;

use std::process::ExitCode;

use anyhow::Result;
use base::error::Exit;
use clap::Subcommand;
use delivery::Ctx;
use delivery::Run;

/// The commands.
#[derive(Debug, Subcommand)]
enum XtaskCommand {
    #[command(flatten)]
    Delivery(delivery::cli::Command),
    /// Set up and run every test of this repository
    #[command(hide = true)]
    Test(test::XtaskTestCommand),
}

impl Run for XtaskCommand {
    fn run(self, ctx: &Ctx) -> Result<Exit> {
        match self {
            XtaskCommand::Delivery(command) => command.run(ctx),
            XtaskCommand::Test(command) => command.run(ctx),
        }
    }
}

fn main() -> ExitCode {
    delivery::main::<XtaskCommand>("cargo xtask")
}
