//! The files of a new project, as values.

use camino::{Utf8Path, Utf8PathBuf};
use serde::Serialize;

use base::error::{Result, refused, usage};
use workspace::config::Config;
use workspace::package_manager::LockFileKind;
use workspace::project::Project;

/// A template of a new project.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "camelCase")]
pub enum Template {
    /// Static files
    Static,
    /// Worker with code and a test
    Worker,
    /// Site built by Astro
    Astro,
    /// Single-page application built by Vite
    Vite,
    /// JSON API with Hono and a test
    Api,
}

/// A project to create.
#[derive(Clone, Debug, Serialize)]
pub struct NewProject {
    /// Its name: the folder's path below the folder of projects.
    pub project: String,
    /// Its folder, relative to the repository's root.
    pub dir: Utf8PathBuf,
    /// Its Worker's name.
    pub worker: String,
    /// The template.
    pub template: Template,
    /// Its files: path below `dir`, and text.
    #[serde(skip)]
    pub files: Vec<(&'static str, String)>,
    /// The command that adds its dependencies to the lock file of its workspace. `None` without a workspace or dependencies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub install: Option<WorkspaceInstall>,
}

/// A command in the root of a workspace.
#[derive(Clone, Debug, Serialize)]
pub struct WorkspaceInstall {
    /// The command.
    pub command: &'static str,
    /// The root, relative to the repository's root.
    pub dir: Utf8PathBuf,
}

/// The lock file of a template. A member of a workspace has none, because it would make that of the workspace out of date.
const LOCK: &str = "bun.lock";

/// The variables that each environment of the template `api` repeats.
const VARS: &str = "{ \"vars\": { \"GREETING\": \"Hello\" } }";

/// The maximum length of a Worker's name. The rest of a DNS label of 63 characters is for `-staging`
/// and the aliases of previews.
const LONGEST_WORKER: usize = 40;

macro_rules! template {
    ($folder:literal: $($path:literal),+ $(,)?) => {
        &[$(($path, include_str!(concat!("../../../templates/", $folder, "/", $path)))),+]
    };
}

const STATIC: &[(&str, &str)] = template!("static":
    "package.json", "wrangler.jsonc", "site/index.html", "site/404.html", "site/style.css");
const WORKER: &[(&str, &str)] = template!("worker":
    "package.json", "wrangler.jsonc", "src/worker.ts", "src/worker.test.ts");
const ASTRO: &[(&str, &str)] = template!("astro":
    "package.json", "bun.lock", "wrangler.jsonc", "astro.config.ts", "tsconfig.json",
    "src/layouts/Base.astro", "src/pages/index.astro", "src/pages/404.astro");
const VITE: &[(&str, &str)] = template!("vite":
    "package.json", "bun.lock", "wrangler.jsonc", "index.html", "src/main.ts", "src/counter.ts",
    "src/style.css");
const API: &[(&str, &str)] = template!("api":
    "package.json", "bun.lock", "wrangler.jsonc", "src/worker.ts", "src/worker.test.ts");

impl NewProject {
    /// Creates a project called `name` below `place`.
    pub fn new(
        name: &str,
        folder: &Utf8Path,
        template: Template,
        config: &Config,
        others: &[Project],
    ) -> Result<NewProject> {
        let trimmed = name.trim_end_matches('/');
        let project = trimmed.strip_prefix("projects/").unwrap_or(trimmed);
        check_name(project)?;
        let worker = worker(project);
        if worker.len() > LONGEST_WORKER {
            return Err(usage(format!(
                "`{project}` makes a Worker called `{worker}`, which has {} characters of at most {LONGEST_WORKER}",
                worker.len()
            ))
            .hint("choose a shorter one, because its name is part of every preview's host name"));
        }
        let environments: Vec<&str> = config
            .environments
            .iter()
            .filter(|(_, settings)| !settings.protected)
            .map(|(name, _)| name.as_str())
            .collect();
        check_worker(&worker, &environments, others)?;
        let dir = folder.join(project);
        let blocks = |content: &str| {
            let block = |name: &&str| format!("\n    \"{name}\": {content}");
            let blocks = environments.iter().map(block).collect::<Vec<_>>().join(",");
            let close = if blocks.is_empty() { "" } else { "\n  " };
            format!("{{{blocks}{close}}}")
        };
        let fill = |text: &str| {
            text.replace("{{worker}}", &worker)
                .replace("{{name}}", project)
                .replace("{{dir}}", dir.as_str())
                .replace("{{environments}}", &blocks("{}"))
                .replace("{{environments with vars}}", &blocks(VARS))
        };
        let sources = match template {
            Template::Static => STATIC,
            Template::Worker => WORKER,
            Template::Astro => ASTRO,
            Template::Vite => VITE,
            Template::Api => API,
        };
        let files = sources.iter().map(|(path, text)| (*path, fill(text))).collect();
        Ok(NewProject { project: project.to_owned(), dir, worker, template, files, install: None })
    }

    /// Makes it a member of the workspace with the root `root`.
    #[must_use]
    pub fn in_workspace(mut self, root: &Utf8Path, manager: Option<LockFileKind>) -> NewProject {
        let count = self.files.len();
        self.files.retain(|(path, _)| *path != LOCK);
        if self.files.len() < count {
            let command = manager.unwrap_or(LockFileKind::Npm).install_command();
            self.install = Some(WorkspaceInstall { command, dir: root.to_owned() });
        }
        self
    }
}

/// Checks a name, which is used in folders, host names, shells and pipelines.
fn check_name(name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let is_valid = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.ends_with(|c: char| c.is_ascii_alphanumeric())
            && part.chars().all(plain)
    };
    if name.split('/').all(is_valid) {
        return Ok(());
    }
    let failure = usage(format!(
        "`{name}` cannot be a project's name: letters, digits, dots and dashes, in folders that begin and end with a letter or digit"
    ));
    let near = name.split('/').map(|part| squeeze(part, plain)).filter(|part| is_valid(part));
    match near.collect::<Vec<_>>().join("/") {
        near if near.is_empty() => Err(failure),
        near => Err(failure.hint(format!("`cargo xtask new {near}`, for example"))),
    }
}

/// Returns the Worker's name of a project: lowercase letters, digits and dashes.
fn worker(project: &str) -> String {
    squeeze(&project.to_ascii_lowercase(), |c| c.is_ascii_alphanumeric())
}

/// Replaces each run of other characters with one dash, and trims dashes.
fn squeeze(text: &str, keep: impl Fn(char) -> bool) -> String {
    let parts = text.split(|c| !keep(c)).filter(|part| !part.is_empty());
    parts
        .collect::<Vec<_>>()
        .join("-")
        .trim_matches(|c: char| !c.is_ascii_alphanumeric())
        .to_owned()
}

/// Refuses a second project with the same Worker, because they would overwrite each other.
fn check_worker(worker: &str, environments: &[&str], others: &[Project]) -> Result<()> {
    let ours: Vec<String> = std::iter::once(worker.to_owned())
        .chain(environments.iter().map(|name| format!("{worker}-{name}")))
        .collect();
    let theirs = |other: &Project| {
        let blocks = other.environments.iter().map(|name| other.target(name).worker);
        std::iter::once(other.worker.clone()).chain(blocks).find(|name| ours.contains(name))
    };
    match others.iter().find_map(|other| Some((other, theirs(other)?))) {
        Some((other, taken)) => {
            Err(refused(format!("the Worker `{taken}` is deployed from {} already", other.dir))
                .hint("choose another name"))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folder_names_become_worker_names() {
        for (name, expected) in [
            ("shop", "shop"),
            ("rawkode.academy/shop", "rawkode-academy-shop"),
            ("Big_Site.v2", "big-site-v2"),
        ] {
            check_name(name).expect(name);
            assert_eq!(worker(name), expected);
        }
    }

    #[test]
    fn refuses_invalid_folder_names_with_a_suggestion() {
        for (name, near) in [
            ("my shop", Some("my-shop")),
            ("../shop", Some("shop")),
            ("/etc/shop", Some("etc/shop")),
            ("-x", Some("x")),
            ("a//b", Some("a/b")),
            ("", None),
            ("$(id)", Some("id")),
            (".hidden", Some("hidden")),
        ] {
            let failure = check_name(name).expect_err(name);
            let hint = near.map(|near| format!("`cargo xtask new {near}`, for example"));
            assert_eq!(failure.hints.first(), hint.as_ref(), "{name}");
        }
    }
}
