//! Follows the path dependencies of crates.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};

use crate::cargo::manifest::{CargoManifest, PathDependency, WorkspaceTable};
use crate::cargo::settings::CargoSettings;
use crate::files::Source;
use crate::files::names::{CARGO_CONFIGS, CARGO_LOCK, CARGO_MANIFEST, RUST_TOOLCHAINS};
use crate::files::paths::normalize;
use base::error::{Error, refused};

/// The inputs of a project that is a crate.
#[derive(Debug, Default)]
pub(crate) struct CrateInputs {
    /// The folders of the crates that it is compiled with. Does not contain its own folder.
    pub(crate) crates: BTreeSet<Utf8PathBuf>,
    /// The other files and folders that Cargo reads: manifests, the lock file, settings, sources outside of a crate's folder.
    pub(crate) files: BTreeSet<Utf8PathBuf>,
    /// Every file of Cargo at or above one of the crates, also if Cargo does not read it.
    pub(crate) existing: BTreeSet<Utf8PathBuf>,
    /// The first problem of a manifest.
    pub(crate) problem: Option<Error>,
}

/// The crates that projects are compiled from.
pub(crate) struct Crates<'w> {
    files: &'w Source,
    /// The repository's root, absolute.
    root: &'w Utf8Path,
    listed: &'w BTreeSet<Utf8PathBuf>,
    /// The manifests by folder.
    manifests: BTreeMap<Utf8PathBuf, Result<CargoManifest, Error>>,
    /// The settings by path.
    settings: BTreeMap<Utf8PathBuf, CargoSettings>,
}

/// A dependency by path, with its place.
struct FoundDependency {
    /// The manifest or file of settings that has it.
    file: Utf8PathBuf,
    dependency: PathDependency,
    /// The folder of the crate. `None` if it is outside of the repository.
    to: Option<Utf8PathBuf>,
}

/// The root of a crate's workspace.
#[derive(Debug, Default)]
struct RootSearch {
    /// The folder of the root. `None` if the crate is in no workspace.
    root: Option<Utf8PathBuf>,
    /// The folders whose manifests Cargo reads during the search, without that of the crate.
    read: Vec<Utf8PathBuf>,
}

impl<'w> Crates<'w> {
    /// Reads the manifests of the projects in `dirs` and of all crates that they are compiled with. `listed` has every file of
    /// Cargo. Reads the manifests of one depth together, because git starts a process for each read of a commit.
    pub(crate) fn read(
        files: &'w Source,
        root: &'w Utf8Path,
        listed: &'w BTreeSet<Utf8PathBuf>,
        dirs: &[&Utf8Path],
    ) -> Crates<'w> {
        let mut crates =
            Crates { files, root, listed, manifests: BTreeMap::new(), settings: BTreeMap::new() };
        for dir in dirs {
            crates.read_settings(dir);
        }
        let mut waiting: BTreeSet<Utf8PathBuf> = dirs.iter().map(|dir| (*dir).to_owned()).collect();
        let mut seen = waiting.clone();
        while !waiting.is_empty() {
            crates.read_manifests(&waiting);
            let mut next = BTreeSet::new();
            for dir in &waiting {
                let mut found = crates.dependencies(dir);
                if dirs.contains(&dir.as_path()) {
                    found.extend(crates.replacements(dir));
                }
                next.extend(found.into_iter().filter_map(|found| found.to));
            }
            waiting = next.into_iter().filter(|dir| seen.insert(dir.clone())).collect();
        }
        crates
    }

    /// Reads the manifests of these folders and of those above them, with the roots that they name.
    fn read_manifests(&mut self, dirs: &BTreeSet<Utf8PathBuf>) {
        let mut waiting: BTreeSet<Utf8PathBuf> = dirs
            .iter()
            .flat_map(|dir| dir.ancestors())
            .filter(|dir| self.has_manifest(dir))
            .map(Utf8Path::to_owned)
            .collect();
        while !waiting.is_empty() {
            waiting.retain(|dir| !self.manifests.contains_key(dir));
            let dirs: Vec<Utf8PathBuf> = std::mem::take(&mut waiting).into_iter().collect();
            let paths: Vec<Utf8PathBuf> = dirs.iter().map(|dir| dir.join(CARGO_MANIFEST)).collect();
            for ((dir, path), text) in dirs.into_iter().zip(&paths).zip(self.files.read_all(&paths))
            {
                // Git lists a file that was deleted from the working tree.
                if text.is_err() && self.files.is_missing(path) {
                    continue;
                }
                let manifest = text.and_then(|text| {
                    let parsed = CargoManifest::parse(&text);
                    parsed.map_err(|error| refused(format!("{path}: {error}")))
                });
                if let Ok(manifest) = &manifest
                    && let Some(root) = named_root(&dir, manifest)
                    && self.has_manifest(&root)
                {
                    waiting.insert(root);
                }
                self.manifests.insert(dir, manifest);
            }
        }
    }

    /// Reads the settings of Cargo for a build in `dir`.
    fn read_settings(&mut self, dir: &Utf8Path) {
        let mut waiting: Vec<Utf8PathBuf> = self.settings_above(dir).collect();
        while let Some(path) = waiting.pop() {
            if self.settings.contains_key(&path) {
                continue;
            }
            let settings = CargoSettings::parse(&self.files.read(&path).unwrap_or_default());
            let included = self.included_settings(&path, &settings).into_iter();
            waiting.extend(included.filter(|path| self.files.is_file(path)));
            self.settings.insert(path, settings);
        }
    }

    fn settings_above(&self, dir: &Utf8Path) -> impl Iterator<Item = Utf8PathBuf> {
        let names = |dir: &Utf8Path| CARGO_CONFIGS.map(|name| dir.join(name));
        dir.ancestors().flat_map(names).filter(|path| self.exists(path))
    }

    /// Returns the files of settings that the one at `path` includes. They need not exist.
    fn included_settings(&self, path: &Utf8Path, settings: &CargoSettings) -> Vec<Utf8PathBuf> {
        let folder = path.parent().unwrap_or(Utf8Path::new(""));
        settings.included.iter().filter_map(|path| self.resolve(folder, path)).collect()
    }

    /// Returns true if git lists a manifest of this folder, which a symbolic link may lead to.
    fn has_manifest(&self, dir: &Utf8Path) -> bool {
        let path = dir.join(CARGO_MANIFEST);
        self.listed.contains(&path)
            || self.files.resolve_link(&path).is_some_and(|real| self.listed.contains(&real))
    }

    /// Returns true if a file of Cargo exists that git does not ignore.
    fn exists(&self, path: &Utf8Path) -> bool {
        self.listed.contains(path) && !self.files.is_missing(path)
    }

    /// Returns the path of the repository that a manifest or a setting means. `None` if it leads out of the repository.
    fn resolve(&self, base: &Utf8Path, path: &str) -> Option<Utf8PathBuf> {
        match Utf8Path::new(path).strip_prefix(self.root) {
            Ok(inside) => normalize(inside),
            Err(_) => normalize(&base.join(path)),
        }
    }

    /// Finds the root of the workspace of the crate in `dir`, as Cargo does: by its manifest, else in the folders above.
    fn find_root(&self, dir: &Utf8Path) -> RootSearch {
        let mut search = RootSearch::default();
        for at in dir.ancestors() {
            let Some(manifest) = self.manifests.get(at) else { continue };
            if at != dir {
                search.read.push(at.to_owned());
            }
            // Cargo fails at a manifest that it cannot parse.
            let Ok(manifest) = manifest else { break };
            let below = dir.strip_prefix(at).unwrap_or(dir);
            let is_root = |table: &WorkspaceTable| at == dir || !table.excludes(below);
            if manifest.workspace.as_ref().is_some_and(is_root) {
                search.root = Some(at.to_owned());
                break;
            }
            if let Some(root) = named_root(at, manifest) {
                search.read.push(root.clone());
                search.root = Some(root);
                break;
            }
        }
        search
    }

    /// Returns true if Cargo reads the root of the workspace for a dependency in `dir`.
    fn inherits(&self, dir: &Utf8Path) -> bool {
        matches!(self.manifests.get(dir), Some(Ok(manifest)) if manifest.inherits)
    }

    /// Returns the path dependencies of the crate in `dir`.
    fn dependencies(&self, dir: &Utf8Path) -> Vec<FoundDependency> {
        let Some(Ok(manifest)) = self.manifests.get(dir) else { return Vec::new() };
        let own = manifest.path_dependencies.iter().cloned();
        let mut found = self.resolve_all(&dir.join(CARGO_MANIFEST), dir, own);
        let root = self.find_root(dir).root.filter(|_| !manifest.inherited.is_empty());
        if let Some(root) = root
            && let Some(Ok(CargoManifest { workspace: Some(table), .. })) =
                self.manifests.get(&root)
        {
            let inherited = manifest.inherited.iter().filter_map(|name| {
                let path = table.dependencies.get(name)?.clone();
                Some(PathDependency { name: name.clone(), path })
            });
            found.extend(self.resolve_all(&root.join(CARGO_MANIFEST), &root, inherited));
        }
        found
    }

    /// Returns what replaces other crates in a build of the project in `dir`.
    fn replacements(&self, dir: &Utf8Path) -> Vec<FoundDependency> {
        let root = self.find_root(dir).root.unwrap_or(dir.to_owned());
        let mut found = match self.manifests.get(&root) {
            Some(Ok(manifest)) => {
                let patches = manifest.patches.iter().cloned();
                self.resolve_all(&root.join(CARGO_MANIFEST), &root, patches)
            }
            _ => Vec::new(),
        };
        for (path, settings) in self.settings_of(dir) {
            let patches = settings.patches.iter().cloned();
            found.extend(self.resolve_all(&path, &CargoSettings::base(&path), patches));
        }
        found
    }

    fn resolve_all(
        &self,
        file: &Utf8Path,
        base: &Utf8Path,
        dependencies: impl Iterator<Item = PathDependency>,
    ) -> Vec<FoundDependency> {
        let found = |dependency: PathDependency| FoundDependency {
            file: file.to_owned(),
            to: self.resolve(base, &dependency.path),
            dependency,
        };
        dependencies.map(found).collect()
    }

    /// Returns the settings for a build in `dir`, with those that they include.
    fn settings_of(&self, dir: &Utf8Path) -> Vec<(Utf8PathBuf, &CargoSettings)> {
        let mut found: BTreeMap<Utf8PathBuf, &CargoSettings> = BTreeMap::new();
        let mut waiting: Vec<Utf8PathBuf> = self.settings_above(dir).collect();
        while let Some(path) = waiting.pop() {
            let Some(settings) = self.settings.get(&path) else { continue };
            if found.insert(path.clone(), settings).is_none() {
                waiting.extend(self.included_settings(&path, settings));
            }
        }
        found.into_iter().collect()
    }

    /// Returns the inputs of the project in `dir`. `None` if it is not a crate.
    pub(crate) fn inputs(&self, dir: &Utf8Path) -> Option<CrateInputs> {
        let own = self.manifests.get(dir)?;
        if own.as_ref().is_ok_and(|manifest| manifest.package.is_none()) {
            return None;
        }
        let mut inputs = CrateInputs::default();
        let mut waiting = vec![dir.to_owned()];
        let mut seen = BTreeSet::from([dir.to_owned()]);
        while let Some(at) = waiting.pop() {
            self.add_files_of(&at, at == dir, &mut inputs);
            let mut found = self.dependencies(&at);
            if at == dir {
                found.extend(self.replacements(dir));
            }
            for found in found {
                let Some(to) = found.to.clone() else {
                    inputs.problem.get_or_insert_with(|| found.outside_error());
                    continue;
                };
                if seen.insert(to.clone()) {
                    inputs.crates.extend(self.files.resolve_link(&to));
                    inputs.crates.insert(to.clone());
                    waiting.push(to);
                }
            }
        }
        inputs.files.extend(self.settings_files(dir));
        let CrateInputs { crates, files, .. } = &mut inputs;
        // A crate's folder already counts as a whole.
        let is_inside = |path: &Utf8PathBuf| {
            path.starts_with(dir) || crates.iter().any(|folder| path.starts_with(folder))
        };
        files.retain(|path| !is_inside(path));
        Some(inputs)
    }

    /// Adds the files outside of its folder that the crate in `dir` is compiled from, and the problem of a manifest.
    fn add_files_of(&self, dir: &Utf8Path, is_project: bool, inputs: &mut CrateInputs) {
        let mut read = vec![dir.to_owned()];
        if is_project || self.inherits(dir) {
            read.extend(self.find_root(dir).read);
        }
        for folder in &read {
            if let Some(Err(failure)) = self.manifests.get(folder) {
                inputs.problem.get_or_insert_with(|| failure.clone());
            }
        }
        inputs.files.extend(read.iter().map(|folder| folder.join(CARGO_MANIFEST)));
        inputs.existing.extend(self.files_above(dir));
        inputs.files.extend(self.sources_outside(dir));
    }

    /// Returns the files above that affect every build in `dir`: the lock file of its workspace, the version of Rust and the
    /// settings of Cargo, with the files that these name.
    fn settings_files(&self, dir: &Utf8Path) -> BTreeSet<Utf8PathBuf> {
        let mut found = BTreeSet::new();
        // The lock file counts also if it does not exist, because Cargo writes it there.
        found.insert(self.find_root(dir).root.unwrap_or(dir.to_owned()).join(CARGO_LOCK));
        let toolchains = |folder: &Utf8Path| {
            let paths = RUST_TOOLCHAINS.map(|name| folder.join(name)).into_iter();
            let paths: Vec<Utf8PathBuf> = paths.filter(|path| self.exists(path)).collect();
            (!paths.is_empty()).then_some(paths)
        };
        found.extend(dir.ancestors().find_map(toolchains).into_iter().flatten());
        for (path, settings) in self.settings_of(dir) {
            let base = CargoSettings::base(&path);
            let named = settings.files.iter().filter_map(|file| self.resolve(&base, file));
            // A folder that holds the project would make every change count.
            found.extend(named.filter(|path| !dir.starts_with(path)));
            found.extend(self.included_settings(&path, settings));
            found.insert(path);
        }
        found
    }

    /// Returns the sources of the crate in `dir` that are not in its folder. Code reads files next to it, so the folder of such
    /// a source counts, unless it holds the crate.
    fn sources_outside(&self, dir: &Utf8Path) -> BTreeSet<Utf8PathBuf> {
        let Some(Ok(manifest)) = self.manifests.get(dir) else { return BTreeSet::new() };
        let paths = manifest.sources.iter().filter_map(|path| self.resolve(dir, path));
        let outside = paths.filter(|path| !path.starts_with(dir));
        let folder = |path: Utf8PathBuf| {
            let folder = path.parent().filter(|folder| !dir.starts_with(folder));
            folder.map(Utf8Path::to_owned).unwrap_or(path)
        };
        outside.map(folder).collect()
    }

    /// Returns every file of Cargo in `dir` and in the folders above.
    fn files_above(&self, dir: &Utf8Path) -> Vec<Utf8PathBuf> {
        let names = [CARGO_MANIFEST, CARGO_LOCK].into_iter().chain(RUST_TOOLCHAINS);
        let names: Vec<&str> = names.chain(CARGO_CONFIGS).collect();
        let paths = dir.ancestors().flat_map(|above| names.iter().map(|name| above.join(name)));
        paths.filter(|path| self.exists(path)).collect()
    }
}

/// Returns the folder that `package.workspace` of the manifest in `dir` names.
fn named_root(dir: &Utf8Path, manifest: &CargoManifest) -> Option<Utf8PathBuf> {
    normalize(&dir.join(manifest.root.as_deref()?))
}

impl FoundDependency {
    /// Returns the error of a crate outside of the repository.
    fn outside_error(&self) -> Error {
        let FoundDependency { file, dependency: PathDependency { name, path }, .. } = self;
        refused(format!("{file}: `{name}` ({path}) is not in this repository"))
            .hint(format!("move the crate into the repository, or remove `{name}` from {file}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the crates and files of the project in `w`, and its problem.
    fn inputs(manifests: &[(&str, &str)]) -> (Vec<String>, Vec<String>, Option<String>) {
        let (root, listed) = (Utf8PathBuf::from("/nowhere"), BTreeSet::new());
        let files = Source::from_working_tree(&root);
        let parse = |(dir, text): &(&str, &str)| {
            let manifest = CargoManifest::parse(text).map_err(refused);
            (Utf8PathBuf::from(*dir), manifest)
        };
        let crates = Crates {
            files: &files,
            root: &root,
            listed: &listed,
            manifests: manifests.iter().map(parse).collect(),
            settings: BTreeMap::new(),
        };
        let inputs = crates.inputs(Utf8Path::new("w")).expect("a crate");
        let texts = |paths: BTreeSet<Utf8PathBuf>| {
            paths.into_iter().map(Utf8PathBuf::into_string).collect::<Vec<_>>()
        };
        let problem = inputs.problem.map(|problem| problem.message);
        (texts(inputs.crates), texts(inputs.files), problem)
    }

    const PACKAGE: &str = "[package]\nname = 'x'\n";

    fn package(more: &str) -> String {
        format!("{PACKAGE}{more}")
    }

    #[test]
    fn a_crate_in_no_workspace() {
        let own =
            package("[dependencies]\na = { path = '../a' }\nabsolute = { path = '/nowhere/b' }\n");
        let a = package("[dependencies]\nw = { path = '../w' }\nc = { path = 'c' }\n");
        let found = inputs(&[("w", &own), ("a", &a), ("a/c", PACKAGE)]);
        assert_eq!(found.0, ["a", "a/c", "b"]);
        assert_eq!((found.1, found.2), (Vec::new(), None));
    }

    #[test]
    fn the_root_above_defines_dependencies_and_patches() {
        let root = "[workspace]\n[workspace.dependencies]\na = { path = 'lib/a' }\nb = { path = 'lib/b' }\n\
                    [patch.crates-io]\nf = { path = 'fork' }\n";
        let own = package(
            "[dependencies]\na.workspace = true\n[patch.crates-io]\nno = { path = 'no' }\n",
        );
        let found = inputs(&[("", root), ("w", &own), ("lib/a", PACKAGE)]);
        assert_eq!(found.0, ["fork", "lib/a"]);
        assert_eq!(
            (found.1, found.2),
            (vec!["Cargo.lock".to_owned(), "Cargo.toml".to_owned()], None)
        );
    }

    #[test]
    fn a_crate_of_another_workspace_has_the_dependencies_of_its_own_root() {
        let own = package("[workspace]\n[dependencies]\na = { path = '../other/a' }\n");
        let other = "[workspace]\ndependencies.b = { path = 'b' }\n[patch.crates-io]\nf = { path = 'fork' }\n";
        let a = package("[dependencies]\nb.workspace = true\n");
        let found = inputs(&[("", "[workspace]"), ("w", &own), ("other", other), ("other/a", &a)]);
        assert_eq!(found.0, ["other/a", "other/b"]);
        assert_eq!((found.1, found.2), (vec!["other/Cargo.toml".to_owned()], None));
        let found = inputs(&[("w", &own), ("other", other), ("other/a", PACKAGE)]);
        assert_eq!((found.0, found.1), (vec!["other/a".to_owned()], Vec::new()), "no inheritance");
    }

    #[test]
    fn a_crate_that_holds_the_project_is_an_input_as_a_whole() {
        let own = package("[dependencies]\nroot = { path = '..' }\n");
        let found = inputs(&[("", &package("[workspace]\n")), ("w", &own)]);
        assert_eq!((found.0, found.1, found.2), (vec![String::new()], Vec::new(), None));
    }

    #[test]
    fn sources_outside_of_the_folder() {
        let own = package("build = '../build/w/main.rs'\n[lib]\npath = '../lib.rs'\n");
        let found = inputs(&[("w", &own)]);
        assert_eq!(found.1, ["build/w", "lib.rs"]);
    }

    #[test]
    fn problems() {
        let far = package("[dependencies]\nfar = { path = '../../far' }\n");
        for (manifests, problem) in [
            (
                vec![("w", far.as_str())],
                "w/Cargo.toml: `far` (../../far) is not in this repository",
            ),
            (
                vec![("", "[workspace]\n[patch.crates-io]\nf = { path = '../f' }"), ("w", PACKAGE)],
                "Cargo.toml: `f` (../f) is not in this repository",
            ),
            (
                vec![("", "["), ("w", PACKAGE)],
                "unquoted keys cannot be empty, expected letters, numbers, `-`, `_` on line 1",
            ),
        ] {
            let found = inputs(&manifests).2.expect("a problem");
            assert_eq!(found, problem);
        }
    }
}
