//! Repositories that were not made for this tool: set up, deployed and previewed without an edit to them.

use std::collections::BTreeSet;
use std::process::Command;

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value;
use workspace::toolchain::Toolchain;

use crate::installs;
use crate::support::{CANARY, Ran, TestEnv, ran, repository};

/// The package manager of a monorepo.
#[derive(Clone, Copy, PartialEq)]
pub enum Manager {
    Bun,
    Npm,
    /// With Turborepo as the script of the root.
    Pnpm,
    YarnBerry,
}

/// Files that every monorepo has: a Worker that is an API, one of crons alone, a Pages project, a broken config.
const FILES: [(&str, &str); 10] = [
    (".gitignore", "node_modules/\ndist/\n.wrangler/\n.turbo/\n.pnp.*\n.yarn/"),
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
    ("apps/docs/wrangler.toml", "name = \"docs\"\npages_build_output_dir = \"dist\"\n"),
    ("apps/broken/wrangler.json", "{ broken\n"),
    // The globs of the workspace leave it out.
    ("fixtures/broken/wrangler.json", "{ broken\n"),
    // A package that sites import as its build left it.
    (
        "packages/ui/build.mjs",
        "import { mkdirSync, writeFileSync } from 'node:fs';\nmkdirSync('dist', { recursive: true });\nwriteFileSync('dist/index.js', \"export const title = 'Acme';\\n\");\n",
    ),
    (
        "apps/site/build.mjs",
        "import { mkdirSync, writeFileSync } from 'node:fs';\nimport { title } from '@acme/ui';\nmkdirSync('dist', { recursive: true });\nwriteFileSync('dist/index.html', `<h1>${title}</h1>`);\n",
    ),
];

/// The build of a site that leaves what Vite's plugin does: code, assets, a separate config, and a redirect to it.
const VITE: &str = "\
import { mkdirSync, writeFileSync } from 'node:fs';
const config = {
  configPath: '../../wrangler.jsonc', userConfigPath: '../../wrangler.jsonc', topLevelName: 'acme-web', definedEnvironments: [],
  name: 'acme-web', main: 'index.js', compatibility_date: '2026-10-01', compatibility_flags: [], rules: [{ type: 'ESModule', globs: ['**/*.js', '**/*.mjs'] }],
  assets: { directory: '../client' }, vars: { GREETING: 'hello' }, no_bundle: true, workers_dev: true, preview_urls: true,
};
for (const folder of ['dist/acme_web', 'dist/client/assets', '.wrangler/deploy']) mkdirSync(folder, { recursive: true });
writeFileSync('dist/acme_web/wrangler.json', JSON.stringify(config));
writeFileSync('dist/acme_web/index.js', 'export default { fetch: (request, env) => new Response(env.GREETING) };\\n');
writeFileSync('dist/client/assets/app-BxYz12.js', '1\\n');
writeFileSync('dist/client/index.html', '<h1>web</h1>');
writeFileSync('.wrangler/deploy/config.json', JSON.stringify({ configPath: '../../dist/acme_web/wrangler.json', auxiliaryWorkers: [] }));
";

/// A repository with projects of every kind.
pub fn monorepo(manager: Manager) -> TestEnv {
    let env = TestEnv::foreign();
    for (path, text) in FILES {
        env.write(path, text);
    }
    let run = if manager == Manager::Bun { "bun" } else { "node" };
    let member = if manager == Manager::Npm { "1.0.0" } else { "workspace:*" };
    let package = |dir: &str, name: &str, fields: &str| {
        let text =
            format!(r#"{{ "name": "{name}", "version": "1.0.0", "type": "module"{fields} }}"#);
        env.write(&format!("{dir}/package.json"), &text);
    };
    let build = format!(r#", "scripts": {{ "build": "{run} build.mjs" }}"#);
    package("packages/ui", "@acme/ui", &format!(r#"{build}, "exports": "./dist/index.js""#));
    package("apps/api", "api", "");
    package(
        "apps/site",
        "site",
        &format!(r#"{build}, "dependencies": {{ "@acme/ui": "{member}" }}"#),
    );
    package("apps/web", "web", &build);
    env.write(
        "apps/site/wrangler.json",
        r#"{ "name": "acme-site", "compatibility_date": "2026-10-01", "workers_dev": true, "preview_urls": true, "assets": { "directory": "./dist" } }"#,
    );
    env.write(
        "apps/web/wrangler.jsonc",
        r#"{ "name": "acme-web", "main": "./worker/index.ts", "compatibility_date": "2026-10-01", "workers_dev": true, "preview_urls": true, "vars": { "GREETING": "hello" } }"#,
    );
    env.write("apps/web/worker/index.ts", "export default {};\n");
    env.write("apps/web/build.mjs", VITE);
    let root = |fields: &str| {
        env.write("package.json", &format!(r#"{{ "name": "acme", "private": true, {fields} }}"#));
    };
    let members = r#""workspaces": ["apps/*", "packages/*"]"#;
    match manager {
        Manager::Bun => {
            root(members);
            env.sh("bun install").exits(0);
        }
        Manager::Npm => {
            root(members);
            env.sh("npm install --package-lock-only --offline --no-audit --no-fund").exits(0);
        }
        Manager::Pnpm => {
            root(
                r#""packageManager": "pnpm@10.34.8", "scripts": { "build": "turbo run build" }, "devDependencies": { "turbo": "2.11.11" }"#,
            );
            env.write(
                "turbo.json",
                r#"{ "tasks": { "build": { "dependsOn": ["^build"], "outputs": ["dist/**"] } } }"#,
            );
            env.write("pnpm-workspace.yaml", "packages:\n  - apps/*\n  - packages/*\n");
            env.write("pnpm-lock.yaml", include_str!("../locks/adopted-pnpm-lock.yaml"));
        }
        Manager::YarnBerry => {
            root(&format!(r#""packageManager": "yarn@4.18.1", {members}"#));
            env.write("yarn.lock", include_str!("../locks/adopted-yarn.lock"));
            // No manifest is formatted as Yarn writes it, and none may change.
        }
    }
    env.commit("theirs");
    env
}

/// Sets up the tool, by path.
pub fn init(env: &TestEnv, arguments: &[&str]) -> Ran {
    let home = std::env::var("HOME").expect("HOME");
    let or = |name: &str, folder: &str| {
        std::env::var(name).unwrap_or_else(|_| format!("{home}/{folder}"))
    };
    let (cargo, rustup) = (or("CARGO_HOME", ".cargo"), or("RUSTUP_HOME", ".rustup"));
    let variables =
        [("CARGO_HOME", cargo.as_str()), ("RUSTUP_HOME", &rustup), ("CARGO_NET_OFFLINE", "true")];
    env.xtask_with(&[&["init", ".", "--path"], arguments].concat(), &variables)
}

/// Returns the files that `init` announces.
pub fn announced_files(json: &Value) -> BTreeSet<String> {
    let files = json["files"].as_array().expect("files").iter();
    let written = files.filter(|file| file["action"] != "keep");
    written.map(|file| file["path"].as_str().expect("a path").to_owned()).collect()
}

/// Returns the files that differ from the commit.
pub fn changed_files(env: &TestEnv) -> BTreeSet<String> {
    let status = env.sh("git status --porcelain --untracked-files=all").exits(0).stdout;
    status.lines().map(|line| line[3..].to_owned()).collect()
}

fn names(json: &Value, with_problem: bool) -> Vec<&str> {
    let rows = json["projects"].as_array().expect("projects").iter();
    let rows = rows.filter(|row| row["problem"].is_null() != with_problem);
    rows.map(|row| row["project"].as_str().expect("a name")).collect()
}

/// The projects of every monorepo.
const PROJECTS: [&str; 4] = ["apps/api", "apps/cron", "apps/site", "apps/web"];

/// Sets up, deploys and previews. Nothing but the announced files differs afterwards.
fn adopt(env: &TestEnv) -> Value {
    let dry = init(env, &["--dry-run", "--json"]).exits(0).json();
    assert!(changed_files(env).is_empty(), "a dry run writes nothing");
    let json = init(env, &["--json"]).exits(0).json();
    assert_eq!(announced_files(&json), announced_files(&dry));
    assert_eq!(changed_files(env), announced_files(&json));
    assert_eq!(names(&json, false), PROJECTS);
    assert_eq!(names(&json, true), ["apps/broken/wrangler.json", "apps/docs/wrangler.toml"]);
    let again = init(env, &["--json"]).exits(0).json();
    assert_eq!(announced_files(&again), BTreeSet::new(), "nothing is written twice");

    let doctor = env.xtask(&["doctor", "--offline", "--json"]).json();
    assert_eq!(doctor["projects"], json["projects"]);
    env.xtask(&["ci", "generate", "--check"]).exits(0);

    // A Pages project is its own row, which stops no other and decides the exit code.
    let deployed = installs::run(env, &["deploy", "--all", "--json"], &[]).exits(3);
    for message in [
        "apps/docs/wrangler.toml: this is a Pages project",
        "leave it out: add `\"!apps/docs\"` to `projects`",
        "apps/broken/wrangler.json: ",
    ] {
        assert!(deployed.stderr.contains(message), "{message}: {}", deployed.stderr);
    }
    for name in PROJECTS {
        assert_eq!(deployed.record(name)["status"], "live", "{name}");
    }
    assert_eq!(env.fetch("acme-api.localhost", "/v1"), (200, "{\"ok\":true}".to_owned()));
    assert_eq!(env.fetch("acme-site.localhost", "/"), (200, "<h1>Acme</h1>".to_owned()));
    assert_eq!(env.fetch("acme-web.localhost", "/"), (200, "<h1>web</h1>".to_owned()));
    assert_eq!(env.fetch("acme-web.localhost", "/any"), (200, "hello".to_owned()));
    let again = installs::run(env, &["deploy", "--all", "--json"], &[]).exits(3);
    for name in PROJECTS {
        assert_eq!(again.record(name)["status"], "unchanged", "{name}: {}", again.stderr);
    }

    env.write(
        "apps/api/src/index.js",
        "export default { fetch: () => Response.json({ ok: 2 }) };\n",
    );
    let ui = std::fs::read_to_string(env.root.join("packages/ui/build.mjs")).expect("text");
    env.write("packages/ui/build.mjs", &ui.replace("Acme", "Next"));
    let arguments = ["preview", "api", "site", "web", "cron", "--alias", "next", "--json"];
    let preview = installs::run(env, &arguments, &[]).exits(0);
    for name in PROJECTS {
        assert_eq!(preview.record(name)["status"], "ready", "{name}");
    }
    for (host, path, body) in [
        ("next-acme-api.localhost", "/", "{\"ok\":2}"),
        ("next-acme-site.localhost", "/", "<h1>Next</h1>"),
        ("next-acme-web.localhost", "/any", "hello"),
        ("acme-site.localhost", "/", "<h1>Acme</h1>"),
    ] {
        assert_eq!(env.fetch(host, path), (200, body.to_owned()), "{host}");
    }
    env.git(&["checkout", "--quiet", "--", "apps", "packages"]);
    assert_eq!(changed_files(env), announced_files(&json));
    json
}

/// The lock files of the projects with dependencies.
fn locks(json: &Value) -> Vec<&str> {
    let rows = json["projects"].as_array().expect("projects").iter();
    rows.filter_map(|row| row["lock"].as_str()).collect()
}

#[test]
fn a_pnpm_monorepo_with_turborepo_is_set_up_by_one_command() {
    let json = adopt(&monorepo(Manager::Pnpm));

    // The first is that of `apps/cron`, whose package is the root, with Turborepo.
    assert_eq!(locks(&json), ["pnpm-lock.yaml", "pnpm-lock.yaml"]);
}

#[test]
fn a_yarn_berry_monorepo_is_set_up_by_one_command() {
    let json = adopt(&monorepo(Manager::YarnBerry));
    assert_eq!(locks(&json), ["yarn.lock"]);
}

#[test]
fn a_bun_monorepo_is_set_up_by_one_command() {
    let env = monorepo(Manager::Bun);
    let json = adopt(&env);
    assert_eq!(locks(&json), ["bun.lock"]);
    let written = [
        ".cargo/config.toml",
        ".gitignore",
        ".gitlab-ci.yml",
        "dagger/config/config.json",
        "xtask/Cargo.lock",
        "xtask/Cargo.toml",
        "xtask/src/main.rs",
    ];
    assert_eq!(announced_files(&json), written.map(str::to_owned).into());
    let ignored = std::fs::read_to_string(env.root.join(".gitignore")).expect("text");
    assert_eq!(ignored, format!("{}\n/.xtask/\n/xtask/target/\n", FILES[0].1));
    // Cargo removed what only this repository's own crates need.
    let lock = std::fs::read_to_string(env.root.join("xtask/Cargo.lock")).expect("text");
    assert!(lock.contains("name = \"ureq\"") && !lock.contains("name = \"axum\""), "{lock}");
    assert!(!lock.contains(CANARY));
}

#[test]
fn an_npm_monorepo_is_set_up_by_one_command() {
    let env = monorepo(Manager::Npm);
    let json = adopt(&env);
    assert_eq!(locks(&json), ["package-lock.json"]);
}

#[test]
fn a_cargo_workspace_and_a_pipeline_stay_as_they_are() {
    let env = monorepo(Manager::Bun);
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
    let announced = announced_files(&json);
    assert!(
        announced.contains(".gitlab/xtask.yml") && !announced.contains(".gitlab-ci.yml"),
        "{announced:?}"
    );
    let config = std::fs::read_to_string(env.root.join(".cargo/config.toml")).expect("text");
    assert_eq!(
        config,
        "[alias]\nxtask = \"run --quiet --config term.progress.when='always' --config term.progress.width=54 \
         --manifest-path xtask/Cargo.toml --\"\nb = \"build\"\n"
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
    let note = "include:\n  - local: .gitlab/xtask.yml\n\nthese jobs of .gitlab-ci.yml do not run in the pipeline of a merge request";
    assert!(message.contains(note), "{message}");
    assert!(message.ends_with(gitlab::pipeline::own_jobs::WORKFLOW), "{message}");
    let doctor = env.xtask(&["doctor", "--offline"]).stdout;
    assert!(doctor.contains("these jobs of .gitlab-ci.yml do not run in"), "{doctor}");
    let doctor = env.xtask(&["doctor", "--offline", "--json"]).json();
    let note = gitlab::pipeline::own_jobs::note(
        &env.root,
        &workspace::config::Config::load(&env.root).expect("a config"),
    );
    let note = note.expect("a note");
    assert_eq!(doctor["pipeline"], serde_json::to_value(&note).expect("JSON"));
    assert!(doctor["pipeline"]["fix"].is_string() && doctor["pipeline"]["lines"].is_string());
    // A check alone has none.
    let doctor = env.xtask(&["doctor", "tools", "--offline", "--json"]).json();
    assert!(doctor["pipeline"].is_null(), "{doctor:#}");

    // What we did not write we do not overwrite.
    let theirs = "stages: [mine]\n";
    env.write(".gitlab/xtask.yml", theirs);
    let refused = env.xtask(&["ci", "generate"]).exits(3);
    assert!(refused.stderr.contains(".gitlab/xtask.yml was not written by"), "{}", refused.stderr);
    assert_eq!(std::fs::read_to_string(env.root.join(".gitlab/xtask.yml")).expect("text"), theirs);
}

#[test]
fn a_note_tells_how_jobs_get_into_the_pipeline_of_a_merge_request() {
    let env = TestEnv::foreign();
    env.worker("apps/api", "acme-api");
    let note = |text: &str| {
        env.write(".gitlab-ci.yml", text);
        let json = init(&env, &["--dry-run", "--json"]).exits(0).json();
        (json["pipeline"]["text"].clone(), json["pipeline"]["fix"].clone())
    };
    let (text, fix) = note("test: { script: make }\nlint: { script: make, only: [branches] }\n");
    assert_eq!(
        text,
        "these jobs of .gitlab-ci.yml do not run in the pipeline of a merge request, and GitLab's *Pipelines must succeed* \
         does not wait for another pipeline: lint, test"
    );
    assert_eq!(
        fix,
        "add `- if: $CI_PIPELINE_SOURCE == \"merge_request_event\"` to the rules of lint, and these lines to .gitlab-ci.yml"
    );
    let (text, _) =
        note("workflow: { rules: [{ if: $CI_COMMIT_BRANCH }] }\ntest: { script: make }\n");
    assert_eq!(
        text,
        "`workflow:rules` in .gitlab-ci.yml allow no pipeline of a merge request, so no preview runs"
    );
    // Local files count, and those of other places are not known.
    env.write("ci/base.yml", "workflow: { rules: [{ if: $CI_COMMIT_TAG }] }\n");
    let (text, _) = note("include: [{ local: /ci/base.yml }]\ntest: { script: make }\n");
    assert!(text.as_str().is_some_and(|text| text.contains("allow no pipeline")), "{text}");
    for quiet in [
        "include: [{ template: Workflows/MergeRequest-Pipelines.gitlab-ci.yml }]\ntest: { script: make }\n",
        gitlab::pipeline::own_jobs::WORKFLOW,
        "include: [{ local: .gitlab/xtask.yml }]\n",
    ] {
        assert!(note(quiet).0.is_null(), "{quiet}");
    }
}

#[test]
fn blocks_decide_the_environments_and_a_hub_gets_one_job() {
    let env = TestEnv::foreign();
    env.write(
        "apps/shop/wrangler.toml",
        "name = \"shop-dev\"\nmain = \"a.js\"\ncompatibility_date = \"2026-10-01\"\n[env.prod]\nname = \"shop\"\n",
    );
    env.write("apps/shop/a.js", "export default { fetch: () => new Response('x') };\n");
    let leaves: Vec<String> = (0..51).map(|number| format!("leaf{number}")).collect();
    for leaf in &leaves {
        env.write(
            &format!("apps/{leaf}/wrangler.toml"),
            &format!("name = \"{leaf}\"\nmain = \"a.js\"\n"),
        );
    }
    let services =
        leaves.iter().map(|leaf| format!("{{ binding = \"{leaf}\", service = \"{leaf}\" }}"));
    let services = services.collect::<Vec<_>>().join(", ");
    env.write(
        "apps/hub/wrangler.toml",
        &format!("name = \"hub\"\nmain = \"a.js\"\nservices = [{services}]\n"),
    );
    init(&env, &[]).exits(0);
    let text = std::fs::read_to_string(env.root.join("dagger/config/config.json")).expect("text");
    let config: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(
        config["environments"],
        serde_json::json!({ "prod": { "protected": true, "previews": true } })
    );
    assert_eq!(config["pipeline"]["environments"], serde_json::json!(["prod"]));
    assert_eq!(config["pipeline"]["deploy"], "one-job");
    let pipeline = std::fs::read_to_string(env.root.join(".gitlab-ci.yml")).expect("text");
    assert!(pipeline.contains("deploy --env prod --engine host"), "{pipeline}");
    env.xtask(&["deploy", "shop", "--env", "prod", "--dry-run"]).exits(0);
}

#[test]
fn keeps_and_names_existing_files() {
    let env = monorepo(Manager::Bun);
    env.write("xtask/Cargo.toml", "[package]\nname = \"xtask\"\nversion = \"9.0.0\"\n");
    env.write(".cargo/config.toml", "[alias]\nxtask = \"run -p xtask --\"\n");
    env.commit("their own xtask");
    let ran = init(&env, &[]).exits(0);
    for message in [
        "kept      xtask/Cargo.toml\n            add `delivery = { path = ",
        "kept      .cargo/config.toml\n            its alias `xtask` stays, because it runs the crate in xtask of this repository",
        ": change xtask/Cargo.toml as noted above\n",
    ] {
        assert!(ran.stdout.contains(message), "{}", ran.stdout);
    }
    let kept = std::fs::read_to_string(env.root.join("xtask/Cargo.toml")).expect("text");
    assert!(kept.contains("9.0.0"));
}

#[test]
fn a_repository_with_its_own_crate_elsewhere_gets_no_second_one() {
    for (alias, manifest, name) in [
        ("run --quiet --package xtask --", "crates/xtask/Cargo.toml", "xtask"),
        ("run -p tasks --", "tools/tasks/Cargo.toml", "tasks"),
        ("run --manifest-path build/Cargo.toml --", "build/Cargo.toml", "build-tool"),
    ] {
        let env = monorepo(Manager::Bun);
        env.write(manifest, &format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\n"));
        env.write(".cargo/config.toml", &format!("[alias]\nxtask = \"{alias}\"\n"));
        env.commit("their own xtask");
        let ran = init(&env, &[]).exits(0);
        let dir = Utf8Path::new(manifest).parent().expect("a folder");
        for message in [
            format!("kept      {manifest}\n            add `delivery = {{ path = "),
            format!(
                "its alias `xtask` stays, because it runs the crate in {dir} of this repository"
            ),
            format!(": change {manifest} as noted above\n"),
        ] {
            assert!(ran.stdout.contains(&message), "{}", ran.stdout);
        }
        assert!(!env.root.join("xtask").exists(), "{alias}");
        // With the dependency nothing is left to do.
        let text = format!(
            "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\n[dependencies]\ndelivery = \"0.1\"\n"
        );
        env.write(manifest, &text);
        let ran = init(&env, &[]).exits(0);
        assert!(ran.stdout.contains(&format!("kept      {manifest}\n")), "{}", ran.stdout);
        assert!(!ran.stdout.contains("as noted above"), "{}", ran.stdout);
    }
}

#[test]
fn a_cargo_config_for_another_target_and_an_old_toolchain_are_respected() {
    let env = monorepo(Manager::Bun);
    // The name before Cargo 1.39, which wins.
    env.write(".cargo/config", "[build]\ntarget = \"wasm32-unknown-unknown\"\n");
    env.write(".gitignore", "/xtask\n/.cargo/config.toml\n");
    env.write("rust-toolchain", "1.70.0\n");
    env.commit("a Worker in Rust");
    let ran = init(&env, &["--dry-run"]).exits(0);
    for message in [
        "added to  .cargo/config\n",
        "new       xtask/Cargo.toml\n            git ignores it: run `git add --force xtask/Cargo.toml`\n",
    ] {
        assert!(ran.stdout.contains(message), "{}", ran.stdout);
    }
    let warning = "rust-toolchain pins Rust 1.70.0, and xtask needs 1.95: raise it, or run `cargo +stable xtask`";
    assert!(ran.stderr.contains(warning), "{}", ran.stderr);
    init(&env, &[]).exits(0);
    let config = std::fs::read_to_string(env.root.join(".cargo/config")).expect("text");
    assert!(
        config.contains(" --target host-tuple --manifest-path xtask/Cargo.toml --\"\n"),
        "{config}"
    );
    assert!(!env.root.join(".cargo/config.toml").exists());
}

#[test]
fn refuses_a_folder_that_is_no_other_repository() {
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
fn own_commands_exist_beside_ours() {
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

    // The documented function works in any folder, and `.` is the project of that folder.
    env.worker("apps/api", "acme-api");
    let function = guide.lines().find(|line| line.starts_with("xtask() {")).expect("a function");
    let script = format!("{function}\ncd apps/api/src && xtask deploy . --dry-run --json");
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).current_dir(&env.root).env("CARGO_TARGET_DIR", &target);
    shell.env("CARGO_NET_OFFLINE", "true");
    let plan = ran(shell.output().expect("sh runs")).exits(0).json();
    assert_eq!(plan["projects"][0]["project"], "apps/api");
}

#[test]
fn script_writes_the_embedded_pins() {
    let env = monorepo(Manager::Bun);
    init(&env, &[]).exits(0);
    let wrangler = Toolchain::wrangler(&env.root);
    std::fs::remove_file(wrangler.dir.join("node_modules")).expect("the link of this test");
    let script = env.xtask(&["deploy", "acme-api", "--dry-run"]).exits(0).stdout;
    assert!(script.contains("tee ") && script.contains("\"wrangler\": \""), "{script}");
    assert!(!wrangler.dir.join("package.json").exists(), "a dry run writes nothing");
}
