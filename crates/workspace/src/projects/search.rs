//! Explains why a repository has no project, or not those that a reader expects: its wrangler configs are in folders that are
//! not searched, cannot be used, or do not exist.

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value;

use crate::Workspace;
use crate::config::CONFIG_FILE;
use crate::files::names::PROJECTS;
use crate::projects::discovery::{BrokenConfig, MAX_LISTED_NAMES, unnamed_note};
use crate::projects::project::ends_with_path;
use base::error::{Error, usage};
use base::text::list_first;

impl Workspace {
    /// Returns the error of a command that needs a project. `None` if there is a project.
    #[must_use]
    pub fn no_project(&self) -> Option<Error> {
        if !self.projects.is_empty() {
            return None;
        }
        if BrokenConfig::needing_attention(&self.broken).next().is_some() {
            return Some(
                usage("no wrangler config can be used as a project")
                    .hint("run `cargo xtask doctor`, which names the problem of each"),
            );
        }
        if let Some(failure) = self.all_outside() {
            return Some(failure);
        }
        let outside = &self.outside_configs;
        if let Some(first) = outside.first() {
            let pattern = pattern_of(first.parent().unwrap_or(Utf8Path::new("")));
            return Some(
                usage(format!(
                    "`projects` in {CONFIG_FILE} leaves out every wrangler config: {}",
                    list_first(MAX_LISTED_NAMES, outside)
                ))
                .hint(format!(
                    "add the folders of your projects to that list, such as `{pattern}`"
                )),
            );
        }
        if let Some(note) = unnamed_note(&self.broken) {
            return Some(usage(note).hint("add a `name` to each that is a project"));
        }
        Some(
            usage("no folder has a wrangler config that git does not ignore").hint(
                "run `cargo xtask new NAME`, or add a wrangler config to the folder of a Worker",
            ),
        )
    }

    /// Adds to the error of an unknown project that there is no project, or that its folder is not searched.
    pub(crate) fn explain_unknown(&self, name: &str, unknown: Error) -> Error {
        let mut outside = self.outside_configs.iter();
        let own = outside.find(|path| path.parent().is_some_and(|dir| ends_with_path(dir, name)));
        if let Some(path) = own {
            let message =
                format!("{}: {path} is in a folder that is not searched", unknown.message);
            return usage(message).hint(self.include(std::slice::from_ref(path)));
        }
        let unknown = match self.no_project() {
            Some(none) => {
                let message = format!("{}: {}", unknown.message, none.message);
                none.with_message(message)
            }
            None => unknown,
        };
        match self.submodule_command() {
            Some(update) => unknown.hint(format!(
                "run `{update}` if it is in {}, which is not checked out",
                list_first(MAX_LISTED_NAMES, &self.missing_submodules)
            )),
            None => unknown,
        }
    }

    /// Returns the hint that adds the folders of these configs to those that are searched.
    fn include(&self, outside: &[Utf8PathBuf]) -> String {
        match (&self.config.projects, outside.first()) {
            (Some(_), Some(first)) => {
                let pattern = pattern_of(first.parent().unwrap_or(Utf8Path::new("")));
                format!("add `{pattern}` to `projects` in {CONFIG_FILE}")
            }
            _ => format!("add `\"projects\": {}` to {CONFIG_FILE}", including(outside)),
        }
    }

    /// Names the configs that are not searched because `projects/` has projects. `None` if there are none, or if the shared
    /// config names the folders.
    pub(crate) fn outside_note(&self) -> Option<String> {
        let outside = &self.outside_configs;
        (self.folders.is_projects_folder() && !outside.is_empty()).then(|| {
            format!(
                "not searched, because {PROJECTS}/ has projects: {}; `\"projects\": {}` in {CONFIG_FILE} includes {}",
                list_first(MAX_LISTED_NAMES, outside),
                including(outside),
                if outside.len() == 1 { "it" } else { "them" }
            )
        })
    }
}

/// Returns the list of folders that includes `outside` and the folder `projects/`.
fn including(outside: &[Utf8PathBuf]) -> String {
    let folders = outside.iter().map(|path| path.parent().unwrap_or(Utf8Path::new("")));
    let named: Vec<String> = folders.map(pattern_of).collect();
    if named.len() > MAX_LISTED_NAMES {
        return r#"["**"]"#.to_owned();
    }
    format!("[\"{PROJECTS}/**\", {}]", named.join(", "))
}

/// Returns the pattern of one folder, in quotes.
fn pattern_of(dir: &Utf8Path) -> String {
    Value::from(if dir.as_str().is_empty() { "." } else { dir.as_str() }).to_string()
}
