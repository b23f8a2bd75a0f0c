//! A version's bindings, modules and assets as miniflare 5 takes them.

use camino::Utf8Path;
use serde_json::{Map, Value, json};

use crate::state::model::Version;

/// The `env` of a Worker, or the binding that cannot be had here.
pub fn env(version: &Version) -> Result<Map<String, Value>, String> {
    let mut env = Map::new();
    for binding in &version.bindings {
        let name = binding["name"].as_str().unwrap_or_default();
        let value = match binding["type"].as_str().unwrap_or_default() {
            "plain_text" | "secret_text" => json!({ "type": "text", "value": binding["text"] }),
            "json" => json!({ "type": "json", "value": binding["json"] }),
            "assets" => json!({ "type": "assets" }),
            "version_metadata" => json!({ "type": "json", "value": metadata(version) }),
            "kv_namespace" => json!({ "type": "kv", "id": binding["namespace_id"] }),
            "r2_bucket" => json!({ "type": "r2", "name": binding["bucket_name"] }),
            "d1" => json!({ "type": "d1", "id": binding["id"] }),
            other => {
                return Err(format!(
                    "The binding {name} is of the kind {other}, which the sandbox does not have."
                ));
            }
        };
        env.insert(name.to_owned(), value);
    }
    Ok(env)
}

pub(super) fn metadata(version: &Version) -> Value {
    let tag = version.annotations.get("workers/tag").map_or("", String::as_str);
    json!({ "id": version.id, "tag": tag, "timestamp": version.created_on })
}

/// How the assets in `folder` are served, by the `config` that was uploaded with them.
#[must_use]
pub fn assets(folder: &Utf8Path, config: &Value) -> Value {
    let mut assets = json!({ "directory": folder });
    for (ours, theirs) in [
        ("html_handling", "htmlHandling"),
        ("not_found_handling", "notFoundHandling"),
        ("run_worker_first", "runWorkerFirst"),
    ] {
        if !config[ours].is_null() {
            assets[theirs] = config[ours].clone();
        }
    }
    assets
}

/// What miniflare calls the kind of a module.
#[must_use]
pub fn module_kind(content_type: &str) -> &'static str {
    match content_type.split(';').next().unwrap_or_default().trim() {
        "application/javascript+module" => "esm",
        "application/javascript" => "cjs",
        "application/wasm" => "wasm",
        "text/plain" => "text",
        "application/json" => "json",
        "text/x-python" => "python",
        _ => "data",
    }
}
