//! A large repository that was not made for xtask, with the typical content of such repositories.

use serde_json::Value;

use crate::affected::{affected_json, names};
use crate::support::TestEnv;

/// pnpm packages, two Workers in one package, TOML beside JSON, names that repeat, folders without a
/// lock file, a repository inside of the repository, a link, fixtures that are broken on purpose.
fn tree() -> TestEnv {
    let env = TestEnv::new();
    for (path, text) in [
        ("package.json", r#"{ "name": "monorepo", "private": true }"#),
        ("pnpm-workspace.yaml", "packages:\n  - 'apps/*'\n  - 'libs/*'\n"),
        ("pnpm-lock.yaml", "lockfileVersion: '9.0'\n"),
        ("libs/tokens/package.json", r#"{ "name": "@acme/tokens", "version": "1.0.0" }"#),
        ("libs/tokens/index.ts", "1\n"),
        (
            "libs/ui/package.json",
            r#"{ "name": "@acme/ui", "dependencies": { "@acme/tokens": "workspace:^" } }"#,
        ),
        (
            "apps/shop/package.json",
            r#"{ "name": "shop", "devDependencies": { "@acme/ui": "workspace:*" } }"#,
        ),
        ("apps/shop/front/wrangler.jsonc", "{ /* the site */ \"name\": \"shop-front\", }"),
        ("apps/shop/api/wrangler.toml", "name = \"shop-api\"\nmain = \"index.ts\"\n"),
        ("apps/shop/api/index.ts", "1\n"),
        ("apps/docs/package.json", r#"{ "name": "docs" }"#),
        ("apps/docs/wrangler.toml", "name = \"docs\"\n"),
        // Another `docs` of the same Worker's name, which belongs to no workspace and has no lock file.
        ("legacy/docs/package.json", r#"{ "name": "docs", "dependencies": { "left-pad": "1" } }"#),
        ("legacy/docs/wrangler.toml", "name = \"docs\"\n"),
        ("legacy/docs/wrangler.json", r#"{ "name": "docs", "main": "preferred.ts" }"#),
        ("apps/with space/wrangler.toml", "name = \"spaced\"\n"),
        ("fixtures/manifest/package.json", "{ broken\n"),
        ("fixtures/template/wrangler.jsonc", "{ \"name\": \"{{name}}\", {{more}} }"),
        ("fixtures/nameless/wrangler.toml", "main = \"index.ts\"\n"),
        ("fixtures/pages/wrangler.toml", "name = \"pages\"\npages_build_output_dir = \"dist\"\n"),
    ] {
        env.write(path, text);
    }
    env.sh("mkdir -p tools/nested && cd tools/nested && git init -q . && echo 'name = \"n\"' > wrangler.toml")
        .exits(0);
    env.sh("ln -s ../legacy/docs apps/link").exits(0);
    env.sh("printf 'tools/nested\\n' >> .git/info/exclude").exits(0);
    env.commit("tree");
    env
}

fn configs(json: &Value) -> Vec<&str> {
    let all = json["broken"].as_array().expect("a list");
    all.iter().map(|broken| broken["config"].as_str().expect("text")).collect()
}

#[test]
fn finds_projects_and_names_broken_configs() {
    let env = tree();
    let ran = env.xtask(&["projects", "--json"]).exits(0);
    let json = ran.json();
    let all = ["apps/docs", "apps/shop/api", "apps/shop/front", "apps/with space", "legacy/docs"];
    assert_eq!(names(&json), all);
    assert_eq!(json["projects"][4]["config"], "legacy/docs/wrangler.json");
    assert_eq!(json["projects"][1]["package"]["name"], "shop");
    assert_eq!(json["projects"][2]["package"]["name"], "shop");
    let broken = [
        "fixtures/nameless/wrangler.toml",
        "fixtures/pages/wrangler.toml",
        "fixtures/template/wrangler.jsonc",
    ];
    assert_eq!(configs(&json), broken);
    for message in [
        "fixtures/nameless/wrangler.toml has no `name`, so it is not a project",
        "this is a Pages project",
        "template/wrangler.jsonc:",
    ] {
        assert!(ran.stderr.contains(message), "{}", ran.stderr);
    }
    let twice = env.xtask(&["build", "docs"]).exits(2);
    assert!(twice.stderr.contains("say which: apps/docs, legacy/docs"), "{}", twice.stderr);
    let named = env.xtask(&["build", "fixtures/pages", "--dry-run"]).exits(3);
    assert!(named.stderr.contains("this is a Pages project"), "{}", named.stderr);
    let named = env.xtask(&["build", "fixtures/nameless", "--dry-run"]).exits(3);
    assert!(named.stderr.contains("it has no `name`, so wrangler cannot"), "{}", named.stderr);
    let package = r#"{ "name": "docs", "xtask": { "dependsOn": ["fixtures/pages"] } }"#;
    env.write("apps/docs/package.json", package);
    let needed = env.xtask(&["projects", "--json"]).exits(0);
    let message = "apps/docs/package.json: fixtures/pages/wrangler.toml: this is a Pages project";
    assert!(needed.stderr.contains(message), "{}", needed.stderr);
    assert_eq!(configs(&needed.json())[0], "apps/docs/wrangler.toml", "only its own row");
    env.xtask(&["build", "apps/docs", "--dry-run"]).exits(3);
}

#[test]
fn changes_affect_the_right_projects() {
    let env = tree();
    env.sh("git branch -M main && git checkout -q -b change").exits(0);
    for (path, expected) in [
        ("libs/tokens/index.ts", &["apps/shop/api", "apps/shop/front"][..]),
        ("apps/shop/api/index.ts", &["apps/shop/api"]),
        ("apps/with space/new.ts", &["apps/with space"]),
        ("legacy/docs/readme.md", &["legacy/docs"]),
        ("apps/link", &[]),
        ("fixtures/manifest/package.json", &[]),
        ("tools/nested/wrangler.toml", &[]),
    ] {
        env.sh(&format!("rm -f {path:?}")).exits(0);
        env.write(path, "changed\n");
        assert_eq!(names(&affected_json(&env, &[])), expected, "{path}");
        env.sh("git stash -q -u && git stash drop -q || true").exits(0);
    }
    env.write("pnpm-lock.yaml", "lockfileVersion: '9.1'\n");
    let all = ["apps/docs", "apps/shop/api", "apps/shop/front", "apps/with space", "legacy/docs"];
    assert_eq!(names(&affected_json(&env, &[])), all, "the nearest lock file at or above each");
}

#[test]
fn a_broken_config_stops_only_commands_for_its_project() {
    let env = tree();
    env.sh("git branch -M main && git checkout -q -b change").exits(0);
    env.write("apps/docs/readme.md", "new\n");
    let script = env.xtask(&["build", "--dry-run"]).exits(0);
    assert!(script.stdout.contains("apps/docs"), "{}", script.stdout);
    // Two projects would deploy one Worker.
    let claimed = env.xtask(&["ci", "generate", "--dry-run"]).exits(3);
    for config in ["apps/docs/wrangler.toml", "legacy/docs/wrangler.json"] {
        assert!(claimed.stderr.contains(config), "{config}: {}", claimed.stderr);
    }
    env.write("legacy/docs/wrangler.json", r#"{ "name": "docs-of-2019", "main": "preferred.ts" }"#);
    let generated = env.xtask(&["ci", "generate", "--dry-run"]).exits(0);
    assert!(generated.stderr.contains("fixtures/nameless/wrangler.toml"), "{}", generated.stderr);
    assert!(generated.stdout.contains("deploy apps/docs:"), "{}", generated.stdout);
    env.write("fixtures/pages/new.ts", "1\n");
    let changed = env.xtask(&["build", "--dry-run"]).exits(3);
    assert!(changed.stderr.contains("this is a Pages project"), "{}", changed.stderr);
    let leave_out = "hint: leave it out: `\"projects\": [\"**\", \"!fixtures/pages\"]`";
    assert!(changed.stderr.contains(leave_out), "{}", changed.stderr);
    assert!(changed.stdout.contains("apps/docs"), "the others go on: {}", changed.stdout);

    // The repository says where its projects are, without another edit to it.
    let config = std::fs::read_to_string(env.root.join("dagger/config/config.json")).expect("text");
    let places = r#"{ "projects": ["apps/**", "!apps/with space"],"#;
    env.write("dagger/config/config.json", &config.replacen('{', places, 1));
    let json = env.xtask(&["projects", "--json"]).exits(0).json();
    assert_eq!(names(&json), ["apps/docs", "apps/shop/api", "apps/shop/front"]);
    assert!(configs(&json).is_empty());
    let all = env.xtask(&["build", "--all", "--dry-run"]).exits(0);
    assert!(all.stdout.contains("pnpm install --frozen-lockfile"), "{}", all.stdout);
}
