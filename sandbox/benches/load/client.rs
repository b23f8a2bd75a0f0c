//! Deploys like wrangler. An error is a text, because the server may be killed at any time.

use std::collections::BTreeMap;

use reqwest::{Method, RequestBuilder};
use sandbox::state::blobs::asset_hash;
use serde_json::{Value, json};

use crate::server::{ACCOUNT, Server, TOKEN, base64, form};

/// Sends a request to the API and returns the response. Errors if it fails or the connection breaks.
pub async fn send(request: RequestBuilder) -> Result<Value, String> {
    let response = request.send().await.map_err(|error| format!("{error:?}"))?;
    let status = response.status();
    let text = response.text().await.map_err(|error| format!("{error:?}"))?;
    if !status.is_success() {
        return Err(format!("{status}: {text}"));
    }
    serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))
}

/// Sends a GET request to the API.
pub async fn get(server: &Server, path: &str) -> Result<Value, String> {
    send(server.request(Method::GET, path, TOKEN)).await
}

/// Returns the path of a Worker in the API.
pub fn script(worker: &str) -> String {
    format!("/accounts/{ACCOUNT}/workers/scripts/{worker}")
}

/// Uploads files as a version, which is live at once if `live` is set. Returns the version's id without
/// dashes.
pub async fn upload(
    server: &Server,
    worker: &str,
    files: &[(String, String)],
    live: bool,
    tag: &str,
) -> Result<String, String> {
    let contents: BTreeMap<String, (&str, String)> = files
        .iter()
        .map(|(path, content)| {
            let text = base64(content);
            (asset_hash(&text, path), (content.as_str(), text))
        })
        .collect();
    let entry = |(path, content): &(String, String)| {
        let hash = asset_hash(&base64(content), path);
        (path.clone(), json!({ "hash": hash, "size": content.len() }))
    };
    let manifest: serde_json::Map<String, Value> = files.iter().map(entry).collect();
    let path = format!("{}/assets-upload-session", script(worker));
    let body = json!({ "manifest": manifest }).to_string();
    let session = send(server.request(Method::POST, &path, TOKEN).body(body)).await?;
    let mut jwt = session["result"]["jwt"].as_str().ok_or("no session")?.to_owned();
    let buckets = session["result"]["buckets"].as_array().cloned().unwrap_or_default();
    for bucket in buckets {
        let hashes = bucket.as_array().into_iter().flatten().filter_map(Value::as_str);
        let parts: Vec<(&str, &str, &str)> =
            hashes.map(|hash| (hash, "text/plain", contents[hash].1.as_str())).collect();
        let path = format!("/accounts/{ACCOUNT}/workers/assets/upload?base64=true");
        let response = send(form(server.request(Method::POST, &path, &jwt), &parts)).await?;
        if let Some(completed) = response["result"]["jwt"].as_str() {
            jwt = completed.to_owned();
        }
    }
    let metadata = json!({
        "assets": { "jwt": jwt }, "compatibility_date": "2026-01-01",
        "annotations": { "workers/tag": tag },
    });
    let request = if live {
        server.request(Method::PUT, &script(worker), TOKEN)
    } else {
        server.request(Method::POST, &format!("{}/versions", script(worker)), TOKEN)
    };
    let response =
        send(form(request, &[("metadata", "application/json", &metadata.to_string())])).await?;
    let field = if live { "deployment_id" } else { "id" };
    response["result"][field].as_str().map(without_dashes).ok_or_else(|| response.to_string())
}

/// Routes all traffic to a version, by its id with dashes.
pub async fn deploy(server: &Server, worker: &str, version: &str) -> Result<(), String> {
    let body = json!({
        "strategy": "percentage", "versions": [{ "version_id": version, "percentage": 100 }],
    });
    let path = format!("{}/deployments", script(worker));
    send(server.request(Method::POST, &path, TOKEN).body(body.to_string())).await.map(|_| ())
}

/// Returns an id without dashes.
pub fn without_dashes(id: &str) -> String {
    id.replace('-', "")
}

/// Returns an id with dashes.
pub fn with_dashes(id: &str) -> String {
    [&id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..]].join("-")
}
