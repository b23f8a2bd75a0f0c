//! Tests that truncated and changed files are reported, never served, and repaired by the next upload.

use std::io::Write as _;
use std::path::PathBuf;

use reqwest::Method;
use serde_json::{Value, json};

use crate::server::{ACCOUNT, Server, TOKEN, answer, code, multipart};

/// Changes a file in place, like a bad disk.
fn change(path: &PathBuf, bytes: &[u8]) {
    let mut file = std::fs::File::options().write(true).open(path).expect("a file");
    file.write_all(bytes).expect("it is written");
}

/// Returns the file in `folder` whose name contains `part`.
fn file(server: &Server, folder: &str, part: &str) -> PathBuf {
    let entries = std::fs::read_dir(server.dir.join(folder)).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut files = paths
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().contains(part)));
    files.next().expect("a file")
}

#[tokio::test]
async fn a_changed_asset_is_not_served_and_the_next_upload_repairs_it() {
    let mut server = Server::new("asset");
    assert_eq!(server.upload("site", "hello", false, json!({})).await.0, 200);
    change(&file(&server, "blobs", "asset-"), b"HACKS");
    let page = server.fetch("site.localhost", "/").await;
    assert_eq!(page.status().as_u16(), 502);
    let page = page.text().await.expect("text");
    assert!(page.contains("the stored asset /index.html is damaged"), "{page}");
    // The session lists the asset as missing, because its content differs from the upload.
    assert_eq!(server.upload("site", "hello", false, json!({})).await.0, 200);
    assert_eq!(server.text("site.localhost", "/").await, "hello");
    // The same applies after a successful check and during a session.
    change(&file(&server, "blobs", "asset-"), b"hackS");
    server.restart();
    assert_eq!(server.fetch("site.localhost", "/").await.status().as_u16(), 502);
    let jwt = server.assets("site", "hello").await;
    change(&file(&server, "blobs", "asset-"), b"HACKS");
    let metadata = json!({ "assets": { "jwt": jwt } }).to_string();
    let script = format!("/accounts/{ACCOUNT}/workers/scripts/site");
    let request = server.request(Method::PUT, &script, TOKEN);
    let (status, refusal) = multipart(request, &[("metadata", "", &metadata)]).await;
    assert_eq!((status, code(&refusal)), (400, 10_021), "{refusal}");
}

#[tokio::test]
async fn a_changed_module_is_not_run_and_the_next_upload_repairs_it() {
    let server = Server::new("module");
    let code = "export default { fetch: () => new Response('right') }";
    let metadata = json!({ "main_module": "a.js", "compatibility_date": "2026-01-01" }).to_string();
    let parts = [
        ("metadata", "application/json", metadata.as_str()),
        ("a.js", "application/javascript+module", code),
    ];
    let upload = async || {
        let path = format!("/accounts/{ACCOUNT}/workers/scripts/code");
        multipart(server.request(Method::PUT, &path, TOKEN), &parts).await
    };
    assert_eq!(upload().await.0, 200);
    let name = blake3::hash(code.as_bytes()).to_hex();
    change(
        &server.dir.join("blobs").join(name.as_str()),
        &code.replace("right", "wrong").into_bytes(),
    );
    let page = server.fetch("code.localhost", "/").await;
    assert_eq!(page.status().as_u16(), 502);
    let page = page.text().await.expect("text");
    assert!(page.contains("is damaged") && !page.contains("wrong"), "{page}");
    assert_eq!(upload().await.0, 200);
    assert_eq!(server.text("code.localhost", "/").await, "right");
}

#[tokio::test]
async fn a_damaged_worker_is_reported_and_others_keep_working() {
    let mut server = Server::new("worker");
    for worker in ["cut", "changed", "good", "other"] {
        assert_eq!(server.upload(worker, worker, false, json!({})).await.0, 200);
    }
    server.kill();
    let cut = file(&server, "cloudflare/workers", ".cut.json");
    let text = std::fs::read(&cut).expect("a file");
    std::fs::write(&cut, &text[..text.len() / 2]).expect("it is cut");
    let changed = file(&server, "cloudflare/workers", ".changed.json");
    let text = std::fs::read_to_string(&changed).expect("a file");
    std::fs::write(&changed, text.replacen("2026-01-01", "2025-01-01", 1)).expect("it is changed");
    let good = file(&server, "cloudflare/workers", ".good.json");
    let copy = server.dir.join("cloudflare/workers").join(format!("{ACCOUNT}.copy.json"));
    std::fs::copy(&good, copy).expect("it is copied");
    server.start_again();
    for (worker, reason) in [
        ("cut", "damaged"),
        ("changed", "its checksum does not match its content"),
        ("copy", "it is the file of the Worker good"),
    ] {
        let script = format!("/accounts/{ACCOUNT}/workers/scripts/{worker}");
        for (method, path) in [
            (Method::GET, format!("{script}/deployments")),
            (Method::POST, format!("{script}/assets-upload-session")),
            (Method::DELETE, format!("/accounts/{ACCOUNT}/workers/services/{worker}")),
            (Method::GET, format!("/accounts/{ACCOUNT}/workers/workers/{worker}")),
        ] {
            let (status, refusal) = server.send(method, &path, json!({ "manifest": {} })).await;
            assert_eq!((status, code(&refusal)), (500, 10_013), "{refusal}");
            assert!(refusal.to_string().contains(reason), "{refusal}");
        }
        for host in [format!("{worker}.localhost"), format!("mr-1-{worker}.localhost")] {
            let page = server.fetch(&host, "/").await;
            assert_eq!(page.status().as_u16(), 502);
            let page = page.text().await.expect("text");
            assert!(page.contains(reason), "{page}");
        }
    }
    assert_eq!(server.text("good.localhost", "/").await, "good");
    assert_eq!(server.text("other.localhost", "/").await, "other");
    assert_eq!(server.upload("other", "again", false, json!({})).await.0, 200);
    server.restart();
    assert_eq!(server.text("other.localhost", "/").await, "again");
}

#[tokio::test]
async fn a_damaged_gitlab_project_is_reported_and_not_replaced() {
    let mut server = Server::new("gitlab");
    let token = std::fs::read_to_string(server.dir.join("gitlab-token")).expect("a token");
    let token = token.trim().to_owned();
    let request = |server: &Server, method: Method, place: &str, body: &Value| {
        let url = format!("http://127.0.0.1:{}/api/v4/projects/{place}", server.port);
        let request = server.client.request(method, url).header("private-token", &token);
        request.header("content-type", "application/json").body(body.to_string())
    };
    let opened = json!({ "title": "t", "source_branch": "a", "target_branch": "main" });
    let made = request(&server, Method::POST, "a%2Fb/merge_requests", &opened);
    let (status, made) = answer(made).await;
    assert_eq!(status, 201, "{made}");
    server.kill();
    let path = file(&server, "gitlab", ".json");
    let text = std::fs::read_to_string(&path).expect("a file");
    std::fs::write(&path, text.replacen("\"t\"", "\"other\"", 1)).expect("it is changed");
    server.start_again();
    let id = made["project_id"].to_string();
    for (method, place) in [
        (Method::GET, id.clone()),
        (Method::GET, "a%2Fb".to_owned()),
        (Method::POST, format!("{id}/merge_requests")),
        (Method::POST, "a%2Fb/merge_requests".to_owned()),
    ] {
        let (status, refusal) = answer(request(&server, method, &place, &opened)).await;
        assert_eq!(status, 500, "{place}: {refusal}");
        assert!(refusal["message"].to_string().contains("is damaged"), "{refusal}");
    }
    let (status, other) =
        answer(request(&server, Method::POST, "99/merge_requests", &opened)).await;
    assert_eq!(status, 201, "{other}");
    assert_ne!(other["id"], made["id"]);
}
