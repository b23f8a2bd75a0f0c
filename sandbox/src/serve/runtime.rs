//! Loads groups of versions on their first request. Evicts the least recently used ones above a maximum number.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex as SyncMutex, Weak};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use camino::{Utf8Path, Utf8PathBuf};
use serde_json::{Value, json};
use tokio::sync::{Mutex, OnceCell};
use tokio::time::{sleep, timeout};

use super::check::StartChecker;
use super::group::{AccountState, NodeRole, VersionNode};
use super::output::WorkerOutput;
use super::plan::{AccountSnapshot, GroupPlan};
use super::process::Process;
use super::queues::MessageBacklog;
use super::{bindings, files};
use crate::log;
use crate::mutex::lock;
use crate::state::WorkerStore;
use crate::state::blobs::BlobStore;
use crate::state::model::{EVENT_HANDLERS, Worker};

/// The files of the runtime process.
const FILES: [(&str, &str); 6] = [
    ("serve.ts", include_str!("../../runtime/serve.ts")),
    ("broker.ts", include_str!("../../runtime/broker.ts")),
    ("hyperdrive.ts", include_str!("../../runtime/hyperdrive.ts")),
    ("queues.js", include_str!("../../runtime/queues.js")),
    ("retry.ts", include_str!("../../runtime/retry.ts")),
    // The process adds this module to versions with methods for other Workers.
    ("rpc.js", include_str!("../../runtime/rpc.js")),
];

/// The maximum number of loaded groups. A workerd uses about 90 MB, most of which it shares with the others.
const MAX_GROUPS: usize = 16;

/// The maximum number of loaded groups with Durable Objects, queues or workflows, which work without requests.
const MAX_STATEFUL_GROUPS: usize = 48;

/// The maximum number of versions that are not live and stay in the group whose state they use.
const MAX_RECENT_VERSIONS: usize = 8;

/// The time that the requests of a group have to end before another group takes over its state.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(3);

/// The time limit for the command that starts or ends the reports of all invocations.
const TAIL_TIMEOUT: Duration = Duration::from_secs(5);

/// The maximum number of attempts to load a group that changes or has a member that does not start.
const ATTEMPTS: usize = 20;

/// Loads versions into workerd.
pub struct WorkerRuntime {
    bun: Utf8PathBuf,
    packages: Utf8PathBuf,
    dir: Utf8PathBuf,
    /// Checks versions before they are stored.
    pub checker: StartChecker,
    /// The output of the Workers.
    pub output: Arc<WorkerOutput>,
    /// The messages of queues that no Worker consumes.
    pub backlog: Arc<MessageBacklog>,
    state: Mutex<RuntimeState>,
    /// Serializes the loading of groups that share state, because one must end before another starts.
    stateful_lock: Mutex<()>,
    accounts: SyncMutex<HashMap<String, Arc<AccountSnapshot>>>,
    recent_versions: SyncMutex<Vec<VersionNode>>,
    /// Versions that do not start, with workerd's message.
    broken: SyncMutex<BTreeMap<String, String>>,
}

/// The process and its groups.
#[derive(Default)]
struct RuntimeState {
    process: Option<Arc<Process>>,
    /// The number of clients that tail a Worker.
    tails: usize,
    /// The loaded groups and those that are loading, least recently used first.
    groups: Vec<GroupEntry>,
}

/// A group that is loaded or loading.
#[derive(Clone)]
struct GroupEntry {
    plan: Arc<GroupPlan>,
    /// The time when it was added.
    since: Instant,
    /// The group after it is loaded.
    cell: Arc<OnceCell<Arc<LoadedGroup>>>,
    /// The groups that used its state before. Empty after it is loaded.
    previous: Arc<SyncMutex<Vec<GroupEntry>>>,
}

/// A loaded group. Its workerd stops when the last reference is dropped, so an eviction does not interrupt
/// requests.
#[derive(Debug)]
pub struct LoadedGroup {
    /// Its port on the loopback address.
    pub port: u16,
    name: String,
    folder: Utf8PathBuf,
    process: Arc<Process>,
}

impl Drop for LoadedGroup {
    fn drop(&mut self) {
        self.process.unload(&self.name, &self.folder);
    }
}

/// The context of an error: the member whose files cannot be prepared.
#[derive(Debug)]
struct InvalidMember(String);

impl std::fmt::Display for InvalidMember {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cannot prepare {}", self.0)
    }
}

/// The result of one attempt to load a group.
enum LoadAttempt {
    Success(Arc<LoadedGroup>),
    /// Another group replaced it while it was loaded.
    Conflict,
    /// The process exited.
    ProcessExit(anyhow::Error),
    Failed(anyhow::Error),
}

impl WorkerRuntime {
    /// Makes a runtime with its files below `state`, which is an absolute path. Does not start the process.
    pub fn new(bun: &Utf8Path, toolchain: &Utf8Path, state: &Utf8Path) -> Result<WorkerRuntime> {
        let packages = camino::absolute_utf8(toolchain)?.join("node_modules");
        for package in ["miniflare", "workerd"] {
            if !packages.join(package).is_dir() {
                bail!(
                    "{packages} does not hold {package}; install the packages of the toolchain first"
                );
            }
        }
        let dir = state.join("runtime");
        // A killed run leaves files here. All of them can be created again.
        files::remove(&dir).with_context(|| format!("cannot empty {dir}"))?;
        std::fs::create_dir_all(dir.join("tmp")).with_context(|| format!("cannot create {dir}"))?;
        for (name, code) in FILES {
            std::fs::write(dir.join(name), code).with_context(|| format!("cannot write {name}"))?;
        }
        if bun.as_str().contains('/') && !bun.is_file() {
            bail!("{bun} is not a program");
        }
        let bun = if bun.as_str().contains('/') { camino::absolute_utf8(bun)? } else { bun.into() };
        let checker = StartChecker::new(&bun, &packages, &dir)?;
        Ok(WorkerRuntime {
            bun,
            packages,
            dir,
            checker,
            output: Arc::new(WorkerOutput::open(state)?),
            backlog: Arc::default(),
            state: Mutex::default(),
            stateful_lock: Mutex::default(),
            accounts: SyncMutex::default(),
            recent_versions: SyncMutex::default(),
            broken: SyncMutex::default(),
        })
    }

    /// Loads the group of `node`. Retries if the process exits or if the group changes. Excludes the other members
    /// that do not start.
    pub async fn load(&self, store: &WorkerStore, node: &VersionNode) -> Result<Arc<LoadedGroup>> {
        let mut has_restarted = false;
        for _ in 0..ATTEMPTS {
            if let Some(error) = lock(&self.broken).get(&node.id) {
                bail!("workerd cannot load the Worker: {error}");
            }
            let plan = self.plan(store, node)?;
            match self.try_load(&store.blobs, &plan).await? {
                LoadAttempt::Success(loaded) => return Ok(loaded),
                LoadAttempt::Conflict => {}
                LoadAttempt::ProcessExit(error) if has_restarted => return Err(error),
                LoadAttempt::ProcessExit(_) => has_restarted = true,
                LoadAttempt::Failed(error) => self.exclude_broken(&plan, node, error)?,
            }
        }
        bail!("the group of the Worker changed too often while it was loaded; retry the request")
    }

    /// Excludes the member that prevents the start of a group. Errors if it is `node`, or if the error names no
    /// member.
    fn exclude_broken(
        &self,
        plan: &GroupPlan,
        node: &VersionNode,
        error: anyhow::Error,
    ) -> Result<()> {
        let text = format!("{error:#}");
        let invalid = error.downcast_ref::<InvalidMember>();
        let is_in_error = |name: &&String| {
            text.contains(&format!("core:user:{name}:"))
                || invalid.is_some_and(|invalid| invalid.0 == **name)
        };
        let mut others = plan.group.members.keys().filter(|name| **name != node.name());
        let broken = plan.group.members.keys().find(is_in_error);
        let broken = broken.and_then(|name| plan.group.members.get(name));
        let Some(broken) = broken.filter(|_| others.next().is_some()) else { return Err(error) };
        log::line(&format!("runtime: {} of {} does not start", broken.id, broken.worker.name));
        lock(&self.broken).insert(broken.id.clone(), text);
        if broken.id == node.id { Err(error) } else { Ok(()) }
    }

    async fn try_load(&self, blobs: &BlobStore, plan: &Arc<GroupPlan>) -> Result<LoadAttempt> {
        let (process, entry) = self.find_or_add(plan).await?;
        let load = || async {
            let is_stateful = !plan.group.exclusive.is_empty();
            let _guard = if is_stateful { Some(self.stateful_lock.lock().await) } else { None };
            if is_stateful && !self.has_entry(&entry).await {
                return Ok(None);
            }
            let previous = std::mem::take(&mut *lock(&entry.previous));
            let drained = drain(previous).await;
            let name =
                format!("{}-{}", &plan.key[..16], crate::ids::hex(&crate::ids::random::<4>()));
            let folder = self.dir.join(&name);
            // If one of the following steps fails, the drop of this value cleans up.
            let mut loaded = LoadedGroup { port: 0, name, folder, process: process.clone() };
            let load_command =
                tokio::task::block_in_place(|| self.load_command(blobs, plan, &loaded, &drained))?;
            loaded.port = process.load(&load_command).await?;
            for node in plan.group.members.values() {
                log::line(&format!("runtime: loaded {} of {}", node.id, node.worker.name));
            }
            anyhow::Ok(Some(Arc::new(loaded)))
        };
        let conflict = || anyhow!("another group replaced it");
        let result =
            entry.cell.get_or_try_init(|| async { load().await?.ok_or_else(conflict) }).await;
        match result {
            Ok(loaded) => Ok(LoadAttempt::Success(loaded.clone())),
            Err(error) => {
                let is_current = self.has_entry(&entry).await;
                self.state
                    .lock()
                    .await
                    .groups
                    .retain(|group| !Arc::ptr_eq(&group.cell, &entry.cell));
                Ok(match is_current {
                    false => LoadAttempt::Conflict,
                    true if process.has_exited() => LoadAttempt::ProcessExit(error),
                    true => LoadAttempt::Failed(error),
                })
            }
        }
    }

    /// Finds or adds the entry of a group. Starts the process if it does not run. Removes the groups that use the
    /// same state.
    async fn find_or_add(&self, plan: &Arc<GroupPlan>) -> Result<(Arc<Process>, GroupEntry)> {
        let mut state = self.state.lock().await;
        if state.process.as_ref().is_some_and(|process| process.has_exited()) {
            state.process = None;
            state.groups.clear();
        }
        let process = match &state.process {
            Some(process) => process.clone(),
            None => {
                let (output, backlog) = (self.output.clone(), self.backlog.clone());
                Arc::new(Process::start(&self.bun, &self.dir, &self.packages, output, backlog)?)
            }
        };
        if state.process.is_none() && state.tails > 0 {
            let process = process.clone();
            tokio::spawn(async move { process.set_tailed(true).await });
        }
        state.process = Some(process.clone());
        let index = state.groups.iter().position(|entry| entry.plan.key == plan.key);
        if let Some(index) = index {
            let entry = state.groups.remove(index);
            state.groups.push(entry.clone());
            return Ok((process, entry));
        }
        let conflicts = |entry: &GroupEntry| {
            entry.plan.account == plan.account
                && !entry.plan.group.exclusive.is_disjoint(&plan.group.exclusive)
        };
        let (previous, remaining) =
            std::mem::take(&mut state.groups).into_iter().partition(conflicts);
        state.groups = remaining;
        let previous = Arc::new(SyncMutex::new(previous));
        let (plan, since) = (plan.clone(), Instant::now());
        let entry = GroupEntry { plan, since, cell: Arc::default(), previous };
        state.groups.push(entry.clone());
        evict(&mut state.groups);
        Ok((process, entry))
    }

    async fn has_entry(&self, entry: &GroupEntry) -> bool {
        let state = self.state.lock().await;
        state.groups.iter().any(|group| Arc::ptr_eq(&group.cell, &entry.cell))
    }

    /// Removes the groups of a version that does not respond. The next request loads it again.
    pub async fn unload_version(&self, node: &VersionNode) {
        let name = node.name();
        let has_version = |entry: &GroupEntry| {
            entry.plan.group.members.get(&name).is_some_and(|member| member.id == node.id)
        };
        self.state.lock().await.groups.retain(|entry| !has_version(entry));
    }

    /// Keeps groups with state loaded and up to date. Alarms, queues and workflows then continue after a deployment
    /// and after a restart of the sandbox, without any request.
    pub async fn update_stateful(&self, store: &WorkerStore) {
        let mut failed = BTreeSet::new();
        let mut is_first = true;
        loop {
            if let Err(error) = self.update_stateful_once(store, is_first, &mut failed).await {
                log::line(&format!("runtime: {error:#}"));
            }
            is_first = false;
            sleep(Duration::from_millis(500)).await;
        }
    }

    async fn update_stateful_once(
        &self,
        store: &WorkerStore,
        is_first: bool,
        failed: &mut BTreeSet<String>,
    ) -> Result<()> {
        let accounts: BTreeSet<String> =
            store.workers().iter().map(|worker| worker.account.clone()).collect();
        let mut current = BTreeSet::new();
        for account in accounts {
            let snapshot = self.snapshot(store, &account)?;
            for node in snapshot.state.live().chain(&snapshot.recent_versions) {
                let plan = snapshot.plan(node, &account);
                if plan.group.exclusive.is_empty() || !current.insert(plan.key.clone()) {
                    continue;
                }
                let needs_load =
                    self.is_outdated(&plan).await || (is_first && self.has_data(&plan));
                let is_broken =
                    failed.contains(&plan.key) || lock(&self.broken).contains_key(&node.id);
                if needs_load && !is_broken && self.load(store, node).await.is_err() {
                    failed.insert(plan.key.clone());
                }
            }
        }
        // Stops the groups whose Workers were deleted or changed.
        let is_current = |entry: &GroupEntry| {
            entry.plan.group.exclusive.is_empty()
                || current.contains(&entry.plan.key)
                || entry.since.elapsed() < Duration::from_secs(2)
        };
        self.state.lock().await.groups.retain(is_current);
        Ok(())
    }

    /// Returns whether only an earlier version of this group is loaded.
    async fn is_outdated(&self, plan: &GroupPlan) -> bool {
        let state = self.state.lock().await;
        let overlaps = |entry: &&GroupEntry| {
            entry.plan.account == plan.account
                && !entry.plan.group.exclusive.is_disjoint(&plan.group.exclusive)
        };
        let mut overlapping = state.groups.iter().filter(overlaps).peekable();
        overlapping.peek().is_some() && overlapping.all(|entry| entry.plan.key != plan.key)
    }

    /// Returns whether an earlier run of the sandbox left state that may have pending work.
    fn has_data(&self, plan: &GroupPlan) -> bool {
        let data_folder = self.data_folder(&plan.account);
        let classes = plan.group.members.values().flat_map(VersionNode::classes);
        let mut folders = classes.map(|class| data_folder.join("do").join(class.id));
        let has_workflow = plan.group.exclusive.iter().any(|name| name.starts_with("workflow "));
        folders.any(|folder| folder.is_dir())
            || (has_workflow && data_folder.join("workflows").is_dir())
    }

    /// Reports every invocation until [`WorkerRuntime::end_tail`].
    pub async fn begin_tail(&self) {
        let mut state = self.state.lock().await;
        state.tails += 1;
        self.send_tailed(&state).await;
    }

    /// Ends the reports of [`WorkerRuntime::begin_tail`].
    pub async fn end_tail(&self) {
        let mut state = self.state.lock().await;
        state.tails = state.tails.saturating_sub(1);
        self.send_tailed(&state).await;
    }

    async fn send_tailed(&self, state: &RuntimeState) {
        let Some(process) = &state.process else { return };
        // If the process has exited, the next process gets the setting when it starts.
        let _timeout = timeout(TAIL_TIMEOUT, process.set_tailed(state.tails > 0)).await;
    }

    /// Stops the process and all groups.
    pub async fn stop(&self) {
        let mut state = self.state.lock().await;
        state.groups.clear();
        if let Some(process) = state.process.take() {
            process.stop().await;
        }
    }

    /// Returns the folder of an account's data, which all versions of its Workers share.
    #[must_use]
    pub fn data_folder(&self, account: &str) -> Utf8PathBuf {
        self.dir.with_file_name("data").join(account)
    }

    /// Returns the plan of the group of a version. A version that is not live joins the group that has its state.
    fn plan(&self, store: &WorkerStore, node: &VersionNode) -> Result<Arc<GroupPlan>> {
        let account = &node.worker.account;
        let plan = self.snapshot(store, account)?.plan(node, account);
        if node.role == NodeRole::Live || plan.group.exclusive.is_empty() {
            return Ok(plan);
        }
        {
            let mut recent_versions = lock(&self.recent_versions);
            if recent_versions.iter().any(|recent| recent.id == node.id) {
                return Ok(plan);
            }
            recent_versions.push(node.clone());
            let surplus = recent_versions.len().saturating_sub(MAX_RECENT_VERSIONS);
            recent_versions.drain(..surplus);
        }
        Ok(self.snapshot(store, account)?.plan(node, account))
    }

    /// Returns the state of an account, from the cache if nothing changed.
    fn snapshot(&self, store: &WorkerStore, account: &str) -> Result<Arc<AccountSnapshot>> {
        let workers = store.workers();
        let workers: Vec<Arc<Worker>> =
            workers.into_iter().filter(|worker| worker.account == account).collect();
        let resources = store.resources.get(account)?;
        // Drop versions that went live or were deleted.
        let refresh = |node: &VersionNode| {
            let worker = workers.iter().find(|worker| worker.tag == node.worker.tag)?;
            let node = VersionNode::new(worker, &node.id);
            (node.version().is_some() && node.role != NodeRole::Live).then_some(node)
        };
        let recent_versions: Vec<VersionNode> =
            lock(&self.recent_versions).iter().filter_map(refresh).collect();
        let broken = lock(&self.broken).clone();
        let mut accounts = lock(&self.accounts);
        if let Some(snapshot) = accounts.get(account) {
            let is_same = |(a, b): (&Arc<Worker>, &Arc<Worker>)| Arc::ptr_eq(a, b);
            if snapshot.workers.len() == workers.len()
                && snapshot.workers.iter().zip(&workers).all(is_same)
                && Arc::ptr_eq(&snapshot.resources, &resources)
                && snapshot.broken == broken.len()
                && snapshot
                    .recent_versions
                    .iter()
                    .map(|recent_version| &recent_version.id)
                    .eq(recent_versions.iter().map(|recent_version| &recent_version.id))
            {
                return Ok(snapshot.clone());
            }
        }
        let snapshot = Arc::new(AccountSnapshot {
            broken: broken.len(),
            state: AccountState::new(workers.iter(), resources.clone(), broken),
            workers,
            resources,
            recent_versions,
            plans: SyncMutex::default(),
        });
        accounts.insert(account.to_owned(), snapshot.clone());
        Ok(snapshot)
    }

    /// Returns the command that loads a group after the groups in `after` have stopped.
    fn load_command(
        &self,
        blobs: &BlobStore,
        plan: &GroupPlan,
        loaded: &LoadedGroup,
        after: &[String],
    ) -> Result<Value> {
        let mut members = Vec::new();
        for (name, node) in &plan.group.members {
            let folder = loaded.folder.join(name);
            let member = self.member(blobs, node, &plan.options[name], &folder);
            members.push(member.map_err(|error| error.context(InvalidMember(name.clone())))?);
        }
        Ok(json!({
            "name": loaded.name, "members": members, "data": self.data_folder(&plan.account), "after": after,
            "isStateful": !plan.group.exclusive.is_empty(), "queues": plan.queues.all,
            "queuesWithoutWorker": plan.queues.without_worker, "pausedQueues": plan.queues.paused,
        }))
    }

    /// Returns the options of a member with its code. Writes its assets into `folder`.
    fn member(
        &self,
        blobs: &BlobStore,
        node: &VersionNode,
        member_options: &Value,
        folder: &Utf8Path,
    ) -> Result<Value> {
        let version = node.version().context("it was deleted")?;
        // Errors if a module changed on disk since its upload.
        version.modules.iter().try_for_each(|module| blobs.read(&module.blob).map(drop))?;
        let modules = version.modules.iter().map(|module| {
            let kind = bindings::module_kind(&module.content_type);
            (module.name.clone(), json!({ "type": kind, "path": blobs.path(&module.blob) }))
        });
        let mut member = member_options.clone();
        member["worker"] = json!(node.worker.name);
        member["version"] = json!(node.id);
        member["account"] = json!(node.worker.account);
        member["compatibilityDate"] = json!(version.compatibility_date);
        member["compatibilityFlags"] = json!(version.compatibility_flags);
        member["modules"] = Value::Object(modules.collect());
        if let Some(main) = &version.main_module {
            member["mainModule"] = json!(main);
        }
        if let Some(exports) = version.exports.as_ref().filter(|exports| exports.has_methods()) {
            let has_default = !exports.handlers.is_empty();
            member["rpc"] = json!({ "hasDefault": has_default, "events": EVENT_HANDLERS });
        }
        if let Some(exports) =
            version.exports.as_ref().filter(|exports| !exports.loadable.is_empty())
        {
            member["loadable"] = json!(exports.loadable);
        }
        if let Some(assets) = &version.assets {
            files::link_assets(folder, blobs, &node.worker.account, assets)?;
            member["assets"] = bindings::assets(folder, &assets.config);
        }
        Ok(member)
    }
}

/// Evicts the least recently used groups above the maximum of each kind.
fn evict(loaded: &mut Vec<GroupEntry>) {
    for (is_stateful, limit) in [(false, MAX_GROUPS), (true, MAX_STATEFUL_GROUPS)] {
        let is_kind = |entry: &GroupEntry| entry.plan.group.exclusive.is_empty() != is_stateful;
        while loaded.iter().filter(|entry| is_kind(entry)).count() > limit {
            let Some(oldest) = loaded.iter().position(is_kind) else { break };
            loaded.remove(oldest);
        }
    }
}

/// Waits until no request uses the groups, or until [`DRAIN_TIMEOUT`]. Returns their names.
async fn drain(previous: Vec<GroupEntry>) -> Vec<String> {
    let loaded: Vec<Arc<LoadedGroup>> =
        previous.iter().filter_map(|entry| entry.cell.get().cloned()).collect();
    let names = loaded.iter().map(|group| group.name.clone()).collect();
    drop(previous);
    let references: Vec<Weak<LoadedGroup>> = loaded.iter().map(Arc::downgrade).collect();
    drop(loaded);
    let unused = async {
        while references.iter().any(|reference| reference.strong_count() > 0) {
            sleep(Duration::from_millis(10)).await;
        }
    };
    // Long connections such as WebSockets are cut off, like by a deployment on Cloudflare.
    let _cut_off = timeout(DRAIN_TIMEOUT, unused).await;
    names
}
