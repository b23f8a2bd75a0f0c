//! A deployment that Cloudflare would refuse fails with its words, and what was live stays.

use expect_test::expect;
use serde_json::json;

use crate::support::TestEnv;

/// A project with code, and these fields in its wrangler config.
fn project(env: &TestEnv, code: &str, fields: &serde_json::Value) {
    let mut config =
        json!({ "name": "code", "main": "worker.js", "compatibility_date": "2026-01-01" });
    for (name, value) in fields.as_object().expect("an object") {
        config[name] = value.clone();
    }
    env.write("projects/code/wrangler.json", &config.to_string());
    env.write("projects/code/worker.js", code);
    env.commit("code");
}

fn answers(text: &str) -> String {
    format!("export default {{ fetch: () => new Response('{text}') }};\n")
}

#[test]
fn a_refused_upload_exits_with_1_and_changes_nothing() {
    let env = TestEnv::with_tools();
    let deploy = ["deploy", "projects/code", "--env", "local", "--engine", "host"];
    project(&env, &answers("first"), &json!({}));
    env.xtask(&deploy).exits(0);
    for (code, fields, message) in [
        (
            format!("throw new Error('at the start');\n{}", answers("second")),
            json!({}),
            "at the start",
        ),
        (
            answers("third"),
            json!({ "compatibility_flags": ["no_such_flag"] }),
            "No such compatibility flag: no_such_flag",
        ),
        (
            answers("fourth"),
            json!({ "services": [{ "binding": "API", "service": "missing" }] }),
            "missing",
        ),
        (
            answers("fifth"),
            json!({ "kv_namespaces": [{ "binding": "KV", "id": "your/namespace" }] }),
            "your/namespace",
        ),
    ] {
        project(&env, &code, &fields);
        let ran = env.xtask(&deploy).exits(1);
        let text = ran.stdout + &ran.stderr;
        assert!(text.contains(message), "{message}: {text}");
        assert!(
            text.contains("is still live, as before") && !text.contains("rolled back"),
            "{text}"
        );
        assert_eq!(env.fetch("code.localhost", "/"), (200, "first".to_owned()), "{message}");
    }
}

#[test]
fn a_container_that_wrangler_would_build_is_refused_before_the_build() {
    let env = TestEnv::new();
    let fields = |image: &str| {
        json!({
            "containers": [{ "class_name": "Box", "image": image }],
            "durable_objects": { "bindings": [{ "name": "BOX", "class_name": "Box" }] },
            "migrations": [{ "tag": "v1", "new_sqlite_classes": ["Box"] }],
        })
    };
    env.write("projects/code/Dockerfile", "FROM scratch\n");
    project(&env, &answers("box"), &fields("./Dockerfile"));
    let refused = "projects/code/wrangler.json: `containers[0].image` is ./Dockerfile, which would build an image in the \
                   process that has the token";
    for environment in ["local", "production"] {
        let ran = env.xtask(&["deploy", "projects/code", "--env", environment, "--dry-run"]);
        let ran = ran.exits(3);
        assert!(ran.stderr.contains(refused), "{}", ran.stderr);
        assert!(!ran.stderr.contains("--allow-stub"), "{}", ran.stderr);
    }
    project(&env, &answers("box"), &fields("registry.cloudflare.com/acme/box:1"));
    let ran = env.xtask(&["deploy", "projects/code", "--env", "local", "--dry-run"]).exits(3);
    assert!(
        ran.stderr.contains("the sandbox has no local form of `Box` (containers)"),
        "{}",
        ran.stderr
    );
    env.xtask(&["deploy", "projects/code", "--env", "production", "--dry-run"]).exits(0);
}

#[test]
fn a_folder_of_plain_files_with_an_assetsignore_is_deployed() {
    let env = TestEnv::with_tools();
    let config = json!({ "name": "plain", "assets": { "directory": "." }, "compatibility_date": "2026-01-01" });
    env.write("projects/plain/wrangler.json", &config.to_string());
    env.write("projects/plain/index.html", "<h1>plain</h1>");
    env.write("projects/plain/notes.txt", "not public");
    env.commit("plain");
    let deploy = ["deploy", "projects/plain", "--env", "local", "--engine", "host"];
    let ran = env.xtask(&deploy).exits(3);
    assert!(ran.stderr.contains("which would publish its sources"), "{}", ran.stderr);
    assert!(ran.stderr.contains("add an `.assetsignore`"), "{}", ran.stderr);
    env.write("projects/plain/.assetsignore", "wrangler.json\nnotes.txt\n");
    env.commit("ignore");
    env.xtask(&deploy).exits(0);
    assert_eq!(env.fetch("plain.localhost", "/"), (200, "<h1>plain</h1>".to_owned()));
    assert_eq!(env.fetch("plain.localhost", "/notes.txt").0, 404);
    assert_eq!(env.fetch("plain.localhost", "/wrangler.json").0, 404);
}

#[test]
fn an_empty_account_is_none_and_a_placeholder_is_no_account_to_configure() {
    let env = TestEnv::new();
    project(&env, &answers("code"), &json!({ "account_id": "" }));
    let deploy = ["deploy", "projects/code", "--env", "production", "--dry-run"];
    env.xtask(&deploy).exits(0);
    project(&env, &answers("code"), &json!({ "account_id": "<your-account-id>" }));
    let ran = env.xtask(&deploy).exits(3);
    assert!(
        ran.stderr.contains("`account_id` is <your-account-id>, but `production` is"),
        "{}",
        ran.stderr
    );
    assert!(!ran.stderr.contains("give an environment"), "{}", ran.stderr);
}

#[test]
fn creates_cloudflare_storage_in_the_sandbox() {
    let env = TestEnv::with_tools();
    let code = "export default { async fetch(_, env) {
        await env.KV.put('a', 'kept'); await env.DB.exec('CREATE TABLE IF NOT EXISTS t (a)');
        return new Response(await env.KV.get('a')); } };\n";
    let id = "0123456789abcdef0123456789abcdef";
    let fields = json!({
        "kv_namespaces": [{ "binding": "KV", "id": id }],
        "d1_databases": [{ "binding": "DB", "database_name": "data", "database_id": "11111111-1111-4111-8111-111111111111" }],
    });
    project(&env, code, &fields);
    let deploy = ["deploy", "projects/code", "--env", "local", "--engine", "host"];
    let ran = env.xtask(&deploy).exits(0);
    let made = format!("new and empty in the sandbox: KV namespace {id}, D1 database data");
    assert!(ran.stderr.contains(&made), "{}", ran.stderr);
    assert_eq!(env.fetch("code.localhost", "/"), (200, "kept".to_owned()));
    let again = env.xtask(&[&deploy[..], &["--force"]].concat()).exits(0);
    assert!(!again.stderr.contains("new and empty"), "{}", again.stderr);
}

#[test]
fn a_placeholder_names_storage_in_the_local_environment_only() {
    let env = TestEnv::with_tools();
    let code = "export default { async fetch(_, env) {
        await env.KV.put('a', 'kept'); await env.DB.exec('CREATE TABLE IF NOT EXISTS t (a)');
        return new Response(await env.KV.get('a')); } };\n";
    let database =
        json!({ "binding": "DB", "database_name": "data", "database_id": "local-dev-placeholder" });
    let fields = |namespace: &str| {
        let storage = json!({ "kv_namespaces": [{ "binding": "KV", "id": namespace }], "d1_databases": [database] });
        let mut fields = storage.clone();
        fields["env"] = json!({ "staging": storage });
        fields
    };
    project(&env, code, &fields("<your-namespace>"));
    let ran = env.xtask(&["deploy", "code", "--env", "local", "--engine", "host"]).exits(0);
    let made = "new and empty in the sandbox: KV namespace <your-namespace>, D1 database data";
    assert!(ran.stderr.contains(made), "{}", ran.stderr);
    assert_eq!(env.fetch("code.localhost", "/"), (200, "kept".to_owned()));

    let staging = ["deploy", "code", "--env", "staging", "--sandbox", "--engine", "host"];
    let ran = env.xtask(&staging).exits(3);
    expect![[r#"
        error: projects/code/wrangler.json: `<your-namespace>` is not the id of a KV namespace, which is 32 hexadecimal digits
        hint: create one with `cargo xtask wrangler code --env staging -- kv namespace create NAME`, and write its id into `kv_namespaces`
    "#]].assert_eq(&ran.stderr);
    project(&env, code, &fields("0123456789abcdef0123456789abcdef"));
    let ran = env.xtask(&staging).exits(3);
    expect![[r#"
        error: projects/code/wrangler.json: `local-dev-placeholder` is not the id of a D1 database, which is a UUID
        hint: create one with `cargo xtask wrangler code --env staging -- d1 create data`, and write its id into `d1_databases`
    "#]].assert_eq(&ran.stderr);
}
