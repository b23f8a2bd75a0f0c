//! Tests how assets are served, with a table of sites and requests. The right values are those of
//! Cloudflare's documentation (<https://developers.cloudflare.com/workers/static-assets/routing/>).

use reqwest::Method;
use serde_json::{Value, json};

use crate::previews::wrangler;
use crate::server::Server;

/// Sends a case's request and returns how the response differs from the wanted one.
async fn difference(server: &Server, host: &str, case: &Value) -> Option<String> {
    let text = |name: &str| case[name].as_str();
    let path = text("path").expect("a path");
    let url = format!("http://127.0.0.1:{}{path}", server.port);
    let method = Method::from_bytes(text("method").unwrap_or("GET").as_bytes()).expect("a method");
    let host = format!("{host}.localhost:{}", server.port);
    let mut request = server.client.request(method, &url).header("host", &host);
    if let Some(kind) = text("etag") {
        let first = server.client.get(&url).header("host", &host).send().await.expect("an answer");
        let etag = first.headers()["etag"].to_str().expect("text").to_owned();
        let wanted = match kind {
            "same" => etag,
            "weak" => format!("W/{etag}"),
            _ => "\"other\"".to_owned(),
        };
        request = request.header("if-none-match", wanted);
    }
    let answer = request.send().await.expect("an answer");
    let mut wrong = Vec::new();
    let mut compare = |name: &str, found: Option<&str>, wanted: Option<&str>| {
        if found != wanted {
            wrong.push(format!("{name} is {found:?} and not {wanted:?}"));
        }
    };
    let status = answer.status().as_u16().to_string();
    compare("status", Some(&status), Some(&case["status"].to_string()));
    // Two lines of one name are one list (RFC 9110, 5.3).
    let header = |name: &str| -> Option<String> {
        let lines = answer.headers().get_all(name).iter().filter_map(|line| line.to_str().ok());
        Some(lines.collect::<Vec<_>>().join(", ")).filter(|_| answer.headers().contains_key(name))
    };
    if let Some(location) = text("location") {
        compare("location", header("location").as_deref(), Some(location));
    }
    for (name, wanted) in case["headers"].as_object().into_iter().flatten() {
        compare(name, header(name).as_deref(), wanted.as_str());
    }
    if let Some(body) = text("body") {
        compare("body", answer.text().await.ok().as_deref(), Some(body));
    }
    (!wrong.is_empty()).then(|| format!("{host}: {case}: {}", wrong.join(", ")))
}

#[tokio::test(flavor = "multi_thread")]
async fn assets_are_served_as_at_cloudflare() {
    let server = Server::new("assets");
    let sites: Vec<Value> = serde_json::from_str(include_str!("assets/cases.json")).expect("JSON");
    let mut differences = Vec::new();
    let mut count = 0;
    for site in &sites {
        let name = site["name"].as_str().expect("a name");
        let folder = server.dir.join("sites").join(name);
        for (path, content) in site["files"].as_object().expect("files") {
            let path = folder.join("dist").join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(path, content.as_str().expect("text")).expect("a file");
        }
        let mut assets = site["assets"].clone();
        assets["directory"] = json!("./dist");
        let config = json!({
            "name": name, "compatibility_date": "2026-10-01", "workers_dev": true, "assets": assets,
        });
        std::fs::write(folder.join("wrangler.json"), config.to_string()).expect("a file");
        let (output, _) = wrangler(&server, &folder, &["deploy"]);
        assert!(output.status.success(), "{name}: {output:?}");
        for case in site["cases"].as_array().expect("cases") {
            count += 1;
            differences.extend(difference(&server, name, case).await);
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert!(count >= 150, "{count} cases");
}
