//! Reads and changes queues and their consumers (<https://developers.cloudflare.com/api/resources/queues/>).

use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::{JsonBody, Query};
use super::envelope::{ApiResult, CloudflareError, list as listed, list_page, ok};
use super::messages::{notify_consumer, release};
use super::paging::Page;
use super::{AccountAndName, empty_result};
use crate::app::App;
use crate::ids::{now, random_id};
use crate::state::model::Worker;
use crate::state::resources::{Consumer, DEFAULT_RETENTION, Queue};

/// The path parameters: account, queue, consumer.
type ConsumerPath = Path<(String, String, String)>;

/// The body of a new or changed queue.
#[derive(Debug, Deserialize)]
pub struct QueueFields {
    queue_name: Option<String>,
    #[serde(default)]
    settings: Value,
}

/// The filter of a list of queues.
#[derive(Debug, Deserialize)]
pub struct QueueFilter {
    name: Option<String>,
}

/// The body of a consumer.
#[derive(Debug, Deserialize)]
pub struct ConsumerFields {
    #[serde(rename = "type", default = "worker_kind")]
    kind: String,
    script_name: Option<String>,
    #[serde(default)]
    settings: Value,
    dead_letter_queue: Option<String>,
}

fn worker_kind() -> String {
    "worker".to_owned()
}

fn queue_not_found(id: &str) -> CloudflareError {
    CloudflareError::new(404, 11_000, &format!("Queue {id} does not exist"))
}

fn consumer_not_found() -> CloudflareError {
    CloudflareError::new(404, 11_001, "The consumer does not exist")
}

/// Returns whether a Worker has a binding to a queue.
fn produces(worker: &Worker, queue: &str) -> bool {
    let bindings = worker.live().into_iter().flat_map(|version| &version.bindings);
    bindings.into_iter().any(|binding| binding["type"] == "queue" && binding["queue_name"] == queue)
}

/// Returns a queue in the API's format.
pub(super) fn queue_json(app: &App, account: &str, queue: &Queue) -> Value {
    let workers = app.store.workers();
    let producers = workers.iter().filter(|w| w.account == account && produces(w, &queue.name));
    let producers: Vec<Value> =
        producers.map(|w| json!({ "type": "worker", "script": w.name, "service": w.name, "environment": "production" })).collect();
    let consumers: Vec<Value> =
        queue.consumers.iter().map(|consumer| consumer_json(queue, consumer)).collect();
    json!({
        "queue_id": queue.id, "queue_name": queue.name, "created_on": queue.created_on,
        "modified_on": queue.modified_on, "settings": queue.settings,
        "producers_total_count": producers.len(), "producers": producers,
        "consumers_total_count": consumers.len(), "consumers": consumers,
    })
}

fn consumer_json(queue: &Queue, consumer: &Consumer) -> Value {
    json!({
        "consumer_id": consumer.id, "type": consumer.kind, "script": consumer.script, "script_name": consumer.script,
        "service": consumer.script, "environment": "production", "settings": consumer.settings,
        "dead_letter_queue": consumer.dead_letter_queue, "queue_name": queue.name, "queue_id": queue.id,
        "created_on": consumer.created_on,
    })
}

/// Returns a queue by its id.
pub(super) fn find(app: &App, account: &str, id: &str) -> Result<Queue, CloudflareError> {
    let resources = app.store.resources.get(account)?;
    resources.queues.iter().find(|queue| queue.id == id).cloned().ok_or_else(|| queue_not_found(id))
}

/// Changes a queue. Returns it with the result of `change`. If `change` fails, nothing is changed.
pub(super) fn change<T>(
    app: &App,
    account: &str,
    id: &str,
    change: impl FnOnce(&mut Queue) -> Result<T, CloudflareError>,
) -> Result<(Queue, T), CloudflareError> {
    tokio::task::block_in_place(|| {
        app.store.resources.change(account, |resources| {
            let queue = resources.queues.iter_mut().find(|queue| queue.id == id);
            let queue = queue.ok_or_else(|| queue_not_found(id))?;
            let result = change(queue)?;
            queue.modified_on = now();
            Ok((queue.clone(), result))
        })
    })
}

/// `GET /accounts/{account}/queues`
pub async fn list(
    State(app): State<App>,
    Path(account): Path<String>,
    Query(page): Query<Page>,
    Query(filter): Query<QueueFilter>,
) -> ApiResult {
    let resources = app.store.resources.get(&account)?;
    // wrangler asks for several queues at once: `?name=a&name=b`.
    let is_selected = |queue: &&Queue| {
        filter.name.as_ref().is_none_or(|names| names.split(',').any(|name| name == queue.name))
    };
    let queues = resources.queues.iter().filter(is_selected);
    let queues = queues.map(|queue| queue_json(&app, &account, queue));
    Ok(list_page(&page, &queues.collect::<Vec<_>>()))
}

/// `POST /accounts/{account}/queues`
pub async fn create(
    State(app): State<App>,
    Path(account): Path<String>,
    JsonBody(fields): JsonBody<QueueFields>,
) -> ApiResult {
    let name = fields.queue_name.unwrap_or_default();
    let is_valid = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if name.is_empty() || name.len() > 63 || !name.bytes().all(is_valid) {
        return Err(CloudflareError::new(
            400,
            11_003,
            &format!("The queue name {name:?} is invalid"),
        ));
    }
    let mut settings = json!({ "delivery_delay": 0, "delivery_paused": false, "message_retention_period": DEFAULT_RETENTION });
    merge(&mut settings, fields.settings);
    let created = tokio::task::block_in_place(|| {
        app.store.resources.change(&account, |resources| {
            if resources.queue(&name).is_some() {
                let text = format!("Queue name '{name}' is already taken. Please use a different name and try again.");
                return Err(CloudflareError::new(409, 11_009, &text));
            }
            let created = Queue::new(&name, settings);
            resources.queues.push(created.clone());
            Ok(created)
        })
    })?;
    Ok(ok(&queue_json(&app, &account, &created)))
}

/// Sets the fields of `changes` in `settings`.
fn merge(settings: &mut Value, changes: Value) {
    if let Value::Object(changes) = changes {
        for (name, value) in changes {
            settings[name] = value;
        }
    }
}

/// `GET /accounts/{account}/queues/{queue}`
pub async fn view(State(app): State<App>, Path((account, id)): AccountAndName) -> ApiResult {
    Ok(ok(&queue_json(&app, &account, &find(&app, &account, &id)?)))
}

/// `PUT` and `PATCH /accounts/{account}/queues/{queue}`
pub async fn update(
    State(app): State<App>,
    Path((account, id)): AccountAndName,
    JsonBody(fields): JsonBody<QueueFields>,
) -> ApiResult {
    let (queue, was_paused) = change(&app, &account, &id, |queue| {
        let was_paused = queue.is_paused();
        merge(&mut queue.settings, fields.settings);
        Ok(was_paused)
    })?;
    if queue.is_paused() != was_paused {
        let action = if queue.is_paused() { "pause" } else { "resume" };
        notify_consumer(&app, &account, &queue, action).await?;
    }
    Ok(ok(&queue_json(&app, &account, &queue)))
}

/// `DELETE /accounts/{account}/queues/{queue}`. Refuses a queue that a Worker uses.
pub async fn delete(State(app): State<App>, Path((account, id)): AccountAndName) -> ApiResult {
    let queue = find(&app, &account, &id)?;
    let workers = app.store.workers();
    let user = workers.iter().find(|w| w.account == account && produces(w, &queue.name));
    if let Some(user) = user {
        let text = format!(
            "Cannot delete the queue '{}': the Worker '{}' has a binding to it",
            queue.name, user.name
        );
        return Err(CloudflareError::new(409, 11_005, &text));
    }
    tokio::task::block_in_place(|| {
        app.store.resources.change(&account, |resources| {
            resources.queues.retain(|queue| queue.id != id);
            Ok::<_, CloudflareError>(())
        })
    })?;
    app.runtime.backlog.purge(&account, &queue.name);
    Ok(empty_result())
}

/// `GET …/consumers`
pub async fn consumers(State(app): State<App>, Path((account, id)): AccountAndName) -> ApiResult {
    let queue = find(&app, &account, &id)?;
    Ok(listed(
        &queue.consumers.iter().map(|consumer| consumer_json(&queue, consumer)).collect::<Vec<_>>(),
    ))
}

/// `GET …/consumers/{consumer}`
pub async fn view_consumer(
    State(app): State<App>,
    Path((account, id, consumer_id)): ConsumerPath,
) -> ApiResult {
    let queue = find(&app, &account, &id)?;
    let consumer = queue
        .consumers
        .iter()
        .find(|consumer| consumer.id == consumer_id)
        .ok_or_else(consumer_not_found)?;
    Ok(ok(&consumer_json(&queue, consumer)))
}

/// `POST …/consumers`
pub async fn add_consumer(
    State(app): State<App>,
    Path((account, id)): AccountAndName,
    JsonBody(fields): JsonBody<ConsumerFields>,
) -> ApiResult {
    check_consumer(&app, &account, &fields)?;
    let (queue, created) = change(&app, &account, &id, |queue| {
        if let Some(other) = queue.consumers.first() {
            let text = format!(
                "Queue '{}' already has a consumer ({}). Remove it first.",
                queue.name,
                other.script.as_deref().unwrap_or(&other.kind)
            );
            return Err(CloudflareError::new(409, 11_004, &text));
        }
        let created = Consumer {
            id: random_id(),
            kind: fields.kind,
            script: fields.script_name,
            settings: fields.settings,
            dead_letter_queue: fields.dead_letter_queue,
            created_on: now(),
        };
        queue.consumers.push(created.clone());
        Ok(created)
    })?;
    release(&app, &account, &queue).await;
    Ok(ok(&consumer_json(&queue, &created)))
}

/// `PUT …/consumers/{consumer}`
pub async fn set_consumer(
    State(app): State<App>,
    Path((account, id, consumer_id)): ConsumerPath,
    JsonBody(fields): JsonBody<ConsumerFields>,
) -> ApiResult {
    check_consumer(&app, &account, &fields)?;
    let (queue, changed) = change(&app, &account, &id, |queue| {
        let consumer = queue
            .consumers
            .iter_mut()
            .find(|consumer| consumer.id == consumer_id)
            .ok_or_else(consumer_not_found)?;
        consumer.kind = fields.kind;
        consumer.script = fields.script_name.or(consumer.script.take());
        consumer.settings = fields.settings;
        consumer.dead_letter_queue = fields.dead_letter_queue;
        Ok(consumer.clone())
    })?;
    release(&app, &account, &queue).await;
    Ok(ok(&consumer_json(&queue, &changed)))
}

/// `DELETE …/consumers/{consumer}`
pub async fn delete_consumer(
    State(app): State<App>,
    Path((account, id, consumer_id)): ConsumerPath,
) -> ApiResult {
    change(&app, &account, &id, |queue| {
        let before = queue.consumers.len();
        queue.consumers.retain(|consumer| consumer.id != consumer_id);
        if queue.consumers.len() < before { Ok(()) } else { Err(consumer_not_found()) }
    })?;
    Ok(empty_result())
}

/// Refuses an unknown type, a Worker that is missing or has no `queue` handler, and a missing dead letter
/// queue.
fn check_consumer(
    app: &App,
    account: &str,
    fields: &ConsumerFields,
) -> Result<(), CloudflareError> {
    if !matches!(fields.kind.as_str(), "worker" | "http_pull") {
        let text = format!("The consumer type {:?} is invalid", fields.kind);
        return Err(CloudflareError::new(400, 11_016, &text));
    }
    if fields.kind == "worker" {
        let script = fields.script_name.as_deref().unwrap_or_default();
        let worker =
            app.store.worker(account, script).ok_or_else(CloudflareError::worker_not_found)?;
        let exports = worker.live().and_then(|version| version.exports.as_ref());
        if exports.is_some_and(|exports| !exports.handlers.iter().any(|name| name == "queue")) {
            let text = format!("The Worker '{script}' has no queue handler");
            return Err(CloudflareError::new(400, 11_002, &text));
        }
    }
    match fields.dead_letter_queue.as_deref().filter(|name| !name.is_empty()) {
        Some(name) if app.store.resources.get(account)?.queue(name).is_none() => {
            Err(queue_not_found(name))
        }
        _ => Ok(()),
    }
}
