//! The verdict of the health check: what is right, what is wrong, and what proves nothing.

use serde_json::{Value, json};

use crate::support::wait::max_wait;
use crate::support::{CANARY, TestEnv, error_text};

/// A repository with one project, `a`, whose wrangler config has these fields besides, and which has
/// these files.
fn project(fields: &Value, health: &Value, files: &[(&str, &str)]) -> TestEnv {
    let env = TestEnv::with_tools();
    let mut config = json!({ "name": "a", "compatibility_date": "2026-10-01", "workers_dev": true, "preview_urls": true });
    for (name, value) in fields.as_object().expect("fields") {
        config[name] = value.clone();
    }
    env.write("projects/a/wrangler.json", &config.to_string());
    env.write("projects/a/package.json", &json!({ "xtask": { "health": health } }).to_string());
    for (path, text) in files {
        env.write(&format!("projects/a/{path}"), text);
    }
    env.commit("project");
    env
}

fn deploy(env: &TestEnv, code: i32) -> Value {
    env.xtask(&["deploy", "a", "--json", "--engine=host"]).exits(code).record("a")
}

/// Lets the sandbox answer `host` as `action` says.
fn answers(env: &TestEnv, host: &str, action: &Value) {
    let fault = json!([{ "host": host, "path": "/", "action": action }]);
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
fn workers_without_requests_are_right() {
    for code in [
        "export default { async scheduled() { await fetch('https://example.com'); } };",
        "export default { async queue(batch) { batch.ackAll(); } };",
        "export default { scheduled() {}, async email(message) { message.setReject('no'); } };",
    ] {
        let fields = json!({ "main": "worker.js", "triggers": { "crons": ["0 3 * * *"] } });
        let env = project(&fields, &Value::Null, &[("worker.js", code)]);
        let record = deploy(&env, 0);
        assert_eq!(record["status"], "live", "{code}: {record:#}");
        assert_eq!(deploy(&env, 0)["status"], "unchanged", "{code}");
    }
}

#[test]
fn expected_responses_of_a_worker_are_right() {
    let code = |status: u16| {
        format!("export default {{ fetch: () => new Response(null, {{ status: {status} }}) }};")
    };
    for (status, health) in [
        (401, Value::Null),
        (404, Value::Null),
        (405, Value::Null),
        (401, json!([200, 401])),
        (204, json!("/up")),
        (503, json!({ "path": "/up", "status": [503] })),
        (500, json!(false)),
    ] {
        let env =
            project(&json!({ "main": "worker.js" }), &health, &[("worker.js", &code(status))]);
        let record = deploy(&env, 0);
        assert_eq!(record["status"], "live", "{status} {health}: {record:#}");
    }
    let env = project(&json!({ "main": "worker.js" }), &json!([200]), &[("worker.js", &code(401))]);
    let record = deploy(&env, 4);
    let error = error_text(&record);
    assert!(
        error.contains("cannot tell whether it is right") && error.contains("answered 401"),
        "{error}"
    );
    assert!(error.contains("set `xtask.health` in projects/a/package.json to"), "{error}");
}

#[test]
fn sites_with_the_first_page_elsewhere_are_right() {
    let assets = json!({ "directory": "./public" });
    let flat = json!({ "directory": "./public", "html_handling": "none" });
    let cases: [(&Value, &[(&str, &str)]); 5] = [
        (&flat, &[("public/index.html", "<h1>flat page</h1>")]),
        (&flat, &[("public/data.json", "{}")]),
        (&assets, &[("public/downloads/tool.bin", "x")]),
        (
            &assets,
            &[("public/_redirects", "/ /en/ 302\n"), ("public/en/index.html", "<h1>English</h1>")],
        ),
        (
            &assets,
            &[("public/_redirects", "/ https://elsewhere.example/ 301\n"), ("public/a.txt", "x")],
        ),
    ];
    for (assets, files) in cases {
        let env = project(&json!({ "assets": assets }), &Value::Null, files);
        let record = deploy(&env, 0);
        assert_eq!(record["status"], "live", "{files:?}: {record:#}");
    }
}

#[test]
fn responses_of_the_edge_are_unknown_and_roll_nothing_back() {
    let page = "<html><title>Parts of a bicycle</title><p>Ask me@example.com</p></html>";
    let files = [("public/index.html", page), ("public/app.js", "export const parts = 1;")];
    let env = project(&json!({ "assets": { "directory": "./public" } }), &Value::Null, &files);
    deploy(&env, 0);
    let challenge = json!({ "status": 403, "body": "<title>Just a moment...</title>", "headers": { "cf-mitigated": "challenge" } });
    let access = json!({ "status": 302, "headers": { "location": "https://team.cloudflareaccess.com/cdn-cgi/access/login/a" } });
    // The version's own address answers, so a guard in front of the public one is no trouble.
    for (text, action, warning) in [
        ("second", &challenge, "a challenge of the zone"),
        ("third", &access, "a login of Cloudflare Access"),
    ] {
        env.write("projects/a/public/index.html", &page.replace("Ask", text));
        answers(&env, "a.localhost", action);
        let record = deploy(&env, 0);
        assert_eq!(record["status"], "live", "{record:#}");
        let warnings = record["warnings"].to_string();
        assert!(warnings.contains(warning) && warnings.contains("answers right at"), "{warnings}");
        assert_eq!(deploy(&env, 0)["status"], "unchanged");
    }
}

#[test]
fn a_login_in_front_of_every_url_keeps_the_version_live() {
    let code = "export default { fetch: () => new Response('one') };";
    let fields = json!({ "main": "worker.js", "preview_urls": false });
    let env = project(&fields, &Value::Null, &[("worker.js", code)]);
    deploy(&env, 0);
    env.write("projects/a/worker.js", &code.replace("one", "two"));
    let challenge = json!({ "status": 403, "headers": { "cf-mitigated": "challenge" } });
    answers(&env, "a.localhost", &challenge);
    let record = deploy(&env, 4);
    assert_eq!(record["status"], "unknown");
    assert_eq!(record["live"]["version"], record["version"], "it is still live");
    let error = error_text(&record);
    for part in [
        "is live, but the health check cannot tell whether it is right",
        "answered 403, a challenge of the zone (`cf-mitigated`)",
        "hint: let the runner through: add a skip rule",
        "hint: set `xtask.health` in projects/a/package.json to",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
}
