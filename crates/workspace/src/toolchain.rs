//! The pins of wrangler and of Bun: those of the repository if it has them, else those that this
//! program carries. A repository that only uses the tool keeps none.

use camino::{Utf8Path, Utf8PathBuf};
use ring::digest::{SHA256, digest};
use serde_json::Value;

use crate::config::{Images, Tools};
use crate::key::hex;
use crate::modules::{BUN_TOOLCHAIN, WRANGLER_TOOLCHAIN};

/// The variable that moves the folder of our own installs, so that several checkouts can share it.
pub const TOOLS_VARIABLE: &str = "XTASK_TOOLS";

const MANIFEST: &str = "package.json";

/// A file by its name and text.
type File = (&'static str, &'static str);

const WRANGLER: [File; 2] = [
    (MANIFEST, include_str!("../../../dagger/cloudflare/toolchain/package.json")),
    ("bun.lock", include_str!("../../../dagger/cloudflare/toolchain/bun.lock")),
];

const BUN: [File; 2] = [
    (MANIFEST, include_str!("../../../dagger/bun/toolchain/package.json")),
    ("package-lock.json", include_str!("../../../dagger/bun/toolchain/package-lock.json")),
];

/// The config that this tool comes with, whose versions are the defaults.
const CONFIG: &str = include_str!("../../../dagger/config/config.json");

/// A folder with a `package.json` and a lock file that pin a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toolchain {
    /// The folder, absolute. wrangler is installed in it.
    pub dir: Utf8PathBuf,
    carried: Option<&'static [File; 2]>,
    lock: &'static str,
}

impl Toolchain {
    /// Returns the pin of wrangler for the repository at `root`.
    #[must_use]
    pub fn wrangler(root: &Utf8Path) -> Toolchain {
        Toolchain::new(root, WRANGLER_TOOLCHAIN, "wrangler", &WRANGLER)
    }

    /// Returns the pin of Bun, by which npm installs it.
    #[must_use]
    pub fn bun(root: &Utf8Path) -> Toolchain {
        Toolchain::new(root, BUN_TOOLCHAIN, "bun", &BUN)
    }

    fn new(root: &Utf8Path, dir: &str, name: &str, carried: &'static [File; 2]) -> Toolchain {
        let lock = carried[1].0;
        let own = root.join(dir);
        if own.join(MANIFEST).is_file() {
            return Toolchain { dir: own, carried: None, lock };
        }
        let version = version(carried[0].1, name).unwrap_or_default();
        let dir = tools_folder(root).join(format!("{name}-{version}"));
        Toolchain { dir, carried: Some(carried), lock }
    }

    /// Returns the same pin for an install in `dir`.
    #[must_use]
    pub fn at(self, dir: Utf8PathBuf) -> Toolchain {
        Toolchain { dir, ..self }
    }

    /// Returns the text of the manifest. `None` if the repository's cannot be read.
    #[must_use]
    pub fn manifest(&self) -> Option<String> {
        self.text(0, MANIFEST)
    }

    /// Returns the text of the lock file. `None` if the repository's cannot be read.
    #[must_use]
    pub fn lock(&self) -> Option<String> {
        self.text(1, self.lock)
    }

    /// Returns the path of the lock file.
    #[must_use]
    pub fn lock_file(&self) -> Utf8PathBuf {
        self.dir.join(self.lock)
    }

    fn text(&self, index: usize, name: &str) -> Option<String> {
        match self.carried {
            Some(files) => Some(files[index].1.to_owned()),
            None => std::fs::read_to_string(self.dir.join(name)).ok(),
        }
    }

    /// Tells whether this program carries the pin, because the repository has none.
    #[must_use]
    pub fn is_carried(&self) -> bool {
        self.carried.is_some()
    }

    /// Returns the files to write before an install, with their texts: those of a carried pin that are
    /// missing or differ.
    #[must_use]
    pub fn unwritten(&self) -> Vec<(Utf8PathBuf, &'static str)> {
        let files = self.carried.into_iter().flatten();
        files
            .map(|&(name, text)| (self.dir.join(name), text))
            .filter(|(path, text)| std::fs::read_to_string(path).ok().as_deref() != Some(*text))
            .collect()
    }

    /// Returns the digest of a carried lock file, as a fact of the content key. `None` if the pin is a
    /// file of the repository, which the key holds by itself.
    #[must_use]
    pub fn carried_digest(&self) -> Option<String> {
        let files = self.carried?;
        Some(hex(digest(&SHA256, files[1].1.as_bytes()).as_ref()))
    }
}

/// Returns the folder of our own installs.
#[must_use]
pub fn tools_folder(root: &Utf8Path) -> Utf8PathBuf {
    let moved = base::env::variable(TOOLS_VARIABLE);
    moved.map_or_else(|| root.join(".xtask/tools"), Utf8PathBuf::from)
}

/// Returns the versions that a config without `tools` gets.
#[must_use]
pub fn default_tools() -> Tools {
    let field = |name: &str| carried_config("tools", name);
    Tools {
        dagger: field("dagger"),
        bun: field("bun"),
        node: None,
        npm: None,
        pnpm: None,
        yarn: None,
    }
}

/// Returns the images that a config without `images` gets.
#[must_use]
pub fn default_images() -> Images {
    Images { bun: carried_config("images", "bun"), node: None }
}

fn carried_config(section: &str, field: &str) -> String {
    let config: Value = serde_json::from_str(CONFIG).unwrap_or_default();
    config[section][field].as_str().unwrap_or_default().to_owned()
}

fn version(manifest: &str, name: &str) -> Option<String> {
    let manifest: Value = serde_json::from_str(manifest).ok()?;
    manifest["dependencies"][name].as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn carried_pins_fit_each_other() {
        let tools = default_tools();
        let root = Utf8Path::new("/nowhere");
        let bun = Toolchain::bun(root);
        assert!(bun.is_carried());
        assert_eq!(bun.dir, tools_folder(root).join(format!("bun-{}", tools.bun)));
        assert_eq!(default_images().bun, format!("oven/bun:{}", tools.bun));
        let wrangler = Toolchain::wrangler(root);
        let pinned = version(WRANGLER[0].1, "wrangler").expect("a version");
        assert!(wrangler.dir.ends_with(format!("wrangler-{pinned}")));
        let lock = wrangler.lock().expect("carried");
        assert!(lock.contains(&format!("\"wrangler@{pinned}\"")), "{pinned}");
        assert_eq!(wrangler.unwritten().len(), 2);
        assert!(wrangler.carried_digest().is_some());
    }

    #[test]
    fn pins_of_the_repository_win() {
        let root = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the root");
        let wrangler = Toolchain::wrangler(root);
        assert_eq!(wrangler.dir, root.join(WRANGLER_TOOLCHAIN));
        assert_eq!((wrangler.carried_digest(), wrangler.unwritten()), (None, Vec::new()));
        assert_eq!(wrangler.manifest().as_deref(), Some(WRANGLER[0].1));
    }
}
