//! `cargo dev`: the commands that only this repository's developers need.

use std::process::ExitCode;

use anyhow::Result;
use base::error::Exit;
use clap::Subcommand;
use delivery::Ctx;
use delivery::Run;

/// The commands.
#[derive(Debug, Subcommand)]
enum DeveloperCommand {
    /// Set up and run every test
    Test(dev::test::TestCommand),
    /// Measure what the product promises, beside the tools that it is compared with
    Bench(dev::bench::Bench),
    /// Write the generated files, or check that they are up to date
    Generate(dev::generate::Generate),
    /// Show every pinned version, with those of the tests and benchmarks, and whether the files agree
    Pins(dev::pins::PinsCommand),
}

impl Run for DeveloperCommand {
    fn run(self, ctx: &Ctx) -> Result<Exit> {
        Ok(match self {
            DeveloperCommand::Test(command) => command.run(ctx),
            DeveloperCommand::Bench(command) => command.run(ctx),
            DeveloperCommand::Generate(command) => command.run(ctx),
            DeveloperCommand::Pins(command) => command.run(ctx),
        }?)
    }
}

fn main() -> ExitCode {
    delivery::main::<DeveloperCommand>("cargo dev")
}
