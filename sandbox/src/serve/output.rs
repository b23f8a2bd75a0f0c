//! Stores the console output and the uncaught exceptions of Workers.
//!
//! workerd reports them after each invocation, like Cloudflare to a tail Worker
//! (<https://developers.cloudflare.com/workers/observability/logs/tail-workers/>).

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write as _;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, timeout_at};

use crate::mutex::lock;

/// The file of the Workers' output, below the state folder.
pub const FILE: &str = "logs/workers.log";

/// The size in bytes at which the file is rotated.
const MAX_FILE_SIZE: u64 = 16 * 1024 * 1024;

/// The maximum number of reports in memory.
const MAX_RECENT: usize = 200;

/// The time to wait for further reports of the same request.
const REPORT_DELAY: Duration = Duration::from_millis(100);

/// workerd's report of one invocation of a Worker.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Trace {
    /// The Worker.
    pub worker: String,
    /// The version.
    pub version: String,
    /// The account of the Worker.
    #[serde(default)]
    pub account: String,
    /// `ok`, `exception`, `exceededCpu`, `canceled` or another outcome.
    pub outcome: String,
    /// The lines that the Worker wrote.
    #[serde(default)]
    pub logs: Vec<LogLine>,
    /// The uncaught exceptions, with locations in the sources.
    #[serde(default)]
    pub exceptions: Vec<Exception>,
    /// The event that invoked it.
    #[serde(default)]
    pub event: Value,
    /// The time of the invocation in milliseconds.
    #[serde(default)]
    pub event_timestamp: u64,
    /// All other fields of workerd's report.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// A line that a Worker wrote.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct LogLine {
    /// `debug`, `log`, `info`, `warn` or `error`.
    pub level: String,
    /// The arguments of the call.
    pub message: Value,
    /// The time in milliseconds.
    pub timestamp: u64,
}

/// An exception that a Worker did not catch.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Exception {
    /// Its type.
    pub name: String,
    /// Its message.
    pub message: String,
    /// Its stack, one location per line.
    #[serde(default)]
    pub stack: Option<String>,
    /// The time in milliseconds.
    pub timestamp: u64,
}

impl Trace {
    /// Returns the id of the request that invoked the Worker. `None` if it was another event.
    #[must_use]
    pub fn ray(&self) -> Option<&str> {
        self.event["request"]["headers"]["cf-ray"].as_str()
    }

    /// Returns a short description of the event that invoked the Worker.
    #[must_use]
    pub fn cause(&self) -> String {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let event = &self.event;
        if let (Some(method), Some(url)) =
            (text(&event["request"]["method"]), text(&event["request"]["url"]))
        {
            let path =
                url.split_once("://").and_then(|(_, rest)| rest.find('/').map(|at| &rest[at..]));
            return format!("{method} {}", path.unwrap_or("/").split('?').next().unwrap_or("/"));
        }
        if let Some(cron) = text(&event["cron"]) {
            return format!("cron {cron}");
        }
        if let Some(queue) = text(&event["queue"]) {
            return format!("queue {queue}");
        }
        if let Some(method) = text(&event["rpcMethod"]) {
            return format!("{method}()");
        }
        self.rest.get("entrypoint").and_then(Value::as_str).unwrap_or("event").to_owned()
    }

    /// Returns its lines in the format of the log.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let start = |timestamp: u64, level: &str| {
            let time = SystemTime::UNIX_EPOCH + Duration::from_millis(timestamp);
            let time = humantime::format_rfc3339_millis(time);
            format!("{time} {} {level} ", self.worker)
        };
        let line = |line: &LogLine| start(line.timestamp, &line.level) + &indent(&line.text());
        let mut lines: Vec<String> = self.logs.iter().map(line).collect();
        for exception in &self.exceptions {
            let text = format!("{}: Uncaught {}", self.cause(), exception.text());
            lines.push(start(exception.timestamp, "error") + &indent(&text));
        }
        if self.exceptions.is_empty() && self.outcome != "ok" {
            let text = format!("{}: ended with {}", self.cause(), self.outcome);
            lines.push(start(self.event_timestamp, "error") + &text);
        }
        lines
    }
}

impl LogLine {
    /// Returns its text in the console's format.
    #[must_use]
    pub fn text(&self) -> String {
        let part = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        match &self.message {
            Value::Array(parts) => parts.iter().map(part).collect::<Vec<_>>().join(" "),
            other => part(other),
        }
    }
}

impl Exception {
    /// Returns its type and its message.
    #[must_use]
    pub fn title(&self) -> String {
        format!("{}: {}", self.name, self.message)
    }

    /// Returns whether it has a location.
    #[must_use]
    pub fn has_location(&self) -> bool {
        self.stack.as_ref().is_some_and(|stack| !stack.trim().is_empty())
    }

    /// Returns its type, its message and its stack.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = self.title();
        for line in self.stack.iter().flat_map(|stack| stack.lines()) {
            text += &format!("\n    {}", line.trim());
        }
        text
    }
}

/// Indents all lines after the first one, and removes control characters.
fn indent(text: &str) -> String {
    let clean: String =
        text.chars().filter(|c| !c.is_control() || *c == '\n' || *c == '\t').collect();
    clean.replace('\n', "\n    ").replace("\n        ", "\n    ")
}

/// The Workers' output: a log file, and the recent reports.
#[derive(Debug)]
pub struct WorkerOutput {
    path: Utf8PathBuf,
    file: Mutex<File>,
    recent: Mutex<VecDeque<Arc<Trace>>>,
    sender: broadcast::Sender<Arc<Trace>>,
}

impl WorkerOutput {
    /// Opens the log below `state`.
    pub fn open(state: &Utf8Path) -> Result<WorkerOutput> {
        let path = state.join(FILE);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).with_context(|| format!("cannot create {folder}"))?;
        }
        let file = append(&path)?;
        let (file, recent) = (Mutex::new(file), Mutex::default());
        Ok(WorkerOutput { path, file, recent, sender: broadcast::channel(MAX_RECENT).0 })
    }

    /// Adds a report of workerd. Logs and stores it if the Worker wrote something or failed.
    pub fn add(&self, trace: Trace) {
        let text = trace.lines().join("\n");
        let trace = Arc::new(trace);
        if !text.is_empty() {
            self.write(&text);
            let mut recent = lock(&self.recent);
            recent.push_back(trace.clone());
            let surplus = recent.len().saturating_sub(MAX_RECENT);
            recent.drain(..surplus);
        }
        // Fails if there is no receiver.
        let _no_receiver = self.sender.send(trace);
    }

    fn write(&self, text: &str) {
        let mut file = lock(&self.file);
        // If the log cannot be written, the error cannot be reported either.
        let _unwritten = writeln!(file, "{text}");
        if file.metadata().is_ok_and(|meta| meta.len() > MAX_FILE_SIZE)
            && std::fs::rename(&self.path, format!("{}.1", self.path)).is_ok()
            && let Ok(next) = append(&self.path)
        {
            *file = next;
        }
    }

    /// Returns the latest reports, oldest first.
    #[must_use]
    pub fn recent(&self) -> Vec<Arc<Trace>> {
        lock(&self.recent).iter().cloned().collect()
    }

    /// Subscribes to all further reports.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Trace>> {
        self.sender.subscribe()
    }

    /// Waits for the exceptions of a request, which workerd reports shortly after the response. Returns each with
    /// its Worker, oldest first. Empty if none arrived within `time_limit`.
    ///
    /// Every Worker that an exception passes through reports it. This returns only the report with a location. A
    /// Durable Object reports another request than the one that failed. Its report counts if it has the same
    /// title as `uncaught` and is not older than the request.
    pub async fn exceptions(
        &self,
        ray: &str,
        uncaught: &Exception,
        time_limit: Duration,
    ) -> Vec<(String, Exception)> {
        let mut reports = self.subscribe();
        let is_relevant = |trace: &Arc<Trace>| match trace.ray() {
            Some(other) => other == ray && !trace.exceptions.is_empty(),
            None => trace.exceptions.iter().any(|exception| {
                exception.timestamp >= uncaught.timestamp && exception.title() == uncaught.title()
            }),
        };
        let mut reports_of_request: Vec<_> =
            self.recent().into_iter().filter(is_relevant).collect();
        let has_location =
            |trace: &Arc<Trace>| trace.exceptions.iter().any(Exception::has_location);
        let mut deadline = Instant::now() + time_limit;
        loop {
            if reports_of_request.last().is_some_and(has_location) {
                deadline = deadline.min(Instant::now() + REPORT_DELAY);
            }
            match timeout_at(deadline, reports.recv()).await {
                Ok(Ok(trace)) if is_relevant(&trace) => reports_of_request.push(trace),
                Ok(Ok(_) | Err(RecvError::Lagged(_))) => {}
                Ok(Err(RecvError::Closed)) | Err(_) => break,
            }
        }
        let exceptions = reports_of_request.iter().flat_map(|trace| {
            trace.exceptions.iter().map(|exception| (trace.worker.clone(), exception.clone()))
        });
        let mut exceptions: Vec<(String, Exception)> = exceptions.collect();
        let titles_with_location: Vec<String> = exceptions
            .iter()
            .filter(|(_, exception)| exception.has_location())
            .map(|(_, exception)| exception.title())
            .collect();
        exceptions.retain(|(_, exception)| {
            exception.has_location() || !titles_with_location.contains(&exception.title())
        });
        exceptions.sort_by_key(|(_, exception)| exception.timestamp);
        exceptions
    }
}

fn append(path: &Utf8Path) -> Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let file = File::options().create(true).append(true).mode(0o600).open(path);
    file.with_context(|| format!("cannot open {path}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn trace(value: Value) -> Trace {
        serde_json::from_value(value).expect("a report")
    }

    #[test]
    fn lines_have_time_worker_level_and_location() {
        let trace = trace(json!({
            "worker": "shop", "version": "1", "outcome": "exception", "eventTimestamp": 0,
            "event": { "request": { "method": "GET", "url": "http://shop.localhost:8787/buy?card=1" } },
            "logs": [{ "level": "log", "message": ["a\u{1b}[1m", { "b": 1 }, 2], "timestamp": 1000 }],
            "exceptions": [{
                "name": "TypeError", "message": "no\nstock", "timestamp": 2000,
                "stack": "    at buy (src/index.ts:7:9)\n    at Object.fetch (src/index.ts:3:1)"
            }]
        }));
        assert_eq!(
            trace.lines(),
            [
                "1970-01-01T00:00:01.000Z shop log a[1m {\"b\":1} 2",
                "1970-01-01T00:00:02.000Z shop error GET /buy: Uncaught TypeError: no\n    stock\n    \
                 at buy (src/index.ts:7:9)\n    at Object.fetch (src/index.ts:3:1)",
            ]
        );
    }

    #[test]
    fn causes_are_described() {
        for (event, expected) in [
            (json!({ "cron": "* * * * *", "scheduledTime": 5 }), "cron * * * * *"),
            (json!({ "queue": "jobs", "batchSize": 1 }), "queue jobs"),
            (json!({ "rpcMethod": "add" }), "add()"),
            (json!({ "request": { "method": "GET", "url": "http://a" } }), "GET /"),
            (json!({}), "event"),
        ] {
            let trace =
                trace(json!({ "worker": "a", "version": "1", "outcome": "ok", "event": event }));
            assert_eq!(trace.cause(), expected);
            assert!(trace.lines().is_empty());
        }
    }

    #[test]
    fn a_failure_without_an_exception_is_logged() {
        let trace = trace(json!({
            "worker": "a", "version": "1", "outcome": "exceededCpu", "event": { "cron": "0 0 * * *" }
        }));
        let expected = "1970-01-01T00:00:00.000Z a error cron 0 0 * * *: ended with exceededCpu";
        assert_eq!(trace.lines(), [expected]);
    }
}
