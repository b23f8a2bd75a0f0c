//! Reads the edges of the graph from manifests.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};

use crate::Workspace;
use crate::cargo::crates::Crates;
use crate::config::modules;
use crate::files::names::{CARGO_MANIFEST, MANIFEST, MODULE, PNPM};
use crate::files::paths::normalize;
use crate::graph::builder::GraphBuilder;
use crate::graph::enclosing;
use crate::graph::imports::{self, ImportMapping, module_file};
use crate::graph::references;
use crate::graph::relative_imports::{self, RelativeImports};
use crate::graph::task_runners;
use crate::graph::typescript::{TypeScript, TypeScriptCode};
use crate::graph::{NodeIndex, Origin};
use crate::packages::installs::NamedPaths;
use crate::packages::members::Members;
use crate::packages::package::Package;
use crate::packages::spec::{PatchSpec, Spec};
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
        self.add_typescript();
        self.add_relative_imports();
        task_runners::add_inputs(&mut self.graph, self.workspace, &self.members);
        for project in &self.workspace.projects {
            let node = self.graph.node(&project.dir);
            for path in references::of_wrangler(&project.wrangler, &project.dir) {
                self.add_wrangler_path(node, &project.dir, &path);
            }
            match project.package.as_ref().filter(|package| package.dir != project.dir) {
                // The root only installs and has no build, so the rest of the repository is not an input.
                Some(root) if !root.builds() && self.workspace.is_workspace_root(root) => {
                    self.add_dependencies(node, root);
                    self.add_install_files(node, &project.dir);
                }
                Some(package) => drop(self.graph.add(node, &package.dir, Origin::Package)),
                None => {}
            }
            if project.module {
                self.add_module(&project.dir);
            }
            // Nothing finds what code imports from elsewhere in its submodule.
            if let Some(submodule) = self.workspace.submodule_of(&project.dir) {
                self.graph.add(node, submodule, Origin::Input);
            }
        }
        self.add_crates();
        self.add_shared_modules();
        self.add_links();
        self.graph
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
                        let to = self.owner(real, dir).unwrap_or(real).to_owned();
                        has_grown |= self.graph.add(node, &to, Origin::Link);
                    }
                }
            }
        }
    }

    /// Adds the shared module that deploys every project, and the one that builds projects without
    /// their own module. They count with both engines, so that the same content always has the same
    /// key.
    fn add_shared_modules(&mut self) {
        let there =
            |module: &&str| self.workspace.files.is_file(&Utf8Path::new(module).join(MODULE));
        let builder = Some(modules::BUN).filter(there);
        let deployer = Some(modules::CLOUDFLARE).filter(there);
        for project in &self.workspace.projects {
            let builds = project.package.as_ref().is_some_and(Package::builds);
            let builder = builder.filter(|_| builds && !project.module);
            let node = self.graph.node(&project.dir);
            for module in [builder, deployer].into_iter().flatten() {
                self.graph.add(node, Utf8Path::new(module), Origin::Module);
            }
        }
        for module in [builder, deployer].into_iter().flatten() {
            self.add_module(Utf8Path::new(module));
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
        let owner = self.owner(path, dir);
        self.graph.add(node, owner.unwrap_or(path), Origin::Config);
        if owner.is_none() {
            enclosing::add_manifest(&mut self.graph, self.workspace, node, dir, path);
        }
        if let Some(real) = self.workspace.files.resolve_link(path) {
            self.graph.add(node, &real, Origin::Config);
        }
    }

    /// Returns the folder of the package that owns `path`. `None` if no package does, or if that package contains
    /// `dir`.
    fn owner<'p>(&self, path: &'p Utf8Path, dir: &Utf8Path) -> Option<&'p Utf8Path> {
        path.ancestors().find(|above| {
            self.workspace.packages.contains_key(above.as_str()) && !dir.starts_with(above)
        })
    }

    /// Adds the configs that TypeScript configs extend, and the code that they map names to.
    fn add_typescript(&mut self) {
        let files = &self.workspace.files;
        let mut mapped: Vec<(Utf8PathBuf, Vec<ImportMapping>)> = Vec::new();
        for (path, folders) in &self.workspace.tsconfigs {
            let config = TypeScript::follow(files, path);
            for dir in folders {
                let TypeScriptCode { paths, mappings } = config.code(files, dir);
                self.named_by_typescript(dir, path, &config, paths);
                if !mappings.is_empty() {
                    mapped.push((dir.clone(), mappings));
                }
            }
        }
        let all: Vec<&ImportMapping> = mapped.iter().flat_map(|(_, mappings)| mappings).collect();
        match imports::find_imports(files, self.workspace.all_files.as_ref(), &all) {
            Ok(found) => {
                for (dir, mappings) in &mapped {
                    self.add_imports(dir, |from| imports::targets(files, &found, mappings, from));
                }
            }
            Err(error) => {
                for (dir, _) in &mapped {
                    let node = self.graph.node(dir);
                    self.graph.problem(node, format!("{error:#}"));
                }
            }
        }
    }

    /// Adds what a TypeScript config leads to, for the code in `dir`.
    fn named_by_typescript(
        &mut self,
        dir: &Utf8Path,
        path: &Utf8PathBuf,
        config: &TypeScript,
        code: BTreeSet<Utf8PathBuf>,
    ) {
        let above = Some(path).filter(|path| !path.starts_with(dir));
        let named = config.paths.iter();
        let named = named.filter(|path| !path.starts_with(dir) || dir.as_str().is_empty());
        let outside: Vec<&Utf8PathBuf> = named.chain(above).collect();
        if outside.is_empty() && code.is_empty() && config.packages.is_empty() {
            return;
        }
        let node = self.graph.node(dir);
        for path in code {
            self.graph.add(node, self.owner(&path, dir).unwrap_or(&path), Origin::Input);
        }
        for path in outside {
            self.graph.add(node, path, Origin::Input);
        }
        for name in &config.packages {
            for package in self.members.asked_for(dir, name) {
                self.graph.add(node, &package.dir, Origin::Input);
            }
        }
    }

    /// Adds what code imports, and builds name, by relative paths out of their package.
    fn add_relative_imports(&mut self) {
        let Workspace { files, all_files, packages, projects, cargo_files, .. } = self.workspace;
        let projects: BTreeSet<&str> =
            projects.iter().map(|project| project.dir.as_str()).collect();
        let is_package = |dir: &Utf8Path| {
            packages.contains_key(dir.as_str())
                || projects.contains(dir.as_str())
                || cargo_files.contains(&dir.join(CARGO_MANIFEST))
        };
        match RelativeImports::find(files, all_files.as_ref(), is_package) {
            Ok(imports) => {
                let above = imports.files().flat_map(|file| file.ancestors().skip(1));
                let named = packages.values().filter(|package| !package.outside_paths.is_empty());
                let named = named.map(|package| package.dir.as_path());
                let dirs: BTreeSet<&Utf8Path> =
                    above.filter(|dir| is_package(dir)).chain(named).collect();
                for dir in dirs {
                    self.add_imports(dir, |from| {
                        let package = packages.get(from.as_str());
                        let paths = package.iter().flat_map(|package| &package.outside_paths);
                        let paths = paths.filter_map(|path| relative_imports::resolve(from, path));
                        let named = paths.filter_map(|path| module_file(files, &path));
                        imports.targets(files, from).into_iter().chain(named).collect()
                    });
                }
            }
            Err(error) => {
                for dir in projects {
                    let node = self.graph.node(Utf8Path::new(dir));
                    self.graph.refuse(node, error.clone());
                }
            }
        }
    }

    /// Adds what the code in `dir` imports from other folders, and what the imported code imports in turn.
    /// `targets_of` returns what the code at a path imports.
    fn add_imports(
        &mut self,
        dir: &Utf8Path,
        targets_of: impl Fn(&Utf8Path) -> BTreeSet<Utf8PathBuf>,
    ) {
        let node = self.graph.node(dir);
        let mut waiting = vec![dir.to_owned()];
        let mut seen = BTreeSet::new();
        while let Some(from) = waiting.pop() {
            for path in targets_of(&from) {
                // A folder around this one would make every change in it count.
                if path.starts_with(dir) || dir.starts_with(&path) {
                    continue;
                }
                match self.owner(&path, dir) {
                    // The imports of a package are those that its own config means.
                    Some(owner) => drop(self.graph.add(node, owner, Origin::Input)),
                    None => {
                        let path = self.code_around(&path, dir);
                        self.graph.add(node, &path, Origin::Input);
                        enclosing::add_manifest(&mut self.graph, self.workspace, node, dir, &path);
                        if seen.insert(path.clone()) {
                            waiting.push(path);
                        }
                    }
                }
            }
        }
    }

    /// Returns the largest folder around `path` that holds neither `dir` nor a package, because files of one folder
    /// import each other. Returns the file itself if there is none.
    fn code_around(&self, path: &Utf8Path, dir: &Utf8Path) -> Utf8PathBuf {
        let holds_package = |folder: &Utf8Path| {
            let below = format!("{folder}/");
            let mut next = self.workspace.packages.range(below.clone()..);
            next.next().is_some_and(|(other, _)| other.starts_with(&below))
        };
        let around = path.ancestors().take_while(|folder| {
            !folder.as_str().is_empty() && !dir.starts_with(folder) && !holds_package(folder)
        });
        around.last().unwrap_or(path).to_owned()
    }

    /// Follows the local dependencies of the `dagger.json` in `dir`, and of those they lead to.
    fn add_module(&mut self, dir: &Utf8Path) {
        let mut waiting = vec![dir.to_owned()];
        while let Some(dir) = waiting.pop() {
            let files = &self.workspace.files;
            let path = dir.join(MODULE);
            let Ok(text) = files.read(&path) else { continue };
            let node = self.graph.node(&dir);
            let sources = match modules::local_dependencies(&text) {
                Ok(sources) => sources,
                Err(error) => {
                    self.graph.problem(node, format!("{path}: {error}"));
                    continue;
                }
            };
            for source in sources {
                let to = normalize(&dir.join(&source)).filter(|to| files.is_file(&to.join(MODULE)));
                let Some(to) = to else {
                    self.graph.problem(node, format!("{path}: no Dagger module at `{source}`"));
                    continue;
                };
                if let Some(real) = files.resolve_link(&to) {
                    self.graph.add(node, &real, Origin::Module);
                }
                if self.graph.add(node, &to, Origin::Module) {
                    waiting.push(to);
                }
            }
        }
    }
}
