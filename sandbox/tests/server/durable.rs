//! Tests that acknowledged changes survive a kill.

use std::path::{Path, PathBuf};

use reqwest::Method;
use serde_json::json;

use crate::server::{ACCOUNT, Server, TOKEN};

#[tokio::test]
async fn every_version_survives_a_kill() {
    let mut server = Server::new("kill");
    let script = format!("/accounts/{ACCOUNT}/workers/scripts/site");
    for round in 0..4 {
        let annotations = json!({ "workers/tag": format!("t{round}") });
        let content = format!("round {round}");
        let (status, response) = server.upload("site", &content, round > 0, annotations).await;
        assert_eq!(status, 200, "{response}");
        server.restart();
        let (_, versions) = server.get(&format!("{script}/versions")).await;
        let items = versions["result"]["items"].as_array().expect("versions");
        assert_eq!(items.len(), round + 1);
        assert_eq!(items[0]["annotations"]["workers/tag"], format!("t{round}"));
    }
    let domains = json!({ "origins": [{ "hostname": "example.test" }] });
    assert_eq!(
        server.send(Method::PUT, &format!("{script}/domains/records"), domains).await.0,
        200
    );
    server.restart();
    assert_eq!(server.text("example.test", "/").await, "round 0");
    for file in walk(&server.dir) {
        let bytes = std::fs::read(&file).unwrap_or_default();
        let found = bytes.windows(TOKEN.len()).any(|window| window == TOKEN.as_bytes());
        assert!(!found, "the token is in {}", file.display());
    }
}

#[tokio::test]
async fn an_upload_continues_after_a_kill() {
    let mut server = Server::new("session");
    let jwt = server.assets("site", "hello").await;
    server.restart();
    let metadata = json!({ "assets": { "jwt": jwt } }).to_string();
    let path = format!("/accounts/{ACCOUNT}/workers/scripts/site");
    let request = server.request(Method::PUT, &path, TOKEN);
    let (status, response) =
        crate::server::multipart(request, &[("metadata", "", &metadata)]).await;
    assert_eq!(status, 200, "{response}");
    assert_eq!(server.text("site.localhost", "/").await, "hello");
}

fn walk(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).expect("a folder").filter_map(Result::ok);
    let files_of = |path: PathBuf| {
        if path.is_dir() { walk(&path) } else { vec![path] }
    };
    entries.flat_map(|entry| files_of(entry.path())).collect()
}
