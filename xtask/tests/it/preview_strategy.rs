//! `--strategy preview`: previews with their own bindings, which can be deleted.

use base::http;
use expect_test::expect;
use serde_json::{Value, json};

use crate::support::wait::max_wait;
use crate::support::{CANARY, Ran, TestEnv, error_text};

const MR: [(&str, &str); 1] = [("CI_MERGE_REQUEST_IID", "42")];

/// A Worker whose `previews` block is `previews`, text of JSON.
pub fn worker(env: &TestEnv, previews: &str) {
    let code = |round: &str| {
        format!(
            "export default {{ fetch: (request: Request, env: {{ STAGE: string }}): Response =>\n\
             \tnew Response(`${{env.STAGE}} {round}`) }};\n"
        )
    };
    env.write("projects/api/src/worker.ts", &code("one"));
    env.write(
        "projects/api/package.json",
        r#"{ "name": "api-package", "xtask": { "previewStrategy": "preview" } }"#,
    );
    env.write(
        "projects/api/wrangler.jsonc",
        &format!(
            r#"{{ "name": "api", "main": "src/worker.ts", "compatibility_date": "2026-10-01",
                 "workers_dev": true, "preview_urls": true, "vars": {{ "STAGE": "production" }},
                 {previews} "env": {{ "staging": {{ "vars": {{ "STAGE": "staging" }} }} }} }}"#
        ),
    );
}

/// Changes what it answers to `round`.
pub fn edit(env: &TestEnv, round: &str) {
    let path = "projects/api/src/worker.ts";
    let code = std::fs::read_to_string(env.root.join(path)).expect("text");
    let at = code.find("STAGE} ").expect("the round") + "STAGE} ".len();
    let end = at + code[at..].find('`').expect("an end");
    env.write(path, &format!("{}{round}{}", &code[..at], &code[end..]));
}

fn change(env: &TestEnv, round: &str) {
    edit(env, round);
    env.commit(round);
}

fn run(env: &TestEnv, arguments: &[&str]) -> Ran {
    env.xtask_with(&[arguments, &["--json"]].concat(), &MR)
}

/// Everything that the sandbox knows of the Workers but their previews.
fn production(env: &TestEnv) -> Value {
    let state = env.fetch("127.0.0.1", "/__sandbox/state.json").1;
    let mut state: Value = serde_json::from_str(&state).expect("JSON");
    for worker in state["workers"].as_array_mut().expect("workers") {
        worker["workerPreviews"] = Value::Null;
    }
    json!([state["workers"], env.fetch("api.localhost", "/").1])
}

pub fn post(env: &TestEnv, path: &str, body: &Value) {
    let url = format!("http://127.0.0.1:{}{path}", env.port());
    let bearer = format!("Bearer {CANARY}");
    let agent = http::agent(max_wait(), 0);
    let answer = http::post(&agent, &url, &[("Authorization", &bearer)], body).expect("an answer");
    assert!((200..300).contains(&answer.status), "{}", String::from_utf8_lossy(&answer.body));
}

/// If preview addresses are off, a preview is refused before anything changes.
fn off_and_on(env: &TestEnv) {
    let account = "0".repeat(32);
    let path = format!("/client/v4/accounts/{account}/workers/scripts/api/subdomain");
    post(env, &path, &json!({ "enabled": true, "previews_enabled": false }));
    let record = run(env, &["preview", "api", "--force"]).exits(3).record("api");
    let error = error_text(&record);
    assert!(error.contains("preview addresses of the Worker `api` are off"), "{error}");
    post(env, &path, &json!({ "enabled": true, "previews_enabled": true }));
}

fn host(url: &Value) -> String {
    let url = url.as_str().expect("an address");
    url.trim_start_matches("http://").split(':').next().expect("a host").to_owned()
}

#[test]
fn a_preview_has_own_bindings_and_is_deleted() {
    let env = TestEnv::with_tools();
    worker(&env, r#""previews": { "vars": { "STAGE": "preview" } },"#);
    env.commit("worker");
    env.xtask(&["sandbox", "up"]).exits(0);
    let never = env.xtask(&["preview", "api", "--json"]).exits(3).record("api");
    assert!(never["error"].as_str().expect("text").contains("has never been deployed"), "{never}");
    run(&env, &["deploy", "api"]).exits(0);
    let before = production(&env);
    assert_eq!(before[1], "production one");
    assert_eq!(before[0].as_array().map(Vec::len), Some(1), "no Worker was made unasked");

    change(&env, "two");
    let dry = env.xtask_with(&["preview", "api", "--dry-run"], &MR).exits(0).stdout;
    assert!(dry.contains("# strategy: preview") && dry.contains("--name=mr-42"), "{dry}");
    let first = run(&env, &["preview", "api"]).exits(0);
    let record = first.record("api");
    let fields = ["status", "strategy", "alias"].map(|field| record[field].clone());
    assert_eq!(fields, ["ready", "preview", "mr-42"].map(Value::from));
    assert_eq!((&record["version"], &record["live"]), (&Value::Null, &record["previous"]));
    let pinned = host(&record["urls"][1]);
    assert_eq!(host(&record["urls"][0]), "mr-42-api.localhost");
    let deployment = record["deployment"].as_str().expect("an id");
    assert_eq!(pinned, format!("{}-api.localhost", &deployment[..8]));
    for host in ["mr-42-api.localhost", &pinned] {
        assert_eq!(env.fetch(host, "/").1, "preview two", "{host}");
    }
    let again = run(&env, &["preview", "api"]).exits(0).record("api");
    assert_eq!(again["status"], "unchanged");
    assert_eq!((&again["deployment"], &again["urls"]), (&record["deployment"], &record["urls"]));

    change(&env, "three");
    run(&env, &["preview", "api"]).exits(0);
    assert_eq!(env.fetch("mr-42-api.localhost", "/").1, "preview three");
    assert_eq!(env.fetch(&pinned, "/").1, "preview two");
    assert_eq!(production(&env), before);

    let promoted = run(&env, &["promote", "api", "--from", "mr-42"]).exits(2).json();
    assert!(promoted["error"]["hints"].to_string().contains("is not a version"), "{promoted}");
    off_and_on(&env);
    assert_eq!(production(&env), before);

    let planned = env.xtask_with(&["preview", "stop", "--dry-run"], &MR).exits(0).stdout;
    assert!(planned.contains("wrangler preview delete --name=mr-42"), "{planned}");
    assert_eq!(env.fetch("mr-42-api.localhost", "/").0, 200, "a dry run deletes nothing");
    let fault = json!([{ "method": "DELETE", "path": "/previews/", "times": 1, "action": { "status": 403 } }]);
    post(&env, "/__sandbox/faults", &fault);
    let failed = run(&env, &["preview", "stop"]).exits(4).json();
    assert_eq!(failed["previews"][0]["outcome"], "failed", "{failed}");
    assert_eq!(env.fetch("mr-42-api.localhost", "/").0, 200);
    for outcome in ["deleted", "absent"] {
        let stopped = run(&env, &["preview", "stop"]).exits(0).json();
        assert_eq!(stopped["previews"][0]["outcome"], outcome, "{stopped}");
        for host in ["mr-42-api.localhost", &pinned] {
            assert_eq!(env.fetch(host, "/").0, 404, "{host}");
        }
    }
    assert_eq!(production(&env), before);
    env.assert_no_canary(&[&first]);
}

#[test]
fn an_environment_s_preview_belongs_to_its_worker_and_aliases_stay() {
    let env = TestEnv::with_tools();
    worker(&env, r#""previews": {},"#);
    env.commit("worker");
    let staging = ["--env", "staging", "--sandbox"];
    run(&env, &[&["deploy", "api"], staging.as_slice()].concat()).exits(0);
    run(&env, &[&["preview", "api"], staging.as_slice()].concat()).exits(0);
    assert_eq!(env.fetch("mr-42-api-staging.localhost", "/").1, "undefined one", "no variables");
    let alias = ["preview", "api", "--strategy", "alias", "--alias", "mr-7"];
    let record = run(&env, &[alias.as_slice(), &staging].concat()).exits(0).record("api");
    assert_eq!((&record["strategy"], &record["deployment"]), (&"alias".into(), &Value::Null));
    for name in ["mr-7", "mr-42"] {
        let stop = [["preview", "stop", "api", "--alias", name].as_slice(), &staging].concat();
        run(&env, &stop).exits(0);
    }
    assert_eq!(env.fetch("mr-7-api-staging.localhost", "/").1, "staging one");
    let version = record["version"].as_str().expect("an id");
    let normalize = |text: &str| {
        text.replace(&version[..8], "VERSION").replace(&env.port().to_string(), "PORT")
    };
    let stop = |alias: &str, more: &[&str]| {
        let stop = ["preview", "stop", "api", "--alias", alias];
        env.xtask(&[stop.as_slice(), &staging, more].concat()).exits(0)
    };
    // An alias cannot be deleted: the output says so, and until when its URL answers.
    let stopped = stop("mr-7", &[]);
    expect![[r#"
        api  alias mr-7 cannot be deleted: http://mr-7-api-staging.localhost:PORT/ answers with version VERSION until the alias is used again or the Worker is deleted
    "#]].assert_eq(&normalize(&(stopped.stdout + &stopped.stderr)));
    expect![[r#"
        there is no preview and no alias of this name
    "#]]
    .assert_eq(&normalize(&stop("mr-99", &[]).stdout));
    let aliases = &stop("mr-7", &["--json"]).json()["aliases"];
    assert_eq!(
        (&aliases[0]["alias"], &aliases[0]["version"]),
        (&"mr-7".into(), &record["version"])
    );
    assert_eq!(env.fetch("mr-42-api-staging.localhost", "/").0, 404);
    assert_eq!(env.fetch("api-staging.localhost", "/").1, "staging one");
}

#[test]
fn refuses_an_incomplete_config_with_the_lines_to_add() {
    let env = TestEnv::new();
    worker(&env, "");
    env.commit("worker");
    let refused = |arguments: &[&str]| run(&env, arguments).exits(3).json().to_string();
    let text = refused(&["preview", "api"]);
    assert!(text.contains("no `previews` block") && text.contains(r#"\"previews\": {}"#), "{text}");
    worker(&env, r#""previews": {},"#);
    let config = std::fs::read_to_string(env.root.join("projects/api/wrangler.jsonc")).expect("it");
    let off = config.replace("\"preview_urls\": true", "\"preview_urls\": false");
    env.write("projects/api/wrangler.jsonc", &off);
    let text = refused(&["preview", "api"]);
    assert!(text.contains("`preview_urls` is false"), "{text}");
    let unknown = env.xtask(&["preview", "api", "--strategy", "previw"]).exits(2).stderr;
    assert!(unknown.contains("'preview'"), "{unknown}");
}
