//! Refuses versions that Cloudflare refuses, because of their bindings, dates or missing resources.

use std::collections::BTreeSet;
use std::time::SystemTime;

use serde_json::Value;

use super::envelope::CloudflareError;
use crate::app::App;
use crate::state::model::{Exports, Worker, WorkerVersion};
use crate::state::resources::Resources;

/// The kinds of bindings that the API documents
/// (<https://developers.cloudflare.com/api/resources/workers/subresources/scripts/methods/update/>).
const KINDS: [&str; 37] = [
    "agent_memory",
    "ai",
    "ai_search",
    "ai_search_namespace",
    "analytics_engine",
    "artifacts",
    "assets",
    "browser",
    "d1",
    "data_blob",
    "dispatch_namespace",
    "durable_object_namespace",
    "flagship",
    "hyperdrive",
    "images",
    "json",
    "kv_namespace",
    "logfwdr",
    "media",
    "mtls_certificate",
    "pipelines",
    "plain_text",
    "queue",
    "r2_bucket",
    "ratelimit",
    "secret_key",
    "secret_text",
    "secrets_store_secret",
    "send_email",
    "service",
    "stream",
    "tail_consumer",
    "text_blob",
    "vectorize",
    "version_metadata",
    "vpc_service",
    "workflow",
];

/// Further kinds, which have no page in the documentation.
const OTHER_KINDS: [&str; 5] =
    ["vpc_network", "wasm_module", "worker_loader", "websearch", "unsafe_hello_world"];

/// The prefix of the names of a Worker Preview's own storage.
pub const PREVIEW_STORAGE: &str = "preview-";

/// The maximum size of a variable or a secret, in bytes
/// (<https://developers.cloudflare.com/workers/platform/limits/#environment-variables>).
pub const MAX_TEXT_SIZE: usize = 5 * 1024;

/// The maximum number of variables and secrets of a version in a paid plan (same page).
const MAX_TEXTS: usize = 128;

/// Refuses a version that is invalid without running it.
pub fn check_version(
    app: &App,
    worker: &Worker,
    version: &WorkerVersion,
) -> Result<(), CloudflareError> {
    check_date(&version.compatibility_date, &today())?;
    check_names(&version.bindings)?;
    let resources = app.store.resources.get(&worker.account)?;
    version.bindings.iter().try_for_each(|binding| {
        let kind = binding["type"].as_str().unwrap_or_default();
        let name = binding["name"].as_str().unwrap_or_default();
        if !KINDS.contains(&kind) && !OTHER_KINDS.contains(&kind) {
            let text = format!("The binding {name} has the unknown type {kind:?}");
            return Err(CloudflareError::invalid(&text));
        }
        check_fields(name, kind, binding)?;
        check_resource(&resources, name, kind, binding)?;
        if kind == "service" { check_service(app, worker, name, binding) } else { Ok(()) }
    })
}

/// Refuses a version without a handler, and bindings to classes that it does not export.
pub fn check_exports(
    app: &App,
    worker: &Worker,
    version: &WorkerVersion,
    exports: &Exports,
) -> Result<(), CloudflareError> {
    if version.main_module.is_some() {
        check_handlers(exports)?;
    }
    for binding in &version.bindings {
        let kind = binding["type"].as_str().unwrap_or_default();
        let class = binding["class_name"].as_str().unwrap_or_default();
        let script = binding["script_name"].as_str().filter(|script| *script != worker.name);
        match (kind, script) {
            ("durable_object_namespace", None) => {
                if !exports.has(class) {
                    let text = format!(
                        "Cannot create binding for class '{class}' that is not exported by the script"
                    );
                    return Err(CloudflareError::new(400, 10_070, &text));
                }
                if !worker.classes.iter().any(|other| other.name == class) {
                    return Err(not_configured(class));
                }
            }
            ("durable_object_namespace", Some(script)) => {
                let other = app.store.worker(&worker.account, script);
                if !other.is_some_and(|other| other.classes.iter().any(|other| other.name == class))
                {
                    return Err(not_configured(class));
                }
            }
            ("workflow", None) if !exports.has(class) => {
                let text = format!("The workflow's class '{class}' is not exported by the script");
                return Err(CloudflareError::invalid(&text));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Refuses code without any handler.
pub fn check_handlers(exports: &Exports) -> Result<(), CloudflareError> {
    if exports.handlers.is_empty() && exports.entrypoints.is_empty() {
        let text = "The uploaded script has no registered event handlers.";
        return Err(CloudflareError::invalid(text).because(10_068, text));
    }
    Ok(())
}

fn not_configured(class: &str) -> CloudflareError {
    let text = format!(
        "Cannot create binding for class '{class}' because it is not currently configured to implement \
         Durable Objects. Did you forget to apply a migration?"
    );
    CloudflareError::new(400, 10_061, &text)
}

/// Returns today's date in UTC.
#[must_use]
pub fn today() -> String {
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    now.chars().take(10).collect()
}

fn check_date(date: &str, today: &str) -> Result<(), CloudflareError> {
    let has_format = date.bytes().enumerate().all(|(at, b)| match at {
        4 | 7 => b == b'-',
        _ => b.is_ascii_digit(),
    });
    if date.len() != 10
        || !has_format
        || humantime::parse_rfc3339(&format!("{date}T00:00:00Z")).is_err()
    {
        return Err(CloudflareError::invalid(&format!("Invalid compatibility date: {date:?}")));
    }
    if date > today {
        let text = format!(
            "Can't set compatibility date in the future: \"{date}\". Today's date (UTC) is \"{today}\"."
        );
        return Err(CloudflareError::invalid(&text));
    }
    Ok(())
}

fn check_names(bindings: &[Value]) -> Result<(), CloudflareError> {
    let mut names = BTreeSet::new();
    for binding in bindings {
        let name = binding["name"].as_str().unwrap_or_default();
        if name.is_empty() {
            return Err(CloudflareError::invalid("A binding has no name"));
        }
        if !names.insert(name) {
            return Err(CloudflareError::name_taken(name));
        }
    }
    Ok(())
}

fn check_fields(name: &str, kind: &str, binding: &Value) -> Result<(), CloudflareError> {
    let required: &[&str] = match kind {
        "plain_text" | "secret_text" => &["text"],
        "kv_namespace" => &["namespace_id"],
        "r2_bucket" => &["bucket_name"],
        "d1" => &["id"],
        "service" => &["service"],
        "queue" => &["queue_name"],
        "durable_object_namespace" => &["class_name"],
        "workflow" => &["workflow_name", "class_name"],
        _ => &[],
    };
    for field in required {
        // A text may be empty, but a name or an id may not.
        let is_present =
            binding[field].as_str().is_some_and(|text| *field == "text" || !text.is_empty());
        // Other clients name a database by `database_id`.
        let is_present = is_present || (kind == "d1" && binding["database_id"].is_string());
        if !is_present {
            let text =
                format!("binding {name} of type {kind} must have a valid `{field}` specified");
            return Err(CloudflareError::invalid(&text));
        }
    }
    check_text(name, binding["text"].as_str().unwrap_or_default())
}

/// Refuses a variable or secret that is too large.
pub fn check_text(name: &str, text: &str) -> Result<(), CloudflareError> {
    if text.len() > MAX_TEXT_SIZE {
        let text = format!(
            "Text binding '{name}' is too large: at most 5.0 kB, and this is {} bytes",
            text.len()
        );
        return Err(CloudflareError::new(400, 10_054, &text));
    }
    Ok(())
}

/// Refuses a version with too many variables and secrets.
pub fn check_count(bindings: &[Value]) -> Result<(), CloudflareError> {
    let is_text = |binding: &&Value| {
        matches!(
            binding["type"].as_str(),
            Some("plain_text" | "secret_text" | "json" | "secret_key")
        )
    };
    if bindings.iter().filter(is_text).count() > MAX_TEXTS {
        let text = format!("A version has at most {MAX_TEXTS} variables and secrets");
        return Err(CloudflareError::new(400, 10_055, &text));
    }
    Ok(())
}

fn check_resource(
    resources: &Resources,
    name: &str,
    kind: &str,
    binding: &Value,
) -> Result<(), CloudflareError> {
    let text = |field: &str| binding[field].as_str().unwrap_or_default();
    let names = ["namespace_id", "id", "bucket_name"].map(text);
    if names.iter().any(|name| name.starts_with(PREVIEW_STORAGE)) {
        return Ok(());
    }
    match kind {
        "kv_namespace" => {
            let id = text("namespace_id");
            if !resources.namespaces.iter().any(|one| one.id == id) {
                let text = format!("KV namespace '{id}' not found.");
                return Err(CloudflareError::new(400, 10_041, &text));
            }
        }
        "d1" => {
            let id = binding["id"].as_str().unwrap_or_else(|| text("database_id"));
            if !resources.databases.iter().any(|one| one.uuid == id) {
                let text =
                    format!("D1 binding '{name}' references database '{id}' which was not found.");
                return Err(CloudflareError::new(400, 10_181, &text));
            }
        }
        "r2_bucket" => {
            let bucket = text("bucket_name");
            if resources.bucket(bucket).is_none() {
                let text = format!(
                    "R2 bucket '{bucket}' not found. Please use a different name and try again."
                );
                return Err(CloudflareError::new(400, 10_085, &text));
            }
        }
        "queue" => {
            let queue = text("queue_name");
            if resources.queue(queue).is_none() {
                let text = format!("Queue '{queue}' not found.");
                return Err(CloudflareError::new(400, 11_000, &text));
            }
        }
        _ => {}
    }
    Ok(())
}

fn check_service(
    app: &App,
    worker: &Worker,
    name: &str,
    binding: &Value,
) -> Result<(), CloudflareError> {
    let target = binding["service"].as_str().unwrap_or_default();
    if target == worker.name {
        return Ok(());
    }
    let Some(other) = app.store.worker(&worker.account, target) else {
        let text = format!(
            "Could not resolve service binding '{name}'. Target script '{target}' not found."
        );
        return Err(CloudflareError::new(400, 10_143, &text));
    };
    let entrypoint = binding["entrypoint"].as_str().filter(|entrypoint| *entrypoint != "default");
    let exports = other.live().and_then(|version| version.exports.as_ref());
    if let (Some(entrypoint), Some(exports)) = (entrypoint, exports)
        && !exports.has(entrypoint)
    {
        let text = format!(
            "Could not resolve service binding '{name}'. Target script '{target}' has no entrypoint \
             '{entrypoint}'."
        );
        return Err(CloudflareError::new(400, 10_144, &text));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn refuses_dates_in_the_future() {
        let check = |date: &str| check_date(date, "2026-11-24").is_ok();
        assert!(check("2026-11-24") && check("2021-11-02"));
        for date in
            ["2026-11-25", "2027-01-01", "", "today", "2026-13-01", "2026-1-1", "2026-11-24T00"]
        {
            assert!(!check(date), "{date}");
        }
    }

    #[test]
    fn refuses_duplicate_names() {
        let one = json!({ "name": "A", "type": "plain_text" });
        assert!(check_names(std::slice::from_ref(&one)).is_ok());
        assert!(check_names(&[one.clone(), one]).is_err());
        assert!(check_names(&[json!({ "type": "plain_text" })]).is_err());
    }

    #[test]
    fn bindings_have_the_fields_of_their_kind() {
        for (binding, good) in [
            (json!({ "type": "plain_text", "text": "" }), true),
            (json!({ "type": "plain_text" }), false),
            (json!({ "type": "plain_text", "text": 5 }), false),
            (json!({ "type": "kv_namespace", "namespace_id": "" }), false),
            (json!({ "type": "d1", "database_id": "x" }), true),
            (json!({ "type": "d1" }), false),
            (json!({ "type": "secret_text", "text": "x".repeat(MAX_TEXT_SIZE) }), true),
            (json!({ "type": "secret_text", "text": "x".repeat(MAX_TEXT_SIZE + 1) }), false),
            (json!({ "type": "ai" }), true),
        ] {
            let kind = binding["type"].as_str().expect("a kind");
            assert_eq!(check_fields("A", kind, &binding).is_ok(), good, "{binding}");
        }
    }
}
