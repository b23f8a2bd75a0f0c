//! `deny.toml` as values, and what it says of a graph of crates. A key that is not read here is an
//! error: what the file says is checked or refused, never passed over.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use spdx::{Expression, Licensee, ParseMode};

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    graph: Graph,
    licenses: Licenses,
    bans: Bans,
    sources: Sources,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Graph {
    all_features: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Licenses {
    allow: Vec<String>,
    #[serde(default)]
    exceptions: Vec<Exception>,
    /// The confidence that cargo-deny needs in a licence's text. Only cargo-deny reads it.
    #[serde(rename = "confidence-threshold")]
    _confidence_threshold: f64,
    private: Private,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Exception {
    #[serde(rename = "crate")]
    name: String,
    allow: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Private {
    ignore: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Bans {
    multiple_versions: Level,
    wildcards: Level,
    /// `true` allows a dependency by path without a version.
    #[serde(default)]
    allow_wildcard_paths: bool,
    deny: Vec<BannedCrate>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BannedCrate {
    #[serde(rename = "crate")]
    name: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Sources {
    unknown_registry: Level,
    unknown_git: Level,
    #[serde(default = "crates_io")]
    allow_registry: Vec<String>,
    #[serde(default)]
    allow_git: Vec<String>,
}

fn crates_io() -> Vec<String> {
    vec!["https://github.com/rust-lang/crates.io-index".to_owned()]
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Allow,
    Warn,
    Deny,
}

/// The output of `cargo metadata`, as far as the policy needs it.
#[derive(Debug, Deserialize)]
pub struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Debug, Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
struct Node {
    id: String,
    dependencies: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
    /// The registries it may be published to; an empty list makes it private.
    publish: Option<Vec<String>>,
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
    req: String,
    #[serde(default)]
    path: Option<String>,
}

/// The findings: errors fail, warnings are shown.
#[derive(Debug, Default)]
pub struct Findings {
    /// The violations of the policy.
    pub errors: Vec<String>,
    /// The warnings.
    pub warnings: Vec<String>,
    /// The number of crates that were checked.
    pub crates: usize,
}

impl Findings {
    fn add(&mut self, level: Level, text: String) {
        match level {
            Level::Allow => {}
            Level::Warn => self.warnings.push(text),
            Level::Deny => self.errors.push(text),
        }
    }
}

impl Policy {
    /// Reads the text of a `deny.toml`.
    pub fn parse(text: &str) -> Result<Policy, String> {
        toml::from_str(text).map_err(|error| format!("deny.toml: {error}"))
    }

    /// The arguments that `cargo metadata` needs for this graph.
    pub fn graph_arguments(&self) -> &'static [&'static str] {
        if self.graph.all_features { &["--all-features"] } else { &[] }
    }

    /// Checks every crate.
    pub fn check(&self, metadata: &Metadata) -> Findings {
        let mut found = Findings { crates: metadata.packages.len(), ..Findings::default() };
        let mut unused: BTreeSet<&str> = self.licenses.allow.iter().map(String::as_str).collect();
        for package in &metadata.packages {
            let Package { name, version, .. } = package;
            if let Err(problem) = self.license(package, &mut unused) {
                found.errors.push(format!("{name} {version}: {problem}"));
            }
            if self.bans.deny.iter().any(|banned| banned.name == *name) {
                found.errors.push(format!("{name} {version} is denied"));
            }
            let wild = package.dependencies.iter().filter(|dependency| {
                let is_allowed = self.bans.allow_wildcard_paths && dependency.path.is_some();
                dependency.req == "*" && !is_allowed
            });
            for wild in wild {
                let text = format!("{name} {version}: any version of {} will do", wild.name);
                found.add(self.bans.wildcards, text);
            }
            self.source(package, &mut found);
        }
        self.duplicates(metadata, &mut found);
        let unused = unused.iter().map(|license| format!("no crate needs the licence {license}"));
        found.warnings.extend(unused);
        found
    }

    fn license<'a>(
        &'a self,
        package: &Package,
        unused: &mut BTreeSet<&'a str>,
    ) -> Result<(), String> {
        if self.licenses.private.ignore && package.publish.as_ref().is_some_and(Vec::is_empty) {
            return Ok(());
        }
        let text = package.license.as_deref().ok_or("it names no licence")?;
        let expression = Expression::parse_mode(text, ParseMode::LAX)
            .map_err(|error| format!("`{text}` is no licence expression: {}", error.reason))?;
        let own = self.licenses.exceptions.iter().filter(|one| one.name == package.name);
        let mut allowed = Vec::new();
        for name in self.licenses.allow.iter().chain(own.flat_map(|one| &one.allow)) {
            let license = Licensee::parse(name)
                .map_err(|error| format!("deny.toml: `{name}` is no licence: {}", error.reason))?;
            allowed.push((name.as_str(), license));
        }
        let is_allowed = expression.evaluate(|wanted| {
            let by = allowed.iter().find(|(_, license)| license.satisfies(wanted));
            if let Some((name, _)) = by {
                unused.remove(name);
            }
            by.is_some()
        });
        if is_allowed { Ok(()) } else { Err(format!("`{text}` is not allowed")) }
    }

    fn source(&self, package: &Package, found: &mut Findings) {
        let Some(source) = &package.source else { return };
        // A git source carries its branch and its commit: git+ADDRESS?branch=NAME#COMMIT.
        let (kind, address) = source.split_once('+').unwrap_or(("", source));
        let address = address.split(['?', '#']).next().unwrap_or(address);
        let (level, allowed) = match kind {
            "git" => (self.sources.unknown_git, &self.sources.allow_git),
            _ => (self.sources.unknown_registry, &self.sources.allow_registry),
        };
        if !allowed.iter().any(|one| one == address) {
            found.add(level, format!("{} {} is from {source}", package.name, package.version));
        }
    }

    fn duplicates(&self, metadata: &Metadata, found: &mut Findings) {
        let mut versions: BTreeMap<&str, BTreeMap<&str, &str>> = BTreeMap::new();
        for package in &metadata.packages {
            let versions = versions.entry(&package.name).or_default();
            versions.insert(&package.version, &package.id);
        }
        for (name, versions) in versions.into_iter().filter(|(_, versions)| versions.len() > 1) {
            let versions = versions
                .iter()
                .map(|(version, id)| format!("{version} for {}", few(&metadata.dependents(id))));
            let text = format!("{name} {}", versions.collect::<Vec<_>>().join(", "));
            found.add(self.bans.multiple_versions, text);
        }
    }
}

/// The names, or how many they are.
fn few(names: &[&str]) -> String {
    if names.len() <= 3 { names.join(" and ") } else { format!("{} crates", names.len()) }
}

impl Metadata {
    /// The names of the crates that depend on the one with this id.
    fn dependents(&self, id: &str) -> Vec<&str> {
        let on = |node: &&Node| node.dependencies.iter().any(|one| one == id);
        let ids: Vec<&str> =
            self.resolve.nodes.iter().filter(on).map(|node| node.id.as_str()).collect();
        let named = self.packages.iter().filter(|package| ids.contains(&package.id.as_str()));
        named.map(|package| package.name.as_str()).collect()
    }
}
