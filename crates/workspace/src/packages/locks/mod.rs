//! Reads the locked packages of each folder from the lock files of the four managers. A change of a lock
//! file affects only the folders whose locked packages changed.

mod blocks;
mod bun;
mod npm;
mod pnpm;
mod yarn;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ring::digest::{Context, SHA256};

use crate::files::key::hex;
use crate::files::limits::{self, MAX_LOCK_BYTES};
use crate::packages::manifest::Specs;

/// The locked packages of a lock file.
#[derive(Debug, Default)]
pub struct LockFile {
    /// The part that affects every folder: the version of the format, settings, overrides.
    header: String,
    /// The packages by the key of the format.
    packages: HashMap<String, LockedPackage>,
    /// The keys of the packages that each folder depends on, by its path relative to the lock file.
    importers: BTreeMap<String, BTreeSet<String>>,
    /// The keys by the requests of manifests. Only the lock file of Yarn classic has no importers.
    by_request: Option<HashMap<String, String>>,
}

/// One locked package.
#[derive(Debug, Default)]
struct LockedPackage {
    /// All of its fields in the lock file.
    text: String,
    /// The keys of the packages that it depends on.
    dependencies: Vec<String>,
}

impl LockFile {
    /// Parses the text of the lock file called `name`. `None` if it cannot be read. Then any change
    /// affects everything below.
    #[must_use]
    pub fn parse(name: &str, text: &str) -> Option<LockFile> {
        let text = limits::without_bom(text);
        if text.len() > MAX_LOCK_BYTES {
            return None;
        }
        match name {
            "package-lock.json" | "npm-shrinkwrap.json" => npm::parse(text),
            "pnpm-lock.yaml" => pnpm::parse(text),
            "yarn.lock" => yarn::parse(text),
            "bun.lock" => bun::parse(text),
            _ => None,
        }
    }

    /// Returns true if the dependencies of a folder are only in its manifest.
    #[must_use]
    pub fn needs_manifests(&self) -> bool {
        self.by_request.is_some()
    }

    /// Returns true if the lock file has an entry for the folder, relative to it.
    #[must_use]
    pub fn covers(&self, folder: &str) -> bool {
        self.importers.contains_key(folder)
    }

    /// Returns true if a package of this name is locked, for any folder.
    #[must_use]
    pub fn names(&self, package: &str) -> bool {
        let is_named = |key: &String| {
            key.match_indices(package).any(|(at, _)| {
                let (before, after) = (&key[..at], &key[at + package.len()..]);
                (before.is_empty() || before.ends_with(['/', '"', ' ']))
                    && (after.is_empty() || after.starts_with(['@', '/']))
            })
        };
        self.packages.keys().any(is_named)
    }

    /// Returns a digest of all locked packages of the folders. `None` if the lock file does not cover
    /// one of them. `manifests` has their dependencies if [`LockFile::needs_manifests`].
    #[must_use]
    pub fn slice(
        &self,
        folders: &BTreeSet<&str>,
        manifests: &BTreeMap<&str, &Specs>,
    ) -> Option<String> {
        let roots = self.roots(folders, manifests)?;
        Some(self.digest(&self.reachable(&roots), &roots))
    }

    /// Returns the keys of the packages that the folders depend on. `None` if the lock file does not cover one of them.
    fn roots<'l>(
        &'l self,
        folders: &BTreeSet<&str>,
        manifests: &BTreeMap<&str, &Specs>,
    ) -> Option<BTreeSet<&'l str>> {
        let mut roots = BTreeSet::new();
        for folder in folders {
            match &self.by_request {
                None => {
                    let keys = self.importers.get(*folder)?;
                    roots.extend(keys.iter().map(String::as_str));
                }
                Some(by_request) => {
                    let specs = manifests.get(folder)?.iter();
                    let keys =
                        specs.filter_map(|(name, spec)| by_request.get(&format!("{name}@{spec}")));
                    roots.extend(keys.map(String::as_str));
                }
            }
        }
        Some(roots)
    }

    /// Returns the texts of `roots` and of all packages that they depend on, by key.
    fn reachable<'l>(&'l self, roots: &BTreeSet<&'l str>) -> BTreeMap<&'l str, &'l str> {
        let mut waiting: Vec<&str> = roots.iter().copied().collect();
        let mut found = BTreeMap::new();
        while let Some(key) = waiting.pop() {
            let locked = self.packages.get(key);
            // A package that is not locked counts by its key.
            let text = locked.map_or("", |locked| locked.text.as_str());
            if found.insert(key, text).is_none() {
                let dependencies = locked.map(|locked| &locked.dependencies);
                waiting.extend(dependencies.into_iter().flatten().map(String::as_str));
            }
        }
        found
    }

    fn digest(&self, packages: &BTreeMap<&str, &str>, roots: &BTreeSet<&str>) -> String {
        let mut context = Context::new(&SHA256);
        let mut feed = |text: &str| {
            context.update(&(text.len() as u64).to_be_bytes());
            context.update(text.as_bytes());
        };
        feed(&self.header);
        for (key, text) in packages {
            feed(key);
            feed(text);
        }
        feed("roots");
        roots.iter().copied().for_each(feed);
        hex(context.finish().as_ref())
    }
}

#[cfg(test)]
mod tests;
