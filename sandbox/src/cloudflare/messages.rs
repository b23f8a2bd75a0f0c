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
use crate::ids::{hex, now, random};
use crate::serve::group::VersionNode;
use crate::serve::queues::{KeptBatch, LeasedMessage, PullOptions, QueueMessage, order};
use crate::state::resources::Queue;

/// The number of messages in a batch that a client pulls (same page).
const DEFAULT_BATCH_SIZE: u64 = 5;
const MAX_BATCH_SIZE: u64 = 100;

/// The time for the acknowledgment of a message in milliseconds (same page).
const DEFAULT_VISIBILITY: u64 = 30_000;
const MAX_VISIBILITY: u64 = 12 * 60 * 60 * 1000;

/// The default number of retries.
const DEFAULT_RETRIES: u64 = 3;

/// The maximum number of messages in a batch (<https://developers.cloudflare.com/queues/platform/limits/>).
const MAX_SENT: usize = 100;

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
                let text = "A message has a text as `body` and the content_type `text`, or the content_type `json`";
                return Err(CloudflareError::new(400, 11_016, text));
            }
        };
        let since_epoch = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_millis();
        Ok(QueueMessage {
            id: hex(&random::<16>()),
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
    if messages.is_empty() || messages.len() > MAX_SENT {
        let text = format!("A batch has 1 to {MAX_SENT} messages");
        return Err(CloudflareError::new(400, 11_016, &text));
    }
    let delay = delay.or_else(|| queue.settings["delivery_delay"].as_u64());
    let messages: Result<Vec<QueueMessage>, _> =
        messages.into_iter().map(|message| message.into_message(delay)).collect();
    deliver(app, &account, &queue, messages?).await?;
    Ok(ok(&json!({ "metadata": metrics(app, &account, &queue) })))
}

/// Gives messages to the consumer of a queue.
async fn deliver(
    app: &App,
    account: &str,
    queue: &Queue,
    messages: Vec<QueueMessage>,
) -> Result<(), CloudflareError> {
    let Some(node) = consumer(app, account, queue).filter(|_| !queue.is_kept()) else {
        let (account, queue) = (account.to_owned(), queue.name.clone());
        app.runtime.kept.add(KeptBatch { account, queue, messages });
        return Ok(());
    };
    let sent = json!({ "action": "send", "queue": queue.name, "messages": messages });
    order(app, &node, &sent).await?;
    Ok(())
}

/// Returns the live version of the Worker that consumes a queue.
fn consumer(app: &App, account: &str, queue: &Queue) -> Option<VersionNode> {
    let script = queue.consumers.iter().find_map(|consumer| consumer.script.as_deref())?;
    VersionNode::live(&app.store.worker(account, script)?)
}

fn metrics(app: &App, account: &str, queue: &Queue) -> Value {
    let backlog = app.runtime.kept.backlog(account, &queue.name);
    json!({ "metrics": {
        "backlog_count": backlog.count, "backlog_bytes": backlog.bytes,
        "oldest_message_timestamp_ms": backlog.oldest_ms,
    } })
}

/// The options of a pull.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct PullFields {
    batch_size: Option<u64>,
    visibility_timeout_ms: Option<u64>,
    /// The name of the same field in Cloudflare's guide.
    visibility_timeout: Option<u64>,
}

impl PullFields {
    fn options(&self, queue: &Queue) -> PullOptions {
        let settings = queue.consumers.first().map_or(&Value::Null, |consumer| &consumer.settings);
        let setting = |name: &str| settings[name].as_u64();
        let size = self.batch_size.or_else(|| setting("batch_size")).unwrap_or(DEFAULT_BATCH_SIZE);
        let visibility = self.visibility_timeout_ms.or(self.visibility_timeout);
        let visibility = visibility.or_else(|| setting("visibility_timeout_ms"));
        let visibility = visibility.unwrap_or(DEFAULT_VISIBILITY).min(MAX_VISIBILITY);
        let retention = queue.settings["message_retention_period"].as_u64().unwrap_or(345_600);
        PullOptions {
            batch_size: usize::try_from(size.clamp(1, MAX_BATCH_SIZE)).unwrap_or(1),
            visibility: Duration::from_millis(visibility),
            max_retries: setting("max_retries").unwrap_or(DEFAULT_RETRIES),
            retention: Duration::from_secs(retention),
        }
    }
}

/// Returns a queue that clients pull. Refuses another one.
fn find_pulled(app: &App, account: &str, id: &str) -> Result<Queue, CloudflareError> {
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
    let queue = find_pulled(&app, &account, &id)?;
    if queue.is_paused() {
        return Err(CloudflareError::new(409, 11_020, "queue_delivery_paused"));
    }
    let options = fields.options(&queue);
    let result = app.runtime.kept.pull(&account, &queue.name, options, SystemTime::now());
    if !result.dead.is_empty() {
        bury(&app, &account, &queue, result.dead).await;
    }
    let messages: Vec<Value> = result.messages.iter().map(message_json).collect();
    let backlog = app.runtime.kept.backlog(&account, &queue.name);
    Ok(ok(&json!({
        "message_backlog_count": backlog.count, "messages": messages,
        "metadata": metrics(&app, &account, &queue),
    })))
}

/// Moves messages that were pulled too often to the queue of dead letters, or drops them.
async fn bury(app: &App, account: &str, queue: &Queue, messages: Vec<QueueMessage>) {
    let count = messages.len();
    let name = queue.consumers.first().and_then(|consumer| consumer.dead_letter_queue.as_deref());
    let resources = app.store.resources.get(account).unwrap_or_default();
    let letters = name.and_then(|name| resources.queue(name));
    let result = match letters {
        Some(letters) => deliver(app, account, letters, messages).await,
        None => Ok(()),
    };
    let target = match (letters, result) {
        (Some(letters), Ok(())) => format!("moved to the queue {}", letters.name),
        (_, Err(error)) => format!("dropped: {error:?}"),
        (None, Ok(())) => "dropped".to_owned(),
    };
    crate::log::line(&format!("queue {}: {count} messages failed too often, {target}", queue.name));
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

/// A lease in an acknowledgment.
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
    let queue = find_pulled(&app, &account, &id)?;
    let kept = &app.runtime.kept;
    let mut warnings = json!({});
    let mut warn = |lease: &Lease| warnings[&lease.lease_id] = json!("The lease does not exist");
    let (mut acked, mut retried) = (0, 0);
    for lease in &body.acks {
        if kept.acknowledge(&account, &queue.name, &lease.lease_id) {
            acked += 1;
        } else {
            warn(lease);
        }
    }
    let default_delay =
        queue.consumers.first().and_then(|one| one.settings["retry_delay"].as_u64());
    for lease in &body.retries {
        let delay = lease.delay_seconds.or(default_delay).unwrap_or(0);
        let time = SystemTime::now() + Duration::from_secs(delay);
        if kept.retry(&account, &queue.name, &lease.lease_id, time) {
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
    app.runtime.kept.purge(&account, &queue.name);
    tell_consumer(&app, &account, &queue, "purge").await?;
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

/// Gives the messages that wait for a consumer to the Worker that now consumes a queue.
pub async fn release(app: &App, account: &str, queue: &Queue) {
    if queue.is_kept() {
        return;
    }
    let messages = app.runtime.kept.take(account, &queue.name);
    // The runtime can decode such a message, and cannot send it again.
    let (unknown, messages): (Vec<_>, Vec<_>) =
        messages.into_iter().partition(|message| message.content_type == "v8");
    if !unknown.is_empty() {
        let count = unknown.len();
        crate::log::line(&format!("queue {}: dropped {count} messages of the type v8", queue.name));
    }
    for batch in messages.chunks(MAX_SENT) {
        if let Err(error) = deliver(app, account, queue, batch.to_vec()).await {
            crate::log::line(&format!("queue {}: cannot send its messages: {error:?}", queue.name));
            let (account, queue) = (account.to_owned(), queue.name.clone());
            app.runtime.kept.add(KeptBatch { account, queue, messages: batch.to_vec() });
        }
    }
}

/// Sends an order to the Worker that consumes a queue. Does nothing if no Worker does.
pub async fn tell_consumer(
    app: &App,
    account: &str,
    queue: &Queue,
    action: &str,
) -> Result<(), CloudflareError> {
    if let Some(node) = consumer(app, account, queue) {
        order(app, &node, &json!({ "action": action, "queue": queue.name })).await?;
    }
    Ok(())
}
