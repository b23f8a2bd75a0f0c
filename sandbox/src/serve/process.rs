//! Runs the process that hosts the groups. It reads commands from stdin and writes replies and events to
//! stdout.

use std::collections::HashMap;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
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

use super::output::{Trace, WorkerOutput};
use super::queues::{MessageBacklog, MessageBatch};
use crate::log;
use crate::mutex::lock;

/// The time limit for loading a group.
const LOAD_TIMEOUT: Duration = Duration::from_secs(60);

/// The variables that the process inherits. No token is among them. Bun's variable names its cache of
/// parsed code.
const INHERITED_VARIABLES: [&str; 4] =
    ["BUN_RUNTIME_TRANSPILER_CACHE_PATH", "HOME", "LANG", "PATH"];

/// A running process of Bun that hosts the groups.
#[derive(Debug)]
pub struct Process {
    commands: mpsc::UnboundedSender<String>,
    pending: Arc<PendingReplies>,
    next_id: AtomicU64,
    child: tokio::sync::Mutex<Child>,
    /// Its process group, which may still exist after the process has exited.
    group: Option<Pid>,
}

/// The receivers of replies, by command id. `None` after the process has exited.
type PendingReplies = Mutex<Option<HashMap<u64, oneshot::Sender<CommandReply>>>>;

/// A line of the process's stdout.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum ProcessLine {
    Reply(CommandReply),
    Event { trace: Box<Trace> },
    Messages { backlog: MessageBatch },
}

/// The reply to a command.
#[derive(Debug, Deserialize)]
struct CommandReply {
    id: u64,
    port: Option<u16>,
    error: Option<String>,
}

impl Process {
    /// Starts `bun dir/serve.ts packages`. The output of Workers goes to `output`, and the messages that
    /// no Worker consumes go to `backlog`.
    pub fn start(
        bun: &Utf8Path,
        dir: &Utf8Path,
        packages: &Utf8Path,
        output: Arc<WorkerOutput>,
        backlog: Arc<MessageBacklog>,
    ) -> Result<Process> {
        let mut command = Command::new(bun);
        command.arg("serve.ts").arg(packages).current_dir(dir).env_clear();
        for name in INHERITED_VARIABLES {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        let compile_cache = packages.join(".cache/compile");
        if compile_cache.is_dir() {
            // xtask has Bun keep what it compiles of wrangler there. Miniflare is a part of it.
            command.env("NODE_COMPILE_CACHE", compile_cache);
        }
        let mut child = command
            .env("TMPDIR", dir.join("tmp"))
            .env("CLOUDFLARE_CF_FETCH_ENABLED", "false")
            // Bun's optimizing compiler is not worth its CPU time here. wrangler needs the CPU.
            .env("BUN_JSC_thresholdForOptimizeAfterWarmUp", "20000")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A separate process group with all workerds, because the sandbox handles Ctrl-C.
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
        let pending = Arc::new(Mutex::new(Some(HashMap::new())));
        let (commands, received) = mpsc::unbounded_channel();
        tokio::spawn(write(stdin, received));
        tokio::spawn(read(stdout, pending.clone(), group, (output, backlog)));
        tokio::spawn(async move {
            let mut lines = BufReader::new(stderr).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                log::line(&format!("runtime: {line}"));
            }
        });
        Ok(Process { commands, pending, next_id: AtomicU64::new(1), child, group })
    }

    /// Returns whether the process has exited.
    #[must_use]
    pub fn has_exited(&self) -> bool {
        lock(&self.pending).is_none()
    }

    /// Loads a group and returns the loopback port that it listens on.
    pub async fn load(&self, command: &Value) -> Result<u16> {
        let reply =
            timeout(LOAD_TIMEOUT, self.request("load", command)).await.map_err(|_| {
                anyhow!("the runtime did not load the Worker within {} s", LOAD_TIMEOUT.as_secs())
            })??;
        match (reply.port, reply.error) {
            (Some(port), None) => Ok(port),
            (_, error) => bail!("workerd cannot load the Worker: {}", error.unwrap_or_default()),
        }
    }

    /// Sets whether every invocation is reported. If `is_tailed` is false, only invocations that write, fail or
    /// throw are reported.
    pub async fn set_tailed(&self, is_tailed: bool) -> Result<()> {
        self.request("tail", &json!(is_tailed)).await.map(drop)
    }

    async fn request(&self, name: &str, command: &Value) -> Result<CommandReply> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (sender, reply) = oneshot::channel();
        match &mut *lock(&self.pending) {
            Some(pending) => pending.insert(id, sender),
            None => bail!("the runtime has exited"),
        };
        self.send(&json!({ "id": id, name: command }));
        reply.await.map_err(|_| anyhow!("the runtime has exited"))
    }

    /// Stops a group's workerd and removes its folder.
    pub fn unload(&self, name: &str, folder: &Utf8Path) {
        self.send(&json!({ "unload": name, "folder": folder }));
    }

    fn send(&self, command: &Value) {
        // Fails if the process has exited. Then all pending replies fail too.
        let _exited = self.commands.send(format!("{command}\n"));
    }

    /// Stops the process. Kills it if it does not exit within 5 seconds.
    pub async fn stop(&self) {
        // An empty command closes its stdin.
        let _exited = self.commands.send(String::new());
        let mut child = self.child.lock().await;
        if timeout(Duration::from_secs(5), child.wait()).await.is_err() {
            kill_group(self.group);
        }
    }
}

/// Kills a process group.
fn kill_group(group: Option<Pid>) {
    if let Some(group) = group {
        // Fails if all processes have exited.
        let _exited = killpg(group, Signal::SIGKILL);
    }
}

async fn write(mut stdin: ChildStdin, mut commands: mpsc::UnboundedReceiver<String>) {
    while let Some(command) = commands.recv().await {
        if command.is_empty() || stdin.write_all(command.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn read(
    stdout: impl AsyncRead + Unpin,
    pending: Arc<PendingReplies>,
    group: Option<Pid>,
    (output, backlog): (Arc<WorkerOutput>, Arc<MessageBacklog>),
) {
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let reply = match serde_json::from_str(&line) {
            Ok(ProcessLine::Reply(reply)) => reply,
            Ok(ProcessLine::Event { trace }) => {
                output.add(*trace);
                continue;
            }
            Ok(ProcessLine::Messages { backlog: batch }) => {
                backlog.add(batch);
                continue;
            }
            Err(_) => {
                log::line(&format!("runtime: {line}"));
                continue;
            }
        };
        let mut pending = lock(&pending);
        if let Some(sender) = pending.as_mut().and_then(|pending| pending.remove(&reply.id)) {
            // Fails if the receiver was dropped.
            let _dropped = sender.send(reply);
        }
    }
    *lock(&pending) = None;
    log::line("runtime: exited");
    // If the process was killed, its workerds still run.
    kill_group(group);
}
