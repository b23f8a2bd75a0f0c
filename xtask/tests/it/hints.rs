//! Tests that a failure ends with the hint that fixes it, and that its reason is printed once.

use std::os::unix::fs::symlink;

use expect_test::{Expect, expect};
use serde_json::json;

use crate::support::TestEnv;

const DEPLOY: [&str; 4] = ["deploy", "app", "--engine", "host"];

/// Returns the errors that a run printed, with names of this run replaced.
pub fn errors(env: &TestEnv, output: &str) -> String {
    let output = output.replace(env.root.as_str(), "ROOT");
    let mut text = String::new();
    for line in output.lines().skip_while(|line| !line.starts_with("error: ")) {
        let words = line.split(' ').map(|word| match word.contains(".xtask/") {
            true => ".xtask/…",
            false => word,
        });
        text += words.collect::<Vec<_>>().join(" ").trim_end();
        text.push('\n');
    }
    text
}

/// Compares the error of a run that ends with `code`.
#[track_caller]
pub fn fails(env: &TestEnv, arguments: &[&str], code: i32, wanted: &Expect) {
    let ran = env.xtask(arguments).exits(code);
    let output = if ran.stdout.is_empty() { &ran.stderr } else { &ran.stdout };
    wanted.assert_eq(&errors(env, output));
}

/// A site without a build, whose output is in git.
fn site() -> TestEnv {
    let env = TestEnv::with_tools();
    env.write(
        "projects/app/wrangler.jsonc",
        r#"{ "name": "app", "compatibility_date": "2026-10-01", "assets": { "directory": "./dist" } }"#,
    );
    env.write("projects/app/dist/index.html", "<h1>app</h1>");
    env.commit("site");
    env
}

/// A Worker with this code and these fields in its config.
pub fn worker(code: &str, fields: &serde_json::Value) -> TestEnv {
    let env = TestEnv::with_tools();
    let mut config = json!({ "name": "app", "main": "app.js", "compatibility_date": "2026-10-01" });
    for (name, value) in fields.as_object().expect("an object") {
        config[name] = value.clone();
    }
    env.write("projects/app/wrangler.json", &config.to_string());
    env.write("projects/app/app.js", code);
    env.commit("worker");
    env
}

#[test]
fn hints_with_a_project_are_quoted_for_a_shell() {
    let env = TestEnv::with_tools();
    let config = |storage: &serde_json::Value| {
        let mut config =
            json!({ "name": "my-app", "main": "app.js", "compatibility_date": "2026-10-01" });
        config["env"] = json!({ "staging": storage });
        env.write("projects/my app/wrangler.json", &config.to_string());
    };
    env.write("projects/my app/app.js", CODE);
    let deploy = ["deploy", "my-app", "--env", "staging", "--sandbox", "--dry-run"];
    let hint = |storage: serde_json::Value| {
        config(&storage);
        let stderr = env.xtask(&deploy).exits(3).stderr;
        stderr
            .split_once("create one with `")
            .and_then(|(_, rest)| rest.split_once('`'))
            .expect("a hint")
            .0
            .to_owned()
    };
    assert_eq!(
        hint(json!({ "kv_namespaces": [{ "binding": "KV", "id": "<your-id>" }] })),
        "cargo xtask wrangler 'my app' --env staging -- kv namespace create NAME"
    );
    for (name, expected) in [(None, "NAME"), (Some("data"), "data"), (Some("<your-name>"), "NAME")]
    {
        let mut database = json!({ "binding": "DB", "database_id": "<your-id>" });
        if let Some(name) = name {
            database["database_name"] = name.into();
        }
        assert_eq!(
            hint(json!({ "d1_databases": [database] })),
            format!("cargo xtask wrangler 'my app' --env staging -- d1 create {expected}")
        );
    }
}

const CODE: &str = "export default { fetch: () => new Response('x') };\n";

#[test]
fn a_file_above_25_mib_is_named_with_the_place_for_large_files() {
    let env = site();
    let film = env.root.join("projects/app/dist/film.mp4");
    std::fs::write(&film, vec![7; (25 << 20) + 1]).expect("a file");
    fails(
        &env,
        &DEPLOY,
        3,
        &expect![[r#"
        error: app: projects/app/dist/film.mp4 has 26214401 bytes, and Cloudflare takes files of at most 26214400 (25 MiB)
        hint: make it smaller, or serve it from R2; a line in .assetsignore leaves it out
    "#]],
    );
    std::fs::write(&film, vec![7; 25 << 20]).expect("a file");
    env.xtask(&DEPLOY).exits(0);
}

#[test]
fn names_code_of_a_pages_project_in_the_assets() {
    let env = site();
    let dist = env.root.join("projects/app/dist");
    env.write("projects/app/dist/_worker.js", CODE);
    fails(
        &env,
        &DEPLOY,
        3,
        &expect![[r#"
        error: app: projects/app/dist/_worker.js is the code of a Pages project, and would be published as a file
        hint: name the code as `main` in the wrangler config, and add a line `_worker.js` to .assetsignore in that folder; or `!_worker.js` if the file is meant to be public
    "#]],
    );
    std::fs::remove_file(dist.join("_worker.js")).expect("removed");
    env.write("projects/app/dist/_worker.js/index.js", CODE);
    fails(
        &env,
        &DEPLOY,
        3,
        &expect![[r#"
        error: app: projects/app/dist/_worker.js/index.js is the code of a Pages project, and would be published as a file
        hint: name the code as `main` in the wrangler config, and add a line `_worker.js` to .assetsignore in that folder; or `!_worker.js` if the file is meant to be public
    "#]],
    );
    env.write("projects/app/dist/.assetsignore", "_worker.js\n");
    env.xtask(&DEPLOY).exits(0);
}

#[test]
fn a_symbolic_link_to_nothing_is_named() {
    let env = site();
    let dist = env.root.join("projects/app/dist");
    symlink("../missing.html", dist.join("old.html")).expect("a link");
    fails(
        &env,
        &DEPLOY,
        3,
        &expect![[r#"
        error: app: projects/app/dist/old.html is a symbolic link that leads to nothing
        hint: remove it or create its target, then deploy again
    "#]],
    );
    std::fs::remove_file(dist.join("old.html")).expect("removed");
    symlink("loop.html", dist.join("loop.html")).expect("a link");
    fails(
        &env,
        &DEPLOY,
        3,
        &expect![[r#"
        error: app: projects/app/dist/loop.html is a symbolic link that leads to nothing
        hint: remove it or create its target, then deploy again
    "#]],
    );
}

#[test]
fn shows_git_s_advice_for_a_checkout_of_another_owner() {
    let env = site();
    // Git's own switch for its tests of this refusal.
    let other = [("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")];
    let wanted = expect![[r#"
        error: `git VERB` failed: fatal: detected dubious ownership in repository at 'ROOT'
        hint: run `git config --global --add safe.directory ROOT` if you trust the owner of this folder
    "#]];
    for arguments in [&DEPLOY[..], &["projects"], &["affected"], &["status"]] {
        let ran = env.xtask_with(arguments, &other).exits(3);
        let text = errors(&env, &ran.stderr);
        let verb = text.split(['`', ' ']).nth(3).expect("a verb").to_owned();
        wanted.assert_eq(&text.replacen(&verb, "VERB", 1));
    }
}

#[test]
fn an_output_of_nitro_for_another_host_is_refused_with_the_preset() {
    let env = TestEnv::with_tools();
    env.write(
        "projects/app/wrangler.jsonc",
        r#"{ "name": "app", "compatibility_date": "2026-10-01", "main": "./.output/server/index.mjs",
             "assets": { "directory": "./.output/public" } }"#,
    );
    let build = |preset: &str| {
        let write = format!(
            "mkdir -p .output/server .output/public && echo '{{\"preset\":\"{preset}\"}}' > .output/nitro.json \
             && echo 'export default {{ fetch: () => new Response(1) }}' > .output/server/index.mjs"
        );
        let manifest = json!({ "name": "app", "scripts": { "build": write } });
        env.write("projects/app/package.json", &manifest.to_string());
        env.write("projects/app/.gitignore", ".output\n");
        env.commit(preset);
    };
    build("node-server");
    fails(
        &env,
        &DEPLOY,
        3,
        &expect![[r#"
        error: app: projects/app/.output/server/index.mjs was built for `node-server`, which does not run on Workers
        hint: set `nitro: { preset: "cloudflare_module" }` in the config of Nuxt or Nitro
    "#]],
    );
    // A site that is rendered on request may have no assets.
    build("cloudflare_module");
    env.xtask(&DEPLOY).exits(0);
    assert_eq!(env.fetch("app.localhost", "/"), (200, "1".to_owned()));
}

#[test]
fn code_that_misses_a_secret_names_the_command_that_sets_it() {
    let code = format!("throw new Error('Missing required secrets: SESSION_KEY');\n{CODE}");
    fails(
        &worker(&code, &json!({})),
        &DEPLOY,
        1,
        &expect![[r#"
        error: app: wrangler exited with 1: A request to the Cloudflare API (/accounts/00000000000000000000000000000000/workers/scripts/app) failed; its output is in .xtask/…
              Uncaught Error: Missing required secrets: SESSION_KEY
                at null.<anonymous> .xtask/… [code: 10021]
        nothing is live, as before
        hint: set the secret that the code needs when it starts: `cargo xtask wrangler PROJECT -- secret put NAME`, or in the sandbox a line in the project's `.dev.vars`; or correct the code
    "#]],
    );
}

#[test]
fn prints_wrangler_s_reason_once() {
    let code = format!("throw new Error('reason of the code');\n{CODE}");
    fails(
        &worker(&code, &json!({})),
        &DEPLOY,
        1,
        &expect![[r#"
        error: app: wrangler exited with 1: A request to the Cloudflare API (/accounts/00000000000000000000000000000000/workers/scripts/app) failed; its output is in .xtask/…
              Uncaught Error: reason of the code
                at null.<anonymous> .xtask/… [code: 10021]
        nothing is live, as before
        hint: correct the code or the wrangler config, as the message says, and deploy again
    "#]],
    );
    let code = format!("import './missing.js';\n{CODE}");
    fails(
        &worker(&code, &json!({})),
        &DEPLOY,
        1,
        &expect![[r#"
            error: app: wrangler bundled nothing: it exited with 1; its output is in .xtask/…
                ✘ [ERROR] Build failed with 1 error:
                  ✘ [ERROR] Could not resolve "./missing.js"
                      app.js:1:7:
                        1 │ import './missing.js';
                          ╵        ~~~~~~~~~~~~~~
            hint: correct the code or the wrangler config; nothing was uploaded
        "#]],
    );
}

#[test]
fn explains_a_request_that_the_sandbox_does_not_support() {
    let move_class = json!({ "migrations": [
        { "tag": "v1", "transferred_classes": [{ "from": "A", "from_script": "other", "to": "A" }] },
    ] });
    let code = format!("export class A {{}}\n{CODE}");
    fails(
        &worker(&code, &move_class),
        &DEPLOY,
        1,
        &expect![[r#"
        error: app: wrangler exited with 1: A request to the Cloudflare API (/accounts/00000000000000000000000000000000/workers/scripts/app) failed; its output is in .xtask/…
              The sandbox does not support the transfer of Durable Objects between Workers, which a migration declares. Deploy to Cloudflare with `--env` [code: 7000]
        nothing is live, as before
        hint: deploy to Cloudflare with `--env`, because the sandbox does not answer this request
    "#]],
    );
}
