//! Reads the edges of the graph out of manifests.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use serde::Deserialize;

use super::Workspace;
use super::draft::Draft;
use super::files::{MANIFEST, MODULE, NPMRC, PNPM};
use super::graph::{Node, Origin, normalize};
use super::members::Members;
use super::package::Package;
use crate::modules;
use base::error::{Failure, refused};

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
    [NPMRC, ".yarnrc.yml", ".pnpmfile.cjs", "bunfig.toml", PNPM];

/// Builds the edges of a workspace.
pub(super) struct Builder<'w> {
    workspace: &'w Workspace,
    members: Members<'w>,
    graph: Draft,
    /// The install files of each folder.
    installs: BTreeMap<&'w str, Vec<&'w Utf8PathBuf>>,
}

impl<'w> Builder<'w> {
    pub(super) fn new(workspace: &'w Workspace) -> Builder<'w> {
        let pnpm = workspace.pnpm.iter().map(|(dir, root)| (dir.as_str(), root.clone()));
        let mut installs: BTreeMap<&str, Vec<&Utf8PathBuf>> = BTreeMap::new();
        for path in &workspace.install_files {
            installs.entry(path.parent().map_or("", Utf8Path::as_str)).or_default().push(path);
        }
        let members = Members::new(&workspace.packages, pnpm);
        Builder { workspace, members, graph: Draft::default(), installs }
    }

    pub(super) fn build(mut self) -> Result<Draft, Failure> {
        for (dir, message) in &self.workspace.unreadable {
            let node = self.graph.node(dir);
            self.graph.problem(node, message.clone());
        }
        for package in self.workspace.packages.values() {
            let node = self.graph.node(&package.dir);
            self.dependencies(node, package);
            self.settings(node, package)?;
            self.installed_by(node, &package.dir);
        }
        for project in &self.workspace.projects {
            let node = self.graph.node(&project.dir);
            match project.package.as_ref().filter(|package| package.dir != project.dir) {
                // It installs, and builds nothing: the rest of the repository is not what this is made of.
                Some(root) if !root.builds && self.workspace.is_workspace_root(root) => {
                    self.dependencies(node, root);
                    self.installed_by(node, &project.dir);
                }
                Some(package) => drop(self.graph.add(node, &package.dir, Origin::Package)),
                None => {}
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
        let there =
            |module: &&str| self.workspace.files.is_file(&Utf8Path::new(module).join(MODULE));
        let builder = Some(modules::BUN).filter(there);
        let deployer = Some(modules::CLOUDFLARE).filter(there);
        for project in &self.workspace.projects {
            let builds = project.package.as_ref().is_some_and(|package| package.builds);
            let builder = builder.filter(|_| builds && !project.module);
            let node = self.graph.node(&project.dir);
            for module in [builder, deployer].into_iter().flatten() {
                self.graph.add(node, Utf8Path::new(module), Origin::Module);
            }
        }
        for module in [builder, deployer].into_iter().flatten() {
            self.modules(Utf8Path::new(module))?;
        }
        Ok(())
    }

    /// The packages of this repository among the dependencies of a `package.json`.
    fn dependencies(&mut self, node: Node, package: &Package) {
        for (name, spec) in &package.local_dependencies {
            let found: Vec<Utf8PathBuf> = match spec.split_once(':') {
                Some(("workspace", wanted)) if !wanted.starts_with('.') => {
                    // `workspace:other@*` gives a package another name.
                    let alias = wanted.rsplit_once('@').map(|(name, _)| name);
                    let name = alias.filter(|name| !name.is_empty()).unwrap_or(name);
                    let found = self.members.asked_for(package, name);
                    found.into_iter().map(|found| found.dir.clone()).collect()
                }
                Some((_, path)) => {
                    let to = normalize(&package.dir.join(path));
                    let behind = to.as_deref().and_then(|to| self.workspace.files.behind(to));
                    to.into_iter().chain(behind).collect()
                }
                None => Vec::new(),
            };
            if found.is_empty() {
                let manifest = package.dir.join(MANIFEST);
                // It may be here, with a manifest that does not tell its name.
                let called = name.rsplit('/').next();
                let mut unreadable = self.workspace.unreadable.iter();
                let message = match unreadable.find(|(dir, _)| dir.file_name() == called) {
                    Some((_, problem)) => format!("{problem}; {manifest} depends on `{name}`"),
                    None => format!("{manifest}: `{name}` ({spec}) is not in this repository"),
                };
                self.graph.problem(node, message);
            }
            for to in found {
                self.graph.add(node, &to, Origin::Manifest);
            }
        }
        for (name, range) in &package.named_dependencies {
            for found in self.members.satisfying(package, name, range) {
                self.graph.add(node, &found.dir, Origin::Manifest);
            }
        }
    }

    /// What the `xtask` key adds.
    fn settings(&mut self, node: Node, package: &Package) -> Result<(), Failure> {
        let manifest = package.dir.join(MANIFEST);
        for name in &package.settings.depends_on {
            let to = self
                .workspace
                .project(name)
                .map(|project| project.dir.clone())
                .or_else(|failure| match self.members.named(name) {
                    [only] => Ok(only.dir.clone()),
                    _ if self.workspace.packages.contains_key(name) => Ok(name.into()),
                    _ => Err(failure),
                })
                .map_err(|failure| Failure {
                    message: format!("{manifest}: {}", failure.message),
                    ..refused("")
                })?;
            self.graph.add(node, &to, Origin::DependsOn);
        }
        for input in &package.settings.inputs {
            let to = normalize(input).filter(|path| self.workspace.files.exists(path)).ok_or_else(
                || refused(format!("{manifest}: the input `{input}` is not in this repository")),
            )?;
            self.graph.add(node, &to, Origin::Input);
            // Git knows of a link what it says, and of what it leads to where that stands.
            if let Some(real) = self.workspace.files.behind(&to) {
                self.graph.add(node, &real, Origin::Input);
            }
        }
        Ok(())
    }

    /// The files above a folder that decide what is installed for it, up to the nearest lock file.
    fn installed_by(&mut self, node: Node, folder: &Utf8Path) {
        // Dagger installs for a module by what is in its own folder.
        if [modules::BUN, modules::CLOUDFLARE].iter().any(|module| {
            folder.parent().is_some_and(|above| Utf8Path::new(module).parent() == Some(above))
        }) {
            return;
        }
        let locked = |files: &[&Utf8PathBuf]| {
            files.iter().any(|path| path.file_name().is_some_and(|name| LOCK_FILES.contains(&name)))
        };
        for dir in folder.ancestors() {
            let files = self.installs.get(dir.as_str()).map_or(&[][..], Vec::as_slice);
            if dir.as_str() != folder.as_str() {
                for path in files {
                    self.graph.add(node, path, Origin::Install);
                }
                if self.members.is_root(dir) {
                    self.graph.add(node, &dir.join(MANIFEST), Origin::Install);
                }
            }
            if locked(files) {
                break;
            }
        }
    }

    /// Follows the local dependencies of the `dagger.json` in `dir`, and of those they lead to.
    fn modules(&mut self, dir: &Utf8Path) -> Result<(), Failure> {
        let files = &self.workspace.files;
        let path = dir.join(MODULE);
        let Ok(text) = files.read(&path) else {
            return Ok(());
        };
        let module: Module =
            serde_json::from_str(&text).map_err(|error| refused(format!("{path}: {error}")))?;
        let node = self.graph.node(dir);
        let sources = module.dependencies.into_iter().map(|dependency| dependency.source);
        for source in sources.filter(|source| modules::is_local(source)) {
            let to = normalize(&dir.join(&source))
                .filter(|to| files.is_file(&to.join(MODULE)))
                .ok_or_else(|| refused(format!("{path}: no Dagger module at `{source}`")))?;
            if let Some(real) = files.behind(&to) {
                self.graph.add(node, &real, Origin::Module);
            }
            if self.graph.add(node, &to, Origin::Module) {
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
