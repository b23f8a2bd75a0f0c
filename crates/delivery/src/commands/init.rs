//! `init`: sets up delivery in another repository.

use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;
use serde::Serialize;

use super::ci;
use crate::doctor::checks::tools::RUST;
use crate::doctor::readiness::{self, ReadinessRow};
use crate::init::source::LibrarySource;
use crate::init::{self, FileAction, FileChange, cargo_checks, defaults};
use base::command::{quote, xtask_line};
use base::error::{Exit, Result, refused, usage};
use base::files::write_whole;
use base::runner::CompletedProcess;
use base::terminal::{BOLD, paint};
use base::version::Version;
use deployment::context::Ctx;
use deployment::tools::cargo;
use deployment::tools::checkout;
use gitlab::pipeline::FILE;
use gitlab::pipeline::own_jobs::{self, PipelineNote};
use workspace::config::{CONFIG_FILE, Config};
use workspace::modules::{TOOL, TOOL_LOCK};
use workspace::{Workspace, cargo_config, git};

/// Set up delivery in a repository that exists.
#[derive(Debug, Args)]
pub struct InitCommand {
    /// The repository's root
    #[arg(value_name = "REPOSITORY")]
    repository: Utf8PathBuf,
    /// Depend on this checkout by its path, instead of on its origin and commit
    #[arg(long, conflicts_with_all = ["git", "rev"])]
    path: bool,
    /// Depend on this git repository [default: the origin of this checkout]
    #[arg(long, value_name = "URL")]
    git: Option<String>,
    /// Depend on this commit [default: the one that is checked out]
    #[arg(long, value_name = "REVISION")]
    rev: Option<String>,
    /// Copy the Dagger modules too, for projects with their own module
    #[arg(long)]
    vendor: bool,
}

#[derive(Serialize)]
struct InitReport<'a> {
    schema: u32,
    repository: &'a Utf8Path,
    files: &'a [FileChange],
    projects: &'a [ReadinessRow],
    #[serde(skip_serializing_if = "Option::is_none")]
    pipeline: Option<&'a PipelineNote>,
}

impl InitCommand {
    /// Runs the command.
    pub fn run(self, ctx: &Ctx) -> Result<Exit> {
        let checkout = checkout::root().ok_or_else(|| {
            refused("the source of this program is not on this machine")
                .hint("run `init` from a checkout of this tool")
        })?;
        let root = repository(&self.repository, checkout)?;
        let source = match self.path {
            true => LibrarySource::path(&root.join(TOOL)),
            false => LibrarySource::git(checkout, self.git, self.rev)?,
        };
        let config = match root.join(CONFIG_FILE).is_file() {
            true => Config::load(&root)?,
            false => {
                defaults::config(&Workspace::load_with_config(&root, defaults::empty_config())?)
            }
        };
        let vendored = if self.vendor { init::modules(checkout)? } else { Vec::new() };
        let mut changes = init::changes(&root, &source, &config, vendored)?;
        if defaults::has_gitlab(&root) {
            let pipeline = FileChange::create(&root, &config.pipeline.file, String::new());
            if pipeline.is_written() {
                Workspace::load_with_config(&root, config.clone())?.refuse_sparse()?;
            }
            changes.push(pipeline);
        }
        let is_new_crate = changes.iter().any(is_new_lock);
        let warnings = if is_new_crate { cargo_checks::warnings(&root) } else { Vec::new() };
        if !ctx.dry_run {
            write(&root, &changes)?;
            if is_new_crate && warnings.is_empty() {
                trim_lock(ctx, &root);
            }
        }
        warnings.iter().for_each(|warning| ctx.ui.warn(warning));
        note_ignored(&root, &mut changes)?;
        warn_of_toolchain(ctx, &root);
        let workspace = Workspace::load_with_config(&root, config.clone())?;
        let rows = readiness::rows(&workspace);
        let note = own_jobs::note(&root, &config);
        let report = InitReport {
            schema: 1,
            repository: &root,
            files: &changes,
            projects: &rows,
            pipeline: note.as_ref(),
        };
        let note = note.as_ref().map(|note| format!("\n{}", note.text())).unwrap_or_default();
        ctx.ui.report(&report, &(text(ctx, &workspace, &changes, &rows) + &note));
        Ok(Exit::Done)
    }
}

/// The root of the repository that is set up.
fn repository(path: &Utf8Path, checkout: &Utf8Path) -> Result<Utf8PathBuf> {
    let root =
        path.canonicalize_utf8().map_err(|error| usage(format!("cannot open {path}: {error}")))?;
    if root == checkout.canonicalize_utf8().unwrap_or_else(|_| checkout.to_owned()) {
        return Err(usage("this is the tool's own repository")
            .hint("name another: `cargo xtask init ../monorepo`"));
    }
    if !root.join(".git").exists() {
        let above = root.ancestors().find(|folder| folder.join(".git").exists());
        return Err(match above {
            Some(above) => usage(format!("{root} is a folder of the repository {above}"))
                .hint(format!("name its root: `{}`", xtask_line(&["init", above.as_str()]))),
            None => usage(format!("{root} is not a git repository"))
                .hint(format!("run `git -C {} init`", quote(root.as_str()))),
        });
    }
    Ok(root)
}

/// Writes the files. The pipeline comes last, because it is generated from the others.
fn write(root: &Utf8Path, changes: &[FileChange]) -> Result<()> {
    let (pipeline, others): (Vec<&FileChange>, Vec<&FileChange>) = changes
        .iter()
        .filter(|change| change.is_written())
        .partition(|change| change.text.is_empty());
    for change in others {
        write_whole(&root.join(&change.path), &change.text)?;
    }
    if !pipeline.is_empty() {
        ci::write_pipeline(root)?;
    }
    Ok(())
}

fn is_new_lock(change: &FileChange) -> bool {
    change.path == TOOL_LOCK && change.is_written()
}

/// Lets Cargo remove unused packages from the lock file of the new crate, so that the first build does
/// not change the working tree.
fn trim_lock(ctx: &Ctx, root: &Utf8Path) {
    let manifest = format!("{TOOL}/Cargo.toml");
    let arguments = ["metadata", "--quiet", "--format-version=1", "--manifest-path", &manifest];
    let done = ctx
        .run("init", &cargo::command(root, &arguments), &|_| ())
        .and_then(CompletedProcess::success);
    if let Err(error) = done {
        let error = format!("{error:#}");
        let reason = error.lines().next().unwrap_or_default();
        ctx.ui.warn(&format!("the first `cargo xtask` will rewrite {TOOL}/Cargo.lock: {reason}"));
    }
}

/// Warns if the repository pins a toolchain that cannot compile xtask.
fn warn_of_toolchain(ctx: &Ctx, root: &Utf8Path) {
    let pinned = cargo_config::pinned_toolchain(root);
    let minimum = Version::find(RUST);
    if let Some((file, channel)) = pinned
        && channel.starts_with(|c: char| c.is_ascii_digit())
        && Version::find(&channel) < minimum
    {
        ctx.ui.warn(&format!(
            "{file} pins Rust {channel}, and xtask needs {RUST}: raise it, or run `cargo +stable xtask`"
        ));
    }
}

/// Adds a note to each new file that git ignores, because a clone and a pipeline would lack it.
fn note_ignored(root: &Utf8Path, changes: &mut [FileChange]) -> Result<()> {
    let written = changes.iter().filter(|change| change.is_written());
    let written: Vec<&Utf8Path> = written.map(|change| change.path.as_path()).collect();
    let ignored = git::ignored_paths(root, &written)?;
    for change in changes.iter_mut().filter(|change| ignored.contains(&change.path)) {
        change.note = Some(format!("git ignores it: run `git add --force {}`", change.path));
    }
    Ok(())
}

fn text(ctx: &Ctx, workspace: &Workspace, changes: &[FileChange], rows: &[ReadinessRow]) -> String {
    let (root, config) = (&workspace.root, &workspace.config);
    let will = if ctx.dry_run { "would be written" } else { "written" };
    let mut text = paint(BOLD, &format!("{will} in {root}")) + "\n";
    for change in changes {
        let word = match change.action {
            FileAction::Create => "new",
            FileAction::Add => "added to",
            FileAction::Keep => "kept",
        };
        text += &format!("  {word:8}  {}\n", change.path);
        if let Some(note) = &change.note {
            text += &format!("            {note}\n");
        }
    }
    text += &format!("\n{}\n", readiness::text(workspace, rows, ctx.ui.width()));
    let usable = rows.iter().filter(|row| row.problem.is_none());
    let usable = usable.min_by_key(|row| row.sandbox_problem.is_some());
    // A crate of the team needs the dependency before `cargo xtask` has these commands.
    let is_manual = |change: &&FileChange| {
        change.path.file_name() == Some("Cargo.toml") && change.note.is_some()
    };
    if let Some(manifest) = changes.iter().find(is_manual) {
        text += &format!("next, in {root}: change {} as noted above\n", manifest.path);
    }
    text += &match usable.map(|row| row.project.as_str()) {
        Some(name) => format!("next, in {root}: `{}`\n", xtask_line(&["deploy", name])),
        None if rows.is_empty() => format!("next, in {root}: `cargo xtask new NAME`\n"),
        None => format!("next, in {root}: fix a project, then `cargo xtask deploy PROJECT`\n"),
    };
    if config.pipeline.is_included() && root.join(FILE).is_file() {
        let file = &config.pipeline.file;
        text += &format!("and in {FILE}, for the pipeline:\n\ninclude:\n  - local: {file}\n");
    }
    text
}
