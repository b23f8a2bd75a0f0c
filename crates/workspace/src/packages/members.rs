//! Groups the packages that are installed together, to resolve the name of a dependency to one of
//! them.

use std::collections::BTreeMap;

use camino::Utf8Path;

use crate::packages::package::Package;
use crate::packages::range;
use crate::packages::roots::Root;

/// The workspaces of npm, Bun, Yarn and pnpm in one repository.
#[derive(Debug)]
pub struct Members<'w> {
    by_name: BTreeMap<&'w str, Vec<&'w Package>>,
    roots: &'w BTreeMap<String, Root>,
    /// The root of the workspace that each package belongs to.
    root_of: BTreeMap<&'w str, &'w str>,
}

impl<'w> Members<'w> {
    /// Returns the workspaces of `packages`, by the folders that are roots.
    #[must_use]
    pub fn new(
        packages: &'w BTreeMap<String, Package>,
        roots: &'w BTreeMap<String, Root>,
    ) -> Members<'w> {
        let mut by_name: BTreeMap<&str, Vec<&Package>> = BTreeMap::new();
        for package in packages.values() {
            if let Some(name) = &package.name {
                by_name.entry(name).or_default().push(package);
            }
        }
        let find = |dir: &'w String| Some((dir.as_str(), find_root(roots, Utf8Path::new(dir))?));
        Members { by_name, roots, root_of: packages.keys().filter_map(find).collect() }
    }

    /// Returns the root of the workspace that the package in `dir` is installed with.
    #[must_use]
    pub fn root_of(&self, dir: &Utf8Path) -> Option<(&'w str, &'w Root)> {
        let dir = self.root_of.get(dir.as_str())?;
        Some((dir, self.roots.get(*dir)?))
    }

    /// Returns true if `dir` is the root of a workspace.
    #[must_use]
    pub fn is_root(&self, dir: &Utf8Path) -> bool {
        self.roots.contains_key(dir.as_str())
    }

    /// Returns every package called `name`.
    #[must_use]
    pub fn with_name(&self, name: &str) -> &[&'w Package] {
        self.by_name.get(name).map_or(&[], Vec::as_slice)
    }

    /// Resolves `workspace:` with `name` in `from`: the member of the same workspace, or else every
    /// package of that name.
    #[must_use]
    pub fn asked_for(&self, from: &Utf8Path, name: &str) -> Vec<&'w Package> {
        let candidates = self.with_name(name);
        match self.root_of.get(from.as_str()) {
            Some(root) if candidates.len() > 1 => {
                let together: Vec<_> = candidates
                    .iter()
                    .copied()
                    .filter(|package| self.is_below(package, root))
                    .collect();
                if together.is_empty() { candidates.to_vec() } else { together }
            }
            _ => candidates.to_vec(),
        }
    }

    /// Returns the members that a package manager uses for `name` at a plain version `range`.
    #[must_use]
    pub fn satisfying(&self, from: &Package, name: &str, range: &str) -> Vec<&'w Package> {
        match self.root_of(&from.dir) {
            Some((_, root)) if root.links_versions => self.others(from, name, Some(range)),
            _ => Vec::new(),
        }
    }

    /// Returns the members that a package may get as its peer `name`. The package that installs it
    /// provides the peer, which may be a member even if a plain dependency would not be.
    #[must_use]
    pub fn peers(&self, from: &Package, name: &str, range: &str) -> Vec<&'w Package> {
        match self.root_of(&from.dir) {
            Some((_, root)) if root.takes_any_peer() => self.others(from, name, None),
            Some(_) => self.others(from, name, Some(range)),
            None => Vec::new(),
        }
    }

    /// Returns the other members of the workspace of `from` with this name, at a version in `range`.
    fn others(&self, from: &Package, name: &str, range: Option<&str>) -> Vec<&'w Package> {
        let Some(root) = self.root_of.get(from.dir.as_str()) else { return Vec::new() };
        let fits = |package: &&Package| {
            self.is_below(package, root)
                && package.dir.as_str() != from.dir.as_str()
                && range.is_none_or(|range| range::satisfies(range, package.version.as_deref()))
        };
        self.with_name(name).iter().copied().filter(fits).collect()
    }

    fn is_below(&self, package: &Package, root: &str) -> bool {
        self.root_of.get(package.dir.as_str()).is_some_and(|other| *other == root)
    }
}

/// Returns the root whose patterns match `dir`. A root that is itself a member, as Yarn allows,
/// belongs to the workspace above it unless it has its own lock file.
pub(crate) fn find_root<'w>(roots: &'w BTreeMap<String, Root>, dir: &Utf8Path) -> Option<&'w str> {
    let mut found: Option<&'w str> = None;
    let mut below = dir;
    for above in dir.ancestors() {
        let Some((path, root)) = roots.get_key_value(above.as_str()) else { continue };
        let relative = below.strip_prefix(above).unwrap_or(below);
        if relative.as_str().is_empty() || root.names(relative) {
            found = Some(path);
            if root.is_locked {
                break;
            }
            below = Utf8Path::new(path);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packages::roots::RootFiles;

    fn packages(manifests: &[(&str, &str)]) -> BTreeMap<String, Package> {
        let parse = |(dir, text): &(&str, &str)| {
            ((*dir).to_owned(), Package::parse(Utf8Path::new(dir), text).expect("valid"))
        };
        manifests.iter().map(parse).collect()
    }

    fn roots(packages: &BTreeMap<String, Package>) -> BTreeMap<String, Root> {
        let root = |(dir, package): (&String, &Package)| {
            let files = RootFiles { package: Some(package), ..RootFiles::default() };
            Some((dir.clone(), Root::new(&files)?))
        };
        packages.iter().filter_map(root).collect()
    }

    fn dirs(found: Vec<&Package>) -> Vec<&str> {
        found.into_iter().map(|package| package.dir.as_str()).collect()
    }

    #[test]
    fn resolves_names_in_the_same_workspace() {
        let packages = packages(&[
            ("one", r#"{"workspaces":["packages/*"]}"#),
            ("one/packages/ui", r#"{"name":"ui","version":"1.2.0"}"#),
            ("one/packages/app", r#"{"name":"app"}"#),
            ("two", r#"{"workspaces":{"packages":["*"]}, "packageManager": "npm@10.0.0"}"#),
            ("two/ui", r#"{"name":"ui","version":"2.0.0"}"#),
            ("two/app", r#"{"name":"app"}"#),
            ("alone", r#"{"name":"alone"}"#),
        ]);
        let roots = roots(&packages);
        let members = Members::new(&packages, &roots);
        let app = &packages["one/packages/app"];
        let alone = &packages["alone"];
        assert_eq!(dirs(members.asked_for(&app.dir, "ui")), ["one/packages/ui"]);
        assert_eq!(dirs(members.asked_for(&alone.dir, "ui")), ["one/packages/ui", "two/ui"]);
        assert_eq!(dirs(members.satisfying(app, "ui", "^1.0.0")), ["one/packages/ui"]);
        assert!(members.satisfying(app, "ui", "^2.0.0").is_empty(), "comes from the registry");
        assert!(members.satisfying(alone, "ui", "^1.0.0").is_empty(), "is no member");
        assert_eq!(dirs(members.peers(app, "ui", "^2.0.0")), ["one/packages/ui"], "undecided");
        assert!(members.peers(&packages["two/app"], "ui", "^1.0.0").is_empty(), "npm");
        assert_eq!(dirs(members.peers(&packages["two/app"], "ui", "^2.0.0")), ["two/ui"]);
    }

    #[test]
    fn a_member_with_members_belongs_to_the_root_above() {
        let packages = packages(&[
            ("", r#"{"workspaces":["group"]}"#),
            ("group", r#"{"name":"group","workspaces":["*"]}"#),
            ("group/a", r#"{"name":"a"}"#),
            ("other", r#"{"name":"other","workspaces":["*"]}"#),
            ("other/b", r#"{"name":"b"}"#),
        ]);
        let roots = roots(&packages);
        let members = Members::new(&packages, &roots);
        let root = |dir: &str| members.root_of(Utf8Path::new(dir)).map(|(dir, _)| dir);
        assert_eq!(root("group/a"), Some(""));
        assert_eq!(root("other/b"), Some("other"));
        assert_eq!(root(""), Some(""));
    }
}
