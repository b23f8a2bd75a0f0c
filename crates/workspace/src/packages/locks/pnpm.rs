//! `pnpm-lock.yaml` of the versions 5 to 9
//! (<https://github.com/pnpm/spec/blob/master/lockfile/9.0.md>).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::blocks::{Block, blocks};
use super::{LockFile, LockedPackage};

/// The sections of dependencies.
const KINDS: [&str; 3] = ["dependencies", "devDependencies", "optionalDependencies"];

pub(super) fn parse(text: &str) -> Option<LockFile> {
    let sections = blocks(text);
    section(&sections, "lockfileVersion")?;
    let packages = section(&sections, "packages").map_or(Vec::new(), |block| blocks(block.body));
    let snapshots = section(&sections, "snapshots").map(|block| blocks(block.body));
    let nodes = snapshots.as_ref().unwrap_or(&packages);
    // A key that is too long for one line has a YAML syntax that this parser does not support.
    if nodes.iter().any(|block| block.head.starts_with(['?', '-'])) {
        return None;
    }
    let keys: BTreeSet<&str> = nodes.iter().map(|block| block.entry().0).collect();
    let shared: HashMap<&str, &str> = match snapshots {
        Some(_) => packages.iter().map(|block| (block.entry().0, block.body)).collect(),
        None => HashMap::new(),
    };
    let locked =
        |block: &Block| (block.entry().0.to_owned(), locked_package(block, &keys, &shared));
    Some(LockFile {
        header: header(&sections),
        packages: nodes.iter().map(locked).collect(),
        importers: importers(&sections, &keys),
        by_request: None,
    })
}

fn section<'s, 't>(sections: &'s [Block<'t>], name: &str) -> Option<&'s Block<'t>> {
    sections.iter().find(|block| block.entry().0 == name)
}

/// Returns the text of the sections without packages.
fn header(sections: &[Block]) -> String {
    let is_of_packages = |name: &str| {
        ["importers", "packages", "snapshots"].contains(&name) || KINDS.contains(&name)
    };
    let others = sections.iter().filter(|block| !is_of_packages(block.entry().0));
    others.map(|block| format!("{}\n{}", block.head, block.body)).collect()
}

/// Returns the package of an entry. `shared` has the fields of a version without its peers, if these are separate.
fn locked_package(
    block: &Block,
    keys: &BTreeSet<&str>,
    shared: &HashMap<&str, &str>,
) -> LockedPackage {
    let (key, value) = block.entry();
    let fields = shared.get(key.split('(').next().unwrap_or(key)).unwrap_or(&"");
    let kinds = blocks(block.body);
    let pairs = dependencies(&kinds);
    LockedPackage {
        text: format!("{value}\n{}{fields}", block.body),
        dependencies: pairs.map(|pair| find(keys, pair.entry())).collect(),
    }
}

/// Returns the keys of the packages that each folder depends on. Without workspaces, there is only the root.
fn importers(sections: &[Block], keys: &BTreeSet<&str>) -> BTreeMap<String, BTreeSet<String>> {
    let Some(importers) = section(sections, "importers") else {
        return BTreeMap::from([(String::new(), importer(sections, keys))]);
    };
    let importer = |block: &Block| {
        let path = block.entry().0;
        let path = if path == "." { "" } else { path };
        (path.to_owned(), importer(&blocks(block.body), keys))
    };
    blocks(importers.body).iter().map(importer).collect()
}

/// Returns the keys of the packages in the sections of one folder.
fn importer(kinds: &[Block], keys: &BTreeSet<&str>) -> BTreeSet<String> {
    let key = |pair: Block| {
        let (name, value) = pair.entry();
        let version = pair.child("version").map(|version| version.entry().1);
        find(keys, (name, version.unwrap_or(value)))
    };
    dependencies(kinds).map(key).collect()
}

/// Returns the entries of the sections of dependencies.
fn dependencies<'t>(sections: &[Block<'t>]) -> impl Iterator<Item = Block<'t>> {
    let kinds = sections.iter().filter(|block| KINDS.contains(&block.entry().0));
    kinds.flat_map(|block| blocks(block.body))
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
