//! A new project as people read it: what was made, or the script that makes it.

use std::fmt::Write as _;

use crate::plan::template::{NewProject, Template};
use base::command::quote;

/// What was made, and the next step.
#[must_use]
pub fn text(new: &NewProject, pipeline: &[String]) -> String {
    let kind = match new.template {
        Template::Static => "files that are served as they are",
        Template::Worker => "code that answers requests",
    };
    let mut text = format!("{}  {kind}; its Worker is `{}`\n", new.project, new.worker);
    for (path, _) in &new.files {
        text += &format!("  {}\n", new.dir.join(path));
    }
    if !pipeline.is_empty() {
        text += &format!("wrote {}\n", pipeline.join(", "));
    }
    text + &format!("next: `cargo xtask deploy {}`\n", new.project)
}

/// A POSIX shell script that makes the same files.
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
    text + "cargo xtask ci generate\n"
}
