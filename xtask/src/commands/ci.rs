//! `ci generate`: the pipeline file.

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::json;

use crate::context::Ctx;
use crate::error::{Exit, failed};
use crate::pipeline::guide;
use crate::record::write_whole;
use crate::workspace::Workspace;

/// The pipeline of this repository.
#[derive(Debug, Args)]
pub struct Ci {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Write .gitlab-ci.yml from the projects and the shared config file, or check it
    Generate {
        /// Change nothing; fail when a file is out of date
        #[arg(long)]
        check: bool,
    },
}

impl Ci {
    /// Runs the command.
    pub fn run(self, ctx: &Ctx) -> Result<Exit> {
        let Verb::Generate { check } = self.verb;
        let files = guide::files(&Workspace::load(&ctx.root)?)?;
        if ctx.dry_run {
            let document: Vec<_> =
                files.iter().map(|(path, text)| json!({ "path": path, "text": text })).collect();
            ctx.ui.report(&json!({ "schema": 1, "files": document }), &files[0].1);
            return Ok(Exit::Done);
        }
        let mut stale = Vec::new();
        for (path, wanted) in &files {
            let file = ctx.root.join(path);
            if std::fs::read_to_string(&file).ok().as_ref() != Some(wanted) {
                stale.push(*path);
                if !check {
                    write_whole(&file, wanted)?;
                }
            }
        }
        if check && !stale.is_empty() {
            return Err(failed(format!("out of date: {}", stale.join(", ")))
                .hint("`cargo xtask ci generate` writes it")
                .into());
        }
        let text = match stale.as_slice() {
            [] => "up to date".to_owned(),
            paths => format!("wrote {}", paths.join(", ")),
        };
        ctx.ui.report(&json!({ "schema": 1, "written": stale }), &text);
        Ok(Exit::Done)
    }
}
