//! Reads what the settings of Turborepo declare for a task of a package
//! (<https://turborepo.com/docs/reference/configuration>, <https://turborepo.com/docs/reference/package-configurations>).

use std::collections::BTreeSet;

use serde_json::Value;

use crate::graph::declaration::{BuildDeclaration, PathBase};

/// Means the root, at the start of a path.
const ROOT: &str = "$TURBO_ROOT$/";

/// Means the list that a package's own list replaces otherwise.
const EXTENDS: &str = "$TURBO_EXTENDS$";

/// Returns true if the settings are those of a package, which extend those of the root.
pub(crate) fn is_of_package(config: &Value) -> bool {
    config["extends"].as_array().is_some_and(|extended| !extended.is_empty())
}

/// Returns the names of the packages whose settings `config` extends.
pub(crate) fn extended_names(config: &Value) -> impl Iterator<Item = &str> {
    texts(&config["extends"]).filter(|name| *name != "//")
}

/// Adds what applies to every task. The paths are relative to the root.
pub(crate) fn add_global(root: &Value, declared: &mut BuildDeclaration) {
    for list in [&root["globalDependencies"], &root["globalDotEnv"], &root["global"]["inputs"]] {
        for path in texts(list) {
            declared.add_path(PathBase::Root, path.strip_prefix(ROOT).unwrap_or(path));
        }
    }
}

/// Adds what applies to the task `task` of the package `name`. `configs` are the settings of the root, of the packages that
/// are extended, and of the package.
pub(crate) fn add_task(
    configs: &[&Value],
    name: Option<&str>,
    task: &str,
    declared: &mut BuildDeclaration,
) {
    for path in list(configs, name, task, "inputs") {
        match path.strip_prefix('!').unwrap_or(path).strip_prefix(ROOT) {
            Some(rest) if path.starts_with('!') => declared.exclude(PathBase::Root, rest),
            Some(rest) => declared.add_path(PathBase::Root, rest),
            None => declared.add_path(PathBase::Package, path),
        }
    }
    for task in list(configs, name, task, "dependsOn") {
        match task.split_once('#') {
            Some(("//", _)) => {}
            Some((package, _)) => drop(declared.packages.insert(package.to_owned())),
            None => drop(declared.tasks.insert(task.to_owned())),
        }
    }
}

/// Returns a list of a task. The list of a package replaces that of the root, unless it has [`EXTENDS`].
fn list<'c>(configs: &[&'c Value], name: Option<&str>, task: &str, field: &str) -> Vec<&'c str> {
    let mut all: Vec<&str> = Vec::new();
    for config in configs {
        // `pipeline` is the name of version 1.
        let tasks =
            if config["tasks"].is_object() { &config["tasks"] } else { &config["pipeline"] };
        let own = name.map(|name| &tasks[format!("{name}#{task}")]).filter(|own| own.is_object());
        let list = &own.unwrap_or(&tasks[task])[field];
        if !list.is_array() {
            continue;
        }
        if !texts(list).any(|text| text == EXTENDS) {
            all.clear();
        }
        all.extend(texts(list).filter(|text| *text != EXTENDS));
    }
    let unique: BTreeSet<&str> = all.into_iter().collect();
    unique.into_iter().collect()
}

fn texts(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lists_of_packages_replace_or_extend_those_of_the_root() {
        let root = json!({
            "globalDependencies": ["env.json", "$TURBO_ROOT$/b.json"],
            "tasks": {
                "build": { "inputs": ["$TURBO_DEFAULT$", "$TURBO_ROOT$/root.json", "!$TURBO_ROOT$/x/*.md"] },
                "lint": { "inputs": ["$TURBO_ROOT$/lint.json"] },
                "shop#build": { "inputs": ["../shared/*.css"], "dependsOn": ["^build", "theme#build", "css", "//#gen"] },
            },
        });
        let own = |inputs: &[&str]| json!({ "extends": ["//"], "tasks": { "build": { "inputs": inputs } } });
        let read = |configs: &[&Value], name: &str| {
            let mut declared = BuildDeclaration::default();
            add_task(configs, Some(name), "build", &mut declared);
            declared.paths.iter().map(|(_, path)| path.clone()).collect::<Vec<_>>()
        };
        assert_eq!(read(&[&root], "api"), ["root.json", "$TURBO_DEFAULT$"]);
        assert_eq!(read(&[&root], "shop"), ["../shared/*.css"]);
        assert_eq!(read(&[&root, &own(&["$TURBO_ROOT$/a"])], "api"), ["a"]);
        let more = own(&["$TURBO_EXTENDS$", "$TURBO_ROOT$/a"]);
        assert_eq!(read(&[&root, &more], "api"), ["a", "root.json", "$TURBO_DEFAULT$"]);
        assert_eq!(read(&[&root, &json!({ "extends": ["//"] })], "shop"), ["../shared/*.css"]);
        let old = json!({ "pipeline": { "build": { "inputs": ["../a.json"] } } });
        assert_eq!(read(&[&old], "api"), ["../a.json"]);
        let mut declared = BuildDeclaration::default();
        add_global(&root, &mut declared);
        add_task(&[&root], Some("shop"), "build", &mut declared);
        assert_eq!(declared.packages, ["theme".to_owned()].into());
        assert_eq!(declared.paths.len(), 3);
        assert!(is_of_package(&own(&[])) && !is_of_package(&root));
    }
}
