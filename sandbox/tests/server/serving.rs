//! Tests that workerd serves the uploaded files and code.

use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::server::wait::max_wait;
use crate::server::{ACCOUNT, Server, TOKEN, multipart};

const CODE: &str = "export default { async fetch(request, env) {
  if (request.headers.get('upgrade') === 'websocket') {
    const [client, server] = Object.values(new WebSocketPair());
    server.accept();
    server.addEventListener('message', ({ data }) => server.send(`echo ${data}`));
    return new Response(null, { status: 101, webSocket: client });
  }
  if (new URL(request.url).pathname === '/throw') throw new Error('no');
  return Response.json({ url: request.url, stage: env.STAGE, secret: env.SECRET,
    header: request.headers.get('x-given'), body: await request.text() });
} }";

async fn deploy_code(server: &Server, bindings: serde_json::Value) -> (u16, serde_json::Value) {
    let metadata = json!({
        "main_module": "worker.js", "bindings": bindings, "compatibility_date": "2026-11-01",
        "keep_bindings": ["secret_text"],
    })
    .to_string();
    let path = format!("/accounts/{ACCOUNT}/workers/scripts/api");
    let parts = [
        ("metadata", "application/json", metadata.as_str()),
        ("worker.js", "application/javascript+module", CODE),
    ];
    multipart(server.request(Method::PUT, &path, TOKEN), &parts).await
}

#[tokio::test]
async fn the_newest_deployment_is_served_at_once() {
    let server = Server::new("newest");
    for round in 0..5 {
        let content = format!("round {round}");
        assert_eq!(server.upload("site", &content, false, json!({})).await.0, 200);
        let answer = server.fetch("site.localhost", "/").await;
        assert_eq!(answer.headers()["x-site"], "yes");
        assert_eq!(answer.text().await.expect("text"), content);
    }
}

#[tokio::test]
async fn aliases_and_versions_have_hosts_if_previews_are_enabled() {
    let server = Server::new("hosts");
    assert_eq!(server.upload("site", "live", false, json!({})).await.0, 200);
    let alias = json!({ "workers/alias": "mr-1" });
    let (_, version) = server.upload("site", "preview", true, alias).await;
    let id = version["result"]["id"].as_str().expect("an id");
    let hosts = ["mr-1-site.localhost".to_owned(), format!("{}-site.localhost", &id[..8])];
    assert_eq!(server.fetch(&hosts[0], "/").await.status(), 404);
    let path = format!("/accounts/{ACCOUNT}/workers/scripts/site/subdomain");
    let (_, subdomain) = server.send(Method::POST, &path, json!({ "enabled": true })).await;
    assert_eq!(subdomain["result"]["previews_enabled"], true, "previews follow");
    for host in &hosts {
        assert_eq!(server.text(host, "/").await, "preview", "{host}");
    }
    assert_eq!(server.text("site.localhost", "/").await, "live");
    assert_eq!(server.text("site.sandbox.workers.dev", "/").await, "live");
    let unknown = server.fetch("nothing.localhost", "/").await;
    assert_eq!(unknown.status(), 404);
    assert!(unknown.text().await.expect("text").contains("http://site.localhost:"));
}

#[tokio::test]
async fn code_runs_with_its_bindings() {
    let server = Server::new("code");
    let bindings = json!([
        { "name": "STAGE", "type": "plain_text", "text": "local" },
        { "name": "SECRET", "type": "secret_text", "text": "hush" },
    ]);
    assert_eq!(deploy_code(&server, bindings).await.0, 200);
    let url = format!("http://127.0.0.1:{}/a?b=c", server.port);
    let host = format!("api.localhost:{}", server.port);
    let request = server.client.post(url).header("host", &host).header("x-given", "1");
    let (status, response) = crate::server::answer(request.body("sent")).await;
    let wanted = json!({
        "url": format!("http://{host}/a?b=c"), "stage": "local", "secret": "hush", "header": "1",
        "body": "sent",
    });
    assert_eq!((status, response), (200, wanted));
    assert_eq!(server.fetch("api.localhost", "/throw").await.status(), 500);
    // A secret is kept by the next version, a variable is not.
    assert_eq!(deploy_code(&server, json!([])).await.0, 200);
    let response = server.text("api.localhost", "/").await;
    assert!(response.contains("\"secret\":\"hush\"") && !response.contains("stage"), "{response}");
    for path in ["settings", "secrets", "versions"] {
        let path = format!("/accounts/{ACCOUNT}/workers/scripts/api/{path}");
        assert!(!server.get(&path).await.1.to_string().contains("hush"), "{path}");
    }
    assert!(!server.text("localhost", "/__sandbox/state.json").await.contains("hush"));
}

#[tokio::test]
async fn versions_that_share_data_start_at_the_same_time() {
    let server = Server::new("shared");
    let [namespace, database, bucket] = server.storage().await;
    let bindings = json!([
        { "name": "KV", "type": "kv_namespace", "namespace_id": namespace },
        { "name": "DATA", "type": "d1", "id": database },
        { "name": "FILES", "type": "r2_bucket", "bucket_name": bucket },
    ]);
    let mut hosts = Vec::new();
    for _ in 0..8 {
        assert_eq!(deploy_code(&server, bindings.clone()).await.0, 200);
    }
    let script = format!("/accounts/{ACCOUNT}/workers/scripts/api");
    server.send(Method::POST, &format!("{script}/subdomain"), json!({ "enabled": true })).await;
    let (_, versions) = server.get(&format!("{script}/versions")).await;
    for version in versions["result"]["items"].as_array().expect("versions") {
        let id = version["id"].as_str().expect("an id");
        hosts.push(format!("{}-api.localhost:{}", &id[..8], server.port));
    }
    assert_eq!(hosts.len(), 8);
    let url = format!("http://127.0.0.1:{}/", server.port);
    let ask = |host: &String| tokio::spawn(server.client.get(&url).header("host", host).send());
    for asked in hosts.iter().map(ask).collect::<Vec<_>>() {
        let answer = asked.await.expect("no panic").expect("an answer");
        assert_eq!(answer.status(), 200, "{}", answer.text().await.expect("text"));
    }
}

#[tokio::test]
async fn a_deleted_worker_is_not_served() {
    let server = Server::new("deleted");
    assert_eq!(deploy_code(&server, json!([])).await.0, 200);
    assert_eq!(server.fetch("api.localhost", "/").await.status(), 200);
    let path = format!("/accounts/{ACCOUNT}/workers/services/api?force=false");
    assert_eq!(server.send(Method::DELETE, &path, json!({})).await.0, 200);
    assert_eq!(server.fetch("api.localhost", "/").await.status(), 404);
}

#[tokio::test]
async fn websockets_reach_the_worker() {
    let server = Server::new("websocket");
    assert_eq!(deploy_code(&server, json!([])).await.0, 200);
    let mut socket = TcpStream::connect(("127.0.0.1", server.port)).await.expect("a connection");
    let hello = "GET / HTTP/1.1\r\nHost: api.localhost\r\nConnection: Upgrade\r\n\
                 Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    socket.write_all(hello.as_bytes()).await.expect("a request");
    // A text frame of two letters with a mask of zeros (RFC 6455, 5.2).
    socket.write_all(&[0x81, 0x82, 0, 0, 0, 0, b'h', b'i']).await.expect("a frame");
    let mut received = Vec::new();
    while !received.ends_with(b"echo hi") {
        let read = socket.read_buf(&mut received);
        let read = tokio::time::timeout(max_wait(), read).await.expect("in time");
        assert_ne!(read.expect("bytes"), 0, "{}", String::from_utf8_lossy(&received));
    }
    assert!(received.starts_with(b"HTTP/1.1 101 "));
}

/// axum adds `allow` to the response of a method that our own route does not have, and miniflare a line for its log.
#[tokio::test]
async fn responses_have_only_the_headers_of_the_worker() {
    let server = Server::new("headers");
    let code = "export default { fetch: (request) => new Response(request.method) }";
    assert_eq!(server.upload_code("echo", code, json!({})).await.0, 200);
    for path in ["/", "/client/v4/user", "/api/v4/version", "/__sandbox/health"] {
        let request = server.client.post(format!("http://127.0.0.1:{}{path}", server.port));
        let answer = request.header("host", "echo.localhost").send().await.expect("an answer");
        let mut names: Vec<String> = answer.headers().keys().map(ToString::to_string).collect();
        names.sort();
        assert_eq!(names, ["content-length", "content-type", "date"], "{path}");
        assert_eq!(answer.text().await.expect("text"), "POST", "{path}");
    }
    let not_allowed = server.client.post(format!("http://127.0.0.1:{}/", server.port));
    let not_allowed = not_allowed.send().await.expect("an answer");
    assert_eq!(
        (not_allowed.status().as_u16(), &not_allowed.headers()["allow"]),
        (405, &"GET,HEAD".parse().expect("a header"))
    );
}
