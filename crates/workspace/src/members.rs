//! Which packages are installed together, so that a dependency's name finds one of them.

use std::collections::BTreeMap;

use camino::Utf8Path;

use super::package::Package;
use super::{glob, range};

/// The workspaces of npm, Bun, Yarn and pnpm in one repository.
#[derive(Debug)]
pub struct Members<'w> {
    by_name: BTreeMap<&'w str, Vec<&'w Package>>,
    roots: BTreeMap<&'w str, Root>,
    /// The root of the workspace that each package belongs to.
    of: BTreeMap<&'w str, &'w str>,
}

/// A folder whose patterns say which packages are installed with it.
#[derive(Clone, Debug)]
pub struct Root {
    /// The patterns, relative to the folder.
    patterns: Vec<String>,
    /// Whether a plain version is looked for among the members. pnpm does not unless it is told to
    /// (`linkWorkspacePackages`, <https://pnpm.io/settings#linkworkspacepackages>).
    links_versions: bool,
}

impl Root {
    /// Returns the patterns of its members.
    pub(crate) fn patterns(&self) -> Vec<String> {
        self.patterns.clone()
    }

    /// The root that a `pnpm-workspace.yaml` makes of its folder. Of YAML it understands what pnpm
    /// writes: a list in block or flow style.
    #[must_use]
    pub fn pnpm(yaml: &str, npmrc: &str) -> Root {
        let mut patterns = Vec::new();
        let (mut inside, mut links_versions) = (false, false);
        let scalar = |text: &str| {
            text.split(" #").next().unwrap_or_default().trim().trim_matches(['"', '\'']).to_owned()
        };
        for line in yaml.lines().filter(|line| !line.trim_start().starts_with('#')) {
            if let Some(item) = line.trim_start().strip_prefix("- ").filter(|_| inside) {
                patterns.push(scalar(item));
            } else if !line.starts_with([' ', '\t']) && !line.trim().is_empty() {
                let (key, value) = line.split_once(':').unwrap_or((line, ""));
                inside = key == "packages";
                if let Some(list) = value.trim().strip_prefix('[').filter(|_| inside) {
                    let list = list.split(']').next().unwrap_or_default();
                    patterns.extend(list.split(',').map(scalar).filter(|item| !item.is_empty()));
                }
                links_versions |= key == "linkWorkspacePackages" && scalar(value) != "false";
            }
        }
        let told = |line: &str| {
            line.split_once('=').is_some_and(|(key, value)| {
                key.trim() == "link-workspace-packages" && value.trim() != "false"
            })
        };
        Root { patterns, links_versions: links_versions || npmrc.lines().any(told) }
    }
}

impl<'w> Members<'w> {
    /// The workspaces of `packages`; `pnpm` are the folders with a `pnpm-workspace.yaml`.
    #[must_use]
    pub fn new(
        packages: &'w BTreeMap<String, Package>,
        pnpm: impl IntoIterator<Item = (&'w str, Root)>,
    ) -> Members<'w> {
        let mut by_name: BTreeMap<&str, Vec<&Package>> = BTreeMap::new();
        let mut roots = BTreeMap::new();
        for package in packages.values() {
            if let Some(name) = &package.name {
                by_name.entry(name).or_default().push(package);
            }
            if !package.workspaces.is_empty() {
                let patterns = package.workspaces.clone();
                roots.insert(package.dir.as_str(), Root { patterns, links_versions: true });
            }
        }
        roots.extend(pnpm);
        let root_of = |dir: &'w Utf8Path| {
            dir.ancestors().find_map(|above| {
                let (root, Root { patterns, .. }) = roots.get_key_value(above.as_str())?;
                let below = dir.strip_prefix(root).ok()?;
                (below.as_str().is_empty() || glob::names(patterns, below)).then_some(*root)
            })
        };
        let root = |dir: &'w String| Some((dir.as_str(), root_of(Utf8Path::new(dir))?));
        let of = packages.keys().filter_map(root).collect();
        Members { by_name, roots, of }
    }

    /// Whether `dir` is the root of a workspace.
    #[must_use]
    pub fn is_root(&self, dir: &Utf8Path) -> bool {
        self.roots.contains_key(dir.as_str())
    }

    /// Every package called `name`.
    #[must_use]
    pub fn named(&self, name: &str) -> &[&'w Package] {
        self.by_name.get(name).map_or(&[], Vec::as_slice)
    }

    /// What `workspace:` means by `name` in `from`: the member of the same workspace, or else every
    /// package of that name.
    #[must_use]
    pub fn asked_for(&self, from: &Package, name: &str) -> Vec<&'w Package> {
        let named = self.named(name);
        match self.of.get(from.dir.as_str()) {
            Some(root) if named.len() > 1 => {
                let together: Vec<_> = named
                    .iter()
                    .copied()
                    .filter(|p| self.of.get(p.dir.as_str()) == Some(root))
                    .collect();
                if together.is_empty() { named.to_vec() } else { together }
            }
            _ => named.to_vec(),
        }
    }

    /// The members that a package manager takes for `name` at a plain version `range`.
    #[must_use]
    pub fn satisfying(&self, from: &Package, name: &str, range: &str) -> Vec<&'w Package> {
        let root = self.of.get(from.dir.as_str());
        let links = root.is_some_and(|root| self.roots.get(root).is_some_and(|r| r.links_versions));
        let fits = |package: &&&Package| {
            self.of.get(package.dir.as_str()) == root
                && package.dir.as_str() != from.dir.as_str()
                && range::satisfies(range, package.version.as_deref())
        };
        self.named(name).iter().filter(|_| links).filter(fits).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packages(manifests: &[(&str, &str)]) -> BTreeMap<String, Package> {
        let parse = |(dir, text): &(&str, &str)| {
            ((*dir).to_owned(), Package::parse(Utf8Path::new(dir), text).expect("valid"))
        };
        manifests.iter().map(parse).collect()
    }

    fn dirs(found: Vec<&Package>) -> Vec<&str> {
        found.into_iter().map(|package| package.dir.as_str()).collect()
    }

    #[test]
    fn names_are_looked_for_in_the_same_workspace() {
        let packages = packages(&[
            ("one", r#"{"workspaces":["packages/*"]}"#),
            ("one/packages/ui", r#"{"name":"ui","version":"1.2.0"}"#),
            ("one/packages/app", r#"{"name":"app"}"#),
            ("two", r#"{"workspaces":{"packages":["*"]}}"#),
            ("two/ui", r#"{"name":"ui","version":"2.0.0"}"#),
            ("alone", r#"{"name":"alone"}"#),
        ]);
        let members = Members::new(&packages, []);
        let app = &packages["one/packages/app"];
        let alone = &packages["alone"];
        assert_eq!(dirs(members.asked_for(app, "ui")), ["one/packages/ui"]);
        assert_eq!(dirs(members.asked_for(alone, "ui")), ["one/packages/ui", "two/ui"]);
        assert_eq!(dirs(members.satisfying(app, "ui", "^1.0.0")), ["one/packages/ui"]);
        assert!(members.satisfying(app, "ui", "^2.0.0").is_empty(), "comes from the registry");
        assert!(members.satisfying(alone, "ui", "^1.0.0").is_empty(), "is no member");
    }

    #[test]
    fn pnpm_links_versions_when_it_is_told_to() {
        let packages =
            packages(&[("a", r#"{"name":"a"}"#), ("b", r#"{"name":"b","version":"1.0.0"}"#)]);
        let yaml = "# who\npackages:\n  - \"a\"\n  - b # this too\ncatalog:\n  - c\n";
        for (more, npmrc, expected) in [
            ("", "", &[][..]),
            ("linkWorkspacePackages: deep\n", "", &["b"]),
            ("", "link-workspace-packages = true", &["b"]),
        ] {
            let root = Root::pnpm(&format!("{yaml}{more}"), npmrc);
            assert_eq!(root.patterns, ["a", "b"]);
            let members = Members::new(&packages, [("", root)]);
            let found = members.satisfying(&packages["a"], "b", "^1.0.0");
            assert_eq!(dirs(found), expected);
        }
        assert_eq!(Root::pnpm("packages: [a, 'b/*']", "").patterns, ["a", "b/*"]);
    }
}
