//! Finds, starts and stops the sandbox's process.

use std::fs::File;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command as Process, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use workspace::dev_vars::DevVars;
use workspace::git;
use workspace::toolchain::Toolchain;

use base::mutex;
use camino::{Utf8Path, Utf8PathBuf};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use ring::hmac;
use ring::rand::SecureRandom as _;
use serde::{Deserialize, Serialize};

use super::{cargo, checkout, distribution};
use crate::plan::ProjectPlan;
use base::command::ProcessCommand;
use base::env::variable;
use base::error::{ErrorContext as _, Result, failed, refused};
use base::http;
use base::secret::Secret;
use workspace::cargo_config;
use workspace::config::LOCAL;
use workspace::key::hex;
use workspace::own_repository::OwnRepository;
use workspace::remote_binding::{HYPERDRIVE, Hyperdrive};

/// The sandbox's target folder, inside of xtask's target folder.
const OWN_TARGET: &str = "sandbox";

/// The timeout of a Worker's cron triggers.
const CRON_TIMEOUT: Duration = Duration::from_secs(300);

/// The preferred port of a new sandbox.
pub const DEFAULT_PORT: u16 = 8787;

/// The variable that replaces the token file. The token is then not written to disk.
pub const TOKEN_VARIABLE: &str = "SANDBOX_TOKEN";

/// Other variables that it reads: see `sandbox/README.md`.
const OTHER_VARIABLES: [&str; 5] = [
    "SANDBOX_GITLAB_PROJECT",
    GITLAB_REPOSITORY,
    "SANDBOX_GITLAB_ROOT",
    "SANDBOX_GITLAB_TOKENS",
    "SANDBOX_NO_SYNC",
];

/// The variable with the git repository of GitLab's projects.
const GITLAB_REPOSITORY: &str = "SANDBOX_GITLAB_REPOSITORY";

/// The timeout of the proof that a server is the sandbox.
const PROOF_DEADLINE: Duration = Duration::from_secs(10);

/// The time for which a proof is not repeated: one command needs it several times within milliseconds.
const PROOF_VALIDITY: Duration = Duration::from_secs(1);

/// The timeout of its first response after the start.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// A running sandbox, as described in its `server.json`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Server {
    /// Its process id.
    pub pid: i32,
    /// Its loopback port.
    pub port: u16,
    /// The URL of its page.
    pub url: String,
    /// The start time, RFC 3339.
    pub started: String,
    /// The folder of its state when it started. `None` from older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<Utf8PathBuf>,
}

impl Server {
    /// Returns true if the checkout at `root` was moved since the start, so that the sandbox writes to another path.
    fn is_moved(&self, root: &Utf8Path) -> bool {
        let own = state(root).canonicalize_utf8().ok();
        self.state.as_ref().is_some_and(|state| state.canonicalize_utf8().ok() != own)
    }
}

/// Returns the folder of its state.
#[must_use]
pub fn state(root: &Utf8Path) -> Utf8PathBuf {
    root.join(".xtask/sandbox")
}

/// Returns the path of its token file, which only its owner can read.
#[must_use]
pub fn token_file(root: &Utf8Path) -> Utf8PathBuf {
    state(root).join("token")
}

/// Returns the path of the token file of its GitLab.
#[must_use]
pub fn gitlab_token_file(root: &Utf8Path) -> Utf8PathBuf {
    state(root).join("gitlab-token")
}

/// The name of its log.
pub const LOG: &str = "sandbox.log";

/// Returns the path of its log.
#[must_use]
pub fn log_file(root: &Utf8Path) -> Utf8PathBuf {
    root.join(".xtask/logs").join(LOG)
}

/// Returns the path of the log of its Workers.
#[must_use]
pub fn output_file(root: &Utf8Path) -> Utf8PathBuf {
    state(root).join("logs/workers.log")
}

/// Returns the path of the secret that proves its identity.
fn identity_file(root: &Utf8Path) -> Utf8PathBuf {
    state(root).join("identity")
}

/// Returns the running sandbox of this checkout. `None` if no server responds, or if it cannot
/// prove that it is the sandbox. Another program may listen on the port of a stopped sandbox.
#[must_use]
pub fn running(root: &Utf8Path) -> Option<Server> {
    let server = read_server(root)?;
    let secret = identity_file(root);
    // Any program that can read the secret can claim to be the sandbox.
    let is_private = secret.metadata().ok()?.permissions().mode() & 0o077 == 0;
    let secret = std::fs::read_to_string(secret).ok().filter(|_| is_private)?;
    let mut nonce = [0; 16];
    ring::rand::SystemRandom::new().fill(&mut nonce).ok()?;
    let nonce = hex(&nonce);
    let agent = http::agent(PROOF_DEADLINE, 0);
    let url = format!("http://127.0.0.1:{}/__sandbox/proof/{nonce}", server.port);
    let response = http::get(&agent, &url, &[]).ok()?;
    let response: serde_json::Value = serde_json::from_slice(&response.body).ok()?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.trim().as_bytes());
    // The port is part of the message, so that another server cannot forward the proof of a real sandbox.
    let message = format!("sandbox-proof-1:{}:{nonce}", server.port);
    let wanted = hex(hmac::sign(&key, message.as_bytes()).as_ref());
    if response["proof"] != wanted.as_str() {
        return None;
    }
    // The sandbox holds the lock of its state. If the lock is free, the folder is a copy, and the sandbox belongs
    // to another checkout.
    (is_locked(root) && !server.is_moved(root)).then_some(server)
}

/// Returns true if a process holds the lock of the sandbox's state.
fn is_locked(root: &Utf8Path) -> bool {
    File::open(state(root).join("lock")).is_ok_and(|lock| lock.try_lock().is_err())
}

/// Returns the sandbox that holds the state of this checkout, even if it does not respond.
#[must_use]
pub fn holder(root: &Utf8Path) -> Option<Server> {
    // The sandbox writes the file after it got the lock.
    read_server(root).filter(|_| is_locked(root))
}

/// Reads `server.json`, which a killed sandbox leaves. `None` if it does not exist or cannot be parsed.
fn read_server(root: &Utf8Path) -> Option<Server> {
    let text = std::fs::read_to_string(state(root).join("server.json")).ok()?;
    serde_json::from_str(&text).ok()
}

/// The checkout and the time of the last proof that the sandbox runs, with its server.
static PROVEN: Mutex<Option<(Utf8PathBuf, Instant, Server)>> = Mutex::new(None);

/// Does the same as [`running`], but a proof of the last second counts.
#[must_use]
pub fn recently_running(root: &Utf8Path) -> Option<Server> {
    let mut proven = mutex::lock(&PROVEN);
    match &*proven {
        Some((own, time, server)) if own == root && time.elapsed() < PROOF_VALIDITY => {
            Some(server.clone())
        }
        _ => {
            let server = running(root)?;
            *proven = Some((root.to_owned(), Instant::now(), server.clone()));
            Some(server)
        }
    }
}

/// Asks the sandbox for its proof beside other work. [`recently_running`] waits for the answer.
pub fn ask_for_proof(root: &Utf8Path) {
    let root = root.to_owned();
    std::thread::spawn(move || recently_running(&root));
}

/// Returns the port on which the sandbox runs, else the one on which it would start. Call [`check`]
/// before a token is sent to the latter.
#[must_use]
pub fn planned_port(root: &Utf8Path) -> u16 {
    let last = || std::fs::read_to_string(state(root).join("port")).ok()?.trim().parse().ok();
    recently_running(root).map(|server| server.port).or_else(last).unwrap_or(DEFAULT_PORT)
}

/// Refuses unless the sandbox runs on this port.
pub fn check(root: &Utf8Path, port: u16) -> Result<()> {
    match recently_running(root) {
        Some(server) if server.port == port => Ok(()),
        Some(server) => Err(refused(format!("the sandbox now runs on port {}", server.port))
            .hint("run the command again")),
        None => Err(refused("the sandbox does not run")
            .hint("start it with `cargo xtask sandbox up`, then retry")),
    }
}

/// The result of [`provide`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProvisionResult {
    /// A line for each created storage.
    pub created: Vec<String>,
    /// The names of the secrets that have their default value.
    pub default_secrets: Vec<String>,
}

/// Sends the project and environment of a Worker, and the default values of its secrets, to the sandbox. Creates
/// missing storage of the config, because it exists only at Cloudflare. Only the local environment accepts ids without
/// Cloudflare's format, such as `<your-id>`: in the others the sandbox refuses what Cloudflare would refuse.
pub fn provide(
    root: &Utf8Path,
    port: u16,
    account: &str,
    project: &ProjectPlan,
    environment: &str,
    secrets: Option<&DevVars>,
) -> Result<ProvisionResult> {
    let (target, storage) = (&project.target, &project.target.storage);
    let address = |one: &Hyperdrive| {
        // The variable has precedence over the config, as with `wrangler dev`.
        let address =
            variable(&format!("{HYPERDRIVE}{}", one.name)).or_else(|| one.address.clone());
        serde_json::json!({ "id": one.id, "address": address })
    };
    let hyperdrives: Vec<serde_json::Value> = target.hyperdrives.iter().map(address).collect();
    check(root, port)?;
    let token = token(root)?;
    let agent = http::agent(PROOF_DEADLINE, 0);
    let url = format!("http://127.0.0.1:{port}/__sandbox/resources");
    let authorization = format!("Bearer {}", token.expose());
    let databases: Vec<serde_json::Value> = storage
        .databases
        .iter()
        .map(|(id, name)| serde_json::json!({ "id": id, "name": name }))
        .collect();
    let secrets = serde_json::json!({
        "worker": target.worker,
        "values": secrets.map(|secrets| &secrets.values).cloned().unwrap_or_default(),
        "is_required": target.required_secrets.as_ref().is_some_and(|names| !names.is_empty()),
    });
    let mut body = serde_json::json!({
        "secrets": [secrets], "account": account, "namespaces": storage.namespaces, "databases": databases,
        "buckets": storage.buckets, "queues": storage.queues, "hyperdrives": hyperdrives,
        "projects": [{ "worker": target.worker, "project": project.name, "environment": environment }],
    });
    let has_placeholder =
        storage.namespace_placeholder().is_some() || storage.database_placeholder().is_some();
    // A sandbox of an earlier version that still runs does not know the field.
    if environment == LOCAL && has_placeholder {
        body["accepts_placeholders"] = true.into();
    }
    let failure = |text: String| failed(format!("the sandbox did not make the storage: {text}"));
    let response = http::post(&agent, &url, &[("authorization", &authorization)], &body)
        .map_err(|error| failure(format!("{error:#}")))?;
    let answered: serde_json::Value = serde_json::from_slice(&response.body).unwrap_or_default();
    if !answered["made"].is_array() {
        return Err(failure(http::short(&String::from_utf8_lossy(&response.body))));
    }
    let texts = |field: &str| {
        let lines = answered[field].as_array().into_iter().flatten();
        lines.filter_map(|line| line.as_str().map(str::to_owned)).collect()
    };
    Ok(ProvisionResult { created: texts("made"), default_secrets: texts("secrets") })
}

/// A run of a cron trigger.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct CronRun {
    /// The trigger.
    pub cron: String,
    /// `ok`, or the error.
    pub outcome: String,
}

/// Runs the cron triggers of a Worker in the running sandbox, or one of them.
pub fn run_cron(root: &Utf8Path, worker: &str, cron: Option<&str>) -> Result<Vec<CronRun>> {
    let Some(server) = running(root) else {
        return Err(refused("the sandbox is not running")
            .hint("start it with `cargo xtask sandbox up`, then retry"));
    };
    let authorization = format!("Bearer {}", token(root)?.expose());
    let agent = http::agent(CRON_TIMEOUT, 0);
    let url = format!("http://127.0.0.1:{}/__sandbox/cron/{worker}", server.port);
    let body = serde_json::json!({ "cron": cron });
    let response = http::post(&agent, &url, &[("authorization", &authorization)], &body)
        .map_err(|error| failed(format!("the sandbox did not answer: {error:#}")))?;
    let answered: serde_json::Value = serde_json::from_slice(&response.body).unwrap_or_default();
    if let Ok(runs) = serde_json::from_value(answered["runs"].clone()) {
        return Ok(runs);
    }
    let message = answered["message"].as_str().unwrap_or("the sandbox did not run it");
    let failure = refused(message);
    Err(match response.status {
        404 => failure.hint("deploy it first, for example with `cargo xtask deploy`"),
        409 => failure.hint("set `triggers.crons` in the wrangler config and deploy again"),
        _ => failure,
    })
}

/// Returns the token for its API.
pub fn token(root: &Utf8Path) -> Result<Secret> {
    // An empty value counts as unset, as in the sandbox itself.
    let value = variable(TOKEN_VARIABLE);
    if let Some(token) = value {
        return Ok(Secret::new(&token));
    }
    let path = token_file(root);
    let meta = path.metadata().map_err(|_| {
        refused("the sandbox has no token yet").hint("run `cargo xtask sandbox up`")
    })?;
    if meta.permissions().mode() & 0o077 != 0 {
        return Err(refused(format!("other users can read {path}")).hint(format!(
            "run `chmod 600 {path}`, or `cargo xtask sandbox reset` for a new one"
        )));
    }
    let text = std::fs::read_to_string(&path)
        .map_err(|error| refused(format!("cannot read {path}: {error}")))?;
    Ok(Secret::new(&text))
}

/// The source of the sandbox.
#[derive(Clone, Debug)]
pub struct SandboxSource {
    /// The root of its Cargo workspace.
    pub root: Utf8PathBuf,
    /// Its package there.
    pub package: String,
}

/// Returns the sandbox's source: in the repository at `root` if it has it, else in the checkout that this
/// program was compiled from. `None` if neither is on this machine.
#[must_use]
pub fn source(root: &Utf8Path) -> Option<SandboxSource> {
    let source = |root: &Utf8Path| {
        let package = OwnRepository::read(root)?.sandbox;
        Some(SandboxSource { root: root.to_owned(), package })
    };
    source(root).or_else(|| source(checkout::root()?))
}

/// Returns the command that builds the sandbox. `None` if there is no source, or if xtask runs from the
/// target folder of another checkout, which builds both programs.
///
/// The sandbox has its own target folder. In xtask's folder, Cargo would silently block every other
/// `cargo xtask` until the sandbox is built.
#[must_use]
pub fn build(root: &Utf8Path) -> Option<ProcessCommand> {
    // The sandbox of an archive is next to xtask, and needs no Cargo.
    if distribution::is_distributed() {
        return None;
    }
    let source = source(root)?;
    let target = target_folder();
    if source.root != root && target.as_ref().is_some_and(|target| target.starts_with(&source.root))
    {
        return None;
    }
    let manifest = source.root.join("Cargo.toml");
    let mut arguments = vec!["build", "--locked", "--package", &source.package];
    arguments.extend(["--manifest-path", manifest.as_str()]);
    let target_dir = target.map(|target| target.join(OWN_TARGET));
    if let Some(target_dir) = &target_dir {
        arguments.extend(["--target-dir", target_dir.as_str()]);
    }
    // Cargo reads the config of the current folder.
    if cargo_config::sets_build_target(root) {
        arguments.extend(["--target", "host-tuple"]);
    }
    Some(cargo::command(root, &arguments))
}

/// Returns the target folder that xtask runs from. `None` if its program is not in a target folder.
fn target_folder() -> Option<Utf8PathBuf> {
    Some(program_folder()?.parent()?.to_owned())
}

/// Returns the folder of xtask's program.
fn program_folder() -> Option<Utf8PathBuf> {
    let own = Utf8PathBuf::from_path_buf(std::env::current_exe().ok()?).ok()?;
    let folder = own.parent()?;
    // Tests run from `deps`, one folder below the programs.
    Some(if folder.file_name() == Some("deps") { folder.parent()? } else { folder }.to_owned())
}

/// Returns the path of the sandbox's program: the output of [`build`], else the one next to xtask.
pub fn program(root: &Utf8Path) -> Result<Utf8PathBuf> {
    let folder =
        program_folder().ok_or_else(|| failed("cannot tell where xtask itself is installed"))?;
    let own = target_folder().filter(|_| build(root).is_some());
    let own = own.map(|target| built_program(root, &target.join(OWN_TARGET)));
    Ok(own.unwrap_or_else(|| folder.join("sandbox")))
}

/// Returns the path of the program that [`build`] writes into `target`. If the target is named, its folder is between them.
fn built_program(root: &Utf8Path, target: &Utf8Path) -> Utf8PathBuf {
    let program = |folder: &Utf8Path| folder.join("debug/sandbox");
    let folders = target.read_dir_utf8().into_iter().flatten().filter_map(Result::ok);
    let of_targets = folders.map(|entry| program(entry.path())).filter(|path| path.is_file());
    let named = of_targets
        .filter(|_| cargo_config::sets_build_target(root))
        .max_by_key(|path| path.metadata().and_then(|metadata| metadata.modified()).ok());
    named.unwrap_or_else(|| program(target))
}

/// Starts the sandbox and waits until it responds. It outlives this process.
pub fn start(
    root: &Utf8Path,
    bun: &Utf8Path,
    accounts: &[String],
    port: Option<u16>,
) -> Result<Server> {
    let state = state(root);
    let log = log_file(root);
    for folder in [Some(state.as_path()), log.parent()].into_iter().flatten() {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot create {folder}"))?;
    }
    if let Some(server) = holder(root).filter(|server| server.is_moved(root)) {
        stop(root, &server)?;
    }
    let out = File::options().create(true).append(true).open(&log)?;
    let program = program(root)?;
    let mut process = Process::new(&program);
    process.args(["serve", "--state", state.as_str(), "--bun", bun.as_str()]);
    process.args(["--toolchain", Toolchain::wrangler(root).dir.as_str()]);
    for account in accounts {
        process.args(["--account-id", account]);
    }
    if let Some(port) = port {
        process.args(["--port", &port.to_string()]);
    }
    // Merge requests in the sandbox have the branches of this repository.
    if variable(GITLAB_REPOSITORY).is_none()
        && git::ask(root, &["rev-parse", "--git-dir"]).is_some()
    {
        process.args(["--gitlab-repository", root.as_str()]);
    }
    process.current_dir(root).env_clear();
    for name in base::command::INHERITED.iter().chain(&[TOKEN_VARIABLE]).chain(&OTHER_VARIABLES) {
        if let Some(value) = base::env::os_variable(name) {
            process.env(name, value);
        }
    }
    process.process_group(0).stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
    let mut child =
        process.spawn().map_err(|error| failed(format!("cannot run {program}: {error}")))?;
    let started = Instant::now();
    while started.elapsed() < START_DEADLINE {
        if let Some(server) = running(root) {
            return Ok(server);
        }
        if let Some(status) = child.try_wait()? {
            // Another run may have started it at the same moment.
            if let Some(server) = running(root) {
                return Ok(server);
            }
            let output = last_lines(&log, 5).join("\n    ");
            let failure = failed(format!("the sandbox did not start ({status}):\n    {output}"));
            return Err(match holder(root) {
                Some(_) => failure.hint("run `cargo xtask sandbox down`, then retry"),
                None => failure.hint(format!("read its log, {log}")),
            });
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let _gone = kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM);
    Err(failed(format!("the sandbox did not answer within {} s", START_DEADLINE.as_secs()))
        .hint(format!("read its log, {log}")))
}

/// Stops a running sandbox and waits until it has released its lock.
pub fn stop(root: &Utf8Path, server: &Server) -> Result<()> {
    let pid = Pid::from_raw(server.pid);
    let path = state(root).join("lock");
    let lock = File::open(&path).with_context(|| format!("cannot read {path}"))?;
    signal(pid, Signal::SIGTERM).context("cannot stop the sandbox")?;
    let started = Instant::now();
    while lock.try_lock().is_err() {
        if started.elapsed() > Duration::from_secs(15) {
            signal(pid, Signal::SIGKILL).context("cannot end the sandbox")?;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Signals a process. Ignores a process that has ended.
fn signal(pid: Pid, signal: Signal) -> nix::Result<()> {
    match kill(pid, signal) {
        Err(Errno::ESRCH) => Ok(()),
        sent => sent,
    }
}

/// Returns the last `count` lines of a text file. Empty if it cannot be read.
#[must_use]
pub fn last_lines(path: &Utf8Path, count: usize) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].iter().map(|&line| line.to_owned()).collect()
}
