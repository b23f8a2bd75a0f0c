//! `cargo xtask`: delivery of this repository.

use std::process::ExitCode;

use delivery::cli::Command;

fn main() -> ExitCode {
    delivery::main::<Command>()
}
