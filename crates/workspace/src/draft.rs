//! A graph while it is read.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};

use super::graph::{Graph, Node, Origin};
use base::error::{Failure, refused};

/// Nodes numbered in the order of their coming, and what is wrong with them.
#[derive(Debug, Default)]
pub(super) struct Draft {
    numbers: BTreeMap<String, Node>,
    paths: Vec<Utf8PathBuf>,
    edges: Vec<Vec<(Node, Origin)>>,
    /// What is wrong with a folder's manifest. It matters when a project is made from the folder:
    /// repositories hold broken manifests on purpose, as fixtures and templates.
    problems: BTreeMap<Node, String>,
}

impl Draft {
    /// The number of the folder or file at `path`, which it gets here when it has none yet.
    pub(super) fn node(&mut self, path: &Utf8Path) -> Node {
        if let Some(node) = self.numbers.get(path.as_str()) {
            return *node;
        }
        self.numbers.insert(path.as_str().to_owned(), self.paths.len());
        self.paths.push(path.to_owned());
        self.edges.push(Vec::new());
        self.paths.len() - 1
    }

    /// Adds an edge; returns whether it is new.
    pub(super) fn add(&mut self, from: Node, to: &Utf8Path, origin: Origin) -> bool {
        let edge = (self.node(to), origin);
        let new = edge.0 != from && !self.edges[from].contains(&edge);
        if new {
            self.edges[from].push(edge);
        }
        new
    }

    /// Notes what is wrong with the manifest of a folder.
    pub(super) fn problem(&mut self, node: Node, message: String) {
        self.problems.entry(node).or_insert(message);
    }

    /// Refuses problems and cycles in what can be reached from `folders`.
    pub(super) fn check<'f>(
        &self,
        folders: impl IntoIterator<Item = &'f Utf8Path>,
    ) -> Result<(), Failure> {
        let mut done = vec![false; self.paths.len()];
        let mut nodes = folders.into_iter().filter_map(|folder| self.numbers.get(folder.as_str()));
        nodes.try_for_each(|node| self.visit(*node, &mut Vec::new(), &mut done))
    }

    fn visit(&self, node: Node, path: &mut Vec<Node>, done: &mut [bool]) -> Result<(), Failure> {
        if let Some(start) = path.iter().position(|seen| *seen == node) {
            let cycle = path[start..].iter().chain([&node]);
            let cycle: Vec<&str> = cycle.map(|node| self.paths[*node].as_str()).collect();
            return Err(refused(format!("dependency cycle: {}", cycle.join(" → "))));
        }
        if !done[node] {
            if let Some(problem) = self.problems.get(&node) {
                return Err(refused(problem.clone()));
            }
            path.push(node);
            for (to, _) in &self.edges[node] {
                self.visit(*to, path, done)?;
            }
            path.pop();
            done[node] = true;
        }
        Ok(())
    }

    /// The graph, in the order of paths.
    pub(super) fn finish(mut self) -> Graph {
        let mut sorted = vec![0; self.paths.len()];
        for (place, node) in self.numbers.values().enumerate() {
            sorted[*node] = place;
        }
        let renumbered = |edges: Vec<(Node, Origin)>| {
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

    fn draft(edges: &[(&str, &str)]) -> Draft {
        let mut draft = Draft::default();
        for (from, to) in edges {
            let from = draft.node(Utf8Path::new(from));
            draft.add(from, Utf8Path::new(to), Origin::Manifest);
        }
        draft
    }

    fn check(draft: &Draft, start: &str) -> Result<(), Failure> {
        draft.check([Utf8Path::new(start)])
    }

    #[test]
    fn a_cycle_is_printed_where_it_is_reached() {
        let cyclic = draft(&[("a", "b"), ("b", "c"), ("c", "b"), ("d", "e")]);
        let failure = check(&cyclic, "a").expect_err("cycle");
        assert_eq!(failure.message, "dependency cycle: b → c → b");
        assert!(check(&cyclic, "d").is_ok(), "no project is made from the cycle");
        assert!(check(&draft(&[("a", "b"), ("a", "c"), ("b", "c")]), "a").is_ok());
    }

    #[test]
    fn a_broken_manifest_matters_where_it_is_reached() {
        let mut broken = draft(&[("a", "b")]);
        let node = broken.node(Utf8Path::new("b"));
        broken.problem(node, "b/package.json: no".to_owned());
        broken.node(Utf8Path::new("c"));
        assert_eq!(check(&broken, "a").expect_err("a problem").message, "b/package.json: no");
        assert!(check(&broken, "c").is_ok());
    }
}
