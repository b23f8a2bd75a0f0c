//! Groups Workers that must run in one process.
//!
//! A Worker with a binding to another one runs in the same process. Workers that share a Durable Object, a
//! queue or a workflow must share a process too, because each process has a separate copy of it. Most
//! groups have one member.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use crate::state::model::{DurableClass, WORKFLOW, Worker, WorkerVersion};
use crate::state::resources::{Resources, StoredWorkflow};

/// The role of a version of a Worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeRole {
    /// It serves the Worker's traffic.
    Live,
    /// It serves a separate URL.
    Uploaded,
    /// It is a deployment of the Worker Preview with this id, which has separate storage.
    Preview(String),
}

/// A version to run, with its Worker.
#[derive(Clone, Debug)]
pub struct VersionNode {
    /// The Worker.
    pub worker: Arc<Worker>,
    /// The id of the version.
    pub id: String,
    /// The role of the version.
    pub role: NodeRole,
}

impl VersionNode {
    /// Makes the node of a version of `worker`.
    #[must_use]
    pub fn new(worker: &Arc<Worker>, version: &str) -> VersionNode {
        let has_version =
            |preview: &&crate::state::preview::WorkerPreview| preview.deployment(version).is_some();
        let role = match worker.previews.iter().find(has_version) {
            Some(preview) => NodeRole::Preview(preview.id.clone()),
            None if worker.live().is_some_and(|live| live.id == version) => NodeRole::Live,
            None => NodeRole::Uploaded,
        };
        VersionNode { worker: worker.clone(), id: version.to_owned(), role }
    }

    /// Makes the node of a Worker's live version. `None` if it has none.
    #[must_use]
    pub fn live(worker: &Arc<Worker>) -> Option<VersionNode> {
        let id = worker.live()?.id.clone();
        Some(VersionNode { worker: worker.clone(), id, role: NodeRole::Live })
    }

    /// Returns its version. `None` if it was deleted.
    #[must_use]
    pub fn version(&self) -> Option<&WorkerVersion> {
        match &self.role {
            NodeRole::Preview(preview) => self.worker.preview(preview)?.deployment(&self.id),
            NodeRole::Live | NodeRole::Uploaded => self.worker.version(&self.id),
        }
    }

    /// Returns its name in a group. A Worker's name has no `@`.
    #[must_use]
    pub fn name(&self) -> String {
        match self.role {
            NodeRole::Live => self.worker.name.clone(),
            NodeRole::Uploaded | NodeRole::Preview(_) => {
                format!("{}@{}", self.worker.name, self.id)
            }
        }
    }

    /// Returns whether the version exports a class of this kind.
    #[must_use]
    pub fn exports_class(&self, name: &str, kind: &str) -> bool {
        let exports = self.version().and_then(|version| version.exports.as_ref());
        exports.is_some_and(|exports| exports.has_class(name, kind))
    }

    /// Lists its classes of Durable Objects. An uploaded version has none, because its bindings use the classes
    /// of the live version.
    #[must_use]
    pub fn classes(&self) -> Vec<DurableClass> {
        let exports = self.version().and_then(|version| version.exports.as_ref());
        let is_exported = |name: &str| exports.is_none_or(|exports| exports.has(name));
        match &self.role {
            NodeRole::Uploaded => Vec::new(),
            NodeRole::Live => {
                let classes = self.worker.classes.iter();
                classes.filter(|class| is_exported(&class.name)).cloned().collect()
            }
            NodeRole::Preview(preview) => {
                let find_class =
                    |name: &str| self.worker.classes.iter().find(|class| class.name == name);
                let bindings = self
                    .bindings("durable_object_namespace")
                    .filter(|binding| self.is_same_worker(binding));
                let names: BTreeSet<&str> =
                    bindings.filter_map(|binding| binding["class_name"].as_str()).collect();
                let class = |name: &str| DurableClass {
                    id: format!("{preview}-{name}"),
                    name: name.to_owned(),
                    sqlite: find_class(name).is_none_or(|class| class.sqlite),
                };
                names.into_iter().map(class).collect()
            }
        }
    }

    /// Lists its bindings of one kind.
    pub fn bindings<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        let bindings = self.version().map_or(&[] as &[Value], |version| &version.bindings);
        bindings.iter().filter(move |binding| binding["type"] == kind)
    }

    /// Returns whether a binding to a class leads to a class of the same Worker.
    #[must_use]
    pub fn is_same_worker(&self, binding: &Value) -> bool {
        binding["script_name"].as_str().is_none_or(|script| script == self.worker.name)
    }

    /// Lists the Workers that receive its invocations.
    #[must_use]
    pub fn tail_consumers(&self) -> Vec<&str> {
        let consumers = self.worker.settings.get("tail_consumers").and_then(Value::as_array);
        consumers
            .into_iter()
            .flatten()
            .filter_map(|consumer| consumer["service"].as_str())
            .collect()
    }
}

/// The current Workers and resources of an account. Groups are computed from them.
#[derive(Debug)]
pub struct AccountState {
    /// The live versions, by Worker.
    live: BTreeMap<String, VersionNode>,
    /// The account's queues and workflows.
    pub resources: Arc<Resources>,
    /// Versions that do not start, with workerd's message. They are in no group.
    broken: BTreeMap<String, String>,
}

/// The Workers and the shared state that a version uses directly.
#[derive(Debug, Default)]
struct Dependencies {
    workers: BTreeSet<String>,
    shared: BTreeSet<String>,
}

/// The Workers of a process.
#[derive(Debug)]
pub struct WorkerGroup {
    /// Its members by name.
    pub members: BTreeMap<String, VersionNode>,
    /// The names of the state that only one process may use at a time: Durable Objects, queues, workflows.
    pub exclusive: BTreeSet<String>,
}

/// The target of a binding to a Worker.
#[derive(Debug)]
pub enum BindingTarget {
    /// This member of the group.
    Member(String),
    /// No Worker, for this reason.
    Unavailable(String),
}

impl AccountState {
    /// Collects the live versions of `workers`, which belong to one account.
    #[must_use]
    pub fn new<'a>(
        workers: impl Iterator<Item = &'a Arc<Worker>>,
        resources: Arc<Resources>,
        broken: BTreeMap<String, String>,
    ) -> AccountState {
        let live =
            workers.filter_map(VersionNode::live).map(|node| (node.worker.name.clone(), node));
        AccountState { live: live.collect(), resources, broken }
    }

    /// Lists the live versions.
    pub fn live(&self) -> impl Iterator<Item = &VersionNode> {
        self.live.values()
    }

    /// Resolves a binding of `from` to the Worker `name`.
    #[must_use]
    pub fn target(&self, from: &VersionNode, name: &str) -> BindingTarget {
        let node = match self.live.get(name) {
            Some(node) => node,
            // A Preview of a Worker that was never deployed calls itself.
            None if name == from.worker.name => from,
            None => {
                return BindingTarget::Unavailable(format!(
                    "The Worker {name} is not deployed in this sandbox"
                ));
            }
        };
        match self.broken.get(&node.id) {
            Some(error) => {
                BindingTarget::Unavailable(format!("The Worker {name} does not start: {error}"))
            }
            None => BindingTarget::Member(node.name()),
        }
    }

    /// Resolves a Durable Object or workflow binding to the member that has the class.
    #[must_use]
    pub fn owner(&self, from: &VersionNode, binding: &Value) -> BindingTarget {
        match binding["script_name"].as_str().filter(|_| !from.is_same_worker(binding)) {
            Some(script) => self.target(from, script),
            None if from.role == NodeRole::Uploaded => self.target(from, &from.worker.name),
            None => BindingTarget::Member(from.name()),
        }
    }

    /// Lists the queues that a version consumes, with the consumers. Only a live version consumes queues.
    #[must_use]
    pub fn consumers(&self, node: &VersionNode) -> Vec<(&str, &crate::state::resources::Consumer)> {
        if node.role != NodeRole::Live {
            return Vec::new();
        }
        let is_consumer = |script: Option<&str>| script == Some(node.worker.name.as_str());
        let all = self.resources.queues.iter().flat_map(|queue| {
            queue.consumers.iter().map(|consumer| (queue.name.as_str(), consumer))
        });
        all.filter(|(_, consumer)| is_consumer(consumer.script.as_deref())).collect()
    }

    /// Lists the workflows of a live version that it has no binding to. Clients of the API can run them too.
    #[must_use]
    pub fn unbound_workflows(&self, node: &VersionNode) -> Vec<&StoredWorkflow> {
        let is_bound = |name: &str| {
            node.bindings("workflow").any(|binding| {
                node.is_same_worker(binding) && binding["workflow_name"].as_str() == Some(name)
            })
        };
        let all = self.resources.workflows.iter().filter(|workflow| {
            node.role == NodeRole::Live
                && workflow.script_name == node.worker.name
                && !is_bound(&workflow.name)
                && node.exports_class(&workflow.class_name, WORKFLOW)
        });
        all.collect()
    }

    /// Returns whether a version uses no other Worker and no shared state.
    #[must_use]
    pub fn is_independent(&self, node: &VersionNode) -> bool {
        let dependencies = self.dependencies(node);
        dependencies.workers.is_empty() && dependencies.shared.is_empty()
    }

    fn dependencies(&self, node: &VersionNode) -> Dependencies {
        let mut dependencies = Dependencies::default();
        let mut add_worker = |value: &Value| {
            value.as_str().map(|name| dependencies.workers.insert(name.to_owned()));
        };
        node.bindings("service").for_each(|binding| add_worker(&binding["service"]));
        for kind in ["durable_object_namespace", "workflow"] {
            let others = node.bindings(kind).filter(|binding| !node.is_same_worker(binding));
            others.for_each(|binding| add_worker(&binding["script_name"]));
        }
        dependencies.workers.extend(node.tail_consumers().into_iter().map(str::to_owned));
        let uses_class_of_worker =
            |kind| node.bindings(kind).any(|binding| node.is_same_worker(binding));
        if node.role == NodeRole::Uploaded
            && (uses_class_of_worker("durable_object_namespace")
                || uses_class_of_worker("workflow"))
        {
            dependencies.workers.insert(node.worker.name.clone());
        }
        dependencies.workers.remove(&node.name());
        for class in node.classes() {
            dependencies.shared.insert(format!("class {}", class.id));
        }
        for binding in node.bindings("workflow") {
            dependencies.shared.insert(format!("workflow {}", workflow_name(node, binding)));
        }
        for workflow in self.unbound_workflows(node) {
            dependencies.shared.insert(format!("workflow {}", workflow.name));
        }
        for queue in node.bindings("queue").filter_map(|binding| binding["queue_name"].as_str()) {
            dependencies.shared.insert(format!("queue {queue}"));
        }
        for (queue, consumer) in self.consumers(node) {
            dependencies.shared.insert(format!("queue {queue}"));
            let dead_letter_queue = consumer.dead_letter_queue.as_ref();
            dependencies.shared.extend(dead_letter_queue.map(|queue| format!("queue {queue}")));
        }
        dependencies
    }

    /// Returns the group of a version and of all Workers that it reaches directly or indirectly, with their state.
    fn closure(&self, node: &VersionNode) -> WorkerGroup {
        let mut group = WorkerGroup { members: BTreeMap::new(), exclusive: BTreeSet::new() };
        let mut pending = vec![node.clone()];
        while let Some(node) = pending.pop() {
            let name = node.name();
            if group.members.contains_key(&name) {
                continue;
            }
            let dependencies = self.dependencies(&node);
            group.exclusive.extend(dependencies.shared);
            let is_startable = |node: &&VersionNode| !self.broken.contains_key(&node.id);
            pending.extend(
                dependencies
                    .workers
                    .iter()
                    .filter_map(|name| self.live.get(name))
                    .filter(is_startable)
                    .cloned(),
            );
            group.members.insert(name, node);
        }
        group
    }

    /// Returns the group of a version. `others` are recently used versions that are not live. They join the
    /// group that has their state.
    #[must_use]
    pub fn group(&self, node: &VersionNode, others: &[VersionNode]) -> WorkerGroup {
        let mut group = self.closure(node);
        if group.exclusive.is_empty() {
            return group;
        }
        let live = self.live.values().filter(|node| !self.broken.contains_key(&node.id));
        let mut candidates: Vec<WorkerGroup> =
            live.chain(others).map(|node| self.closure(node)).collect();
        // Each Worker that joins the group may add state that others use.
        loop {
            let joins =
                |candidate: &WorkerGroup| !candidate.exclusive.is_disjoint(&group.exclusive);
            let (joining, remaining): (Vec<_>, Vec<_>) = candidates.into_iter().partition(joins);
            if joining.is_empty() {
                return group;
            }
            for candidate in joining {
                group.members.extend(candidate.members);
                group.exclusive.extend(candidate.exclusive);
            }
            candidates = remaining;
        }
    }
}

/// Returns the name under which the instances of a workflow are stored. A Preview has a separate name.
#[must_use]
pub fn workflow_name(node: &VersionNode, binding: &Value) -> String {
    let name = binding["workflow_name"].as_str().unwrap_or_default();
    match &node.role {
        NodeRole::Preview(preview) if node.is_same_worker(binding) => format!("{name}-{preview}"),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::state::model::full_traffic;

    fn worker(name: &str, bindings: &Value) -> Arc<Worker> {
        let mut worker = Worker::new("account", name);
        let id = format!("{name}-1");
        worker.versions.push(version(&id, bindings));
        worker.deploy(full_traffic(&id), BTreeMap::new());
        Arc::new(worker)
    }

    fn version(id: &str, bindings: &Value) -> WorkerVersion {
        serde_json::from_value(json!({
            "id": id, "number": 1, "created_on": "", "annotations": {}, "main_module": "a.js",
            "bindings": bindings, "modules": [], "compatibility_date": "", "compatibility_flags": [],
            "assets": null
        }))
        .expect("a version")
    }

    fn with_class(worker: &Arc<Worker>, class: &str) -> Arc<Worker> {
        let mut worker = Worker::clone(worker);
        let id = format!("id-of-{class}");
        worker.classes.push(DurableClass { id, name: class.to_owned(), sqlite: true });
        Arc::new(worker)
    }

    fn service(name: &str) -> Value {
        json!([{ "name": "OTHER", "type": "service", "service": name }])
    }

    fn object(script: &str) -> Value {
        json!([{ "name": "C", "type": "durable_object_namespace", "class_name": "C", "script_name": script }])
    }

    fn account_state(workers: &[Arc<Worker>]) -> AccountState {
        AccountState::new(workers.iter(), Arc::default(), BTreeMap::new())
    }

    fn members(
        account_state: &AccountState,
        node: &VersionNode,
        others: &[VersionNode],
    ) -> Vec<String> {
        account_state.group(node, others).members.into_keys().collect()
    }

    fn live(account_state: &AccountState, name: &str, others: &[VersionNode]) -> Vec<String> {
        members(account_state, &account_state.live[name], others)
    }

    #[test]
    fn a_worker_runs_with_the_workers_it_calls() {
        let account_state = account_state(&[
            worker("a", &service("b")),
            worker("b", &service("c")),
            worker("c", &json!([])),
            worker("d", &service("c")),
        ]);
        assert_eq!(live(&account_state, "a", &[]), ["a", "b", "c"]);
        assert_eq!(live(&account_state, "c", &[]), ["c"]);
        assert_eq!(live(&account_state, "d", &[]), ["c", "d"], "stateless Workers may run twice");
        assert!(
            account_state.is_independent(&account_state.live["c"])
                && !account_state.is_independent(&account_state.live["d"])
        );
    }

    #[test]
    fn workers_that_call_each_other_are_one_group() {
        let account_state =
            account_state(&[worker("a", &service("b")), worker("b", &service("a"))]);
        assert_eq!(live(&account_state, "a", &[]), live(&account_state, "b", &[]));
    }

    #[test]
    fn a_durable_object_is_in_one_process() {
        let owner = with_class(&worker("owner", &object("owner")), "C");
        let account_state = account_state(&[
            owner,
            worker("user", &object("owner")),
            worker("caller", &service("user")),
            worker("alone", &json!([])),
        ]);
        for name in ["owner", "user", "caller"] {
            assert_eq!(live(&account_state, name, &[]), ["caller", "owner", "user"], "{name}");
        }
        assert_eq!(live(&account_state, "alone", &[]), ["alone"]);
    }

    #[test]
    fn a_queue_joins_producers_and_consumer() {
        let queue = json!([{ "name": "Q", "type": "queue", "queue_name": "jobs" }]);
        let workers =
            [worker("in", &queue), worker("out", &json!([])), worker("alone", &json!([]))];
        let resources: Resources = serde_json::from_value(json!({ "queues": [{
            "id": "1", "name": "jobs", "created_on": "", "modified_on": "", "settings": {},
            "consumers": [{
                "id": "2", "kind": "worker", "script": "out", "settings": {},
                "dead_letter_queue": null, "created_on": ""
            }]
        }] }))
        .expect("resources");
        let account_state = AccountState::new(workers.iter(), Arc::new(resources), BTreeMap::new());
        assert_eq!(live(&account_state, "in", &[]), ["in", "out"]);
        assert_eq!(live(&account_state, "out", &[]), ["in", "out"]);
    }

    #[test]
    fn an_uploaded_version_uses_the_objects_of_the_live_one() {
        let mut owner = Worker::clone(&with_class(&worker("owner", &object("owner")), "C"));
        owner.versions.push(version("owner-2", &object("owner")));
        let owner = Arc::new(owner);
        let uploaded = VersionNode::new(&owner, "owner-2");
        let account_state = account_state(&[owner]);
        assert_eq!(uploaded.role, NodeRole::Uploaded);
        assert_eq!(members(&account_state, &uploaded, &[]), ["owner", "owner@owner-2"]);
        assert_eq!(live(&account_state, "owner", &[uploaded]), ["owner", "owner@owner-2"]);
    }

    #[test]
    fn a_preview_has_its_own_objects() {
        let mut owner = Worker::clone(&with_class(&worker("owner", &object("owner")), "C"));
        let preview = owner.add_preview("mr-1", Value::Null);
        let deployment = version("preview-1", &object("owner"));
        owner.preview_mut(&preview.id).expect("the Preview").deploy(deployment);
        let owner = Arc::new(owner);
        let node = VersionNode::new(&owner, "preview-1");
        let account_state = account_state(&[owner]);
        assert_eq!(members(&account_state, &node, &[]), ["owner@preview-1"]);
        assert_eq!(node.classes()[0].id, format!("{}-C", preview.id));
    }

    #[test]
    fn a_broken_worker_is_in_no_group() {
        let workers = [worker("a", &service("b")), worker("b", &json!([]))];
        let broken = BTreeMap::from([("b-1".to_owned(), "SyntaxError".to_owned())]);
        let account_state = AccountState::new(workers.iter(), Arc::default(), broken);
        assert_eq!(live(&account_state, "a", &[]), ["a"]);
        let BindingTarget::Unavailable(reason) =
            account_state.target(&account_state.live["a"], "b")
        else {
            panic!("the target is available")
        };
        assert_eq!(reason, "The Worker b does not start: SyntaxError");
    }
}
