//! Tests the lists, changes and fields of merge requests, and the error for unsupported requests.

use serde_json::{Value, json};

use crate::server::{BOT, ROOT, Server};

const ALL: &str = "/projects/12/merge_requests";

async fn open(server: &Server, title: &str, fields: Value) -> u64 {
    let mut body = json!({ "title": title, "source_branch": title.replace(' ', "-"), "target_branch": "main" });
    for (name, value) in fields.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    let made = server.post(ALL, "ann", body).await.is(201);
    made["iid"].as_u64().expect("an iid")
}

#[tokio::test]
async fn lists_are_filtered_as_at_gitlab() {
    let server = Server::new("filters");
    let one = open(
        &server,
        "Draft: Blue door",
        json!({ "labels": "a,b", "description": "with a handle" }),
    )
    .await;
    let two = open(&server, "Red window", json!({ "labels": "b" })).await;
    let three = open(&server, "Green roof", json!({ "target_branch": "next" })).await;
    server.put(&format!("{ALL}/{three}"), "ann", json!({ "state_event": "close" })).await.is(200);
    for (query, wanted) in [
        ("", vec![three, two, one]),
        ("state=opened", vec![two, one]),
        ("state=closed", vec![three]),
        ("search=WINDOW", vec![two]),
        ("search=handle", vec![one]),
        ("search=handle&in=title", vec![]),
        ("labels=b", vec![two, one]),
        ("labels=a,b", vec![one]),
        ("labels=None", vec![three]),
        ("wip=yes", vec![one]),
        ("wip=no", vec![three, two]),
        ("author_username=ann", vec![three, two, one]),
        ("author_username=missing", vec![]),
        ("author_id=1", vec![]),
        ("scope=created_by_me", vec![three, two, one]),
        ("scope=assigned_to_me", vec![]),
        ("target_branch=next", vec![three]),
        ("created_after=2999-01-01", vec![]),
        ("created_before=2999-01-01T00:00:00%2B02:00", vec![three, two, one]),
        ("order_by=title&sort=asc", vec![one, three, two]),
        ("milestone=None&labels=a", vec![one]),
    ] {
        let found = server.get(&format!("{ALL}?{query}"), "ann").await.is(200);
        let iids: Vec<u64> = found
            .as_array()
            .expect("a list")
            .iter()
            .map(|one| one["iid"].as_u64().expect("an iid"))
            .collect();
        assert_eq!(iids, wanted, "{query}");
    }
    server.get(&format!("{ALL}?created_after=yesterday"), "ann").await.is(400);
}

/// GitLab passes over what it does not know. The sandbox knows less, so that it says so.
#[tokio::test]
async fn unsupported_requests_are_refused() {
    let server = Server::new("unknown");
    let notes = server.open_merge_request().await;
    for (path, named) in [
        (format!("{ALL}?approved_by_ids=1"), "approved_by_ids"),
        (format!("{ALL}?not[labels]=a"), "not[labels]"),
        (format!("{ALL}/42?with_stats=true"), "with_stats"),
        (format!("{ALL}/42/approvals?rules=1"), "rules"),
        ("/user?with_custom_attributes=true".to_owned(), "with_custom_attributes"),
        ("/version?verbose=1".to_owned(), "verbose"),
        (format!("{notes}?since=1"), "since"),
        ("/projects/12/deployments?finished_after=2026-01-01".to_owned(), "finished_after"),
        ("/projects/12/environments?order=x".to_owned(), "order"),
        ("/projects/12/issues".to_owned(), "GET /gitlab/api/v4/projects/12/issues"),
        ("/projects/12/repository/tree".to_owned(), "tree"),
        ("/projects/12/repository/branches".to_owned(), "--gitlab-repository"),
        (format!("{ALL}/42/commits"), "--gitlab-repository"),
        (format!("{ALL}/42/diffs"), "--gitlab-repository"),
        ("/groups".to_owned(), "groups"),
    ] {
        let refusal = server.get(&path, "ann").await.is(501);
        let text = refusal["message"].as_str().expect("a message").to_owned();
        assert!(text.starts_with("501 Not Implemented") && text.contains(named), "{path}: {text}");
    }
    // Renovate asks for these.
    let path = format!("{ALL}/42?include_diverged_commits_count=1&include_rebase_in_progress=true");
    let one = server.get(&path, "ann").await.is(200);
    assert_eq!(
        (&one["diverged_commits_count"], &one["rebase_in_progress"]),
        (&json!(0), &json!(false))
    );
    // `glab mr view` asks for HTML.
    let text = json!({ "title": "a < b", "description": "**bold**" });
    server.put(&format!("{ALL}/42"), "ann", text).await.is(200);
    let one = server.get(&format!("{ALL}/42?render_html=true"), "ann").await.is(200);
    assert_eq!(one["title_html"], "a &lt; b");
    let html = one["description_html"].as_str().expect("HTML");
    assert!(html.contains("<strong>bold</strong>"), "{html}");
    server.get(&format!("{ALL}?per_page=0"), "ann").await.is(400);
    server.delete(&format!("{ALL}/42/approvals"), "ann").await.is(501);
    server.put(&format!("{ALL}/42"), "ann", json!({ "milestone_id": 1 })).await.is(501);
    // Without a valid token the response tells nothing.
    server.get("/groups", "invalid").await.is(401);
}

#[tokio::test]
async fn invalid_requests_are_refused() {
    let server = Server::new("refuses");
    server.open_merge_request().await;
    let same = json!({ "title": "t", "source_branch": "main", "target_branch": "main" });
    let refusal = server.post(ALL, "ann", same).await.is(422);
    assert_eq!(refusal["message"][0], "You can't use same project/branch for source and target");
    let refusal = server.put(&format!("{ALL}/42"), "ann", json!({})).await.is(400);
    let text = refusal["error"].as_str().expect("an error");
    assert!(text.ends_with("are missing, at least one parameter must be provided"), "{text}");
    for sha in ["", "xyz", "not-a-commit-not-a-commit", &"a".repeat(41)] {
        let body = json!({ "environment": "production", "status": "success", "sha": sha, "ref": "main", "tag": false });
        let refusal = server.post("/projects/12/deployments", "ann", body).await.is(400);
        assert_eq!(refusal["message"]["sha"][0], "The commit does not exist", "{sha}");
    }
    let sha = json!({ "sha": "0".repeat(40) });
    server.put(&format!("{ALL}/42/merge"), "ann", sha).await.is(409);
    let one = server.get(&format!("{ALL}/42"), "ann").await.is(200);
    let sha = json!({ "sha": one["sha"] });
    let merged = server.put(&format!("{ALL}/42/merge"), "ann", sha).await.is(200);
    assert_eq!(merged["merged_by"]["username"], "ann");
    assert!(merged["merge_commit_sha"].is_string() && merged["merged_at"].is_string());
    // A later comment moves no date.
    server.post(&format!("{ALL}/42/notes"), "ann", json!({ "body": "late" })).await.is(201);
    let later = server.get(&format!("{ALL}/42"), "ann").await.is(200);
    assert_eq!(later["merged_at"], merged["merged_at"]);
}

#[tokio::test]
async fn discussions_approvals_pipelines_and_fields_are_returned() {
    let server = Server::new("discussions");
    let notes = server.open_merge_request().await;
    let note = server.note(&notes, "ann", "hello").await;
    let found = server.get(&format!("{ALL}/42/discussions"), "ann").await.is(200);
    assert_eq!(found[0]["notes"][0]["id"], note);
    assert_eq!(found[0]["individual_note"], true);
    let id = found[0]["id"].as_str().expect("an id");
    assert_eq!(server.get(&format!("{ALL}/42/discussions/{id}"), "ann").await.is(200), found[0]);
    server.get(&format!("{ALL}/42/discussions/none"), "ann").await.is(404);
    let approvals = server.get(&format!("{ALL}/42/approvals"), "ann").await.is(200);
    assert_eq!((&approvals["approved"], &approvals["approvals_left"]), (&json!(false), &json!(0)));
    server.post(&notes, "ann", json!({ "body": "/approve" })).await.is(202);
    let approvals = server.get(&format!("{ALL}/42/approvals"), "ann").await.is(200);
    assert_eq!(approvals["approved_by"][0]["user"]["username"], "ann");
    for list in [
        "pipelines",
        "jobs",
        "merge_requests/42/pipelines",
        "merge_requests/42/approval_rules",
        "merge_requests/42/closes_issues",
    ] {
        let path = format!("/projects/12/{list}");
        assert_eq!(server.get(&path, "ann").await.is(200), json!([]), "{list}");
        server.get(&path.replace("42", "43"), "ann").await.is(if list.contains("42") {
            404
        } else {
            200
        });
    }
    server.note(&notes, BOT, "a report").await;
    server.post(&notes, "ann", json!({ "body": "/assign @eve" })).await.is(202);
    let found = server.get(&format!("{ALL}/42/participants"), "ann").await.is(200);
    let names = found.as_array().expect("a list").iter().map(|user| user["username"].clone());
    let names: Vec<Value> = names.collect();
    assert_eq!(names[..2], [json!("ann"), json!("eve")], "{found}");
    assert!(names[2].as_str().is_some_and(|name| name.starts_with("project_12_bot_")), "{found}");
    assert_eq!(names.len(), 3, "a system note does not count: {found}");
    server.get("/projects/12/pipelines/5", "ann").await.is(404);
    let one = server.get(&format!("{ALL}/42"), "ann").await.is(200);
    for field in ["sha", "diff_refs", "references", "task_completion_status", "time_stats", "user"]
    {
        assert!(!one[field].is_null(), "{field}");
    }
    for field in ["milestone", "head_pipeline", "merge_commit_sha", "assignee", "merged_by"] {
        assert!(one.as_object().expect("an object").contains_key(field), "{field}");
    }
    assert_eq!(one["diff_refs"]["head_sha"], one["sha"]);
}

/// GitLab's Go library sends `null` for a call without options.
#[tokio::test]
async fn a_body_of_null_is_an_empty_one() {
    let server = Server::new("null");
    server.open_merge_request().await;
    let merge = async |body: &'static str| {
        let url =
            format!("http://127.0.0.1:{}{ROOT}/projects/12/merge_requests/42/merge", server.port);
        let request = server.client.put(url).header("private-token", "boss");
        let request = request.header("content-type", "application/json").body(body);
        request.send().await.expect("an answer").status().as_u16()
    };
    assert_eq!(merge("[]").await, 400);
    assert_eq!(merge("null").await, 200);
    assert_eq!(merge("null").await, 405);
}
