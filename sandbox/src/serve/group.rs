//! Decides which Workers must run in one process.
//!
//! A Worker that binds another one runs beside it. Workers that share a Durable Object, a queue or a
//! workflow must share a process as well, because two processes would each have their own copy of it.
//! Most groups have one member.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use crate::state::model::{DurableClass, Version, Worker};
use crate::state::resources::Resources;

/// The relation of a version to its Worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// It gets the Worker's traffic.
    Live,
    /// It is uploaded, and reached by its own address.
    Uploaded,
    /// It is a deployment of the Worker Preview of this id, which has its own storage.
    Preview(String),
}

/// A version that is to run, with its Worker.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its Worker.
    pub worker: Arc<Worker>,
    /// Its id.
    pub id: String,
    /// Its relation to the Worker.
    pub role: Role,
}

impl Node {
    /// Makes the node of a version of `worker`.
    #[must_use]
    pub fn new(worker: &Arc<Worker>, version: &str) -> Node {
        let holds = |one: &&crate::state::preview::Preview| one.deployment(version).is_some();
        let role = match worker.previews.iter().find(holds) {
            Some(preview) => Role::Preview(preview.id.clone()),
            None if worker.live().is_some_and(|live| live.id == version) => Role::Live,
            None => Role::Uploaded,
        };
        Node { worker: worker.clone(), id: version.to_owned(), role }
    }

    /// Makes the node of a Worker's live version. `None` if nothing is live.
    #[must_use]
    pub fn live(worker: &Arc<Worker>) -> Option<Node> {
        let id = worker.live()?.id.clone();
        Some(Node { worker: worker.clone(), id, role: Role::Live })
    }

    /// Returns its version. `None` if it was deleted.
    #[must_use]
    pub fn version(&self) -> Option<&Version> {
        match &self.role {
            Role::Preview(preview) => self.worker.preview(preview)?.deployment(&self.id),
            Role::Live | Role::Uploaded => self.worker.version(&self.id),
        }
    }

    /// Returns its name in a group. A Worker's name has no `@`.
    #[must_use]
    pub fn name(&self) -> String {
        match self.role {
            Role::Live => self.worker.name.clone(),
            Role::Uploaded | Role::Preview(_) => format!("{}@{}", self.worker.name, self.id),
        }
    }

    /// Lists the classes of Durable Objects that it has. An uploaded version has none: its bindings
    /// lead to the live one.
    #[must_use]
    pub fn classes(&self) -> Vec<DurableClass> {
        let exports = self.version().and_then(|version| version.exports.as_ref());
        let is_exported = |name: &str| exports.is_none_or(|exports| exports.has(name));
        match &self.role {
            Role::Uploaded => Vec::new(),
            Role::Live => {
                let classes = self.worker.classes.iter();
                classes.filter(|class| is_exported(&class.name)).cloned().collect()
            }
            Role::Preview(preview) => {
                let known =
                    |name: &str| self.worker.classes.iter().find(|class| class.name == name);
                let own = self.bindings("durable_object_namespace").filter(|one| self.is_own(one));
                let names: BTreeSet<&str> =
                    own.filter_map(|one| one["class_name"].as_str()).collect();
                let class = |name: &str| DurableClass {
                    id: format!("{preview}-{name}"),
                    name: name.to_owned(),
                    sqlite: known(name).is_none_or(|class| class.sqlite),
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

    /// Whether a binding names a class of its own Worker.
    #[must_use]
    pub fn is_own(&self, binding: &Value) -> bool {
        binding["script_name"].as_str().is_none_or(|script| script == self.worker.name)
    }

    /// Lists the Workers that get its tail.
    #[must_use]
    pub fn tail_consumers(&self) -> Vec<&str> {
        let consumers = self.worker.settings.get("tail_consumers").and_then(Value::as_array);
        consumers.into_iter().flatten().filter_map(|one| one["service"].as_str()).collect()
    }
}

/// Everything that a group is made of: the Workers of an account as they are now.
#[derive(Debug)]
pub struct World {
    /// The live versions, by Worker.
    live: BTreeMap<String, Node>,
    /// The account's queues and workflows.
    pub resources: Arc<Resources>,
    /// Versions that do not start, with workerd's message. They run in no group.
    broken: BTreeMap<String, String>,
}

/// The Workers and the state that a version uses directly.
#[derive(Debug, Default)]
struct Uses {
    workers: BTreeSet<String>,
    shared: BTreeSet<String>,
}

/// The Workers of a process.
#[derive(Debug)]
pub struct Group {
    /// Its members by name.
    pub members: BTreeMap<String, Node>,
    /// What no other process may use at the same time: Durable Objects, queues, workflows.
    pub exclusive: BTreeSet<String>,
}

/// Where a binding to a Worker leads.
#[derive(Debug)]
pub enum Binding {
    /// To this member.
    Member(String),
    /// Nowhere, for this reason.
    Nowhere(String),
}

impl World {
    /// Takes the live versions among `workers`, all of one account.
    #[must_use]
    pub fn new<'a>(
        workers: impl Iterator<Item = &'a Arc<Worker>>,
        resources: Arc<Resources>,
        broken: BTreeMap<String, String>,
    ) -> World {
        let live = workers.filter_map(Node::live).map(|node| (node.worker.name.clone(), node));
        World { live: live.collect(), resources, broken }
    }

    /// Lists the live versions.
    pub fn live(&self) -> impl Iterator<Item = &Node> {
        self.live.values()
    }

    /// Finds where a binding of `from` to the Worker `name` leads.
    #[must_use]
    pub fn target(&self, from: &Node, name: &str) -> Binding {
        let node = match self.live.get(name) {
            Some(node) => node,
            // A Preview of a Worker that was never deployed has no other one to call.
            None if name == from.worker.name => from,
            None => {
                return Binding::Nowhere(format!(
                    "The Worker {name} is not deployed in this sandbox"
                ));
            }
        };
        match self.broken.get(&node.id) {
            Some(error) => Binding::Nowhere(format!("The Worker {name} does not start: {error}")),
            None => Binding::Member(node.name()),
        }
    }

    /// Finds the member that has the class of a Durable Object or workflow binding.
    #[must_use]
    pub fn owner(&self, from: &Node, binding: &Value) -> Binding {
        match binding["script_name"].as_str().filter(|_| !from.is_own(binding)) {
            Some(script) => self.target(from, script),
            None if from.role == Role::Uploaded => self.target(from, &from.worker.name),
            None => Binding::Member(from.name()),
        }
    }

    /// Lists the queues that a version consumes. Only a live one does.
    #[must_use]
    pub fn consumed(&self, node: &Node) -> Vec<(&str, &crate::state::resources::Consumer)> {
        if node.role != Role::Live {
            return Vec::new();
        }
        let is_ours = |script: Option<&str>| script == Some(node.worker.name.as_str());
        let consumers = self.resources.queues.iter().flat_map(|queue| {
            queue.consumers.iter().map(|consumer| (queue.name.as_str(), consumer))
        });
        consumers.filter(|(_, consumer)| is_ours(consumer.script.as_deref())).collect()
    }

    /// Whether a version uses nothing that another one may have to share.
    #[must_use]
    pub fn is_alone(&self, node: &Node) -> bool {
        let uses = self.uses(node);
        uses.workers.is_empty() && uses.shared.is_empty()
    }

    fn uses(&self, node: &Node) -> Uses {
        let mut uses = Uses::default();
        let mut name = |value: &Value| {
            value.as_str().map(|name| uses.workers.insert(name.to_owned()));
        };
        node.bindings("service").for_each(|binding| name(&binding["service"]));
        for kind in ["durable_object_namespace", "workflow"] {
            let others = node.bindings(kind).filter(|binding| !node.is_own(binding));
            others.for_each(|binding| name(&binding["script_name"]));
        }
        uses.workers.extend(node.tail_consumers().into_iter().map(str::to_owned));
        let has_own = |kind| node.bindings(kind).any(|binding| node.is_own(binding));
        if node.role == Role::Uploaded
            && (has_own("durable_object_namespace") || has_own("workflow"))
        {
            uses.workers.insert(node.worker.name.clone());
        }
        uses.workers.remove(&node.name());
        for class in node.classes() {
            uses.shared.insert(format!("class {}", class.id));
        }
        for binding in node.bindings("workflow") {
            uses.shared.insert(format!("workflow {}", workflow(node, binding)));
        }
        for queue in node.bindings("queue").filter_map(|binding| binding["queue_name"].as_str()) {
            uses.shared.insert(format!("queue {queue}"));
        }
        for (queue, consumer) in self.consumed(node) {
            uses.shared.insert(format!("queue {queue}"));
            let letters = consumer.dead_letter_queue.as_ref();
            uses.shared.extend(letters.map(|queue| format!("queue {queue}")));
        }
        uses
    }

    /// Returns a version with all that it can reach, and the state that these use.
    fn closure(&self, node: &Node) -> Group {
        let mut group = Group { members: BTreeMap::new(), exclusive: BTreeSet::new() };
        let mut waiting = vec![node.clone()];
        while let Some(node) = waiting.pop() {
            let name = node.name();
            if group.members.contains_key(&name) {
                continue;
            }
            let uses = self.uses(&node);
            group.exclusive.extend(uses.shared);
            let is_sound = |node: &&Node| !self.broken.contains_key(&node.id);
            waiting.extend(
                uses.workers
                    .iter()
                    .filter_map(|name| self.live.get(name))
                    .filter(is_sound)
                    .cloned(),
            );
            group.members.insert(name, node);
        }
        group
    }

    /// Returns the group of a version. `others` are versions beside the live ones that were asked for
    /// lately: they stay in the group that their state belongs to.
    #[must_use]
    pub fn group(&self, node: &Node, others: &[Node]) -> Group {
        let mut group = self.closure(node);
        if group.exclusive.is_empty() {
            return group;
        }
        let live = self.live.values().filter(|node| !self.broken.contains_key(&node.id));
        let mut candidates: Vec<Group> =
            live.chain(others).map(|node| self.closure(node)).collect();
        // Each Worker that joins may bring state that others use.
        loop {
            let joins = |one: &Group| !one.exclusive.is_disjoint(&group.exclusive);
            let (joining, rest): (Vec<_>, Vec<_>) = candidates.into_iter().partition(joins);
            if joining.is_empty() {
                return group;
            }
            for one in joining {
                group.members.extend(one.members);
                group.exclusive.extend(one.exclusive);
            }
            candidates = rest;
        }
    }
}

/// Returns the name under which a workflow keeps its instances. A Preview has its own.
#[must_use]
pub fn workflow(node: &Node, binding: &Value) -> String {
    let name = binding["workflow_name"].as_str().unwrap_or_default();
    match &node.role {
        Role::Preview(preview) if node.is_own(binding) => format!("{name}-{preview}"),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::state::model::whole;

    fn worker(name: &str, bindings: &Value) -> Arc<Worker> {
        let mut worker = Worker::new("account", name);
        let id = format!("{name}-1");
        worker.versions.push(version(&id, bindings));
        worker.deploy(whole(&id), BTreeMap::new());
        Arc::new(worker)
    }

    fn version(id: &str, bindings: &Value) -> Version {
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

    fn world(workers: &[Arc<Worker>]) -> World {
        World::new(workers.iter(), Arc::default(), BTreeMap::new())
    }

    fn members(world: &World, node: &Node, others: &[Node]) -> Vec<String> {
        world.group(node, others).members.into_keys().collect()
    }

    fn live(world: &World, name: &str, others: &[Node]) -> Vec<String> {
        members(world, &world.live[name], others)
    }

    #[test]
    fn a_worker_runs_beside_those_that_it_calls() {
        let world = world(&[
            worker("a", &service("b")),
            worker("b", &service("c")),
            worker("c", &json!([])),
            worker("d", &service("c")),
        ]);
        assert_eq!(live(&world, "a", &[]), ["a", "b", "c"]);
        assert_eq!(live(&world, "c", &[]), ["c"]);
        assert_eq!(live(&world, "d", &[]), ["c", "d"], "stateless Workers may run twice");
        assert!(world.is_alone(&world.live["c"]) && !world.is_alone(&world.live["d"]));
    }

    #[test]
    fn workers_that_call_each_other_are_one_group() {
        let world = world(&[worker("a", &service("b")), worker("b", &service("a"))]);
        assert_eq!(live(&world, "a", &[]), live(&world, "b", &[]));
    }

    #[test]
    fn a_durable_object_is_in_one_process() {
        let owner = with_class(&worker("owner", &object("owner")), "C");
        let world = world(&[
            owner,
            worker("user", &object("owner")),
            worker("caller", &service("user")),
            worker("alone", &json!([])),
        ]);
        for name in ["owner", "user", "caller"] {
            assert_eq!(live(&world, name, &[]), ["caller", "owner", "user"], "{name}");
        }
        assert_eq!(live(&world, "alone", &[]), ["alone"]);
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
        let world = World::new(workers.iter(), Arc::new(resources), BTreeMap::new());
        assert_eq!(live(&world, "in", &[]), ["in", "out"]);
        assert_eq!(live(&world, "out", &[]), ["in", "out"]);
    }

    #[test]
    fn an_uploaded_version_uses_the_objects_of_the_live_one() {
        let mut owner = Worker::clone(&with_class(&worker("owner", &object("owner")), "C"));
        owner.versions.push(version("owner-2", &object("owner")));
        let owner = Arc::new(owner);
        let uploaded = Node::new(&owner, "owner-2");
        let world = world(&[owner]);
        assert_eq!(uploaded.role, Role::Uploaded);
        assert_eq!(members(&world, &uploaded, &[]), ["owner", "owner@owner-2"]);
        assert_eq!(live(&world, "owner", &[uploaded]), ["owner", "owner@owner-2"]);
    }

    #[test]
    fn a_preview_has_its_own_objects() {
        let mut owner = Worker::clone(&with_class(&worker("owner", &object("owner")), "C"));
        let preview = owner.add_preview("mr-1", Value::Null);
        let deployment = version("preview-1", &object("owner"));
        owner.preview_mut(&preview.id).expect("the Preview").deploy(deployment);
        let owner = Arc::new(owner);
        let previewed = Node::new(&owner, "preview-1");
        let world = world(&[owner]);
        assert_eq!(members(&world, &previewed, &[]), ["owner@preview-1"]);
        assert_eq!(previewed.classes()[0].id, format!("{}-C", preview.id));
    }

    #[test]
    fn a_broken_worker_is_in_no_group() {
        let workers = [worker("a", &service("b")), worker("b", &json!([]))];
        let broken = BTreeMap::from([("b-1".to_owned(), "SyntaxError".to_owned())]);
        let world = World::new(workers.iter(), Arc::default(), broken);
        assert_eq!(live(&world, "a", &[]), ["a"]);
        let Binding::Nowhere(reason) = world.target(&world.live["a"], "b") else {
            panic!("it leads")
        };
        assert_eq!(reason, "The Worker b does not start: SyntaxError");
    }
}
