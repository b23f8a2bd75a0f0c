//! Which folders decide what a project's output is.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use super::Workspace;
use super::package::Package;
use super::project::Project;
use crate::error::{Failure, refused};

/// Why one folder depends on another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Origin {
    /// The package that builds the project stands in a folder above it.
    Package,
    /// A `workspace:`, `file:` or `link:` dependency of a `package.json`.
    Manifest,
    /// A local dependency of a `dagger.json`.
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
pub struct Graph(BTreeMap<Utf8PathBuf, Vec<Edge>>);

impl Graph {
    /// Builds the graph. A dependency that points nowhere and a cycle are errors.
    pub fn new(workspace: &Workspace) -> Result<Graph, Failure> {
        let mut graph = Graph::default();
        for package in workspace.packages.values() {
            graph.add_package(workspace, package)?;
        }
        for project in &workspace.projects {
            if let Some(package) = project.package.as_ref().filter(|p| p.dir != project.dir) {
                graph.add(&project.dir, package.dir.clone(), Origin::Package);
            }
            graph.add_modules(&workspace.root, &project.dir)?;
        }
        graph.refuse_cycles()?;
        Ok(graph)
    }

    /// Everything that decides the output of `project`: its own folder and, through every edge,
    /// the folders and files it is made from. Sorted.
    #[must_use]
    pub fn inputs(&self, project: &Project) -> BTreeSet<Utf8PathBuf> {
        let mut found = BTreeSet::new();
        let mut waiting = vec![project.dir.clone()];
        while let Some(dir) = waiting.pop() {
            if found.insert(dir.clone()) {
                waiting.extend(self.edges(&dir).iter().map(|edge| edge.to.clone()));
            }
        }
        found
    }

    /// The edges that start in `dir`.
    #[must_use]
    pub fn edges(&self, dir: &Utf8Path) -> &[Edge] {
        self.0.get(dir).map_or(&[], Vec::as_slice)
    }

    fn add(&mut self, from: &Utf8Path, to: Utf8PathBuf, origin: Origin) {
        let edges = self.0.entry(from.to_owned()).or_default();
        let edge = Edge { from: from.to_owned(), to, origin };
        if !edges.contains(&edge) {
            edges.push(edge);
        }
    }

    fn add_package(&mut self, workspace: &Workspace, package: &Package) -> Result<(), Failure> {
        let manifest = package.dir.join("package.json");
        for (name, spec) in &package.local_dependencies {
            let to = match spec.split_once(':') {
                Some(("file" | "link", path)) => normalize(&package.dir.join(path)),
                _ => workspace
                    .packages
                    .values()
                    .find(|p| p.name.as_ref() == Some(name))
                    .map(|p| p.dir.clone()),
            };
            let to = to.ok_or_else(|| {
                refused(format!("{manifest}: `{name}` ({spec}) is not in this repository"))
            })?;
            self.add(&package.dir, to, Origin::Manifest);
        }
        for name in &package.settings.depends_on {
            let to = super::project::select(&workspace.projects, name)
                .map(|project| project.dir.clone())
                .or_else(|failure| {
                    let named = |p: &&Package| p.dir == *name || p.name.as_ref() == Some(name);
                    workspace.packages.values().find(named).map(|p| p.dir.clone()).ok_or(failure)
                })
                .map_err(|failure| Failure {
                    message: format!("{manifest}: {}", failure.message),
                    ..refused("")
                })?;
            self.add(&package.dir, to, Origin::DependsOn);
        }
        for input in &package.settings.inputs {
            let to = normalize(input)
                .filter(|path| workspace.root.join(path).exists())
                .ok_or_else(|| {
                    refused(format!("{manifest}: the input `{input}` is not in this repository"))
                })?;
            self.add(&package.dir, to, Origin::Input);
        }
        Ok(())
    }

    /// Follows the local dependencies of the `dagger.json` in `dir`, and of those they lead to.
    fn add_modules(&mut self, root: &Utf8Path, dir: &Utf8Path) -> Result<(), Failure> {
        let path = dir.join("dagger.json");
        let Ok(text) = std::fs::read_to_string(root.join(&path)) else {
            return Ok(());
        };
        let module: Module =
            serde_json::from_str(&text).map_err(|error| refused(format!("{path}: {error}")))?;
        let local = |source: &String| source.starts_with('.') || !source.contains(['/', '@', ':']);
        for source in module.dependencies.into_iter().map(|d| d.source).filter(local) {
            let to = normalize(&dir.join(&source))
                .filter(|to| root.join(to).join("dagger.json").is_file())
                .ok_or_else(|| refused(format!("{path}: no Dagger module at `{source}`")))?;
            let known = self.edges(dir).iter().any(|edge| edge.to == to);
            self.add(dir, to.clone(), Origin::Module);
            if !known {
                self.add_modules(root, &to)?;
            }
        }
        Ok(())
    }

    fn refuse_cycles(&self) -> Result<(), Failure> {
        let mut done = BTreeSet::new();
        self.0.keys().try_for_each(|start| self.visit(start, &mut Vec::new(), &mut done))
    }

    fn visit<'a>(
        &'a self,
        dir: &'a Utf8Path,
        path: &mut Vec<&'a Utf8Path>,
        done: &mut BTreeSet<&'a Utf8Path>,
    ) -> Result<(), Failure> {
        if let Some(start) = path.iter().position(|seen| *seen == dir) {
            let cycle: Vec<&str> =
                path[start..].iter().map(|dir| dir.as_str()).chain([dir.as_str()]).collect();
            return Err(refused(format!("dependency cycle: {}", cycle.join(" → "))));
        }
        if !done.contains(dir) {
            path.push(dir);
            for edge in self.edges(dir) {
                self.visit(&edge.to, path, done)?;
            }
            path.pop();
            done.insert(dir);
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct Module {
    #[serde(default)]
    dependencies: Vec<ModuleDependency>,
}

#[derive(Deserialize)]
struct ModuleDependency {
    source: String,
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

    #[test]
    fn a_cycle_is_printed() {
        let failure =
            graph(&[("a", "b"), ("b", "c"), ("c", "b")]).refuse_cycles().expect_err("cycle");
        assert_eq!(failure.message, "dependency cycle: b → c → b");
        assert!(graph(&[("a", "b"), ("a", "c"), ("b", "c")]).refuse_cycles().is_ok());
    }

    #[test]
    fn paths_stay_inside() {
        assert_eq!(normalize(Utf8Path::new("a/./b/../c")).as_deref(), Some(Utf8Path::new("a/c")));
        assert_eq!(normalize(Utf8Path::new("a/../../c")), None);
        assert_eq!(normalize(Utf8Path::new("/etc")), None);
    }
}
