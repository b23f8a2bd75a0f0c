//! Which folders decide what a project's output is.

use std::collections::{BTreeMap, BTreeSet, HashSet};

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
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Edge {
    /// The folder that depends.
    pub from: Utf8PathBuf,
    /// What it depends on: a folder, or a file for an input. Relative to the repository's root.
    pub to: Utf8PathBuf,
    /// Why.
    pub origin: Origin,
}

/// The edges of a whole repository, by the folder that depends.
#[derive(Debug, Default)]
pub struct Graph {
    /// By text, since comparing paths part by part is slow.
    edges: BTreeMap<String, Vec<Edge>>,
    /// What is wrong with a folder's manifest. It matters when a project is made from the folder:
    /// repositories hold broken manifests on purpose, as fixtures and templates.
    problems: BTreeMap<Utf8PathBuf, String>,
}

impl Graph {
    /// Builds the graph. A dependency that points nowhere, a manifest that cannot be read and a cycle
    /// are errors where a project is made from them.
    pub fn new(workspace: &Workspace) -> Result<Graph, Failure> {
        let graph = Builder::new(workspace).build()?;
        let mut done = HashSet::new();
        for project in &workspace.projects {
            graph.check(&project.dir, &mut Vec::new(), &mut done)?;
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
        self.reachable(&project.dir, |edge| edge.origin != Origin::Module)
    }

    fn reachable(&self, dir: &Utf8Path, follow: impl Fn(&&Edge) -> bool) -> BTreeSet<Utf8PathBuf> {
        let mut found = BTreeSet::new();
        let mut waiting = vec![dir.to_owned()];
        while let Some(dir) = waiting.pop() {
            if found.insert(dir.clone()) {
                waiting.extend(self.edges(&dir).iter().filter(&follow).map(|edge| edge.to.clone()));
            }
        }
        found
    }

    /// The edges that start in `dir`.
    #[must_use]
    pub fn edges(&self, dir: &Utf8Path) -> &[Edge] {
        self.edges.get(dir.as_str()).map_or(&[], Vec::as_slice)
    }

    /// Every edge.
    pub fn all(&self) -> impl Iterator<Item = &Edge> {
        self.edges.values().flatten()
    }

    /// Adds an edge; returns whether it is new.
    pub(super) fn add(&mut self, from: &Utf8Path, to: Utf8PathBuf, origin: Origin) -> bool {
        let edges = self.edges.entry(from.as_str().to_owned()).or_default();
        let same = |edge: &Edge| edge.to.as_str() == to.as_str() && edge.origin == origin;
        let new = from.as_str() != to.as_str() && !edges.iter().any(same);
        if new {
            edges.push(Edge { from: from.to_owned(), to, origin });
        }
        new
    }

    /// Notes what is wrong with the manifest of `dir`.
    pub(super) fn problem(&mut self, dir: &Utf8Path, message: String) {
        self.problems.entry(dir.to_owned()).or_insert(message);
    }

    /// Refuses problems and cycles in what can be reached from `dir`.
    fn check<'a>(
        &'a self,
        dir: &'a Utf8Path,
        path: &mut Vec<&'a Utf8Path>,
        done: &mut HashSet<&'a str>,
    ) -> Result<(), Failure> {
        if let Some(start) = path.iter().position(|seen| seen.as_str() == dir.as_str()) {
            let cycle: Vec<&str> =
                path[start..].iter().map(|dir| dir.as_str()).chain([dir.as_str()]).collect();
            return Err(refused(format!("dependency cycle: {}", cycle.join(" → "))));
        }
        if !done.contains(dir.as_str()) {
            if let Some(problem) = self.problems.get(dir) {
                return Err(refused(problem.clone()));
            }
            path.push(dir);
            for edge in self.edges(dir) {
                self.check(&edge.to, path, done)?;
            }
            path.pop();
            done.insert(dir.as_str());
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
            graph.add(Utf8Path::new(from), (*to).into(), Origin::Manifest);
        }
        graph
    }

    fn check(graph: &Graph, start: &str) -> Result<(), Failure> {
        graph.check(Utf8Path::new(start), &mut Vec::new(), &mut HashSet::new())
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
        broken.problem(Utf8Path::new("b"), "b/package.json: no".to_owned());
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
