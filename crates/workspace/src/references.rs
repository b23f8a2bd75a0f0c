//! Reads the paths in configs that lead out of a folder: a wrangler config's entry point, assets
//! and images, and the `extends` of a `tsconfig.json`.

use std::collections::BTreeSet;

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value;

use super::config_text::parse_jsonc;
use super::files::Source;
use super::graph::normalize;
use super::wrangler::WranglerConfig;

/// The names of the TypeScript configs that are read in a folder.
pub const TSCONFIGS: [&str; 2] = ["tsconfig.json", "jsconfig.json"];

/// The maximum number of configs that one config is followed through.
const MAX_CONFIGS: usize = 50;

/// Returns the paths of a wrangler config that lead out of `dir`, relative to the repository's root: each
/// file or folder that wrangler reads for its Worker.
#[must_use]
pub fn of_wrangler(config: &WranglerConfig, dir: &Utf8Path) -> BTreeSet<Utf8PathBuf> {
    let mut found = BTreeSet::new();
    let mut add = |value: &Value, folder: bool| {
        let Some(path) = value.as_str().and_then(|path| normalize(&dir.join(path))) else { return };
        // Code and a Dockerfile read files next to them.
        let path =
            if folder { path.parent().map(Utf8Path::to_owned).unwrap_or(path) } else { path };
        if !path.starts_with(dir) {
            found.insert(path);
        }
    };
    let blocks = config.value["env"].as_object().into_iter().flatten().map(|(_, block)| block);
    for block in std::iter::once(&config.value).chain(blocks) {
        add(&block["main"], true);
        add(&block["assets"]["directory"], false);
        add(&block["site"]["bucket"], false);
        add(&block["site"]["entry-point"], true);
        add(&block["tsconfig"], false);
        add(&block["base_dir"], false);
        add(&block["build"]["cwd"], false);
        let watched = &block["build"]["watch_dir"];
        watched.as_array().into_iter().flatten().chain([watched]).for_each(|path| add(path, false));
        for container in block["containers"].as_array().into_iter().flatten() {
            // An image of a registry is not a path: it begins with neither `.` nor `/`.
            let image = &container["image"];
            if image.as_str().is_some_and(is_dockerfile) {
                add(image, true);
            }
            add(&container["image_build_context"], false);
        }
        for section in ["wasm_modules", "text_blobs", "data_blobs", "alias"] {
            let values = block[section].as_object().into_iter().flatten();
            for (_, value) in values.filter(|(_, value)| value.as_str().is_some_and(is_relative)) {
                add(value, false);
            }
        }
        for database in block["d1_databases"].as_array().into_iter().flatten() {
            add(&database["migrations_dir"], false);
        }
    }
    found
}

fn is_relative(path: &str) -> bool {
    path.starts_with("./") || path.starts_with("../")
}

fn is_dockerfile(image: &str) -> bool {
    is_relative(image) || image.rsplit('/').next().is_some_and(|name| name.contains("Dockerfile"))
}

/// The files and folders that a TypeScript config refers to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct TypeScript {
    /// The configs that it extends, directly or through others, and the folders of its references.
    pub paths: BTreeSet<Utf8PathBuf>,
    /// The packages whose configs it extends, by name.
    pub packages: BTreeSet<String>,
    /// The target folders of `compilerOptions.paths`, because bundlers read code there.
    pub code: BTreeSet<Utf8PathBuf>,
}

impl TypeScript {
    /// Follows `extends`, `references` and `paths` of the config at `path`.
    #[must_use]
    pub fn follow(files: &Source, path: &Utf8Path) -> TypeScript {
        let mut found = TypeScript::default();
        let mut waiting = vec![path.to_owned()];
        let mut seen = BTreeSet::new();
        while let Some(at) = waiting.pop() {
            if seen.len() >= MAX_CONFIGS || !seen.insert(at.clone()) {
                continue;
            }
            let Some(config) = files.read(&at).ok().and_then(|text| parse_jsonc(&text).ok()) else {
                continue;
            };
            let folder = at.parent().unwrap_or(Utf8Path::new(""));
            let extends = &config["extends"];
            let extended = extends.as_array().into_iter().flatten().chain([extends]);
            for name in extended.filter_map(Value::as_str) {
                if !is_relative(name) && name != ".." && name != "." {
                    found.packages.extend(package_of(name).map(str::to_owned));
                } else if let Some(base) = find(files, folder, name) {
                    found.paths.insert(base.clone());
                    waiting.push(base);
                }
            }
            found.code.extend(code_folders(files, &config["compilerOptions"], folder));
            // References of an extended config are not inherited.
            let references = if at == path { config["references"].as_array() } else { None };
            let references = references.into_iter().flatten();
            for name in references.filter_map(|reference| reference["path"].as_str()) {
                if let Some(to) = normalize(&folder.join(name)).filter(|to| files.exists(to)) {
                    found.paths.insert(to);
                }
            }
        }
        found
    }
}

/// Returns the target folders of `compilerOptions.paths` of a config in `folder`, without those of dependencies.
fn code_folders(files: &Source, options: &Value, folder: &Utf8Path) -> Vec<Utf8PathBuf> {
    let base = folder.join(options["baseUrl"].as_str().unwrap_or_default());
    let targets = options["paths"].as_object().into_iter().flatten().map(|(_, targets)| targets);
    let targets = targets.filter_map(Value::as_array).flatten().filter_map(Value::as_str);
    let folder_of = |target: &str| {
        let path = normalize(&base.join(target.split('*').next().unwrap_or_default()))?;
        let is_whole = target.ends_with("/*") || files.is_folder(&path);
        if is_whole { Some(path) } else { path.parent().map(Utf8Path::to_owned) }
    };
    let folders = targets.filter(|target| !target.contains("node_modules")).filter_map(folder_of);
    folders.filter(|path| files.exists(path)).collect()
}

/// Resolves a relative `extends`, with or without its extension.
fn find(files: &Source, folder: &Utf8Path, name: &str) -> Option<Utf8PathBuf> {
    let base = normalize(&folder.join(name))?;
    let with_extension = Utf8PathBuf::from(format!("{base}.json"));
    [base.clone(), with_extension, base.join("tsconfig.json")]
        .into_iter()
        .find(|path| files.is_file(path))
}

/// Returns the package name in `name/tsconfig.json` or `@scope/name/base`.
fn package_of(name: &str) -> Option<&str> {
    let mut slashes = name.match_indices('/').map(|(at, _)| at);
    let end = if name.starts_with('@') { slashes.nth(1) } else { slashes.next() };
    Some(&name[..end.unwrap_or(name.len())]).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_a_wrangler_config() {
        let text = r#"{ "name": "a", "main": "../../worker/src/index.ts", "tsconfig": "../../tsconfig.worker.json",
            "assets": { "directory": "../site/dist" }, "site": { "bucket": "./public" },
            "containers": [{ "image": "../../images/api/Dockerfile" }, { "image": "registry.example.com/x:1" },
                           { "image": "./Dockerfile", "image_build_context": "../.." }],
            "alias": { "x": "../shim/x.ts", "y": "yes" },
            "env": { "production": { "assets": { "directory": "../other" } } } }"#;
        let config = WranglerConfig::parse(Utf8Path::new("wrangler.json"), text).expect("valid");
        let found = of_wrangler(&config, Utf8Path::new("apps/shop"));
        let found: Vec<&str> = found.iter().map(|path| path.as_str()).collect();
        let expected = [
            "",
            "apps/other",
            "apps/shim/x.ts",
            "apps/site/dist",
            "images/api",
            "tsconfig.worker.json",
            "worker/src",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn packages_of_configs() {
        for (name, expected) in [
            ("@acme/tsconfig/base.json", Some("@acme/tsconfig")),
            ("@acme/tsconfig", Some("@acme/tsconfig")),
            ("tsconfig/base", Some("tsconfig")),
            ("", None),
        ] {
            assert_eq!(package_of(name), expected, "{name}");
        }
    }
}
