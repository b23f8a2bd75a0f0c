//! `xtask.beforeDeploy`: commands of wrangler with the token, after the build and before the upload.

use expect_test::expect;
use serde_json::{Value, json};

use crate::dagger::Dagger;
use crate::support::{CANARY, TestEnv, error_text};

const STEP: &str = "wrangler d1 migrations apply DB --remote";
const ID: &str = "11111111-1111-4111-8111-111111111111";

/// Writes a Worker that answers with a table of its database, which its migrations fill.
fn worker(env: &TestEnv, text: &str, steps: &Value) {
    env.write(
        "projects/api/worker.js",
        &format!(
            "export default {{ async fetch(_, env) {{\n\
             const {{ results }} = await env.DB.prepare('SELECT name FROM items ORDER BY name').all();\n\
             return Response.json(['{text}', ...results.map(({{ name }}) => name)]); }} }};\n"
        ),
    );
    let config = json!({ "name": "api", "main": "worker.js", "compatibility_date": "2026-01-01",
        "d1_databases": [{ "binding": "DB", "database_name": "items", "database_id": ID }] });
    env.write("projects/api/wrangler.json", &config.to_string());
    let package = json!({ "name": "api", "scripts": { "build": "bun build.ts" },
        "xtask": { "beforeDeploy": steps } });
    env.write("projects/api/package.json", &package.to_string());
    // A build that would use a token, if it had one.
    env.write(
        "projects/api/build.ts",
        "console.log(Object.keys(process.env).filter((name) => /TOKEN|CLOUDFLARE_A/.test(name)).join() || 'no token');\n",
    );
}

fn migration(env: &TestEnv, name: &str, sql: &str) {
    env.write(&format!("projects/api/migrations/{name}.sql"), sql);
}

fn steps(record: &Value) -> Vec<(String, bool)> {
    let steps = record["beforeDeploy"].as_array().into_iter().flatten();
    steps
        .map(|step| (step["command"].as_str().expect("a text").to_owned(), step["isOk"] == true))
        .collect()
}

#[test]
fn migrations_are_applied_once_before_the_upload() {
    let env = TestEnv::with_tools();
    worker(&env, "one", &json!([STEP]));
    migration(
        &env,
        "0001_items",
        "CREATE TABLE items (name TEXT); INSERT INTO items VALUES ('a');",
    );
    env.commit("api");
    let first = env.xtask(&["deploy", "api", "--json"]).exits(0);
    let record = first.record("api");
    assert_eq!(steps(&record), [(STEP.to_owned(), true)]);
    assert!(record["beforeDeploy"][0]["took"].is_u64(), "{record:#}");
    assert_eq!(env.fetch("api.localhost", "/").1, r#"["one","a"]"#);
    let unchanged = env.xtask(&["deploy", "api", "--json"]).exits(0).record("api");
    assert_eq!((&unchanged["status"], steps(&unchanged).len()), (&"unchanged".into(), 0));

    // A changed migration is a change of the project.
    worker(&env, "two", &json!([STEP, "wrangler d1 execute DB --remote --file=seed.sql"]));
    migration(&env, "0002_more", "INSERT INTO items VALUES ('b');");
    env.write("projects/api/seed.sql", "INSERT INTO items VALUES ('c');\n");
    let script = env.xtask(&["deploy", "api", "--dry-run"]).exits(0).stdout;
    let at = |text: &str| script.find(text).unwrap_or_else(|| panic!("{text}: {script}"));
    let upload = script.rfind("--strict").expect("an upload");
    assert!(
        at("\"reads\":[").min(at("seed.sql")) < at("d1 migrations apply DB --remote"),
        "{script}"
    );
    assert!(at("d1 migrations apply DB --remote") < at("d1 execute DB --file=seed.sql --remote"));
    assert!(at("d1 execute DB --file=seed.sql --remote") < upload, "{script}");
    env.write(".xtask/sandbox/token", CANARY);
    env.sh("chmod 600 .xtask/sandbox/token").exits(0);
    let ran = env.sh(&script).exits(0);
    std::fs::remove_file(env.root.join(".xtask/sandbox/token")).expect("removed");
    assert!(ran.stdout.contains("no token") || ran.stderr.contains("no token"), "{ran:?}");
    assert_eq!(env.fetch("api.localhost", "/").1, r#"["two","a","b","c"]"#);

    // A preview, its promotion and a rollback apply no migration.
    worker(&env, "three", &json!([STEP]));
    migration(&env, "0003_late", "INSERT INTO items VALUES ('d');");
    env.xtask(&["preview", "api", "--alias", "next"]).exits(0);
    let promoted = env.xtask(&["promote", "api", "--from", "next", "--json"]).exits(0);
    assert_eq!(steps(&promoted.record("api")), []);
    assert!(
        promoted.stderr.contains(&format!(
            "`{STEP}` of `xtask.beforeDeploy` does not run; if the version needs it, run `cargo xtask wrangler api -- d1 \
             migrations apply DB --remote`"
        )),
        "{}",
        promoted.stderr
    );
    assert_eq!(env.fetch("api.localhost", "/").1, r#"["three","a","b","c"]"#);
    let back = env.xtask(&["rollback", "api", "--json"]).exits(0);
    assert_eq!(steps(&back.record("api")), []);
    assert_eq!(env.fetch("api.localhost", "/").1, r#"["two","a","b","c"]"#);
    env.assert_no_canary(&[&first]);
}

#[test]
fn a_failed_step_keeps_the_live_version() {
    let env = TestEnv::with_tools();
    worker(&env, "one", &json!(STEP));
    migration(
        &env,
        "0001_items",
        "CREATE TABLE items (name TEXT); INSERT INTO items VALUES ('a');",
    );
    env.commit("api");
    let first = env.xtask(&["deploy", "api", "--json"]).exits(0).record("api");

    worker(
        &env,
        "two",
        &json!([STEP, "wrangler d1 execute DB --remote --command 'DELETE FROM items'"]),
    );
    migration(&env, "0002_wrong", "INSERT INTO absent VALUES ('b');");
    let failed = env.xtask(&["deploy", "api", "--json"]).exits(1).record("api");
    assert_eq!(steps(&failed), [(STEP.to_owned(), false)], "{failed:#}");
    assert_eq!((&failed["status"], &failed["version"]), (&"failed".into(), &Value::Null));
    assert_eq!(failed["live"]["version"], first["version"]);
    let error = error_text(&failed);
    let lines: Vec<&str> = error.lines().collect();
    let log = failed["log"].as_str().expect("a log");
    assert_eq!(
        lines[0],
        format!(
            "the step `{STEP}` of `xtask.beforeDeploy` exited with 1; nothing was uploaded; its output is in {log}"
        )
    );
    assert!(error.contains("no such table: absent"), "{error}");
    assert_eq!(
        lines.last(),
        Some(
            &"hint: correct it and deploy again; what this step and those before it did to the data is not undone"
        )
    );
    assert_eq!(env.fetch("api.localhost", "/").1, r#"["one","a"]"#);
    let versions = env.xtask(&["versions", "api", "--json"]).exits(0).json();
    assert_eq!(versions["versions"].as_array().map(Vec::len), Some(1));
}

#[test]
fn only_wrangler_runs_beside_the_token() {
    let env = TestEnv::with_tools();
    env.site("projects/a", "site-a");
    worker(&env, "one", &json!(["npm run migrate"]));
    env.commit("api");
    let ran = env.xtask(&["deploy", "--all"]).exits(3);
    expect![[r#"
        error: projects/api/wrangler.json: projects/api/package.json: unknown command `npm run migrate` in `xtask.beforeDeploy`, where only these commands of wrangler may run with the token: `wrangler d1 migrations apply`, `wrangler d1 execute`, `wrangler kv key put`, `wrangler kv bulk put`, `wrangler r2 object put`
        hint: correct `xtask.beforeDeploy` in projects/api/package.json
    "#]]
    .assert_eq(&errors(&ran.stderr));
    assert_eq!(env.fetch("site-a.localhost", "/").0, 200, "the other project is deployed");
    worker(&env, "one", &json!(["wrangler d1 migration apply DB --remote"]));
    let ran = env.xtask(&["deploy", "api"]).exits(3);
    assert!(ran.stderr.contains("did you mean `wrangler d1 migrations apply`?"), "{}", ran.stderr);

    // A build puts a link to the environment of wrangler in the place of what a step reads.
    worker(&env, "one", &json!([STEP]));
    migration(&env, "0001_items", "CREATE TABLE items (name TEXT);");
    env.write(
        "projects/api/build.ts",
        "require('fs').rmSync('migrations/0001_items.sql');\nrequire('fs').symlinkSync('/proc/self/environ', 'migrations/0001_items.sql');\n",
    );
    let ran = env.xtask(&["deploy", "api"]).exits(3);
    assert!(
        ran.stdout.contains(
            "projects/api/migrations/0001_items.sql leads out of the repository, to /proc/"
        ),
        "{}",
        ran.stdout
    );
    worker(&env, "one", &json!(["wrangler d1 execute DB --remote --file ../../../outside.sql"]));
    let ran = env.xtask(&["deploy", "api"]).exits(3);
    assert!(
        ran.stderr.contains("reads ../../../outside.sql, which is outside of the repository"),
        "{}",
        ran.stderr
    );
    env.assert_no_canary(&[&ran]);
}

/// Returns the lines of errors and hints.
fn errors(text: &str) -> String {
    let is_one = |line: &&str| line.starts_with("error: ") || line.starts_with("hint: ");
    text.lines().filter(is_one).map(|line| line.to_owned() + "\n").collect()
}

#[test]
fn steps_run_in_the_container_of_the_upload_too() {
    container_steps(&Dagger::new());
}

#[test]
fn steps_run_in_the_container_of_an_upload_by_the_api_too() {
    container_steps(&Dagger::new().with_api_upload());
}

/// Deploys with steps in the container that has the token. A failed one keeps the live version.
pub fn container_steps(dagger: &Dagger) {
    let env = &dagger.env;
    worker(env, "one", &json!([STEP]));
    env.write(
        "projects/api/package.json",
        &json!({ "name": "api", "xtask": { "beforeDeploy": STEP } }).to_string(),
    );
    migration(env, "0001_items", "CREATE TABLE items (name TEXT); INSERT INTO items VALUES ('a');");
    env.commit("api");
    let ran = dagger.deploy(&["api"]).exits(0);
    assert_eq!(steps(&ran.record("api")), [(STEP.to_owned(), true)]);
    assert_eq!(env.fetch("api.localhost", "/").1, r#"["one","a"]"#);
    worker(env, "two", &json!([STEP]));
    env.write(
        "projects/api/package.json",
        &json!({ "name": "api", "xtask": { "beforeDeploy": STEP } }).to_string(),
    );
    migration(env, "0002_wrong", "INSERT INTO absent VALUES ('b');");
    let failed = dagger.deploy(&["api"]).exits(1).record("api");
    assert_eq!(steps(&failed), [(STEP.to_owned(), false)]);
    let error = error_text(&failed);
    assert!(
        error.starts_with(&format!(
            "the step `{STEP}` of `xtask.beforeDeploy` exited with 1; nothing was uploaded"
        )),
        "{error}"
    );
    assert!(
        error.contains("no such table: absent") && error.contains("is still live, as before"),
        "{error}"
    );
    assert_eq!(env.fetch("api.localhost", "/").1, r#"["one","a"]"#);
    env.assert_no_canary(&[&ran]);
}
