//! Reads what a TypeScript config leads to: the configs that it extends, its references, and the code that its `paths`
//! and `baseUrl` map names to.

use std::collections::BTreeSet;

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value;

use crate::files::Source;
use crate::files::config_text::parse_jsonc;
use crate::files::paths::normalize;
use crate::graph::imports::ImportMapping;
use crate::graph::references::is_relative;

/// The most configs that one config is followed through.
const MAX_CONFIGS: usize = 50;

/// The variable that means the folder of the config that extends the others.
const CONFIG_DIR: &str = "${configDir}";

/// The files that the TypeScript config of a folder leads to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct TypeScript {
    /// The configs that it extends, directly or through others, and the folders of its references.
    pub paths: BTreeSet<Utf8PathBuf>,
    /// The packages whose configs it extends, by name.
    pub packages: BTreeSet<String>,
    /// The folder of each config and its `compilerOptions`. The first extends the others.
    configs: Vec<(Utf8PathBuf, Value)>,
}

impl TypeScript {
    /// Follows `extends` and `references` of the config at `path`.
    #[must_use]
    pub fn follow(files: &Source, path: &Utf8Path) -> TypeScript {
        let mut found = TypeScript::default();
        let mut waiting = vec![path.to_owned()];
        let mut seen = BTreeSet::new();
        while let Some(at) = waiting.pop() {
            if seen.len() >= MAX_CONFIGS || !seen.insert(at.clone()) {
                continue;
            }
            let Some(mut config) = files.read(&at).ok().and_then(|text| parse_jsonc(&text).ok())
            else {
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
            // References of what is extended are not inherited.
            let references = if at == path { config["references"].as_array() } else { None };
            let references = references.into_iter().flatten();
            for name in references.filter_map(|reference| reference["path"].as_str()) {
                if let Some(to) = normalize(&folder.join(name)).filter(|to| files.exists(to)) {
                    found.paths.insert(to);
                }
            }
            found.configs.push((folder.to_owned(), config["compilerOptions"].take()));
        }
        found
    }

    /// Returns the names that `paths` and `baseUrl` map to code, for the code in `dir`. The imports of that code tell which
    /// of them are used. Names that a config in `dir` maps to code in `dir` are left out, because that code counts anyway.
    #[must_use]
    pub fn mappings(&self, files: &Source, dir: &Utf8Path) -> Vec<ImportMapping> {
        let mut mappings = Vec::new();
        let own = self.configs.first().map_or(Utf8Path::new(""), |(folder, _)| folder);
        let at = |folder: &Utf8Path, path: &str| match path.strip_prefix(CONFIG_DIR) {
            Some(rest) => own.join(rest.trim_start_matches('/')),
            None => folder.join(path),
        };
        let mut configs = self.configs.iter();
        let base_url =
            configs.find_map(|(folder, options)| Some(at(folder, options["baseUrl"].as_str()?)));
        for (folder, options) in &self.configs {
            let base = base_url.as_ref().unwrap_or(folder);
            for (name, targets) in options["paths"].as_object().into_iter().flatten() {
                let targets = targets.as_array().into_iter().flatten().filter_map(Value::as_str);
                let targets = targets.filter(|target| !target.contains("node_modules"));
                let own = Some(dir).filter(|dir| folder.starts_with(dir));
                mappings.extend(
                    targets.filter_map(|target| map_name(files, name, &at(base, target), own)),
                );
            }
        }
        let base = base_url.and_then(|base| normalize(&base));
        if let Some(base) = base.filter(|base| !base.starts_with(dir) && files.exists(base)) {
            mappings.push(ImportMapping::everything(base));
        }
        mappings
    }
}

/// Returns the mapping of a name to `target`, which may have a `*`. `None` if the target is in `own` or in no folder.
fn map_name(
    files: &Source,
    name: &str,
    target: &Utf8Path,
    own: Option<&Utf8Path>,
) -> Option<ImportMapping> {
    let (before, after) = target.as_str().split_once('*').unwrap_or((target.as_str(), ""));
    let path = normalize(Utf8Path::new(before))?;
    let is_folder = before.is_empty() || before.ends_with('/');
    let (folder, start) = match path.file_name() {
        Some(start) if !is_folder => (path.parent()?, start),
        _ => (path.as_path(), ""),
    };
    let is_own = own.is_some_and(|own| path.starts_with(own) || folder.starts_with(own));
    (!is_own && files.exists(folder)).then(|| ImportMapping::new(name, folder, start, after))
}

/// Returns the config that a relative `extends` means, with or without its extension.
fn find(files: &Source, folder: &Utf8Path, name: &str) -> Option<Utf8PathBuf> {
    let base = normalize(&folder.join(name))?;
    let with_extension = Utf8PathBuf::from(format!("{base}.json"));
    [base.clone(), with_extension, base.join("tsconfig.json")]
        .into_iter()
        .find(|path| files.is_file(path))
}

/// Returns the package that `name/tsconfig.json` or `@scope/name/base` is in.
fn package_of(name: &str) -> Option<&str> {
    let mut slashes = name.match_indices('/').map(|(at, _)| at);
    let end = if name.starts_with('@') { slashes.nth(1) } else { slashes.next() };
    Some(&name[..end.unwrap_or(name.len())]).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

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
