//! Sends, pulls, acknowledges and purges the messages of queues
//! (<https://developers.cloudflare.com/queues/configuration/pull-consumers/>).

use std::time::{Duration, SystemTime};

use axum::extract::State;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::AccountAndName;
use super::body::JsonBody;
use super::envelope::{ApiResult, CloudflareError, ok};
use super::queues::{change, find, queue_json};
use crate::app::App;
use crate::ids::{now, random_id};
use crate::serve::group::VersionNode;
use crate::serve::queues::{LeasedMessage, MessageBatch, PullOptions, QueueMessage, send_command};
use crate::state::resources::{DEFAULT_MAX_RETRIES, DEFAULT_RETENTION, Queue};

/// The default and the maximum number of messages that a client pulls at once (same page).
const DEFAULT_PULL_SIZE: u64 = 5;
const MAX_PULL_SIZE: u64 = 100;

/// The default and the maximum time for the acknowledgment of a message, in milliseconds (same page).
const DEFAULT_VISIBILITY: u64 = 30_000;
const MAX_VISIBILITY: u64 = 12 * 60 * 60 * 1000;

/// The maximum number of messages that a client sends at once (<https://developers.cloudflare.com/queues/platform/limits/>).
const MAX_BATCH: usize = 100;

/// A message that a client sends.
#[derive(Debug, Deserialize)]
pub struct SentMessage {
    #[serde(default)]
    body: Value,
    content_type: Option<String>,
    delay_seconds: Option<u64>,
}

/// The messages that a client sends.
#[derive(Debug, Deserialize)]
pub struct SentBatch {
    messages: Vec<SentMessage>,
    delay_seconds: Option<u64>,
}

impl SentMessage {
    fn into_message(self, delay: Option<u64>) -> Result<QueueMessage, CloudflareError> {
        let content_type = self.content_type.unwrap_or_else(|| "json".to_owned());
        let bytes = match (content_type.as_str(), self.body) {
            ("text", Value::String(text)) => text.into_bytes(),
            ("json", body) => body.to_string().into_bytes(),
            _ => {
                let text = "The content_type of a message must be `json`, or `text` with a string as `body`";
                return Err(CloudflareError::new(400, 11_016, text));
            }
        };
        let since_epoch = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_millis();
        Ok(QueueMessage {
            id: random_id(),
            timestamp_ms: u64::try_from(since_epoch).unwrap_or_default(),
            content_type,
            body: BASE64_STANDARD.encode(bytes),
            delay_seconds: self.delay_seconds.or(delay),
        })
    }
}

/// `POST …/messages`
pub async fn push(
    State(app): State<App>,
    path: AccountAndName,
    JsonBody(message): JsonBody<SentMessage>,
) -> ApiResult {
    send(&app, path, vec![message], None).await
}

/// `POST …/messages/batch`
pub async fn push_batch(
    State(app): State<App>,
    path: AccountAndName,
    JsonBody(batch): JsonBody<SentBatch>,
) -> ApiResult {
    send(&app, path, batch.messages, batch.delay_seconds).await
}

async fn send(
    app: &App,
    axum::extract::Path((account, id)): AccountAndName,
    messages: Vec<SentMessage>,
    delay: Option<u64>,
) -> ApiResult {
    let queue = find(app, &account, &id)?;
    if messages.is_empty() || messages.len() > MAX_BATCH {
        let text = format!("A batch has 1 to {MAX_BATCH} messages");
        return Err(CloudflareError::new(400, 11_016, &text));
    }
    let delay = delay.or_else(|| queue.settings["delivery_delay"].as_u64());
    let messages: Result<Vec<QueueMessage>, _> =
        messages.into_iter().map(|message| message.into_message(delay)).collect();
    deliver(app, &account, &queue, messages?).await?;
    Ok(ok(&json!({ "metadata": metrics(app, &account, &queue) })))
}

/// Sends messages to the Worker that consumes a queue. Stores them if no Worker does.
async fn deliver(
    app: &App,
    account: &str,
    queue: &Queue,
    messages: Vec<QueueMessage>,
) -> Result<(), CloudflareError> {
    let Some(node) = consumer(app, account, queue).filter(|_| queue.has_worker()) else {
        let (account, queue) = (account.to_owned(), queue.name.clone());
        app.runtime.backlog.add(MessageBatch { account, queue, messages });
        return Ok(());
    };
    let command = json!({ "action": "send", "queue": queue.name, "messages": messages });
    send_command(app, &node, &command).await?;
    Ok(())
}

/// Returns the live version of the Worker that consumes a queue.
fn consumer(app: &App, account: &str, queue: &Queue) -> Option<VersionNode> {
    let script = queue.consumers.iter().find_map(|consumer| consumer.script.as_deref())?;
    VersionNode::live(&app.store.worker(account, script)?)
}

fn metrics(app: &App, account: &str, queue: &Queue) -> Value {
    let size = app.runtime.backlog.size(account, &queue.name);
    json!({ "metrics": {
        "backlog_count": size.count, "backlog_bytes": size.bytes,
        "oldest_message_timestamp_ms": size.oldest_ms,
    } })
}

/// The options of a pull.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct PullFields {
    batch_size: Option<u64>,
    visibility_timeout_ms: Option<u64>,
    /// The same field by its name in Cloudflare's guide.
    visibility_timeout: Option<u64>,
}

impl PullFields {
    fn options(&self, queue: &Queue) -> PullOptions {
        let settings = queue.consumers.first().map_or(&Value::Null, |consumer| &consumer.settings);
        let setting = |name: &str| settings[name].as_u64();
        let size = self.batch_size.or_else(|| setting("batch_size")).unwrap_or(DEFAULT_PULL_SIZE);
        let visibility = self.visibility_timeout_ms.or(self.visibility_timeout);
        let visibility = visibility.or_else(|| setting("visibility_timeout_ms"));
        let visibility = visibility.unwrap_or(DEFAULT_VISIBILITY).min(MAX_VISIBILITY);
        let retention =
            queue.settings["message_retention_period"].as_u64().unwrap_or(DEFAULT_RETENTION);
        PullOptions {
            batch_size: usize::try_from(size.clamp(1, MAX_PULL_SIZE)).unwrap_or(1),
            visibility: Duration::from_millis(visibility),
            max_retries: setting("max_retries").unwrap_or(DEFAULT_MAX_RETRIES),
            retention: Duration::from_secs(retention),
        }
    }
}

/// Returns a queue that clients pull over HTTP. Errors if a Worker consumes it.
fn find_pull_queue(app: &App, account: &str, id: &str) -> Result<Queue, CloudflareError> {
    let queue = find(app, account, id)?;
    if queue.is_pulled() {
        return Ok(queue);
    }
    let text = format!(
        "No http_pull consumer exists for queue {0}. Add one with `wrangler queues consumer http add {0}`",
        queue.name
    );
    Err(CloudflareError::new(400, 11_001, &text))
}

/// `POST …/messages/pull`
pub async fn pull(
    State(app): State<App>,
    axum::extract::Path((account, id)): AccountAndName,
    JsonBody(fields): JsonBody<PullFields>,
) -> ApiResult {
    let queue = find_pull_queue(&app, &account, &id)?;
    if queue.is_paused() {
        return Err(CloudflareError::new(409, 11_020, "queue_delivery_paused"));
    }
    let options = fields.options(&queue);
    let result = app.runtime.backlog.pull(&account, &queue.name, options, SystemTime::now());
    if !result.dead.is_empty() {
        dead_letter(&app, &account, &queue, result.dead).await;
    }
    let messages: Vec<Value> = result.messages.iter().map(message_json).collect();
    let size = app.runtime.backlog.size(&account, &queue.name);
    Ok(ok(&json!({
        "message_backlog_count": size.count, "messages": messages,
        "metadata": metrics(&app, &account, &queue),
    })))
}

/// Moves messages that were pulled too often to the dead letter queue. Drops them if there is none.
async fn dead_letter(app: &App, account: &str, queue: &Queue, messages: Vec<QueueMessage>) {
    let count = messages.len();
    let name = queue.consumers.first().and_then(|consumer| consumer.dead_letter_queue.as_deref());
    let resources = app.store.resources.get(account).unwrap_or_default();
    let target = name.and_then(|name| resources.queue(name));
    let result = match target {
        Some(target) => deliver(app, account, target, messages).await,
        None => Ok(()),
    };
    let outcome = match (target, result) {
        (Some(target), Ok(())) => format!("moved to the queue {}", target.name),
        (_, Err(error)) => format!("dropped: {error:?}"),
        (None, Ok(())) => "dropped".to_owned(),
    };
    crate::log::line(&format!(
        "queue {}: {count} messages failed too often, {outcome}",
        queue.name
    ));
}

fn message_json(leased: &LeasedMessage) -> Value {
    let message = &leased.message;
    let text = || String::from_utf8(BASE64_STANDARD.decode(&message.body).ok()?).ok();
    let text = if message.content_type == "text" { text() } else { None };
    json!({
        "id": message.id, "timestamp_ms": message.timestamp_ms, "attempts": leased.attempts,
        "body": text.as_ref().unwrap_or(&message.body), "lease_id": leased.lease,
        "metadata": { "CF-Content-Type": message.content_type },
    })
}

/// The lease of a message in an acknowledgment.
#[derive(Debug, Deserialize)]
pub struct Lease {
    lease_id: String,
    delay_seconds: Option<u64>,
}

/// The body of an acknowledgment.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Acknowledgment {
    acks: Vec<Lease>,
    retries: Vec<Lease>,
}

/// `POST …/messages/ack`
pub async fn acknowledge(
    State(app): State<App>,
    axum::extract::Path((account, id)): AccountAndName,
    JsonBody(body): JsonBody<Acknowledgment>,
) -> ApiResult {
    let queue = find_pull_queue(&app, &account, &id)?;
    let backlog = &app.runtime.backlog;
    let mut warnings = json!({});
    let mut warn = |lease: &Lease| warnings[&lease.lease_id] = json!("The lease does not exist");
    let (mut acked, mut retried) = (0, 0);
    for lease in &body.acks {
        if backlog.acknowledge(&account, &queue.name, &lease.lease_id) {
            acked += 1;
        } else {
            warn(lease);
        }
    }
    let default_delay =
        queue.consumers.first().and_then(|consumer| consumer.settings["retry_delay"].as_u64());
    for lease in &body.retries {
        let delay = lease.delay_seconds.or(default_delay).unwrap_or(0);
        let time = SystemTime::now() + Duration::from_secs(delay);
        if backlog.retry(&account, &queue.name, &lease.lease_id, time) {
            retried += 1;
        } else {
            warn(lease);
        }
    }
    Ok(ok(&json!({ "ackCount": acked, "retryCount": retried, "warnings": warnings })))
}

/// The body of a purge.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct PurgeFields {
    delete_messages_permanently: bool,
}

/// `POST …/purge`
pub async fn purge(
    State(app): State<App>,
    axum::extract::Path((account, id)): AccountAndName,
    JsonBody(fields): JsonBody<PurgeFields>,
) -> ApiResult {
    if !fields.delete_messages_permanently {
        let text = "delete_messages_permanently must be true";
        return Err(CloudflareError::new(400, 11_016, text));
    }
    let queue = find(&app, &account, &id)?;
    app.runtime.backlog.purge(&account, &queue.name);
    notify_consumer(&app, &account, &queue, "purge").await?;
    let (queue, ()) = change(&app, &account, &id, |queue| {
        queue.purged_on = Some(now());
        Ok(())
    })?;
    Ok(ok(&queue_json(&app, &account, &queue)))
}

/// `GET …/purge`
pub async fn purge_status(
    State(app): State<App>,
    axum::extract::Path((account, id)): AccountAndName,
) -> ApiResult {
    let queue = find(&app, &account, &id)?;
    let completed = queue.purged_on.as_ref().map(|_| "true");
    Ok(ok(&json!({ "completed": completed, "started_at": queue.purged_on })))
}

/// Sends the stored messages of a queue to the Worker that now consumes it.
pub async fn release(app: &App, account: &str, queue: &Queue) {
    if !queue.has_worker() {
        return;
    }
    let messages = app.runtime.backlog.take(account, &queue.name);
    // The runtime can decode a message of the type v8, but cannot send it.
    let (undeliverable, messages): (Vec<_>, Vec<_>) =
        messages.into_iter().partition(|message| message.content_type == "v8");
    if !undeliverable.is_empty() {
        let count = undeliverable.len();
        crate::log::line(&format!("queue {}: dropped {count} messages of the type v8", queue.name));
    }
    for batch in messages.chunks(MAX_BATCH) {
        if let Err(error) = deliver(app, account, queue, batch.to_vec()).await {
            crate::log::line(&format!("queue {}: cannot send its messages: {error:?}", queue.name));
            let (account, queue) = (account.to_owned(), queue.name.clone());
            app.runtime.backlog.add(MessageBatch { account, queue, messages: batch.to_vec() });
        }
    }
}

/// Sends the command `action` to the group of the Worker that consumes a queue. Does nothing if no
/// Worker does.
pub async fn notify_consumer(
    app: &App,
    account: &str,
    queue: &Queue,
    action: &str,
) -> Result<(), CloudflareError> {
    if let Some(node) = consumer(app, account, queue) {
        send_command(app, &node, &json!({ "action": action, "queue": queue.name })).await?;
    }
    Ok(())
}
