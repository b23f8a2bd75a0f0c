//! A merge request from its first push to its end: real previews, one comment in the sandbox's GitLab.

use base::http;
use camino::Utf8PathBuf;
use serde_json::{Value, json};

use crate::browser::Browser;
use crate::preview_strategy;
use crate::support::wait::max_wait;
use crate::support::{Ran, TestEnv, error_text, repository};

const TOKEN: &str = "canary-comment-9d41";
const TOKEN_VARIABLE: &str = "CICD_COMMENT_TOKEN";
const PERSON: &str = "canary-person-2c77";

/// A repository with what is deployed and an open merge request, `!42` of project 7.
struct MergeRequest {
    env: TestEnv,
    base: String,
    port: u16,
}

impl MergeRequest {
    /// With three sites.
    fn open() -> MergeRequest {
        let env = TestEnv::with_tools();
        env.site("projects/rawkode.academy/website", "website");
        env.site("projects/rawkode.academy/docs", "docs");
        env.site("projects/rawkode.studio", "studio");
        MergeRequest::in_env(env)
    }

    fn in_env(env: TestEnv) -> MergeRequest {
        env.commit("projects");
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
        let agent = http::agent(max_wait(), 0);
        let answer = http::post(&agent, &self.url(path), &[("PRIVATE-TOKEN", PERSON)], body)
            .expect("an answer");
        assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
        serde_json::from_slice(&answer.body).expect("JSON")
    }

    /// The notes that people see, oldest first.
    fn notes(&self) -> Vec<Value> {
        let agent = http::agent(max_wait(), 0);
        let url = self.url("merge_requests/42/notes?sort=asc&order_by=created_at&per_page=100");
        let answer = http::get(&agent, &url, &[("PRIVATE-TOKEN", PERSON)]).expect("an answer");
        let notes: Vec<Value> = serde_json::from_slice(&answer.body).expect("JSON");
        notes.into_iter().filter(|note| note["system"] == false).collect()
    }

    /// Commits what is there, and runs the merge request's job on it.
    fn push(&self, pipeline: &str, arguments: &[&str]) -> Ran {
        self.env.commit(pipeline);
        self.job(pipeline, arguments)
    }

    /// Runs the merge request's job on the commit that is checked out.
    fn job(&self, pipeline: &str, arguments: &[&str]) -> Ran {
        let variables = self.variables(pipeline);
        let variables: Vec<(&str, &str)> =
            variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.env.xtask_with(arguments, &variables)
    }

    fn variables(&self, pipeline: &str) -> Vec<(&'static str, String)> {
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
            (TOKEN_VARIABLE, TOKEN),
        ];
        variables.map(|(name, value)| (name, value.to_owned())).into()
    }

    fn preview(&self, pipeline: &str) -> Ran {
        self.push(pipeline, &["preview", "--sandbox", "--engine", "host", "--json"])
    }

    /// The one comment of ours.
    fn ours(&self) -> Value {
        let notes = self.notes();
        let mut ours: Vec<&Value> =
            notes.iter().filter(|note| note["author"]["username"] == "bot").collect();
        assert_eq!(ours.len(), 1, "one comment: {notes:#?}");
        ours.remove(0).clone()
    }

    fn body(&self) -> String {
        self.ours()["body"].as_str().expect("text").to_owned()
    }
}

/// The addresses of the web that a comment links, in its order.
fn links(body: &str) -> Vec<String> {
    let urls = body.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    urls.map(|(url, _)| url.to_owned()).filter(|url| url.contains("localhost")).collect()
}

/// Returns the file of the comment's picture: in the documentation with `cargo dev generate
/// --screenshot`, which sets the variable.
fn picture(env: &TestEnv) -> Utf8PathBuf {
    let wanted = std::env::var("XTASK_SCREENSHOT").map(Utf8PathBuf::from);
    wanted.unwrap_or_else(|_| env.folder.join("comment.png"))
}

#[test]
fn one_comment_follows_a_merge_request_from_push_to_merge() {
    let request = MergeRequest::open();
    let (env, mut browser) = (&request.env, Browser::open());
    let page = format!("http://127.0.0.1:{}/#mr-7-42", request.port);
    let production = env.fetch("website.localhost", "/").1;
    let mut runs = Vec::new();
    let dry =
        request.push("100", &["preview", "--sandbox", "--engine", "host", "--all", "--dry-run"]);
    assert!(dry.exits(0).stdout.contains("\n# <!-- xtask preview v1 -->\n"));
    assert!(request.notes().is_empty(), "a dry run writes nothing");
    let content = "projects/rawkode.academy/website/content.txt";
    for (pipeline, text) in [("101", "two"), ("102", "three")] {
        env.write(content, text);
        let ran = request.preview(pipeline).exits(0);
        assert_eq!(ran.record("rawkode.academy/website")["status"], "ready");
        assert_eq!(ran.json()["records"].as_array().map(Vec::len), Some(1), "only what changed");
        let links = links(&request.body());
        assert_eq!(links.len(), 2, "{links:?}");
        for url in links {
            let seen = browser.look(&json!({ "url": url, "text": text }));
            assert_eq!((&seen["status"], &seen["text"]), (&json!(200), &json!(text)), "{url}");
        }
        runs.push(ran);
    }
    let body = request.body();
    let alias = format!("http://mr-42-website.localhost:{}/", request.port);
    assert!(body.contains(&alias) && body.contains("rawkode.academy/docs"), "{body}");
    assert!(body.contains("https://gitlab.example.com/group/project/-/jobs/1"), "{body}");

    let script = "projects/rawkode.studio/build.ts";
    env.write(
        script,
        "console.error('src/pages/about.astro:12: broken link to <Team> | @all'); process.exit(3);",
    );
    env.write(content, "still three");
    let failed = request.preview("103").exits(1);
    let body = request.body();
    assert!(body.contains("broken") && !body.contains("<Team>"), "{body}");
    let seen = browser.look(&json!({ "url": alias, "text": "still three" }));
    assert_eq!(seen["complaints"], json!([]));
    runs.push(failed);
    let picture = picture(env);
    let seen = browser
        .look(&json!({ "url": page, "text": "failed", "part": "#mr-7-42", "picture": picture }));
    let text = seen["text"].as_str().expect("text");
    for part in ["!42 New home", "rawkode.academy/website", "rawkode.studio failed"] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(seen["complaints"], json!([]));
    let phone =
        browser.look(&json!({ "url": page, "text": "failed", "part": "#mr-7-42", "phone": true }));
    assert_eq!((&phone["complaints"], &phone["hidden"]), (&json!([]), &json!([])));
    let bytes = std::fs::read(&picture).expect("a picture");
    assert!(bytes.starts_with(b"\x89PNG\r\n\x1a\n") && bytes.len() > 5_000, "{}", bytes.len());

    // Anyone can paste the marker. Only the author makes a note ours.
    let forged = body.replace(&alias, "https://evil.example/");
    request.post("merge_requests/42/notes", &json!({ "body": forged }));
    env.git(&["checkout", "--quiet", "HEAD~1", "--", script]);
    env.write(content, "four");
    runs.push(request.preview("104").exits(0));
    browser.look(&json!({ "url": alias, "text": "four" }));
    assert!(!request.body().contains("broken"));

    for _ in 0..2 {
        runs.push(request.push("105", &["preview", "stop", "--json"]).exits(0));
        let ours = request.ours()["id"].to_string();
        let part = format!("#note_{ours}");
        let seen = browser.look(
            &json!({ "url": page, "text": "ended, the address still answers", "part": part }),
        );
        let text = seen["text"].as_str().expect("text");
        assert!(text.contains("rawkode.academy/website") && text.contains("Open"), "{text}");
        assert_eq!(links(&request.body()).first(), Some(&alias));
    }
    assert_eq!(request.notes().len(), 2, "ours and the forged one, which is untouched");
    assert_eq!(env.fetch("website.localhost", "/").1, production);
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
fn a_retried_job_of_an_older_pipeline_replaces_no_preview() {
    let request = MergeRequest::open();
    let env = &request.env;
    let (website, docs) = ("rawkode.academy/website", "rawkode.academy/docs");
    let content = format!("projects/{website}/content.txt");
    let preview = ["preview", "--sandbox", "--engine", "host", "--json"];
    for (pipeline, text) in [("20", "older"), ("30", "newer")] {
        env.write(&content, text);
        request.preview(pipeline).exits(0);
    }
    let shown = request.body();
    let versions = || {
        let versions = ["versions", website, "--env", "production", "--sandbox", "--json"];
        env.xtask(&versions).exits(0).json()["versions"].clone()
    };
    let uploaded = versions();
    // The row of a project that the newer pipeline did not change is newer too.
    env.git(&["checkout", "--quiet", "HEAD~1"]);
    let both = ["preview", website, docs, "--sandbox", "--engine", "host", "--json"];
    for arguments in [&preview[..], &both] {
        let ran = request.job("20", arguments).exits(3);
        let record = ran.record(website);
        assert_eq!(record["status"], "refused");
        expect_test::expect![[r"
            the comment of the merge request shows pipeline 30, so this job of the older pipeline 20 uploads no preview; nothing was changed
            hint: retry the job of pipeline 30, or start a new pipeline of the merge request"]]
        .assert_eq(&error_text(&record));
    }
    assert_eq!(env.fetch("mr-42-website.localhost", "/").1, "newer");
    assert_eq!((request.body(), versions()), (shown, uploaded));
    // A retried job of the newest pipeline, and a newer pipeline of the older commit.
    for pipeline in ["30", "31"] {
        let record = request.job(pipeline, &preview).exits(0).record(website);
        assert_eq!(record["status"], if pipeline == "30" { "ready" } else { "unchanged" });
    }
    assert_eq!(env.fetch("mr-42-website.localhost", "/").1, "older");
    // Without a comment nothing is known.
    let job = [&preview[..], &["--force"]].concat();
    let mut command = env.command(&job, &[]);
    for (name, value) in request.variables("20").iter().filter(|(name, _)| *name != TOKEN_VARIABLE)
    {
        command.env(name, value);
    }
    crate::support::ran(command.output().expect("a run")).exits(0);
}

/// The documented commands, docs/gitlab.md.
#[test]
fn a_merge_request_in_the_sandbox_is_one_command() {
    let env = TestEnv::with_tools();
    env.site("projects/rawkode.studio", "rawkode-studio");
    env.commit("project");
    let xtask = crate::support::program();
    env.program("cargo", &format!("#!/bin/sh\nshift\nexec '{}' \"$@\"\n", xtask.display()));
    let guide = repository().join("docs/gitlab.md");
    let guide = std::fs::read_to_string(guide).expect("text");
    let block = guide.split("```sh\n").find(|block| block.contains("sandbox merge-request"));
    let (block, _) = block.and_then(|block| block.split_once("```")).expect("the commands");
    let (before, after) = block.split_once("cargo xtask preview stop").expect("the last command");
    let notes = "curl -fsS -H \"PRIVATE-TOKEN: $CICD_COMMENT_TOKEN\" \
                 \"$CI_API_V4_URL/projects/1/merge_requests/1/notes\"";
    let script = format!("set -eu\n{before}\n{notes} > shown\ncargo xtask preview stop{after}\n");
    env.sh(&script).exits(0);
    let shown = std::fs::read_to_string(env.root.join("shown")).expect("the notes");
    assert!(shown.contains("mr-1-rawkode-studio.localhost") && shown.contains("ready"), "{shown}");
    // The second call finds the open one.
    let again = ["sandbox", "merge-request", "--source", "new-home"];
    let text = env.xtask(&again).exits(0).stdout;
    let text = text.replace(&env.port().to_string(), "PORT").replace(env.root.as_str(), "ROOT");
    expect_test::expect![[r#"
        merge request !1: new-home into main
          http://127.0.0.1:PORT/#mr-1-1
        Run these commands to preview as its pipeline does; the page shows the comment:
          export CI_API_V4_URL=http://127.0.0.1:PORT/api/v4 CI_PROJECT_ID=1 CI_MERGE_REQUEST_IID=1
          export CICD_COMMENT_TOKEN="$(cat ROOT/.xtask/sandbox/gitlab-token)"
          cargo xtask preview
          cargo xtask preview stop
        Or set the variables with: eval "$(cargo xtask sandbox merge-request --source new-home --target main --export)"
    "#]].assert_eq(&text);
    let json = env.xtask(&[&again[..], &["--json"]].concat()).exits(0).json();
    assert_eq!(
        (&json["iid"], &json["source"], &json["target"]),
        (&1.into(), &"new-home".into(), &"main".into())
    );
    let other =
        env.xtask(&["sandbox", "merge-request", "--source", "other", "--json"]).exits(0).json();
    assert_eq!(other["iid"], 2);
    let same = env.xtask(&["sandbox", "merge-request"]).exits(3).stderr;
    assert!(same.contains("`main` cannot be merged into itself"), "{same}");
}

#[test]
fn a_preview_with_own_bindings_is_shown_until_deleted() {
    let env = TestEnv::with_tools();
    preview_strategy::worker(&env, r#""previews": { "vars": { "STAGE": "preview" } },"#);
    let request = MergeRequest::in_env(env);
    let (env, mut browser) = (&request.env, Browser::open());
    let sandbox = format!("http://127.0.0.1:{}/", request.port);
    let mut pinned = Vec::new();
    for (pipeline, text) in [("101", "two"), ("102", "three")] {
        preview_strategy::edit(env, text);
        let ran = request.preview(pipeline).exits(0);
        let deployment = ran.record("api")["deployment"].as_str().expect("an id")[..8].to_owned();
        let links = links(&request.body());
        let own = |label: &str| format!("http://{label}-api.localhost:{}/", request.port);
        assert_eq!(links, [own("mr-42"), own(&deployment)]);
        for url in &links {
            browser.look(&json!({ "url": url, "text": format!("preview {text}") }));
        }
        pinned.push(links[1].clone());
        let table = "#api [aria-label='Previews with their own bindings of api']";
        let seen = browser.look(&json!({ "url": sandbox, "part": table, "text": deployment }));
        let shown = seen["text"].as_str().expect("text");
        // The columns are name, latest deployment, number of deployments, and time.
        let count = format!("\t{}\t", pinned.len());
        assert!(shown.contains("mr-42") && shown.contains(&count), "{shown}");
        assert_eq!(seen["complaints"], json!([]));
    }
    browser.look(&json!({ "url": pinned[0], "text": "preview two" }));

    request.push("103", &["preview", "stop", "--sandbox", "--json"]).exits(0);
    let body = request.body();
    assert!(body.contains("removed") && links(&body).is_empty(), "{body}");
    for url in [&format!("http://mr-42-api.localhost:{}/", request.port), &pinned[0], &pinned[1]] {
        assert_eq!(browser.look(&json!({ "url": url }))["status"], 404, "{url}");
    }
    let seen = browser.look(&json!({ "url": sandbox, "part": "#api", "text": "live" }));
    let shown = seen["text"].as_str().expect("text");
    assert!(!shown.to_lowercase().contains("their own bindings"), "{shown}");
    assert_eq!(env.fetch("api.localhost", "/").1, "production one");
}

#[test]
fn a_project_that_was_never_deployed_fails_no_preview() {
    let env = TestEnv::with_tools();
    env.site("projects/website", "website");
    let request = MergeRequest::in_env(env);
    let env = &request.env;
    env.site("projects/shop", "shop");
    env.write("projects/website/content.txt", "two");
    let ran = request.preview("101").exits(0);
    let fields = ["shop", "website"].map(|name| ran.record(name)["status"].clone());
    assert_eq!(fields, ["undeployed", "ready"].map(Value::from));
    let body = request.body();
    assert!(body.contains("| `shop` |  | not deployed yet"), "{body}");
    assert_eq!(links(&body).len(), 2, "of the other: {body}");
    let workers = env.fetch("127.0.0.1", "/__sandbox/state.json").1;
    assert!(!workers.contains("\"name\":\"shop\""), "nothing was made: {workers}");
    env.xtask(&["preview", "shop", "--env", "production", "--sandbox"]).exits(3);
}

#[test]
fn the_job_passes_without_a_token_and_prints_links() {
    let request = MergeRequest::open();
    let env = &request.env;
    env.write("projects/rawkode.academy/website/content.txt", "two");
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
    assert!(links.contains("mr-42-website.localhost"), "{links}");
}

#[test]
fn a_repository_that_is_one_project_has_the_name_of_its_worker_everywhere() {
    let env = TestEnv::with_tools();
    env.site(".", "whole");
    let request = MergeRequest::in_env(env);
    let env = &request.env;
    let listed = env.xtask(&["projects", "--json"]).exits(0).json();
    assert_eq!(listed["projects"][0]["name"], "whole");
    let table = env.xtask(&["projects"]).exits(0).stdout;
    assert!(table.lines().any(|line| line.trim_start().starts_with("whole")), "{table}");
    let deployed = env.xtask(&["deploy", "whole", "--env", "production", "--sandbox", "--json"]);
    assert!(deployed.stderr.contains("✓ whole  already live in production"), "{}", deployed.stderr);
    assert_eq!(deployed.exits(0).record("whole")["status"], "unchanged");
    env.write("content.txt", "two");
    env.write(
        "build.ts",
        "await Bun.write('dist/index.html', await Bun.file('content.txt').text());\n\
                           await Bun.write('dist/_redirects', '/old /new 404\\n');\n",
    );
    let ran = request.preview("101").exits(0);
    assert_eq!(ran.record("whole")["status"], "ready");
    let body = request.body();
    assert!(body.contains("| `whole` | [Open preview]("), "{body}");
    let warning = "whole has warnings</summary><pre>dist&#47;&#95;redirects&#58;1&#58; Cloudflare drops this line";
    assert!(body.contains(warning), "{body}");
    for command in ["status", "affected", "deploy --dry-run --engine host", "ci generate --dry-run"]
    {
        let words: Vec<&str> = command.split(' ').collect();
        let ran = env.xtask(&words);
        assert!(ran.stdout.contains("whole"), "{command}: {}{}", ran.stdout, ran.stderr);
    }
}
