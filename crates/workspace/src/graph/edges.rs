//! Reads the edges of the graph from manifests.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};

use crate::Workspace;
use crate::cargo::crates::Crates;
use crate::config::modules;
use crate::files::names::{CARGO_MANIFEST, MANIFEST, PNPM};
use crate::files::paths::normalize;
use crate::graph::builder::GraphBuilder;
use crate::graph::dagger_modules;
use crate::graph::enclosing::{self, owner, package_around};
use crate::graph::imported_code;
use crate::graph::references;
use crate::graph::task_runners;
use crate::graph::{NodeIndex, Origin};
use crate::packages::installs::NamedPaths;
use crate::packages::members::Members;
use crate::packages::package::Package;
use crate::packages::spec::{PatchSpec, Spec};
use crate::projects::project::Project;
use crate::projects::sparse;
use base::error::{Error, Result, refused};

/// Builds the edges of a workspace.
pub(crate) struct EdgeBuilder<'w> {
    workspace: &'w Workspace,
    members: Members<'w>,
    graph: GraphBuilder,
    /// The install files of each folder.
    installs: BTreeMap<&'w str, Vec<&'w Utf8PathBuf>>,
    /// The paths in the settings of each folder.
    named: BTreeMap<&'w str, BTreeSet<Utf8PathBuf>>,
}

impl<'w> EdgeBuilder<'w> {
    pub(crate) fn new(workspace: &'w Workspace) -> EdgeBuilder<'w> {
        let mut installs: BTreeMap<&str, Vec<&Utf8PathBuf>> = BTreeMap::new();
        for path in &workspace.install_files {
            installs.entry(path.parent().map_or("", Utf8Path::as_str)).or_default().push(path);
        }
        let members = Members::new(&workspace.packages, &workspace.roots);
        let mut named = BTreeMap::new();
        let folders: BTreeSet<&str> =
            installs.keys().copied().chain(workspace.packages.keys().map(String::as_str)).collect();
        for dir in folders {
            let settings = installs.get(dir).map_or(&[][..], Vec::as_slice);
            let package = workspace.packages.get(dir);
            let root = workspace.roots.get(dir);
            let path = Utf8Path::new(dir);
            let found =
                NamedPaths::collect(&workspace.files, &members, path, settings, package, root);
            if !found.is_empty() {
                named.insert(dir, found);
            }
        }
        EdgeBuilder { workspace, members, graph: GraphBuilder::default(), installs, named }
    }

    pub(crate) fn build(mut self) -> GraphBuilder {
        for (dir, failure) in &self.workspace.unreadable {
            let node = self.graph.node(dir);
            self.graph.problem(node, format!("{failure:#}"));
        }
        for (dir, root) in &self.workspace.roots {
            if let Some(problem) = &root.problem {
                let dir = Utf8Path::new(dir);
                let message = dir.join(problem).into_string();
                for path in [dir.to_owned(), dir.join(MANIFEST), dir.join(PNPM)] {
                    let node = self.graph.node(&path);
                    self.graph.problem(node, message.clone());
                }
            }
        }
        for package in self.workspace.packages.values() {
            let node = self.graph.node(&package.dir);
            self.add_dependencies(node, package);
            self.add_settings(node, package);
            self.add_install_files(node, &package.dir);
        }
        imported_code::add(&mut self.graph, self.workspace, &self.members);
        task_runners::add_inputs(&mut self.graph, self.workspace, &self.members);
        for project in &self.workspace.projects {
            let node = self.graph.node(&project.dir);
            for path in references::of_wrangler(&project.wrangler, &project.dir) {
                self.add_wrangler_path(node, &project.dir, &path);
            }
            match project.package.as_ref().filter(|package| package.dir != project.dir) {
                Some(package) if self.only_installs(project, package) => {
                    self.add_dependencies(node, package);
                    self.add_install_files(node, &project.dir);
                    enclosing::add_manifest(&mut self.graph, self.workspace, node, package);
                }
                Some(package) => drop(self.graph.add(node, &package.dir, Origin::Package)),
                None => {}
            }
            if project.module {
                dagger_modules::add(&mut self.graph, &self.workspace.files, &project.dir);
            }
            // Nothing finds what code imports from elsewhere in its submodule.
            if let Some(submodule) = self.workspace.submodule_of(&project.dir) {
                self.graph.add(node, submodule, Origin::Input);
            }
        }
        self.add_crates();
        dagger_modules::add_shared(&mut self.graph, self.workspace);
        self.add_links();
        self.graph
    }

    /// Returns true if `package`, which is around `project`, only installs the dependencies of its code. Then the rest of the
    /// package is not an input.
    fn only_installs(&self, project: &Project, package: &Package) -> bool {
        let has_command = project.wrangler.value["build"]["command"].is_string();
        let may_read_more = project.module || has_command || package.may_use_any_file;
        !package.builds() && (!may_read_more || self.workspace.is_workspace_root(package))
    }

    /// Adds the inputs of the projects that are crates, also those of their crates: the folder of a crate may be an input of
    /// projects that do not compile it, so it has no edges itself. The files of Cargo that exist are nodes, so that
    /// [`find_affected`] recognizes a deleted one.
    ///
    /// [`find_affected`]: crate::affected::find_affected
    fn add_crates(&mut self) {
        let Workspace { files, root, cargo_files, projects, .. } = self.workspace;
        let dirs = projects.iter().map(|project| project.dir.as_path());
        let dirs: BTreeSet<&Utf8Path> =
            dirs.filter(|dir| cargo_files.contains(&dir.join(CARGO_MANIFEST))).collect();
        let dirs: Vec<&Utf8Path> = dirs.into_iter().collect();
        let crates = Crates::read(files, root, cargo_files, &dirs);
        for dir in dirs {
            let Some(inputs) = crates.inputs(dir) else { continue };
            let node = self.graph.node(dir);
            for to in &inputs.crates {
                self.graph.add(node, to, Origin::Crate);
            }
            for to in &inputs.files {
                self.graph.add(node, to, Origin::Cargo);
            }
            for path in &inputs.existing {
                self.graph.node(path);
            }
            if let Some(problem) = inputs.problem {
                self.graph.refuse(node, problem);
            }
        }
    }

    /// Adds the targets of the symbolic links in each folder. Git stores a link as the path of its target, but a
    /// build reads the target. The package that owns the target counts as a whole, because git may ignore the target.
    /// A link to one of its parent folders does not add that folder.
    fn add_links(&mut self) {
        let files = &self.workspace.files;
        let targets = self.workspace.links.iter().filter_map(|link| {
            let real = files.resolve_link(link).filter(|real| !link.starts_with(real))?;
            Some((link, real))
        });
        let targets: Vec<(&Utf8PathBuf, Utf8PathBuf)> = targets.collect();
        // A target may contain links too.
        let mut has_grown = true;
        while has_grown {
            has_grown = false;
            for (link, real) in &targets {
                for node in self.graph.nodes_above(link) {
                    let dir = self.graph.path(node);
                    if !real.starts_with(dir) {
                        let to = owner(self.workspace, real, dir).unwrap_or(real).to_owned();
                        has_grown |= self.graph.add(node, &to, Origin::Link);
                    }
                }
            }
        }
    }

    /// Adds the packages of this repository among the dependencies of a `package.json`.
    fn add_dependencies(&mut self, node: NodeIndex, package: &'w Package) {
        for (name, spec) in &package.local_dependencies {
            let found = self.local(package, name, spec);
            if found.is_empty() {
                let failure = self.missing(package, name, spec);
                self.graph.refuse(node, failure);
            }
            for to in found {
                self.graph.add(node, &to, Origin::Manifest);
            }
        }
        for (name, spec) in &package.named_dependencies {
            match Spec::parse(spec) {
                Spec::Repository(_) => {
                    for to in self.local(package, name, spec) {
                        self.graph.add(node, &to, Origin::Manifest);
                    }
                }
                _ => self.add_members_by_version(node, package, name, spec),
            }
        }
        for (name, spec) in &package.peer_dependencies {
            let found = match self.resolve_catalog(package, name, spec) {
                Spec::Range(range) => self.members.peers(package, name, range),
                Spec::Alias(name, range) => self.members.peers(package, name, range),
                _ => Vec::new(),
            };
            for found in found {
                self.graph.add(node, &found.dir, Origin::Manifest);
            }
        }
    }

    /// Adds the members that a dependency on a version resolves to.
    fn add_members_by_version(
        &mut self,
        node: NodeIndex,
        package: &'w Package,
        name: &str,
        spec: &'w str,
    ) {
        let resolved = self.resolve_catalog(package, name, spec);
        let mut found = match resolved {
            Spec::Range(range) => self.members.satisfying(package, name, range),
            Spec::Alias(name, range) => self.members.satisfying(package, name, range),
            _ => Vec::new(),
        };
        // An override may replace the version with one that a member satisfies.
        let overrides = self.members.root_of(&package.dir).map(|(_, root)| &root.rules.overrides);
        for (_, spec) in overrides.into_iter().flatten().filter(|(other, _)| other == name) {
            if let Spec::Range(range) = Spec::parse(spec) {
                found.extend(self.members.satisfying(package, name, range));
            }
        }
        for found in found {
            self.graph.add(node, &found.dir, Origin::Manifest);
        }
    }

    /// Resolves a specifier through its catalog. An unknown catalog may contain any version.
    fn resolve_catalog(&self, package: &Package, name: &str, spec: &'w str) -> Spec<'w> {
        match Spec::parse(spec) {
            Spec::Catalog(catalog) => {
                let root = self.members.root_of(&package.dir);
                let found = root.and_then(|(_, root)| root.catalog(catalog, name));
                match Spec::parse(found.unwrap_or_default()) {
                    Spec::Catalog(_) => Spec::Range(""),
                    other => other,
                }
            }
            other => other,
        }
    }

    /// Returns the folders and files of this repository that a specifier refers to.
    fn local(&self, package: &Package, name: &str, spec: &str) -> Vec<Utf8PathBuf> {
        let root = self.members.root_of(&package.dir).map_or("", |(dir, _)| dir);
        let at = |base: &Utf8Path, path: &str| {
            // An absolute path may lead into the repository.
            let path = Utf8Path::new(path);
            let to = match path.strip_prefix(&self.workspace.root) {
                Ok(inside) => normalize(inside),
                Err(_) => normalize(&base.join(path)),
            };
            let target = to.as_deref().and_then(|to| self.workspace.files.resolve_link(to));
            to.into_iter().chain(target).collect::<Vec<_>>()
        };
        match Spec::parse(spec) {
            // `workspace:other@*` is an alias of a package.
            Spec::Member { alias } => {
                let found = self.members.asked_for(&package.dir, alias.unwrap_or(name));
                found.into_iter().map(|found| found.dir.clone()).collect()
            }
            Spec::Path(path) => at(&package.dir, path),
            Spec::MemberPath(path) => at(Utf8Path::new(root), path),
            Spec::Patch(rest) => {
                let patch = PatchSpec::parse(rest);
                let files = patch.files.iter().flat_map(|(file, below_root)| {
                    at(if *below_root { Utf8Path::new(root) } else { &package.dir }, file)
                });
                let mut found: Vec<Utf8PathBuf> = files.collect();
                if Spec::parse(&patch.inner).is_local() && !patch.inner.starts_with("patch:") {
                    found.extend(self.local(package, name, &patch.inner));
                }
                // A built-in patch of Yarn has no file.
                if found.is_empty() { vec![package.dir.clone()] } else { found }
            }
            Spec::Repository(path) => at(&package.dir, path)
                .into_iter()
                .filter(|to| !to.as_str().is_empty() && self.workspace.files.exists(to))
                .collect(),
            Spec::Catalog(_) | Spec::Range(_) | Spec::Alias(..) | Spec::Elsewhere => Vec::new(),
        }
    }

    /// Returns why a dependency is not found.
    fn missing(&self, package: &Package, name: &str, spec: &str) -> Error {
        let manifest = package.dir.join(MANIFEST);
        // It may exist with a manifest that has no name.
        let called = name.rsplit('/').next();
        let mut unreadable = self.workspace.unreadable.iter();
        if let Some((_, problem)) = unreadable.find(|(dir, _)| dir.file_name() == called) {
            return refused(format!("{problem:#}; {manifest} depends on `{name}`"));
        }
        match sparse::package_outside(&self.workspace.files, name) {
            Some(dir) => refused(format!(
                "{manifest}: `{name}` ({spec}) is in {dir}, which is not checked out here"
            ))
            .hint(sparse::hint(&dir)),
            None => refused(format!("{manifest}: `{name}` ({spec}) is not in this repository"))
                .hint(format!("add the package, or remove `{name}` from {manifest}")),
        }
    }

    /// Adds the inputs of the `xtask` key. A missing one is a problem of this package.
    fn add_settings(&mut self, node: NodeIndex, package: &Package) {
        let manifest = package.dir.join(MANIFEST);
        for name in &package.settings.depends_on {
            match self.find_named_dependency(name) {
                Ok(to) => drop(self.graph.add(node, &to, Origin::DependsOn)),
                Err(failure) => {
                    self.graph.problem(node, format!("{manifest}: {failure:#}"));
                }
            }
        }
        let steps = package.settings.before_deploy.steps();
        let files =
            steps.iter().flat_map(|step| step.files_below(&package.dir).unwrap_or_default());
        for file in files.filter(|file| !file.starts_with(&package.dir)) {
            self.graph.add(node, &file, Origin::Input);
        }
        for input in &package.settings.inputs {
            let Some(to) = normalize(input).filter(|path| self.workspace.files.exists(path)) else {
                self.graph.refuse(node, self.missing_input(&manifest, input));
                continue;
            };
            self.graph.add(node, &to, Origin::Input);
            // Git stores only the path of a link's target. The content is at the target.
            if let Some(real) = self.workspace.files.resolve_link(&to) {
                self.graph.add(node, &real, Origin::Input);
            }
        }
    }

    /// Returns the folder of the project or package that `xtask.dependsOn` calls `name`.
    fn find_named_dependency(&self, name: &str) -> Result<Utf8PathBuf> {
        let found = self.workspace.project(name).map(|project| project.dir.clone());
        found.or_else(|failure| match self.members.with_name(name) {
            [only] => Ok(only.dir.clone()),
            _ if self.workspace.packages.contains_key(name) => Ok(name.into()),
            _ => Err(failure),
        })
    }

    /// Returns the refusal of a missing path of `xtask.inputs` in `manifest`.
    fn missing_input(&self, manifest: &Utf8Path, input: &Utf8Path) -> Error {
        if sparse::is_outside(&self.workspace.files, input) {
            return refused(format!("{manifest}: the input `{input}` is not checked out here"))
                .hint(sparse::hint(input.parent().unwrap_or(input)));
        }
        refused(format!("{manifest}: the input `{input}` is not in this repository")).hint(format!(
            "correct `xtask.inputs` in {manifest}: paths begin at the repository's root"
        ))
    }

    /// Adds the files above a folder that affect its installed packages, up to the lock file that installs it,
    /// and everything that those files refer to.
    fn add_install_files(&mut self, node: NodeIndex, folder: &Utf8Path) {
        // Dagger installs the dependencies of a module only by the files in its folder.
        if folder.parent() == Utf8Path::new(modules::BUN).parent() {
            return;
        }
        let lock_folder = self.workspace.lock_folder(folder);
        for dir in folder.ancestors() {
            let files = self.installs.get(dir.as_str()).map_or(&[][..], Vec::as_slice);
            let is_own = dir.as_str() == folder.as_str();
            if !is_own {
                for path in files {
                    self.graph.add(node, path, Origin::Install);
                }
                if self.members.is_root(dir) || self.named.contains_key(dir.as_str()) {
                    self.graph.add(node, &dir.join(MANIFEST), Origin::Install);
                }
            }
            for path in self.named.get(dir.as_str()).into_iter().flatten() {
                // The package's own folder already counts as a whole, and a package does not install itself.
                if !(is_own && path.starts_with(dir)) && path != folder {
                    self.graph.add(node, path, Origin::Install);
                }
            }
            if lock_folder == Some(dir) {
                break;
            }
        }
    }

    /// Adds the paths of a wrangler config that lead out of its folder: the package that owns the path,
    /// which is built first, or else the file or folder.
    fn add_wrangler_path(&mut self, node: NodeIndex, dir: &Utf8Path, path: &Utf8Path) {
        let workspace = self.workspace;
        let is_missing = !workspace.files.is_known(path, workspace.all_files.as_ref());
        // Only the build of a package can write a path that git does not have.
        let builder = || {
            let around = package_around(workspace, dir, path);
            around.filter(|package| is_missing && package.builds())
        };
        let owner = owner(workspace, path, dir);
        match owner.or_else(|| builder().map(|package| package.dir.as_path())) {
            Some(package) => drop(self.graph.add(node, package, Origin::Config)),
            None => {
                self.graph.add(node, path, Origin::Config);
                enclosing::add_package_around(&mut self.graph, workspace, node, dir, path);
            }
        }
        if let Some(real) = self.workspace.files.resolve_link(path) {
            self.graph.add(node, &real, Origin::Config);
        }
    }
}
