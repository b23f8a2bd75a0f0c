//! Tests the next steps after an upload that contradicts what Cloudflare or the build has.

use std::io::Write as _;
use std::process::Stdio;

use expect_test::expect;
use serde_json::json;

use crate::hints::{errors, fails, worker};
use crate::support::wait::max_wait;
use crate::support::{CANARY, TestEnv, ran};

const CODE: &str = "export default { fetch: () => new Response('good') };";
const DEPLOY: [&str; 4] = ["deploy", "app", "--engine", "host"];

#[test]
fn explains_a_variable_with_the_name_of_a_secret() {
    let env = worker(CODE, &json!({}));
    env.xtask(&DEPLOY).exits(0);
    let mut put = env.command(&["wrangler", "app", "--", "secret", "put", "STAGE"], &[]);
    let put = put.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = put.spawn().expect("wrangler");
    child.stdin.take().expect("stdin").write_all(b"production").expect("a value");
    ran(child.wait_with_output().expect("an output")).exits(0);
    let config = json!({ "name": "app", "main": "app.js", "compatibility_date": "2026-10-01", "vars": { "STAGE": "x" } });
    env.write("projects/app/wrangler.json", &config.to_string());
    env.commit("a variable");
    let run = env.xtask(&DEPLOY).exits(1);
    let text = errors(&env, &run.stdout);
    let text: String =
        text.split_inclusive('\n').filter(|line| !line.contains("is still live")).collect();
    expect![[r#"
        error: app: wrangler exited with 1; its output is in .xtask/…
            ▲ [WARNING] Environment variable `STAGE` conflicts with an existing remote secret. This deployment will replace the remote secret with your environment variable.
            ✘ [ERROR] Aborting the upload operation because of conflicts. To override and upload anyway, remove the `--strict` flag
        hint: run `cargo xtask wrangler app -- secret delete STAGE` if the config's value replaces the secret, or rename it in the wrangler config
    "#]]
    .assert_eq(&text);
    env.xtask(&["wrangler", "app", "--", "secret", "delete", "STAGE"]).exits(0);
    env.xtask(&DEPLOY).exits(0);
}

#[test]
fn names_the_project_of_a_missing_worker() {
    let bound = |service: &str| json!({ "services": [{ "binding": "API", "service": service }] });
    let env = worker(CODE, &bound("shop-api"));
    fails(
        &env,
        &DEPLOY,
        1,
        &expect![[r#"
        error: app: wrangler exited with 1: A request to the Cloudflare API (/accounts/00000000000000000000000000000000/workers/scripts/app) failed; its output is in .xtask/…
              Service binding 'API' references Worker 'shop-api' which was not found. Verify the Worker exists in your account and that the service name in your configuration is correct. [code: 10143]
        nothing is live, as before
        hint: deploy the Worker that the binding names first, or correct its name in the wrangler config
    "#]],
    );
    env.worker("projects/backend", "shop-api");
    env.commit("a project");
    fails(
        &env,
        &DEPLOY,
        1,
        &expect![[r#"
        error: app: wrangler exited with 1: A request to the Cloudflare API (/accounts/00000000000000000000000000000000/workers/scripts/app) failed; its output is in .xtask/…
              Service binding 'API' references Worker 'shop-api' which was not found. Verify the Worker exists in your account and that the service name in your configuration is correct. [code: 10143]
        nothing is live, as before
        hint: run `cargo xtask deploy backend` first, which creates the Worker `shop-api`
    "#]],
    );
}

#[test]
fn refuses_a_generated_config_with_blocks_before_anything_is_bundled() {
    let env = worker(CODE, &json!({}));
    let build = "import { mkdirSync, writeFileSync } from 'node:fs';\n\
        mkdirSync('.output', { recursive: true });\nmkdirSync('.wrangler/deploy', { recursive: true });\n\
        writeFileSync('.output/index.js', `export default { fetch: () => new Response('built') }`);\n\
        writeFileSync('.output/wrangler.json', JSON.stringify({ name: 'app', main: 'index.js', compatibility_date: '2026-10-01', \
        env: process.env.WITH_BLOCKS === 'no' ? undefined : { staging: {} } }));\n\
        writeFileSync('.output/other.json', JSON.stringify({ name: 'other' }));\n\
        writeFileSync('.wrangler/deploy/config.json', JSON.stringify({ configPath: '../../.output/wrangler.json', \
        auxiliaryWorkers: [{ configPath: '../../.output/other.json' }] }));\n";
    env.write("projects/app/build.mjs", build);
    env.write(
        "projects/app/package.json",
        r#"{ "name": "app", "scripts": { "build": "node build.mjs" } }"#,
    );
    env.write("projects/app/.gitignore", ".output\n.wrangler\n");
    env.commit("a build");
    fails(
        &env,
        &DEPLOY,
        3,
        &expect![[r#"
        error: app: projects/app/.output/wrangler.json: wrangler refuses the config that the build wrote, because it has `env` (`staging`); nothing was uploaded
        hint: let the build choose the environment by the variable CLOUDFLARE_ENV, as Cloudflare's plugin for Vite does; for Nitro and Nuxt set `cloudflare: { deployConfig: false }` in the config of Nitro, and `main` and `assets` in the wrangler config
    "#]],
    );
    env.write("projects/app/build.mjs", &build.replace("'no'", "undefined"));
    env.commit("no blocks");
    let run = env.xtask(&DEPLOY).exits(0);
    let output = run.stdout + &run.stderr;
    let warnings: Vec<&str> =
        output.lines().filter(|line| line.contains("does not deploy it")).collect();
    expect!["warning: app: the Worker `other` (projects/app/.output/other.json) was built, but this run does not deploy it: deploy the project with its own wrangler config, by `cargo xtask deploy other`"].assert_eq(&warnings.join("\n"));
    assert_eq!(env.fetch("app.localhost", "/").1, "built");
}

/// Lets the sandbox say once that the Worker was last deployed from the dashboard.
fn from_dashboard(env: &TestEnv) {
    let script = json!({
        "id": "app", "tag": "0123456789abcdef0123456789abcdef", "tags": [], "handlers": ["fetch"],
        "last_deployed_from": "dash", "usage_model": "standard", "compatibility_date": "2026-10-01",
    });
    let answer = json!({
        "success": true, "errors": [], "messages": [],
        "result": { "id": "app", "default_environment": { "environment": "production", "script": script }, "environments": [] },
    });
    let action = json!({ "status": 200, "body": answer.to_string(), "headers": { "content-type": "application/json" } });
    let fault = json!([{
        "agent": "wrangler/", "method": "GET", "path": "/workers/services/app", "times": 1, "action": action,
    }]);
    let request =
        ureq::http::Request::post(format!("http://127.0.0.1:{}/__sandbox/faults", env.port()))
            .header("authorization", format!("Bearer {CANARY}"))
            .header("content-type", "application/json")
            .body(fault.to_string())
            .expect("a request");
    let agent = base::http::agent(max_wait(), 0);
    assert!(agent.run(request).expect("an answer").status().is_success());
}

#[test]
fn keep_vars_keeps_variables_of_the_dashboard_and_nothing_else() {
    let code = "export default { fetch: (_, env) => Response.json([env.STAGE, env.EXTRA, env.LIST, 'KEY' in env]) };";
    let config = |vars: serde_json::Value, more: serde_json::Value| {
        let mut config = more;
        config["name"] = json!("app");
        config["main"] = json!("app.js");
        config["compatibility_date"] = json!("2026-10-01");
        config["vars"] = vars;
        config.to_string()
    };
    let env = worker(code, &json!({}));
    let all = json!({ "STAGE": "set: there", "EXTRA": "kept", "LIST": [1] });
    let change = |text: &str| {
        env.write("projects/app/wrangler.json", text);
        env.commit("a change");
    };
    change(&config(all, json!({})));
    env.xtask(&DEPLOY).exits(0);

    // Without `keep_vars`, the variables would be lost.
    let own = json!({ "STAGE": "own: value" });
    change(&config(own.clone(), json!({})));
    from_dashboard(&env);
    let refused = env.xtask(&DEPLOY).exits(1);
    assert!(refused.stdout.contains("differs from the remote configuration"), "{}", refused.stdout);
    change(&config(own.clone(), json!({ "keep_vars": true })));
    from_dashboard(&env);
    env.xtask(&DEPLOY).exits(0);
    let body = || env.fetch("app.localhost", "/").1;
    assert_eq!(body(), r#"["own: value","kept",[1],false]"#);

    // The flag does the same. Another change still stops the run.
    let flag = r#"{ "name": "app", "xtask": { "wrangler": ["--keep-vars"] } }"#;
    env.write("projects/app/package.json", flag);
    let binding = json!({ "version_metadata": { "binding": "KEY" } });
    change(&config(own.clone(), binding));
    from_dashboard(&env);
    env.xtask(&DEPLOY).exits(0);
    assert_eq!(body(), r#"["own: value","kept",[1],true]"#);
    change(&config(own, json!({})));
    from_dashboard(&env);
    let refused = env.xtask(&DEPLOY).exits(1);
    let hint = "hint: bring the change into the wrangler config or undo it";
    assert!(refused.stdout.contains(hint), "{}", refused.stdout);
    assert_eq!(body(), r#"["own: value","kept",[1],true]"#);
}
