//! GitLab's API as a client meets it: tokens, notes and their pages, quick actions, limits, durability.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

const TOKEN: &str = "canary-5b1e";
const BOT: &str = "glpat-canary-bot";
const ROOT: &str = "/gitlab/api/v4";

/// A server of its own for each test, ended with it.
struct Server {
    child: Child,
    dir: PathBuf,
    port: u16,
    client: reqwest::Client,
}

/// An answer.
struct Answer {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("text"))
    }

    /// Checks the status and gives the document.
    fn is(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        if self.text.is_empty() { Value::Null } else { self.json() }
    }
}

fn tool(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run `cargo xtask test`"))
}

fn tokens() -> Value {
    json!([
        { "token": BOT, "kind": "project", "project": 12 },
        { "token": "new-bot", "kind": "project", "project": 12 },
        { "token": "ann", "kind": "personal", "user": "ann", "role": "developer" },
        { "token": "boss", "kind": "personal", "user": "boss" },
        { "token": "guest", "kind": "personal", "user": "guest", "role": "guest" },
        { "token": "reads", "kind": "read_api", "user": "ann" },
        { "token": "job", "kind": "job", "user": "ann", "project": 12 },
        { "token": "old", "kind": "expired", "user": "ann" },
        { "token": "other", "kind": "project", "project": 13 },
    ])
}

impl Server {
    fn new(name: &str) -> Server {
        let name = format!("gitlab-{name}-{}", std::process::id());
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&dir).expect("a folder");
        Server::on(dir, Some(&tokens().to_string()), &[])
    }

    fn on(dir: PathBuf, tokens: Option<&str>, arguments: &[&str]) -> Server {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sandbox"));
        command.arg("serve").arg("--state").arg(&dir).args(["--account-id", &"0".repeat(32)]);
        command.args(["--port", "0", "--gitlab-root", "/gitlab"]).args(arguments);
        command.args(["--bun", &tool("XTASK_BUN"), "--toolchain", &tool("XTASK_TOOLCHAIN")]);
        command.env("SANDBOX_TOKEN", TOKEN).stdout(Stdio::null()).stderr(Stdio::null());
        command.env("SANDBOX_GITLAB_TOKENS", tokens.unwrap_or_default());
        let child = command.spawn().expect("the sandbox runs");
        let mut server = Server { child, dir, port: 0, client: client() };
        let started = Instant::now();
        while server.port == 0 {
            assert!(started.elapsed() < Duration::from_secs(20), "the sandbox does not start");
            std::thread::sleep(Duration::from_millis(20));
            let file = server.dir.join("server.json");
            let said: Value =
                serde_json::from_str(&std::fs::read_to_string(file).unwrap_or_default())
                    .unwrap_or_default();
            if said["pid"] == server.child.id() {
                server.port =
                    u16::try_from(said["port"].as_u64().expect("a port")).expect("a port");
            }
        }
        server
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    async fn send(&self, method: Method, path: &str, header: (&str, &str), body: Value) -> Answer {
        let mut request = self.client.request(method, self.url(path)).header(header.0, header.1);
        if !body.is_null() {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let answer = request.send().await.expect("an answer");
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        Answer { status, headers, text: answer.text().await.expect("text") }
    }

    async fn get(&self, path: &str, token: &str) -> Answer {
        self.send(Method::GET, &format!("{ROOT}{path}"), ("private-token", token), Value::Null)
            .await
    }

    async fn post(&self, path: &str, token: &str, body: Value) -> Answer {
        self.send(Method::POST, &format!("{ROOT}{path}"), ("private-token", token), body).await
    }

    async fn put(&self, path: &str, token: &str, body: Value) -> Answer {
        self.send(Method::PUT, &format!("{ROOT}{path}"), ("private-token", token), body).await
    }

    async fn delete(&self, path: &str, token: &str) -> Answer {
        let path = format!("{ROOT}{path}");
        self.send(Method::DELETE, &path, ("private-token", token), Value::Null).await
    }

    /// Opens merge request 42 of project 12; the path of its notes.
    async fn opened(&self) -> String {
        let body = json!({ "iid": 42, "title": "A preview", "source_branch": "feature", "target_branch": "main" });
        let made = self.post("/projects/12/merge_requests", "ann", body).await.is(201);
        assert_eq!((&made["iid"], &made["project_id"]), (&json!(42), &json!(12)));
        assert_ne!(made["id"], made["iid"], "an id in the place of an iid is noticed");
        "/projects/12/merge_requests/42/notes".to_owned()
    }

    async fn note(&self, notes: &str, token: &str, body: &str) -> u64 {
        let made = self.post(notes, token, json!({ "body": body })).await.is(201);
        made["id"].as_u64().expect("an id")
    }

    async fn switch(&self, switches: Value) {
        let header = ("authorization", format!("Bearer {TOKEN}"));
        let answer =
            self.send(Method::PUT, "/__sandbox/gitlab", (header.0, &header.1), switches).await;
        assert_eq!(answer.status, 204, "{}", answer.text);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().expect("it can be ended");
        self.child.wait().expect("it ends");
        if !std::thread::panicking() {
            std::fs::remove_dir_all(&self.dir).unwrap_or_default();
        }
    }
}

fn client() -> reqwest::Client {
    let builder = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
    builder.build().expect("a client")
}

#[tokio::test]
async fn each_kind_of_token_opens_what_it_does_at_gitlab() {
    let server = Server::new("tokens");
    let notes = server.opened().await;
    let body = json!({ "body": "hello" });
    let get = async |path: &str, header: (&str, &str)| {
        server.send(Method::GET, &format!("{ROOT}{path}"), header, Value::Null).await
    };
    let post = async |path: &str, header: (&str, &str)| {
        server.send(Method::POST, &format!("{ROOT}{path}"), header, body.clone()).await
    };
    let unauthorized = json!({ "message": "401 Unauthorized" });
    for header in [
        ("accept", "*/*"),
        ("private-token", "wrong"),
        ("private-token", ""),
        ("private-token", "job"),
        ("authorization", "Bearer job"),
        ("job-token", BOT),
        ("authorization", "Basic abc"),
    ] {
        assert_eq!(get("/user", header).await.is(401), unauthorized, "{header:?}");
        assert_eq!(post(&notes, header).await.is(401), unauthorized, "{header:?}");
    }
    assert_eq!(get("/user", ("private-token", "old")).await.is(401)["error"], "invalid_token");
    let me = get("/user", ("authorization", &format!("Bearer {BOT}"))).await.is(200);
    assert!(me["username"].as_str().expect("a name").starts_with("project_12_bot_"), "{me}");
    let again = get("/user", ("private-token", BOT)).await.is(200);
    assert_eq!((&me["id"], &me["bot"]), (&again["id"], &json!(true)));
    assert_ne!(get("/user", ("private-token", "new-bot")).await.is(200)["id"], me["id"]);

    get(&notes, ("private-token", "reads")).await.is(200);
    let refused = post(&notes, ("private-token", "reads")).await.is(403);
    assert_eq!(
        (&refused["error"], &refused["scope"]),
        (&json!("insufficient_scope"), &json!("api"))
    );

    get(&notes, ("job-token", "job")).await.is(200);
    get("/projects/12/merge_requests/42", ("job-token", "job")).await.is(200);
    for path in ["/user", "/personal_access_tokens/self", "/version"] {
        assert_eq!(get(path, ("job-token", "job")).await.is(401), unauthorized, "{path}");
    }
    assert_eq!(post(&notes, ("job-token", "job")).await.is(401), unauthorized);

    let missing = json!({ "message": "404 Project Not Found" });
    assert_eq!(get(&notes, ("private-token", "other")).await.is(404), missing);
    assert_eq!(get("/projects/99", ("private-token", "ann")).await.is(404), missing);
    let not_found = json!({ "message": "404 Not found" });
    for path in [
        "/projects/12/merge_requests/1001/notes",
        "/projects/12/merge_requests/x",
        &format!("{notes}/1"),
    ] {
        assert_eq!(get(path, ("private-token", BOT)).await.is(404), not_found, "{path}");
    }
    assert_eq!(
        get("/no/such/route", ("private-token", BOT)).await.is(404)["error"],
        "404 Not Found"
    );
    let by_path = get("/projects/sandbox%2Fproject-12/merge_requests/42", ("private-token", BOT));
    assert_eq!(by_path.await.is(200)["iid"], 42);
    let token = get("/personal_access_tokens/self", ("private-token", "reads")).await.is(200);
    assert_eq!(token["scopes"], json!(["read_api"]));
    let plain = server.send(Method::GET, "/api/v4/version", ("private-token", BOT), Value::Null);
    assert!(plain.await.is(200)["version"].is_string(), "also without the relative root");
}

#[tokio::test]
async fn notes_are_paged_by_headers_and_a_page_may_be_short() {
    let server = Server::new("pages");
    let notes = server.opened().await;
    let mut ids = Vec::new();
    for number in 1..=7 {
        ids.push(server.note(&notes, BOT, &format!("note {number}")).await);
    }
    server.switch(json!({ "unreadable": [ids[2], ids[3]] })).await;
    let mut page = format!("{notes}?sort=asc&per_page=2&activity_filter=only_comments");
    let (mut found, mut sizes) = (Vec::new(), Vec::new());
    loop {
        let answer = server.get(&page, BOT).await;
        let rows = answer.is(200);
        let rows = rows.as_array().expect("a list").clone();
        sizes.push(rows.len());
        found.extend(rows.iter().map(|note| note["id"].as_u64().expect("an id")));
        assert_eq!(
            (answer.header("x-total"), answer.header("x-total-pages")),
            (Some("7"), Some("4"))
        );
        assert_eq!(answer.header("x-per-page"), Some("2"));
        let link = answer.header("link").expect("links").to_owned();
        let next = answer.header("x-next-page").expect("a header");
        assert_eq!(link.contains("rel=\"next\""), !next.is_empty(), "{link}");
        if next.is_empty() {
            break;
        }
        let next = link.split(", ").find(|link| link.ends_with("rel=\"next\"")).expect("a link");
        let address = next.split(['<', '>']).nth(1).expect("an address");
        let path = address.strip_prefix(&server.url(ROOT)).expect("below the relative root");
        path.clone_into(&mut page);
    }
    assert_eq!(sizes, [2, 0, 2, 1], "unreadable notes are cut out of their pages");
    assert_eq!(found, [ids[0], ids[1], ids[4], ids[5], ids[6]]);
    server.get(&format!("{notes}/{}", ids[2]), BOT).await.is(404);

    let newest = server.get(&format!("{notes}?per_page=500"), BOT).await;
    assert_eq!(
        (newest.header("x-per-page"), newest.json()[0]["id"].as_u64()),
        (Some("100"), Some(ids[6]))
    );
    server.put(&format!("{notes}/{}", ids[0]), BOT, json!({ "body": "later" })).await.is(200);
    let updated = server.get(&format!("{notes}?order_by=updated_at"), BOT).await.is(200);
    assert_eq!(updated[0]["id"], ids[0]);
    assert_eq!(
        server.get(&format!("{notes}?sort=up"), BOT).await.is(400)["error"],
        "sort does not have a valid value"
    );
    assert_eq!(
        server.get(&format!("{notes}?page=x"), BOT).await.is(400)["error"],
        "page is invalid"
    );
    let internal = json!({ "body": "for members", "internal": true });
    server.post(&notes, BOT, internal).await.is(201);
    let guest = server.get(&format!("{notes}?per_page=1"), "guest").await;
    assert_eq!((guest.is(200), guest.header("x-next-page")), (json!([]), Some("2")));
}

#[tokio::test]
async fn notes_are_made_edited_and_deleted_by_those_who_may() {
    let server = Server::new("notes");
    let notes = server.opened().await;
    let id = server.note(&notes, BOT, "<!-- marker -->\r\n| a |\r\n|---|\r\n").await;
    let note = format!("{notes}/{id}");
    let first = server.get(&note, "ann").await.is(200);
    assert_eq!(first["body"], "<!-- marker -->\n| a |\n|---|", "as GitLab stores it");
    assert_eq!(
        (&first["system"], &first["resolvable"], &first["type"]),
        (&json!(false), &json!(false), &Value::Null)
    );
    let same = server.put(&note, BOT, json!({ "body": first["body"] })).await.is(200);
    assert_eq!(same["updated_at"], first["updated_at"], "nothing was changed");
    assert_eq!(
        server.put(&note, "ann", json!({ "body": "x" })).await.is(403)["message"],
        "403 Forbidden"
    );
    server.put(&note, "new-bot", json!({ "body": "x" })).await.is(403);
    server.delete(&note, "ann").await.is(403);
    server.put(&note, "boss", json!({ "body": "a maintainer may" })).await.is(200);
    assert_eq!(server.get(&note, BOT).await.is(200)["author"], first["author"]);

    assert_eq!(server.post(&notes, BOT, json!({})).await.is(400)["error"], "body is missing");
    assert_eq!(
        server.put(&note, BOT, json!({ "body": " " })).await.is(400)["error"],
        "body is empty"
    );
    let blank = server.post(&notes, BOT, json!({ "body": "\n" })).await.is(400);
    assert!(blank["message"].as_str().expect("a text").contains("can't be blank"), "{blank}");
    server.post(&notes, BOT, json!({ "body": "é".repeat(1_000_000) })).await.is(201);
    let long = server.post(&notes, BOT, json!({ "body": "é".repeat(1_000_001) })).await.is(400);
    assert!(long["message"].as_str().expect("a text").contains("maximum is 1000000"), "{long}");
    let form =
        server.client.post(server.url(&format!("{ROOT}{notes}"))).header("private-token", BOT);
    let form =
        form.header("content-type", "application/x-www-form-urlencoded").body("body=a%20form+too");
    assert_eq!(form.send().await.expect("an answer").status(), 201);

    server.delete(&note, BOT).await.is(204);
    server.delete(&note, BOT).await.is(404);
    server.put(&note, BOT, json!({ "body": "x" })).await.is(404);
}

#[tokio::test]
async fn quick_actions_act() {
    let server = Server::new("actions");
    let notes = server.opened().await;
    let request = "/projects/12/merge_requests/42";
    let note = server
        .post(&notes, BOT, json!({ "body": "title:\n/label ~bug ~\"two words\"\n/close\nend" }))
        .await
        .is(201);
    assert_eq!(
        (&note["body"], &note["commands_changes"]["state_event"]),
        (&json!("title:\nend"), &json!("close"))
    );
    let now = server.get(request, BOT).await.is(200);
    assert_eq!((&now["state"], &now["labels"]), (&json!("closed"), &json!(["bug", "two words"])));
    let system =
        server.get(&format!("{notes}?activity_filter=only_activity&sort=asc"), BOT).await.is(200);
    assert_eq!(system[1]["body"], "closed");
    assert_eq!(system[1]["system"], true);
    let path = format!("{notes}/{}", system[1]["id"]);
    server.put(&path, "boss", json!({ "body": "not by hand" })).await.is(403);

    let only = server.post(&notes, BOT, json!({ "body": "/reopen\r\n" })).await.is(202);
    assert_eq!(only["summary"], json!(["Reopened this merge request."]));
    assert!(only.get("id").is_none());
    let failed = server.post(&notes, "guest", json!({ "body": "/merge" })).await.is(400);
    assert!(failed["message"].as_str().expect("a text").contains("merge"), "{failed}");
    let quoted = "`/close`\n```\n/close\n```\n- /close";
    let note = server.post(&notes, BOT, json!({ "body": quoted })).await.is(201);
    assert_eq!(note["body"], quoted);
    assert_eq!(server.get(request, BOT).await.is(200)["state"], "opened");

    let path = format!("{notes}/{}", note["id"]);
    server.put(&path, BOT, json!({ "body": "/merge" })).await.is(400);
    server.get(&path, BOT).await.is(404);
    assert_eq!(server.get(request, BOT).await.is(200)["state"], "merged");
}

#[tokio::test]
async fn both_kinds_of_429() {
    let server = Server::new("limits");
    let notes = server.opened().await;
    server.switch(json!({ "throttled": 1, "retry_after": 3, "notes_limited": 1 })).await;
    let throttled = server.get("/user", BOT).await;
    assert_eq!((throttled.status, throttled.text.as_str()), (429, "Retry later\n"));
    assert_eq!(throttled.header("retry-after"), Some("3"));
    assert!(throttled.header("ratelimit-reset").is_some_and(|unix| unix.parse::<u64>().is_ok()));
    server.get("/user", BOT).await.is(200);
    let limited = server.post(&notes, BOT, json!({ "body": "x" })).await;
    let said = limited.is(429)["message"]["error"].as_str().expect("a text").to_owned();
    assert!(said.contains("requested too many times"), "{said}");
    assert_eq!(limited.header("retry-after"), None);
    server.note(&notes, BOT, "x").await;
    server.switch(json!({ "notes_per_minute": 2 })).await;
    server.note(&notes, BOT, "x").await;
    server.post(&notes, BOT, json!({ "body": "x" })).await.is(429);
    server.note(&notes, "ann", "another user has a limit of its own").await;
}

#[tokio::test]
async fn deployments_and_environments() {
    let server = Server::new("deployments");
    let job = async |method: Method, path: &str, body: Value| {
        server.send(method, &format!("{ROOT}/projects/12{path}"), ("job-token", "job"), body).await
    };
    let missing =
        job(Method::POST, "/deployments", json!({ "environment": "production" })).await.is(400);
    assert_eq!(
        missing["error"],
        "sha is missing, ref is missing, tag is missing, status is missing"
    );
    for (environment, status, sha) in [
        ("production", "success", "a"),
        ("production", "failed", "b"),
        ("review/5/site", "success", "c"),
        ("production", "success", "d"),
    ] {
        let body = json!({ "environment": environment, "status": status, "sha": sha, "ref": "main", "tag": false });
        job(Method::POST, "/deployments", body).await.is(201);
    }
    let found = job(
        Method::GET,
        "/deployments?environment=production&status=success&order_by=id&sort=desc&per_page=1",
        Value::Null,
    )
    .await;
    let rows = found.is(200);
    assert_eq!(
        (rows[0]["sha"].as_str(), rows[0]["iid"].as_u64(), found.header("x-total")),
        (Some("d"), Some(4), Some("2"))
    );
    let review =
        job(Method::GET, "/environments?name=review%2F5%2Fsite", Value::Null).await.is(200);
    assert_eq!(
        (&review[0]["state"], &review[0]["tier"]),
        (&json!("available"), &json!("development"))
    );
    let slug = review[0]["slug"].as_str().expect("a slug");
    assert!(slug.starts_with("review-5-site-") && slug.len() <= 24, "{slug}");
    let path = format!("/environments/{}", review[0]["id"]);
    assert_eq!(job(Method::GET, &path, Value::Null).await.is(200)["last_deployment"]["sha"], "c");
    job(Method::DELETE, &path, Value::Null).await.is(403);
    for _ in 0..2 {
        let stopped =
            job(Method::POST, &format!("{path}/stop"), json!({ "force": true })).await.is(200);
        assert_eq!(stopped["state"], "stopped");
    }
    let stopped = job(Method::GET, "/environments?states=stopped", Value::Null).await.is(200);
    assert_eq!(stopped.as_array().map(Vec::len), Some(1));
    job(Method::DELETE, &path, Value::Null).await.is(204);
    job(Method::POST, "/environments/1/stop", Value::Null).await.is(404);
    let url = json!({ "name": "staging", "external_url": "javascript:alert(1)" });
    job(Method::POST, "/environments", url).await.is(400);
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill_and_no_token_is_written() {
    let mut server = Server::new("kill");
    let notes = server.opened().await;
    let mut ids = Vec::new();
    for round in 0..5 {
        ids.push(server.note(&notes, BOT, &format!("round {round}")).await);
        server.child.kill().expect("it can be killed");
        server.child.wait().expect("it ends");
        let next = Server::on(server.dir.clone(), Some(&tokens().to_string()), &[]);
        std::mem::forget(std::mem::replace(&mut server, next));
        let found = server.get(&format!("{notes}?sort=asc"), BOT).await.is(200);
        let found: Vec<u64> = found
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(|note| note["id"].as_u64())
            .collect();
        assert_eq!(found, ids);
    }
    assert!(!server.dir.join("gitlab-token").exists());
    for entry in ["gitlab/12.json", "server.json"] {
        let text = std::fs::read_to_string(server.dir.join(entry)).expect("a file");
        assert!(!text.contains(BOT) && !text.contains(TOKEN), "{entry}");
    }
}

#[tokio::test]
async fn without_tokens_one_is_made_and_a_given_project_is_the_only_one() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("gitlab-own-{}", std::process::id()));
    let server = Server::on(dir, None, &["--gitlab-project", "7"]);
    let file = server.dir.join("gitlab-token");
    let mode = file.metadata().expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let token = std::fs::read_to_string(file).expect("a token");
    assert!(token.starts_with("glpat-"));
    assert_eq!(
        server.get("/projects/7", &token).await.is(200)["path_with_namespace"],
        "sandbox/project-7"
    );
    let body = json!({ "title": "t", "source_branch": "f", "target_branch": "main" });
    server.post("/projects/8/merge_requests", &token, body.clone()).await.is(404);
    let made = server.post("/projects/7/merge_requests", &token, body.clone()).await.is(201);
    assert_eq!(made["iid"], 1);
    server.post("/projects/7/merge_requests", &token, body).await.is(409);
    let address = made["web_url"].as_str().expect("an address");
    let page = server.client.get(address).send().await.expect("an answer");
    assert_eq!(
        page.headers().get("location").map(|to| to.to_str().expect("text")),
        Some("/#mr-7-1")
    );
}

#[tokio::test]
async fn the_page_shows_comments_and_runs_nothing_of_theirs() {
    let server = Server::new("page");
    let notes = server.opened().await;
    let id = server.note(&notes, BOT, "first").await;
    let body = "<!-- m -->\n| site | state |\n|---|---|\n| **shop** | ready |\n\n<script>alert(1)</script>";
    server.put(&format!("{notes}/{id}"), BOT, json!({ "body": body })).await.is(200);
    let plain = ("accept", "*/*");
    let page = server.send(Method::GET, "/", plain, Value::Null).await;
    let policy = page.header("content-security-policy").expect("a policy");
    let nonce =
        policy.split("'nonce-").nth(1).and_then(|rest| rest.split('\'').next()).expect("a nonce");
    assert!(page.text.contains(&format!("nonce=\"{nonce}\"")) && !page.text.contains("NONCE"));
    let state = server.send(Method::GET, "/__sandbox/state.json", plain, Value::Null).await.is(200);
    let request = &state["mergeRequests"][0];
    assert_eq!(
        (&request["iid"], &request["state"], &request["author"]),
        (&json!(42), &json!("opened"), &json!("ann"))
    );
    let comment = &request["comments"][0];
    assert!(comment["editedAt"].is_string());
    let html = comment["html"].as_str().expect("HTML");
    assert!(html.contains("<td><strong>shop</strong></td>") && !html.contains("<script"), "{html}");
}

#[tokio::test]
async fn gitbeaker_works_unchanged() {
    let server = Server::new("gitbeaker");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/gitbeaker");
    let run = |arguments: &[&str]| {
        let mut command = Command::new(tool("XTASK_BUN"));
        command.current_dir(&folder).args(arguments);
        command.env("GITLAB_URL", server.url("/gitlab")).env("GITLAB_TOKEN", "ann");
        let output = command.output().expect("Bun runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stdout));
    };
    run(&["install", "--frozen-lockfile", "--ignore-scripts"]);
    run(&["notes.ts"]);
}

#[tokio::test]
async fn a_body_that_nobody_needs_does_not_end_the_connection() {
    use std::io::{Read as _, Write as _};
    let server = Server::new("connection");
    server.opened().await;
    let mut connection =
        std::net::TcpStream::connect(("127.0.0.1", server.port)).expect("a connection");
    connection.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    connection.set_nodelay(true).expect("no delay");
    let path = format!("{ROOT}/projects/12/merge_requests/42/notes");
    for _ in 0..3 {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\nprivate-token: wrong\r\ncontent-length: 2\r\n\r\n"
        );
        connection.write_all(head.as_bytes()).expect("the head is sent");
        std::thread::sleep(Duration::from_millis(50));
        connection.write_all(b"{}").expect("the body is sent");
        let mut answer = [0; 4096];
        let length = connection.read(&mut answer).expect("an answer");
        assert!(
            answer[..length].starts_with(b"HTTP/1.1 401"),
            "{}",
            String::from_utf8_lossy(&answer[..length])
        );
    }
}
