//! Checks the Dagger modules that a run loads: those that xtask calls, those of projects, and their
//! dependencies.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value;

use crate::doctor::context::Context;
use crate::doctor::finding::Finding;
use base::version::Version;
use deployment::tools::program::which;
use workspace::config::ContainerUpload;
use workspace::git;
use workspace::modules::{BUN, CLOUDFLARE, is_local};

/// The manifest of each module, or the reason why it cannot be read, by the module's folder relative to the root.
pub type Modules = BTreeMap<Utf8PathBuf, Result<Value, String>>;

/// The modules that a run loads.
#[must_use]
pub fn read(context: &Context) -> Modules {
    let own = context.projects().unwrap_or_default().iter().filter(|project| project.module);
    let mut waiting: Vec<Utf8PathBuf> = own.map(|project| project.dir.clone()).collect();
    let is_by_api =
        context.config().is_ok_and(|config| config.dagger.upload == ContainerUpload::Api);
    // Without the upload by a module, a repository needs the shared ones only for its own scripts.
    let is_there = |dir: &Utf8PathBuf| context.root.join(dir).join("dagger.json").is_file();
    let shared = [BUN, CLOUDFLARE].map(Utf8PathBuf::from).into_iter();
    waiting.extend(shared.filter(|dir| !is_by_api || is_there(dir)));
    let mut found = Modules::new();
    while let Some(dir) = waiting.pop() {
        if found.contains_key(&dir) {
            continue;
        }
        let manifest = manifest(&context.root, &dir);
        if let Ok(manifest) = &manifest {
            let dependencies = manifest["dependencies"].as_array().into_iter().flatten();
            let sources = dependencies.filter_map(|dependency| dependency["source"].as_str());
            waiting.extend(
                sources
                    .filter(|source| is_local(source))
                    .map(|source| join(&dir, Utf8Path::new(source))),
            );
        }
        found.insert(dir, manifest);
    }
    found
}

fn manifest(root: &Utf8Path, dir: &Utf8Path) -> Result<Value, String> {
    let text = std::fs::read_to_string(root.join(dir).join("dagger.json"))
        .map_err(|_| "has no dagger.json, so it is not a Dagger module".to_owned())?;
    serde_json::from_str(&text).map_err(|error| format!("dagger.json: {error}"))
}

/// Returns `source` relative to `dir`, normalized if possible.
fn join(dir: &Utf8Path, source: &Utf8Path) -> Utf8PathBuf {
    let mut path = dir.to_owned();
    for part in source.components().map(|part| part.as_str()) {
        let inside = path.file_name().is_some();
        match part {
            "." => {}
            ".." if inside => drop(path.pop()),
            part => path.push(part),
        }
    }
    path
}

/// Returns the problems of `modules` with the CLI's version `cli`.
#[must_use]
pub fn problems(root: &Utf8Path, modules: &Modules, cli: Option<&str>) -> Vec<Finding> {
    let cli = cli.and_then(Version::find);
    let look = |(dir, manifest): (&Utf8PathBuf, &Result<Value, String>)| {
        if dir.starts_with("..") {
            return Some(
                Finding::warn(format!("{dir} lies outside of the git repository"))
                    .manual_fix("Dagger loads local modules from inside of the repository alone"),
            );
        }
        let manifest = match manifest {
            Ok(manifest) => manifest,
            Err(reason) => return Some(Finding::warn(format!("{dir} {reason}"))),
        };
        let required = manifest["engineVersion"].as_str().and_then(Version::find);
        if let (Some(required), Some(cli)) = (required, cli)
            && required > cli
        {
            return Some(
                Finding::warn(format!("{dir} needs an engine from {required}, the CLI is {cli}"))
                    .manual_fix("update the CLI, or lower `engineVersion` in dagger.json"),
            );
        }
        // Dagger excludes ignored files from the source of a module.
        let file = dir.join("dagger.json");
        let ignored = which("git").is_some() && git::is_ignored(root, &file).unwrap_or(false);
        ignored
            .then(|| Finding::warn(format!("{file} is ignored by git, so Dagger does not load it")))
    };
    modules.iter().filter_map(look).collect()
}

/// The functions that scripts call.
const FUNCTIONS: [&str; 4] = ["BUILD", "DEPLOY", "PREVIEW", "UPLOAD"];

/// The arguments of the constructor of the Cloudflare module.
const CONSTRUCTOR: [&str; 3] = ["ACCOUNT", "API", "ENVIRONMENT"];

/// Finds the `.env` files that set arguments of `modules`. In a module's own file, Dagger uses
/// variables called `<FUNCTION>_<ARGUMENT>` as defaults. In a parent folder, it uses
/// `<MODULE>_<FUNCTION>_<ARGUMENT>`. Case does not matter
/// (<https://docs.dagger.io/0.20.2/features/local-defaults/>). Arguments of constructors have no
/// function in their names. Only those of the Cloudflare module are listed here.
#[must_use]
pub fn env_files(root: &Utf8Path, modules: &Modules) -> Vec<Finding> {
    let mut found = BTreeMap::new();
    for (dir, manifest) in modules {
        let Ok(manifest) = manifest else { continue };
        let module = manifest["name"].as_str().unwrap_or_default();
        for above in dir.ancestors() {
            let file = above.join(".env");
            let Ok(text) = std::fs::read_to_string(root.join(&file)) else { continue };
            let module_prefix = if above == dir { String::new() } else { format!("{module}_") };
            let sets = |name: &str| {
                let name = name.to_uppercase();
                let rest = name.strip_prefix(&module_prefix.to_uppercase().replace('-', "_"));
                let argument = |function: &&str| rest?.strip_prefix(*function)?.strip_prefix('_');
                let is_of_constructor = module == "cloudflare"
                    && CONSTRUCTOR.iter().any(|argument| rest == Some(*argument));
                is_of_constructor || FUNCTIONS.iter().any(|function| argument(function).is_some())
            };
            let names: Vec<String> = variables(&text).filter(|name| sets(name)).collect();
            if !names.is_empty() {
                found.insert((file, module.to_owned()), names);
            }
        }
    }
    let say = |((file, module), names): ((Utf8PathBuf, String), Vec<String>)| {
        Finding::warn(format!(
            "{file}: Dagger reads {} as arguments of the module `{module}`",
            names.join(", ")
        ))
        .manual_fix(
            "rename them: a build or a deployment would be another one than its script says",
        )
    };
    found.into_iter().map(say).collect()
}

/// Returns the names in the text of a `.env` file.
fn variables(text: &str) -> impl Iterator<Item = String> {
    text.lines().filter_map(|line| {
        let line = line.trim();
        let line = line.strip_prefix("export ").unwrap_or(line);
        line.split_once('=').map(|(name, _)| name.trim().to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolves_dependencies_from_their_module() {
        for (dir, source, path) in [
            ("projects/a/site", "../../../dagger/config", "dagger/config"),
            ("dagger/bun", "../config", "dagger/config"),
            ("dagger", "../../elsewhere", "../elsewhere"),
            ("dagger/bun", "./inner", "dagger/bun/inner"),
        ] {
            assert_eq!(join(Utf8Path::new(dir), Utf8Path::new(source)), path);
        }
    }
}
