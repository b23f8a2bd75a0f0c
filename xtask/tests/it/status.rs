//! `status`: the live version of each project.

use serde_json::Value;

use crate::support::wait::max_wait;
use crate::support::{CANARY, TestEnv};

fn row(json: &Value, project: &str, environment: &str) -> Value {
    let rows = json["rows"].as_array().expect("rows");
    let found = rows.iter().find(|r| r["project"] == project && r["environment"] == environment);
    found.cloned().unwrap_or_else(|| panic!("{json:#}"))
}

#[test]
fn shows_whether_each_project_and_environment_is_up_to_date() {
    let env = TestEnv::with_tools();
    env.site("projects/a", "a");
    env.site("projects/b", "b");
    env.commit("sites");
    let before = env.xtask(&["status", "--json"]).exits(0).json();
    assert_eq!(before["rows"], serde_json::json!([]));
    assert_eq!(before["skipped"]["local"], "the sandbox does not run");
    env.xtask(&["status", "--env", "local"]).exits(3);

    let deployed = env.xtask(&["deploy", "a", "--json"]).exits(0).record("a");
    let json = env.xtask(&["status", "--env", "local", "--json"]).exits(0).json();
    let live = row(&json, "a", "local");
    assert_eq!(live["status"], "live");
    assert_eq!(live["inStep"], true);
    assert_eq!(live["live"]["version"], deployed["version"]);
    assert_eq!(live["live"]["tag"], deployed["key"]);
    assert_eq!(live["urls"], deployed["urls"]);
    assert_eq!(row(&json, "b", "local")["status"], "nothing");

    env.write("projects/a/content.txt", "new");
    let all = env.xtask(&["status", "--json"]).exits(0).json();
    assert_eq!(row(&all, "a", "local")["inStep"], false);
    assert!(all["skipped"]["staging"].as_str().expect("text").contains("is not set"), "{all:#}");
    let text = env.xtask(&["status", "a"]).exits(0).stdout;
    let commit = deployed["commit"].as_str().expect("text").get(..7).expect("an id");
    for word in ["out of date", commit, "http://a.localhost:", "Skipped: production, staging ("] {
        assert!(text.contains(word), "{word}: {text}");
    }
    let staging = env.xtask(&["status", "--env", "staging", "--sandbox", "--json"]).exits(0).json();
    assert_eq!(row(&staging, "a", "staging")["worker"], "a");

    // A project that is renamed or deleted leaves its Worker behind. That of another tool is not ours to name.
    env.xtask(&["deploy", "b"]).exits(0);
    env.sh("git mv projects/b projects/c && sed -i 's/\"b\"/\"c\"/' projects/c/wrangler.jsonc")
        .exits(0);
    env.sh("rm -rf projects/b").exits(0);
    let json = env.xtask(&["status", "--json"]).exits(0).json();
    let expected = serde_json::json!({ "workers": [{
        "worker": "b", "environment": "local", "commit": deployed["commit"],
        "delete": "cargo xtask wrangler a --env local -- delete b" }], "incomplete": [] });
    assert_eq!(json["unowned"], expected);
    let text = env.xtask(&["status"]).exits(0).stdout;
    let warning = format!(
        "The Worker b in local belongs to no project of this working tree (commit {commit})\n  \
         to delete it: `cargo xtask wrangler a --env local -- delete b`\n"
    );
    assert!(text.ends_with(&warning), "{text}");
    env.xtask(&["wrangler", "a", "--env", "local", "--", "delete", "b", "--force"]).exits(0);
    let json = env.xtask(&["status", "--json"]).exits(0).json();
    assert_eq!(json["unowned"]["workers"], serde_json::json!([]), "the command deleted it");

    let refused = env
        .xtask_with(&["status", "a", "--env", "local", "--json"], &[("SANDBOX_TOKEN", "another")]);
    assert_eq!(row(&refused.exits(1).json(), "a", "local")["status"], "unreadable");
}

#[test]
fn one_worker_has_one_state() {
    let env = TestEnv::with_tools();
    env.site("projects/a", "a");
    env.worker("projects/b", "b");
    env.commit("projects");
    env.xtask(&["deploy", "a", "b", "--engine=host"]).exits(0);
    let json = env.xtask(&["status", "--sandbox", "--json"]).exits(0).json();
    let state = |project: &str, environment: &str| row(&json, project, environment);
    assert_eq!(state("a", "local")["inStep"], true);
    for other in ["staging", "production"] {
        let row = state("a", other);
        assert_eq!(
            (&row["status"], &row["workerOf"]),
            (&"noBlock".into(), &"local".into()),
            "{row:#}"
        );
    }
    // With its own block it is another Worker.
    assert_eq!(state("b", "staging")["status"], "nothing");
    assert_eq!(state("b", "production")["workerOf"], "local");
    let text = env.xtask(&["status", "a", "--sandbox"]).exits(0).stdout;
    assert!(text.contains("no env block, the Worker is local's"), "{text}");
    // Out of date, it is still one Worker: that of the first environment that can be deployed to.
    env.write("projects/a/content.txt", "changed");
    let json = env.xtask(&["status", "a", "--sandbox", "--json"]).exits(0).json();
    assert_eq!(row(&json, "a", "local")["inStep"], false);
    assert_eq!(row(&json, "a", "staging")["workerOf"], "local");
    let alone = ["status", "a", "--env", "staging", "--sandbox", "--json"];
    let json = env.xtask(&alone).exits(0).json();
    assert_eq!(row(&json, "a", "staging")["workerOf"], "local");
}

#[test]
fn a_dirty_deployment_shows_its_changes() {
    let env = TestEnv::with_tools();
    env.site("projects/a", "a");
    env.commit("site");
    let clean = env.xtask(&["deploy", "a", "--json", "--engine=host"]).exits(0).record("a");
    let commit = clean["commit"].as_str().expect("text").get(..7).expect("an id").to_owned();
    let text = |env: &TestEnv| env.xtask(&["status", "a", "--env", "local"]).exits(0).stdout;
    assert!(!text(&env).contains("+ changes"), "{}", text(&env));
    env.write("projects/a/content.txt", "two");
    env.xtask(&["deploy", "a", "--engine=host"]).exits(0);
    assert!(text(&env).contains(&format!("{commit} + changes")), "{}", text(&env));
}

#[test]
fn a_changed_secret_changes_no_content() {
    let env = TestEnv::with_tools();
    env.worker("projects/a", "a");
    env.commit("worker");
    let deployed = env.xtask(&["deploy", "a", "--json", "--engine=host"]).exits(0).record("a");
    let account = "00000000000000000000000000000000";
    let url = format!(
        "http://127.0.0.1:{}/client/v4/accounts/{account}/workers/scripts/a/secrets",
        env.port()
    );
    for secret in ["ONE", "TWO"] {
        let body = serde_json::json!({ "name": secret, "text": "x", "type": "secret_text" });
        let request = ureq::http::Request::put(&url)
            .header("authorization", format!("Bearer {CANARY}"))
            .header("content-type", "application/json")
            .body(body.to_string())
            .expect("a request");
        let agent = base::http::agent(max_wait(), 0);
        assert!(agent.run(request).expect("an answer").status().is_success());
    }
    let json = env.xtask(&["status", "a", "--env", "local", "--json"]).exits(0).json();
    let live = row(&json, "a", "local");
    assert_ne!(live["live"]["version"], deployed["version"], "a secret makes a version");
    assert_eq!(
        (&live["inStep"], &live["triggersApplied"]),
        (&true.into(), &true.into()),
        "{live:#}"
    );
    assert_eq!(live["live"]["tag"], deployed["key"]);
    let again = env.xtask(&["deploy", "a", "--json", "--engine=host"]).exits(0).record("a");
    assert_eq!(again["status"], "unchanged");
}
