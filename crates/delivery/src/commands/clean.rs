//! `clean`: deletes what can be made again.

use std::collections::BTreeSet;
use std::path::Path;

use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;
use serde::Serialize;

use super::wrangler::BREAK_GLASS_LOG;
use base::command::quote;
use base::error::{ErrorContext as _, Exit, Result, refused};
use base::terminal::{DIM, paint};
use deployment::context::Ctx;
use deployment::engine::setup::{project_lock, setup_lock};
use deployment::plan::guard;
use deployment::tools::sandbox;
use workspace::Workspace;
use workspace::git;
use workspace::package::Package;
use workspace::toolchain::tools_folder;

/// The folder of the logs.
const LOGS: &str = ".xtask/logs";

/// Delete what can be made again: build outputs, the build cache, logs and temporary files
///
/// Only paths that git ignores are deleted. Records, installed dependencies and the sandbox with its deployments
/// are kept.
#[derive(Debug, Args)]
pub struct CleanCommand {
    /// Delete the installed tools too. The next run installs them again
    #[arg(long)]
    tools: bool,
}

/// A path and its content.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    /// Relative to the repository's root.
    path: Utf8PathBuf,
    /// The content.
    kind: String,
    /// The size of its files.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    /// The reason why it is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// The absolute paths to delete. Of the logs those of the sandbox are left out.
    #[serde(skip)]
    parts: Vec<Utf8PathBuf>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    schema: u32,
    dry_run: bool,
    deleted: Vec<Entry>,
    kept: Vec<Entry>,
    failed: Vec<Entry>,
}

impl CleanCommand {
    /// Runs the command.
    pub fn run(self, ctx: &Ctx) -> Result<Exit> {
        let workspace = Workspace::load(&ctx.root)?;
        if self.tools && !ctx.dry_run && sandbox::running(&ctx.root).is_some() {
            return Err(refused("the sandbox is running with the tools that would be deleted")
                .hint("stop it with `cargo xtask sandbox down`, then retry"));
        }
        let task = ctx.ui.task("clean");
        let wait = |holder: &str| task.step(&format!("wait for {holder}"));
        let mut locks = vec![setup_lock(&ctx.root, wait)?];
        for project in &workspace.projects {
            locks.push(project_lock(&ctx.root, &project.slug(), wait)?);
        }
        drop(task);
        let mut report = self.plan(ctx, &workspace)?;
        if !ctx.dry_run {
            let (mut deleted, mut failed) = (Vec::new(), Vec::new());
            for entry in std::mem::take(&mut report.deleted) {
                match entry.parts.iter().try_for_each(|part| remove(part)) {
                    Ok(()) => deleted.push(entry),
                    Err(error) => {
                        failed.push(Entry { reason: Some(format!("{error:#}")), ..entry });
                    }
                }
            }
            (report.deleted, report.failed) = (deleted, failed);
        }
        let text = if ctx.dry_run { report.script() } else { report.text() };
        ctx.ui.report(&report, &text);
        Ok(if report.failed.is_empty() { Exit::Done } else { Exit::Failed })
    }

    /// Returns what would be deleted, and what is kept with the reason.
    fn plan(&self, ctx: &Ctx, workspace: &Workspace) -> Result<Report> {
        let (mut deleted, mut kept) = (Vec::new(), Vec::new());
        for (path, kind) in self.candidates(ctx, workspace)? {
            let full = ctx.root.join(&path);
            if full.symlink_metadata().is_err() {
                continue;
            }
            let reason = keep(&ctx.root, &path)?;
            let parts = if path == LOGS { logs(&ctx.root)? } else { vec![full] };
            let total = || parts.iter().map(|part| size(part.as_std_path())).sum();
            let bytes = reason.is_none().then(total);
            let list = if reason.is_none() { &mut deleted } else { &mut kept };
            list.push(Entry { path, kind, bytes, reason, parts });
        }
        kept.extend(self.always_kept(&ctx.root));
        Ok(Report { schema: 1, dry_run: ctx.dry_run, deleted, kept, failed: Vec::new() })
    }

    /// Returns the paths that may be deleted, each with its content. They may not exist.
    fn candidates(&self, ctx: &Ctx, workspace: &Workspace) -> Result<Vec<(Utf8PathBuf, String)>> {
        let folders = [
            (".xtask/cache", "outputs of builds"),
            (".xtask/summaries", "summaries of commits"),
            (".xtask/deploy", "results of uploads from containers"),
            (".xtask/dist", "archives of this tool"),
            (".xtask/tmp", "temporary files"),
        ];
        let folders = folders.map(|(path, kind)| (Utf8PathBuf::from(path), kind.to_owned()));
        let mut candidates = Vec::from(folders);
        if !logs(&ctx.root)?.is_empty() {
            candidates.push((LOGS.into(), "logs of previous runs".to_owned()));
        }
        candidates.extend(outputs(workspace));
        if self.tools {
            let tools = tools_folder(&ctx.root);
            if let Ok(path) = tools.strip_prefix(&ctx.root) {
                candidates.push((path.to_owned(), "installed tools".to_owned()));
            }
        }
        Ok(candidates)
    }

    /// Returns the existing folders that this command never deletes, or only with an option.
    fn always_kept(&self, root: &Utf8Path) -> Vec<Entry> {
        let records = (".xtask/records", "what was deployed", "nothing else remembers it");
        let sandbox = (
            ".xtask/sandbox",
            "the sandbox's deployments",
            "`cargo xtask sandbox reset` deletes them",
        );
        let folder = tools_folder(root);
        // Other checkouts may share a folder outside of the repository.
        let tools = folder.strip_prefix(root).ok().filter(|_| !self.tools);
        let tools = tools.map(|path| (path.as_str(), "installed tools", "`--tools` deletes them"));
        let kept = [records, sandbox].into_iter().chain(tools);
        let entry = |(path, kind, reason): (&str, &str, &str)| Entry {
            path: path.into(),
            kind: kind.to_owned(),
            bytes: None,
            reason: Some(reason.to_owned()),
            parts: Vec::new(),
        };
        kept.filter(|(path, ..)| root.join(path).exists()).map(entry).collect()
    }
}

/// The logs that stay: a running sandbox writes the first, and the second holds why protected environments were changed.
const KEPT_LOGS: [&str; 2] = [sandbox::LOG, BREAK_GLASS_LOG];

/// Returns the logs without [`KEPT_LOGS`].
fn logs(root: &Utf8Path) -> Result<Vec<Utf8PathBuf>> {
    let folder = root.join(LOGS);
    let Ok(entries) = folder.read_dir_utf8() else { return Ok(Vec::new()) };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| format!("cannot read {folder}"))?.into_path();
        if path.file_name().is_none_or(|name| !KEPT_LOGS.contains(&name)) {
            paths.push(path);
        }
    }
    Ok(paths)
}

/// Returns the output folder of each project that has a build.
fn outputs(workspace: &Workspace) -> Vec<(Utf8PathBuf, String)> {
    let mut found = BTreeSet::new();
    for project in
        workspace.projects.iter().filter(|one| one.package.as_ref().is_some_and(Package::builds))
    {
        let environments = project.environments.iter().map(String::as_str);
        for environment in std::iter::once(workspace::config::LOCAL).chain(environments) {
            if let Ok(Some(dist)) = guard::dist(project, &project.target(environment)) {
                found.insert((dist, format!("output of {}", project.name)));
            }
        }
    }
    found.into_iter().collect()
}

/// Returns the reason why a path must stay. `None` if it can be deleted.
fn keep(root: &Utf8Path, path: &Utf8Path) -> Result<Option<String>> {
    let parent = root.join(path.parent().unwrap_or(path));
    let is_inside = parent.canonicalize_utf8().ok()
        == root
            .canonicalize_utf8()
            .ok()
            .map(|root| root.join(path.parent().unwrap_or(Utf8Path::new(""))));
    if !is_inside {
        return Ok(Some("a symbolic link leads to another folder".to_owned()));
    }
    if !git::is_ignored(root, path)? {
        return Ok(Some("git does not ignore it".to_owned()));
    }
    let tracked = git::ask(root, &["ls-files", "--", path.as_str()]);
    Ok(tracked.map(|_| "git tracks files in it".to_owned()))
}

/// Deletes a file, a folder, or a symbolic link without its target.
fn remove(path: &Utf8Path) -> Result<()> {
    let is_folder = path.symlink_metadata()?.is_dir();
    let result = if is_folder { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    result.with_context(|| format!("cannot delete {path}"))
}

/// Returns the size of the files at a path, without the targets of symbolic links.
fn size(path: &Path) -> u64 {
    let Ok(meta) = path.symlink_metadata() else { return 0 };
    if !meta.is_dir() {
        return meta.len();
    }
    let entries = std::fs::read_dir(path).into_iter().flatten().filter_map(Result::ok);
    entries.map(|entry| size(&entry.path())).sum()
}

impl Report {
    fn text(&self) -> String {
        let mut text = String::new();
        for entry in &self.deleted {
            let bytes = size_text(entry.bytes.unwrap_or(0));
            text += &format!(
                "deleted  {}  {}\n",
                entry.path,
                paint(DIM, &format!("{}, {bytes}", entry.kind))
            );
        }
        for (word, entries) in [("kept", &self.kept), ("failed", &self.failed)] {
            for entry in entries {
                let reason = entry.reason.as_deref().unwrap_or_default();
                let about = paint(DIM, &format!("{}: {reason}", entry.kind));
                text += &format!("{word:7}  {}  {about}\n", entry.path);
            }
        }
        let total = self.deleted.iter().filter_map(|entry| entry.bytes).sum();
        if self.deleted.is_empty() && self.failed.is_empty() {
            return text + "there is nothing to delete\n";
        }
        text + &format!("{} freed\n", size_text(total))
    }

    /// Returns a POSIX shell script that deletes the same.
    fn script(&self) -> String {
        let mut text = "#!/bin/sh\nset -eu\n".to_owned();
        for entry in &self.deleted {
            let bytes = size_text(entry.bytes.unwrap_or(0));
            let path = quote(entry.path.as_str());
            let command = match entry.path == LOGS {
                true => {
                    let kept = KEPT_LOGS.map(|name| format!("! -name {name}")).join(" ");
                    format!("find {path} -mindepth 1 {kept} -exec rm -rf {{}} +")
                }
                false => format!("rm -rf {path}"),
            };
            text += &format!("{command}  # {}, {bytes}\n", entry.kind);
        }
        for entry in &self.kept {
            let reason = entry.reason.as_deref().unwrap_or_default();
            text += &format!("# kept: {}, {}: {reason}\n", entry.path, entry.kind);
        }
        text
    }
}

/// Formats a size in a readable unit.
fn size_text(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let (mut value, mut unit) = (bytes / 1024, 0);
    let mut rest = bytes % 1024;
    while value >= 1024 && unit + 1 < UNITS.len() {
        (rest, value, unit) = (value % 1024, value / 1024, unit + 1);
    }
    format!("{value}.{} {}", rest * 10 / 1024, UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::size_text;

    #[test]
    fn sizes_have_a_unit() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (5 << 20, "5.0 MiB"),
            ((3 << 30) + (1 << 29), "3.5 GiB"),
        ] {
            assert_eq!(size_text(bytes), text);
        }
    }
}
