//! Which folders decide what a project's output is.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};
use serde::Serialize;

use super::Workspace;
use super::edges::Builder;
use super::project::Project;
use crate::error::{Failure, refused};

/// Why one folder depends on another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Origin {
    /// The package that builds the project stands in a folder above it.
    Package,
    /// A dependency of a `package.json`: `workspace:`, `file:`, `link:`, `portal:`, or a version that
    /// a member of the same workspace satisfies.
    Manifest,
    /// A lock file or a package manager's settings in a folder above.
    Install,
    /// The Dagger module that builds or deploys it, or a local dependency of a `dagger.json`.
    Module,
    /// `xtask.dependsOn` of a `package.json`.
    DependsOn,
    /// `xtask.inputs` of a `package.json`.
    Input,
}

/// One step from a folder to something that it is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Edge<'g> {
    /// The folder that depends.
    pub from: &'g Utf8Path,
    /// What it depends on: a folder, or a file for an input. Relative to the repository's root.
    pub to: &'g Utf8Path,
    /// Why.
    pub origin: Origin,
}

/// The number of a folder, or of a file that is an input.
pub(super) type Node = usize;

/// The edges of a whole repository, by the folder that depends.
#[derive(Debug, Default)]
pub struct Graph {
    /// Every node by the text of its path, since comparing paths part by part is slow.
    numbers: BTreeMap<String, Node>,
    paths: Vec<Utf8PathBuf>,
    edges: Vec<Vec<(Node, Origin)>>,
    /// What is wrong with a folder's manifest. It matters when a project is made from the folder:
    /// repositories hold broken manifests on purpose, as fixtures and templates.
    problems: BTreeMap<Node, String>,
}

impl Graph {
    /// Builds the graph. A dependency that points nowhere, a manifest that cannot be read and a cycle
    /// are errors where a project is made from them.
    pub fn new(workspace: &Workspace) -> Result<Graph, Failure> {
        let graph = Builder::new(workspace).build()?;
        let mut done = vec![false; graph.paths.len()];
        for project in &workspace.projects {
            if let Some(node) = graph.number(&project.dir) {
                graph.check(node, &mut Vec::new(), &mut done)?;
            }
        }
        Ok(graph)
    }

    /// Everything that decides the output of `project`: its own folder and, through every edge,
    /// the folders and files it is made from. Sorted.
    #[must_use]
    pub fn inputs(&self, project: &Project) -> BTreeSet<Utf8PathBuf> {
        self.reachable(&project.dir, |_| true)
    }

    /// The same for what this machine's tools build, which is made without any Dagger module.
    #[must_use]
    pub fn build_inputs(&self, project: &Project) -> BTreeSet<Utf8PathBuf> {
        self.reachable(&project.dir, |origin| origin != Origin::Module)
    }

    fn reachable(&self, dir: &Utf8Path, follow: impl Fn(Origin) -> bool) -> BTreeSet<Utf8PathBuf> {
        let mut found = BTreeSet::from([dir.to_owned()]);
        let mut waiting: Vec<Node> = self.number(dir).into_iter().collect();
        while let Some(node) = waiting.pop() {
            for (to, _) in self.edges[node].iter().filter(|(_, origin)| follow(*origin)) {
                if found.insert(self.paths[*to].clone()) {
                    waiting.push(*to);
                }
            }
        }
        found
    }

    /// The edges that start in `dir`.
    pub fn edges<'g>(&'g self, dir: &'g Utf8Path) -> impl Iterator<Item = Edge<'g>> {
        let edges = self.number(dir).into_iter().flat_map(|node| &self.edges[node]);
        edges.map(move |(to, origin)| Edge { from: dir, to: &self.paths[*to], origin: *origin })
    }

    /// The number of the folder or file at `path`; nothing when no edge or package is there.
    pub(super) fn number(&self, path: &Utf8Path) -> Option<Node> {
        self.numbers.get(path.as_str()).copied()
    }

    /// The path of a node.
    pub(super) fn path(&self, node: Node) -> &Utf8Path {
        &self.paths[node]
    }

    /// What a node depends on, by number.
    pub(super) fn steps(&self, node: Node) -> &[(Node, Origin)] {
        &self.edges[node]
    }

    /// How many nodes there are.
    pub(super) fn len(&self) -> usize {
        self.paths.len()
    }

    /// The nodes that lie below `folder`.
    pub(super) fn below(&self, folder: &Utf8Path) -> impl Iterator<Item = Node> {
        let prefix = format!("{folder}/");
        let from = self.numbers.range(prefix.clone()..);
        from.take_while(move |(path, _)| path.starts_with(&prefix)).map(|(_, node)| *node)
    }

    /// The number of the folder or file at `path`, which it gets here when it has none yet.
    pub(super) fn node(&mut self, path: &Utf8Path) -> Node {
        if let Some(node) = self.number(path) {
            return node;
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

    /// Refuses problems and cycles in what can be reached from `node`.
    fn check(&self, node: Node, path: &mut Vec<Node>, done: &mut [bool]) -> Result<(), Failure> {
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
                self.check(*to, path, done)?;
            }
            path.pop();
            done[node] = true;
        }
        Ok(())
    }
}

/// `path` without `.` and `..`, or nothing when it leaves the repository.
#[must_use]
pub fn normalize(path: &Utf8Path) -> Option<Utf8PathBuf> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.components() {
        match part.as_str() {
            "." => {}
            ".." => {
                parts.pop()?;
            }
            "/" => return None,
            name => parts.push(name),
        }
    }
    Some(parts.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(edges: &[(&str, &str)]) -> Graph {
        let mut graph = Graph::default();
        for (from, to) in edges {
            let from = graph.node(Utf8Path::new(from));
            graph.add(from, Utf8Path::new(to), Origin::Manifest);
        }
        graph
    }

    fn check(graph: &Graph, start: &str) -> Result<(), Failure> {
        let node = graph.number(Utf8Path::new(start)).expect("a node");
        graph.check(node, &mut Vec::new(), &mut vec![false; graph.len()])
    }

    #[test]
    fn a_cycle_is_printed_where_it_is_reached() {
        let cyclic = graph(&[("a", "b"), ("b", "c"), ("c", "b"), ("d", "e")]);
        let failure = check(&cyclic, "a").expect_err("cycle");
        assert_eq!(failure.message, "dependency cycle: b → c → b");
        assert!(check(&cyclic, "d").is_ok(), "no project is made from the cycle");
        assert!(check(&graph(&[("a", "b"), ("a", "c"), ("b", "c")]), "a").is_ok());
    }

    #[test]
    fn a_broken_manifest_matters_where_it_is_reached() {
        let mut broken = graph(&[("a", "b")]);
        let node = broken.node(Utf8Path::new("b"));
        broken.problem(node, "b/package.json: no".to_owned());
        broken.node(Utf8Path::new("c"));
        assert_eq!(check(&broken, "a").expect_err("a problem").message, "b/package.json: no");
        assert!(check(&broken, "c").is_ok());
    }

    #[test]
    fn paths_stay_inside() {
        assert_eq!(normalize(Utf8Path::new("a/./b/../c")).as_deref(), Some(Utf8Path::new("a/c")));
        assert_eq!(normalize(Utf8Path::new("a/../../c")), None);
        assert_eq!(normalize(Utf8Path::new("/etc")), None);
    }
}
