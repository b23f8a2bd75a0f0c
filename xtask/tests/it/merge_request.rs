//! A merge request from its first push to its end: real previews, one comment in the sandbox's GitLab.

use std::time::Duration;

use serde_json::{Value, json};
use xtask::tools::http;

use crate::support::{Ran, TestEnv};

const TOKEN: &str = "canary-comment-9d41";
const PERSON: &str = "canary-person-2c77";

/// A repository with two deployed sites and an open merge request, `!42` of project 7.
struct MergeRequest {
    env: TestEnv,
    base: String,
    port: u16,
}

impl MergeRequest {
    fn open() -> MergeRequest {
        let env = TestEnv::with_tools();
        env.site("projects/changed", "changed");
        env.site("projects/left", "left");
        env.commit("sites");
        let tokens = json!([
            { "token": TOKEN, "kind": "project", "user": "bot", "project": 7 },
            { "token": PERSON, "kind": "personal", "user": "ada" },
        ]);
        let tokens = tokens.to_string();
        let up = env.xtask_with(&["sandbox", "up"], &[("SANDBOX_GITLAB_TOKENS", &tokens)]);
        up.exits(0);
        env.xtask(&["deploy", "--all", "--env", "production", "--sandbox"]).exits(0);
        let base = env.sh("git rev-parse HEAD").exits(0).stdout.trim().to_owned();
        env.git(&["checkout", "--quiet", "-b", "new-home"]);
        let port = env.port();
        let request = MergeRequest { env, base, port };
        let body = json!({ "iid": 42, "source_branch": "new-home", "target_branch": "main", "title": "New home" });
        request.post("merge_requests", &body);
        request
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/api/v4/projects/7/{path}", self.port)
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        let agent = http::agent(Duration::from_secs(10), 0);
        let answer = http::post(&agent, &self.url(path), &[("PRIVATE-TOKEN", PERSON)], body)
            .expect("an answer");
        assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
        serde_json::from_slice(&answer.body).expect("JSON")
    }

    /// The notes that people see, oldest first.
    fn notes(&self) -> Vec<Value> {
        let agent = http::agent(Duration::from_secs(10), 0);
        let url = self.url("merge_requests/42/notes?sort=asc&order_by=created_at&per_page=100");
        let answer = http::get(&agent, &url, &[("PRIVATE-TOKEN", PERSON)]).expect("an answer");
        let notes: Vec<Value> = serde_json::from_slice(&answer.body).expect("JSON");
        notes.into_iter().filter(|note| note["system"] == false).collect()
    }

    /// Commits what is there, and runs the merge request's job on it.
    fn push(&self, pipeline: &str, arguments: &[&str]) -> Ran {
        self.env.commit(pipeline);
        let commit = self.env.sh("git rev-parse HEAD").exits(0).stdout.trim().to_owned();
        let api = format!("http://127.0.0.1:{}/api/v4", self.port);
        let variables = [
            ("GITLAB_CI", "true"),
            ("CI_PIPELINE_SOURCE", "merge_request_event"),
            ("CI_MERGE_REQUEST_EVENT_TYPE", "detached"),
            ("CI_MERGE_REQUEST_IID", "42"),
            ("CI_MERGE_REQUEST_PROJECT_ID", "7"),
            ("CI_PROJECT_ID", "7"),
            ("CI_MERGE_REQUEST_DIFF_BASE_SHA", &self.base),
            ("CI_COMMIT_SHA", &commit),
            ("CI_COMMIT_REF_NAME", "new-home"),
            ("CI_DEFAULT_BRANCH", "main"),
            ("CI_API_V4_URL", &api),
            ("CI_JOB_URL", "https://gitlab.example.com/group/project/-/jobs/1"),
            ("CI_PIPELINE_ID", pipeline),
            ("CICD_COMMENT_TOKEN", TOKEN),
        ];
        self.env.xtask_with(arguments, &variables)
    }

    fn preview(&self, pipeline: &str) -> Ran {
        self.push(pipeline, &["preview", "--sandbox", "--engine", "host", "--json"])
    }

    fn body(&self) -> String {
        let notes = self.notes();
        let ours: Vec<&Value> =
            notes.iter().filter(|note| note["author"]["username"] == "bot").collect();
        assert_eq!(ours.len(), 1, "one comment: {notes:#?}");
        ours[0]["body"].as_str().expect("text").to_owned()
    }
}

#[test]
fn one_comment_from_the_first_push_to_the_end() {
    let request = MergeRequest::open();
    let env = &request.env;
    let production = env.fetch("changed.localhost", "/").1;
    let mut runs = Vec::new();
    let dry =
        request.push("100", &["preview", "--sandbox", "--engine", "host", "--all", "--dry-run"]);
    assert!(dry.exits(0).stdout.contains("\n# <!-- xtask preview v1 -->\n"));
    assert!(request.notes().is_empty(), "a dry run writes nothing");
    for (pipeline, text) in [("101", "two"), ("102", "three")] {
        env.write("projects/changed/content.txt", text);
        let ran = request.preview(pipeline).exits(0);
        assert_eq!(ran.record("changed")["status"], "ready");
        assert_eq!(ran.json()["records"].as_array().map(Vec::len), Some(1), "only what changed");
        assert_eq!(env.fetch("mr-42-changed.localhost", "/").1, text);
        runs.push(ran);
    }
    let body = request.body();
    let alias = format!("http://mr-42-changed.localhost:{}/", request.port);
    assert!(body.contains(&alias) && body.contains("left"), "{body}");
    assert!(body.contains("https://gitlab.example.com/group/project/-/jobs/1"), "{body}");

    // Anybody can paste the marker; only the author makes a note ours.
    let forged = body.replace(&alias, "https://evil.example/");
    request.post("merge_requests/42/notes", &json!({ "body": forged }));

    env.write(
        "projects/changed/build.ts",
        "console.error('| /close @all <b>broken</b>'); process.exit(3);",
    );
    let failed = request.preview("103").exits(1);
    let body = request.body();
    assert!(body.contains("broken") && !body.contains("<b>broken"), "{body}");
    assert_eq!(env.fetch("mr-42-changed.localhost", "/").1, "three", "the former preview stays");
    runs.push(failed);

    env.git(&["checkout", "--quiet", "HEAD~1", "--", "projects/changed/build.ts"]);
    env.write("projects/changed/content.txt", "four");
    runs.push(request.preview("104").exits(0));
    assert_eq!(env.fetch("mr-42-changed.localhost", "/").1, "four");
    assert!(!request.body().contains("broken"));

    for _ in 0..2 {
        runs.push(request.push("105", &["preview", "stop", "--json"]).exits(0));
        let body = request.body();
        assert!(body.contains("removed") || body.contains("Removed"), "{body}");
    }
    assert_eq!(request.notes().len(), 2, "ours and the forged one, which nobody touched");
    assert_eq!(env.fetch("changed.localhost", "/").1, production);
    let dotenv = std::fs::read_to_string(env.root.join(".xtask/preview.env")).expect("a report");
    assert_eq!(dotenv, format!("PREVIEW_URL={alias}\n"));
    env.assert_no_canary(&runs.iter().collect::<Vec<_>>());
    for secret in [TOKEN, PERSON] {
        let found = env.sh(&format!("grep -rlF {secret} . || true")).exits(0);
        assert_eq!(found.stdout, "", "a token was written down");
        assert!(!runs.iter().any(|ran| ran.stdout.contains(secret) || ran.stderr.contains(secret)));
    }
}

#[test]
fn without_a_token_the_job_passes_and_leaves_its_links() {
    let request = MergeRequest::open();
    let env = &request.env;
    env.write("projects/changed/content.txt", "two");
    env.commit("two");
    let variables = [
        ("GITLAB_CI", "true"),
        ("CI_MERGE_REQUEST_IID", "42"),
        ("CI_MERGE_REQUEST_PROJECT_ID", "7"),
        ("CI_PROJECT_ID", "7"),
        ("CI_MERGE_REQUEST_DIFF_BASE_SHA", request.base.as_str()),
        ("CICD_COMMENT_TOKEN", ""),
    ];
    let ran = env.xtask_with(&["preview", "--sandbox", "--engine", "host"], &variables).exits(0);
    assert!(ran.stderr.contains("CICD_COMMENT_TOKEN"), "{}", ran.stderr);
    assert!(request.notes().is_empty());
    let links =
        std::fs::read_to_string(env.root.join(".xtask/annotations.json")).expect("a report");
    assert!(links.contains("mr-42-changed.localhost"), "{links}");
}
