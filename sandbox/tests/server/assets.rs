//! Tests how assets are served, with a table of sites and requests. The right values are those of
//! Cloudflare's documentation (<https://developers.cloudflare.com/workers/static-assets/routing/>). Its asset server does
//! not know ranges (<https://github.com/cloudflare/workers-sdk/issues/3861>).

use std::process::{Child, Stdio};

use reqwest::Method;
use serde_json::{Value, json};

use crate::previews::wrangler_command;
use crate::server::Server;

/// A Worker that names what it gets, and passes paths below `/via` on to the assets.
const WORKER: &str = "export default { fetch(request, env) {
    const url = new URL(request.url);
    if (url.pathname.startsWith('/via/')) {
        url.pathname = url.pathname.slice(4);
        return env.ASSETS.fetch(new Request(url, request));
    }
    const headers = { 'x-worker': 'yes' };
    return new Response(`WORKER ${request.method} ${url.pathname}`, { headers });
} };";

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
    for (name, value) in case["send"].as_object().into_iter().flatten() {
        request = request.header(name, value.as_str().expect("text"));
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

/// Writes a site of the table and starts its deployment.
fn deploy(server: &Server, site: &Value) -> Child {
    let name = site["name"].as_str().expect("a name");
    let folder = server.dir.join("sites").join(name);
    for (path, content) in site["files"].as_object().expect("files") {
        let path = folder.join("dist").join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, content.as_str().expect("text")).expect("a file");
    }
    let mut config = json!({
        "name": name, "compatibility_date": "2026-10-01", "workers_dev": true, "assets": site["assets"],
    });
    config["assets"]["directory"] = json!("./dist");
    if site["worker"] == true {
        config["main"] = json!("worker.js");
        config["assets"]["binding"] = json!("ASSETS");
        std::fs::write(folder.join("worker.js"), WORKER).expect("a file");
    }
    std::fs::write(folder.join("wrangler.json"), config.to_string()).expect("a file");
    let mut command = wrangler_command(server, &folder, &["deploy"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("wrangler runs")
}

#[tokio::test(flavor = "multi_thread")]
async fn assets_are_served_as_at_cloudflare() {
    let server = Server::new("assets");
    // The values of the second table are those of `wrangler dev`, which runs the same asset Worker.
    let tables = [include_str!("assets/cases.json"), include_str!("assets/odd.json")];
    let sites: Vec<Value> = tables
        .iter()
        .flat_map(|table| serde_json::from_str::<Vec<Value>>(table).expect("JSON"))
        .collect();
    let mut differences = Vec::new();
    let mut count = 0;
    // wrangler waits for most of its time.
    for sites in sites.chunks(4) {
        let deployments: Vec<Child> = sites.iter().map(|site| deploy(&server, site)).collect();
        for (site, deployment) in sites.iter().zip(deployments) {
            let name = site["name"].as_str().expect("a name");
            let output = deployment.wait_with_output().expect("an end");
            assert!(output.status.success(), "{name}: {output:?}");
            for case in site["cases"].as_array().expect("cases") {
                count += 1;
                differences.extend(difference(&server, name, case).await);
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert!(count >= 460, "{count} cases");
}
