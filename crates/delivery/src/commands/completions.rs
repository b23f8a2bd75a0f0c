//! `completions`: for shells.

use anyhow::Result;
use clap::Args;

use crate::context::Ctx;
use base::error::Exit;

/// Print a shell's completions for `xtask`.
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell
    shell: clap_complete::Shell,
}

impl Completions {
    /// Runs the command.
    pub fn run(self, ctx: &Ctx) -> Result<Exit> {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut ctx.command_line.clone(), "xtask", &mut text);
        ctx.ui.out(&String::from_utf8_lossy(&text));
        Ok(Exit::Done)
    }
}
