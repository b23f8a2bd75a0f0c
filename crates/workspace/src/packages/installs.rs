//! Reads the files that a package manager's settings refer to: patch files, local overrides,
//! plugins, hooks. All of them affect everything that is installed below the folder of the
//! settings.

use std::collections::BTreeSet;

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value;

use crate::files::Source;
use crate::files::config_text::parse_config;
use crate::files::names::{NPMRC, PNPM, YARNRC};
use crate::files::paths::normalize;
use crate::files::yaml::Yaml;
use crate::packages::manifest::InstallRules;
use crate::packages::members::Members;
use crate::packages::package::Package;
use crate::packages::roots::{Root, to_json};
use crate::packages::spec::{PatchSpec, Spec};

/// The folders that Yarn berry reads in addition to its settings.
const YARN_FOLDERS: [&str; 3] = [".yarn/patches", ".yarn/plugins", ".yarn/releases"];

/// Settings of folders that hold copies of what the lock file pins.
const COPIES: [&str; 8] = [
    "cacheFolder",
    "globalFolder",
    "installStatePath",
    "pnpUnpluggedFolder",
    "virtualFolder",
    "cache",
    "store-dir",
    "virtual-store-dir",
];

/// The maximum number of files that hooks are followed through.
const MAX_HOOKS: usize = 100;

/// Collects the paths that the settings of one folder name.
pub(crate) struct NamedPaths<'a> {
    files: &'a Source,
    members: &'a Members<'a>,
    dir: &'a Utf8Path,
    root: Option<&'a Root>,
    found: BTreeSet<Utf8PathBuf>,
}

impl<'a> NamedPaths<'a> {
    /// Returns the paths that the package of `dir` and `settings`, files in `dir`, refer to. All are in the
    /// repository.
    pub(crate) fn collect(
        files: &'a Source,
        members: &'a Members<'a>,
        dir: &'a Utf8Path,
        settings: &[&Utf8PathBuf],
        package: Option<&'a Package>,
        root: Option<&'a Root>,
    ) -> BTreeSet<Utf8PathBuf> {
        let mut named = NamedPaths { files, members, dir, root, found: BTreeSet::new() };
        match (root, package) {
            // Its rules contain those of its package, and those of its settings.
            (Some(root), _) => named.rules(&root.rules),
            (None, Some(package)) => named.rules(&package.rules),
            (None, None) => {}
        }
        if package.is_some_and(uses_patch_package) {
            named.add_existing("patches");
        }
        for path in settings {
            named.settings(path);
        }
        named.found
    }

    fn rules(&mut self, rules: &InstallRules) {
        for (name, spec) in &rules.overrides {
            self.spec(name, spec);
        }
        for spec in &rules.specs {
            self.spec("", spec);
        }
        for patch in &rules.patches {
            self.add(patch);
        }
        for (name, spec) in rules.catalogs.values().flatten() {
            if Spec::parse(spec).is_local() {
                self.spec(name, spec);
            }
        }
    }

    /// Adds the files and folders of this repository that a specifier refers to.
    fn spec(&mut self, name: &str, spec: &str) {
        match Spec::parse(spec) {
            Spec::Path(path) | Spec::MemberPath(path) => self.add(path),
            Spec::Member { alias } => {
                let found = self.members.asked_for(self.dir, alias.unwrap_or(name));
                self.found.extend(found.into_iter().map(|package| package.dir.clone()));
            }
            Spec::Patch(rest) => {
                let patch = PatchSpec::parse(rest);
                for (file, _) in &patch.files {
                    self.add(file);
                }
                if !patch.inner.is_empty() {
                    self.spec(name, &patch.inner);
                }
            }
            Spec::Catalog(catalog) => {
                let spec = self.root.and_then(|root| root.catalog(catalog, name));
                if let Some(spec) = spec.filter(|spec| !spec.starts_with("catalog:")) {
                    self.spec(name, spec);
                }
            }
            Spec::Range(_) | Spec::Alias(..) | Spec::Repository(_) | Spec::Elsewhere => {}
        }
    }

    /// Adds the paths that the file of settings at `path` names.
    fn settings(&mut self, path: &Utf8Path) {
        let Some(name) = path.file_name() else { return };
        let read = || self.files.read(path).unwrap_or_default();
        match name {
            NPMRC => {
                for (key, value) in read().lines().filter_map(|line| line.split_once('=')) {
                    self.value(key.trim(), value.trim());
                }
            }
            ".yarnrc" => {
                for (key, value) in read().lines().filter_map(|line| line.trim().split_once(' ')) {
                    self.value(key, value.trim().trim_matches('"'));
                }
            }
            YARNRC | PNPM => {
                let parsed = Yaml::parse(&read()).unwrap_or(Yaml::Scalar(String::new()));
                if name == YARNRC {
                    YARN_FOLDERS.iter().for_each(|folder| self.add_existing(folder));
                    if let Some(folder) = parsed.get("patchFolder").and_then(Yaml::text) {
                        self.add_existing(folder);
                    }
                }
                let mut parsed = to_json(&parsed);
                // Members are followed as dependencies. They do not affect every package.
                parsed.as_object_mut().and_then(|entries| entries.remove("packages"));
                self.values("", &parsed);
            }
            "bunfig.toml" => {
                let parsed = parse_config(path, &read()).unwrap_or_default();
                self.values("", &parsed);
            }
            ".pnpmfile.cjs" | ".pnpmfile.mjs" => self.hooks(path),
            _ => {}
        }
    }

    fn values(&mut self, key: &str, value: &Value) {
        match value {
            Value::String(text) => self.value(key, text),
            Value::Array(items) => items.iter().for_each(|item| self.values(key, item)),
            Value::Object(entries) => {
                for (key, value) in
                    entries.iter().filter(|(key, _)| !COPIES.contains(&key.as_str()))
                {
                    self.values(key, value);
                }
            }
            _ => {}
        }
    }

    /// Adds the file that the value of a setting names, if it is one.
    fn value(&mut self, key: &str, value: &str) {
        let is_hook = key.eq_ignore_ascii_case("pnpmfile");
        if COPIES.contains(&key) || !(is_hook || value.contains('/') || value.starts_with('.')) {
            return;
        }
        let Some(path) = self.resolve(value).filter(|path| self.files.is_file(path)) else {
            return;
        };
        if is_hook {
            self.hooks(&path);
        }
        self.found.insert(path);
    }

    /// Adds the files that a hook requires by a relative path, and those that they require.
    fn hooks(&mut self, path: &Utf8Path) {
        let mut waiting = vec![path.to_owned()];
        let mut seen = BTreeSet::new();
        while let Some(path) = waiting.pop() {
            if seen.len() > MAX_HOOKS || !seen.insert(path.clone()) {
                continue;
            }
            let text = self.files.read(&path).unwrap_or_default();
            let folder = path.parent().unwrap_or(Utf8Path::new(""));
            for required in relative_imports(&text) {
                let Some(base) = normalize(&folder.join(required)) else { continue };
                let ends = ["", ".js", ".cjs", ".mjs", ".json", ".ts", "/index.js", "/index.cjs"];
                let candidates = ends.map(|end| Utf8PathBuf::from(format!("{base}{end}")));
                if let Some(found) = candidates.into_iter().find(|path| self.files.is_file(path)) {
                    self.found.insert(found.clone());
                    waiting.push(found);
                }
            }
        }
    }

    /// Adds a path relative to the folder, even if it does not exist. If it is a link, adds its
    /// target too.
    fn add(&mut self, path: &str) {
        let Some(path) = self.resolve(path) else { return };
        self.found.extend(self.files.resolve_link(&path));
        self.found.insert(path);
    }

    fn add_existing(&mut self, path: &str) {
        if let Some(path) = self.resolve(path).filter(|path| self.files.exists(path)) {
            self.found.insert(path);
        }
    }

    /// Returns a path of the repository. `None` if it leads out of the repository, or to the folder or one of its
    /// parents.
    fn resolve(&self, path: &str) -> Option<Utf8PathBuf> {
        let path = path.strip_prefix("~/").unwrap_or(path);
        normalize(&self.dir.join(path)).filter(|path| !self.dir.starts_with(path))
    }
}

fn uses_patch_package(package: &Package) -> bool {
    package.named_dependencies.contains_key("patch-package")
}

/// Returns the quoted strings that begin with `./` or `../`.
fn relative_imports(text: &str) -> impl Iterator<Item = &str> {
    let quoted = |(at, _): (usize, &str)| {
        let quote = text[..at].chars().next_back().filter(|c| "\"'`".contains(*c))?;
        text[at..].split(quote).next().filter(|path: &&str| !path.contains('\n'))
    };
    let starts = text.match_indices("./").chain(text.match_indices("../"));
    starts.filter_map(quoted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_of_hooks() {
        let text =
            "const a = require('./a.cjs'); import b from \"../b\"; // ./c\nrequire(`./d`) './e\n'";
        let mut found: Vec<&str> = relative_imports(text).collect();
        found.sort_unstable();
        assert_eq!(found, ["../b", "./a.cjs", "./d"]);
    }
}
