//! A change of a lock file affects the projects whose locked packages changed, for every manager, and the
//! content keys of the same projects.

use std::collections::BTreeMap;

use workspace::key::content_key;
use workspace::{Workspace, inputs};

use crate::affected::{affected_json, names};
use crate::support::TestEnv;

/// Two projects, `one` and `two`, each with its own package in the registry, below one lock file.
fn repository(lock: &str, text: &str) -> TestEnv {
    let env = TestEnv::new();
    env.write(
        "package.json",
        r#"{ "name": "root", "workspaces": ["projects/*"], "devDependencies": { "tool": "1" } }"#,
    );
    env.write("pnpm-workspace.yaml", "packages: ['projects/*']\n");
    for name in ["one", "two"] {
        env.site(&format!("projects/{name}"), name);
        let manifest =
            format!(r#"{{ "name": "{name}", "dependencies": {{ "lib-{name}": "^1.0.0" }} }}"#);
        env.write(&format!("projects/{name}/package.json"), &manifest);
    }
    env.write(lock, text);
    env.commit("tree");
    env.git(&["checkout", "--quiet", "-b", "change"]);
    env
}

fn keys(env: &TestEnv) -> BTreeMap<String, String> {
    let workspace = Workspace::load(&env.root).expect("a workspace");
    let projects: Vec<_> = workspace.projects.iter().collect();
    let inputs = inputs::read(&workspace, &projects, &[], None).expect("inputs");
    let key = |inputs: &inputs::Inputs| content_key(&inputs.blobs, &BTreeMap::new());
    projects.iter().map(|project| project.name.clone()).zip(inputs.iter().map(key)).collect()
}

#[track_caller]
fn check(lock: &str, text: &str, changes: &[(&str, &str, &[&str])]) {
    let env = repository(lock, text);
    let before = keys(&env);
    for (from, to, expected) in changes {
        assert!(text.contains(from), "{from}");
        env.write(lock, &text.replace(from, to));
        let json = affected_json(&env, &[]);
        assert_eq!(names(&json), *expected, "{lock}: {from} → {to}: {json:#}");
        let now = keys(&env);
        let other: Vec<&str> = now
            .iter()
            .filter(|(name, key)| before[*name] != **key)
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(other, *expected, "the keys of {lock}: {from} → {to}");
        env.commit("change");
        let json = affected_json(&env, &["--head", "HEAD"]);
        assert_eq!(names(&json), *expected, "a commit of {lock}: {from} → {to}: {json:#}");
        if let Some(reason) = json["projects"].get(0).map(|project| &project["reasons"][0]) {
            assert_eq!(
                (reason["kind"].as_str(), reason["path"].as_str()),
                (Some("globalInput"), Some(lock))
            );
        }
        env.git(&["reset", "--quiet", "--hard", "main"]);
    }
}

const ALL: &[&str] = &["one", "two"];

#[test]
fn npm() {
    let text = r#"{ "lockfileVersion": 3, "packages": {
      "": { "workspaces": ["projects/*"], "devDependencies": { "tool": "1" } },
      "projects/one": { "dependencies": { "lib-one": "^1.0.0" } },
      "projects/two": { "dependencies": { "lib-two": "^1.0.0" } },
      "node_modules/lib-one": { "version": "1.0.1", "dependencies": { "deep": "1" } },
      "node_modules/lib-two": { "version": "1.0.2" },
      "node_modules/deep": { "version": "1.0.3" }, "node_modules/tool": { "version": "1.0.4" } } }"#;
    check(
        "package-lock.json",
        text,
        &[
            ("1.0.3", "1.1.0", &["one"]),
            ("1.0.2", "1.1.0", &["two"]),
            ("1.0.4", "1.1.0", ALL),
            ("lockfileVersion", "lockfileVersiom", ALL),
            ("{ \"lock", "\n{ \"lock", &[]),
            ("\"packages\": {", "\"packages\": {{", ALL),
            ("\"projects/one\"", "\"projects/other\"", &["one"]),
        ],
    );
}

#[test]
fn pnpm() {
    let text = "lockfileVersion: '9.0'\n\nimporters:\n\n  .:\n    devDependencies:\n      tool:\n        specifier: '1'\n        version: 1.0.4\n\n  projects/one:\n    dependencies:\n      lib-one:\n        specifier: ^1.0.0\n        version: 1.0.1\n\n  projects/two:\n    dependencies:\n      lib-two:\n        specifier: ^1.0.0\n        version: 1.0.2\n\npackages:\n\n  deep@1.0.3:\n    resolution: {integrity: sha512-deep}\n\n  lib-one@1.0.1:\n    resolution: {integrity: sha512-one}\n\n  lib-two@1.0.2:\n    resolution: {integrity: sha512-two}\n\n  tool@1.0.4:\n    resolution: {integrity: sha512-tool}\n\nsnapshots:\n\n  deep@1.0.3: {}\n\n  lib-one@1.0.1:\n    dependencies:\n      deep: 1.0.3\n\n  lib-two@1.0.2: {}\n\n  tool@1.0.4: {}\n";
    check(
        "pnpm-lock.yaml",
        text,
        &[
            ("sha512-deep", "sha512-new", &["one"]),
            ("sha512-two", "sha512-new", &["two"]),
            ("sha512-tool", "sha512-new", ALL),
            ("lockfileVersion: '9.0'\n", "lockfileVersion: '9.0'\n\noverrides:\n  x: '1'\n", ALL),
            ("lockfileVersion: '9.0'\n", "<<<<<<< HEAD\n", ALL),
        ],
    );
}

#[test]
fn yarn_classic() {
    let text = "# yarn lockfile v1\n\n\ndeep@1:\n  version \"1.0.3\"\n\nlib-one@^1.0.0:\n  version \"1.0.1\"\n  dependencies:\n    deep \"1\"\n\nlib-two@^1.0.0:\n  version \"1.0.2\"\n\ntool@1:\n  version \"1.0.4\"\n";
    check(
        "yarn.lock",
        text,
        &[
            ("1.0.3", "1.1.0", &["one"]),
            ("1.0.2", "1.1.0", &["two"]),
            ("1.0.4", "1.1.0", ALL),
            ("# yarn lockfile v1", "# another one", ALL),
        ],
    );
}

#[test]
fn yarn_berry() {
    let workspace = |name: &str, path: &str, dependency: &str, range: &str| {
        format!(
            "\"{name}@workspace:{path}\":\n  version: 0.0.0-use.local\n  resolution: \"{name}@workspace:{path}\"\n  dependencies:\n    {dependency}: \"npm:{range}\"\n  languageName: unknown\n  linkType: soft\n\n"
        )
    };
    let package = |name: &str, range: &str, checksum: &str, more: &str| {
        format!(
            "\"{name}@npm:{range}\":\n  version: 1.0.0\n  resolution: \"{name}@npm:1.0.0\"\n{more}  checksum: 10c0/{checksum}\n  languageName: node\n  linkType: hard\n\n"
        )
    };
    let text = [
        "__metadata:\n  version: 8\n  cacheKey: 10c0\n\n".to_owned(),
        package("deep", "1", "deep", ""),
        package("lib-one", "^1.0.0", "first", "  dependencies:\n    deep: \"npm:1\"\n"),
        package("lib-two", "^1.0.0", "second", ""),
        workspace("one", "projects/one", "lib-one", "^1.0.0"),
        workspace("root", ".", "tool", "1"),
        package("tool", "1", "tool", ""),
        workspace("two", "projects/two", "lib-two", "^1.0.0"),
    ];
    check(
        "yarn.lock",
        &text.concat(),
        &[
            ("10c0/deep", "10c0/new", &["one"]),
            ("10c0/second", "10c0/new", &["two"]),
            ("10c0/tool", "10c0/new", ALL),
            ("cacheKey: 10c0", "cacheKey: 11c0", ALL),
        ],
    );
}

#[test]
fn bun() {
    let text = r#"{ "lockfileVersion": 1, "workspaces": {
      "": { "name": "root", "devDependencies": { "tool": "1" } },
      "projects/one": { "name": "one", "dependencies": { "lib-one": "^1.0.0" } },
      "projects/two": { "name": "two", "dependencies": { "lib-two": "^1.0.0" } } },
      "packages": {
        "deep": ["deep@1.0.3", "", {}, "sha512-deep"],
        "lib-one": ["lib-one@1.0.1", "", { "dependencies": { "deep": "1" } }, "sha512-one"],
        "lib-two": ["lib-two@1.0.2", "", {}, "sha512-two"],
        "tool": ["tool@1.0.4", "", {}, "sha512-tool"], } }"#;
    check(
        "bun.lock",
        text,
        &[
            ("sha512-deep", "sha512-new", &["one"]),
            ("sha512-two", "sha512-new", &["two"]),
            ("sha512-tool", "sha512-new", ALL),
            ("\"packages\"", "\"overrides\": { \"x\": \"1\" }, \"packages\"", ALL),
            ("{ \"lockfileVersion\"", "{ { \"lockfileVersion\"", ALL),
        ],
    );
}

#[test]
fn an_added_or_deleted_lock_file_affects_all_packages_below() {
    let env = repository("bun.lock", "{ \"workspaces\": {} }");
    env.git(&["mv", "bun.lock", "package-lock.json"]);
    assert_eq!(names(&affected_json(&env, &[])), ALL);
    std::fs::remove_file(env.root.join("package-lock.json")).expect("removed");
    assert_eq!(names(&affected_json(&env, &[])), ALL);
}
