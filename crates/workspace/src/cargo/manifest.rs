//! Parses the fields of a `Cargo.toml` that determine which files a crate is compiled from
//! (<https://doc.rust-lang.org/cargo/reference/manifest.html>).

use std::collections::{BTreeMap, BTreeSet};

use camino::Utf8Path;
use serde_json::Value;

use crate::files::config_text::parse_config;
use crate::files::names::CARGO_MANIFEST;

/// The tables of dependencies that affect the output. Those of tests and examples do not.
const KINDS: [&str; 3] = ["dependencies", "build-dependencies", "build_dependencies"];

/// A dependency on a crate by its path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PathDependency {
    /// The name of the dependency, which may be another one than that of the crate.
    pub(crate) name: String,
    /// The path as the manifest has it.
    pub(crate) path: String,
}

/// A `Cargo.toml`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct CargoManifest {
    /// The name of the crate. `None` without `[package]`: such a manifest is only the root of a workspace.
    pub(crate) package: Option<String>,
    /// The dependencies by path.
    pub(crate) path_dependencies: BTreeSet<PathDependency>,
    /// The names of the dependencies that the root of the workspace defines.
    pub(crate) inherited: BTreeSet<String>,
    /// `true` if any field is defined by the root of the workspace, so that Cargo reads it.
    pub(crate) inherits: bool,
    /// The replacements of other crates by a path, in the root of a workspace.
    pub(crate) patches: BTreeSet<PathDependency>,
    /// The source files that it names.
    pub(crate) sources: BTreeSet<String>,
    /// `package.workspace`: the folder of its root.
    pub(crate) root: Option<String>,
    /// `[workspace]`, in the root of a workspace.
    pub(crate) workspace: Option<WorkspaceTable>,
}

/// The table `[workspace]`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct WorkspaceTable {
    /// The paths of the dependencies that members may inherit, by name.
    pub(crate) dependencies: BTreeMap<String, String>,
    members: Vec<String>,
    exclude: Vec<String>,
}

impl CargoManifest {
    /// Parses a `Cargo.toml`. Ignores fields of another type than Cargo expects, because Cargo reports them.
    pub(crate) fn parse(text: &str) -> Result<CargoManifest, String> {
        let value = parse_config(Utf8Path::new(CARGO_MANIFEST), text)?;
        let mut manifest = CargoManifest::default();
        let targets = value["target"].as_object().into_iter().flatten().map(|(_, target)| target);
        for section in std::iter::once(&value).chain(targets) {
            for (name, dependency) in KINDS.iter().flat_map(|kind| entries(&section[*kind])) {
                if is_inherited(dependency) {
                    manifest.inherited.insert(name.clone());
                } else {
                    manifest.path_dependencies.extend(path_dependency(name, dependency));
                }
            }
        }
        let replaced = entries(&value["replace"]);
        let replaced = replaced.filter_map(|(name, replaced)| path_dependency(name, replaced));
        manifest.patches = patches_in(&value["patch"]).chain(replaced).collect();
        // `[project]` is the previous name of `[package]`.
        let mut sections = ["package", "project"].iter().map(|name| &value[*name]);
        if let Some(package) = sections.find(|section| section.is_object()) {
            manifest.package = Some(package["name"].as_str().unwrap_or_default().to_owned());
            manifest.root = package["workspace"].as_str().map(str::to_owned);
            let programs = value["bin"].as_array().into_iter().flatten();
            let paths = programs.chain([&value["lib"]]).map(|target| &target["path"]);
            let fields = package.as_object().into_iter().flatten().map(|(_, field)| field);
            manifest.inherits =
                !manifest.inherited.is_empty() || fields.chain([&value["lints"]]).any(is_inherited);
            manifest.sources = paths.chain([&package["build"]]).flat_map(texts).collect();
        }
        manifest.workspace = value["workspace"].as_object().map(|_| {
            let workspace = &value["workspace"];
            let path = |(name, dependency): (&String, &Value)| {
                Some((name.clone(), dependency["path"].as_str()?.to_owned()))
            };
            WorkspaceTable {
                dependencies: entries(&workspace["dependencies"]).filter_map(path).collect(),
                members: texts(&workspace["members"]).collect(),
                exclude: texts(&workspace["exclude"]).collect(),
            }
        });
        Ok(manifest)
    }
}

impl WorkspaceTable {
    /// Returns true if the crate in `dir`, relative to the root, is not part of the workspace, by the rule of Cargo: `exclude`
    /// applies to each folder that `members` does not name.
    pub(crate) fn excludes(&self, dir: &Utf8Path) -> bool {
        let is_below = |folders: &[String]| {
            let mut folders = folders.iter().map(|folder| folder.trim_start_matches("./"));
            folders.any(|folder| dir.starts_with(folder))
        };
        is_below(&self.exclude) && !is_below(&self.members)
    }
}

/// Returns the dependencies by path in a table `[patch]`, which has a table for each registry.
pub(crate) fn patches_in(value: &Value) -> impl Iterator<Item = PathDependency> {
    let patched = entries(value).flat_map(|(_, registry)| entries(registry));
    patched.filter_map(|(name, dependency)| path_dependency(name, dependency))
}

/// Returns the text of a value, or the texts of a list.
pub(crate) fn texts(value: &Value) -> impl Iterator<Item = String> {
    let items = value.as_array().into_iter().flatten().chain([value]);
    items.filter_map(Value::as_str).map(str::to_owned)
}

fn is_inherited(field: &Value) -> bool {
    field["workspace"] == true
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn path_dependency(name: &str, dependency: &Value) -> Option<PathDependency> {
    Some(PathDependency { name: name.to_owned(), path: dependency["path"].as_str()?.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> CargoManifest {
        CargoManifest::parse(text).expect("valid")
    }

    fn paths(dependencies: &BTreeSet<PathDependency>) -> Vec<String> {
        dependencies.iter().map(|found| format!("{}={}", found.name, found.path)).collect()
    }

    #[test]
    fn dependencies_that_affect_the_output() {
        let manifest = parse(
            "[package]\nname = 'api'\nbuild = 'build/main.rs'\n\
             [lib]\npath = '../lib.rs'\n[[bin]]\nname = 'a'\npath = 'a.rs'\n[[bin]]\nname = 'b'\n\
             [dependencies]\na = { path = '../a' }\nb = { path = '../b', version = '1', optional = true }\n\
             c = { package = 'other', path = '../c' }\nserde = '1'\nd.workspace = true\n\
             [dependencies.e]\npath = '../e'\n[build-dependencies]\nf = { path = '../f' }\n\
             [dev-dependencies]\ng = { path = '../g' }\n[dev-dependencies.h]\nworkspace = true\n\
             [target.'cfg(unix)'.dependencies]\na = { path = '../unix' }\n\
             [target.wasm32-unknown-unknown.build-dependencies]\ni = { workspace = true, features = ['x'] }\n\
             [target.x.dev-dependencies]\nj = { path = '../j' }\n",
        );
        assert_eq!(
            paths(&manifest.path_dependencies),
            ["a=../a", "a=../unix", "b=../b", "c=../c", "e=../e", "f=../f"]
        );
        assert_eq!(manifest.inherited.iter().collect::<Vec<_>>(), ["d", "i"]);
        assert_eq!(
            manifest.sources.iter().collect::<Vec<_>>(),
            ["../lib.rs", "a.rs", "build/main.rs"]
        );
        assert_eq!((manifest.package.as_deref(), manifest.workspace), (Some("api"), None));
    }

    #[test]
    fn roots_of_workspaces() {
        let manifest = parse(
            "[workspace]\nmembers = ['api', 'lib/*']\nexclude = ['./old', 'api']\n\
             [workspace.dependencies]\na = { path = 'lib/a' }\nserde = { version = '1' }\nrand = '0.9'\n\
             [patch.crates-io]\nx = { path = 'forks/x' }\ny = { git = 'https://example.com/y' }\n\
             [patch.'https://example.com/z']\nz = { path = 'forks/z' }\n[replace]\n'w:1.0.0' = { path = 'forks/w' }\n",
        );
        assert_eq!(paths(&manifest.patches), ["w:1.0.0=forks/w", "x=forks/x", "z=forks/z"]);
        assert_eq!(manifest.package, None);
        let table = manifest.workspace.expect("a workspace");
        assert_eq!(table.dependencies, BTreeMap::from([("a".to_owned(), "lib/a".to_owned())]));
        for (dir, excluded) in [("old/x", true), ("api", false), ("older", false)] {
            assert_eq!(table.excludes(Utf8Path::new(dir)), excluded, "{dir}");
        }
    }

    #[test]
    fn fields_that_the_root_defines() {
        for (text, inherits) in [
            ("[package]\nname = 'a'\nversion.workspace = true\n", true),
            ("[package]\nname = 'a'\n[lints]\nworkspace = true\n", true),
            ("[package]\nname = 'a'\n[dependencies]\nb.workspace = true\n", true),
            ("[package]\nname = 'a'\nworkspace = '..'\nversion = '1.0.0'\n", false),
            ("[package]\nname = 'a'\n[lints.rust]\nunsafe_code = 'deny'\n", false),
        ] {
            assert_eq!(parse(text).inherits, inherits, "{text}");
        }
    }

    #[test]
    fn only_the_syntax_is_checked() {
        for text in ["", "package = 1\ndependencies = []\nworkspace = 'x'\ntarget = 1\npatch = 2\n"]
        {
            assert_eq!(parse(text), CargoManifest::default(), "{text}");
        }
        let text = "[package]\nname = 1\nbuild = false\n[dependencies]\na = { path = 1 }\n";
        let name_less = CargoManifest { package: Some(String::new()), ..CargoManifest::default() };
        assert_eq!(parse(text), name_less);
        assert_eq!(parse("\u{feff}[project]\nname = 'a'\n").package.as_deref(), Some("a"));
        let error = CargoManifest::parse("[package]\nname =\n").expect_err("an error");
        assert!(error.ends_with("on line 2"), "{error}");
    }
}
