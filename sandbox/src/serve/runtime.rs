//! Runs groups of versions: each on its first request, as many as there is room for.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex as SyncMutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use camino::{Utf8Path, Utf8PathBuf};
use serde_json::{Map, Value, json};
use tokio::sync::{Mutex, OnceCell};
use tokio::time::{sleep, timeout};

use super::check::Checker;
use super::group::{Group, Node, Role, World};
use super::output::Output;
use super::process::Process;
use super::{bindings, files};
use crate::log;
use crate::state::Store;
use crate::state::blobs::Blobs;
use crate::state::model::Worker;
use crate::state::resources::Resources;

/// The program that the process runs.
const PROGRAM: &str = include_str!("../../runtime/serve.ts");

/// The number of groups that are loaded at once. The one asked for longest ago makes room. A workerd
/// takes about 90 MB, most of it shared with the others.
const ROOM: usize = 16;

/// The same for groups with Durable Objects, queues or workflows, which work without being asked.
const ROOM_FOR_STATEFUL: usize = 48;

/// The number of uploaded versions that stay in the group of the live ones whose state they use.
const GUESTS: usize = 8;

/// The time that requests to a group have to end before another group takes over its state.
const DRAIN: Duration = Duration::from_secs(3);

/// The time that the groups have to learn whether a client tails.
const TELL_TIMEOUT: Duration = Duration::from_secs(5);

/// The number of times that a group is put together again, because it changed or a member is broken.
const ATTEMPTS: usize = 20;

/// Runs versions.
pub struct Runtime {
    bun: Utf8PathBuf,
    packages: Utf8PathBuf,
    dir: Utf8PathBuf,
    /// Loads versions once before they are stored.
    pub checker: Checker,
    /// What the Workers write.
    pub output: Arc<Output>,
    inner: Mutex<Inner>,
    /// Serializes the loading of groups that share state, because one must end before another begins.
    turn: Mutex<()>,
    accounts: SyncMutex<HashMap<String, Arc<Known>>>,
    guests: SyncMutex<Vec<Node>>,
    /// Versions that do not start, with workerd's message.
    broken: SyncMutex<BTreeMap<String, String>>,
}

#[derive(Default)]
struct Inner {
    process: Option<Arc<Process>>,
    /// The number of clients that want to know of every invocation.
    tails: usize,
    /// The group asked for last is at the end.
    loaded: Vec<Entry>,
}

#[derive(Clone)]
struct Entry {
    plan: Arc<Plan>,
    since: Instant,
    cell: Arc<OnceCell<Arc<Loaded>>>,
    /// The groups that used its state before, until it is loaded.
    former: Arc<SyncMutex<Vec<Entry>>>,
}

/// What is known of an account, until one of its Workers changes.
struct Known {
    workers: Vec<Arc<Worker>>,
    resources: Arc<Resources>,
    guests: Vec<Node>,
    broken: usize,
    world: World,
    plans: SyncMutex<HashMap<String, Arc<Plan>>>,
}

/// A group as it is to be loaded.
struct Plan {
    /// Changes with everything that the group is made of.
    key: String,
    account: String,
    group: Group,
    /// A member's `env`, `exports` and the like, by its name.
    shapes: BTreeMap<String, Value>,
}

/// A loaded group. When its last holder is gone, its workerd ends: a request that is being answered is
/// not interrupted because another group needs the room.
#[derive(Debug)]
pub struct Loaded {
    /// The port on which it answers on the loopback address.
    pub port: u16,
    name: String,
    folder: Utf8PathBuf,
    process: Arc<Process>,
}

impl Drop for Loaded {
    fn drop(&mut self) {
        self.process.unload(&self.name, &self.folder);
    }
}

/// The member whose files cannot be used.
#[derive(Debug)]
struct Unfit(String);

impl std::fmt::Display for Unfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cannot prepare {}", self.0)
    }
}

/// The result of one attempt to load a group.
enum Attempt {
    Loaded(Arc<Loaded>),
    /// Another group took its place meanwhile.
    Replaced,
    /// The process ended.
    Ended(anyhow::Error),
    Failed(anyhow::Error),
}

impl Runtime {
    /// Makes a runtime with its files below `state`, which is absolute. Starts nothing.
    pub fn new(bun: &Utf8Path, toolchain: &Utf8Path, state: &Utf8Path) -> Result<Runtime> {
        let packages = camino::absolute_utf8(toolchain)?.join("node_modules");
        for package in ["miniflare", "workerd"] {
            if !packages.join(package).is_dir() {
                bail!("{packages} does not hold {package}; install the toolchain's packages first");
            }
        }
        let dir = state.join("runtime");
        // All of it is made from the state, and what a killed run left behind is of no use.
        files::remove(&dir).with_context(|| format!("cannot empty {dir}"))?;
        std::fs::create_dir_all(dir.join("tmp")).with_context(|| format!("cannot make {dir}"))?;
        std::fs::write(dir.join("serve.ts"), PROGRAM).context("cannot write serve.ts")?;
        if bun.as_str().contains('/') && !bun.is_file() {
            bail!("{bun} is not a program");
        }
        let bun = if bun.as_str().contains('/') { camino::absolute_utf8(bun)? } else { bun.into() };
        let checker = Checker::new(&packages, &dir)?;
        Ok(Runtime {
            bun,
            packages,
            dir,
            checker,
            output: Arc::new(Output::open(state)?),
            inner: Mutex::default(),
            turn: Mutex::default(),
            accounts: SyncMutex::default(),
            guests: SyncMutex::default(),
            broken: SyncMutex::default(),
        })
    }

    /// Loads the group of `node`. Tries again if the process ends, if the group changes meanwhile, or
    /// without the members that keep it from starting.
    pub async fn load(&self, store: &Store, node: &Node) -> Result<Arc<Loaded>> {
        let mut has_ended = false;
        for _ in 0..ATTEMPTS {
            if let Some(error) = lock(&self.broken).get(&node.id) {
                bail!("workerd refuses it: {error}");
            }
            let plan = self.plan(store, node)?;
            match self.attempt(&store.blobs, &plan).await? {
                Attempt::Loaded(loaded) => return Ok(loaded),
                Attempt::Replaced => {}
                Attempt::Ended(error) if has_ended => return Err(error),
                Attempt::Ended(_) => has_ended = true,
                Attempt::Failed(error) => self.blame(&plan, node, error)?,
            }
        }
        bail!("its group changed too often while it was loaded; ask again")
    }

    /// Excludes the member that keeps a group from starting. Errors if it is `node` itself, or if no
    /// member can be blamed.
    fn blame(&self, plan: &Plan, node: &Node, error: anyhow::Error) -> Result<()> {
        let text = format!("{error:#}");
        let unfit = error.downcast_ref::<Unfit>();
        let is_named = |name: &&String| {
            text.contains(&format!("core:user:{name}:"))
                || unfit.is_some_and(|unfit| unfit.0 == **name)
        };
        let mut others = plan.group.members.keys().filter(|name| **name != node.name());
        let guilty = plan.group.members.keys().find(is_named);
        let guilty = guilty.and_then(|name| plan.group.members.get(name));
        let Some(guilty) = guilty.filter(|_| others.next().is_some()) else { return Err(error) };
        log::line(&format!("runtime: {} of {} does not start", guilty.id, guilty.worker.name));
        lock(&self.broken).insert(guilty.id.clone(), text);
        if guilty.id == node.id { Err(error) } else { Ok(()) }
    }

    async fn attempt(&self, blobs: &Blobs, plan: &Arc<Plan>) -> Result<Attempt> {
        let (process, entry) = self.place(plan).await?;
        let load = || async {
            let is_stateful = !plan.group.exclusive.is_empty();
            let _turn = if is_stateful { Some(self.turn.lock().await) } else { None };
            if is_stateful && !self.holds(&entry).await {
                return Ok(None);
            }
            let former = std::mem::take(&mut *lock(&entry.former));
            let ended = drain(former).await;
            let name =
                format!("{}-{}", &plan.key[..16], crate::ids::hex(&crate::ids::random::<4>()));
            let folder = self.dir.join(&name);
            // From here on the drop cleans up after a failure.
            let mut loaded = Loaded { port: 0, name, folder, process: process.clone() };
            let order = tokio::task::block_in_place(|| self.order(blobs, plan, &loaded, &ended))?;
            loaded.port = process.load(&order).await?;
            for node in plan.group.members.values() {
                log::line(&format!("runtime: loaded {} of {}", node.id, node.worker.name));
            }
            anyhow::Ok(Some(Arc::new(loaded)))
        };
        let replaced = || anyhow!("replaced");
        let result =
            entry.cell.get_or_try_init(|| async { load().await?.ok_or_else(replaced) }).await;
        match result {
            Ok(loaded) => Ok(Attempt::Loaded(loaded.clone())),
            Err(error) => {
                let is_ours = self.holds(&entry).await;
                self.inner.lock().await.loaded.retain(|one| !Arc::ptr_eq(&one.cell, &entry.cell));
                Ok(match is_ours {
                    false => Attempt::Replaced,
                    true if process.ended() => Attempt::Ended(error),
                    true => Attempt::Failed(error),
                })
            }
        }
    }

    /// Finds or makes the place of a group. Takes the groups away that use the same state.
    async fn place(&self, plan: &Arc<Plan>) -> Result<(Arc<Process>, Entry)> {
        let mut inner = self.inner.lock().await;
        if inner.process.as_ref().is_some_and(|process| process.ended()) {
            inner.process = None;
            inner.loaded.clear();
        }
        let process = match &inner.process {
            Some(process) => process.clone(),
            None => {
                let output = self.output.clone();
                Arc::new(Process::start(&self.bun, &self.dir, &self.packages, output)?)
            }
        };
        if inner.process.is_none() && inner.tails > 0 {
            let process = process.clone();
            tokio::spawn(async move { process.set_tailed(true).await });
        }
        inner.process = Some(process.clone());
        let at = inner.loaded.iter().position(|entry| entry.plan.key == plan.key);
        if let Some(at) = at {
            let entry = inner.loaded.remove(at);
            inner.loaded.push(entry.clone());
            return Ok((process, entry));
        }
        let conflicts = |entry: &Entry| {
            entry.plan.account == plan.account
                && !entry.plan.group.exclusive.is_disjoint(&plan.group.exclusive)
        };
        let (former, rest) = std::mem::take(&mut inner.loaded).into_iter().partition(conflicts);
        inner.loaded = rest;
        let former = Arc::new(SyncMutex::new(former));
        let (plan, since) = (plan.clone(), Instant::now());
        let entry = Entry { plan, since, cell: Arc::default(), former };
        inner.loaded.push(entry.clone());
        make_room(&mut inner.loaded);
        Ok((process, entry))
    }

    async fn holds(&self, entry: &Entry) -> bool {
        let inner = self.inner.lock().await;
        inner.loaded.iter().any(|one| Arc::ptr_eq(&one.cell, &entry.cell))
    }

    /// Forgets the groups of a version that does not answer. The next request loads it again.
    pub async fn forget_version(&self, node: &Node) {
        let name = node.name();
        let has = |entry: &Entry| {
            entry.plan.group.members.get(&name).is_some_and(|one| one.id == node.id)
        };
        self.inner.lock().await.loaded.retain(|entry| !has(entry));
    }

    /// Keeps groups with state in step with what is deployed, although nobody asks for them: alarms,
    /// queues and workflows go on after a deployment, and after a restart of the sandbox.
    pub async fn keep_stateful(&self, store: &Store) {
        let mut failed = BTreeSet::new();
        let mut is_first = true;
        loop {
            if let Err(error) = self.keep_once(store, is_first, &mut failed).await {
                log::line(&format!("runtime: {error:#}"));
            }
            is_first = false;
            sleep(Duration::from_millis(500)).await;
        }
    }

    async fn keep_once(
        &self,
        store: &Store,
        is_first: bool,
        failed: &mut BTreeSet<String>,
    ) -> Result<()> {
        let accounts: BTreeSet<String> =
            store.workers().iter().map(|worker| worker.account.clone()).collect();
        let mut current = BTreeSet::new();
        for account in accounts {
            let known = self.known(store, &account)?;
            for node in known.world.live().chain(&known.guests) {
                let plan = known.plan(node, &account);
                if plan.group.exclusive.is_empty() || !current.insert(plan.key.clone()) {
                    continue;
                }
                let is_wanted = self.is_outdated(&plan).await || (is_first && self.has_data(&plan));
                let is_broken =
                    failed.contains(&plan.key) || lock(&self.broken).contains_key(&node.id);
                if is_wanted && !is_broken && self.load(store, node).await.is_err() {
                    failed.insert(plan.key.clone());
                }
            }
        }
        // A group whose Workers were deleted must not go on.
        let is_current = |entry: &Entry| {
            entry.plan.group.exclusive.is_empty()
                || current.contains(&entry.plan.key)
                || entry.since.elapsed() < Duration::from_secs(2)
        };
        self.inner.lock().await.loaded.retain(is_current);
        Ok(())
    }

    /// Whether an earlier form of this group is loaded.
    async fn is_outdated(&self, plan: &Plan) -> bool {
        let inner = self.inner.lock().await;
        let overlaps = |entry: &&Entry| {
            entry.plan.account == plan.account
                && !entry.plan.group.exclusive.is_disjoint(&plan.group.exclusive)
        };
        let mut overlapping = inner.loaded.iter().filter(overlaps).peekable();
        overlapping.peek().is_some() && overlapping.all(|entry| entry.plan.key != plan.key)
    }

    /// Whether an earlier run left state that may have work to do.
    fn has_data(&self, plan: &Plan) -> bool {
        let data = self.data(&plan.account);
        let classes = plan.group.members.values().flat_map(Node::classes);
        let mut folders = classes.map(|class| data.join("do").join(class.id));
        let has_workflow = plan.group.exclusive.iter().any(|one| one.starts_with("workflow "));
        folders.any(|folder| folder.is_dir()) || (has_workflow && data.join("workflows").is_dir())
    }

    /// Begins to report every invocation, until [`Runtime::end_tail`].
    pub async fn begin_tail(&self) {
        let mut inner = self.inner.lock().await;
        inner.tails += 1;
        self.tell_tailed(&inner).await;
    }

    /// Ends what [`Runtime::begin_tail`] began.
    pub async fn end_tail(&self) {
        let mut inner = self.inner.lock().await;
        inner.tails = inner.tails.saturating_sub(1);
        self.tell_tailed(&inner).await;
    }

    async fn tell_tailed(&self, inner: &Inner) {
        let Some(process) = &inner.process else { return };
        // A process that has ended reports nothing, and the next one learns it at its start.
        let _late = timeout(TELL_TIMEOUT, process.set_tailed(inner.tails > 0)).await;
    }

    /// Stops the process and all groups.
    pub async fn stop(&self) {
        let mut inner = self.inner.lock().await;
        inner.loaded.clear();
        if let Some(process) = inner.process.take() {
            process.stop().await;
        }
    }

    /// Returns the folder of an account's data. It is the Workers', not their versions'.
    fn data(&self, account: &str) -> Utf8PathBuf {
        self.dir.with_file_name("data").join(account)
    }

    fn plan(&self, store: &Store, node: &Node) -> Result<Arc<Plan>> {
        let account = &node.worker.account;
        let plan = self.known(store, account)?.plan(node, account);
        if node.role == Role::Live || plan.group.exclusive.is_empty() {
            return Ok(plan);
        }
        {
            let mut guests = lock(&self.guests);
            if guests.iter().any(|guest| guest.id == node.id) {
                return Ok(plan);
            }
            guests.push(node.clone());
            let surplus = guests.len().saturating_sub(GUESTS);
            guests.drain(..surplus);
        }
        Ok(self.known(store, account)?.plan(node, account))
    }

    fn known(&self, store: &Store, account: &str) -> Result<Arc<Known>> {
        let workers = store.workers();
        let workers: Vec<Arc<Worker>> =
            workers.into_iter().filter(|worker| worker.account == account).collect();
        let resources = store.resources.get(account)?;
        // A guest whose version went live or was deleted is none any more.
        let again = |guest: &Node| {
            let worker = workers.iter().find(|worker| worker.tag == guest.worker.tag)?;
            let node = Node::new(worker, &guest.id);
            (node.version().is_some() && node.role != Role::Live).then_some(node)
        };
        let guests: Vec<Node> = lock(&self.guests).iter().filter_map(again).collect();
        let broken = lock(&self.broken).clone();
        let mut accounts = lock(&self.accounts);
        if let Some(known) = accounts.get(account) {
            let same = |(a, b): (&Arc<Worker>, &Arc<Worker>)| Arc::ptr_eq(a, b);
            if known.workers.len() == workers.len()
                && known.workers.iter().zip(&workers).all(same)
                && Arc::ptr_eq(&known.resources, &resources)
                && known.broken == broken.len()
                && known.guests.iter().map(|one| &one.id).eq(guests.iter().map(|one| &one.id))
            {
                return Ok(known.clone());
            }
        }
        let known = Arc::new(Known {
            broken: broken.len(),
            world: World::new(workers.iter(), resources.clone(), broken),
            workers,
            resources,
            guests,
            plans: SyncMutex::default(),
        });
        accounts.insert(account.to_owned(), known.clone());
        Ok(known)
    }

    fn order(
        &self,
        blobs: &Blobs,
        plan: &Plan,
        loaded: &Loaded,
        after: &[String],
    ) -> Result<Value> {
        let mut members = Vec::new();
        for (name, node) in &plan.group.members {
            let folder = loaded.folder.join(name);
            let member = self.member(blobs, node, &plan.shapes[name], &folder);
            members.push(member.map_err(|error| error.context(Unfit(name.clone())))?);
        }
        Ok(json!({
            "name": loaded.name, "members": members, "data": self.data(&plan.account), "after": after,
            "isStateful": !plan.group.exclusive.is_empty(),
        }))
    }

    fn member(
        &self,
        blobs: &Blobs,
        node: &Node,
        shape: &Value,
        folder: &Utf8Path,
    ) -> Result<Value> {
        let version = node.version().context("it was deleted")?;
        // What was changed on the disk since it was uploaded is not run.
        version.modules.iter().try_for_each(|module| blobs.read(&module.blob).map(drop))?;
        let modules = version.modules.iter().map(|module| {
            let kind = bindings::module_kind(&module.content_type);
            (module.name.clone(), json!({ "type": kind, "path": blobs.path(&module.blob) }))
        });
        let mut member = shape.clone();
        member["worker"] = json!(node.worker.name);
        member["version"] = json!(node.id);
        member["account"] = json!(node.worker.account);
        member["compatibilityDate"] = json!(version.compatibility_date);
        member["compatibilityFlags"] = json!(version.compatibility_flags);
        member["modules"] = Value::Object(modules.collect());
        if let Some(main) = &version.main_module {
            member["mainModule"] = json!(main);
        }
        if let Some(assets) = &version.assets {
            files::place(folder, blobs, &node.worker.account, assets)?;
            member["assets"] = bindings::assets(folder, &assets.config);
        }
        Ok(member)
    }
}

impl Known {
    fn plan(&self, node: &Node, account: &str) -> Arc<Plan> {
        let name = format!("{} {}", node.name(), node.id);
        if let Some(plan) = lock(&self.plans).get(&name) {
            return plan.clone();
        }
        let group = self.world.group(node, &self.guests);
        let shape = |node: &Node| -> Value {
            let live = |name: &&str| self.world.live().any(|node| node.worker.name == **name);
            let tails = node.tail_consumers().into_iter().filter(live);
            let tails: Vec<Value> = tails.map(|worker| json!({ "worker": worker })).collect();
            let fields = [
                ("name", json!(node.name())),
                ("env", Value::Object(bindings::env(&self.world, node))),
                ("exports", Value::Object(bindings::exports(node))),
                ("triggers", json!(bindings::triggers(&self.world, node))),
                ("tailConsumers", json!(tails)),
            ];
            let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value));
            Value::Object(fields.collect::<Map<String, Value>>())
        };
        let shapes: BTreeMap<String, Value> =
            group.members.iter().map(|(name, node)| (name.clone(), shape(node))).collect();
        let ids: Vec<&str> = group.members.values().map(|node| node.id.as_str()).collect();
        let key = json!([account, ids, shapes]).to_string();
        let key = blake3::hash(key.as_bytes()).to_hex().to_string();
        let plan = Arc::new(Plan { key, account: account.to_owned(), group, shapes });
        lock(&self.plans).insert(name, plan.clone());
        plan
    }
}

/// Removes the groups that were asked for longest ago, of each kind as many as there is no room for.
fn make_room(loaded: &mut Vec<Entry>) {
    for (is_stateful, room) in [(false, ROOM), (true, ROOM_FOR_STATEFUL)] {
        let is_kind = |entry: &Entry| entry.plan.group.exclusive.is_empty() != is_stateful;
        while loaded.iter().filter(|entry| is_kind(entry)).count() > room {
            let Some(oldest) = loaded.iter().position(is_kind) else { break };
            loaded.remove(oldest);
        }
    }
}

/// Waits until nobody uses the groups any more, or until they have had the time for it. Returns their
/// names.
async fn drain(former: Vec<Entry>) -> Vec<String> {
    let loaded: Vec<Arc<Loaded>> =
        former.iter().filter_map(|entry| entry.cell.get().cloned()).collect();
    let names = loaded.iter().map(|one| one.name.clone()).collect();
    drop(former);
    let held: Vec<Weak<Loaded>> = loaded.iter().map(Arc::downgrade).collect();
    drop(loaded);
    let unused = async {
        while held.iter().any(|one| one.strong_count() > 0) {
            sleep(Duration::from_millis(10)).await;
        }
    };
    // Connections that go on, such as WebSockets, are cut off, as a deployment does at Cloudflare.
    let _cut_off = timeout(DRAIN, unused).await;
    names
}

fn lock<T>(mutex: &SyncMutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
