//! `pnpm-lock.yaml` of the versions 5 to 9
//! (<https://github.com/pnpm/spec/blob/master/lockfile/9.0.md>).

use std::collections::{BTreeSet, HashMap};

use super::blocks::{Block, blocks};
use super::{LockFile, LockedPackage};

const KINDS: [&str; 3] = ["dependencies", "devDependencies", "optionalDependencies"];

pub(super) fn parse(text: &str) -> Option<LockFile> {
    let sections = blocks(text);
    let section = |name: &str| sections.iter().find(|block| block.entry().0 == name);
    section("lockfileVersion")?;
    let packages: Vec<Block> = section("packages").map_or(Vec::new(), |block| blocks(block.body));
    let snapshots = section("snapshots").map(|block| blocks(block.body));
    let bodies: HashMap<&str, &str> =
        packages.iter().map(|block| (block.entry().0, block.body)).collect();
    let nodes = snapshots.as_ref().unwrap_or(&packages);
    let mut keys = BTreeSet::new();
    for block in nodes {
        // A key that is too long for one line has a YAML syntax that this parser does not support.
        if block.head.starts_with('?') || block.head.starts_with('-') {
            return None;
        }
        keys.insert(block.entry().0);
    }
    let mut lock = LockFile::default();
    for block in &sections {
        let name = block.entry().0;
        if !["importers", "packages", "snapshots"].contains(&name) && !KINDS.contains(&name) {
            lock.header += block.head;
            lock.header.push('\n');
            lock.header += block.body;
        }
    }
    for block in nodes {
        let (key, value) = block.entry();
        let mut text = format!("{value}\n{}", block.body);
        if snapshots.is_some() {
            // The entry of the version without its peers has the shared fields.
            text += bodies.get(key.split('(').next().unwrap_or(key)).unwrap_or(&"");
        }
        let mut dependencies = Vec::new();
        for child in blocks(block.body) {
            if KINDS.contains(&child.entry().0) {
                let pairs = blocks(child.body);
                dependencies.extend(pairs.iter().map(|pair| find(&keys, pair.entry())));
            }
        }
        lock.packages.insert(key.to_owned(), LockedPackage { text, dependencies });
    }
    let importer = |kinds: &[Block]| -> BTreeSet<String> {
        let kinds = kinds.iter().filter(|block| KINDS.contains(&block.entry().0));
        let pairs = kinds.flat_map(|block| blocks(block.body));
        pairs
            .map(|pair| {
                let (name, value) = pair.entry();
                let version = pair.child("version").map(|version| version.entry().1);
                find(&keys, (name, version.unwrap_or(value)))
            })
            .collect()
    };
    match section("importers") {
        Some(importers) => {
            for block in blocks(importers.body) {
                let path = block.entry().0;
                let path = if path == "." { "" } else { path };
                lock.importers.insert(path.to_owned(), importer(&blocks(block.body)));
            }
        }
        None => drop(lock.importers.insert(String::new(), importer(&sections))),
    }
    Some(lock)
}

/// Returns the key of a dependency. For an alias, its version already is a key.
fn find(keys: &BTreeSet<&str>, (name, version): (&str, &str)) -> String {
    let candidates = [
        format!("{name}@{version}"),
        format!("/{name}@{version}"),
        format!("/{name}/{version}"),
        version.to_owned(),
        format!("/{version}"),
    ];
    let found = candidates.iter().find(|candidate| keys.contains(candidate.as_str()));
    found.cloned().unwrap_or_else(|| format!("{name} {version}"))
}
