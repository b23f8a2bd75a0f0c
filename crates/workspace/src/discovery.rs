//! Finds what can be deployed: folders with a wrangler config.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use serde::Serialize;

use super::config::{self, CONFIG_FILE, Config};
use super::files::{Files, MANIFEST, MODULE, PROJECTS};
use super::glob;
use super::modules;
use super::package::Package;
use super::project::{Project, ends_with_path};
use super::wrangler::{CONFIG_NAMES, WranglerConfig};
use base::error::{Failure, refused};
use base::text::is_control_or_bidi;

/// Where projects are looked for: in the folders that the shared config names, else below `projects/`,
/// else, in a repository without that folder, everywhere.
#[derive(Debug)]
pub struct Place<'c> {
    patterns: Option<&'c [String]>,
    folder: &'static str,
}

impl<'c> Place<'c> {
    /// Of a repository with these files.
    #[must_use]
    pub fn of(files: &Files, config: &'c Config) -> Place<'c> {
        let folder = if files.is_folder(PROJECTS.into()) { PROJECTS } else { "" };
        Place { patterns: config.projects.as_deref(), folder }
    }

    /// The folder for a new project: the one that the first pattern begins with.
    #[must_use]
    pub fn folder(&self) -> &Utf8Path {
        let patterns = self.patterns.into_iter().flatten();
        let first = patterns.map(String::as_str).find(|pattern| !pattern.starts_with('!'));
        let fixed = first.map(|pattern| pattern.split(['*', '?', '{']).next().unwrap_or_default());
        Utf8Path::new(fixed.unwrap_or(self.folder).trim_end_matches('/'))
    }

    /// Whether `dir` belongs to it.
    #[must_use]
    pub fn holds(&self, dir: &Utf8Path) -> bool {
        match self.patterns {
            Some(patterns) => glob::names(patterns, dir),
            None => dir.starts_with(self.folder) && !modules::is_of_tool(dir),
        }
    }
}

/// Tells whether `patterns`, as the field `projects` of the config has them, name the folder `dir`.
#[must_use]
pub fn is_named(patterns: &[String], dir: &Utf8Path) -> bool {
    glob::names(patterns, dir)
}

/// A wrangler config that no project can be made of.
#[derive(Clone, Debug, Serialize)]
pub struct Broken {
    /// Its folder, relative to the repository's root.
    pub dir: Utf8PathBuf,
    /// The config, relative to the repository's root.
    pub config: Utf8PathBuf,
    /// What is wrong with it.
    #[serde(serialize_with = "message")]
    pub failure: Failure,
}

fn message<S: serde::Serializer>(failure: &Failure, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&failure.message)
}

impl Broken {
    /// Whether a person may mean it by `name`.
    #[must_use]
    pub fn answers_to(&self, name: &str) -> bool {
        ends_with_path(&self.dir, name)
    }

    /// Whether it can be read among these files.
    #[must_use]
    pub fn is_mended(&self, files: &Files) -> bool {
        let config = |text: String| WranglerConfig::parse(&self.config, &text).is_ok();
        let manifest = |dir: &Utf8Path| {
            let text = files.read(&dir.join(MANIFEST));
            text.is_ok_and(|text| Package::parse(dir, &text).is_ok())
        };
        let package = self.dir.ancestors().find(|dir| files.is_file(&dir.join(MANIFEST)));
        !self.dir.as_str().chars().any(is_control_or_bidi)
            && files.read(&self.config).map_or_else(|_| files.is_gone(&self.config), config)
            && package.is_none_or(manifest)
    }

    /// Returns the error of its row, where it is meant among others. It stops no other project.
    #[must_use]
    pub fn row(&self) -> Failure {
        let mut failure = self.failure.clone();
        if !failure.message.starts_with(self.config.as_str()) {
            failure.message = format!("{}: {}", self.config, failure.message);
        }
        failure.hint(self.leave_out())
    }

    /// Returns the way to leave it out.
    #[must_use]
    pub fn leave_out(&self) -> String {
        format!("leave it out: `\"projects\": [\"**\", \"!{}\"]` in {CONFIG_FILE}", self.dir)
    }
}

/// What projects are made of.
pub(super) struct Discovery<'w> {
    files: &'w Files,
    place: Place<'w>,
    packages: &'w BTreeMap<String, Package>,
    unreadable: &'w BTreeMap<Utf8PathBuf, String>,
}

impl<'w> Discovery<'w> {
    pub(super) fn new(
        files: &'w Files,
        config: &'w Config,
        packages: &'w BTreeMap<String, Package>,
        unreadable: &'w BTreeMap<Utf8PathBuf, String>,
    ) -> Discovery<'w> {
        Discovery { files, place: Place::of(files, config), packages, unreadable }
    }

    /// The projects whose configs are among `listed`, and the configs that cannot be read.
    pub(super) fn find(&self, listed: &[Utf8PathBuf]) -> (Vec<Project>, Vec<Broken>) {
        let rank =
            |path: &Utf8Path| CONFIG_NAMES.iter().position(|name| path.file_name() == Some(name));
        let mut configs: BTreeMap<&Utf8Path, &Utf8Path> = BTreeMap::new();
        for path in listed.iter().filter(|path| rank(path).is_some()) {
            let dir = path.parent().unwrap_or(Utf8Path::new(""));
            let preferred = configs.entry(dir).or_insert(path);
            if rank(path) < rank(preferred) {
                *preferred = path;
            }
        }
        let (mut projects, mut broken) = (Vec::new(), Vec::new());
        for (dir, config) in configs.into_iter().filter(|(dir, _)| self.place.holds(dir)) {
            match self.project(dir, config) {
                Ok(project) => projects.push(project),
                Err(failure) => {
                    broken.push(Broken { dir: dir.to_owned(), config: config.to_owned(), failure });
                }
            }
        }
        (projects, broken)
    }

    fn project(&self, dir: &Utf8Path, config: &Utf8Path) -> Result<Project, Failure> {
        if dir.as_str().chars().any(is_control_or_bidi) {
            return Err(refused(format!(
                "the folder {dir:?} has an invisible character in its name"
            ))
            .hint("rename it: such a name looks like another one, and can end a line"));
        }
        let wrangler = WranglerConfig::parse(config, &self.files.read(config)?)?;
        let known = |dir: &&Utf8Path| {
            self.packages.contains_key(dir.as_str()) || self.unreadable.contains_key(*dir)
        };
        let nearest = dir.ancestors().find(known);
        if let Some(message) = nearest.and_then(|dir| self.unreadable.get(dir)) {
            return Err(refused(message.clone()));
        }
        Ok(Project {
            name: dir.strip_prefix(PROJECTS).unwrap_or(dir).to_string(),
            dir: dir.to_owned(),
            config: config.to_owned(),
            worker: wrangler.target(config::LOCAL).worker,
            environments: wrangler.environments.clone(),
            package: nearest.and_then(|dir| self.packages.get(dir.as_str())).cloned(),
            module: self.files.is_file(&dir.join(MODULE)),
            wrangler,
        })
    }
}
