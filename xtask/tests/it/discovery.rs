//! Projects are found and named right in trees that do not look like ours.

use expect_test::expect;
use serde_json::Value;
use workspace::Workspace;

use crate::support::TestEnv;

#[test]
fn reads_an_existing_monorepo_unchanged() {
    let env = TestEnv::new();
    env.site("apps/one/site", "one-site");
    env.site("apps/two/site", "two-site");
    env.worker("apps/two/api", "api");
    // Two Workers built by one package above them.
    env.write(
        "packages/pair/package.json",
        r#"{ "name": "pair", "scripts": { "build": "true" } }"#,
    );
    env.write("packages/pair/left/wrangler.json", r#"{ "name": "left", "main": "a.js" }"#);
    env.write("packages/pair/right/wrangler.toml", "name = \"right\"\nmain = \"b.js\"\n");
    // Wrangler itself prefers the JSON file to the TOML beside it.
    env.write("apps/one/site/wrangler.toml", "name = \"stale\"\n");
    env.write("node_modules/dep/wrangler.json", r#"{ "name": "dependency" }"#);
    env.write("ignored/wrangler.json", r#"{ "name": "ignored" }"#);
    env.write(".gitignore", "node_modules/\nignored/\n");
    let json = env.xtask(&["projects", "--json"]).exits(0).json();
    let found: Vec<(&str, &str, &str)> = json["projects"]
        .as_array()
        .expect("projects")
        .iter()
        .map(|project| {
            let text = |value: &'static str| project[value].as_str().expect("text");
            (text("name"), text("worker"), project["package"]["name"].as_str().unwrap_or("none"))
        })
        .collect();
    assert_eq!(
        found,
        [
            ("apps/one/site", "one-site", "one-site-package"),
            ("apps/two/api", "api", "api-package"),
            ("apps/two/site", "two-site", "two-site-package"),
            ("packages/pair/left", "left", "pair"),
            ("packages/pair/right", "right", "pair"),
        ]
    );
    let ambiguous = env.xtask(&["build", "site"]).exits(2);
    assert!(
        ambiguous.stderr.contains("say which: apps/one/site, apps/two/site"),
        "{}",
        ambiguous.stderr
    );
    let from_below =
        env.sh(&format!("cd apps/two && {} projects --json", env!("CARGO_BIN_EXE_xtask")));
    assert_eq!(from_below.exits(0).json(), json);
}

#[test]
fn a_config_below_one_of_the_same_worker_is_no_project() {
    let env = TestEnv::new();
    for (folder, worker) in
        [("agent", "agent"), ("agent/test", "agent"), ("agent/e2e", "agent-e2e")]
    {
        env.write(
            &format!("projects/{folder}/wrangler.jsonc"),
            &format!(r#"{{ "name": "{worker}", "main": "a.js" }}"#),
        );
    }
    let ran = env.xtask(&["projects"]).exits(0);
    let folders: Vec<&str> =
        ran.stdout.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(folders, ["agent", "agent/e2e"]);
    let note = "not used, because a config in a folder above deploys the same Worker: projects/agent/test/wrangler.jsonc; \
        `\"xtask\": { \"configs\": [\"wrangler.jsonc\"] }` in package.json makes it a project";
    assert!(ran.stderr.contains(note), "{}", ran.stderr);
    env.write(
        "projects/agent/test/package.json",
        r#"{ "xtask": { "configs": ["wrangler.jsonc"] } }"#,
    );
    let refused = env.xtask(&["deploy", "agent", "--dry-run"]).exits(3);
    assert!(refused.stderr.contains("both deploy the Worker `agent`"), "{}", refused.stderr);
}

#[test]
fn the_configs_of_a_folder_are_projects_by_rule_or_by_list() {
    let env = TestEnv::new();
    let config = |file: &str, worker: &str| {
        env.write(
            &format!("projects/example.com/shop/{file}"),
            &format!(r#"{{ "name": "{worker}", "main": "a.js" }}"#),
        );
    };
    config("wrangler.jsonc", "shop");
    config("wrangler.api.jsonc", "shop-api");
    config("wrangler.staging.jsonc", "shop-staging");
    config("wrangler.copy.jsonc", "shop");
    env.write("projects/example.com/shop/wrangler.toml", "name = \"old\"\nmain = \"a.js\"\n");
    let names = || {
        let json = env.xtask(&["projects", "--json"]).exits(0).json();
        let projects = json["projects"].as_array().expect("projects").iter();
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        projects
            .map(|one| format!("{} {}", text(&one["name"]), text(&one["worker"])))
            .collect::<Vec<_>>()
    };
    assert_eq!(names(), ["example.com/shop shop", "example.com/shop/wrangler.api shop-api"]);
    let ran = env.xtask(&["projects"]).exits(0);
    assert!(
        ran.stderr.contains(
            "not used, because another config in the folder is: projects/example.com/shop/wrangler.staging.jsonc, \
             projects/example.com/shop/wrangler.toml, projects/example.com/shop/wrangler.copy.jsonc; \
             `\"xtask\": { \"configs\": [\"wrangler.jsonc\", …] }` in package.json lists those that are projects"
        ),
        "{}",
        ran.stderr
    );
    // One alone in its folder is beside no other.
    env.write(
        "projects/example.com/lib/wrangler.test.jsonc",
        r#"{ "name": "lib-test", "main": "a.js" }"#,
    );
    let alone = env.xtask(&["projects"]).exits(0).stderr;
    assert!(
        alone.contains(
            "not used, because its name is that of a test, an example or a variant: projects/example.com/lib/wrangler.test.jsonc; \
             `\"xtask\": { \"configs\": [\"wrangler.test.jsonc\"] }` in package.json makes it a project"
        ),
        "{alone}"
    );
    env.write(
        "projects/example.com/lib/package.json",
        r#"{ "xtask": { "configs": ["wrangler.test.jsonc"] } }"#,
    );
    assert_eq!(
        names(),
        [
            "example.com/lib lib-test",
            "example.com/shop shop",
            "example.com/shop/wrangler.api shop-api"
        ]
    );
    env.sh("rm -r projects/example.com/lib").exits(0);
    // A suffix means one of them.
    let workspace = Workspace::load_strict(&env.root).expect("a workspace");
    let worker = |name: &str| workspace.project(name).map(|project| project.worker.clone());
    assert_eq!(worker("shop").expect("one"), "shop");
    assert_eq!(worker("shop/wrangler.api").expect("one"), "shop-api");

    let list = |configs: &str| {
        env.write(
            "projects/example.com/shop/package.json",
            &format!(r#"{{ "xtask": {{ "configs": {configs} }} }}"#),
        );
    };
    list(r#"["wrangler.toml", "wrangler.staging.jsonc"]"#);
    assert_eq!(names(), ["example.com/shop old", "example.com/shop/wrangler.staging shop-staging"]);
    // Two of them cannot be one Worker.
    list(r#"["wrangler.jsonc", "wrangler.copy.jsonc"]"#);
    let refused = env.xtask(&["deploy", "example.com/shop", "--dry-run"]).exits(3);
    assert!(
        refused.stderr.contains(
            "projects/example.com/shop/wrangler.jsonc and projects/example.com/shop/wrangler.copy.jsonc both deploy the Worker `shop`"
        ),
        "{}",
        refused.stderr
    );
    list(r#"["wrangler.jsonc", "wrangler.stging.jsonc"]"#);
    let ran = env.xtask(&["projects"]).exits(0);
    assert!(
        ran.stderr.contains(
            "projects/example.com/shop/package.json: `xtask.configs` lists `wrangler.stging.jsonc`, which is not a wrangler config of its folder"
        ),
        "{}",
        ran.stderr
    );
    let workspace = Workspace::load(&env.root).expect("a workspace");
    assert_eq!(workspace.broken[0].failure.hints, ["did you mean `wrangler.staging.jsonc`?"]);
}

#[test]
fn dependencies_are_edges_and_cycles_are_sets() {
    let env = TestEnv::new();
    env.site("projects/a", "a");
    env.site("projects/b", "b");
    env.write("projects/ui/package.json", r#"{ "name": "ui" }"#);
    env.write(
        "projects/a/package.json",
        r#"{ "name": "a", "dependencies": { "ui": "workspace:*" }, "xtask": { "build": "true", "dependsOn": ["b"], "inputs": ["dagger/config"] } }"#,
    );
    let json = env.xtask(&["projects", "--json"]).exits(0).json();
    let edges = json["projects"][0]["dependsOn"].as_array().expect("edges").clone();
    let found: Vec<(&str, &str)> = edges
        .iter()
        .map(|edge| (edge["to"].as_str().expect("text"), edge["origin"].as_str().expect("text")))
        .collect();
    assert_eq!(
        found,
        [("projects/ui", "manifest"), ("projects/b", "dependsOn"), ("dagger/config", "input")]
    );
    env.write(
        "projects/b/package.json",
        r#"{ "name": "b", "scripts": { "build": "true" }, "dependencies": { "a": "workspace:*" } }"#,
    );
    let json = env.xtask(&["projects", "--json"]).exits(0).json();
    let on = |project: usize| {
        let edges = json["projects"][project]["dependsOn"].as_array().expect("edges").iter();
        edges.map(|edge| edge["to"].as_str().expect("text").to_owned()).collect::<Vec<_>>()
    };
    assert!(on(0).contains(&"projects/b".to_owned()) && on(1) == ["projects/a"], "{json:#}");
    env.write("bun.lock", "{}\n");
    let key = |name: &str| {
        let arguments = ["deploy", name, "--engine", "host", "--dry-run", "--json"];
        env.xtask(&arguments).exits(0).json()["projects"][0]["key"].clone()
    };
    let before = (key("a"), key("b"));
    env.write("projects/b/content.txt", "other\n");
    let after = (key("a"), key("b"));
    assert!(before.0 != after.0 && before.1 != after.1, "members of a cycle share their inputs");
}

/// Each config that cannot be read has one row that names the file, the place and the fix.
#[test]
fn a_config_of_odd_bytes_is_one_row() {
    let env = TestEnv::new();
    env.site("projects/fine", "fine");
    let write = |path: &str, bytes: &[u8]| {
        let path = env.root.join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, bytes).expect("a file");
    };
    write("projects/latin1/wrangler.toml", b"# one\nname = \"caf\xe9\"\n");
    let utf16: Vec<u8> = "{ \"name\": \"a\" }".encode_utf16().flat_map(u16::to_le_bytes).collect();
    write("projects/utf16/wrangler.json", &[&[0xff, 0xfe], utf16.as_slice()].concat());
    write("projects/new\nline/wrangler.json", b"{ \"name\": \"line\", \"main\": \"a.js\" }");
    write("projects/setting/wrangler.json", b"{ \"name\": \"setting\", \"main\": \"a.js\" }");
    write("projects/setting/package.json", b"{ \"name\": \"setting\", \"xtask\": 3 }");
    let doctor = env.xtask(&["doctor", "--offline"]).stdout;
    let rows = doctor
        .lines()
        .skip_while(|line| !line.starts_with('✗'))
        .take_while(|line| !line.is_empty());
    let rows: String = rows.map(|line| format!("{line}\n")).collect();
    expect![[r#"
        ✗ projects/latin1/wrangler.toml:2: the text is not UTF-8
            fix: save the file as UTF-8
            fix: leave it out: `"projects": ["projects/**", "!projects/latin1"]` in dagger/config/config.json
        ✗ projects/new\nline/wrangler.json: the folder "projects/new\nline" has an invisible character in its name
            fix: rename it: such a name looks like another one, and can end a line
            fix: leave it out: `"projects": ["projects/**", "!projects/new\nline"]` in dagger/config/config.json
        ✗ projects/setting/wrangler.json: projects/setting/package.json: invalid type: integer `3`, expected an object at line 1 column 31
            fix: leave it out: `"projects": ["projects/**", "!projects/setting"]` in dagger/config/config.json
        ✗ projects/utf16/wrangler.json:1: the text is not UTF-8
            fix: save the file as UTF-8
            fix: leave it out: `"projects": ["projects/**", "!projects/utf16"]` in dagger/config/config.json
    "#]].assert_eq(&rows);
}
