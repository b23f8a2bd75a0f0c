//! `preview stop --merged`: what stop jobs left behind, in the sandbox's GitLab.

use std::time::Duration;

use serde_json::{Value, json};
use xtask::tools::http;

use crate::support::{Ran, TestEnv};

const BOT: &str = "canary-bot-61";
const JOB: &str = "canary-job-62";
const PERSON: &str = "canary-person-63";

struct GitLab {
    env: TestEnv,
    api: String,
}

impl GitLab {
    fn start() -> GitLab {
        let env = TestEnv::with_tools();
        let tokens = json!([
            { "token": BOT, "kind": "project", "user": "bot", "project": 7, "role": "reporter" },
            { "token": JOB, "kind": "job", "user": "ada" },
            { "token": PERSON, "kind": "personal", "user": "ada" },
        ]);
        let tokens = tokens.to_string();
        env.xtask_with(&["sandbox", "up"], &[("SANDBOX_GITLAB_TOKENS", &tokens)]).exits(0);
        let api = format!("http://127.0.0.1:{}/api/v4", env.port());
        GitLab { env, api }
    }

    fn url(&self, path: &str) -> String {
        format!("{}/projects/7/{path}", self.api)
    }

    fn post(&self, path: &str, body: &Value) {
        let agent = http::agent(Duration::from_secs(10), 0);
        let answer = http::post(&agent, &self.url(path), &[("PRIVATE-TOKEN", PERSON)], body);
        assert_eq!(answer.expect("an answer").status, 201, "{path} {body}");
    }

    fn get(&self, path: &str) -> Value {
        let agent = http::agent(Duration::from_secs(10), 0);
        let answer = http::get(&agent, &self.url(path), &[("PRIVATE-TOKEN", PERSON)]);
        serde_json::from_slice(&answer.expect("an answer").body).expect("JSON")
    }

    /// A merge request with a preview that is shown and an environment, in this state.
    fn request(&self, iid: u64, command: Option<&str>) {
        let branch = format!("branch-{iid}");
        self.post(
            "merge_requests",
            &json!({ "iid": iid, "source_branch": branch, "target_branch": "main", "title": "T" }),
        );
        let iid = iid.to_string();
        let rows = r#"[{"project":"site","status":"ready","aliasUrl":"https://mr.example/"}]"#;
        self.env.write("rows.json", rows);
        self.run(&["comment", "rows.json"], &[("CI_MERGE_REQUEST_IID", &iid)]).exits(0);
        self.post("environments", &json!({ "name": format!("review/{iid}") }));
        if let Some(command) = command {
            self.post(
                &format!("merge_requests/{iid}/notes"),
                &json!({ "body": format!("done\n/{command}") }),
            );
        }
    }

    fn run(&self, arguments: &[&str], more: &[(&str, &str)]) -> Ran {
        let all = [
            ("GITLAB_CI", "true"),
            ("CI_API_V4_URL", self.api.as_str()),
            ("CI_PROJECT_ID", "7"),
            ("CICD_COMMENT_TOKEN", BOT),
            ("CI_JOB_TOKEN", JOB),
        ];
        let ran = self.env.xtask_with(arguments, &[&all[..], more].concat());
        assert!(!(ran.stdout.clone() + &ran.stderr).contains("canary"), "{ran:?}");
        ran
    }

    fn shows(&self, iid: u64) -> bool {
        let notes = self.get(&format!("merge_requests/{iid}/notes"));
        notes.to_string().contains("https://mr.example/")
    }

    fn available(&self) -> Vec<String> {
        let found = self.get("environments?states=available");
        let name = |one: &Value| one["name"].as_str().expect("a name").to_owned();
        found.as_array().expect("a list").iter().map(name).collect()
    }
}

#[test]
fn what_is_merged_or_closed_is_removed_and_nothing_else() {
    let gitlab = GitLab::start();
    gitlab.request(42, Some("merge"));
    gitlab.request(43, None);
    gitlab.request(44, Some("close"));
    for name in ["review/45", "review/sweep", "review/45/site", "production"] {
        gitlab.post("environments", &json!({ "name": name }));
    }
    let sweep = ["preview", "stop", "--merged", "--json"];

    let dry = gitlab.run(&[&sweep[..], &["--dry-run"]].concat(), &[]).exits(0).json();
    let iids: Vec<_> =
        dry["left"].as_array().expect("a list").iter().map(|left| &left["iid"]).collect();
    assert_eq!(iids, [42, 44, 45], "{dry}");
    assert!(gitlab.shows(42) && gitlab.shows(44) && gitlab.available().len() == 7);

    // Without the job's token the bot's, which may comment and not stop.
    let weak = gitlab.run(&sweep[..3], &[("CI_JOB_TOKEN", "")]).exits(0);
    assert!(
        weak.stdout.contains("!42 merged: site removed; environment review/42 could not"),
        "{}",
        weak.stdout
    );
    assert!(weak.stderr.contains("review/42 is not stopped"), "{}", weak.stderr);
    assert!(!gitlab.shows(42) && !gitlab.shows(44) && gitlab.shows(43));

    let done = gitlab.run(&sweep, &[]).exits(0).json();
    assert_eq!(done["left"].as_array().map(Vec::len), Some(3), "{done}");
    assert!(done["left"][0]["stopped"] == true && done["left"][0]["comment"].is_null());
    assert_eq!(
        (&done["left"][2]["state"], done["more"].as_bool()),
        (&json!("deleted"), Some(false))
    );
    assert_eq!(gitlab.available(), ["review/43", "review/sweep", "review/45/site", "production"]);

    let again = gitlab.run(&sweep[..3], &[]).exits(0);
    assert_eq!(again.stdout, "nothing left behind by 2 merge requests\n");
    let none = gitlab.run(&sweep[..3], &[("CICD_COMMENT_TOKEN", "")]).exits(0);
    assert!(none.stdout.contains("CICD_COMMENT_TOKEN is not set"), "{}", none.stdout);
    let refused = gitlab.run(&sweep[..3], &[("CICD_COMMENT_TOKEN", "glpat-other")]).exits(3);
    assert!(refused.stderr.contains("does not know the token"), "{}", refused.stderr);
    assert!(gitlab.shows(43), "the open one's preview stays");
}
