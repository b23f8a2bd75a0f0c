//! `preview stop --merged`: what stop jobs left behind, in the sandbox's GitLab.

use std::time::Duration;

use base::http;
use serde_json::{Value, json};

use crate::preview_strategy;
use crate::support::wait::max_wait;
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
        let agent = http::agent(max_wait(), 0);
        let answer = http::post(&agent, &self.url(path), &[("PRIVATE-TOKEN", PERSON)], body);
        assert_eq!(answer.expect("an answer").status, 201, "{path} {body}");
    }

    fn get(&self, path: &str) -> Value {
        let agent = http::agent(max_wait(), 0);
        let answer = http::get(&agent, &self.url(path), &[("PRIVATE-TOKEN", PERSON)]);
        serde_json::from_slice(&answer.expect("an answer").body).expect("JSON")
    }

    fn open(&self, iid: u64) {
        let branch = format!("branch-{iid}");
        self.post(
            "merge_requests",
            &json!({ "iid": iid, "source_branch": branch, "target_branch": "main", "title": "T" }),
        );
    }

    fn close(&self, iid: u64, command: &str) {
        let body = json!({ "body": format!("done\n/{command}") });
        self.post(&format!("merge_requests/{iid}/notes"), &body);
    }

    /// A merge request with a preview that is shown and an environment, in this state.
    fn request(&self, iid: u64, command: Option<&str>) {
        self.open(iid);
        let number = iid;
        let iid = iid.to_string();
        let rows = r#"[{"project":"site","status":"ready","aliasUrl":"https://mr.example/"}]"#;
        self.env.write("rows.json", rows);
        self.run(&["comment", "rows.json"], &[("CI_MERGE_REQUEST_IID", &iid)]).exits(0);
        self.post("environments", &json!({ "name": format!("review/{iid}") }));
        if let Some(command) = command {
            self.close(number, command);
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

    /// Refuses the next request of this kind.
    fn fault(&self, method: &str, path: &str) {
        let fault =
            json!([{ "method": method, "path": path, "times": 1, "action": { "status": 403 } }]);
        preview_strategy::post(&self.env, "/__sandbox/faults", &fault);
    }

    /// A Worker that can have Worker Previews.
    fn deploy(&self) {
        preview_strategy::worker(&self.env, r#""previews": {},"#);
        self.env.commit("worker");
        self.run(&["deploy", "api", "--env", "production", "--sandbox"], &[]).exits(0);
    }

    /// A Worker Preview, and with a token the comment that shows it.
    fn preview(&self, iid: u64, comment: &str) {
        let iid = iid.to_string();
        let variables = [("CI_MERGE_REQUEST_IID", iid.as_str()), ("CICD_COMMENT_TOKEN", comment)];
        self.run(&["preview", "api", "--sandbox"], &variables).exits(0);
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
fn removes_only_previews_of_merged_or_closed_merge_requests() {
    let gitlab = GitLab::start();
    gitlab.request(42, Some("merge"));
    gitlab.request(43, None);
    gitlab.request(44, Some("close"));
    gitlab.open(46);
    for name in ["review/45", "review/045", "review/sweep", "review/45/site", "production"] {
        gitlab.post("environments", &json!({ "name": name }));
    }
    let sweep = ["preview", "stop", "--merged", "--json"];

    let dry = gitlab.run(&[&sweep[..], &["--dry-run"]].concat(), &[]).exits(0).json();
    let iids: Vec<_> = dry["leftovers"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|leftover| &leftover["iid"])
        .collect();
    assert_eq!(iids, [42, 44, 45], "{dry}");
    assert!(gitlab.shows(42) && gitlab.shows(44) && gitlab.available().len() == 8);

    // Without the job's token the bot's, which may comment and not stop.
    let weak = gitlab.run(&sweep[..3], &[("CI_JOB_TOKEN", "")]).exits(0);
    assert!(
        weak.stdout.contains("!42 merged: site removed; environment review/42 could not"),
        "{}",
        weak.stdout
    );
    assert!(weak.stderr.contains("review/42 is not stopped"), "{}", weak.stderr);
    assert!(!gitlab.shows(42) && !gitlab.shows(44) && gitlab.shows(43));

    gitlab.fault("GET", "/merge_requests/44/notes");
    let cut = gitlab.run(&sweep[..3], &[("CI_JOB_TOKEN", "")]).exits(3).stderr;
    assert!(
        cut.contains("done before that:\n!42 merged: environment review/42 could not"),
        "{cut}"
    );

    let done = gitlab.run(&sweep, &[]).exits(0).json();
    assert_eq!(done["leftovers"].as_array().map(Vec::len), Some(3), "{done}");
    assert!(done["leftovers"][0]["stopped"] == true && done["leftovers"][0]["comment"].is_null());
    assert_eq!(
        (&done["leftovers"][2]["state"], done["more"].as_bool()),
        (&json!("deleted"), Some(false))
    );
    let others = ["review/43", "review/045", "review/sweep", "review/45/site", "production"];
    assert_eq!(gitlab.available(), others);

    let again = gitlab.run(&sweep[..3], &[]).exits(0);
    assert_eq!(again.stdout, "nothing left behind by 2 merge requests\n");
    let none = gitlab.run(&sweep[..3], &[("CICD_COMMENT_TOKEN", "")]).exits(0);
    assert!(none.stdout.contains("CICD_COMMENT_TOKEN is not set"), "{}", none.stdout);
    let refused = gitlab.run(&sweep[..3], &[("CICD_COMMENT_TOKEN", "glpat-other")]).exits(3);
    assert!(refused.stderr.contains("does not know the token"), "{}", refused.stderr);
    assert!(gitlab.shows(43), "the open one's preview stays");
}

/// Returns `true` for each merge request whose previews answer.
fn answer(gitlab: &GitLab, iids: [u64; 4]) -> [bool; 4] {
    iids.map(|iid| gitlab.env.fetch(&format!("mr-{iid}-api.localhost"), "/").0 == 200)
}

#[test]
fn worker_previews_are_deleted_whether_they_are_shown_or_not() {
    let gitlab = GitLab::start();
    let env = &gitlab.env;
    gitlab.deploy();
    for iid in [42, 43, 44, 46] {
        gitlab.open(iid);
    }
    gitlab.post("environments", &json!({ "name": "review/42" }));
    // The third was never commented on, and of the fourth nothing else is left.
    for (iid, comment) in [(42, BOT), (43, BOT), (44, ""), (45, "")] {
        gitlab.preview(iid, comment);
    }
    gitlab.close(42, "merge");
    gitlab.close(44, "close");
    let row = |iid: u64| {
        let note = gitlab.get(&format!("merge_requests/{iid}/notes")).to_string();
        (note.contains("mr-42-api.localhost"), note.contains("removed"))
    };
    let iids = [42, 43, 44, 45];
    let sweep = ["preview", "stop", "--merged", "--sandbox"];

    let none = gitlab.run(&sweep[..3], &[]).exits(1).stdout;
    assert!(none.contains("!42 merged: api may still have a preview"), "{none}");
    let why = "previews of api are not searched: the variable CLOUDFLARE_WORKERS_TOKEN is not set";
    assert!(none.contains(why), "{none}");
    let dry = gitlab.run(&[&sweep[..], &["--dry-run"]].concat(), &[]).exits(0).stdout;
    assert!(dry.contains("!45 deleted: preview mr-45 of api would be deleted"), "{dry}");
    assert_eq!(answer(&gitlab, iids), [true; 4]);

    let refusing = json!([{ "method": "DELETE", "path": "/previews/", "times": 3, "action": { "status": 403 } }]);
    preview_strategy::post(env, "/__sandbox/faults", &refusing);
    let refused = gitlab.run(&sweep, &[]).exits(4).stdout;
    let lines: Vec<&str> = refused.lines().collect();
    assert!(
        lines[0].starts_with("!42 merged: api may still have a preview; environment"),
        "{refused}"
    );
    assert!(lines[1].starts_with("api  preview mr-42 may still be there: DELETE "), "{refused}");
    assert!(lines[2].starts_with("hint: check the token"), "{refused}");
    assert!(lines[3].starts_with("!44 closed: api  preview mr-44 may"), "{refused}");

    gitlab.fault("DELETE", "/previews/mr-42");
    let failed = gitlab.run(&[&sweep[..], &["--json"]].concat(), &[]).exits(4).json();
    let outcomes: Vec<_> = failed["leftovers"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|left| (left["iid"].clone(), left["previews"][0]["outcome"].clone()))
        .collect();
    let expected = [(42, "failed"), (44, "deleted"), (45, "deleted")];
    assert_eq!(outcomes, expected.map(|(iid, outcome)| (json!(iid), json!(outcome))), "{failed}");
    assert_eq!(answer(&gitlab, iids), [true, true, false, false]);
    assert_eq!((row(42), gitlab.available()), ((true, false), vec!["review/42".to_owned()]));

    let done = gitlab.run(&sweep, &[]).exits(0).stdout;
    assert!(done.contains("!42 merged: api removed; preview mr-42 of api is deleted"), "{done}");
    assert_eq!(answer(&gitlab, iids), [false, true, false, false]);
    assert_eq!((row(42), gitlab.available()), ((false, true), Vec::new()));
    let again = gitlab.run(&sweep, &[]).exits(0);
    assert_eq!(again.stdout, "nothing left behind by 2 merge requests\n");
}

#[test]
fn keeps_previews_that_may_belong_to_another_merge_request() {
    let gitlab = GitLab::start();
    gitlab.deploy();
    let iids = [42, 43, 44, 45];
    // Previews of the project that the repository was in before: here the first is merged by now, and
    // the last is a number that was never given out.
    for iid in [42, 45] {
        gitlab.preview(iid, "");
    }
    std::thread::sleep(Duration::from_millis(1100));
    for iid in [42, 43, 44] {
        gitlab.open(iid);
    }
    gitlab.preview(43, BOT);
    gitlab.preview(44, BOT);
    gitlab.post("environments", &json!({ "name": "review/45" }));
    gitlab.close(42, "merge");
    gitlab.close(44, "merge");
    let sweep = ["preview", "stop", "--merged", "--sandbox"];
    let command_line = "cargo xtask preview stop api --env production --sandbox --alias";
    let lines = [
        format!("preview mr-42 of api is skipped: it was deployed before !42 was opened; to delete it: {command_line} mr-42"),
        format!("preview mr-45 of api is skipped: the GitLab project 7 has had no merge request !45 yet; to delete it: {command_line} mr-45"),
        "environment review/45 is skipped: the GitLab project 7 has had no merge request !45 yet; to delete it: Operate → Environments".to_owned(),
    ];
    let skipped_lines = |text: &str| -> Vec<String> {
        text.lines().filter(|line| line.contains(" is skipped: ")).map(str::to_owned).collect()
    };
    let dry = gitlab.run(&[&sweep[..], &["--dry-run"]].concat(), &[]).exits(0).stdout;
    assert_eq!(skipped_lines(&dry), lines);
    assert!(dry.contains("!44 merged: api would be marked as removed; preview mr-44"), "{dry}");

    // The list is from before !43 was opened again.
    let old = json!([{ "iid": 43, "state": "closed" }]).to_string();
    let list = json!([{ "method": "GET", "path": "/projects/7/merge_requests", "times": 1, "action": { "status": 200, "body": old } }]);
    preview_strategy::post(&gitlab.env, "/__sandbox/faults", &list);
    let done = gitlab.run(&sweep, &[]).exits(0);
    assert!(done.stderr.contains("!43 changed during this run"), "{}", done.stderr);
    assert!(!done.stdout.contains("!43"), "{}", done.stdout);
    assert_eq!(skipped_lines(&done.stdout), lines);
    assert_eq!(answer(&gitlab, iids), [true, true, false, true]);
    assert_eq!(gitlab.available(), ["review/45"]);

    let json = gitlab.run(&[&sweep[..], &["--json"]].concat(), &[]).exits(0).json();
    assert_eq!(
        (json["leftovers"].as_array().map(Vec::len), json["skipped"].as_array().map(Vec::len)),
        (Some(0), Some(3))
    );
    let one = &json["skipped"][1];
    assert_eq!(
        (&one["iid"], &one["project"], &one["name"]),
        (&json!(45), &json!("api"), &json!("mr-45"))
    );
    let command = one["commandLine"]
        .as_str()
        .expect("a command")
        .strip_prefix("cargo xtask ")
        .expect("xtask");
    gitlab.run(&command.split(' ').collect::<Vec<_>>(), &[]).exits(0);
    assert_eq!(answer(&gitlab, iids), [true, true, false, false]);

    // As soon as a later number is given out, the environment's merge request must have been deleted.
    gitlab.open(46);
    let deleted = gitlab.run(&sweep, &[]).exits(0).stdout;
    assert!(deleted.contains("!45 deleted: environment review/45 stopped"), "{deleted}");
}

#[test]
fn previews_and_merge_requests_belong_together() {
    let gitlab = GitLab::start();
    gitlab.request(42, Some("merge"));
    let elsewhere = [("CI_API_V4_URL", "https://gitlab.example.com/api/v4")];
    let sandbox = ["preview", "stop", "--merged", "--sandbox"];
    let refused = gitlab.run(&sandbox, &elsewhere).exits(3).stderr;
    assert!(
        refused.contains("not those of the merge requests at https://gitlab.example.com"),
        "{refused}"
    );

    let path = "dagger/config/config.json";
    let config = std::fs::read_to_string(gitlab.env.root.join(path)).expect("a config");
    gitlab.env.write(path, &config.replace(r#""projectId": "0""#, r#""projectId": "8""#));
    let refused = gitlab.run(&sandbox[..3], &[]).exits(3).stderr;
    assert!(refused.contains("this is the project 7 at http://127.0.0.1"), "{refused}");
    assert!(refused.contains("the config names 8 at https://gitlab.com/api/v4"), "{refused}");
    assert!(gitlab.shows(42) && gitlab.available() == ["review/42"]);
}
