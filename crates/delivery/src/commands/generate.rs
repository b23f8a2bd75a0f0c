//! `generate`: files that are derived from the code.

use anyhow::Result;
use clap::Args;

use super::test::one_test;
use crate::context::Ctx;
use crate::tools::cargo;
use base::error::Exit;

/// Write the generated files, or check that they are up to date.
#[derive(Debug, Args)]
pub struct Generate {
    /// Change nothing; fail when a file is out of date
    #[arg(long)]
    check: bool,
    /// Make the picture of the comment in docs/gitlab.md anew instead: plays a merge request in a
    /// sandbox and opens its page in a browser
    #[arg(long, conflicts_with = "check")]
    screenshot: bool,
}

/// The picture of the comment, and the test that makes it.
const SCREENSHOT: &str = "docs/images/comment.png";
const SCREENSHOT_TEST: &str = "merge_request::one_comment_from_the_first_push_to_the_end";

impl Generate {
    /// Runs the command in a program of its own, since the schema needs crates that nothing else does.
    pub fn run(self, ctx: &Ctx) -> Result<Exit> {
        if self.screenshot {
            let picture = ctx.root.join(SCREENSHOT);
            return one_test(ctx, SCREENSHOT_TEST, ("XTASK_SCREENSHOT", picture.as_str()));
        }
        let mut arguments = vec!["run", "--quiet", "--package", "xtask", "--features", "generate"];
        arguments.extend(["--bin", "generate", "--", ctx.root.as_str()]);
        if self.check {
            arguments.push("--check");
        }
        let show = |line: &str| ctx.ui.out(line);
        ctx.run("generate", &cargo::command(&ctx.root, &arguments), &show)?.success()?;
        Ok(Exit::Done)
    }
}
