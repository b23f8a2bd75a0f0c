//! `test`: hands its arguments to `cargo dev test`, which needs more crates than a deployment does.

use std::os::unix::process::CommandExt as _;

use anyhow::{Context as _, Result};
use base::error::Exit;
use clap::Args;
use delivery::Ctx;

/// Set up and run every test of this repository.
#[derive(Debug, Args)]
pub struct XtaskTestCommand {
    /// The checks to run, and options of `cargo dev test`
    #[arg(value_name = "NAME", trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

impl XtaskTestCommand {
    /// Replaces this process by `cargo dev test`.
    pub fn run(self, ctx: &Ctx) -> Result<Exit> {
        let cargo = base::env::os_variable("CARGO").unwrap_or_else(|| "cargo".into());
        let error = std::process::Command::new(cargo)
            .current_dir(&ctx.root)
            .args(["dev", "test"])
            .args(self.arguments)
            // The tests are the caller's own, and Cargo must find the same toolchain again.
            .envs(base::env::all())
            .exec();
        Err(error).context("cannot start cargo")
    }
}
