//! Builds a graph.

use std::collections::{BTreeMap, VecDeque};

use camino::{Utf8Path, Utf8PathBuf};

use crate::graph::{Graph, NodeIndex, Origin};
use base::error::{Error, refused};

/// The nodes in insertion order, with their problems.
#[derive(Debug, Default)]
pub(crate) struct GraphBuilder {
    numbers: BTreeMap<String, NodeIndex>,
    paths: Vec<Utf8PathBuf>,
    edges: Vec<Vec<(NodeIndex, Origin)>>,
    /// The problem of each folder's manifest. It matters only if a project depends on the folder,
    /// because repositories contain broken manifests on purpose, in fixtures and templates.
    problems: BTreeMap<NodeIndex, Error>,
}

impl GraphBuilder {
    /// Returns the index of the folder or file at `path`. Adds it if it is new.
    pub(crate) fn node(&mut self, path: &Utf8Path) -> NodeIndex {
        if let Some(node) = self.numbers.get(path.as_str()) {
            return *node;
        }
        self.numbers.insert(path.as_str().to_owned(), self.paths.len());
        self.paths.push(path.to_owned());
        self.edges.push(Vec::new());
        self.paths.len() - 1
    }

    /// Returns the existing nodes of `path` and of the folders above it.
    pub(crate) fn nodes_above(&self, path: &Utf8Path) -> Vec<NodeIndex> {
        path.ancestors().filter_map(|above| self.numbers.get(above.as_str())).copied().collect()
    }

    /// Returns the path of a node.
    pub(crate) fn path(&self, node: NodeIndex) -> &Utf8Path {
        &self.paths[node]
    }

    /// Returns the edges of a node so far.
    pub(crate) fn edges_of(&self, node: NodeIndex) -> Vec<(NodeIndex, Origin)> {
        self.edges[node].clone()
    }

    /// Adds an edge. Returns true if it is new.
    pub(crate) fn add(&mut self, from: NodeIndex, to: &Utf8Path, origin: Origin) -> bool {
        let edge = (self.node(to), origin);
        let new = edge.0 != from && !self.edges[from].contains(&edge);
        if new {
            self.edges[from].push(edge);
        }
        new
    }

    /// Records a problem of a folder's manifest.
    pub(crate) fn problem(&mut self, node: NodeIndex, message: String) {
        self.refuse(node, refused(message));
    }

    /// Records a problem of a folder's manifest, with the fix.
    pub(crate) fn refuse(&mut self, node: NodeIndex, failure: Error) {
        self.problems.entry(node).or_insert(failure);
    }

    /// Returns the nearest problem among the inputs of `folder`.
    pub(crate) fn problem_of(&self, folder: &Utf8Path) -> Option<&Error> {
        if self.problems.is_empty() {
            return None;
        }
        let start = *self.numbers.get(folder.as_str())?;
        let mut seen = vec![false; self.paths.len()];
        let mut waiting = VecDeque::from([start]);
        seen[start] = true;
        while let Some(node) = waiting.pop_front() {
            if let Some(problem) = self.problems.get(&node) {
                return Some(problem);
            }
            for (to, _) in &self.edges[node] {
                if !std::mem::replace(&mut seen[*to], true) {
                    waiting.push_back(*to);
                }
            }
        }
        None
    }

    /// Returns the graph, sorted by path.
    pub(crate) fn finish(mut self) -> Graph {
        let mut sorted = vec![0; self.paths.len()];
        for (place, node) in self.numbers.values().enumerate() {
            sorted[*node] = place;
        }
        let renumbered = |edges: Vec<(NodeIndex, Origin)>| {
            edges.into_iter().map(|(to, origin)| (sorted[to], origin)).collect()
        };
        let order = self.numbers.into_values();
        let (paths, edges) = order
            .map(|node| {
                let edges = std::mem::take(&mut self.edges[node]);
                (std::mem::take(&mut self.paths[node]), renumbered(edges))
            })
            .unzip();
        Graph { paths, edges }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph_builder(edges: &[(&str, &str)]) -> GraphBuilder {
        let mut graph_builder = GraphBuilder::default();
        for (from, to) in edges {
            let from = graph_builder.node(Utf8Path::new(from));
            graph_builder.add(from, Utf8Path::new(to), Origin::Manifest);
        }
        graph_builder
    }

    #[test]
    fn a_broken_manifest_affects_only_its_dependents() {
        let mut broken = graph_builder(&[("a", "b"), ("b", "a"), ("d", "a")]);
        let node = broken.node(Utf8Path::new("b"));
        broken.problem(node, "b/package.json: no".to_owned());
        broken.node(Utf8Path::new("c"));
        for (folder, expected) in [
            ("a", Some("b/package.json: no")),
            ("b", Some("b/package.json: no")),
            ("d", Some("b/package.json: no")),
            ("c", None),
            ("elsewhere", None),
        ] {
            let found = broken.problem_of(Utf8Path::new(folder));
            assert_eq!(found.map(|failure| failure.message.as_str()), expected, "{folder}");
        }
    }

    #[test]
    fn follows_long_chains_and_cycles() {
        let names: Vec<String> = (0..100_000).map(|number| format!("{number:06}")).collect();
        let mut pairs: Vec<(&str, &str)> =
            names.windows(2).map(|pair| (pair[0].as_str(), pair[1].as_str())).collect();
        pairs.push((&names[99_999], &names[0]));
        let mut long = graph_builder(&pairs);
        let last = long.node(Utf8Path::new(&names[99_999]));
        long.problem(last, "far".to_owned());
        assert!(long.problem_of(Utf8Path::new(&names[1])).is_some());
        assert_eq!(long.finish().len(), 100_000);
    }
}
