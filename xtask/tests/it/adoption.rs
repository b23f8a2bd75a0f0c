//! Repositories that `init` set up: upgrades, vendored modules, the tests of their projects.

use std::collections::BTreeSet;

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::json;

use crate::init::{Manager, announced_files, changed_files, init, monorepo};
use crate::installs;
use crate::support::{Ran, TestEnv, copy, error_text};
use dev::generation::{Mode, generate};

/// A repository with this tool in two releases. The second has another version of wrangler.
fn releases() -> TestEnv {
    let tool = TestEnv::foreign();
    copy(&tool, ".");
    tool.commit("one");
    tool.git(&["tag", "v0.9.0"]);
    let path = "dagger/cloudflare/toolchain/package.json";
    let manifest = std::fs::read_to_string(tool.root.join(path)).expect("text");
    tool.write(path, &manifest.replace(&wrangler(&manifest), "9.9.9"));
    let lock = "dagger/cloudflare/toolchain/bun.lock";
    let text = std::fs::read_to_string(tool.root.join(lock)).expect("text");
    tool.write(lock, &format!("{text}\n"));
    // The copies that are compiled into xtask.
    let stale = generate(&tool.root, Mode::Write).expect("readable");
    let copies =
        ["package.json", "bun.lock"].map(|name| format!("crates/workspace/pins/wrangler.{name}"));
    assert_eq!(stale, copies);
    tool.commit("two");
    for tag in ["v0.10.0", "v0.11.0-rc.1", "nightly"] {
        tool.git(&["tag", tag]);
    }
    tool
}

/// The version of wrangler in the manifest of its pin.
fn wrangler(manifest: &str) -> String {
    let manifest: serde_json::Value = serde_json::from_str(manifest).expect("JSON");
    manifest["dependencies"]["wrangler"].as_str().expect("a version").to_owned()
}

/// Cargo's folder, with the packages that this machine has, but without its git repositories.
fn cargo_home(env: &TestEnv) -> Utf8PathBuf {
    let own = std::env::var("CARGO_HOME").map_or_else(
        |_| Utf8PathBuf::from(std::env::var("HOME").expect("HOME")).join(".cargo"),
        Utf8PathBuf::from,
    );
    let home = env.folder.join("cargo");
    std::fs::create_dir_all(&home).expect("a folder");
    for name in ["registry", "config.toml", "bin"] {
        if own.join(name).exists() {
            std::os::unix::fs::symlink(own.join(name), home.join(name)).expect("a link");
        }
    }
    home
}

#[test]
fn upgrade_updates_the_pin_and_names_projects_to_redeploy() {
    let tool = releases();
    let env = TestEnv::foreign();
    env.worker("apps/api", "acme-api");
    env.worker("apps/cron", "acme-cron");
    env.commit("theirs");
    let home = cargo_home(&env);
    let rustup = std::env::var("RUSTUP_HOME")
        .unwrap_or_else(|_| format!("{}/.rustup", std::env::var("HOME").expect("HOME")));
    let target = Utf8Path::new(env!("CARGO_TARGET_TMPDIR")).join("adopted");
    let variables = [
        ("CARGO_HOME", home.as_str()),
        ("RUSTUP_HOME", &rustup),
        ("CARGO_TARGET_DIR", target.as_str()),
    ];
    let xtask = |arguments: &[&str]| env.xtask_with(arguments, &variables);
    let url = format!("file://{}", tool.root);
    let first = tool.sh("git rev-parse v0.9.0").exits(0).stdout;
    xtask(&["init", ".", "--git", &url, "--rev", first.trim()]).exits(0);
    env.commit("adopted");

    let dry = xtask(&["upgrade", "xtask", "v0.10.0", "--dry-run"]).exits(0).stdout;
    assert_eq!(dry, format!("{} → v0.10.0\nnothing is written by a dry run\n", first.trim()));
    let missing = xtask(&["upgrade", "xtask", "v7.0.0"]).exits(1);
    assert!(
        missing.stderr.contains(&format!("check that v7.0.0 is a revision of {url}")),
        "{}",
        missing.stderr
    );
    assert_eq!(changed_files(&env), BTreeSet::new(), "the files are as before");

    let upgraded = xtask(&["upgrade", "xtask", "v0.10.0"]).exits(0);
    let before =
        std::fs::read_to_string(tool.root.join("dagger/cloudflare/toolchain/package.json"));
    assert_eq!(wrangler(&before.expect("text")), "9.9.9");
    let own = crate::support::repository().join("dagger/cloudflare/toolchain/package.json");
    let own = wrangler(&std::fs::read_to_string(own).expect("text"));
    assert_eq!(
        upgraded.stdout,
        format!(
            "{} → v0.10.0\n\
             wrangler {own} → 9.9.9\n\
             2 of 2 projects get another content key and are deployed once more: apps/api, apps/cron\n\
             next: `cargo xtask doctor`, then commit xtask/Cargo.toml and xtask/Cargo.lock\n",
            first.trim()
        )
    );
    assert_eq!(
        changed_files(&env),
        ["xtask/Cargo.lock", "xtask/Cargo.toml"].map(str::to_owned).into()
    );
    let manifest = std::fs::read_to_string(env.root.join("xtask/Cargo.toml")).expect("text");
    assert!(
        manifest.contains(&format!("delivery = {{ git = \"{url}\", tag = \"v0.10.0\" }}")),
        "{manifest}"
    );
    let lock = std::fs::read_to_string(env.root.join("xtask/Cargo.lock")).expect("text");
    let second = tool.sh("git rev-parse v0.10.0").exits(0).stdout;
    assert!(lock.contains(&format!("git+{url}?tag=v0.10.0#{}", second.trim())), "{lock}");

    // The newest release is that of the highest numbers. Prereleases and other tags are none.
    let again = xtask(&["upgrade", "xtask", "--json"]).exits(0).json();
    assert_eq!(
        again,
        json!({ "schema": 1, "url": url, "from": "v0.10.0", "to": "v0.10.0", "written": false,
                "tools": null, "redeployed": null })
    );
}

#[test]
fn vendored_modules_work_and_are_no_projects() {
    let env = monorepo(Manager::Bun);
    let json = init(&env, &["--vendor", "--json"]).exits(0).json();
    let files = announced_files(&json);
    for path in [
        "dagger/bun/dagger.json",
        "dagger/cloudflare/toolchain/bun.lock",
        "dagger/gitlab/dagger.json",
    ] {
        assert!(files.contains(path), "{path}: {files:?}");
    }
    assert_eq!(changed_files(&env), files);
    let modules = Utf8PathBuf::from(std::env::var("XTASK_TOOLCHAIN").expect("XTASK_TOOLCHAIN"));
    let link = env.root.join("dagger/cloudflare/toolchain/node_modules");
    std::os::unix::fs::symlink(modules.join("node_modules"), link).expect("a link");
    env.write(".git/info/exclude", "node_modules\n.xtask/\n");

    let deployed = installs::run(&env, &["deploy", "api", "site", "--json"], &[]).exits(0);
    for name in ["apps/api", "apps/site"] {
        assert_eq!(deployed.record(name)["status"], "live", "{}", deployed.stderr);
    }
    env.xtask(&["ci", "generate", "--check"]).exits(0);
    let names = env.xtask(&["projects", "--json"]).json();
    let names = names["projects"].as_array().expect("projects").iter();
    assert!(names.clone().count() == 4, "the modules are none");
    let script = env.xtask(&["deploy", "site", "--engine", "dagger", "--dry-run"]).exits(0).stdout;
    assert!(script.contains("dagger --progress=plain"), "{script}");
    assert_eq!(changed_files(&env), files, "nothing but the announced files differs");
}

/// The names in a list of `run`'s report.
fn with_status(ran: &Ran, status: &str) -> Vec<String> {
    let json = ran.json();
    let rows = json["projects"].as_array().expect("projects").iter();
    let rows = rows.filter(|row| row["status"] == status);
    rows.map(|row| row["project"].as_str().expect("a name").to_owned()).collect()
}

#[test]
fn the_check_job_runs_the_tests_of_the_projects() {
    let env = monorepo(Manager::Npm);
    init(&env, &[]).exits(0);
    let pipeline = std::fs::read_to_string(env.root.join(".gitlab-ci.yml")).expect("text");
    let (_, check) = pipeline.split_once("\ncheck:\n").expect("a job");
    let script = check.split_once("  script:\n").and_then(|(_, rest)| rest.split_once("\n\n"));
    expect_test::expect![[r#"
            - cargo xtask doctor pipeline
            - cargo xtask ci generate --check
            - cargo xtask run test"#]]
    .assert_eq(script.expect("a script").0.replace("\n    ", "\n").trim_start());

    // A site's test sees the built package that it imports, and no token.
    env.write(
        "apps/site/package.json",
        r#"{ "name": "site", "version": "1.0.0", "type": "module", "dependencies": { "@acme/ui": "1.0.0" },
             "scripts": { "build": "node build.mjs", "test": "node test.mjs" } }"#,
    );
    env.write(
        "apps/site/test.mjs",
        "import { title } from '@acme/ui';\nconst secrets = Object.keys(process.env).filter((name) => /TOKEN/.test(name));\n\
         if (title !== 'Acme' || secrets.length) throw new Error(`${title} ${secrets}`);\n",
    );
    env.write(
        "apps/web/package.json",
        r#"{ "name": "web", "version": "1.0.0", "type": "module", "scripts": { "test": "node -e \"throw new Error('no web')\"" } }"#,
    );
    let tokens =
        [("CLOUDFLARE_WORKERS_TOKEN", "cf-token-7f3a"), ("CICD_COMMENT_TOKEN", "glpat-7f3a")];
    let ran =
        installs::run(&env, &["run", "test", "site", "web", "api", "--json"], &tokens).exits(1);
    assert_eq!(with_status(&ran, "passed"), ["apps/site"], "{}", ran.stderr);
    assert_eq!(with_status(&ran, "failed"), ["apps/web"]);
    assert_eq!(with_status(&ran, "skipped"), ["apps/api"]);
    assert!(ran.stderr.contains("apps/web: `npm run test` exited with 1"), "{}", ran.stderr);
    assert!(ran.stderr.contains("no web"), "{}", ran.stderr);
    let text = env.xtask(&["run", "nothing", "--all"]).exits(3).stdout;
    assert_eq!(
        text,
        "nothing skipped, because they have no such script: apps/api, apps/cron, apps/site, apps/web\n"
    );
}

/// Projects that cannot be deployed as they are, beside two that can.
const MIXED: [(&str, &str); 12] = [
    (
        "apps/one/wrangler.json",
        r#"{ "name": "same", "main": "index.js", "compatibility_date": "2026-10-01" }"#,
    ),
    (
        "apps/two/wrangler.json",
        r#"{ "name": "same", "main": "index.js", "compatibility_date": "2026-10-01" }"#,
    ),
    ("apps/empty/wrangler.json", r#"{ "name": "empty" }"#),
    (
        "apps/unlocked/wrangler.json",
        r#"{ "name": "unlocked", "main": "index.js", "compatibility_date": "2026-10-01" }"#,
    ),
    ("apps/unlocked/index.js", "export default { fetch: () => new Response('unlocked') };\n"),
    (
        "apps/unlocked/package.json",
        r#"{ "name": "unlocked", "dependencies": { "is-number": "7.0.0" } }"#,
    ),
    // The sandbox has every account.
    (
        "apps/account/wrangler.toml",
        "name = \"account\"\nmain = \"index.js\"\naccount_id = \"xxxxx\"\ncompatibility_date = \"2026-10-01\"\npreview_urls = true\n",
    ),
    ("apps/account/index.js", "export default { fetch: () => new Response('account') };\n"),
    // Its build is in the script that deploys.
    (
        "apps/page/wrangler.json",
        r#"{ "name": "page", "compatibility_date": "2026-10-01", "preview_urls": true, "assets": { "directory": "dist" } }"#,
    ),
    (
        "apps/page/package.json",
        r#"{ "name": "page", "scripts": { "deploy": "mkdir -p dist && echo built > dist/index.html && npx wrangler deploy" } }"#,
    ),
    // A test's config. Nothing is missing when it is left out.
    ("packages/lib/tests/wrangler.jsonc", r#"{ "main": "worker.ts" }"#),
    (".gitignore", "dist/\nnode_modules/\n"),
];

#[test]
fn a_missing_part_of_one_project_stops_no_other() {
    let env = TestEnv::foreign();
    for (path, text) in MIXED {
        env.write(path, text);
    }
    env.commit("theirs");
    let text = init(&env, &[]).exits(0).stdout;
    assert!(text.contains("`mkdir -p dist && echo built > dist/index.html`"), "{text}");
    assert!(
        text.contains("packages/lib/tests/wrangler.jsonc has no `name`, so it is not a project"),
        "{text}"
    );

    let tables = [
        (&["deploy", "--all", "--json"][..], "live"),
        (&["preview", "--all", "--alias", "next", "--json"], "ready"),
    ];
    for (arguments, status) in tables {
        let ran = installs::run(&env, arguments, &[]).exits(3);
        for name in ["apps/account", "apps/page"] {
            assert_eq!(ran.record(name)["status"], status, "{name}: {}", ran.stderr);
        }
        for (name, message) in [
            (
                "apps/one",
                "apps/one/wrangler.json and apps/two/wrangler.json both deploy the Worker `same`",
            ),
            (
                "apps/two",
                "apps/two/wrangler.json and apps/one/wrangler.json both deploy the Worker `same`",
            ),
            ("apps/empty", "leave it out: `\"projects\": [\"**\", \"!apps/empty\"]`"),
            ("apps/unlocked", "apps/unlocked has dependencies but no lock file"),
        ] {
            let record = ran.record(name);
            assert_eq!(record["status"], "refused", "{name}");
            let error = error_text(&record);
            assert!(error.contains(message), "{name}: {error}");
        }
        for message in ["packages/lib", "did not make the storage"] {
            assert!(!ran.stderr.contains(message), "{arguments:?}: {}", ran.stderr);
        }
    }
    assert_eq!(env.fetch("account.localhost", "/"), (200, "account".to_owned()));
    assert_eq!(env.fetch("page.localhost", "/"), (200, "built\n".to_owned()));

    // The pipeline has the others, and the exit code says that some are missing.
    let generated = env.xtask(&["ci", "generate"]).exits(3);
    assert!(generated.stderr.contains("both deploy the Worker `same`"), "{}", generated.stderr);
    let pipeline = std::fs::read_to_string(env.root.join(".gitlab-ci.yml")).expect("text");
    let has = |name: &str| pipeline.contains(&format!("\ndeploy {name}:\n"));
    assert!(has("apps/page") && has("apps/account") && !has("apps/one") && !has("apps/two"));
    // Named alone, it is an error as before.
    let alone = env.xtask(&["deploy", "apps/empty"]).exits(3);
    assert!(alone.stderr.contains("neither `main` nor `assets.directory`"), "{}", alone.stderr);
}
