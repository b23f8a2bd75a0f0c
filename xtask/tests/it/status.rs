//! `status`: the live version of each project.

use serde_json::Value;

use crate::support::TestEnv;

fn row(json: &Value, project: &str, environment: &str) -> Value {
    let rows = json["rows"].as_array().expect("rows");
    let found = rows.iter().find(|r| r["project"] == project && r["environment"] == environment);
    found.cloned().unwrap_or_else(|| panic!("{json:#}"))
}

#[test]
fn each_project_and_environment_says_whether_it_is_in_step() {
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
    let commit = deployed["commit"].as_str().expect("text").get(..12).expect("an id");
    for word in ["differs", commit, "http://a.localhost:", "staging was not asked"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    let staging = env.xtask(&["status", "--env", "staging", "--sandbox", "--json"]).exits(0).json();
    assert_eq!(row(&staging, "a", "staging")["worker"], "a");

    let refused = env
        .xtask_with(&["status", "a", "--env", "local", "--json"], &[("SANDBOX_TOKEN", "another")]);
    assert_eq!(row(&refused.exits(1).json(), "a", "local")["status"], "unreadable");
}
