//! Gradual deployments: `deploy --percent` and `promote --percent`, with both versions served by their percentages.

use expect_test::expect;
use serde_json::{Value, json};

use crate::support::wait::max_wait;
use crate::support::{TestEnv, error_text};

/// Returns how many of 200 requests the page answers.
fn share_of(env: &TestEnv, page: &str) -> usize {
    let port = env.port();
    let agent = base::http::agent(max_wait(), 0);
    let (host, url) = (format!("site-a.localhost:{port}"), format!("http://127.0.0.1:{port}/"));
    let ask = || base::http::get(&agent, &url, &[("Host", &host)]).expect("an answer").body;
    (0..200).filter(|_| ask() == page.as_bytes()).count()
}

fn status(env: &TestEnv) -> Value {
    env.xtask(&["status", "a", "--env", "local", "--json"]).exits(0).json()["rows"][0]["live"]
        .clone()
}

/// Replaces the ids of versions by names.
fn with_names(text: &str, ids: &[(&Value, &str)]) -> String {
    ids.iter().fold(text.to_owned(), |text, (id, name)| {
        let id = id.as_str().expect("an id");
        text.replace(id, name).replace(&id[..8], name)
    })
}

#[test]
fn two_versions_share_the_traffic_until_one_has_it() {
    let env = TestEnv::with_tools();
    env.site("projects/a", "site-a");
    env.commit("site");
    let none = env.xtask(&["deploy", "a", "--percent", "10"]).exits(3);
    assert!(
        none.stdout.contains("the Worker `site-a` has no live version to keep 90 % of the traffic"),
        "{}",
        none.stdout
    );
    assert!(none.stdout.contains("hint: run `cargo xtask deploy a` without `--percent`"));
    let first = env.xtask(&["deploy", "a", "--json"]).exits(0).record("a")["version"].clone();

    env.write("projects/a/content.txt", "two");
    let script = env.xtask(&["deploy", "a", "--percent", "25", "--dry-run"]).exits(0).stdout;
    assert!(script.contains("# wrangler versions deploy NEW@25% LIVE@75% --yes"), "{script}");
    let record = env.xtask(&["deploy", "a", "--percent", "25", "--json"]).exits(0).record("a");
    let second = record["version"].clone();
    assert_eq!((&record["status"], &record["percent"]), (&json!("live"), &json!(25)));
    assert_eq!(record["live"]["version"], first);
    assert_eq!(
        record["live"]["shares"],
        json!([{ "version": second, "percentage": 25.0 }, { "version": first, "percentage": 75.0 }])
    );
    assert_eq!(status(&env)["shares"], record["live"]["shares"]);
    let table = env.xtask(&["status", "a", "--env", "local"]).exits(0).stdout;
    let ids = [(&first, "FIRST"), (&second, "SECOND")];
    assert!(with_names(&table, &ids).contains("25 % SECOND, 75 % FIRST"), "{table}");
    let versions = env.xtask(&["versions", "a", "--json"]).exits(0).json();
    assert_eq!(
        (&versions["versions"][0]["live"], &versions["versions"][1]["live"]),
        (&json!(25.0), &json!(75.0))
    );
    // The split is random. Fewer than 15 or more than 95 of 200 occur once in more than 10^9 runs.
    let share = share_of(&env, "two");
    assert!((15..95).contains(&share), "{share}");

    // Its share grows, up to all of it.
    let second_id = second.as_str().expect("an id");
    let more = env.xtask(&["promote", "a", "--from", second_id, "--percent", "90"]).exits(0);
    expect![["
        promotion of a in local
           90 % SECOND
           10 % FIRST
    "]]
    .assert_eq(&shares(&with_names(&more.stderr, &ids)));
    assert_eq!(status(&env)["version"], second);
    assert!(share_of(&env, "two") > 130);
    let same = env.xtask(&["promote", "a", "--from", second_id, "--percent", "90"]).exits(3);
    assert!(same.stderr.contains("gets 90 % of the traffic already"), "{}", same.stderr);
    env.xtask(&["promote", "a", "--from", second_id, "--json"]).exits(0);
    assert_eq!(status(&env)["shares"], Value::Null);
    assert_eq!(share_of(&env, "two"), 200);

    // A rollback goes back to the older version, whatever its percentage is.
    env.xtask(&["rollback", "a"]).exits(0);
    env.xtask(&["promote", "a", "--from", second_id, "--percent", "60"]).exits(0);
    assert_eq!(status(&env)["version"], second);
    let back = env.xtask(&["rollback", "a", "--json"]).exits(0).record("a");
    assert_eq!((&back["live"]["version"], &back["live"]["shares"]), (&first, &Value::Null));
    assert_eq!(share_of(&env, "<h1>site-a one</h1>"), 200);
    // The same content as a share is no reason to call the whole up to date.
    env.xtask(&["promote", "a", "--from", second_id, "--percent", "60"]).exits(0);
    let whole = env.xtask(&["deploy", "a", "--json"]).exits(0).record("a");
    assert_eq!((&whole["status"], &whole["live"]["shares"]), (&json!("live"), &Value::Null));
    assert_eq!(share_of(&env, "two"), 200);
}

/// Returns the lines about the traffic, without the commit and the age of a version.
fn shares(stderr: &str) -> String {
    let lines = stderr.lines().skip_while(|line| !line.starts_with("promotion of")).take(3);
    lines.map(|line| line.split(" (").next().unwrap_or(line).to_owned() + "\n").collect()
}

#[test]
fn a_wrong_version_gets_no_traffic() {
    let env = TestEnv::with_tools();
    env.worker("projects/api", "api");
    env.commit("worker");
    let first = env.xtask(&["deploy", "api", "--json"]).exits(0).record("api")["version"].clone();
    env.write(
        "projects/api/src/worker.ts",
        "export default { fetch: () => new Response('no', { status: 500 }) };\n",
    );
    let record = env.xtask(&["deploy", "api", "--percent", "50", "--json"]).exits(1).record("api");
    let error = error_text(&record);
    assert!(error.contains("the version gets no traffic, and"), "{error}");
    assert_eq!((&record["live"]["version"], &record["percent"]), (&first, &Value::Null));
    assert_eq!(env.fetch("api.localhost", "/up").0, 200);
}

#[test]
fn flags_of_wrangler_go_to_their_step() {
    let env = TestEnv::with_tools();
    env.worker("projects/api", "api");
    env.write(
        "projects/api/package.json",
        r#"{ "name": "api", "xtask": { "health": "/up", "wrangler": ["--minify", "--keep-vars", "--define", "UNUSED:1"] } }"#,
    );
    env.commit("worker");
    let script = env.xtask(&["deploy", "api", "--dry-run"]).exits(0).stdout;
    let line = |what: &str| script.lines().find(|line| line.contains(what)).expect(what).to_owned();
    let (bundle, upload) = (line("--outfile="), line("--strict"));
    assert!(bundle.contains("--minify") && bundle.contains("--define=UNUSED:1"), "{bundle}");
    assert!(!bundle.contains("--keep-vars") && upload.contains("--keep-vars"), "{upload}");
    assert!(!upload.contains("--minify") && !upload.contains("--define"), "{upload}");
    env.xtask(&["deploy", "api"]).exits(0);
    assert_eq!(env.fetch("api.localhost", "/up").1, "{\"stage\":\"top\"}");

    // A variable of the dashboard stays.
    let put = r#"{ "name": "api", "main": "src/worker.ts", "compatibility_date": "2026-10-01", "vars": { "OTHER": "1" } }"#;
    std::fs::remove_file(env.root.join("projects/api/wrangler.toml")).expect("removed");
    env.write("projects/api/wrangler.json", put);
    env.xtask(&["deploy", "api"]).exits(0);
    assert_eq!(env.fetch("api.localhost", "/up").1, "{\"stage\":\"top\"}", "kept by `--keep-vars`");

    env.write(
        "projects/api/package.json",
        r#"{ "name": "api", "xtask": { "wrangler": ["--minfy"] } }"#,
    );
    let ran = env.xtask(&["deploy", "api"]).exits(3);
    expect![[r"
        error: projects/api/package.json: unknown flag `--minfy` in `xtask.wrangler`, which may have `--minify`, `--no-bundle`, `--upload-source-maps`, `--keep-vars`, `--define`, `--jsx-factory`, `--jsx-fragment`; each flag is one text, and other settings belong into the wrangler config
        hint: did you mean `--minify`?
    "]]
    .assert_eq(&ran.stderr);
}

#[test]
fn a_rollback_whose_check_cannot_run_says_what_is_live() {
    let env = TestEnv::with_tools();
    env.worker("projects/api", "api");
    env.commit("worker");
    let first = env.xtask(&["deploy", "api", "--json"]).exits(0).record("api");
    env.write("projects/api/worker.js", "export default { fetch: () => new Response('two') };\n");
    let second = env.xtask(&["deploy", "api", "--json"]).exits(0).record("api");
    // Cloudflare's token has no spaces.
    let broken = [("CF_ACCESS_CLIENT_ID", "a b"), ("CF_ACCESS_CLIENT_SECRET", "c")];
    let back = env.xtask_with(&["rollback", "api", "--json"], &broken).exits(4).record("api");
    assert_eq!(back["live"]["version"], first["version"]);
    let ids = [(&first["version"], "FIRST"), (&second["version"], "SECOND")];
    expect![[r#"
        FIRST is live, but the health check cannot tell whether it is right: was not asked: the variable CF_ACCESS_CLIENT_ID contains characters that are not allowed in a token
        hint: set `xtask.health` in projects/api/package.json to the path that must answer, to a list of accepted status codes, or to `false`
        hint: to go back: `cargo xtask rollback api --to SECOND`"#]].assert_eq(&with_names(&error_text(&back), &ids));
}
