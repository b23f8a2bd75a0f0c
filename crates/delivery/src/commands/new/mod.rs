//! `new`: creates a project that builds, deploys and is in the pipeline.

mod report;
pub mod template;

use camino::Utf8Path;
use clap::Args;
use serde_json::json;

use super::ci;
use base::error::{ErrorContext as _, Exit, Result, refused};
use base::files::write_first;
use deployment::context::Ctx;
use template::{NewProject, Template};
use workspace::Workspace;

/// Create a project that builds, deploys and is in the pipeline.
#[derive(Debug, Args)]
pub struct NewCommand {
    /// Folder below `projects/`, such as `shop` or `example.com/shop`. In a repository with projects elsewhere, below
    /// the root, such as `apps/shop`
    #[arg(required_unless_present = "list")]
    name: Option<String>,
    /// Template of the project
    #[arg(long, value_enum, default_value_t = Template::Static)]
    template: Template,
    /// List the templates
    #[arg(long)]
    list: bool,
}

impl NewCommand {
    /// Runs the command.
    pub fn run(self, ctx: &Ctx) -> Result<Exit> {
        let Some(name) = self.name.as_deref().filter(|_| !self.list) else {
            let templates = report::Templates::new();
            ctx.ui.report(&templates, &templates.text());
            return Ok(Exit::Done);
        };
        let workspace = Workspace::load(&ctx.root)?;
        let new = NewProject::new(
            name,
            workspace.folders.folder(),
            self.template,
            &workspace.config,
            &workspace.projects,
        )?;
        let new = match workspace.workspace_of(&new.dir) {
            Some((root, manager)) => new.in_workspace(root, manager),
            None => new,
        };
        if ctx.root.join(&new.dir).exists() {
            return Err(refused(format!("{} already exists", new.dir))
                .hint("choose another name, or remove the folder"));
        }
        if ctx.dry_run {
            let files: Vec<_> = new
                .files
                .iter()
                .map(|(path, text)| json!({ "path": new.dir.join(path), "text": text }))
                .collect();
            let document = json!({ "schema": 1, "new": new, "files": files });
            ctx.ui.report(&document, &report::script(&new));
            return Ok(Exit::Done);
        }
        write(&ctx.root, &new)?;
        let pipeline = ci::refresh(ctx)?;
        let files: Vec<_> = new.files.iter().map(|(path, _)| new.dir.join(path)).collect();
        let document = json!({ "schema": 1, "new": new, "files": files, "pipeline": pipeline });
        ctx.ui.report(&document, &report::text(&new, &pipeline));
        Ok(Exit::Done)
    }
}

/// Writes the files to a temporary folder and renames it, so that no partial project remains on failure.
fn write(root: &Utf8Path, new: &NewProject) -> Result<()> {
    let target = root.join(&new.dir);
    let draft = root.join(".xtask/tmp").join(format!("new-{}", new.worker));
    if draft.exists() {
        std::fs::remove_dir_all(&draft).with_context(|| format!("cannot clear {draft}"))?;
    }
    for (path, text) in &new.files {
        write_first(&draft.join(path), text)?;
    }
    let parent = target.parent().unwrap_or(root);
    std::fs::create_dir_all(parent).with_context(|| format!("cannot create {parent}"))?;
    std::fs::rename(&draft, &target).with_context(|| format!("cannot create {}", new.dir))
}
