//! Tests bindings in the sandbox: those that only Cloudflare can run, and the commands around the others.

use expect_test::expect;
use serde_json::{Value, json};

use crate::support::TestEnv;
use crate::support::wait::Wait;

const DEPLOY: [&str; 6] = ["deploy", "projects/code", "--env", "local", "--engine", "host"];

/// Writes a project with code, and these fields in its wrangler config.
fn project(env: &TestEnv, code: &str, fields: &Value) {
    let mut config =
        json!({ "name": "code", "main": "worker.js", "compatibility_date": "2026-01-01" });
    for (name, value) in fields.as_object().expect("an object") {
        config[name] = value.clone();
    }
    env.write("projects/code/wrangler.json", &config.to_string());
    env.write("projects/code/worker.js", code);
    env.commit("code");
}

/// Returns the part of an output that begins with the error of a project.
fn error(output: &str) -> String {
    let at = output.find("projects/code/wrangler.json: ").unwrap_or_default();
    output[at..].lines().take(3).map(|line| line.trim().to_owned() + "\n").collect()
}

#[test]
fn a_binding_without_a_local_form_is_refused_before_the_upload() {
    let env = TestEnv::with_tools();
    let code = "export default { async fetch(request, env) {
        if (new URL(request.url).pathname === '/ask') return Response.json(await env.AI.run('m', {}));
        return new Response('fine'); } };\n";
    let fields = json!({
        "ai": { "binding": "AI" }, "vectorize": [{ "binding": "INDEX", "index_name": "index" }],
    });
    project(&env, code, &fields);
    let ran = env.xtask(&DEPLOY).exits(3);
    let wanted = expect![[r"
        projects/code/wrangler.json: the sandbox has no local form of `AI` (ai), `INDEX` (vectorize)
        hint: add `--allow-stub` to deploy anyway; a request that uses one is answered with 501
        hint: or deploy to Cloudflare with `--env`
    "]];
    wanted.assert_eq(&error(&ran.stderr));
    assert!(!env.root.join(".xtask/sandbox").exists(), "nothing was started");
    let dry = env.xtask(&[&DEPLOY[..], &["--dry-run"]].concat()).exits(3);
    wanted.assert_eq(&error(&dry.stderr));

    env.xtask(&[&DEPLOY[..], &["--allow-stub"]].concat()).exits(0);
    assert_eq!(env.fetch("code.localhost", "/"), (200, "fine".to_owned()));
    let (status, page) = env.fetch("code.localhost", "/ask");
    assert_eq!(status, 501);
    assert!(page.contains("The binding AI is of the kind `ai`, which has no local form"), "{page}");
}

#[test]
fn storage_without_an_id_is_created_once() {
    let env = TestEnv::with_tools();
    let code = |answer: &str| {
        format!(
            "export default {{ async fetch(request, env) {{
        if (request.url.endsWith('/set')) await env.SESSION.put('visits', '3');
        return new Response('{answer} ' + await env.SESSION.get('visits')); }} }};\n"
        )
    };
    let fields = json!({ "kv_namespaces": [{ "binding": "SESSION" }] });
    project(&env, &code("one"), &fields);
    env.xtask(&DEPLOY).exits(0);
    assert_eq!(env.fetch("code.localhost", "/set"), (200, "one 3".to_owned()));
    project(&env, &code("two"), &fields);
    env.xtask(&DEPLOY).exits(0);
    assert_eq!(env.fetch("code.localhost", "/"), (200, "two 3".to_owned()), "the same storage");
}

#[test]
fn an_unsafe_rate_limit_is_one_in_the_sandbox_too() {
    let env = TestEnv::with_tools();
    let code = "export default { async fetch(request, env) {
        const { success } = await env.LIMITER.limit({ key: 'all' }); return new Response(String(success)); } };\n";
    let limiter = json!({ "name": "LIMITER", "type": "ratelimit", "namespace_id": "7", "simple": { "limit": 1000, "period": 60 } });
    project(&env, code, &json!({ "unsafe": { "bindings": [limiter] } }));
    env.xtask(&DEPLOY).exits(0);
    assert_eq!(env.fetch("code.localhost", "/"), (200, "true".to_owned()));
}

#[test]
fn hyperdrive_connects_to_the_local_database() {
    let env = TestEnv::with_tools();
    let code = "export default { fetch: (_, env) => new Response(env.DB.user + ' ' + env.DB.database) };\n";
    let id = "0123456789abcdef0123456789abcdef";
    project(&env, code, &json!({ "hyperdrive": [{ "binding": "DB", "id": id }] }));
    let ran = env.xtask(&DEPLOY).exits(3);
    expect![[r"
        projects/code/wrangler.json: the sandbox has no local form of `DB` (hyperdrive)
        hint: set `localConnectionString` in the config, or CLOUDFLARE_HYPERDRIVE_LOCAL_CONNECTION_STRING_DB, to the address of a local database
        hint: add `--allow-stub` to deploy anyway; a request that uses one is answered with 501
    "]]
    .assert_eq(&error(&ran.stderr));
    let address = "postgres://ada:canary-7c1d@127.0.0.1:5432/shop";
    let variable = ("CLOUDFLARE_HYPERDRIVE_LOCAL_CONNECTION_STRING_DB", address);
    let ran = env.xtask_with(&DEPLOY, &[variable]).exits(0);
    assert!(!(ran.stdout + &ran.stderr).contains("canary-7c1d"));
    assert_eq!(env.fetch("code.localhost", "/"), (200, "ada shop".to_owned()));
    let own = address.replace("ada", "bea");
    let binding = json!({ "binding": "DB", "id": id, "localConnectionString": own });
    project(&env, code, &json!({ "hyperdrive": [binding] }));
    let ran = env.xtask(&[&DEPLOY[..], &["--json"]].concat()).exits(0);
    assert!(!(ran.stdout + &ran.stderr).contains("canary-7c1d"));
    assert_eq!(env.fetch("code.localhost", "/"), (200, "bea shop".to_owned()));
}

#[test]
fn cron_triggers_run_when_asked_and_their_output_is_in_the_logs() {
    let env = TestEnv::with_tools();
    let cron = ["sandbox", "cron", "code"];
    let code = "export default { fetch: () => new Response('fine'), scheduled(controller) {
        console.log('cleaning up', controller.cron);
        if (controller.cron === '0 4 * * 2') throw new Error('no space');
    } };\n";
    project(&env, code, &json!({ "triggers": { "crons": ["0 3 * * 1", "0 4 * * 2"] } }));
    let ran = env.xtask(&cron).exits(3);
    expect![[r"
        error: the sandbox is not running
        hint: start it with `cargo xtask sandbox up`, then retry
    "]]
    .assert_eq(&ran.stderr);
    env.xtask(&DEPLOY).exits(0);
    let ran = env.xtask(&cron).exits(1);
    expect![[r"
        code  0 3 * * 1  ok
        code  0 4 * * 2  exception
    "]]
    .assert_eq(&ran.stdout);
    let ran = env.xtask(&[&cron[..], &["--cron", "0 3 * * 1", "--json"]].concat()).exits(0);
    let runs = json!([{ "cron": "0 3 * * 1", "outcome": "ok" }]);
    assert_eq!(ran.json(), json!({ "schema": 1, "worker": "code", "runs": runs }));
    let ran = env.xtask(&[&cron[..], &["--cron", "5 5 * * *"]].concat()).exits(3);
    expect![[r"
        error: The Worker code has no cron trigger `5 5 * * *`; it has `0 3 * * 1`, `0 4 * * 2`
        hint: set `triggers.crons` in the wrangler config and deploy again
    "]]
    .assert_eq(&ran.stderr);
    // The runtime reports what a run wrote shortly after its answer.
    let mut logs = String::new();
    let wait = Wait::begin();
    while logs.matches("cleaning up").count() < 3 || !logs.contains("no space") {
        wait.check(&logs);
        logs = env.xtask(&["sandbox", "logs"]).exits(0).stdout;
    }
    // Each entry begins with a time. Entries of two runs may be reported in another order.
    let mut entries: Vec<(String, String)> = Vec::new();
    for line in logs.lines() {
        match (line.split_once(' '), entries.last_mut()) {
            (Some((time, rest)), _) if time.starts_with("20") => {
                entries.push((time.to_owned(), format!("{rest}\n")));
            }
            (_, Some((_, text))) => text.push_str(&format!("{line}\n")),
            _ => panic!("a line without an entry: {line}"),
        }
    }
    entries.sort_by(|one, two| one.0.cmp(&two.0));
    let lines: String = entries.into_iter().map(|(_, text)| text).collect();
    expect![[r"
        code log cleaning up 0 3 * * 1
        code log cleaning up 0 4 * * 2
        code error cron 0 4 * * 2: Uncaught Error: no space
            at Object.scheduled (worker.js:3:52)
        code log cleaning up 0 3 * * 1
    "]]
    .assert_eq(&lines);
    let requests = env.xtask(&["sandbox", "logs", "--requests"]).exits(0).stdout;
    assert!(requests.contains("/workers/scripts/code"), "{requests}");
}

#[test]
fn a_worker_in_python_is_refused_before_anything_runs() {
    let env = TestEnv::with_tools();
    env.write(
        "projects/snake/wrangler.json",
        r#"{ "name": "snake", "main": "src/entry.py", "compatibility_date": "2026-10-01", "compatibility_flags": ["python_workers"] }"#,
    );
    env.write("projects/snake/src/entry.py", "async def on_fetch(request): pass\n");
    env.commit("worker");
    for arguments in [&["deploy", "snake"][..], &["deploy", "snake", "--allow-stub", "--dry-run"]] {
        let ran = env.xtask(arguments).exits(3);
        let message = "projects/snake/wrangler.json: the sandbox does not run Python Workers";
        assert!((ran.stdout.clone() + &ran.stderr).contains(message), "{ran:?}");
        assert!(!ran.stderr.contains("bundle"), "{ran:?}");
    }
    let table = env.xtask(&["doctor"]).stdout;
    assert!(table.contains("at Cloudflare"), "{table}");
}

#[test]
fn fields_that_wrangler_reads_or_ignores_are_deployed() {
    let env = TestEnv::with_tools();
    env.worker("projects/api", "api");
    let path = "projects/api/wrangler.toml";
    let config = std::fs::read_to_string(env.root.join(path)).expect("a config");
    let old = "usage_model = \"bundled\"\ntype = \"javascript\"\nzone_id = \"\"\n";
    env.write(path, &format!("{old}{config}"));
    env.worker("projects/caller", "caller");
    let path = "projects/caller/wrangler.toml";
    let config = std::fs::read_to_string(env.root.join(path)).expect("a config");
    let binding =
        "[[services]]\nbinding = \"API\"\nservice = \"api\"\nenvironment = \"production\"\n";
    env.write(path, &format!("{config}{binding}"));
    env.commit("workers");
    env.xtask(&["deploy", "api", "caller", "--engine=host"]).exits(0);
}
