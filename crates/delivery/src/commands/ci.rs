//! `ci generate`: the pipeline file, and the reports of a run for the pipeline.

use std::collections::BTreeMap;

use camino::Utf8Path;
use clap::{Args, Subcommand};
use serde_json::json;

use super::projects::warn_of_broken;
use base::error::{Error, ErrorKind, Exit, Result, failed, refused};
use base::files::{write_first, write_whole};
use deployment::context::Ctx;
use deployment::plan::Operation;
use deployment::plan::claims::Claims;
use deployment::record::Record;
use gitlab::pipeline::{FILE, HEADER, guide, reports};
use workspace::Workspace;
use workspace::config::CONFIG_FILE;
use workspace::project::Project;

/// Generate the pipeline file.
#[derive(Debug, Args)]
pub struct CiCommand {
    #[command(subcommand)]
    action: CiAction,
}

#[derive(Debug, Subcommand)]
enum CiAction {
    /// Write the pipeline file from the projects and the shared config file
    Generate {
        /// Change nothing, and fail if a file is out of date
        #[arg(long)]
        check: bool,
    },
}

impl CiCommand {
    /// Runs the command.
    pub fn run(self, ctx: &Ctx) -> Result<Exit> {
        let CiAction::Generate { check } = self.action;
        let mut workspace = Workspace::load(&ctx.root)?;
        workspace.refuse_sparse()?;
        warn_of_broken(ctx, &workspace.broken);
        for note in workspace.config_notes() {
            ctx.ui.note(&note);
        }
        let refused = leave_out_refused(&mut workspace)?;
        let files = guide::files(&workspace)?;
        if ctx.dry_run {
            let document: Vec<_> =
                files.iter().map(|(path, text)| json!({ "path": path, "text": text })).collect();
            ctx.ui.report(&json!({ "schema": 1, "files": document }), &files[0].1);
            return Ok(tell(ctx, &refused));
        }
        let stale = stale(&ctx.root, &files);
        refuse_foreign(&ctx.root, &files[0].0)?;
        if check && !stale.is_empty() {
            return Err(failed(differences(&ctx.root, &stale))
                .hint("run `cargo xtask ci generate` to write it"));
        }
        write(&ctx.root, &files, &stale)?;
        let text = match stale.as_slice() {
            [] => "up to date".to_owned(),
            paths => format!("wrote {}", paths.join(", ")),
        };
        ctx.ui.report(&json!({ "schema": 1, "written": stale }), &text);
        Ok(tell(ctx, &refused))
    }
}

/// Removes the projects whose claims conflict with those of another project, and returns the reasons. Errors if no
/// project remains.
fn leave_out_refused(workspace: &mut Workspace) -> Result<Vec<Error>> {
    let claims = Claims::new(&workspace.config, &workspace.projects);
    let environments = || workspace.config.environments.keys();
    let check = |project: &Project| {
        environments().find_map(|environment| claims.check(project, environment).err())
    };
    let refused: BTreeMap<String, Error> = workspace
        .projects
        .iter()
        .filter_map(|project| Some((project.name.clone(), check(project)?)))
        .collect();
    workspace.projects.retain(|project| !refused.contains_key(&project.name));
    let refused: Vec<Error> = refused.into_values().collect();
    match refused.first() {
        Some(first) if workspace.projects.is_empty() => Err(first.clone()),
        _ => Ok(refused),
    }
}

fn tell(ctx: &Ctx, refused: &[Error]) -> Exit {
    for failure in refused {
        ctx.ui.error_beside_report(failure);
    }
    Exit::worst(refused.iter().map(|failure| failure.kind))
}

/// Writes the pipeline file of the repository at `root`. Errors if a file exists that we did not generate.
pub fn write_pipeline(root: &Utf8Path) -> Result<()> {
    let files = guide::files(&Workspace::load(root)?)?;
    refuse_foreign(root, &files[0].0)?;
    write_first(&root.join(&files[0].0), &files[0].1)
}

/// Updates the pipeline file if we wrote it. Returns the files that were out of date. Warns if the pipeline is refused,
/// because the caller has written other files.
pub fn refresh(ctx: &Ctx) -> Result<Vec<String>> {
    let root = &ctx.root;
    let workspace = Workspace::load(root)?;
    let file = root.join(&workspace.config.pipeline.file);
    let is_ours = std::fs::read_to_string(file).is_ok_and(|text| text.starts_with(HEADER));
    if !is_ours {
        return Ok(Vec::new());
    }
    let files = match workspace.refuse_sparse().and_then(|()| guide::files(&workspace)) {
        Ok(files) => files,
        Err(failure) if failure.kind == ErrorKind::Refused => {
            let file = &workspace.config.pipeline.file;
            ctx.ui.warn(&format!("{file} is not up to date: {}", failure.with_hints()));
            ctx.ui.note("afterwards, run `cargo xtask ci generate`");
            return Ok(Vec::new());
        }
        Err(failure) => return Err(failure),
    };
    let stale = stale(root, &files);
    write(root, &files, &stale)?;
    Ok(stale)
}

/// Names the files that are missing, and those that are out of date.
fn differences(root: &Utf8Path, stale: &[String]) -> String {
    let (old, missing): (Vec<&str>, Vec<&str>) =
        stale.iter().map(String::as_str).partition(|path| root.join(path).exists());
    let parts = [("missing", missing), ("out of date", old)];
    let parts = parts.iter().filter(|(_, paths)| !paths.is_empty());
    parts
        .map(|(kind, paths)| format!("{kind}: {}", paths.join(", ")))
        .collect::<Vec<_>>()
        .join("; ")
}

fn stale(root: &Utf8Path, files: &[(String, String)]) -> Vec<String> {
    // Git may check files out with CRLF.
    let read = |path: &str| std::fs::read_to_string(root.join(path)).ok();
    let differs = |path: &str, wanted: &String| {
        read(path).map(|text| text.replace("\r\n", "\n")).as_ref() != Some(wanted)
    };
    let stale = files.iter().filter(|(path, wanted)| differs(path, wanted));
    stale.map(|(path, _)| path.clone()).collect()
}

fn write(root: &Utf8Path, files: &[(String, String)], stale: &[String]) -> Result<()> {
    let stale = files.iter().filter(|(path, _)| stale.contains(path));
    stale.into_iter().try_for_each(|(path, text)| write_first(&root.join(path), text))
}

/// Refuses to overwrite a pipeline that this command did not write.
fn refuse_foreign(root: &Utf8Path, file: &str) -> Result<()> {
    match std::fs::read_to_string(root.join(file)) {
        Ok(text) if !text.starts_with(HEADER) => {
            Err(refused(format!("{file} was not written by `cargo xtask ci generate`; nothing was changed"))
                .hint(format!(
                    "set `\"pipeline\": {{ \"file\": \".gitlab/xtask.yml\" }}` in {CONFIG_FILE}, and include that file in {FILE}"
                )))
        }
        _ => Ok(()),
    }
}

/// Writes the reports with GitLab's links to a deployment or preview. Does nothing outside of a pipeline.
pub fn leave_reports(ctx: &Ctx, records: &[Record]) -> Result<()> {
    let report = match records.first().map(|record| record.operation) {
        Some(Operation::Deploy) => reports::DEPLOY,
        Some(Operation::Preview) => reports::PREVIEW,
        _ => return Ok(()),
    };
    if !ctx.ci.is_pipeline() {
        return Ok(());
    }
    write_whole(
        &ctx.root.join(report.file),
        &deployment::report::ci::dotenv(records, report.variable),
    )?;
    let links = serde_json::to_string_pretty(&deployment::report::ci::annotations(records))? + "\n";
    write_whole(&ctx.root.join(reports::ANNOTATIONS), &links)
}
