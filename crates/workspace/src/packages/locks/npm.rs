//! `package-lock.json` and `npm-shrinkwrap.json` of npm 7 and later
//! (<https://docs.npmjs.com/cli/configuring-npm/package-lock-json>).

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{LockFile, LockedPackage};
use crate::files::limits::is_readable_lock;

const KINDS: [&str; 3] = ["dependencies", "optionalDependencies", "peerDependencies"];

pub(super) fn parse(text: &str) -> Option<LockFile> {
    if !is_readable_lock(text) {
        return None;
    }
    let document: Value = serde_json::from_str(text).ok()?;
    let packages = document.get("packages")?.as_object()?;
    let mut lock =
        LockFile { header: document["lockfileVersion"].to_string(), ..LockFile::default() };
    for (path, entry) in packages {
        let mut names: BTreeSet<&str> = KINDS.iter().flat_map(|kind| keys(&entry[kind])).collect();
        let mut dependencies = resolve(packages, path, &names);
        if let Some(target) = entry["resolved"].as_str().filter(|_| entry["link"] == true) {
            dependencies.push(target.to_owned());
        }
        if !path.contains("node_modules/") {
            names.extend(keys(&entry["devDependencies"]));
            lock.importers
                .insert(path.clone(), resolve(packages, path, &names).into_iter().collect());
        }
        lock.packages.insert(path.clone(), LockedPackage { text: entry.to_string(), dependencies });
    }
    Some(lock)
}

fn keys(section: &Value) -> impl Iterator<Item = &str> {
    section.as_object().into_iter().flat_map(Map::keys).map(String::as_str)
}

/// Returns the folders in which Node finds `names` from `path`: in its own `node_modules`, or in one above.
fn resolve(packages: &Map<String, Value>, path: &str, names: &BTreeSet<&str>) -> Vec<String> {
    let find = |name: &&str| {
        let mut folder = path;
        loop {
            let separator = if folder.is_empty() { "" } else { "/" };
            let candidate = format!("{folder}{separator}node_modules/{name}");
            if packages.contains_key(&candidate) {
                return candidate;
            }
            if folder.is_empty() {
                // An optional dependency for other systems, or a peer that no package provides.
                return format!("missing {name}");
            }
            folder = folder.rsplit_once('/').map_or("", |(above, _)| above);
        }
    };
    names.iter().map(find).collect()
}
