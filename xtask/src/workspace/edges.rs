//! Reads the edges of the graph out of manifests.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use serde::Deserialize;

use super::Workspace;
use super::graph::{Graph, Origin, normalize};
use super::members::Members;
use super::package::Package;
use crate::error::{Failure, refused};
use crate::tools::dagger;

/// Lock files, of which the nearest at or above a package decides what is installed for it.
pub const LOCK_FILES: [&str; 6] = [
    "bun.lock",
    "bun.lockb",
    "npm-shrinkwrap.json",
    "package-lock.json",
    "pnpm-lock.yaml",
    "yarn.lock",
];

/// Settings of package managers, which count beside the lock file.
pub const INSTALL_SETTINGS: [&str; 5] =
    [".npmrc", ".yarnrc.yml", ".pnpmfile.cjs", "bunfig.toml", "pnpm-workspace.yaml"];

/// Builds the edges of a workspace.
pub(super) struct Builder<'w> {
    workspace: &'w Workspace,
    members: Members<'w>,
    graph: Graph,
    /// The install files of each folder.
    installs: BTreeMap<&'w Utf8Path, Vec<&'w Utf8PathBuf>>,
}

impl<'w> Builder<'w> {
    pub(super) fn new(workspace: &'w Workspace) -> Builder<'w> {
        let pnpm = workspace.pnpm.iter().map(|(dir, root)| (dir.as_path(), root.clone()));
        let mut installs: BTreeMap<&Utf8Path, Vec<&Utf8PathBuf>> = BTreeMap::new();
        for path in &workspace.install_files {
            installs.entry(path.parent().unwrap_or(Utf8Path::new(""))).or_default().push(path);
        }
        let members = Members::new(&workspace.packages, pnpm);
        Builder { workspace, members, graph: Graph::default(), installs }
    }

    pub(super) fn build(mut self) -> Result<Graph, Failure> {
        for (dir, message) in &self.workspace.unreadable {
            self.graph.problem(dir, message.clone());
        }
        for package in self.workspace.packages.values() {
            self.dependencies(package);
            self.settings(package)?;
            self.installed_by(package);
        }
        for project in &self.workspace.projects {
            if let Some(package) = project.package.as_ref().filter(|p| p.dir != project.dir) {
                self.graph.add(&project.dir, package.dir.clone(), Origin::Package);
            }
            if project.module {
                self.modules(&project.dir)?;
            }
        }
        self.shared_modules()?;
        Ok(self.graph)
    }

    /// Every project is deployed by one shared module, and those without a module of their own are
    /// built by another. Which engine runs makes no difference here: one content has one key.
    fn shared_modules(&mut self) -> Result<(), Failure> {
        let there = |module: &&str| self.workspace.root.join(module).join("dagger.json").is_file();
        let builder = Some(dagger::BUN).filter(there);
        let deployer = Some(dagger::CLOUDFLARE).filter(there);
        for project in &self.workspace.projects {
            let builds = project.package.as_ref().is_some_and(|package| package.builds);
            let builder = builder.filter(|_| builds && !project.module);
            for module in [builder, deployer].into_iter().flatten() {
                self.graph.add(&project.dir, module.into(), Origin::Module);
            }
        }
        for module in [builder, deployer].into_iter().flatten() {
            self.modules(Utf8Path::new(module))?;
        }
        Ok(())
    }

    /// The packages of this repository among the dependencies of a `package.json`.
    fn dependencies(&mut self, package: &Package) {
        for (name, spec) in &package.local_dependencies {
            let found: Vec<Utf8PathBuf> = match spec.split_once(':') {
                Some(("workspace", wanted)) if !wanted.starts_with('.') => {
                    // `workspace:other@*` gives a package another name.
                    let alias = wanted.rsplit_once('@').map(|(name, _)| name);
                    let name = alias.filter(|name| !name.is_empty()).unwrap_or(name);
                    let found = self.members.asked_for(package, name);
                    found.into_iter().map(|found| found.dir.clone()).collect()
                }
                Some((_, path)) => normalize(&package.dir.join(path)).into_iter().collect(),
                None => Vec::new(),
            };
            if found.is_empty() {
                let manifest = package.dir.join("package.json");
                let message = format!("{manifest}: `{name}` ({spec}) is not in this repository");
                self.graph.problem(&package.dir, message);
            }
            for to in found {
                self.graph.add(&package.dir, to, Origin::Manifest);
            }
        }
        for (name, range) in &package.named_dependencies {
            for found in self.members.satisfying(package, name, range) {
                self.graph.add(&package.dir, found.dir.clone(), Origin::Manifest);
            }
        }
    }

    /// What the `xtask` key adds.
    fn settings(&mut self, package: &Package) -> Result<(), Failure> {
        let manifest = package.dir.join("package.json");
        for name in &package.settings.depends_on {
            let to = super::project::select(&self.workspace.projects, name)
                .map(|project| project.dir.clone())
                .or_else(|failure| match self.members.named(name) {
                    [only] => Ok(only.dir.clone()),
                    _ if self.workspace.packages.contains_key(Utf8Path::new(name)) => {
                        Ok(name.into())
                    }
                    _ => Err(failure),
                })
                .map_err(|failure| Failure {
                    message: format!("{manifest}: {}", failure.message),
                    ..refused("")
                })?;
            self.graph.add(&package.dir, to, Origin::DependsOn);
        }
        for input in &package.settings.inputs {
            let to = normalize(input)
                .filter(|path| self.workspace.root.join(path).exists())
                .ok_or_else(|| {
                    refused(format!("{manifest}: the input `{input}` is not in this repository"))
                })?;
            self.graph.add(&package.dir, to, Origin::Input);
        }
        Ok(())
    }

    /// The files above a package that decide what is installed for it, up to the nearest lock file.
    fn installed_by(&mut self, package: &Package) {
        // Dagger installs for a module by what is in its own folder.
        if [dagger::BUN, dagger::CLOUDFLARE].iter().any(|module| {
            package.dir.parent().is_some_and(|above| Utf8Path::new(module).parent() == Some(above))
        }) {
            return;
        }
        let locked = |files: &[&Utf8PathBuf]| {
            files.iter().any(|path| path.file_name().is_some_and(|name| LOCK_FILES.contains(&name)))
        };
        let files = |dir: &Utf8Path| self.installs.get(dir).map_or(&[][..], Vec::as_slice);
        let mut found = Vec::new();
        for dir in package.dir.ancestors() {
            if dir != package.dir {
                found.extend(files(dir).iter().map(|&path| path.clone()));
                found.extend(self.members.is_root(dir).then(|| dir.join("package.json")));
            }
            if locked(files(dir)) {
                break;
            }
        }
        for to in found {
            self.graph.add(&package.dir, to, Origin::Install);
        }
    }

    /// Follows the local dependencies of the `dagger.json` in `dir`, and of those they lead to.
    fn modules(&mut self, dir: &Utf8Path) -> Result<(), Failure> {
        let root = &self.workspace.root;
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
            if self.graph.add(dir, to.clone(), Origin::Module) {
                self.modules(&to)?;
            }
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
