//! `doctor pins`: every pinned version, the file that defines it, and whether the other files with
//! this version agree.

use camino::{Utf8Path, Utf8PathBuf};
use serde::Serialize;
use serde_json::Value;
use workspace::modules;
use workspace::toolchain::{Toolchain, locked_version, parse_lock};

use base::error::{Exit, Result};
use base::terminal::{CYAN, DIM, GREEN, RED, paint};
use workspace::config::{CONFIG_FILE, Config};

/// The pipeline file, which is generated from the config.
const PIPELINE: &str = ".gitlab-ci.yml";

/// The file name shown for a pin that is compiled into this program.
const CARRIED: &str = "this version of xtask";

/// A version in one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PinnedVersion {
    /// The file, relative to the root.
    pub file: Utf8PathBuf,
    /// The version in that file.
    pub version: String,
}

/// A pinned version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pin {
    /// The name of the tool.
    pub name: String,
    /// The file that defines it.
    #[serde(flatten)]
    pub own: PinnedVersion,
    /// The other files with this version.
    pub elsewhere: Vec<PinnedVersion>,
}

impl Pin {
    fn new(name: impl Into<String>, file: impl Into<Utf8PathBuf>, version: &str) -> Pin {
        let own = PinnedVersion { file: file.into(), version: version.to_owned() };
        Pin { name: name.into(), own, elsewhere: Vec::new() }
    }

    fn also(mut self, file: impl Into<Utf8PathBuf>, version: Option<String>) -> Pin {
        self.elsewhere.extend(version.map(|version| PinnedVersion { file: file.into(), version }));
        self
    }

    /// Returns the files with another version.
    pub fn differing(&self) -> impl Iterator<Item = &PinnedVersion> {
        self.elsewhere.iter().filter(|stated| stated.version != self.own.version)
    }
}

/// All pins.
#[derive(Debug, Serialize)]
pub struct Pins {
    schema: u32,
    exit: u8,
    pins: Vec<Pin>,
}

impl Pins {
    /// Reads the pins of the repository at `root`, and of the packages in these folders. Leaves out those that it does
    /// not have.
    pub fn read(root: &Utf8Path, folders: &[&str]) -> Result<Pins> {
        let config = Config::load(root)?;
        let pipeline = text(root, PIPELINE);
        let after = |key| after(&pipeline, key);
        let mut pins = packages(root, modules::WRANGLER_TOOLCHAIN);
        pins.push(bun(root, &config));
        if let Some(version) = between(&text(root, "rust-toolchain.toml"), "channel = \"", "\"") {
            pins.push(Pin::new("Rust toolchain", "rust-toolchain.toml", &version));
        }
        if let Some(version) = between(&text(root, "Cargo.toml"), "rust-version = \"", "\"") {
            pins.push(Pin::new("Rust, at least", "Cargo.toml", &version));
        }
        let dagger = Pin::new("Dagger CLI and engine", CONFIG_FILE, &config.tools.dagger);
        pins.push(dagger.also(PIPELINE, after("DAGGER_VERSION:")));
        pins.extend(modules(root));
        pins.push(Pin::new("image of Bun", CONFIG_FILE, &config.images.bun));
        let raw: Value = serde_json::from_str(&text(root, CONFIG_FILE)).unwrap_or_default();
        let file = |key: &str| match raw["pipeline"][key] {
            Value::Null => CARRIED,
            _ => CONFIG_FILE,
        };
        let settings = &config.pipeline;
        let image = Pin::new("image of jobs", file("image"), &settings.image);
        pins.push(image.also(PIPELINE, after("image:")));
        if settings.has_dagger() && settings.shared_engine().is_none() {
            let image = Pin::new("image of Docker", file("dockerImage"), &settings.docker_image);
            pins.push(image.also(PIPELINE, after("- name:")));
        }
        pins.extend(folders.iter().flat_map(|dir| packages(root, dir)));
        Ok(Pins { schema: 1, exit: exit(&pins) as u8, pins })
    }

    /// Returns the exit code: 0 if all agree.
    #[must_use]
    pub fn exit(&self) -> Exit {
        exit(&self.pins)
    }

    /// Returns the table for people.
    #[must_use]
    pub fn text(&self) -> String {
        let width = |of: fn(&Pin) -> &str| self.pins.iter().map(|pin| of(pin).len()).max();
        let name = width(|pin| &pin.name).unwrap_or(0);
        let version = width(|pin| &pin.own.version).unwrap_or(0);
        let mut table = String::new();
        for pin in &self.pins {
            let differing: Vec<&PinnedVersion> = pin.differing().collect();
            let mark = if differing.is_empty() { paint(GREEN, "✓") } else { paint(RED, "✗") };
            let PinnedVersion { file, version: own } = &pin.own;
            let place = paint(DIM, file.as_str());
            table += &format!("{mark} {:name$}  {own:version$}  {place}\n", pin.name);
            for stated in &differing {
                table += &format!("    {} says {}\n", stated.file, stated.version);
            }
        }
        let (total, wrong) = (self.pins.len(), wrong(&self.pins));
        if wrong == 0 {
            return format!("{table}{total} pins, and every other file agrees\n");
        }
        let fix = "write the version of the table into the file below it; \
                   `cargo xtask ci generate` writes .gitlab-ci.yml, an install a lock file";
        format!("{table}{} {fix}\n{total} pins, of which {wrong} differ\n", paint(CYAN, "fix:"))
    }
}

/// Returns the number of pins that another file contradicts.
fn wrong(pins: &[Pin]) -> usize {
    pins.iter().filter(|pin| pin.differing().next().is_some()).count()
}

fn exit(pins: &[Pin]) -> Exit {
    if wrong(pins) == 0 { Exit::Done } else { Exit::Failed }
}

/// Reads the pin of Bun. The config defines it, and npm installs the version in the toolchain's manifest.
#[must_use]
pub fn bun(root: &Utf8Path, config: &Config) -> Pin {
    let manifest = format!("{}/package.json", modules::BUN_TOOLCHAIN);
    let toolchain = Toolchain::bun(root);
    let stated: Value =
        toolchain.manifest().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    let stated = stated["dependencies"]["bun"].as_str().map(str::to_owned);
    let manifest = if toolchain.is_carried() { CARRIED.to_owned() } else { manifest };
    // A tag may be less specific than a version: `oven/bun:1`, `oven/bun:latest`.
    let tag =
        config.images.bun.strip_prefix("oven/bun:").and_then(|tag| tag.split(['-', '@']).next());
    let tag = tag.filter(|tag| tag.split('.').count() == 3).map(str::to_owned);
    Pin::new("Bun", CONFIG_FILE, &config.tools.bun)
        .also(manifest, Some(stated.unwrap_or_else(|| "nothing".to_owned())))
        .also(
            format!("{}/package-lock.json", modules::BUN_TOOLCHAIN),
            locked_versions(root, modules::BUN_TOOLCHAIN, "bun"),
        )
        .also(format!("{CONFIG_FILE} (images.bun)"), tag)
}

/// Reads the oldest engine that the modules support. All of them must name the same.
fn modules(root: &Utf8Path) -> Option<Pin> {
    let required = |module: &str| {
        let file = format!("{module}/dagger.json");
        let version = json(root, &file)["engineVersion"].as_str()?.to_owned();
        Some(PinnedVersion { file: file.into(), version })
    };
    let own = required(modules::CONFIG)?;
    let others = modules::MODULES.into_iter().filter(|module| *module != modules::CONFIG);
    let elsewhere = others.filter_map(required).collect();
    Some(Pin { name: "Dagger modules, at least".to_owned(), own, elsewhere })
}

/// Returns the dependencies of the manifest in `dir`, each with its version in the lock file of the
/// folder.
fn packages(root: &Utf8Path, dir: &str) -> Vec<Pin> {
    let manifest = json(root, &format!("{dir}/package.json"));
    let kinds = ["dependencies", "devDependencies"].map(|kind| manifest[kind].as_object());
    let named = kinds.into_iter().flatten().flatten();
    let pin = |(name, version): (&String, &Value)| {
        let version = version.as_str()?;
        // An alias: `npm:wrangler@4.60.0`.
        let version = version
            .strip_prefix("npm:")
            .and_then(|alias| Some(alias.rsplit_once('@')?.1))
            .unwrap_or(version);
        let pin = Pin::new(name, format!("{dir}/package.json"), version);
        Some(pin.also(format!("{dir}/bun.lock"), locked_versions(root, dir, name)))
    };
    named.filter_map(pin).collect()
}

/// Returns the version of a package in the lock file of `dir`: Bun's, else npm's.
fn locked_versions(root: &Utf8Path, dir: &str, name: &str) -> Option<String> {
    let lock = |file: &str| parse_lock(&text(root, &format!("{dir}/{file}")));
    ["bun.lock", "package-lock.json"]
        .into_iter()
        .find_map(|file| locked_version(&lock(file)?, name))
}

fn text(root: &Utf8Path, file: &str) -> String {
    std::fs::read_to_string(root.join(file)).unwrap_or_default()
}

fn json(root: &Utf8Path, file: &str) -> Value {
    serde_json::from_str(&text(root, file)).unwrap_or_default()
}

fn between(text: &str, start: &str, end: &str) -> Option<String> {
    Some(text.split_once(start)?.1.split_once(end)?.0.to_owned())
}

/// Returns the value of the first line of YAML that starts with `key`.
fn after(text: &str, key: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.trim_start().strip_prefix(key))?;
    Some(value.trim().trim_matches('"').to_owned())
}
