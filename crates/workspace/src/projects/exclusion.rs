//! The hints that exclude a config which is no project of the delivery, such as that of a Pages project or a fixture.

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value;

use crate::Workspace;
use crate::config::{CONFIG_FILE, Config};
use crate::files::names::PROJECTS;
use crate::projects::discovery::{BrokenConfig, MAX_LISTED_NAMES};
use base::error::Error;
use base::same_errors;
use base::text::list_first;

/// Returns the hint that excludes the projects in `dir`.
#[must_use]
pub fn leave_out(config: &Config, dir: &Utf8Path) -> String {
    leave_out_patterns(config, "it", &[excluding(dir)], dir.starts_with(PROJECTS))
}

/// Returns the hint that adds patterns to the list in the shared config, which a new list would replace.
fn leave_out_patterns(
    config: &Config,
    which: &str,
    patterns: &[String],
    is_below_projects: bool,
) -> String {
    if config.projects.is_some() {
        let patterns = list_first(MAX_LISTED_NAMES, patterns);
        return format!("leave {which} out: add `{patterns}` to `projects` in {CONFIG_FILE}");
    }
    // The folder is searched alone if it has projects.
    let all = if is_below_projects { format!("{PROJECTS}/**") } else { "**".to_owned() };
    let cut = if patterns.len() > MAX_LISTED_NAMES { ", …" } else { "" };
    let patterns: Vec<&str> = patterns.iter().take(MAX_LISTED_NAMES).map(String::as_str).collect();
    let patterns = patterns.join(", ");
    format!("leave {which} out: `\"projects\": [\"{all}\", {patterns}{cut}]` in {CONFIG_FILE}")
}

/// Returns the pattern that excludes a folder, in quotes.
fn excluding(dir: &Utf8Path) -> String {
    let dir = if dir.as_str().is_empty() { Utf8Path::new(".") } else { dir };
    Value::from(format!("!{dir}")).to_string()
}

impl Workspace {
    /// Returns the errors of the configs that cannot be used, for a list of projects. Errors of the same kind are one, with
    /// the positions of its configs. They stop no other project.
    #[must_use]
    pub fn broken_rows(&self, broken: &[&BrokenConfig]) -> Vec<(Vec<usize>, Error)> {
        let named: Vec<_> = broken.iter().map(|one| (one.label(), one.labeled_failure())).collect();
        let mut rows = same_errors::join(&named);
        for (positions, error) in &mut rows {
            let parts: Vec<&BrokenConfig> =
                positions.iter().filter_map(|position| broken.get(*position).copied()).collect();
            if parts.iter().all(|one| one.may_be_left_out()) {
                let dirs: Vec<&Utf8PathBuf> = parts.iter().map(|one| &one.dir).collect();
                error.hints.push(self.leave_out_all(&dirs));
            }
        }
        rows
    }

    /// Returns the hint that excludes these folders. If they share a folder without a project, its pattern is enough.
    fn leave_out_all(&self, dirs: &[&Utf8PathBuf]) -> String {
        let [first, others @ ..] = dirs else { return String::new() };
        if others.is_empty() {
            return leave_out(&self.config, first);
        }
        let is_below = first.starts_with(PROJECTS);
        let shared = first.ancestors().find(|above| {
            !above.as_str().is_empty() && others.iter().all(|dir| dir.starts_with(above))
        });
        let shared = shared.filter(|above| {
            *above != PROJECTS
                && !self.projects.iter().any(|project| project.dir.starts_with(above))
                && !self.broken.iter().any(|one| {
                    one.dir.starts_with(above) && !dirs.iter().any(|dir| **dir == one.dir)
                })
        });
        let patterns = match shared {
            Some(above) => vec![Value::from(format!("!{above}/**")).to_string()],
            None => dirs.iter().map(|dir| excluding(dir)).collect(),
        };
        leave_out_patterns(&self.config, "them", &patterns, is_below)
    }
}
