//! Projects, and the lookup of a project by a name on the command line.

use camino::{Utf8Path, Utf8PathBuf};
use serde::Serialize;

use crate::config::Config;
use crate::packages::package::Package;
use crate::settings::before_deploy::BeforeDeploy;
use crate::settings::health::Health;
use crate::settings::strategy::Strategy;
use crate::settings::wrangler_flags::WranglerFlags;
use crate::wrangler::{Target, WranglerConfig};
use base::error::{Error, Result, did_you_mean, usage};

/// A folder with a wrangler config.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Project {
    /// The shortest unique name: the folder's path below `projects/`.
    pub name: String,
    /// The folder, relative to the repository's root.
    pub dir: Utf8PathBuf,
    /// The wrangler config, relative to the repository's root.
    pub config: Utf8PathBuf,
    /// The Worker's name at the top level of the config.
    pub worker: String,
    /// The `env` blocks of the config.
    pub environments: Vec<String>,
    /// The package that builds it: its own, or one in a parent folder.
    pub package: Option<Package>,
    /// `true` if it has a Dagger module.
    pub module: bool,
    /// The parsed config.
    #[serde(skip)]
    pub wrangler: WranglerConfig,
}

impl Project {
    /// Returns the target of the wrangler config in `environment`.
    #[must_use]
    pub fn target(&self, environment: &str) -> Target {
        self.wrangler.target(environment)
    }

    /// Returns the settings of the health check.
    #[must_use]
    pub fn health(&self) -> Health {
        let settings = self.package.as_ref().map(|package| &package.settings);
        settings.map(|settings| settings.health.clone()).unwrap_or_default()
    }

    /// Returns the commands that run before the upload of a deployment. `None` without a package.
    #[must_use]
    pub fn before_deploy(&self) -> Option<&BeforeDeploy> {
        self.package.as_ref().map(|package| &package.settings.before_deploy)
    }

    /// Returns wrangler's own flags. `None` without a package.
    #[must_use]
    pub fn wrangler_flags(&self) -> Option<&WranglerFlags> {
        self.package.as_ref().map(|package| &package.settings.wrangler)
    }

    /// Returns the path of the `package.json` for the project's `xtask` settings, even if it does not exist.
    #[must_use]
    pub fn manifest(&self) -> Utf8PathBuf {
        self.package.as_ref().map_or(&self.dir, |package| &package.dir).join("package.json")
    }

    /// Returns the strategy of its previews in `environment`: the requested one, else its
    /// package's, else the environment's.
    #[must_use]
    pub fn strategy(
        &self,
        config: &Config,
        environment: &str,
        asked: Option<Strategy>,
    ) -> Strategy {
        let own = self.package.as_ref().and_then(|package| package.settings.preview_strategy);
        let shared = config.environments.get(environment).and_then(|e| e.preview_strategy);
        asked.or(own).or(shared).unwrap_or_default()
    }

    /// Returns the name as a file name: `rawkode.academy/website` becomes
    /// `rawkode.academy-website`.
    #[must_use]
    pub fn slug(&self) -> String {
        self.name.replace('/', "-")
    }

    fn answers_to(&self, name: &str) -> bool {
        let package = self.package.as_ref().and_then(|package| package.name.as_deref());
        let stem = self.config.with_extension("");
        // The folder has several configs.
        let path = if ends_with_path(&stem, &self.name) { &stem } else { &self.dir };
        ends_with_path(path, name) || self.worker == name || package == Some(name)
    }
}

/// Returns true if `path` ends with the whole components of `suffix`.
pub(crate) fn ends_with_path(path: &Utf8Path, suffix: &str) -> bool {
    !suffix.is_empty() && path.ends_with(suffix.trim_end_matches('/').trim_start_matches("./"))
}

/// Finds a project by its exact folder, else by any unique path suffix, Worker name or package
/// name.
pub fn select<'a>(projects: &'a [Project], name: &str) -> Result<&'a Project> {
    let exact = projects.iter().find(|p| p.dir == name.trim_end_matches('/') || p.name == name);
    if let Some(project) = exact {
        return Ok(project);
    }
    let found: Vec<&Project> = projects.iter().filter(|p| p.answers_to(name)).collect();
    match found.as_slice() {
        [project] => Ok(project),
        [] => Err(unknown(projects, name)),
        several => Err(usage(format!("`{name}` means more than one project")).hint(format!(
            "say which: {}",
            several.iter().map(|p| p.name.as_str()).collect::<Vec<_>>().join(", ")
        ))),
    }
}

fn unknown(projects: &[Project], name: &str) -> Error {
    let failure = usage(format!("no project is called `{name}`"));
    if projects.is_empty() {
        return failure;
    }
    let spellings = projects.iter().flat_map(|project| {
        let last = project.dir.file_name().map(str::to_owned);
        let package = project.package.as_ref().and_then(|package| package.name.clone());
        [Some(project.name.clone()), last, Some(project.worker.clone()), package]
            .into_iter()
            .flatten()
    });
    let spellings: Vec<String> = spellings.collect();
    let hint = did_you_mean(name, spellings.iter().map(String::as_str));
    let failure = hint.into_iter().fold(failure, Error::hint);
    let shown: Vec<&str> = projects.iter().take(10).map(|p| p.name.as_str()).collect();
    let more = if projects.len() > shown.len() { ", … (`cargo xtask projects`)" } else { "" };
    failure.hint(format!("projects: {}{more}", shown.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(dir: &str, worker: &str, package: Option<&str>) -> Project {
        let wrangler = WranglerConfig::parse(
            Utf8Path::new("wrangler.json"),
            &format!("{{\"name\":\"{worker}\"}}"),
        )
        .expect("valid");
        let text = package.map(|name| format!("{{\"name\":\"{name}\"}}"));
        Project {
            name: dir.trim_start_matches("projects/").to_owned(),
            dir: dir.into(),
            config: format!("{dir}/wrangler.json").into(),
            worker: worker.to_owned(),
            environments: Vec::new(),
            package: text.map(|text| Package::parse(Utf8Path::new(dir), &text).expect("valid")),
            module: false,
            wrangler,
        }
    }

    fn tree() -> Vec<Project> {
        vec![
            project("projects/a.com/website", "a-site", Some("@a/web")),
            project("projects/b.com/website", "b-site", None),
            project("projects/b.com/api", "api", None),
        ]
    }

    #[test]
    fn selection_by_suffix_worker_and_package() {
        let tree = tree();
        for (name, dir) in [
            ("a.com/website", "projects/a.com/website"),
            ("projects/a.com/website/", "projects/a.com/website"),
            ("b-site", "projects/b.com/website"),
            ("@a/web", "projects/a.com/website"),
            ("api", "projects/b.com/api"),
        ] {
            assert_eq!(select(&tree, name).expect(name).dir, dir);
        }
    }

    #[test]
    fn ambiguous_names_list_the_candidates() {
        let failure = select(&tree(), "website").expect_err("ambiguous");
        assert_eq!(failure.hints, ["say which: a.com/website, b.com/website"]);
    }

    #[test]
    fn unknown_names_offer_the_nearest() {
        let failure = select(&tree(), "b-stie").expect_err("unknown");
        assert_eq!(failure.hints[0], "did you mean `b-site`?");
        assert!(select(&tree(), "site").is_err(), "a suffix is made of whole folders");
    }
}
