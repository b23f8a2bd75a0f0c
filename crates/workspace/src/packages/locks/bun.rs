//! `bun.lock` (<https://bun.sh/reference/bun/BunLockFile>). The binary `bun.lockb` is not read.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{LockFile, LockedPackage};
use crate::files::config_text::parse_checked_jsonc;
use crate::files::limits::is_readable_lock;

const KINDS: [&str; 4] =
    ["dependencies", "devDependencies", "optionalDependencies", "peerDependencies"];

pub(super) fn parse(text: &str) -> Option<LockFile> {
    if !is_readable_lock(text) {
        return None;
    }
    let mut document = parse_checked_jsonc(text).ok()?;
    let packages = std::mem::take(document.get_mut("packages").unwrap_or(&mut Value::Null));
    let workspaces = std::mem::take(document.get_mut("workspaces")?);
    let empty = Map::new();
    let packages = packages.as_object().unwrap_or(&empty);
    // Versions, overrides, patches, catalogs and all other sections.
    let mut lock = LockFile { header: document.to_string(), ..LockFile::default() };
    for (path, workspace) in workspaces.as_object()? {
        let name = workspace["name"].as_str().unwrap_or_default();
        let found = names(workspace).into_iter().map(|dependency| {
            let nested = format!("{name}/{dependency}");
            if packages.contains_key(&nested) { nested } else { dependency.to_owned() }
        });
        lock.importers.insert(path.clone(), found.collect());
    }
    for (key, entry) in packages {
        let object = entry.as_array().into_iter().flatten().find(|part| part.is_object());
        let names = object.map(names).unwrap_or_default();
        let dependencies = names.into_iter().map(|name| resolve(packages, key, name)).collect();
        lock.packages.insert(key.clone(), LockedPackage { text: entry.to_string(), dependencies });
    }
    Some(lock)
}

fn names(section: &Value) -> BTreeSet<&str> {
    let kinds = KINDS.iter().filter_map(|kind| section[kind].as_object());
    kinds.flat_map(Map::keys).map(String::as_str).collect()
}

/// Resolves `name` in the package with the key `from`: `a/b/name`, `a/name`, then `name`.
fn resolve(packages: &Map<String, Value>, from: &str, name: &str) -> String {
    let mut above = from;
    while !above.is_empty() {
        let candidate = format!("{above}/{name}");
        if packages.contains_key(&candidate) {
            return candidate;
        }
        let rest = above.rsplit_once('/').map_or("", |(rest, _)| rest);
        // The name of a package with a scope has two parts.
        let scope = rest.rsplit('/').next().filter(|part| part.starts_with('@'));
        above = match scope {
            Some(scope) => rest[..rest.len() - scope.len()].trim_end_matches('/'),
            None => rest,
        };
    }
    name.to_owned()
}
