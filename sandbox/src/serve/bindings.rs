//! Converts a version's bindings, modules and assets into options of miniflare 5.

use camino::Utf8Path;
use serde_json::{Map, Value, json};

use super::group::{self, AccountState, BindingTarget, VersionNode};
use super::hyperdrive;
use crate::state::model::WorkerVersion;
use crate::state::resources::{DEFAULT_MAX_RETRIES, StoredWorkflow};

/// The helper Worker of the runtime that replaces bindings without a local form.
const STUB: &str = "@stub";

/// The phrase in the text of every stub. The proxy recognizes the exception of a stub by this phrase.
pub const NO_LOCAL_FORM: &str = "has no local form in the sandbox";

/// Returns the `env` of a member. Every use of a binding without a local form throws the reason.
#[must_use]
pub fn env(account: &AccountState, node: &VersionNode) -> Map<String, Value> {
    let bindings = node.version().map_or(&[] as &[Value], |version| &version.bindings);
    let by_name = bindings.iter().filter_map(|binding| Some((binding["name"].as_str()?, binding)));
    by_name.map(|(name, binding)| (name.to_owned(), value(account, node, name, binding))).collect()
}

fn value(account: &AccountState, node: &VersionNode, name: &str, binding: &Value) -> Value {
    let mut value = match binding["type"].as_str().unwrap_or_default() {
        "plain_text" | "secret_text" => json!({ "type": "text", "value": binding["text"] }),
        "json" => json!({ "type": "json", "value": binding["json"] }),
        "assets" => json!({ "type": "assets" }),
        "version_metadata" => {
            json!({ "type": "json", "value": node.version().map_or(Value::Null, metadata) })
        }
        "kv_namespace" => json!({ "type": "kv", "id": binding["namespace_id"] }),
        "r2_bucket" => json!({ "type": "r2", "name": binding["bucket_name"] }),
        "d1" => json!({ "type": "d1", "id": binding["id"] }),
        "service" => return service(account, node, binding),
        "durable_object_namespace" => return durable_object(account, node, binding),
        "workflow" => return workflow(account, node, binding),
        "queue" => json!({
            "type": "queue", "name": binding["queue_name"],
            "deliveryDelay": delivery_delay(account, binding),
        }),
        "ratelimit" => json!({
            "type": "rate-limit", "namespace": binding["namespace_id"], "simple": binding["simple"],
        }),
        "analytics_engine" => {
            json!({ "type": "analytics-engine-dataset", "name": binding["dataset"] })
        }
        "send_email" => json!({
            "type": "send-email", "destinationAddress": binding["destination_address"],
            "allowedDestinationAddresses": binding["allowed_destination_addresses"],
            "allowedSenderAddresses": binding["allowed_sender_addresses"],
        }),
        "images" => json!({ "type": "images" }),
        "worker_loader" => json!({ "type": "worker-loader" }),
        "hyperdrive" => return hyperdrive(account, name, binding),
        other => {
            return stub(&format!(
                "The binding {name} is of the kind `{other}`, which {NO_LOCAL_FORM}."
            ));
        }
    };
    // miniflare accepts a missing field, but not null.
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|_, field| !field.is_null());
    }
    value
}

fn stub(text: &str) -> Value {
    json!({ "type": "worker", "worker": STUB, "props": { "text": text } })
}

fn service(account: &AccountState, node: &VersionNode, binding: &Value) -> Value {
    match account.target(node, binding["service"].as_str().unwrap_or_default()) {
        BindingTarget::Unavailable(reason) => stub(&reason),
        BindingTarget::Member(member) => {
            let mut value = json!({ "type": "worker", "worker": member });
            if let Some(entrypoint) = binding["entrypoint"].as_str() {
                value["exportName"] = json!(entrypoint);
            }
            if binding["props"].is_object() {
                value["props"] = binding["props"].clone();
            }
            value
        }
    }
}

fn durable_object(account: &AccountState, node: &VersionNode, binding: &Value) -> Value {
    match account.owner(node, binding) {
        BindingTarget::Unavailable(reason) => stub(&reason),
        BindingTarget::Member(member) => json!({
            "type": "durable-object", "worker": member, "exportName": binding["class_name"],
        }),
    }
}

fn workflow(account: &AccountState, node: &VersionNode, binding: &Value) -> Value {
    match account.owner(node, binding) {
        BindingTarget::Unavailable(reason) => stub(&reason),
        BindingTarget::Member(member) => json!({
            "type": "workflow", "name": group::workflow_name(node, binding), "worker": member,
            "exportName": binding["class_name"],
        }),
    }
}

/// Returns the delay of the messages of a binding in seconds. The binding's delay overrides the queue's.
fn delivery_delay(account: &AccountState, binding: &Value) -> Value {
    let name = binding["queue_name"].as_str().unwrap_or_default();
    let of_queue = || account.resources.queue(name)?.settings["delivery_delay"].as_u64();
    json!(binding["delivery_delay"].as_u64().or_else(of_queue))
}

fn hyperdrive(account: &AccountState, name: &str, binding: &Value) -> Value {
    let id = binding["id"].as_str().unwrap_or_default();
    match hyperdrive::connection_string(&account.resources, name, id) {
        Some(text) => json!({
            "type": "hyperdrive", "id": id, "dev": { "connectionString": text },
        }),
        // The runtime refuses connections with this text, because a property of this binding cannot throw.
        None => json!({
            "type": "hyperdrive", "id": id,
            "reason": format!(
                "The Hyperdrive binding {name} {NO_LOCAL_FORM} until it knows a local database: {}",
                hyperdrive::hint(name)
            ),
        }),
    }
}

/// Returns bindings to the workflows of a member that it has no binding to.
#[must_use]
pub fn unbound_workflows(account: &AccountState, node: &VersionNode) -> Vec<Value> {
    let to_binding = |workflow: &StoredWorkflow| {
        json!({
            "type": "workflow", "name": workflow.name, "worker": node.name(),
            "exportName": workflow.class_name,
        })
    };
    account.unbound_workflows(node).into_iter().map(to_binding).collect()
}

/// Returns the `exports` of a member: its classes of Durable Objects.
#[must_use]
pub fn exports(node: &VersionNode) -> Map<String, Value> {
    let export = |class: crate::state::model::DurableClass| {
        let storage = if class.sqlite { "sqlite" } else { "legacy-kv" };
        let value =
            json!({ "type": "durable-object", "storage": storage, "unsafeUniqueKey": class.id });
        (class.name, value)
    };
    node.classes().into_iter().map(export).collect()
}

/// Returns the triggers of a member: the queues that it consumes. Missing settings have Cloudflare's defaults
/// (<https://developers.cloudflare.com/queues/configuration/configure-queues/>).
#[must_use]
pub fn triggers(account: &AccountState, node: &VersionNode) -> Vec<Value> {
    let trigger = |(queue, consumer): (&str, &crate::state::resources::Consumer)| {
        let setting =
            |name: &str, default: u64| consumer.settings[name].as_u64().unwrap_or(default);
        let mut trigger = json!({
            "type": "queue", "name": queue, "maxBatchSize": setting("batch_size", 10),
            "maxBatchTimeout": setting("max_wait_time_ms", 5000).div_ceil(1000),
            "maxRetries": setting("max_retries", DEFAULT_MAX_RETRIES), "retryDelay": setting("retry_delay", 0),
        });
        if let Some(queue) = &consumer.dead_letter_queue {
            trigger["deadLetterQueue"] = json!(queue);
        }
        trigger
    };
    account.consumers(node).into_iter().map(trigger).collect()
}

/// Returns the value of a version metadata binding.
pub(super) fn metadata(version: &WorkerVersion) -> Value {
    let tag = version.annotations.get("workers/tag").map_or("", String::as_str);
    json!({ "id": version.id, "tag": tag, "timestamp": version.created_on })
}

/// Returns the serving options of the assets in `folder`, from the uploaded `config`.
#[must_use]
pub fn assets(folder: &Utf8Path, config: &Value) -> Value {
    let mut assets = json!({ "directory": folder });
    for (field, option) in [
        ("html_handling", "htmlHandling"),
        ("not_found_handling", "notFoundHandling"),
        ("run_worker_first", "runWorkerFirst"),
    ] {
        if !config[field].is_null() {
            assets[option] = config[field].clone();
        }
    }
    assets
}

/// Returns miniflare's type of a module.
#[must_use]
pub fn module_kind(content_type: &str) -> &'static str {
    match content_type.split(';').next().unwrap_or_default().trim() {
        "application/javascript+module" => "esm",
        "application/javascript" => "cjs",
        "application/wasm" => "wasm",
        "text/plain" => "text",
        "application/json" => "json",
        "application/source-map" => "sourcemap",
        _ => "data",
    }
}
