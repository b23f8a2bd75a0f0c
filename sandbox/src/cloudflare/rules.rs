//! Refuses the versions that Cloudflare refuses because of their bindings, dates or missing resources.

use std::collections::BTreeSet;
use std::time::SystemTime;

use serde_json::Value;

use super::envelope::CloudflareError;
use super::exports::DeclaredClasses;
use super::workflows;
use crate::app::App;
use crate::ids::is_uuid;
use crate::serve::hyperdrive;
use crate::state::model::{DURABLE_OBJECT, Exports, StoredModule, WORKFLOW, Worker, WorkerVersion};
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

/// More kinds, which wrangler sends and the documentation does not list.
const OTHER_KINDS: [&str; 5] =
    ["vpc_network", "wasm_module", "worker_loader", "websearch", "unsafe_hello_world"];

/// The beginning of the names of all separate storage of Previews.
const PREVIEW_STORAGE: &str = "preview-";

/// Returns the prefix of the names of the separate storage of a Worker Preview.
#[must_use]
pub fn preview_storage_prefix(preview_id: &str) -> String {
    format!("{PREVIEW_STORAGE}{preview_id}-")
}

/// The maximum size of a variable or a secret, in bytes
/// (<https://developers.cloudflare.com/workers/platform/limits/#environment-variables>).
pub const MAX_TEXT_SIZE: usize = 5 * 1024;

/// The maximum number of variables and secrets of a version in a paid plan (same page).
const MAX_TEXTS: usize = 128;

/// Refuses Python, for which this workerd would download an interpreter while it serves requests.
fn check_language(version: &WorkerVersion) -> Result<(), CloudflareError> {
    let is_python = |module: &StoredModule| module.content_type.trim().starts_with("text/x-python");
    let has_flag = version.compatibility_flags.iter().any(|flag| flag == "python_workers");
    if has_flag || version.modules.iter().any(is_python) {
        let text = "The sandbox does not run Python Workers. Deploy to Cloudflare with `--env`";
        return Err(CloudflareError::new(501, 7000, text));
    }
    Ok(())
}

/// Refuses an invalid version, without running it. Storage whose name begins with `storage_prefix` belongs to the
/// version and need not exist.
pub fn check_version(
    app: &App,
    worker: &Worker,
    version: &WorkerVersion,
    storage_prefix: Option<&str>,
) -> Result<(), CloudflareError> {
    check_date(&version.compatibility_date, &today())?;
    check_language(version)?;
    check_names(&version.bindings)?;
    check_count(&version.bindings)?;
    check_runtime_fields(&version.limits, &version.placement)?;
    let resources = app.store.resources.get(&worker.account)?;
    version.bindings.iter().try_for_each(|binding| {
        let kind = binding["type"].as_str().unwrap_or_default();
        let name = binding["name"].as_str().unwrap_or_default();
        if !KINDS.contains(&kind) && !OTHER_KINDS.contains(&kind) {
            let text = format!("The binding {name} has the unknown type {kind:?}");
            return Err(CloudflareError::invalid(&text));
        }
        check_fields(name, kind, binding)?;
        let is_separate = |id: &str| storage_prefix.is_some_and(|prefix| id.starts_with(prefix));
        let ids = ["namespace_id", "id", "bucket_name"].map(|field| binding[field].as_str());
        if !ids.into_iter().flatten().any(is_separate) {
            check_resource(&resources, name, kind, binding)?;
        }
        match kind {
            "service" => check_service(app, worker, name, binding),
            "workflow" => check_workflow(app, worker, binding),
            "assets" if version.assets.is_none() => {
                let text = format!("The binding {name} of type assets needs assets");
                Err(CloudflareError::invalid(&text))
            }
            _ => Ok(()),
        }
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
                if !exports.has_class(class, DURABLE_OBJECT) {
                    let text = format!(
                        "Cannot create binding for class '{class}' that is not exported by the script"
                    );
                    // The same code as for a missing migration (workers-sdk, issue 1792).
                    return Err(CloudflareError::new(400, 10_061, &text));
                }
                if !worker.classes.iter().any(|other| other.name == class) {
                    return Err(
                        match DeclaredClasses::parse(&version.declared_exports)?.is_live(class) {
                            true => not_deployed(class),
                            false => not_configured(class),
                        },
                    );
                }
            }
            ("durable_object_namespace", Some(script)) => {
                let other = app.store.worker(&worker.account, script);
                if !other.is_some_and(|other| other.classes.iter().any(|other| other.name == class))
                {
                    return Err(not_configured(class));
                }
            }
            ("workflow", None) if !exports.has_class(class, WORKFLOW) => {
                let text = format!("The workflow's class '{class}' is not exported by the script");
                return Err(CloudflareError::invalid(&text));
            }
            ("service", _) if binding["service"] == worker.name.as_str() => {
                check_entrypoint(binding, exports)?;
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

/// Makes the error for a binding of a version to a class that only a deployment of its `exports` creates.
fn not_deployed(class: &str) -> CloudflareError {
    let text = format!(
        "Cannot create binding for class '{class}', which `exports` declares, because no deployment created it yet. \
         Deploy this version to create it."
    );
    CloudflareError::new(400, 100_406, &text)
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
    let has_format = date.bytes().enumerate().all(|(index, b)| match index {
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
        "hyperdrive" => &["id"],
        "vectorize" => &["index_name"],
        "dispatch_namespace" => &["namespace"],
        "mtls_certificate" => &["certificate_id"],
        "pipelines" => &["pipeline"],
        "secrets_store_secret" => &["store_id", "secret_name"],
        "vpc_service" => &["service_id"],
        "ratelimit" => &["namespace_id"],
        _ => &[],
    };
    for field in required {
        // A text may be empty, but a name or an id may not.
        let is_present =
            binding[field].as_str().is_some_and(|text| *field == "text" || !text.is_empty());
        if !is_present {
            return Err(invalid_field(name, kind, field));
        }
    }
    match kind {
        "json" if binding.get("json").is_none() => Err(invalid_field(name, kind, "json")),
        "json" => check_text(name, &binding["json"].to_string()),
        "ratelimit" if !is_rate(&binding["simple"]) => Err(invalid_field(name, kind, "simple")),
        _ => check_text(name, binding["text"].as_str().unwrap_or_default()),
    }
}

fn invalid_field(name: &str, kind: &str, field: &str) -> CloudflareError {
    let text = format!("binding {name} of type {kind} must have a valid `{field}` specified");
    CloudflareError::invalid(&text)
}

/// Returns whether `id` has the format of a database's id. The separate database of a Preview has another one.
fn is_database_id(id: &str) -> bool {
    id.starts_with(PREVIEW_STORAGE) || is_uuid(id)
}

/// Returns whether a value is a rate limit. Its period is 10 or 60 seconds
/// (<https://developers.cloudflare.com/workers/runtime-apis/bindings/rate-limit/>).
fn is_rate(rule: &Value) -> bool {
    rule["limit"].as_u64().is_some_and(|limit| limit > 0)
        && matches!(rule["period"].as_u64(), Some(10 | 60))
}

/// Refuses limits and a placement of the wrong type.
fn check_runtime_fields(limits: &Value, placement: &Value) -> Result<(), CloudflareError> {
    let is_limit = |value: &Value| value.is_null() || value.as_u64().is_some_and(|limit| limit > 0);
    let has_limits = ["cpu_ms", "subrequests"].iter().all(|field| is_limit(&limits[*field]));
    if !(limits.is_null() || limits.is_object()) || !has_limits {
        return Err(CloudflareError::invalid(&format!("The limits are invalid: {limits}")));
    }
    let mode = &placement["mode"];
    let is_mode =
        mode.is_null() || matches!(mode.as_str(), Some("" | "off" | "smart" | "targeted"));
    if !(placement.is_null() || placement.is_object()) || !is_mode {
        return Err(CloudflareError::invalid(&format!("The placement is invalid: {placement}")));
    }
    Ok(())
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

/// Refuses a binding to a resource that does not exist.
fn check_resource(
    resources: &Resources,
    name: &str,
    kind: &str,
    binding: &Value,
) -> Result<(), CloudflareError> {
    let text = |field: &str| binding[field].as_str().unwrap_or_default();
    let (code, text) = match kind {
        "kv_namespace" => return check_namespace(resources, text("namespace_id")),
        "d1" => return check_database(resources, name, text("id")),
        "r2_bucket" if resources.bucket(text("bucket_name")).is_none() => {
            let bucket = text("bucket_name");
            let text = format!(
                "R2 bucket '{bucket}' not found. Please use a different name and try again."
            );
            (10_085, text)
        }
        "hyperdrive" if !hyperdrive::is_known(resources, name, text("id")) => {
            let text = format!(
                "Hyperdrive config '{}' of the binding {name} not found. The sandbox knows only those whose local \
                 database is set: {}",
                text("id"),
                hyperdrive::hint(name)
            );
            // The code was captured from the API (alchemy-run/distilled, pull request 365).
            (10_157, text)
        }
        "queue" if resources.queue(text("queue_name")).is_none() => {
            (11_000, format!("Queue '{}' not found.", text("queue_name")))
        }
        _ => return Ok(()),
    };
    Err(CloudflareError::new(400, code, &text))
}

fn check_namespace(resources: &Resources, id: &str) -> Result<(), CloudflareError> {
    // This comes first, because a local deployment may have created storage for a placeholder.
    if resources.namespaces.iter().any(|namespace| namespace.id == id) {
        return Ok(());
    }
    if id.len() != 32 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let text = format!(
            "KV namespace '{id}' is not valid. Please verify the namespace_id in your configuration."
        );
        return Err(CloudflareError::new(400, 10_042, &text));
    }
    let text = format!("KV namespace '{id}' not found.");
    Err(CloudflareError::new(400, 10_041, &text))
}

fn check_database(resources: &Resources, name: &str, id: &str) -> Result<(), CloudflareError> {
    if resources.databases.iter().any(|database| database.uuid == id) {
        return Ok(());
    }
    if !is_database_id(id) {
        return Err(invalid_field(name, "d1", "id"));
    }
    let text = format!("D1 binding '{name}' references database '{id}' which was not found.");
    Err(CloudflareError::new(400, 10_181, &text))
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
        return Err(service_not_found(name, target, binding["environment"].as_str()));
    };
    match other.live().and_then(|version| version.exports.as_ref()) {
        Some(exports) => check_entrypoint(binding, exports),
        None => Ok(()),
    }
}

/// Makes the error for a service binding to a missing Worker. A binding that names the environment has another
/// code (captured from the API: `ServiceBindingNotFound` of <https://github.com/alchemy-run/distilled>).
fn service_not_found(name: &str, target: &str, environment: Option<&str>) -> CloudflareError {
    match environment {
        Some(environment) => {
            let text = format!(
                "Service binding '{name}' references environment '{environment}' on Worker '{target}' which was not found."
            );
            CloudflareError::new(400, 10_144, &text)
        }
        None => {
            let text = format!(
                "Service binding '{name}' references Worker '{target}' which was not found. Verify the Worker exists \
                 in your account and that the service name in your configuration is correct."
            );
            CloudflareError::new(400, 10_143, &text)
        }
    }
}

/// Refuses a service binding to an entrypoint that its target does not export.
fn check_entrypoint(binding: &Value, exports: &Exports) -> Result<(), CloudflareError> {
    let entrypoint = binding["entrypoint"].as_str().filter(|entrypoint| *entrypoint != "default");
    let Some(entrypoint) = entrypoint.filter(|entrypoint| !exports.has(entrypoint)) else {
        return Ok(());
    };
    let text = format!(
        "Could not resolve service binding '{}'. Target script '{}' has no entrypoint '{entrypoint}'.",
        binding["name"].as_str().unwrap_or_default(),
        binding["service"].as_str().unwrap_or_default(),
    );
    Err(CloudflareError::new(400, 10_144, &text))
}

/// Refuses a binding to a workflow of a Worker that does not exist.
fn check_workflow(app: &App, worker: &Worker, binding: &Value) -> Result<(), CloudflareError> {
    match binding["script_name"].as_str().filter(|script| *script != worker.name) {
        Some(script) if app.store.worker(&worker.account, script).is_none() => {
            Err(workflows::not_found(binding["workflow_name"].as_str().unwrap_or_default()))
        }
        _ => Ok(()),
    }
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
    fn a_missing_service_has_the_code_of_its_binding() {
        for (environment, code) in [(None, "10143"), (Some("production"), "10144")] {
            let error = format!("{:?}", service_not_found("API", "shop", environment));
            assert!(error.contains(code) && error.contains("'API'") && error.contains("'shop'"));
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
        for (binding, is_valid) in [
            (json!({ "type": "plain_text", "text": "" }), true),
            (json!({ "type": "plain_text" }), false),
            (json!({ "type": "plain_text", "text": 5 }), false),
            (json!({ "type": "kv_namespace", "namespace_id": "" }), false),
            (json!({ "type": "d1", "id": "0a1b2c3d-0000-1111-2222-333344445555" }), true),
            // Valid if the storage exists.
            (json!({ "type": "d1", "id": "YOUR-DATABASE-ID" }), true),
            (json!({ "type": "d1" }), false),
            (json!({ "type": "json", "json": null }), true),
            (json!({ "type": "json", "text": "x" }), false),
            (json!({ "type": "json", "json": { "a": "x".repeat(MAX_TEXT_SIZE) } }), false),
            (json!({ "type": "hyperdrive" }), false),
            (json!({ "type": "vectorize", "index_name": "" }), false),
            (json!({ "type": "secrets_store_secret", "store_id": "a" }), false),
            (
                json!({ "type": "ratelimit", "namespace_id": "1", "simple": { "limit": 5, "period": 60 } }),
                true,
            ),
            (
                json!({ "type": "ratelimit", "namespace_id": "1", "simple": { "limit": 5, "period": 30 } }),
                false,
            ),
            (
                json!({ "type": "ratelimit", "namespace_id": "1", "simple": { "limit": 0, "period": 10 } }),
                false,
            ),
            (json!({ "type": "ratelimit", "simple": { "limit": 5, "period": 10 } }), false),
            (json!({ "type": "secret_text", "text": "x".repeat(MAX_TEXT_SIZE) }), true),
            (json!({ "type": "secret_text", "text": "x".repeat(MAX_TEXT_SIZE + 1) }), false),
            (json!({ "type": "ai" }), true),
        ] {
            let kind = binding["type"].as_str().expect("a kind");
            assert_eq!(check_fields("A", kind, &binding).is_ok(), is_valid, "{binding}");
        }
    }

    #[test]
    fn limits_and_placements_have_types() {
        let check = |limits, placement| check_runtime_fields(&limits, &placement).is_ok();
        assert!(check(Value::Null, Value::Null));
        assert!(check(json!({ "cpu_ms": 50 }), json!({ "mode": "smart" })));
        assert!(check(json!({}), json!({ "region": "aws:us-east-1" })));
        for (limits, placement) in [
            (json!({ "cpu_ms": "50" }), Value::Null),
            (json!({ "subrequests": 0 }), Value::Null),
            (json!(50), Value::Null),
            (Value::Null, json!({ "mode": "fast" })),
            (Value::Null, json!("smart")),
        ] {
            assert!(!check(limits.clone(), placement.clone()), "{limits} {placement}");
        }
    }
}
