//! Tests the delivery of queues: content types, pauses, purges, and messages that clients pull over HTTP.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::resources::path;
use crate::server::wait::Wait;
use crate::server::{Server, code};
use crate::stateful::{deploy, run, wait_for, write};

/// Sends messages of every content type, and records what it receives.
const WORKER: &str = "export default {
    async fetch(request, env) {
        const { pathname, searchParams } = new URL(request.url);
        if (pathname === '/send') {
            await env.JOBS.send(searchParams.get('text'), { contentType: 'text' });
            return new Response('sent');
        }
        if (pathname === '/kinds') {
            await env.JOBS.send('a', { contentType: 'text' });
            await env.JOBS.send('b');
            await env.JOBS.send({ c: [1] });
            await env.JOBS.send(new TextEncoder().encode('d'), { contentType: 'bytes' });
            await env.JOBS.send(new Date(0), { contentType: 'v8' });
            return new Response('sent');
        }
        const { keys } = await env.SEEN.list();
        return new Response(keys.map(({ name }) => name).join(' '));
    },
    async queue(batch, env) {
        for (const { body, attempts } of batch.messages) {
            const text = body instanceof ArrayBuffer ? `bytes ${new TextDecoder().decode(body)}`
                : body instanceof Date ? `date ${body.getTime()}` : JSON.stringify(body);
            if (text === '\"retry\"' && attempts < 3) throw new Error('again');
            await env.SEEN.put(`${text}${attempts > 1 ? attempts : ''}`, 'yes');
        }
    } };";

/// Deploys the Worker with the queue `jobs`. Returns its folder and the path of the queue.
async fn site(server: &Server, has_consumer: bool) -> (PathBuf, String) {
    let site = write(server, "jobs", WORKER, json!({}));
    run(server, &site, &["queues", "create", "jobs"]);
    run(server, &site, &["kv", "namespace", "create", "seen"]);
    let (_, namespaces) = server.get(&path("storage/kv/namespaces")).await;
    let consumer = json!({ "queue": "jobs", "max_batch_timeout": 0, "max_batch_size": 1 });
    let config = json!({
        "kv_namespaces": [{ "binding": "SEEN", "id": namespaces["result"][0]["id"] }],
        "queues": {
            "producers": [{ "binding": "JOBS", "queue": "jobs" }],
            "consumers": if has_consumer { json!([consumer]) } else { json!([]) },
        },
    });
    let site = deploy(server, "jobs", WORKER, config);
    let (_, queues) = server.get(&path("queues")).await;
    let queue = queues["result"][0]["queue_id"].as_str().expect("an id").to_owned();
    (site, path(&format!("queues/{queue}")))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_gets_each_content_type_and_retries() {
    let server = Server::new("queue-kinds");
    let (_, queue) = site(&server, true).await;
    assert_eq!(server.text("jobs.localhost", "/kinds").await, "sent");
    let all = r#""a" "b" bytes d date 0 {"c":[1]}"#;
    wait_for(&server, "jobs.localhost", "/", all).await;
    assert_eq!(server.text("jobs.localhost", "/send?text=retry").await, "sent");
    wait_for(&server, "jobs.localhost", "/", &format!("\"a\" \"b\" \"retry\"3{}", &all[7..])).await;
    // The API sends too.
    let messages = format!("{queue}/messages");
    let sent = server.send(Method::POST, &messages, json!({ "body": { "z": 1 } })).await;
    assert_eq!(sent.0, 200, "{}", sent.1);
    wait_for(
        &server,
        "jobs.localhost",
        "/",
        &format!("\"a\" \"b\" \"retry\"3{} {{\"z\":1}}", &all[7..]),
    )
    .await;
    let (status, refusal) =
        server.send(Method::POST, &messages, json!({ "body": 1, "content_type": "text" })).await;
    assert_eq!((status, code(&refusal)), (400, 11_016));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_is_paused_and_purged() {
    let mut server = Server::new("queue-pause");
    let (site, queue) = site(&server, true).await;
    run(&server, &site, &["queues", "pause-delivery", "jobs"]);
    for text in ["one", "two"] {
        server.text("jobs.localhost", &format!("/send?text={text}")).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(server.text("jobs.localhost", "/").await, "", "it delivers nothing");
    assert_eq!(server.get(&queue).await.1["result"]["settings"]["delivery_paused"], true);
    run(&server, &site, &["queues", "resume-delivery", "jobs"]);
    wait_for(&server, "jobs.localhost", "/", r#""one" "two""#).await;

    run(&server, &site, &["queues", "pause-delivery", "jobs"]);
    let purge = format!("{queue}/purge");
    assert_eq!(server.get(&purge).await.1["result"]["started_at"], Value::Null);
    server.text("jobs.localhost", "/send?text=purged").await;
    run(&server, &site, &["queues", "purge", "jobs", "--force"]);
    assert!(server.get(&purge).await.1["result"]["started_at"].is_string());
    run(&server, &site, &["queues", "resume-delivery", "jobs"]);
    server.text("jobs.localhost", "/send?text=three").await;
    wait_for(&server, "jobs.localhost", "/", r#""one" "three" "two""#).await;
    assert_eq!(server.send(Method::POST, &purge, json!({})).await.0, 400);

    // A pause survives a restart.
    run(&server, &site, &["queues", "pause-delivery", "jobs"]);
    server.restart();
    server.text("jobs.localhost", "/send?text=four").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(server.text("jobs.localhost", "/").await, r#""one" "three" "two""#);
    run(&server, &site, &["queues", "resume-delivery", "jobs"]);
    wait_for(&server, "jobs.localhost", "/", r#""four" "one" "three" "two""#).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_pulled_and_acknowledged() {
    let server = Server::new("queue-pull");
    let (site, queue) = site(&server, false).await;
    let post = async |action: &str, body: Value| {
        server.send(Method::POST, &format!("{queue}/messages{action}"), body).await
    };
    let (status, refusal) = post("/pull", json!({})).await;
    assert_eq!((status, code(&refusal)), (400, 11_001), "{refusal}");
    run(&server, &site, &["queues", "create", "dead"]);
    run(
        &server,
        &site,
        &[
            "queues",
            "consumer",
            "http",
            "add",
            "jobs",
            "--message-retries=1",
            "--dead-letter-queue=dead",
        ],
    );
    run(&server, &site, &["queues", "consumer", "http", "add", "dead"]);
    assert_eq!(server.text("jobs.localhost", "/kinds").await, "sent");
    let mut found: Vec<Value> = Vec::new();
    let wait = Wait::begin();
    while found.len() < 5 {
        let (status, pulled) = post("/pull", json!({ "batch_size": 100 })).await;
        assert_eq!(status, 200, "{pulled}");
        found.extend(pulled["result"]["messages"].as_array().cloned().unwrap_or_default());
        wait.check(format_args!("{found:?}"));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let bodies: Vec<(&str, &str)> = found
        .iter()
        .map(|one| {
            let kind = one["metadata"]["CF-Content-Type"].as_str().expect("a type");
            (kind, one["body"].as_str().expect("a body"))
        })
        .collect();
    assert_eq!(
        bodies[..4],
        [("text", "a"), ("json", "ImIi"), ("json", "eyJjIjpbMV19"), ("bytes", "ZA==")]
    );
    assert_eq!(bodies[4].0, "v8");
    assert_eq!(found[0]["attempts"], 1);
    assert!(found[0]["timestamp_ms"].as_u64().is_some_and(|time| time > 1_700_000_000_000));

    let lease = |index: usize| json!({ "lease_id": found[index]["lease_id"] });
    let acknowledgment = json!({
        "acks": [lease(1), lease(2), lease(3), lease(4), { "lease_id": "none" }], "retries": [lease(0)],
    });
    let (_, answer) = post("/ack", acknowledgment).await;
    assert_eq!(
        answer["result"],
        json!({ "ackCount": 4, "retryCount": 1, "warnings": { "none": "The lease does not exist" } })
    );
    let (_, again) = post("/pull", json!({ "visibility_timeout_ms": 0 })).await;
    assert_eq!(again["result"]["messages"].as_array().map(Vec::len), Some(1), "{again}");
    assert_eq!(again["result"]["messages"][0]["attempts"], 2);
    assert_eq!(again["result"]["message_backlog_count"], 1);
    // It was pulled too often, and is in the queue of dead letters.
    let (_, nothing) = post("/pull", json!({})).await;
    assert_eq!(nothing["result"]["messages"], json!([]), "{nothing}");
    let (_, queues) = server.get(&path("queues?name=dead")).await;
    let dead = path(&format!(
        "queues/{}/messages/pull",
        queues["result"][0]["queue_id"].as_str().expect("an id")
    ));
    let (_, letters) = server.send(Method::POST, &dead, json!({})).await;
    assert_eq!(letters["result"]["messages"][0]["body"], "a", "{letters}");

    let batch = json!({ "messages": [{ "body": "x", "content_type": "text" }, { "body": [2] }] });
    let (status, answer) = post("/batch", batch).await;
    assert_eq!(
        (status, &answer["result"]["metadata"]["metrics"]["backlog_count"]),
        (200, &json!(2))
    );
    run(&server, &site, &["queues", "pause-delivery", "jobs"]);
    let (status, refusal) = post("/pull", json!({})).await;
    assert_eq!((status, &refusal["errors"][0]["message"]), (409, &json!("queue_delivery_paused")));
    run(&server, &site, &["queues", "resume-delivery", "jobs"]);
    run(&server, &site, &["queues", "purge", "jobs", "--force"]);
    assert_eq!(post("/pull", json!({})).await.1["result"]["messages"], json!([]));
    run(&server, &site, &["queues", "consumer", "http", "remove", "jobs"]);
    assert_eq!(post("/pull", json!({})).await.0, 400);
}

/// A message waits until its queue has a consumer.
#[tokio::test(flavor = "multi_thread")]
async fn messages_wait_for_the_first_consumer() {
    let server = Server::new("queue-early");
    let (site, queue) = site(&server, false).await;
    server.text("jobs.localhost", "/send?text=early").await;
    let pushed = json!({ "body": "pushed", "content_type": "text" });
    let messages = format!("{queue}/messages");
    assert_eq!(server.send(Method::POST, &messages, pushed).await.0, 200);
    // The message of the Worker takes a moment.
    tokio::time::sleep(Duration::from_secs(2)).await;
    run(
        &server,
        &site,
        &["queues", "consumer", "worker", "add", "jobs", "jobs", "--batch-timeout=0"],
    );
    wait_for(&server, "jobs.localhost", "/", r#""early" "pushed""#).await;
}
