//! Tests injected faults.

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::server::{Server, TOKEN};

async fn ask(server: &Server, token: &str, faults: Value) -> StatusCode {
    let url = format!("http://127.0.0.1:{}/__sandbox/faults", server.port);
    let request = server.client.post(url).header("authorization", format!("Bearer {token}"));
    request.body(faults.to_string()).send().await.expect("an answer").status()
}

#[tokio::test]
async fn a_status_is_returned_the_configured_number_of_times() {
    let server = Server::new("status");
    let action = json!({ "status": 503, "headers": { "retry-after": "1" } });
    let faults = json!([{ "path": "/user", "times": 2, "action": action }]);
    assert_eq!(ask(&server, "wrong", faults.clone()).await, 403);
    assert_eq!(ask(&server, TOKEN, json!([{ "path": "/", "action": "explode" }])).await, 400);
    assert_eq!(server.get("/user").await.0, 200);
    assert_eq!(ask(&server, TOKEN, faults).await, 204);
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(server.get("/user").await.0);
    }
    assert_eq!(statuses, [503, 503, 200]);
}

#[tokio::test]
async fn connections_break_hang_and_slow_down() {
    let server = Server::new("broken");
    let url = format!("http://127.0.0.1:{}/client/v4/user", server.port);
    let get = || server.client.get(&url).header("authorization", format!("Bearer {TOKEN}"));
    let fault = |action: Value| json!([{ "path": "/user", "method": "GET", "action": action }]);
    assert_eq!(ask(&server, TOKEN, fault(json!("reset"))).await, 204);
    let error = format!("{:?}", get().send().await.expect_err("a reset"));
    assert!(error.contains("ConnectionReset"), "{error}");
    assert_eq!(ask(&server, TOKEN, fault(json!("truncate"))).await, 204);
    let answer = get().send().await.expect("a beginning");
    assert!(answer.text().await.is_err());
    assert_eq!(ask(&server, TOKEN, fault(json!("hang"))).await, 204);
    let hung = get().timeout(Duration::from_millis(300)).send().await;
    assert!(hung.expect_err("nothing").is_timeout());
    assert_eq!(ask(&server, TOKEN, fault(json!({ "slow_ms": 200 }))).await, 204);
    let asked = Instant::now();
    assert_eq!(get().send().await.expect("an answer").status(), 200);
    assert!(asked.elapsed() >= Duration::from_millis(200));
    assert_eq!(ask(&server, TOKEN, json!([])).await, 204);
    assert_eq!(get().send().await.expect("an answer").status(), 200);
}

#[tokio::test]
async fn a_worker_can_fail_too() {
    let server = Server::new("worker");
    assert_eq!(server.upload("site", "hello", false, json!({})).await.0, 200);
    let action = json!({ "status": 500, "body": "broken" });
    let faults = json!([{ "host": "site.localhost", "path": "/", "times": 1, "action": action }]);
    assert_eq!(ask(&server, TOKEN, faults).await, 204);
    assert_eq!(server.text("site.localhost", "/").await, "broken");
    assert_eq!(server.text("site.localhost", "/").await, "hello");
}
