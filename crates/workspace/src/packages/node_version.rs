//! Finds the version of Node that a repository asks for.

use camino::Utf8Path;
use serde_json::Value;

use super::installation::{Installation, Tool, node_package};
use super::manifest::read_manifest;
use super::package::Package;
use super::package_manager::PackageManager;
use crate::config::Tools;
use crate::config::cargo_config;
use crate::config::toolchain::is_exact;
use base::error::{Result, refused};

/// The versions of Node to install if a range is required and PATH has no matching one.
pub(super) const NODE_VERSIONS: [&str; 6] =
    ["24.22.3", "22.23.5", "20.20.2", "26.12.1", "18.20.8", "16.20.2"];

/// The versions of Node that pnpm 11 accepts.
pub(super) const NODE_OF_PNPM_11: &str = ">=22.13";

/// The versions of Node that wrangler accepts. Also the accepted ones of a project that pins none: frameworks of today need
/// them too, and older ones no longer get fixes.
pub(super) const NODE_OF_WRANGLER: &str = ">=22.12";

/// Files that name a version of Node. The last three are those of asdf and mise.
const NODE_FILES: [&str; 5] =
    [".node-version", ".nvmrc", ".tool-versions", "mise.toml", ".mise.toml"];

/// The names of the releases with long-term support, as nvm knows them, with their major versions.
const LTS: [(&str, &str); 11] = [
    ("argon", "4"),
    ("boron", "6"),
    ("carbon", "8"),
    ("dubnium", "10"),
    ("erbium", "12"),
    ("fermium", "14"),
    ("gallium", "16"),
    ("hydrogen", "18"),
    ("iron", "20"),
    ("jod", "22"),
    ("krypton", "24"),
];

/// Returns the Node for commands of wrangler that start workerd. Bun cannot run them (observed with Bun 1.4.5 and
/// wrangler 4.164: each response is a 503).
#[must_use]
pub fn node_of_wrangler() -> Tool {
    Tool::new("node", &node_package(), NODE_VERSIONS[0], Some(NODE_OF_WRANGLER))
}

/// Returns the accepted versions of Node if the project pins none.
pub(super) fn any_node(installation: Option<&Installation>) -> &'static str {
    let pnpm = installation.filter(|install| install.manager == PackageManager::Pnpm);
    let major = pnpm.and_then(|install| install.tool.version.split('.').next()?.parse().ok());
    if major.is_some_and(|major: u32| major >= 11) { NODE_OF_PNPM_11 } else { NODE_OF_WRANGLER }
}

/// Returns the Node that the scripts of `package` run on. `any` are the accepted versions if the project pins none.
pub(super) fn node(
    root: &Utf8Path,
    package: &Package,
    tools: &Tools,
    any: &'static str,
) -> Result<Tool> {
    let package_name = node_package();
    let exact = |version: &str| Tool::new("node", &package_name, version, None);
    if let Some(version) = &tools.node {
        return Ok(exact(version));
    }
    let files = package.dir.ancestors().flat_map(|dir| NODE_FILES.map(|name| dir.join(name)));
    for path in files {
        let Ok(text) = std::fs::read_to_string(root.join(&path)) else { continue };
        let Some(wanted) = requested_node(&path, &text) else { continue };
        if is_exact(&wanted) {
            return Ok(exact(&wanted));
        }
        return within(&package_name, &wanted, path.as_str());
    }
    // Most workspaces have it in their root alone.
    let engine = package.dir.ancestors().find_map(|dir| {
        let manifest = read_manifest(root, dir)?;
        let range = node_field(&manifest)?;
        Some((dir.join("package.json"), range.to_owned()))
    });
    match engine {
        Some((_, version)) if is_exact(&version) => Ok(exact(&version)),
        Some((path, range)) => within(&package_name, &range, path.as_str()),
        None => Ok(Tool::new("node", &package_name, NODE_VERSIONS[0], Some(any))),
    }
}

/// Returns the version or the major version of Node in one of [`NODE_FILES`]. `None` if the file has none, or an alias such
/// as `lts/*`.
fn requested_node(path: &Utf8Path, text: &str) -> Option<String> {
    let wanted = match path.file_name() {
        Some(".tool-versions") => lines(text).find_map(|line| {
            let mut words = line.split_whitespace();
            words.next().filter(|name| NODE_NAMES.contains(name))?;
            words.next().map(str::to_owned)
        }),
        Some("mise.toml" | ".mise.toml") => version_of_mise(text),
        _ => lines(text).next().map(str::to_owned),
    }?;
    // asdf and mise write `latest:22` and `lts-jod`, nvm and fnm `lts/jod`.
    let wanted = wanted.trim_start_matches("latest:").trim_start_matches('v').to_ascii_lowercase();
    if wanted.starts_with(|c: char| c.is_ascii_digit()) {
        return Some(wanted);
    }
    let name = wanted.trim_start_matches("lts").trim_start_matches(['/', '-']);
    LTS.iter().find(|(lts, _)| *lts == name).map(|(_, major)| (*major).to_owned())
}

/// The names of Node in the files of asdf and mise.
const NODE_NAMES: [&str; 2] = ["nodejs", "node"];

/// Returns the lines of a file that are not empty, without comments.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    lines.filter(|line| !line.is_empty())
}

/// Returns the version in `[tools]` of mise: a text, the first one of a list, or the field `version`.
fn version_of_mise(text: &str) -> Option<String> {
    let config = cargo_config::parse(text)?;
    let tools = &config["tools"];
    let tool = NODE_NAMES.into_iter().map(|name| &tools[name]).find(|tool| !tool.is_null())?;
    let first = tool.as_array().and_then(|list| list.first()).unwrap_or(tool);
    let version = first.as_str().or_else(|| first["version"].as_str())?;
    Some(version.trim().to_owned())
}

/// Returns the version or range of Node in a `package.json`: `devEngines.runtime`, Volta's pin or `engines`.
fn node_field(manifest: &Value) -> Option<&str> {
    let runtime = &manifest["devEngines"]["runtime"];
    let mut runtimes =
        runtime.as_array().map_or(std::slice::from_ref(runtime), Vec::as_slice).iter();
    runtimes
        .find(|runtime| runtime["name"] == "node")
        .and_then(|runtime| runtime["version"].as_str())
        .or_else(|| manifest["volta"]["node"].as_str())
        .or_else(|| manifest["engines"]["node"].as_str())
}

/// Returns Node in any version of `range`.
fn within(package: &str, range: &str, file: &str) -> Result<Tool> {
    let fits = |version: &&&str| crate::range::satisfies(range, Some(version));
    let version = NODE_VERSIONS.iter().find(fits).ok_or_else(|| {
        refused(format!("{file} asks for Node `{range}`, and no version that xtask knows fits"))
            .hint("name an exact version: `\"tools\": { \"node\": \"22.23.5\" }` in dagger/config/config.json")
    })?;
    Ok(Tool::new("node", package, version, Some(range)))
}
