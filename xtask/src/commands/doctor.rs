//! `doctor`: what this machine has, and what it lacks.

use anyhow::Result;
use clap::Args;

use crate::context::Ctx;
use crate::error::Exit;

/// Check this machine, the configuration and the credentials.
#[derive(Debug, Args)]
pub struct Doctor {}

impl Doctor {
    /// Runs the command.
    pub fn run(self, _ctx: &Ctx) -> Result<Exit> {
        Ok(Exit::Done)
    }
}
