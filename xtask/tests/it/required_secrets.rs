//! `secrets.required`: refused before an upload, met by `wrangler secret put`, and in the sandbox by `.dev.vars`.

use std::io::Write as _;
use std::process::Stdio;

use expect_test::expect;

use crate::support::{Ran, TestEnv, ran};

/// Writes a Worker that answers with its secrets.
fn worker(env: &TestEnv) {
    env.write(
        "projects/api/worker.js",
        "export default { fetch: (_, env) => Response.json([env.FIRST, env.SECOND, env.STAGE]) };\n",
    );
    env.write(
        "projects/api/wrangler.jsonc",
        r#"{ "name": "api", "main": "worker.js", "compatibility_date": "2026-01-01", "workers_dev": true,
             "preview_urls": true, "vars": { "STAGE": "top" }, "secrets": { "required": ["FIRST", "SECOND"] },
             "env": { "staging": { "secrets": { "required": ["FIRST"] } } } }"#,
    );
    env.write(".gitignore", &format!("{}\n.dev.vars*\n", include_str!("../../../.gitignore")));
    env.commit("worker");
}

/// Runs xtask with a text on stdin.
fn with_input(env: &TestEnv, arguments: &[&str], input: &str) -> Ran {
    let mut command = env.command(arguments, &[]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("xtask runs");
    child.stdin.take().expect("stdin").write_all(input.as_bytes()).expect("written");
    ran(child.wait_with_output().expect("xtask ends"))
}

/// Returns the lines from the error of the project on.
fn error(output: &str) -> String {
    let at = output.find("projects/api/wrangler.jsonc: ").unwrap_or_default();
    output[at..].lines().take(4).map(|line| line.trim().to_owned() + "\n").collect()
}

#[test]
fn a_deployment_without_a_required_secret_uploads_nothing() {
    let env = TestEnv::with_tools();
    worker(&env);
    let none = env.xtask(&["deploy", "api"]).exits(3);
    let refusal = expect![[r"
        projects/api/wrangler.jsonc: `secrets.required` names `FIRST`, `SECOND`, which the Worker `api` does not have in local; nothing was uploaded
        hint: run `cargo xtask wrangler api -- secret put FIRST`
        hint: run `cargo xtask wrangler api -- secret put SECOND`
        hint: or add a line `FIRST=…` to projects/api/.dev.vars, which git should ignore
    "]];
    refusal.assert_eq(&error(&none.stdout));
    assert_eq!(env.fetch("api.localhost", "/").0, 404, "nothing was uploaded");
    refusal.assert_eq(&error(&env.xtask(&["deploy", "api", "--dry-run"]).exits(3).stderr));
    let doctor = env.xtask(&["doctor", "projects.secrets"]).exits(1);
    assert!(doctor.stdout.contains("names `FIRST`, `SECOND`, which"), "{}", doctor.stdout);
    assert!(doctor.stdout.contains("secret put SECOND"), "{}", doctor.stdout);
    let staging = env.xtask(&["deploy", "api", "--env", "staging", "--sandbox"]).exits(3);
    expect![[r"
        projects/api/wrangler.jsonc: `secrets.required` names `FIRST`, which the Worker `api-staging` does not have in staging; nothing was uploaded
        hint: run `cargo xtask wrangler api --env staging --sandbox -- secret put FIRST`
        hint: or add a line `FIRST=…` to projects/api/.dev.vars, which git should ignore
    "]]
    .assert_eq(&error(&staging.stdout));

    // The command of the hint works for a Worker that does not exist yet.
    let put = ["wrangler", "api", "--", "secret", "put", "SECOND"];
    with_input(&env, &put, "put-2").exits(0);
    env.write(
        "projects/api/.dev.vars",
        "FIRST='file 1'\nSECOND=file-2\nSTAGE=file\nOTHER=private\n",
    );
    let deployed = env.xtask(&["deploy", "api"]).exits(0);
    let note = "api: secrets from projects/api/.dev.vars: FIRST\n";
    assert!(deployed.stderr.contains(note), "{}", deployed.stderr);
    for private in ["file 1", "file-2", "put-2", "private"] {
        assert!(!format!("{deployed:?}").contains(private), "{private}: {deployed:?}");
    }
    assert_eq!(env.fetch("api.localhost", "/").1, r#"["file 1","put-2","top"]"#);
    env.xtask(&["doctor", "projects.secrets"]).exits(0);
    env.xtask(&["deploy", "api", "--dry-run"]).exits(0);
    let unchanged = env.xtask(&["deploy", "api", "--json"]).exits(0).record("api");
    assert_eq!(unchanged["status"], "unchanged");

    // Git ignores the file, but a new value is deployed.
    env.write("projects/api/.dev.vars", "FIRST='new 1'\nSECOND=file-2\n");
    let status = env.xtask(&["status", "api", "--env", "local", "--json"]).exits(0).json();
    assert_eq!(
        status["rows"][0]["in_step"].as_bool().or(status["rows"][0]["inStep"].as_bool()),
        Some(false),
        "{status:#}"
    );
    env.xtask(&["deploy", "api"]).exits(0);
    assert_eq!(env.fetch("api.localhost", "/").1, r#"["new 1","put-2","top"]"#);
    // A preview inherits both.
    env.xtask(&["preview", "api", "--env", "local", "--alias", "new", "--force"]).exits(0);
    assert_eq!(env.fetch("new-api.localhost", "/").1, r#"["new 1","put-2","top"]"#);
    // What is no longer given is missing again.
    std::fs::remove_file(env.root.join("projects/api/.dev.vars")).expect("removed");
    let gone = env.xtask(&["deploy", "api"]).exits(3);
    assert!(gone.stdout.contains("names `FIRST`, which"), "{}", gone.stdout);
    assert_eq!(env.fetch("api.localhost", "/").1, r#"["new 1","put-2","top"]"#);
}

#[test]
fn dev_vars_give_a_new_worker_its_secrets() {
    let env = TestEnv::with_tools();
    worker(&env);
    env.write("projects/api/.dev.vars", "FIRST=all-1\nSECOND=all-2\n");
    env.write("projects/api/.dev.vars.staging", "FIRST=staging-1\n");
    let deployed = env.xtask(&["deploy", "api"]).exits(0);
    let note = "api: secrets from projects/api/.dev.vars: FIRST, SECOND\n";
    assert!(deployed.stderr.contains(note), "{}", deployed.stderr);
    assert_eq!(env.fetch("api.localhost", "/").1, r#"["all-1","all-2","top"]"#);
    let staging = env.xtask(&["deploy", "api", "--env", "staging", "--sandbox"]).exits(0);
    let note = "api: secrets from projects/api/.dev.vars.staging: FIRST\n";
    assert!(staging.stderr.contains(note), "{}", staging.stderr);
    assert_eq!(env.fetch("api-staging.localhost", "/").1, r#"["staging-1",null,null]"#);

    // A config that does not say which secrets there are gets all, but its variables stay.
    env.write("projects/api/.dev.vars", "FIRST=any-1\nSTAGE=file\n");
    env.write(
        "projects/api/wrangler.jsonc",
        r#"{ "name": "api", "main": "worker.js", "compatibility_date": "2026-01-01", "vars": { "STAGE": "top" } }"#,
    );
    env.xtask(&["deploy", "api"]).exits(0);
    assert_eq!(env.fetch("api.localhost", "/").1, r#"["any-1",null,"top"]"#);
}
