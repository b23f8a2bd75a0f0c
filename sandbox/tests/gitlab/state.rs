//! Tests deployments, the stored state, the page, and an independent client.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::server::wait::max_wait;
use crate::server::*;

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
        ("production", "success", "aaaaaaa"),
        ("production", "failed", "bbbbbbb"),
        ("review/5/site", "success", "ccccccc"),
        ("production", "success", "ddddddd"),
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
        (Some("ddddddd"), Some(4), Some("2"))
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
    assert_eq!(
        job(Method::GET, &path, Value::Null).await.is(200)["last_deployment"]["sha"],
        "ccccccc"
    );
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
async fn variables_and_schedules_are_read_and_deleted() {
    let server = Server::new("variables");
    let send = async |token: &str, method: Method, path: &str, body: Value| {
        let path = format!("{ROOT}/projects/12{path}");
        server.send(method, &path, ("private-token", token), body).await
    };
    let project = json!({ "name": "review/x", "description": "of a branch" });
    let made = send("boss", Method::POST, "/environments", project).await.is(201);
    assert_eq!(made["description"], "of a branch");
    for scope in ["*", "production"] {
        let body = json!({ "key": "KEY", "value": "hush", "environment_scope": scope });
        send("boss", Method::POST, "/variables", body).await.is(201);
    }
    let path = "/variables/KEY";
    send("boss", Method::GET, path, Value::Null).await.is(409);
    let scoped = format!("{path}?filter%5Benvironment_scope%5D=production");
    let found = send("boss", Method::GET, &scoped, Value::Null).await.is(200);
    assert_eq!(
        (&found["environment_scope"], &found["value"]),
        (&json!("production"), &Value::Null)
    );
    send("ann", Method::GET, &scoped, Value::Null).await.is(403);
    send("boss", Method::DELETE, &scoped, Value::Null).await.is(204);
    send("boss", Method::GET, path, Value::Null).await.is(200);
    send("boss", Method::DELETE, path, Value::Null).await.is(204);
    send("boss", Method::DELETE, path, Value::Null).await.is(404);
    let body = json!({ "description": "nightly", "ref": "main", "cron": "0 1 * * *" });
    let made = send("boss", Method::POST, "/pipeline_schedules", body).await.is(201);
    let path = format!("/pipeline_schedules/{}", made["id"]);
    let found = send("ann", Method::GET, &path, Value::Null).await.is(200);
    assert_eq!((&found["description"], &found["variables"]), (&json!("nightly"), &json!([])));
    send("ann", Method::DELETE, &path, Value::Null).await.is(403);
    send("boss", Method::DELETE, &path, Value::Null).await.is(204);
    send("boss", Method::GET, &path, Value::Null).await.is(404);
}

#[tokio::test]
async fn acknowledged_changes_survive_a_kill_and_no_token_is_written() {
    let mut server = Server::new("kill");
    let notes = server.open_merge_request().await;
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
async fn a_missing_token_is_created_and_the_project_option_limits_the_projects() {
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
async fn the_page_shows_comments_without_their_scripts() {
    let server = Server::new("page");
    let notes = server.open_merge_request().await;
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
    let fixture = crate::repository::Fixture::new("gitbeaker").await;
    let server = &fixture.server;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/gitbeaker");
    let run = |arguments: &[&str]| {
        let mut command = Command::new(tool("XTASK_BUN"));
        command.current_dir(&folder).args(arguments);
        command.env("GITLAB_URL", server.url("/gitlab")).env("GITLAB_TOKEN", "ann");
        let output = command.output().expect("Bun runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{stderr}{}", String::from_utf8_lossy(&output.stdout));
    };
    run(&["install", "--frozen-lockfile", "--ignore-scripts"]);
    run(&["danger.ts"]);
    run(&["notes.ts"]);
}

#[tokio::test]
async fn an_unused_body_does_not_end_the_connection() {
    use std::io::{Read as _, Write as _};
    let server = Server::new("connection");
    server.open_merge_request().await;
    let mut connection =
        std::net::TcpStream::connect(("127.0.0.1", server.port)).expect("a connection");
    connection.set_read_timeout(Some(max_wait())).expect("a timeout");
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
