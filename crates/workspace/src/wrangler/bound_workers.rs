//! Finds the other Workers that a wrangler config names. Cloudflare refuses an upload while one of them is missing.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Returns the Workers that a block of a config names: in bindings to services, Durable Objects and workflows, as
/// tail consumers, as the outbound Worker of a dispatch namespace, and as the previous owner of a class.
#[must_use]
pub fn bound_workers(block: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut add = |name: &Value| found.extend(name.as_str().map(str::to_owned));
    let list = |at: &Value| at.as_array().cloned().unwrap_or_default();
    for binding in list(&block["services"]) {
        add(&binding["service"]);
        // wrangler uses this name for the Worker of a service environment.
        if let (Some(service), Some(environment)) =
            (binding["service"].as_str(), binding["environment"].as_str())
        {
            add(&format!("{service}-{environment}").into());
        }
    }
    list(&block["durable_objects"]["bindings"]).iter().for_each(|each| add(&each["script_name"]));
    list(&block["workflows"]).iter().for_each(|each| add(&each["script_name"]));
    for consumers in ["tail_consumers", "streaming_tail_consumers"] {
        list(&block[consumers]).iter().for_each(|each| add(&each["service"]));
    }
    for namespace in list(&block["dispatch_namespaces"]) {
        let outbound = &namespace["outbound"];
        add(if outbound.is_string() { outbound } else { &outbound["service"] });
    }
    for migration in list(&block["migrations"]) {
        list(&migration["transferred_classes"]).iter().for_each(|each| add(&each["from_script"]));
    }
    found
}

/// An order of several Workers in which each follows those that it names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeployOrder {
    /// The positions of the Workers in order. Workers that name no other keep theirs.
    pub order: Vec<usize>,
    /// The Workers that each one follows.
    pub after: Vec<BTreeSet<usize>>,
    /// The Workers that each one names but precedes because of a cycle: they also name it, directly or through others.
    pub bound_later: Vec<BTreeSet<usize>>,
}

impl DeployOrder {
    /// Finds the order of Workers with these names. Each names the Workers in its entry of `bound`.
    #[must_use]
    pub fn new(workers: &[(&str, &BTreeSet<String>)]) -> DeployOrder {
        let names = |from: usize| -> BTreeSet<usize> {
            let is_bound = |to: &usize| *to != from && workers[from].1.contains(workers[*to].0);
            (0..workers.len()).filter(is_bound).collect()
        };
        let mut order = DeployOrder {
            order: Vec::new(),
            after: (0..workers.len()).map(names).collect(),
            bound_later: vec![BTreeSet::new(); workers.len()],
        };
        let mut open = BTreeSet::new();
        (0..workers.len()).for_each(|at| order.visit(at, &mut open));
        order
    }

    /// Puts a Worker after those that it names. `open` contains the Workers that wait for this one.
    fn visit(&mut self, at: usize, open: &mut BTreeSet<usize>) {
        if self.order.contains(&at) {
            return;
        }
        open.insert(at);
        for to in self.after[at].clone() {
            if open.contains(&to) {
                self.after[at].remove(&to);
                self.bound_later[at].insert(to);
            } else {
                self.visit(to, open);
            }
        }
        open.remove(&at);
        self.order.push(at);
    }
}

/// Returns true if the Worker `from` names the Worker `to`, directly or through others. `bound` has the Workers that each
/// one names.
#[must_use]
pub fn is_bound(bound: &BTreeMap<String, BTreeSet<String>>, from: &str, to: &str) -> bool {
    let (mut seen, mut waiting) = (BTreeSet::new(), vec![from]);
    while let Some(worker) = waiting.pop() {
        if worker == to {
            return true;
        }
        if let Some(named) = bound.get(worker).filter(|_| seen.insert(worker)) {
            waiting.extend(named.iter().map(String::as_str));
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_kind_of_binding_to_another_worker_is_found() {
        let found = bound_workers(&json!({
            "services": [{ "binding": "A", "service": "api" }, { "service": "old", "environment": "staging" }],
            "durable_objects": { "bindings": [{ "name": "ROOM", "script_name": "rooms" }, { "name": "OWN" }] },
            "workflows": [{ "name": "flow", "script_name": "flows" }],
            "tail_consumers": [{ "service": "tail" }],
            "streaming_tail_consumers": [{ "service": "stream" }],
            "dispatch_namespaces": [{ "outbound": { "service": "outbound" } }, { "namespace": "n" }],
            "migrations": [{ "transferred_classes": [{ "from": "A", "from_script": "previous" }] }],
            "queues": { "consumers": [{ "queue": "q" }] },
        }));
        let wanted = [
            "api",
            "flows",
            "old",
            "old-staging",
            "outbound",
            "previous",
            "rooms",
            "stream",
            "tail",
        ];
        assert_eq!(found, wanted.map(str::to_owned).into());
        assert_eq!(bound_workers(&json!({ "services": "broken" })), BTreeSet::new());
    }

    fn order(workers: &[(&str, &[&str])]) -> (Vec<String>, Vec<String>) {
        let bound: Vec<BTreeSet<String>> = workers
            .iter()
            .map(|(_, bound)| bound.iter().map(|name| (*name).to_owned()).collect())
            .collect();
        let all: Vec<(&str, &BTreeSet<String>)> =
            workers.iter().map(|(name, _)| *name).zip(&bound).collect();
        let found = DeployOrder::new(&all);
        let name = |at: &usize| workers[*at].0.to_owned();
        let bound_later = found.bound_later.iter().enumerate().flat_map(|(from, all)| {
            all.iter().map(move |to| format!("{} before {}", name(&from), name(to)))
        });
        (found.order.iter().map(name).collect(), bound_later.collect())
    }

    #[test]
    fn a_worker_follows_those_that_it_names() {
        assert_eq!(order(&[("a", &[]), ("b", &[]), ("c", &[])]).0, ["a", "b", "c"]);
        assert_eq!(order(&[("a", &["c"]), ("b", &["gone"]), ("c", &["b"])]).0, ["b", "c", "a"]);
        assert_eq!(order(&[("a", &["a"]), ("b", &[])]), (vec!["a".into(), "b".into()], vec![]));
    }

    #[test]
    fn a_cycle_has_one_stable_order() {
        let cycle = order(&[("a", &["b"]), ("b", &["c"]), ("c", &["a", "d"]), ("d", &[])]);
        assert_eq!(cycle.0, ["d", "c", "b", "a"]);
        assert_eq!(cycle.1, ["c before a"]);
    }
}
