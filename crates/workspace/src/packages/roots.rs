//! The roots of workspaces: folders whose patterns select the packages that are installed with them.
//! The package manager determines which file has the patterns.

use camino::Utf8Path;
use serde_json::Value;

use crate::files::names::{MANIFEST, PNPM};
use crate::files::pattern::Patterns;
use crate::files::yaml::Yaml;
use crate::packages::manifest::InstallRules;
use crate::packages::package::Package;
use crate::packages::package_manager::LockFileKind;

/// The files of a folder that can make it a root.
#[derive(Debug, Default)]
pub(crate) struct RootFiles<'f> {
    pub(crate) package: Option<&'f Package>,
    pub(crate) pnpm_workspace: Option<&'f str>,
    pub(crate) npmrc: Option<&'f str>,
    pub(crate) yarnrc: Option<&'f str>,
    /// Its `yarn.lock`, if there is another one below it.
    pub(crate) yarn_lock: Option<&'f str>,
    pub(crate) locks: &'f [LockFileKind],
}

impl RootFiles<'_> {
    /// Returns the manager that installs the folder.
    fn manager(&self) -> Option<LockFileKind> {
        let field = self.package.and_then(|package| package.package_manager.as_deref());
        LockFileKind::decide(self.locks, field.and_then(LockFileKind::from_field))
    }

    /// Returns the rules of all its files. `pnpm` is the parsed `pnpm-workspace.yaml`.
    fn rules(&self, pnpm: Option<&Yaml>) -> InstallRules {
        let mut rules = self.package.map(|package| package.rules.clone()).unwrap_or_default();
        if let Some(pnpm) = pnpm {
            rules.add_pnpm(&to_json(pnpm));
        }
        if let Some(Ok(yarnrc)) = self.yarnrc.map(Yaml::parse) {
            let yarnrc = to_json(&yarnrc);
            rules.add_specs(&yarnrc["packageExtensions"]);
            rules.add_catalogs(&yarnrc["catalog"], &yarnrc["catalogs"]);
        }
        rules
    }
}

/// The root of a workspace.
#[derive(Clone, Debug, Default)]
pub struct Root {
    /// The manager that installs it. `None` if its files name none.
    pub manager: Option<LockFileKind>,
    /// The patterns of `pnpm-workspace.yaml`, if they count.
    pnpm_patterns: Option<Patterns>,
    /// The patterns of `workspaces` in its `package.json`, if they count.
    own_patterns: Option<Patterns>,
    /// `true` if it has a `pnpm-workspace.yaml`, at which pnpm stops to look for a root.
    pub(crate) has_pnpm_file: bool,
    /// `true` if `workspaces` in its `package.json` has patterns.
    pub(crate) has_own_patterns: bool,
    /// `true` if each member has its own lock file, which only pnpm can do (`sharedWorkspaceLockfile: false`).
    has_separate_locks: bool,
    /// `true` if its `yarn.lock` is that of Yarn berry. Known only if there is another `yarn.lock` below it.
    pub(crate) is_berry: bool,
    /// `true` if a plain version resolves to a member. pnpm does this only if
    /// `linkWorkspacePackages` is set (<https://pnpm.io/settings#linkworkspacepackages>).
    pub(crate) links_versions: bool,
    /// The rules for everything that is installed below it.
    pub(crate) rules: InstallRules,
    /// The problem of its patterns.
    pub(crate) problem: Option<String>,
    /// `true` if it has a lock file.
    pub(crate) is_locked: bool,
}

impl Root {
    /// Parses the root from the files of a folder. `None` if it has no patterns of members.
    pub(crate) fn new(files: &RootFiles) -> Option<Root> {
        let own = files.package.map_or(&[][..], |package| &package.workspaces);
        if own.is_empty() && files.pnpm_workspace.is_none() {
            return None;
        }
        let mut root = Root {
            manager: files.manager(),
            has_pnpm_file: files.pnpm_workspace.is_some(),
            has_own_patterns: !own.is_empty(),
            is_locked: !files.locks.is_empty(),
            is_berry: files.yarn_lock.is_some_and(|lock| lock.contains("__metadata:")),
            ..Root::default()
        };
        let pnpm = root.parse_pnpm(files.pnpm_workspace);
        root.rules = files.rules(pnpm.as_ref());
        root.parse_members(pnpm.iter().flat_map(packages).collect(), own);
        let npmrc = files.npmrc.unwrap_or_default();
        root.has_separate_locks = pnpm.as_ref().is_some_and(has_separate_locks)
            || npmrc_values(npmrc, "shared-workspace-lockfile").any(|value| value == "false");
        root.links_versions = root.manager.map_or(!own.is_empty(), |it| it != LockFileKind::Pnpm)
            || pnpm.as_ref().is_some_and(links_versions)
            || npmrc_values(npmrc, "link-workspace-packages").any(|value| value != "false");
        Some(root)
    }

    /// Parses `pnpm-workspace.yaml`. Its error is a problem only if pnpm may install the root.
    fn parse_pnpm(&mut self, text: Option<&str>) -> Option<Yaml> {
        match Yaml::parse(text?) {
            Ok(yaml) => Some(yaml),
            Err(error) => {
                if self.manager.is_none_or(|manager| manager == LockFileKind::Pnpm) {
                    self.problem = Some(format!("{PNPM}: {error}"));
                }
                None
            }
        }
    }

    /// Parses the patterns of `pnpm-workspace.yaml` and of `workspaces`, as far as they count.
    fn parse_members(&mut self, pnpm: Vec<&str>, own: &[String]) {
        let (by_pnpm, by_others) = match self.manager {
            // A manager without its own list cannot contradict the list of another one.
            Some(LockFileKind::Pnpm) => (true, pnpm.is_empty()),
            Some(_) => (own.is_empty(), true),
            None => (true, true),
        };
        if by_pnpm {
            self.pnpm_patterns = self.parse_patterns(PNPM, pnpm);
        }
        if by_others {
            self.own_patterns = self.parse_patterns(MANIFEST, own);
        }
    }

    fn parse_patterns<P: AsRef<str>>(
        &mut self,
        file: &str,
        patterns: impl IntoIterator<Item = P>,
    ) -> Option<Patterns> {
        match Patterns::new(patterns) {
            Ok(patterns) => Some(patterns),
            Err(error) => {
                self.problem = Some(format!("{file}: {error}"));
                None
            }
        }
    }

    /// Returns true if the folder `below`, relative to the root, is one of its members.
    #[must_use]
    pub fn names(&self, below: &Utf8Path) -> bool {
        let all = [&self.pnpm_patterns, &self.own_patterns];
        all.into_iter().flatten().any(|patterns| patterns.matches(below))
    }

    /// Returns true if an install of the root by its lock file installs the folder `below`, relative to the root. Only the
    /// list of the manager that installs it counts.
    #[must_use]
    pub(crate) fn installs(&self, below: &Utf8Path) -> bool {
        let patterns = match self.manager.filter(|_| self.is_locked) {
            Some(LockFileKind::Pnpm) if self.has_separate_locks => &None,
            Some(LockFileKind::Pnpm) => &self.pnpm_patterns,
            Some(_) => &self.own_patterns,
            None => &None,
        };
        patterns.as_ref().is_some_and(|patterns| patterns.matches(below))
    }

    /// Returns true if `manager` takes this folder for a root before it looks above.
    pub(crate) fn ends_search_of(&self, manager: Option<LockFileKind>) -> bool {
        match manager {
            Some(LockFileKind::Pnpm) => self.has_pnpm_file,
            Some(LockFileKind::Yarn) => self.has_own_patterns,
            _ => false,
        }
    }

    /// Returns true if a peer of a member resolves by its name alone. Yarn warns if the version does
    /// not fit, but uses the member.
    pub(crate) fn takes_any_peer(&self) -> bool {
        self.manager.is_none_or(|manager| manager == LockFileKind::Yarn)
    }

    /// Returns the specifier of `name` in a catalog.
    #[must_use]
    pub fn catalog(&self, catalog: &str, name: &str) -> Option<&str> {
        self.rules.catalogs.get(catalog)?.get(name).map(String::as_str)
    }
}

fn packages(pnpm: &Yaml) -> impl Iterator<Item = &str> {
    let packages = pnpm.get("packages");
    let only = packages.and_then(Yaml::text).filter(|text| !text.is_empty());
    packages.into_iter().flat_map(Yaml::items).filter_map(Yaml::text).chain(only)
}

fn links_versions(pnpm: &Yaml) -> bool {
    let setting = pnpm.get("linkWorkspacePackages").and_then(Yaml::text);
    setting.is_some_and(|setting| !["false", ""].contains(&setting))
}

fn has_separate_locks(pnpm: &Yaml) -> bool {
    pnpm.get("sharedWorkspaceLockfile").and_then(Yaml::text) == Some("false")
}

/// Returns the values of `key` in a `.npmrc`.
fn npmrc_values<'t>(npmrc: &'t str, key: &'t str) -> impl Iterator<Item = &'t str> {
    let entries = npmrc.lines().filter_map(|line| line.split_once('='));
    entries.filter(move |(name, _)| name.trim() == key).map(|(_, value)| value.trim())
}

/// Returns a YAML value as JSON, in which every scalar is a string.
pub(crate) fn to_json(yaml: &Yaml) -> Value {
    match yaml {
        Yaml::Scalar(text) => Value::String(text.clone()),
        Yaml::List(items) => items.iter().map(to_json).collect(),
        Yaml::Map(entries) => {
            let entries = entries.iter().map(|(key, value)| (key.clone(), to_json(value)));
            Value::Object(entries.collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(manifest: &str, pnpm: Option<&str>, locks: &[LockFileKind]) -> Root {
        let package = Package::parse(Utf8Path::new(""), manifest).expect("valid");
        let files = RootFiles {
            package: Some(&package),
            pnpm_workspace: pnpm,
            locks,
            ..RootFiles::default()
        };
        Root::new(&files).expect("a root")
    }

    #[test]
    fn lock_file_and_package_manager_choose_the_patterns() {
        use LockFileKind::{Npm, Pnpm};
        const PNPM: Option<&str> = Some("packages: [\"b/*\"]");
        const OWN: &str = r#"{ "workspaces": ["a/*"] }"#;
        const FIELD: &str = r#"{ "workspaces": ["a/*"], "packageManager": "pnpm@9.0.0" }"#;
        for (manifest, pnpm, locks, members, links) in [
            (OWN, None, &[][..], [true, false], true),
            (OWN, PNPM, &[Npm], [true, false], true),
            (OWN, PNPM, &[Pnpm], [false, true], false),
            (OWN, PNPM, &[], [true, true], true),
            (OWN, PNPM, &[Npm, Pnpm], [true, true], true),
            (FIELD, PNPM, &[Npm, Pnpm], [false, true], false),
            (FIELD, PNPM, &[Npm], [true, true], true),
            (FIELD, PNPM, &[], [false, true], false),
            // Its manager has no list that contradicts the other one.
            ("{}", PNPM, &[Npm], [false, true], true),
            (OWN, Some("overrides: {}"), &[Pnpm], [true, false], false),
        ] {
            let root = root(manifest, pnpm, locks);
            let found = ["a/x", "b/x"].map(|dir| root.names(Utf8Path::new(dir)));
            assert_eq!(
                (found, root.links_versions),
                (members, links),
                "{manifest} {pnpm:?} {locks:?}"
            );
        }
    }

    #[test]
    fn pnpm_workspaces_in_every_style() {
        for text in [
            "# who\npackages:\n  - \"a\"\n  - b # this too\ncatalog:\n  - c\n",
            "packages: [a, 'b']\n",
            "\u{feff}packages:\n- a\n- \"b\"\n- '!c'\n",
            "x: &x a\npackages: [*x, b]\n",
        ] {
            let root = root("{}", Some(text), &[]);
            let found = ["a", "b", "c"].map(|dir| root.names(Utf8Path::new(dir)));
            assert_eq!(found, [true, true, false], "{text}");
        }
        for (text, npmrc, expected) in [
            ("packages: [a]\n", "", false),
            ("packages: [a]\nlinkWorkspacePackages: deep\n", "", true),
            ("packages: [a]\nlinkWorkspacePackages: false\n", "", false),
            ("packages: [a]\n", "link-workspace-packages = true", true),
        ] {
            let files = RootFiles {
                pnpm_workspace: Some(text),
                npmrc: Some(npmrc),
                ..RootFiles::default()
            };
            assert_eq!(Root::new(&files).expect("a root").links_versions, expected, "{text}");
        }
        let broken = root("{}", Some("packages: ["), &[]);
        assert!(broken.problem.is_some_and(|problem| problem.starts_with("pnpm-workspace.yaml: ")));
        let limit = root("{}", Some(&format!("packages: ['{}']", "a".repeat(5000))), &[]);
        assert!(limit.problem.is_some_and(|problem| problem.contains("4096")));
        assert!(
            root(r#"{ "workspaces": ["a"] }"#, Some("packages: ["), &[LockFileKind::Npm])
                .problem
                .is_none()
        );
    }
}
