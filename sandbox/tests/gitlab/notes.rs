//! Tests tokens, notes, quick actions and limits.

use reqwest::Method;
use serde_json::{Value, json};

use crate::server::*;

#[tokio::test]
async fn each_kind_of_token_has_gitlab_s_permissions() {
    let server = Server::new("tokens");
    let notes = server.open_merge_request().await;
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
        get("/no/such/route", ("private-token", BOT)).await.is(501)["message"],
        "501 Not Implemented - The sandbox does not support the route GET /gitlab/api/v4/no/such/route"
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
    let notes = server.open_merge_request().await;
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
async fn notes_are_created_edited_and_deleted_with_permission() {
    let server = Server::new("notes");
    let notes = server.open_merge_request().await;
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
async fn quick_actions_are_applied() {
    let server = Server::new("actions");
    let notes = server.open_merge_request().await;
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
    server.put(&path, "boss", json!({ "body": "not manually" })).await.is(403);

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
async fn both_kinds_of_rate_limits() {
    let server = Server::new("limits");
    let notes = server.open_merge_request().await;
    server.switch(json!({ "throttled": 1, "retry_after": 3, "notes_limited": 1 })).await;
    let throttled = server.get("/user", BOT).await;
    assert_eq!((throttled.status, throttled.text.as_str()), (429, "Retry later\n"));
    assert_eq!(throttled.header("retry-after"), Some("3"));
    assert!(throttled.header("ratelimit-reset").is_some_and(|unix| unix.parse::<u64>().is_ok()));
    server.get("/user", BOT).await.is(200);
    let limited = server.post(&notes, BOT, json!({ "body": "x" })).await;
    let error = limited.is(429)["message"]["error"].as_str().expect("a text").to_owned();
    assert!(error.contains("requested too many times"), "{error}");
    assert_eq!(limited.header("retry-after"), None);
    server.note(&notes, BOT, "x").await;
    server.switch(json!({ "notes_per_minute": 2 })).await;
    server.note(&notes, BOT, "x").await;
    server.post(&notes, BOT, json!({ "body": "x" })).await.is(429);
    server.note(&notes, "ann", "another user has a separate limit").await;
}
