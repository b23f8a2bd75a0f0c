//! Runs the process under the groups: orders go to its stdin, answers and events come from its stdout.

use std::collections::HashMap;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use camino::Utf8Path;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::output::{Output, Trace};
use crate::log;

/// The time that loading a group may take.
const LOAD_TIMEOUT: Duration = Duration::from_secs(60);

/// Variables that the process gets from ours. No token is among them. Bun's names the folder where it
/// keeps miniflare as it has parsed it once.
const INHERITED: [&str; 4] = ["BUN_RUNTIME_TRANSPILER_CACHE_PATH", "HOME", "LANG", "PATH"];

/// A running process.
#[derive(Debug)]
pub struct Process {
    orders: mpsc::UnboundedSender<String>,
    waiting: Arc<Waiting>,
    next: AtomicU64,
    child: tokio::sync::Mutex<Child>,
    /// The group that it leads. Its own id is forgotten once it was waited for, and the group may
    /// live on.
    group: Option<Pid>,
}

/// The receivers of answers, by order. `None` once the process has ended.
type Waiting = Mutex<Option<HashMap<u64, oneshot::Sender<Answer>>>>;

/// A line of the process.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Message {
    Answer(Answer),
    Event { trace: Box<Trace> },
}

/// The answer to an order.
#[derive(Debug, Deserialize)]
struct Answer {
    id: u64,
    port: Option<u16>,
    error: Option<String>,
}

impl Process {
    /// Starts `bun dir/serve.ts packages`. What Workers write goes to `output`.
    pub fn start(
        bun: &Utf8Path,
        dir: &Utf8Path,
        packages: &Utf8Path,
        output: Arc<Output>,
    ) -> Result<Process> {
        let mut command = Command::new(bun);
        command.arg("serve.ts").arg(packages).current_dir(dir).env_clear();
        for name in INHERITED {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        let mut child = command
            .env("TMPDIR", dir.join("tmp"))
            .env("CLOUDFLARE_CF_FETCH_ENABLED", "false")
            // Loading versions is not worth Bun's best compiler, which only took CPU from wrangler's.
            .env("BUN_JSC_thresholdForOptimizeAfterWarmUp", "20000")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own, with its workerds in it: Ctrl-C in a terminal is ours to handle.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot run {bun}"))?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
            bail!("the runtime has no pipes")
        };
        let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        log::line(&format!("runtime: started, pid {}", child.id().unwrap_or_default()));
        let child = tokio::sync::Mutex::new(child);
        let waiting = Arc::new(Mutex::new(Some(HashMap::new())));
        let (orders, received) = mpsc::unbounded_channel();
        tokio::spawn(write(stdin, received));
        tokio::spawn(read(stdout, waiting.clone(), group, output));
        tokio::spawn(async move {
            let mut lines = BufReader::new(stderr).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                log::line(&format!("runtime: {line}"));
            }
        });
        Ok(Process { orders, waiting, next: AtomicU64::new(1), child, group })
    }

    /// Whether it has ended.
    #[must_use]
    pub fn ended(&self) -> bool {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    /// Loads a group and returns the loopback port that it answers on.
    pub async fn load(&self, order: &Value) -> Result<u16> {
        let answer = timeout(LOAD_TIMEOUT, self.ask("load", order)).await.map_err(|_| {
            anyhow!("the runtime did not load it in {} s", LOAD_TIMEOUT.as_secs())
        })??;
        match (answer.port, answer.error) {
            (Some(port), None) => Ok(port),
            (_, error) => bail!("workerd refuses it: {}", error.unwrap_or_default()),
        }
    }

    /// Sets whether every invocation is reported, or only those that write, fail or throw.
    pub async fn set_tailed(&self, is_tailed: bool) -> Result<()> {
        self.ask("tail", &json!(is_tailed)).await.map(drop)
    }

    async fn ask(&self, name: &str, order: &Value) -> Result<Answer> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        match &mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(waiting) => waiting.insert(id, sender),
            None => bail!("the runtime has ended"),
        };
        self.order(&json!({ "id": id, name: order }));
        answer.await.map_err(|_| anyhow!("the runtime has ended"))
    }

    /// Ends a group's workerd, and removes the folder that it read.
    pub fn unload(&self, name: &str, folder: &Utf8Path) {
        self.order(&json!({ "unload": name, "folder": folder }));
    }

    fn order(&self, order: &Value) {
        // Fails when the process has ended, which the receivers of answers learn elsewhere.
        let _ended = self.orders.send(format!("{order}\n"));
    }

    /// Stops the process. Kills it if it does not end in time.
    pub async fn stop(&self) {
        // An empty order closes its stdin.
        let _ended = self.orders.send(String::new());
        let mut child = self.child.lock().await;
        if timeout(Duration::from_secs(5), child.wait()).await.is_err() {
            kill_group(self.group);
        }
    }
}

/// Ends a process and all that it started.
fn kill_group(group: Option<Pid>) {
    if let Some(group) = group {
        // Fails when all have ended already.
        let _ended = killpg(group, Signal::SIGKILL);
    }
}

async fn write(mut stdin: ChildStdin, mut orders: mpsc::UnboundedReceiver<String>) {
    while let Some(order) = orders.recv().await {
        if order.is_empty() || stdin.write_all(order.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn read(
    stdout: impl AsyncRead + Unpin,
    waiting: Arc<Waiting>,
    group: Option<Pid>,
    output: Arc<Output>,
) {
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let answer = match serde_json::from_str(&line) {
            Ok(Message::Answer(answer)) => answer,
            Ok(Message::Event { trace }) => {
                output.add(*trace);
                continue;
            }
            Err(_) => {
                log::line(&format!("runtime: {line}"));
                continue;
            }
        };
        let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = waiting.as_mut().and_then(|waiting| waiting.remove(&answer.id)) {
            // The request may have ended meanwhile.
            let _gone = sender.send(answer);
        }
    }
    *waiting.lock().unwrap_or_else(PoisonError::into_inner) = None;
    log::line("runtime: ended");
    // If it was killed, its workerds go on without it.
    kill_group(group);
}
