//! `generate`: files that are derived from the code.

use clap::Args;

use crate::test::one_test;
use delivery::Ctx;

use crate::generation::{Mode, generate};
use base::error::{Exit, Result, failed};

/// Write the generated files, or check that they are up to date.
#[derive(Debug, Args)]
pub struct Generate {
    /// Change nothing; fail when a file is out of date
    #[arg(long)]
    check: bool,
    /// Make the picture of the comment in docs/gitlab.md instead: plays a merge request in a
    /// sandbox and opens its page in a browser
    #[arg(long, conflicts_with = "check")]
    screenshot: bool,
}

/// The picture of the comment, and the test that makes it.
const SCREENSHOT: &str = "docs/images/comment.png";
const SCREENSHOT_TEST: &str =
    "merge_request::one_comment_follows_a_merge_request_from_push_to_merge";

impl Generate {
    /// Runs the command.
    pub fn run(self, ctx: &Ctx) -> Result<Exit> {
        if self.screenshot {
            let picture = ctx.root.join(SCREENSHOT);
            return one_test(ctx, SCREENSHOT_TEST, ("XTASK_SCREENSHOT", picture.as_str()));
        }
        let mode = if self.check { Mode::Check } else { Mode::Write };
        let stale = generate(&ctx.root, mode)?;
        if self.check && !stale.is_empty() {
            return Err(failed(format!("out of date: {}", stale.join(", ")))
                .hint("run `cargo dev generate`"));
        }
        let text = if stale.is_empty() {
            "up to date".to_owned()
        } else {
            format!("wrote {}", stale.join(", "))
        };
        ctx.ui.out(&text);
        Ok(Exit::Done)
    }
}
