//! Reports of `new`: the created project, the script of a dry run, and the list of templates.

use std::fmt::Write as _;

use clap::ValueEnum as _;
use serde::Serialize;

use super::template::{NewProject, Template, WorkspaceInstall};
use base::command::{quote, xtask_line};
use workspace::files::folder_name;

/// The list of templates.
#[derive(Debug, Serialize)]
pub struct Templates {
    /// The version of this document.
    pub schema: u32,
    /// The templates.
    pub templates: Vec<TemplateEntry>,
}

/// A template and its description.
#[derive(Debug, Serialize)]
pub struct TemplateEntry {
    /// The value of `--template`.
    pub name: String,
    /// A short description.
    pub description: String,
}

impl Templates {
    /// Returns the list of all templates.
    #[must_use]
    pub fn new() -> Templates {
        let values = Template::value_variants().iter().filter_map(Template::to_possible_value);
        let entry = |value: clap::builder::PossibleValue| TemplateEntry {
            name: value.get_name().to_owned(),
            description: value.get_help().map(ToString::to_string).unwrap_or_default(),
        };
        Templates { schema: 1, templates: values.map(entry).collect() }
    }

    /// Returns one line per template, and an example.
    #[must_use]
    pub fn text(&self) -> String {
        let width = self.templates.iter().map(|one| one.name.len()).max().unwrap_or(0);
        let line = |one: &TemplateEntry| format!("{:width$}  {}\n", one.name, one.description);
        let example = "\ncreate a project with `cargo xtask new NAME --template TEMPLATE`\n";
        self.templates.iter().map(line).collect::<String>() + example
    }
}

impl Default for Templates {
    fn default() -> Templates {
        Templates::new()
    }
}

/// Returns the report on a created project, with the next step.
#[must_use]
pub fn text(new: &NewProject, pipeline: &[String]) -> String {
    let kind = match new.template {
        Template::Static => "static files",
        Template::Worker => "a Worker with code",
        Template::Astro => "a site built by Astro",
        Template::Vite => "a single-page application built by Vite",
        Template::Api => "a JSON API",
    };
    let mut text = format!("created {}: {kind}, deployed as `{}`\n", new.project, new.worker);
    for (path, _) in &new.files {
        text += &format!("  {}\n", new.dir.join(path));
    }
    if !pipeline.is_empty() {
        text += &format!("updated {}\n", pipeline.join(", "));
    }
    let deploy = xtask_line(&["deploy", &new.project]);
    match &new.install {
        Some(WorkspaceInstall { command, dir }) => {
            let dir = folder_name(dir);
            text + &format!("next: `{command}` in {dir}, then `{deploy}`\n")
        }
        None => text + &format!("next: `{deploy}`\n"),
    }
}

/// Returns a POSIX shell script that creates the same files.
#[must_use]
pub fn script(new: &NewProject) -> String {
    let mut text = format!("#!/bin/sh\n# new project {}\nset -eu\n", new.project);
    for (path, content) in &new.files {
        let path = new.dir.join(path);
        let folder = path.parent().unwrap_or(&new.dir);
        let (folder, path) = (quote(folder.as_str()), quote(path.as_str()));
        let _infallible =
            write!(text, "mkdir -p {folder}\ncat > {path} <<'TEMPLATE'\n{content}TEMPLATE\n");
    }
    if let Some(WorkspaceInstall { command, dir }) = &new.install {
        let place = if dir.as_str().is_empty() { "." } else { dir.as_str() };
        let _infallible = writeln!(text, "# next: (cd {} && {command})", quote(place));
    }
    text + "cargo xtask ci generate\n"
}
