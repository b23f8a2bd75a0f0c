//! Computes the groups of an account and caches them for the runtime.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use serde_json::{Map, Value, json};

use super::bindings;
use super::group::{AccountState, VersionNode, WorkerGroup};
use crate::mutex::lock;
use crate::state::model::Worker;
use crate::state::resources::Resources;

/// The cached state of an account, which is valid until its Workers or resources change.
pub struct AccountSnapshot {
    /// The account's Workers.
    pub workers: Vec<Arc<Worker>>,
    /// The account's resources.
    pub resources: Arc<Resources>,
    /// The recently used versions that are not live.
    pub recent_versions: Vec<VersionNode>,
    /// The number of versions that do not start.
    pub broken: usize,
    /// The state from which groups are computed.
    pub state: AccountState,
    /// The cached plans, by node.
    pub plans: Mutex<HashMap<String, Arc<GroupPlan>>>,
}

/// The plan of a group to load.
pub struct GroupPlan {
    /// The hash of all members and options of the group.
    pub key: String,
    /// The account.
    pub account: String,
    /// The members.
    pub group: WorkerGroup,
    /// The `env`, `exports` and other options of each member, by name.
    pub options: BTreeMap<String, Value>,
    /// The queues that the members use.
    pub queues: GroupQueues,
}

/// The queues of a group.
#[derive(Debug, Default)]
pub struct GroupQueues {
    /// All queues, each with its name and the delay of its messages.
    pub all: Vec<Value>,
    /// The names of the queues that no Worker consumes.
    pub without_worker: Vec<String>,
    /// The names of the paused queues. This can change while the group is loaded.
    pub paused: Vec<String>,
}

impl GroupQueues {
    fn new(group: &WorkerGroup, resources: &Resources) -> GroupQueues {
        let mut queues = GroupQueues::default();
        for name in group.exclusive.iter().filter_map(|name| name.strip_prefix("queue ")) {
            let Some(queue) = resources.queue(name) else { continue };
            let delay = &queue.settings["delivery_delay"];
            queues.all.push(json!({ "name": name, "deliveryDelay": delay }));
            if !queue.has_worker() {
                queues.without_worker.push(name.to_owned());
            }
            if queue.is_paused() {
                queues.paused.push(name.to_owned());
            }
        }
        queues
    }
}

impl AccountSnapshot {
    /// Returns the plan of the group of a version. Computes it on the first call.
    pub fn plan(&self, node: &VersionNode, account: &str) -> Arc<GroupPlan> {
        let name = format!("{} {}", node.name(), node.id);
        if let Some(plan) = lock(&self.plans).get(&name) {
            return plan.clone();
        }
        let group = self.state.group(node, &self.recent_versions);
        let member_options = |node: &VersionNode| -> Value {
            let live = |name: &&str| self.state.live().any(|node| node.worker.name == **name);
            let tails = node.tail_consumers().into_iter().filter(live);
            let tails: Vec<Value> = tails.map(|worker| json!({ "worker": worker })).collect();
            let fields = [
                ("name", json!(node.name())),
                ("env", Value::Object(bindings::env(&self.state, node))),
                ("exports", Value::Object(bindings::exports(node))),
                ("workflows", json!(bindings::unbound_workflows(&self.state, node))),
                ("triggers", json!(bindings::triggers(&self.state, node))),
                ("tailConsumers", json!(tails)),
            ];
            let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value));
            Value::Object(fields.collect::<Map<String, Value>>())
        };
        let options: BTreeMap<String, Value> =
            group.members.iter().map(|(name, node)| (name.clone(), member_options(node))).collect();
        let ids: Vec<&str> = group.members.values().map(|node| node.id.as_str()).collect();
        let queues = GroupQueues::new(&group, &self.resources);
        let key = json!([account, ids, options, queues.all, queues.without_worker]).to_string();
        let key = blake3::hash(key.as_bytes()).to_hex().to_string();
        let plan = Arc::new(GroupPlan { key, account: account.to_owned(), group, options, queues });
        lock(&self.plans).insert(name, plan.clone());
        plan
    }
}
