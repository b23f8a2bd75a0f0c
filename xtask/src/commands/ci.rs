//! `ci generate`: the pipeline file. And what a run leaves for the pipeline.

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::json;

use crate::context::{Ctx, variable};
use crate::error::{Exit, failed};
use crate::pipeline::{guide, reports};
use crate::plan::Verb;
use crate::record::{Record, write_whole};
use crate::report::gitlab;
use crate::workspace::Workspace;

/// The pipeline of this repository.
#[derive(Debug, Args)]
pub struct Ci {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
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
        let Action::Generate { check } = self.action;
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

/// In a pipeline, leaves what GitLab links a deployment or a preview by.
pub fn leave_reports(ctx: &Ctx, records: &[Record]) -> Result<()> {
    let report = match records.first().map(|record| record.verb) {
        Some(Verb::Deploy) => reports::DEPLOY,
        Some(Verb::Preview) => reports::PREVIEW,
        _ => return Ok(()),
    };
    if variable("GITLAB_CI").is_none() {
        return Ok(());
    }
    write_whole(&ctx.root.join(report.file), &gitlab::dotenv(records, report.variable))?;
    let links = serde_json::to_string_pretty(&gitlab::annotations(records))? + "\n";
    write_whole(&ctx.root.join(reports::ANNOTATIONS), &links)
}
