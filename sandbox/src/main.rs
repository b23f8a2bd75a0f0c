//! Parses the command line and turns the result into an exit code.

use std::process::ExitCode;

use clap::Parser as _;
use sandbox::cli::SandboxCli;
use sandbox::log;

fn main() -> ExitCode {
    match sandbox::run(SandboxCli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::line(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
