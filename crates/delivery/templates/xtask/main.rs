//! `cargo xtask`: delivery, and the commands of this repository.

use std::process::ExitCode;

use delivery::anyhow::Result;
use delivery::clap;
use delivery::{Ctx, Exit, Run};

#[derive(Debug, clap::Subcommand)]
enum Command {
    #[command(flatten)]
    Delivery(delivery::cli::Command),
    // Your own commands: a variant with a doc comment, and an arm in `run`.
}

impl Run for Command {
    fn run(self, ctx: &Ctx) -> Result<Exit> {
        match self {
            Command::Delivery(command) => command.run(ctx),
        }
    }
}

fn main() -> ExitCode {
    delivery::main::<Command>("cargo xtask")
}
