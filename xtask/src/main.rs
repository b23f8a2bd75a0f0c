//! `cargo xtask`: the commands of delivery, and this repository's own beside them.
//!
//! A team adds a command here: a variant of [`Command`] and what it runs.

mod test;

use std::process::ExitCode;

use anyhow::Result;
use base::error::Exit;
use clap::Subcommand;
use delivery::Run;
use delivery::context::Ctx;

/// The commands.
#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Delivery(delivery::cli::Command),
    /// Set up and run every test of this repository
    #[command(hide = true)]
    Test(test::Test),
}

impl Run for Command {
    fn run(self, ctx: &Ctx) -> Result<Exit> {
        match self {
            Command::Delivery(command) => command.run(ctx),
            Command::Test(command) => command.run(ctx),
        }
    }
}

fn main() -> ExitCode {
    delivery::main::<Command>("cargo xtask")
}
