//! `generate`: files that are derived from the code.

use anyhow::Result;
use clap::Args;

use crate::context::Ctx;
use crate::error::Exit;
use crate::tools::cargo;

/// Write the generated files, or check that they are up to date.
#[derive(Debug, Args)]
pub struct Generate {
    /// Change nothing; fail when a file is out of date
    #[arg(long)]
    check: bool,
}

impl Generate {
    /// Runs the command in a program of its own, since the schema needs crates that nothing else does.
    pub fn run(self, ctx: &Ctx) -> Result<Exit> {
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
