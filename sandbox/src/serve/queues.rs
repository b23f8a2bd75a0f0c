//! Stores the messages of queues that no Worker consumes, such as those that clients pull over HTTP. Sends
//! commands to the queues of the runtime.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::cron::COMMAND_HEADER;
use super::group::VersionNode;
use super::proxy;
use crate::app::App;
use crate::ids::random_id;
use crate::mutex::lock;

/// The maximum size of the messages of a queue in bytes of base64. The oldest messages above it are dropped.
const MAX_SIZE: usize = 64 * 1024 * 1024;

/// A message as its producer sent it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct QueueMessage {
    /// The id.
    #[serde(default)]
    pub id: String,
    /// The time when it was sent, in milliseconds since 1970.
    #[serde(default)]
    pub timestamp_ms: u64,
    /// `text`, `json`, `bytes` or `v8`.
    pub content_type: String,
    /// Its bytes as base64.
    pub body: String,
    /// The delay of its delivery, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_seconds: Option<u64>,
}

/// Messages of a queue.
#[derive(Debug, Deserialize)]
pub struct MessageBatch {
    /// The account.
    pub account: String,
    /// The name of the queue.
    pub queue: String,
    /// The messages.
    pub messages: Vec<QueueMessage>,
}

/// A stored message.
#[derive(Debug)]
struct StoredMessage {
    message: QueueMessage,
    attempts: u64,
    /// The time after which a client can pull it.
    available: SystemTime,
    /// The ids of its leases. Each lease can acknowledge it.
    leases: Vec<String>,
}

/// A message that a client pulled.
#[derive(Debug)]
pub struct LeasedMessage {
    /// The message.
    pub message: QueueMessage,
    /// The number of pulls.
    pub attempts: u64,
    /// The id of the lease.
    pub lease: String,
}

/// The options of a pull.
#[derive(Clone, Copy, Debug)]
pub struct PullOptions {
    /// The maximum number of messages.
    pub batch_size: usize,
    /// The time until an unacknowledged message can be pulled again.
    pub visibility: Duration,
    /// The number of attempts after the first one.
    pub max_retries: u64,
    /// The time after which messages are dropped.
    pub retention: Duration,
}

/// The result of a pull.
#[derive(Debug, Default)]
pub struct PullResult {
    /// The messages.
    pub messages: Vec<LeasedMessage>,
    /// The messages that were pulled too often.
    pub dead: Vec<QueueMessage>,
}

/// The size of the stored messages of a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BacklogSize {
    /// The number of messages.
    pub count: usize,
    /// The number of bytes in their bodies.
    pub bytes: usize,
    /// The time of the oldest one in milliseconds since 1970, or 0.
    pub oldest_ms: u64,
}

/// The messages without a Worker that consumes them, by account and queue, in memory.
#[derive(Debug, Default)]
pub struct MessageBacklog(Mutex<HashMap<(String, String), Vec<StoredMessage>>>);

impl MessageBacklog {
    /// Adds messages. Drops the oldest ones above the maximum size.
    pub fn add(&self, batch: MessageBatch) {
        let now = SystemTime::now();
        let messages = batch.messages.into_iter().map(|message| StoredMessage {
            available: now + Duration::from_secs(message.delay_seconds.unwrap_or(0)),
            message,
            attempts: 0,
            leases: Vec::new(),
        });
        let mut queues = lock(&self.0);
        let queue = queues.entry((batch.account, batch.queue)).or_default();
        queue.extend(messages);
        let mut size = queue.iter().map(|entry| entry.message.body.len()).sum::<usize>();
        let is_surplus = |entry: &mut StoredMessage| {
            let is_surplus = size > MAX_SIZE;
            size -= if is_surplus { entry.message.body.len() } else { 0 };
            is_surplus
        };
        let dropped = queue.extract_if(.., is_surplus).count();
        if dropped > 0 {
            crate::log::line(&format!(
                "a queue without a consumer is full: dropped {dropped} messages"
            ));
        }
    }

    /// Removes and returns all messages of a queue.
    pub fn take(&self, account: &str, queue: &str) -> Vec<QueueMessage> {
        let messages = self.change(account, queue, std::mem::take);
        messages.into_iter().map(|entry| entry.message).collect()
    }

    fn change<T>(
        &self,
        account: &str,
        queue: &str,
        change: impl FnOnce(&mut Vec<StoredMessage>) -> T,
    ) -> T {
        change(lock(&self.0).entry((account.to_owned(), queue.to_owned())).or_default())
    }

    /// Leases messages to a client. Removes messages that are too old or were pulled too often.
    pub fn pull(
        &self,
        account: &str,
        queue: &str,
        options: PullOptions,
        now: SystemTime,
    ) -> PullResult {
        let since_epoch = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let oldest = since_epoch.saturating_sub(options.retention).as_millis();
        self.change(account, queue, |messages| {
            messages.retain(|entry| u128::from(entry.message.timestamp_ms) >= oldest);
            let is_dead = |entry: &mut StoredMessage| {
                entry.available <= now && entry.attempts > options.max_retries
            };
            let dead = messages.extract_if(.., is_dead).map(|entry| entry.message).collect();
            let available = messages.iter_mut().filter(|entry| entry.available <= now);
            let lease = |entry: &mut StoredMessage| {
                let lease = random_id();
                entry.attempts += 1;
                entry.available = now + options.visibility;
                entry.leases.push(lease.clone());
                LeasedMessage { message: entry.message.clone(), attempts: entry.attempts, lease }
            };
            PullResult { messages: available.take(options.batch_size).map(lease).collect(), dead }
        })
    }

    /// Deletes the message of a lease. Returns whether there was one.
    pub fn acknowledge(&self, account: &str, queue: &str, lease: &str) -> bool {
        self.change(account, queue, |messages| {
            let before = messages.len();
            messages.retain(|entry| !entry.leases.iter().any(|known| known == lease));
            messages.len() < before
        })
    }

    /// Makes the message of a lease available at `time`. Returns whether there was one.
    pub fn retry(&self, account: &str, queue: &str, lease: &str, time: SystemTime) -> bool {
        self.change(account, queue, |messages| {
            let message =
                messages.iter_mut().find(|entry| entry.leases.iter().any(|known| known == lease));
            message.map(|message| message.available = time).is_some()
        })
    }

    /// Deletes all messages of a queue.
    pub fn purge(&self, account: &str, queue: &str) {
        self.change(account, queue, Vec::clear);
    }

    /// Returns the size of the stored messages of a queue.
    #[must_use]
    pub fn size(&self, account: &str, queue: &str) -> BacklogSize {
        self.change(account, queue, |messages| BacklogSize {
            count: messages.len(),
            bytes: messages.iter().map(|entry| entry.message.body.len() / 4 * 3).sum(),
            oldest_ms: messages.iter().map(|entry| entry.message.timestamp_ms).min().unwrap_or(0),
        })
    }
}

/// Sends a command to the queues of the group of `node`. Loads the group first.
pub async fn send_command(app: &App, node: &VersionNode, command: &Value) -> Result<Value> {
    let loaded: Arc<_> = app.runtime.load(&app.store, node).await?;
    let request = proxy::client()
        .post(format!("http://127.0.0.1:{}/", loaded.port))
        .header(COMMAND_HEADER, "queue")
        .body(command.to_string());
    let response = request.send().await.map_err(reqwest::Error::without_url)?;
    if !response.status().is_success() {
        bail!("the runtime responded with {}", response.status());
    }
    Ok(serde_json::from_slice(&response.bytes().await?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: PullOptions = PullOptions {
        batch_size: 1,
        visibility: Duration::from_secs(30),
        max_retries: 1,
        retention: Duration::from_secs(3600),
    };

    fn after(seconds: u64) -> SystemTime {
        SystemTime::now() + Duration::from_secs(seconds)
    }

    fn with_messages(ids: &[&str]) -> MessageBacklog {
        let since_epoch = SystemTime::UNIX_EPOCH.elapsed().expect("a time").as_millis();
        let message = |id: &&str| QueueMessage {
            id: (*id).to_owned(),
            timestamp_ms: u64::try_from(since_epoch).expect("a time"),
            content_type: "text".to_owned(),
            body: "YWJj".to_owned(),
            delay_seconds: None,
        };
        let messages = MessageBacklog::default();
        messages.add(MessageBatch {
            account: "a".to_owned(),
            queue: "q".to_owned(),
            messages: ids.iter().map(message).collect(),
        });
        messages
    }

    fn pull(messages: &MessageBacklog, seconds: u64) -> Vec<(String, u64, String)> {
        let leased = messages.pull("a", "q", OPTIONS, after(seconds)).messages;
        leased.into_iter().map(|one| (one.message.id, one.attempts, one.lease)).collect()
    }

    #[test]
    fn a_leased_message_is_hidden_until_its_timeout() {
        let messages = with_messages(&["1", "2"]);
        let first = pull(&messages, 1);
        assert_eq!((first[0].0.as_str(), first[0].1), ("1", 1));
        assert_eq!(pull(&messages, 1)[0].0, "2");
        assert!(pull(&messages, 20).is_empty());
        let second = pull(&messages, 40);
        assert_eq!((second[0].0.as_str(), second[0].1), ("1", 2));
        // A late acknowledgment counts.
        assert!(messages.acknowledge("a", "q", &first[0].2));
        assert!(!messages.acknowledge("a", "q", &second[0].2));
        assert_eq!(
            messages.size("a", "q"),
            BacklogSize { count: 1, bytes: 3, ..messages.size("a", "q") }
        );
    }

    #[test]
    fn the_oldest_messages_of_a_full_queue_are_dropped() {
        let messages = MessageBacklog::default();
        let add = |id: &str| {
            let message = QueueMessage {
                id: id.to_owned(),
                timestamp_ms: 0,
                content_type: "text".to_owned(),
                body: "A".repeat(MAX_SIZE / 2),
                delay_seconds: None,
            };
            messages.add(MessageBatch {
                account: "a".to_owned(),
                queue: "q".to_owned(),
                messages: vec![message],
            });
        };
        ["1", "2", "3"].into_iter().for_each(add);
        let ids: Vec<String> = messages.take("a", "q").into_iter().map(|one| one.id).collect();
        assert_eq!(ids, ["2", "3"]);
        assert!(messages.take("a", "q").is_empty());
    }

    #[test]
    fn a_message_dies_after_its_attempts_and_a_purge_deletes_all() {
        let messages = with_messages(&["1"]);
        let lease = pull(&messages, 1).remove(0).2;
        assert!(messages.retry("a", "q", &lease, after(0)));
        assert_eq!(pull(&messages, 2)[0].1, 2);
        let result = messages.pull("a", "q", OPTIONS, after(60));
        assert_eq!((result.messages.len(), result.dead.len()), (0, 1));
        assert_eq!(messages.size("a", "q"), BacklogSize::default());
        let messages = with_messages(&["1", "2"]);
        messages.purge("a", "q");
        assert!(pull(&messages, 1).is_empty());
        let messages = with_messages(&["1"]);
        assert!(pull(&messages, 4000).is_empty(), "it is too old");
    }
}
