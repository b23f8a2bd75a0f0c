//! The process that runs versions: miniflare and workerd, on Bun.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use camino::{Utf8Path, Utf8PathBuf};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::{bindings, files};
use crate::log;
use crate::state::blobs::Blobs;
use crate::state::model::{Version, Worker};

/// The program that the child runs.
const PROGRAM: &str = include_str!("../../runtime/serve.ts");

/// How many versions are loaded at once; the one asked for longest ago makes room.
const MOST: usize = 16;

/// How long loading may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs versions, loading each on its first request.
pub struct Runtime {
    bun: Utf8PathBuf,
    packages: Utf8PathBuf,
    dir: Utf8PathBuf,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    process: Option<Process>,
    /// Loaded versions as orders, the one asked for last at the end.
    loaded: Vec<(String, Value)>,
    port: u16,
    orders: u64,
}

struct Process {
    child: Child,
    stdin: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

#[derive(Deserialize)]
struct Answer {
    id: u64,
    port: Option<u16>,
    error: Option<String>,
}

impl Runtime {
    /// A runtime with its files below `state`. Nothing is started before the first request.
    pub fn new(bun: &Utf8Path, toolchain: &Utf8Path, state: &Utf8Path) -> Result<Runtime> {
        let dir = state.join("runtime");
        std::fs::create_dir_all(&dir)?;
        std::fs::write(dir.join("serve.ts"), PROGRAM)
            .context("cannot write the runtime's program")?;
        Ok(Runtime {
            bun: bun.to_owned(),
            packages: toolchain.join("node_modules"),
            dir,
            inner: Mutex::default(),
        })
    }

    /// The port at which `version` answers, loading it when it is not loaded.
    pub async fn port(&self, blobs: &Blobs, worker: &Worker, version: &Version) -> Result<u16> {
        let mut inner = self.inner.lock().await;
        inner.forget_dead();
        if let Some(at) = inner.loaded.iter().position(|(id, _)| *id == version.id) {
            let used = inner.loaded.remove(at);
            inner.loaded.push(used);
            return Ok(inner.port);
        }
        let order = tokio::task::block_in_place(|| self.order(blobs, worker, version))?;
        let mut wanted = inner.loaded.clone();
        wanted.push((version.id.clone(), order));
        if wanted.len() > MOST {
            wanted.remove(0);
        }
        // The child forgets everything when it refuses a version, and so do we.
        inner.loaded.clear();
        inner.port = self.load(&mut inner, &wanted).await?;
        inner.loaded = wanted;
        Ok(inner.port)
    }

    /// Forgets what is loaded, after it did not answer. The next request starts anew.
    pub async fn restart(&self) {
        self.stop().await;
    }

    /// Ends the process.
    pub async fn stop(&self) {
        let mut inner = self.inner.lock().await;
        inner.loaded.clear();
        if let Some(Process { mut child, stdin, .. }) = inner.process.take() {
            drop(stdin);
            if timeout(Duration::from_secs(5), child.wait()).await.is_err() {
                child.start_kill().unwrap_or_default();
            }
        }
    }

    async fn load(&self, inner: &mut Inner, wanted: &[(String, Value)]) -> Result<u16> {
        if inner.process.is_none() {
            inner.process = Some(self.start()?);
        }
        inner.orders += 1;
        let id = inner.orders;
        let process =
            inner.process.as_mut().ok_or_else(|| anyhow!("the runtime is not running"))?;
        let versions: Vec<&Value> = wanted.iter().map(|(_, order)| order).collect();
        let line = json!({ "id": id, "versions": versions }).to_string() + "\n";
        let conversation = async {
            process
                .stdin
                .write_all(line.as_bytes())
                .await
                .context("the runtime takes no orders")?;
            loop {
                let text = process
                    .answers
                    .next_line()
                    .await?
                    .ok_or_else(|| anyhow!("the runtime ended"))?;
                // Other lines are output of miniflare, not answers.
                match serde_json::from_str::<Answer>(&text) {
                    Ok(answer) if answer.id == id => break anyhow::Ok(answer),
                    Ok(_) => {}
                    Err(_) => log::line(&format!("runtime: {text}")),
                }
            }
        };
        let answer = timeout(PATIENCE, conversation).await;
        let answer = match answer {
            Ok(Ok(answer)) => answer,
            failed => {
                inner.process = None;
                failed.map_err(|_| {
                    anyhow!("the runtime did not load it within {} s", PATIENCE.as_secs())
                })??
            }
        };
        match (answer.port, answer.error) {
            (Some(port), None) => Ok(port),
            (_, error) => bail!("workerd refuses it: {}", error.unwrap_or_default()),
        }
    }

    fn start(&self) -> Result<Process> {
        log::line("starting the runtime");
        let mut child = Command::new(&self.bun)
            .arg(self.dir.join("serve.ts"))
            .arg(&self.packages)
            .env_remove(crate::token::VARIABLE)
            .env("CLOUDFLARE_CF_FETCH_ENABLED", "false")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot run {}", self.bun))?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (Some(stdin), Some(stdout)) = (stdin, stdout) else {
            bail!("the runtime has no pipes")
        };
        Ok(Process { child, stdin, answers: BufReader::new(stdout).lines() })
    }

    fn order(&self, blobs: &Blobs, worker: &Worker, version: &Version) -> Result<Value> {
        let env = bindings::env(version).map_err(|reason| anyhow!(reason))?;
        let modules: serde_json::Map<String, Value> = version
            .modules
            .iter()
            .map(|module| {
                let kind = bindings::module_kind(&module.content_type);
                (module.name.clone(), json!({ "type": kind, "path": blobs.path(&module.blob) }))
            })
            .collect();
        let mut order = json!({
            "name": version.id, "compatibilityDate": version.compatibility_date,
            "compatibilityFlags": version.compatibility_flags, "modules": modules, "env": env,
        });
        if let Some(main) = &version.main_module {
            order["mainModule"] = json!(main);
        }
        if let Some(assets) = &version.assets {
            let directory = files::assets(&self.dir, blobs, worker, &version.id, assets)?;
            order["assets"] = json!({ "directory": directory });
            for (ours, theirs) in [
                ("html_handling", "htmlHandling"),
                ("not_found_handling", "notFoundHandling"),
                ("run_worker_first", "runWorkerFirst"),
            ] {
                if !assets.config[ours].is_null() {
                    order["assets"][theirs] = assets.config[ours].clone();
                }
            }
        }
        Ok(order)
    }
}

impl Inner {
    fn forget_dead(&mut self) {
        let dead = self
            .process
            .as_mut()
            .is_some_and(|process| !matches!(process.child.try_wait(), Ok(None)));
        if dead {
            log::line("the runtime has ended; it is started again");
            self.process = None;
            self.loaded.clear();
        }
    }
}
