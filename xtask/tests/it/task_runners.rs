//! The files and packages that the settings of Turborepo and Nx declare as inputs of a build.

use std::collections::BTreeMap;

use crate::affected::{affected_json, names};
use crate::support::TestEnv;

/// A repository with the projects `shop` and `api`, which have a build, the Worker `plain` without one, and the packages
/// `theme` and `icons`.
fn monorepo() -> TestEnv {
    let env = TestEnv::new();
    for name in ["shop", "api", "plain"] {
        env.write(
            &format!("projects/{name}/wrangler.jsonc"),
            &format!(
                r#"{{ "name": "{name}", "main": "worker.js", "compatibility_date": "2026-10-01" }}"#
            ),
        );
        env.write(&format!("projects/{name}/worker.js"), "export default {};\n");
    }
    for (dir, build) in [
        ("projects/shop", Some("node build.mjs")),
        ("projects/api", Some("node build.mjs")),
        ("projects/plain", None),
        ("packages/theme", Some("node build.mjs")),
        ("packages/icons", None),
    ] {
        let name = dir.rsplit('/').next().unwrap_or_default();
        let build = build.map(|text| format!(r#", "scripts": {{ "build": "{text}" }}"#));
        let build = build.unwrap_or_default();
        env.write(&format!("{dir}/package.json"), &format!(r#"{{ "name": "{name}"{build} }}"#));
    }
    env.write("package.json", r#"{ "name": "root", "private": true }"#);
    for file in ["config/a.json", "config/b.json", "shared/deep/c.css", "global.json", "lint.json"]
    {
        env.write(file, "{}\n");
    }
    env.write("packages/theme/tokens.json", "{}\n");
    env.write("packages/icons/a.svg", "<svg/>\n");
    env
}

/// The content key of each project.
fn keys(env: &TestEnv) -> BTreeMap<String, String> {
    let json =
        env.xtask(&["deploy", "--all", "--engine", "host", "--dry-run", "--json"]).exits(0).json();
    let parts = json["projects"].as_array().expect("projects").iter();
    let text = |value: &serde_json::Value| value.as_str().expect("text").to_owned();
    parts.map(|part| (text(&part["project"]), text(&part["key"]))).collect()
}

/// Changes each file in a commit, and checks that it affects these projects, and changes their keys alone.
#[track_caller]
fn check(env: &TestEnv, changes: &[(&str, &[&str])]) {
    for (number, (file, expected)) in changes.iter().enumerate() {
        let before = keys(env);
        let path = env.root.join(file);
        let text = std::fs::read_to_string(&path).expect("text");
        std::fs::write(&path, format!("{text}\n")).expect("written");
        let uncommitted = affected_json(env, &["--base", "HEAD"]);
        assert_eq!(names(&uncommitted), *expected, "{file} uncommitted");
        env.commit(&format!("change {number}"));
        let json = affected_json(env, &["--base", "HEAD~1", "--head", "HEAD"]);
        assert_eq!(names(&json), *expected, "{file}: {json:#}");
        let after = keys(env);
        let changed: Vec<&str> = after
            .iter()
            .filter(|(name, key)| before[*name] != **key)
            .map(|(name, _)| &**name)
            .collect();
        assert_eq!(changed, *expected, "{file}");
    }
}

#[test]
fn what_turborepo_declares_for_a_build_is_an_input() {
    let env = monorepo();
    env.write(
        "turbo.json",
        r#"{ // comments are allowed
            "globalDependencies": ["global.json", "**/.settings", ".env.local"],
            "globalEnv": ["X"],
            "tasks": {
                "build": { "dependsOn": ["^build"], "inputs": ["$TURBO_DEFAULT$", "$TURBO_ROOT$/config/a.json"] },
                "api#build": { "inputs": ["src/**", "../../shared/**/*.css"], "dependsOn": ["icons#build"] },
                "lint": { "inputs": ["$TURBO_ROOT$/lint.json"] }
            } }"#,
    );
    env.write(
        "projects/shop/turbo.json",
        r#"{ "extends": ["//"], "tasks": { "build": {
            "inputs": ["$TURBO_EXTENDS$", "$TURBO_ROOT$/packages/theme/tokens.json", "$TURBO_ROOT$/conf*/b.json"] } } }"#,
    );
    env.write(".settings", "A=1\n");
    // Git ignores it.
    env.write(".env.local", "A=1\n");
    env.write("packages/theme/.settings", "A=1\n");
    env.commit("turborepo");
    check(
        &env,
        &[
            ("global.json", &["api", "shop"]),
            (".settings", &["api", "shop"]),
            ("packages/theme/.settings", &[]),
            ("config/a.json", &["shop"]),
            ("config/b.json", &["shop"]),
            ("shared/deep/c.css", &["api"]),
            ("packages/icons/a.svg", &["api"]),
            ("packages/theme/tokens.json", &["shop"]),
            ("packages/theme/package.json", &[]),
            ("lint.json", &[]),
            ("turbo.json", &["api", "shop"]),
            ("projects/shop/turbo.json", &["shop"]),
        ],
    );
    // A deleted and a new file count.
    env.sh("rm shared/deep/c.css && git add --all && git commit --quiet -m gone").exits(0);
    let json = affected_json(&env, &["--base", "HEAD~1", "--head", "HEAD"]);
    assert_eq!(names(&json), ["api"]);
    env.sh("rm global.json && git add --all && git commit --quiet -m gone").exits(0);
    let json = affected_json(&env, &["--base", "HEAD~1", "--head", "HEAD"]);
    assert_eq!(names(&json), ["api", "shop"]);
    env.write("shared/new.css", "a{}\n");
    assert_eq!(names(&affected_json(&env, &["--base", "HEAD"])), ["api"]);
}

#[test]
fn settings_that_declare_nothing_for_a_build_change_no_key() {
    let env = monorepo();
    env.commit("no settings");
    let before = keys(&env);
    env.write(
        "turbo.json",
        r#"{ "tasks": { "build": { "dependsOn": ["^build"], "inputs": ["$TURBO_DEFAULT$", "src/**"], "env": ["X"] } } }"#,
    );
    env.write(
        "nx.json",
        r#"{ "namedInputs": { "default": ["{projectRoot}/**/*", "sharedGlobals"], "sharedGlobals": [] },
             "targetDefaults": { "build": { "dependsOn": ["^build"], "inputs": ["default", "^default"] } } }"#,
    );
    env.commit("settings");
    assert_eq!(keys(&env), before);
    // They steer a build that runs them.
    env.write(
        "projects/api/package.json",
        r#"{ "name": "api", "scripts": { "build": "turbo run css && nx build api" } }"#,
    );
    env.commit("a build with task runners");
    check(&env, &[("turbo.json", &["api"]), ("nx.json", &["api"])]);
    // Broken settings declare nothing.
    env.write("turbo.json", "{ \"globalDependencies\": [");
    env.write("nx.json", "[]");
    env.commit("broken");
    env.xtask(&["deploy", "--all", "--engine", "host", "--dry-run"]).exits(0);
}

#[test]
fn what_nx_declares_for_a_build_is_an_input() {
    let env = monorepo();
    env.write(
        "nx.json",
        r#"{ "namedInputs": { "default": ["{projectRoot}/**/*", "sharedGlobals"],
                              "sharedGlobals": ["{workspaceRoot}/global.json"],
                              "production": ["default", "!{projectRoot}/**/*.test.ts"] },
             "targetDefaults": { "build": { "inputs": ["production", "^production", "{workspaceRoot}/config/*.json"] },
                                 "lint": { "inputs": ["{workspaceRoot}/lint.json"] } } }"#,
    );
    env.write(
        "projects/api/project.json",
        r#"{ "name": "api", "implicitDependencies": ["theme"], "targets": { "build": {
            "inputs": ["{workspaceRoot}/shared/**/*"], "dependsOn": ["^build"] } } }"#,
    );
    env.write(
        "projects/shop/package.json",
        r#"{ "name": "shop", "scripts": { "build": "node build.mjs" },
             "nx": { "targets": { "build": { "dependsOn": ["pictures:build"] } } } }"#,
    );
    env.write("packages/icons/project.json", r#"{ "name": "pictures" }"#);
    env.commit("nx");
    // A package is built before the project that needs it.
    let arguments = ["deploy", "api", "shop", "--engine", "host", "--dry-run", "--json"];
    let plan = env.xtask(&arguments).exits(0).json();
    let parts = plan["projects"].as_array().expect("projects").iter();
    let built = parts.map(|part| part["dependencies"][0]["dir"].clone());
    assert_eq!(built.collect::<Vec<_>>(), ["packages/theme".into(), serde_json::Value::Null]);
    check(
        &env,
        &[
            // The build of `theme`, which `api` needs, has them too.
            ("global.json", &["api", "shop"]),
            ("config/b.json", &["api", "shop"]),
            ("shared/deep/c.css", &["api"]),
            ("packages/theme/tokens.json", &["api"]),
            ("packages/icons/a.svg", &["shop"]),
            ("lint.json", &[]),
            ("nx.json", &["api", "shop"]),
            ("projects/api/project.json", &["api"]),
        ],
    );
}
