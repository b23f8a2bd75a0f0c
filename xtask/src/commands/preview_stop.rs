//! `preview stop`: the end of previews.

use anyhow::Result;
use clap::Args;

use crate::context::Ctx;
use crate::engine::comment::Comment;
use crate::engine::sweep::sweep;
use crate::error::Exit;
use crate::workspace::config::Config;

/// Say in the merge request's comment that its previews are gone
///
/// Cloudflare has no way to delete a version or its alias; the address goes on answering until the
/// alias is used again or falls out of the last thousand.
#[derive(Clone, Copy, Debug, Args)]
pub struct Stop {
    /// Of every merge request that is merged or closed and still shows previews, and stop its
    /// environment: for a schedule
    #[arg(long)]
    merged: bool,
    /// With `--merged`, those that changed within so many days
    #[arg(long, value_name = "DAYS", default_value_t = 30, requires = "merged")]
    days: u32,
}

impl Stop {
    /// Runs the command.
    pub fn run(self, ctx: &Ctx) -> Result<Exit> {
        let config = Config::load(&ctx.root)?;
        if self.merged {
            let swept = sweep(ctx, &config, self.days)?;
            ctx.ui.report(&swept, &swept.text(ctx.dry_run));
            return Ok(swept.exit());
        }
        let commented = Comment::new(ctx, &config).removed();
        ctx.ui.report(&commented, &commented.text());
        Ok(Exit::Done)
    }
}
