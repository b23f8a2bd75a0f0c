//! Repositories that were not made for this tool: set up, deployed and previewed without an edit to them.

use std::collections::BTreeSet;
use std::process::Command;

use camino::Utf8PathBuf;
use serde_json::Value;
use workspace::toolchain::Toolchain;

use crate::support::{CANARY, Ran, TestEnv, ran, repository};

/// A repository with projects of every kind, installed by `manager`.
fn monorepo(manager: &str) -> TestEnv {
    let env = TestEnv::foreign();
    for (path, text) in [
        (".gitignore", "node_modules/\ndist/\n.wrangler/"),
        (
            "packages/ui/package.json",
            r#"{ "name": "@acme/ui", "version": "1.0.0", "type": "module", "exports": "./index.js" }"#,
        ),
        ("packages/ui/index.js", "export const title = 'Acme';\n"),
        ("apps/api/package.json", r#"{ "name": "api" }"#),
        (
            "apps/api/wrangler.jsonc",
            r#"{ "name": "acme-api", "main": "src/index.js", "compatibility_date": "2026-10-01", "workers_dev": true, "preview_urls": true }"#,
        ),
        (
            "apps/api/src/index.js",
            "export default { fetch: (request) => new URL(request.url).pathname === '/v1' ? Response.json({ ok: true }) : new Response('no', { status: 404 }) };\n",
        ),
        (
            "apps/cron/wrangler.toml",
            "name = \"acme-cron\"\nmain = \"index.js\"\ncompatibility_date = \"2026-10-01\"\nworkers_dev = true\npreview_urls = true\n[triggers]\ncrons = [\"0 3 * * *\"]\n",
        ),
        ("apps/cron/index.js", "export default { scheduled() {} };\n"),
        (
            "apps/site/build.mjs",
            "import { mkdirSync, writeFileSync } from 'node:fs';\nimport { title } from '@acme/ui';\nmkdirSync('dist', { recursive: true });\nwriteFileSync('dist/index.html', `<h1>${title}</h1>`);\n",
        ),
        (
            "apps/site/wrangler.json",
            r#"{ "name": "acme-site", "compatibility_date": "2026-10-01", "workers_dev": true, "preview_urls": true, "assets": { "directory": "./dist" } }"#,
        ),
        ("apps/docs/wrangler.toml", "name = \"docs\"\npages_build_output_dir = \"dist\"\n"),
        ("fixtures/broken/wrangler.json", "{ broken\n"),
    ] {
        env.write(path, text);
    }
    let members = r#""workspaces": ["apps/*", "packages/*"]"#;
    let site = |version: &str, run: &str| {
        let text = format!(
            r#"{{ "name": "site", "dependencies": {{ "@acme/ui": "{version}" }}, "scripts": {{ "build": "{run} build.mjs" }} }}"#
        );
        env.write("apps/site/package.json", &text);
    };
    match manager {
        "bun" => {
            env.write(
                "package.json",
                &format!(r#"{{ "name": "acme", "private": true, {members} }}"#),
            );
            site("workspace:*", "bun");
            env.sh("bun install").exits(0);
        }
        _ => {
            env.write(
                "package.json",
                &format!(r#"{{ "name": "acme", "private": true, {members} }}"#),
            );
            site("1.0.0", "node");
            env.sh("npm install --package-lock-only --offline --no-audit --no-fund").exits(0);
        }
    }
    env.commit("theirs");
    env
}

/// Sets up the tool, by path.
fn init(env: &TestEnv, arguments: &[&str]) -> Ran {
    let home = std::env::var("HOME").expect("HOME");
    let or = |name: &str, folder: &str| {
        std::env::var(name).unwrap_or_else(|_| format!("{home}/{folder}"))
    };
    let (cargo, rustup) = (or("CARGO_HOME", ".cargo"), or("RUSTUP_HOME", ".rustup"));
    let variables =
        [("CARGO_HOME", cargo.as_str()), ("RUSTUP_HOME", &rustup), ("CARGO_NET_OFFLINE", "true")];
    env.xtask_with(&[&["init", ".", "--path"], arguments].concat(), &variables)
}

/// The files that `init` says it writes.
fn announced(json: &Value) -> BTreeSet<String> {
    let files = json["files"].as_array().expect("files").iter();
    let written = files.filter(|file| file["action"] != "keep");
    written.map(|file| file["path"].as_str().expect("a path").to_owned()).collect()
}

/// The files that differ from what was committed.
fn changed(env: &TestEnv) -> BTreeSet<String> {
    let status = env.sh("git status --porcelain --untracked-files=all").exits(0).stdout;
    status.lines().map(|line| line[3..].to_owned()).collect()
}

fn names(json: &Value, with_problem: bool) -> Vec<&str> {
    let rows = json["projects"].as_array().expect("projects").iter();
    let rows = rows.filter(|row| row["problem"].is_null() != with_problem);
    rows.map(|row| row["project"].as_str().expect("a name")).collect()
}

/// Sets up, deploys and previews. Nothing but the announced files differs afterwards.
fn adopt(env: &TestEnv) -> Value {
    let dry = init(env, &["--dry-run", "--json"]).exits(0).json();
    assert!(changed(env).is_empty(), "a dry run writes nothing");
    let json = init(env, &["--json"]).exits(0).json();
    assert_eq!(announced(&json), announced(&dry));
    assert_eq!(changed(env), announced(&json));
    assert_eq!(names(&json, false), ["apps/api", "apps/cron", "apps/site"]);
    let again = init(env, &["--json"]).exits(0).json();
    assert_eq!(announced(&again), BTreeSet::new(), "nothing is written twice");

    let doctor = env.xtask(&["doctor", "--offline", "--json"]).json();
    assert_eq!(doctor["projects"], json["projects"]);
    env.xtask(&["ci", "generate", "--check"]).exits(0);

    // A Pages project is its own row, which stops no other and decides the exit code.
    let deployed = env.xtask(&["deploy", "--all", "--json"]).exits(3);
    assert!(
        deployed.stderr.contains("apps/docs/wrangler.toml: this is a Pages project"),
        "{}",
        deployed.stderr
    );
    assert!(
        deployed.stderr.contains("leave it out: `\"projects\": [\"**\", \"!apps/docs\"]`"),
        "{}",
        deployed.stderr
    );
    for name in ["apps/api", "apps/cron", "apps/site"] {
        assert_eq!(deployed.record(name)["status"], "live", "{name}");
    }
    assert_eq!(env.fetch("acme-api.localhost", "/v1"), (200, "{\"ok\":true}".to_owned()));
    assert_eq!(env.fetch("acme-site.localhost", "/"), (200, "<h1>Acme</h1>".to_owned()));
    env.write(
        "apps/api/src/index.js",
        "export default { fetch: () => Response.json({ ok: 2 }) };\n",
    );
    let preview = env.xtask(&["preview", "acme-api", "--alias", "next", "--json"]).exits(0);
    assert_eq!(preview.record("apps/api")["status"], "ready");
    assert_eq!(env.fetch("next-acme-api.localhost", "/"), (200, "{\"ok\":2}".to_owned()));
    env.git(&["checkout", "--quiet", "--", "apps"]);
    assert_eq!(changed(env), announced(&json));
    json
}

#[test]
fn a_bun_monorepo_is_set_up_by_one_command() {
    let env = monorepo("bun");
    let json = adopt(&env);
    assert_eq!(json["projects"][2]["lock"], "bun.lock");
    let written = [
        ".cargo/config.toml",
        ".gitignore",
        ".gitlab-ci.yml",
        "dagger/config/config.json",
        "xtask/Cargo.lock",
        "xtask/Cargo.toml",
        "xtask/src/main.rs",
    ];
    assert_eq!(announced(&json), written.map(str::to_owned).into());
    let ignored = std::fs::read_to_string(env.root.join(".gitignore")).expect("text");
    assert_eq!(ignored, "node_modules/\ndist/\n.wrangler/\n/.xtask/\n/xtask/target/\n");
    // Cargo removed what only this repository's own crates need.
    let lock = std::fs::read_to_string(env.root.join("xtask/Cargo.lock")).expect("text");
    assert!(lock.contains("name = \"ureq\"") && !lock.contains("name = \"axum\""), "{lock}");
    assert!(!lock.contains(CANARY));
}

#[test]
fn an_npm_monorepo_is_set_up_by_one_command() {
    let env = monorepo("npm");
    let json = adopt(&env);
    assert_eq!(json["projects"][2]["lock"], "package-lock.json");
}

#[test]
fn a_cargo_workspace_and_a_pipeline_stay_as_they_are() {
    let env = monorepo("bun");
    for (path, text) in [
        ("Cargo.toml", "[workspace]\nresolver = \"2\"\nmembers = [\"crates/core\"]\n"),
        ("crates/core/Cargo.toml", "[package]\nname = \"core-of-acme\"\nversion = \"0.1.0\"\n"),
        ("crates/core/src/lib.rs", ""),
        (".cargo/config.toml", "[alias]\nb = \"build\"\n"),
        (
            ".gitlab-ci.yml",
            "stages: [build, verify, ship]\ncompile:\n  stage: build\n  script: make\n",
        ),
    ] {
        env.write(path, text);
    }
    env.commit("more of theirs");
    let json = adopt(&env);
    let announced = announced(&json);
    assert!(
        announced.contains(".gitlab/xtask.yml") && !announced.contains(".gitlab-ci.yml"),
        "{announced:?}"
    );
    let config = std::fs::read_to_string(env.root.join(".cargo/config.toml")).expect("text");
    assert_eq!(
        config,
        "[alias]\nxtask = \"run --quiet --manifest-path xtask/Cargo.toml --\"\nb = \"build\"\n"
    );
    let pipeline = std::fs::read_to_string(env.root.join(".gitlab/xtask.yml")).expect("text");
    let keys: Vec<&str> =
        pipeline.lines().filter(|line| !line.is_empty() && !line.starts_with([' ', '#'])).collect();
    let ours = |key: &&str| key.starts_with("xtask:") || key.starts_with(".xtask:");
    assert!(keys.len() > 5 && keys.iter().all(ours), "no key is global: {keys:?}");
    let stages: BTreeSet<&str> =
        pipeline.lines().filter_map(|line| line.strip_prefix("  stage: ")).collect();
    assert_eq!(stages, ["verify", "ship"].into());
    let message = init(&env, &[]).exits(0).stdout;
    assert!(message.ends_with("include:\n  - local: .gitlab/xtask.yml\n"), "{message}");

    // What we did not write we do not overwrite.
    let theirs = "stages: [mine]\n";
    env.write(".gitlab/xtask.yml", theirs);
    let refused = env.xtask(&["ci", "generate"]).exits(3);
    assert!(refused.stderr.contains(".gitlab/xtask.yml was not written by"), "{}", refused.stderr);
    assert_eq!(std::fs::read_to_string(env.root.join(".gitlab/xtask.yml")).expect("text"), theirs);
}

#[test]
fn what_is_there_is_kept_and_named() {
    let env = monorepo("bun");
    env.write("xtask/Cargo.toml", "[package]\nname = \"xtask\"\nversion = \"9.0.0\"\n");
    env.write(".cargo/config.toml", "[alias]\nxtask = \"run -p xtask --\"\n");
    env.commit("their own xtask");
    let ran = init(&env, &[]).exits(0);
    for message in [
        "kept      xtask/Cargo.toml\n            add `delivery = { path = ",
        "kept      .cargo/config.toml\n            add the alias yourself: `xtask = ",
    ] {
        assert!(ran.stdout.contains(message), "{}", ran.stdout);
    }
    let kept = std::fs::read_to_string(env.root.join("xtask/Cargo.toml")).expect("text");
    assert!(kept.contains("9.0.0"));
}

#[test]
fn what_is_no_other_repository_is_refused() {
    let env = TestEnv::foreign();
    let own = repository();
    for (path, message) in [
        (own.as_str(), "this is the tool's own repository"),
        ("missing", "cannot open missing: "),
        (env.folder.join("home").as_str(), ""),
    ] {
        let ran = env.xtask(&["init", path, "--path"]).exits(2);
        assert!(ran.stderr.contains(message), "{path}: {}", ran.stderr);
    }
}

/// The documented example, docs/adopt.md: the crate of a repository with its own command.
#[test]
fn own_commands_stand_beside_ours() {
    let env = TestEnv::foreign();
    init(&env, &[]).exits(0);
    let guide = std::fs::read_to_string(repository().join("docs/adopt.md")).expect("text");
    let example = guide.split_once("```rust\n").and_then(|(_, rest)| rest.split_once("```"));
    let (example, _) = example.expect("an example");
    env.write("xtask/src/main.rs", example);
    // Kept between runs, since the first one compiles every dependency.
    let target = Utf8PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("adopted");
    let cargo = |arguments: &[&str]| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["run", "--quiet", "--offline", "--manifest-path", "xtask/Cargo.toml", "--"]);
        cargo.args(arguments).current_dir(&env.root).env("CARGO_TARGET_DIR", &target);
        ran(cargo.output().expect("cargo runs"))
    };
    let own = cargo(&["seed", "--rows", "3"]).exits(0);
    assert_eq!(own.stdout, "seeded 3 rows\n");
    let ours = cargo(&["projects"]).exits(0);
    assert!(ours.stdout.contains("no projects"), "{}", ours.stdout);
    let help = cargo(&["--help"]).exits(0).stdout;
    assert!(help.contains("  seed ") && help.contains("  deploy "), "{help}");
}

#[test]
fn carried_pins_are_written_by_the_commands_of_a_script() {
    let env = monorepo("bun");
    init(&env, &[]).exits(0);
    let wrangler = Toolchain::wrangler(&env.root);
    std::fs::remove_file(wrangler.dir.join("node_modules")).expect("the link of this test");
    let script = env.xtask(&["deploy", "acme-api", "--dry-run"]).exits(0).stdout;
    assert!(script.contains("tee ") && script.contains("\"wrangler\": \""), "{script}");
    assert!(!wrangler.dir.join("package.json").exists(), "a dry run writes nothing");
}
