//! Tests the access checks: hosts, origins, tokens before bodies, and the proof of identity.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::server::wait::{Wait, max_wait};
use crate::server::{ACCOUNT, Server, TOKEN, answer, code};

/// Sends `text` and returns all that comes back until the server closes or `wait` has passed.
fn raw(server: &Server, text: &str, wait: Duration) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port)).expect("a connection");
    stream.set_read_timeout(Some(wait)).expect("a timeout");
    stream.write_all(text.as_bytes()).expect("it is sent");
    let mut got = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        got.extend_from_slice(&buffer[..length]);
    }
    (stream, String::from_utf8_lossy(&got).into_owned())
}

/// A container calls the API by another name. A page that points its name at this machine has no token.
#[tokio::test]
async fn any_host_reaches_the_apis_with_a_token() {
    let server = Server::new("hosts");
    assert_eq!(server.upload("site", "hello", false, json!({})).await.0, 200);
    let ask = async |host: &str, path: &str, token: Option<&str>| {
        let url = format!("http://127.0.0.1:{}{path}", server.port);
        let mut request = server.client.get(url).header("host", host);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        request.send().await.expect("an answer").status().as_u16()
    };
    let port = server.port;
    for host in ["api:8787", "api", "172.17.0.1:8787", "evil.example", "none.localhost", "0.0.0.0"]
    {
        assert_eq!(ask(host, "/client/v4/user", Some(TOKEN)).await, 200, "{host}");
        assert_eq!(ask(host, "/client/v4/user", Some("wrong")).await, 403, "{host}");
        assert_eq!(ask(host, "/client/v4/user", None).await, 400, "{host}");
        assert_eq!(
            ask(host, "/client/v4/no/such", None).await,
            400,
            "{host}: the token comes first"
        );
        assert_eq!(ask(host, "/api/v4/user", None).await, 401, "{host}");
        assert_eq!(ask(host, "/__sandbox/health", None).await, 404, "{host}");
    }
    // A Worker keeps its paths.
    assert_eq!(server.text("site.localhost", "/").await, "hello");
    assert_eq!(ask(&format!("site.localhost:{port}"), "/client/v4/user", Some(TOKEN)).await, 404);
    let foreign = server.text("evil.example", "/").await;
    assert!(foreign.contains("Nothing is deployed at evil.example"), "{foreign}");
    assert!(!foreign.contains("site.localhost"), "a foreign name sees no list: {foreign}");
}

#[tokio::test]
async fn other_origins_are_refused() {
    let server = Server::new("origins");
    let own = format!("http://127.0.0.1:{}", server.port);
    for (origin, wanted) in [
        (own.as_str(), 200),
        ("https://evil.example", 403),
        ("http://127.0.0.1:1", 403),
        ("http://site.localhost", 403),
        ("null", 403),
    ] {
        for path in ["/client/v4/user", "/__sandbox/state.json"] {
            let request = server.client.get(format!("{own}{path}")).header("origin", origin);
            let request = request.header("authorization", format!("Bearer {TOKEN}"));
            let answer = request.send().await.expect("an answer");
            assert_eq!(answer.status().as_u16(), wanted, "{origin} {path}");
            for (name, value) in [
                ("x-content-type-options", "nosniff"),
                ("x-frame-options", "DENY"),
                ("cross-origin-resource-policy", "same-origin"),
            ] {
                assert_eq!(answer.headers()[name], value, "{origin} {path}");
            }
        }
    }
}

/// Bodies of clients without a token take up no memory, and they are answered before their end.
#[tokio::test]
async fn the_token_is_checked_before_the_body_is_read() {
    let server = Server::new("early");
    let length = 94 * 1024 * 1024;
    let part = "x".repeat(2 * 1024 * 1024);
    for path in [
        format!("/client/v4/accounts/{ACCOUNT}/workers/scripts/site"),
        format!("/client/v4/accounts/{ACCOUNT}/workers/assets/upload?base64=true"),
        "/api/v4/projects/1/merge_requests".to_owned(),
        "/__sandbox/faults".to_owned(),
        "/".to_owned(),
    ] {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer wrong\r\n\
             content-type: multipart/form-data; boundary=b\r\ncontent-length: {length}\r\n\r\n"
        );
        let wait = Wait::begin();
        let mut stream = TcpStream::connect(("127.0.0.1", server.port)).expect("a connection");
        stream.set_read_timeout(Some(max_wait())).expect("a timeout");
        stream.write_all(head.as_bytes()).expect("it is sent");
        // The server may have closed by now.
        let _closed = stream.write_all(part.as_bytes());
        let mut got = [0; 12];
        stream.read_exact(&mut got).expect("an answer before the end of the body");
        let status = String::from_utf8_lossy(&got).into_owned();
        assert!(status.starts_with("HTTP/1.1 4"), "{path}: {status}");
        wait.check(path);
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid()));
    if let Ok(status) = status {
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
        let peak: u64 = peak.trim().trim_end_matches(" kB").parse().expect("a number");
        assert!(peak < 200 * 1024, "{peak} kB");
    }
}

/// A small body of a refused request is read to its end, so that the connection can go on.
#[test]
fn a_refused_request_keeps_its_connection() {
    let server = Server::new("kept");
    let one = "POST /client/v4/user HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer wrong\r\n\
               content-length: 5\r\n\r\nhello";
    let two = "GET /__sandbox/health HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n";
    let (_, got) = raw(&server, &format!("{one}{two}"), max_wait());
    assert!(got.starts_with("HTTP/1.1 403"), "{got}");
    assert!(got.contains("HTTP/1.1 200"), "{got}");
}

#[tokio::test]
async fn bodies_have_a_maximum_size_and_json_a_maximum_depth() {
    let server = Server::new("sizes");
    let head = format!(
        "PUT /client/v4/accounts/{ACCOUNT}/workers/scripts/site HTTP/1.1\r\nhost: 127.0.0.1\r\n\
         authorization: Bearer {TOKEN}\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    let mut stream = TcpStream::connect(("127.0.0.1", server.port)).expect("a connection");
    stream.write_all(head.as_bytes()).expect("it is sent");
    let chunk = format!("{:x}\r\n{}\r\n", 1024 * 1024, "x".repeat(1024 * 1024));
    for _ in 0..102 {
        if stream.write_all(chunk.as_bytes()).is_err() {
            break;
        }
    }
    let mut got = [0; 12];
    stream.read_exact(&mut got).expect("an answer");
    assert_eq!(String::from_utf8_lossy(&got), "HTTP/1.1 413");

    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let script = format!("/accounts/{ACCOUNT}/workers/scripts/site");
    let gitlab = format!("http://127.0.0.1:{}/api/v4/projects/1/merge_requests", server.port);
    let token = std::fs::read_to_string(server.dir.join("gitlab-token")).expect("a token");
    for request in [
        server.request(Method::POST, &format!("{script}/assets-upload-session"), TOKEN),
        server.request(Method::PUT, &format!("{script}/schedules"), TOKEN),
        server
            .client
            .post(&gitlab)
            .header("private-token", token.trim())
            .header("content-type", "application/json"),
    ] {
        let (status, refusal) = answer(request.body(deep.clone())).await;
        assert_eq!(status, 400, "{refusal}");
    }
    assert_eq!(server.get("/user").await.0, 200);
}

#[tokio::test]
async fn it_proves_that_it_is_the_sandbox_of_its_folder() {
    let server = Server::new("proof");
    let ask = async |nonce: &str| -> (u16, Value) {
        let url = format!("http://127.0.0.1:{}/__sandbox/proof/{nonce}", server.port);
        answer(server.client.get(url)).await
    };
    let nonce = "0123456789abcdef".repeat(2);
    let (status, proof) = ask(&nonce).await;
    let secret = std::fs::read_to_string(server.dir.join("identity")).expect("a secret");
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.trim().as_bytes());
    let message = format!("sandbox-proof-1:{}:{nonce}", server.port);
    let wanted = sandbox::ids::hex(ring::hmac::sign(&key, message.as_bytes()).as_ref());
    assert_eq!((status, &proof["proof"]), (200, &json!(wanted)));
    assert_ne!(ask(&"0".repeat(32)).await.1["proof"], proof["proof"]);
    for nonce in ["00", "x".repeat(32).as_str(), "0".repeat(200).as_str()] {
        assert_eq!(ask(nonce).await.0, 400, "{nonce}");
    }
    assert_eq!(code(&answer(server.request(Method::GET, "/user", &wanted)).await.1), 10_000);
}

/// Comments are tested with the stand-in for GitLab.
#[tokio::test(flavor = "multi_thread")]
async fn pages_run_no_scripts_of_workers_or_clients() {
    let server = Server::new("markup");
    let markup = "<script>alert(1)</script>";
    let code = format!("export default {{ fetch() {{ throw new Error('{markup}'); }} }}");
    assert_eq!(server.upload_code("shop", &code, json!({})).await.0, 200);
    let url = format!("http://127.0.0.1:{}/", server.port);
    let ask = async |host: String| {
        let request = server.client.get(&url).header("accept", "text/html").header("host", host);
        let answer = request.send().await.expect("an answer");
        let policy = answer.headers().get("content-security-policy").cloned();
        (answer.status().as_u16(), policy, answer.text().await.expect("text"))
    };
    for (host, status) in [("shop.localhost", 500), ("<script>.localhost", 404)] {
        let (found, policy, page) = ask(format!("{host}:{}", server.port)).await;
        assert_eq!(found, status, "{host}: {page}");
        assert!(!page.contains("<script"), "{host}: {page}");
        assert!(page.contains("&lt;script&gt;"), "{host}: {page}");
        let policy = policy.expect("a policy");
        assert!(policy.to_str().is_ok_and(|policy| policy.contains("default-src 'none'")));
    }
    let (status, refusal) = server.upload_code("%3Cb%3E", &code, json!({})).await;
    assert!((400..500).contains(&status), "{refusal}");
}
