//! The pins of wrangler and of Bun: those of the repository if it has them, else those that are
//! compiled into this program. A repository that only uses xtask has none. `cargo dev generate` copies those of this
//! repository into `pins/`, so that the crate is complete.

use camino::{Utf8Path, Utf8PathBuf};
use ring::digest::{SHA256, digest};
use serde_json::Value;

use crate::config::modules::{BUN_TOOLCHAIN, WRANGLER_TOOLCHAIN};
use crate::config::{CONFIG_FILE, Images, Tools};
use crate::files::config_text::parse_jsonc;
use crate::files::key::hex;
use base::error::{Result, refused};

/// The variable that sets the folder of installed tools, so that several checkouts can share it.
pub const TOOLS_VARIABLE: &str = "XTASK_TOOLS";

const MANIFEST: &str = "package.json";

/// The name and the text of a file.
type File = (&'static str, &'static str);

/// The lock file of wrangler and its workerd.
pub(crate) const WRANGLER_LOCK: &str = include_str!("../../pins/wrangler.bun.lock");

const WRANGLER: [File; 2] =
    [(MANIFEST, include_str!("../../pins/wrangler.package.json")), ("bun.lock", WRANGLER_LOCK)];

const BUN: [File; 2] = [
    (MANIFEST, include_str!("../../pins/bun.package.json")),
    ("package-lock.json", include_str!("../../pins/bun.package-lock.json")),
];

/// The config of xtask, whose versions are the defaults.
pub const CONFIG: &str = include_str!("../../pins/config.json");

/// A folder with a `package.json` and a lock file that pin a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toolchain {
    /// The folder, absolute. wrangler is installed in it.
    pub dir: Utf8PathBuf,
    name: &'static str,
    /// The folder of the repository for the pin, even if it does not exist.
    own: &'static str,
    /// The pin that is compiled into this program.
    compiled: &'static [File; 2],
    /// True if the repository has no pin, so that the compiled one is in use.
    is_carried: bool,
}

impl Toolchain {
    /// Returns the pin of wrangler for the repository at `root`.
    #[must_use]
    pub fn wrangler(root: &Utf8Path) -> Toolchain {
        Toolchain::new(root, WRANGLER_TOOLCHAIN, "wrangler", &WRANGLER)
    }

    /// Returns the pin of Bun, which npm installs.
    #[must_use]
    pub fn bun(root: &Utf8Path) -> Toolchain {
        Toolchain::new(root, BUN_TOOLCHAIN, "bun", &BUN)
    }

    fn new(
        root: &Utf8Path,
        own: &'static str,
        name: &'static str,
        compiled: &'static [File; 2],
    ) -> Toolchain {
        let dir = root.join(own);
        if dir.join(MANIFEST).is_file() {
            return Toolchain { dir, name, own, compiled, is_carried: false };
        }
        let version = version(compiled[0].1, name).unwrap_or_default();
        let dir = tools_folder(root).join(format!("{name}-{version}"));
        Toolchain { dir, name, own, compiled, is_carried: true }
    }

    /// Returns the pin for an install in `dir`.
    #[must_use]
    pub fn at(self, dir: Utf8PathBuf) -> Toolchain {
        Toolchain { dir, ..self }
    }

    /// Returns the text of the manifest. `None` if the repository's cannot be read.
    #[must_use]
    pub fn manifest(&self) -> Option<String> {
        self.text(0)
    }

    /// Returns the text of the lock file. `None` if the repository's cannot be read.
    #[must_use]
    pub fn lock(&self) -> Option<String> {
        self.text(1)
    }

    /// Returns the path of the lock file.
    #[must_use]
    pub fn lock_file(&self) -> Utf8PathBuf {
        self.dir.join(self.lock_name())
    }

    /// Returns the pinned version. `None` if the manifest cannot be read or names none.
    #[must_use]
    pub fn version(&self) -> Option<String> {
        version(&self.manifest()?, self.name)
    }

    /// Returns the path of the manifest in the repository, whether it exists or not.
    #[must_use]
    pub fn own_manifest(&self) -> Utf8PathBuf {
        Utf8Path::new(self.own).join(MANIFEST)
    }

    /// Returns the path of the lock file in the repository, even if it does not exist.
    #[must_use]
    pub fn own_lock(&self) -> Utf8PathBuf {
        Utf8Path::new(self.own).join(self.lock_name())
    }

    /// Returns the manifest with another version of the tool.
    #[must_use]
    pub fn manifest_with(&self, version: &str) -> Option<String> {
        let text = self.manifest()?;
        let mut manifest: Value = serde_json::from_str(&text).ok()?;
        let old = manifest["dependencies"][self.name].as_str().map(|old| format!("\"{old}\""));
        manifest["dependencies"][self.name] = version.into();
        // If the version occurs once, the formatting is kept.
        let replaced = old
            .filter(|old| text.matches(old.as_str()).count() == 1)
            .map(|old| text.replace(&old, &format!("\"{version}\"")));
        replaced.or_else(|| Some(serde_json::to_string_pretty(&manifest).ok()? + "\n"))
    }

    /// Refuses a pin whose lock file has another version, because an install would ignore the pin. The error names
    /// both files.
    pub fn check(&self) -> Result<()> {
        if self.is_carried {
            return Ok(());
        }
        // A unit test checks the pins that are compiled in. Most repositories have the same, and parsing a lock file
        // takes longer than all else that a run checks.
        let [manifest, lock] = self.compiled.map(|(_, text)| Some(text));
        if self.manifest().as_deref() == manifest && self.lock().as_deref() == lock {
            return Ok(());
        }
        self.compare()
    }

    /// Compares the manifest with the lock file.
    fn compare(&self) -> Result<()> {
        let (manifest_path, lock_path) = (self.own_manifest(), self.own_lock());
        let (name, version) = (self.name, self.version());
        let upgrade = format!(
            "`cargo xtask upgrade {name} {}`",
            version.as_deref().filter(|text| is_exact(text)).unwrap_or("VERSION")
        );
        let problem = |message: String| {
            refused(message)
                .hint(format!("run {upgrade}, which writes the pin and its lock file"))
                .hint(format!("or restore both with `git checkout -- {}`", self.own))
        };
        let Some(version) = version else {
            return Err(problem(format!("{manifest_path} names no version of {name}")));
        };
        if !is_exact(&version) {
            return Err(problem(format!(
                "{manifest_path} pins {name} as `{version}`, which is not an exact version"
            )));
        }
        let Some(lock) = self.lock() else {
            return Err(problem(format!("{lock_path} cannot be read, so {name} is not locked")));
        };
        let Some(lock) = parse_lock(&lock) else {
            return Err(problem(format!("{lock_path} is not a valid lock file")));
        };
        let locked = locked_version(&lock, name);
        if locked.as_ref() != Some(&version) {
            let locked = locked.unwrap_or_else(|| "no version".to_owned());
            return Err(problem(format!(
                "{manifest_path} pins {name} {version}, but {lock_path} locks {locked}"
            )));
        }
        let manifest: Value = serde_json::from_str(&self.manifest().unwrap_or_default())
            .map_err(|error| problem(format!("{manifest_path}: {error}")))?;
        let requests = [&lock["workspaces"][""], &lock["packages"][""]]
            .into_iter()
            .find_map(|root| root.get("dependencies"));
        if requests != Some(&manifest["dependencies"]) {
            return Err(problem(format!(
                "the dependencies in {manifest_path} are others than those in {lock_path}"
            )));
        }
        Ok(())
    }

    fn text(&self, index: usize) -> Option<String> {
        let (name, text) = self.compiled[index];
        if self.is_carried {
            return Some(text.to_owned());
        }
        std::fs::read_to_string(self.dir.join(name)).ok()
    }

    fn lock_name(&self) -> &'static str {
        self.compiled[1].0
    }

    /// Returns true if the pin is compiled into this program, because the repository has none.
    #[must_use]
    pub fn is_carried(&self) -> bool {
        self.is_carried
    }

    /// Returns the files to write before an install, with their content: those of a compiled-in pin
    /// that are missing or differ.
    #[must_use]
    pub fn unwritten(&self) -> Vec<(Utf8PathBuf, &'static str)> {
        self.carried_files()
            .filter(|(path, text)| std::fs::read_to_string(path).ok().as_deref() != Some(*text))
            .collect()
    }

    /// Returns the files of a compiled-in pin with their content.
    pub fn carried_files(&self) -> impl Iterator<Item = (Utf8PathBuf, &'static str)> {
        let files = self.compiled.iter().filter(|_| self.is_carried);
        files.map(|&(name, text)| (self.dir.join(name), text))
    }

    /// Returns the digest of a compiled-in lock file for the content key. `None` if the pin is a file
    /// of the repository, which is already part of the key.
    #[must_use]
    pub fn carried_digest(&self) -> Option<String> {
        let (_, lock) = self.compiled[1];
        self.is_carried.then(|| hex(digest(&SHA256, lock.as_bytes()).as_ref()))
    }
}

/// Refuses pins of wrangler and of Bun that do not match their lock files, and a config with another version of Bun
/// than the repository's own pin.
pub fn check(root: &Utf8Path, tools: &Tools) -> Result<()> {
    Toolchain::wrangler(root).check()?;
    let bun = Toolchain::bun(root);
    bun.check()?;
    match bun.version().filter(|_| !bun.is_carried()) {
        Some(version) if version != tools.bun => Err(refused(format!(
            "{CONFIG_FILE} pins Bun {}, but {} pins {version}",
            tools.bun,
            bun.own_manifest()
        ))
        .hint(format!(
            "run `cargo xtask upgrade bun {}`, which writes all of its pins",
            tools.bun
        ))),
        _ => Ok(()),
    }
}

/// Parses a lock file of Bun or npm. `None` if it is corrupt.
#[must_use]
pub fn parse_lock(text: &str) -> Option<Value> {
    parse_jsonc(text).ok()
}

/// Returns the version of a package in a lock file of Bun or npm.
#[must_use]
pub fn locked_version(lock: &Value, name: &str) -> Option<String> {
    let packages = &lock["packages"];
    let bun = packages[name][0].as_str().and_then(|entry| entry.rsplit_once('@'));
    let npm = || packages[format!("node_modules/{name}")]["version"].as_str();
    bun.map(|(_, version)| version).or_else(npm).map(str::to_owned)
}

/// Returns true if a text is one version, such as `4.164.0` or `2.0.0-rc.1`, and not a range or tag.
#[must_use]
pub fn is_exact(text: &str) -> bool {
    let (numbers, prerelease) = text.split_once('-').map_or((text, None), |(a, b)| (a, Some(b)));
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let is_word = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    numbers.split('.').count() == 3
        && numbers.split('.').all(is_number)
        && prerelease.is_none_or(|words| words.split('.').all(is_word))
}

/// Returns the folder of our own installs.
#[must_use]
pub fn tools_folder(root: &Utf8Path) -> Utf8PathBuf {
    let moved = base::env::variable(TOOLS_VARIABLE);
    moved.map_or_else(|| root.join(".xtask/tools"), Utf8PathBuf::from)
}

/// Returns the default versions of `tools`.
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

/// Returns the defaults of `images`.
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
    fn embedded_pins_match_each_other() {
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

    /// A pin that was changed in only one of its files is refused, because an install would ignore it.
    #[test]
    fn refuses_a_lock_file_that_does_not_match() {
        let temporary = Utf8PathBuf::from_path_buf(std::env::temp_dir()).expect("UTF-8");
        let root = temporary.join(format!("xtask-toolchain-{}", std::process::id()));
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(path, text).expect("a file");
        };
        let (manifest, lock) =
            ("dagger/cloudflare/toolchain/package.json", "dagger/cloudflare/toolchain/bun.lock");
        let pinned = version(WRANGLER[0].1, "wrangler").expect("a version");
        let other = |text: &str, version: &str| text.replace(&pinned, version);
        let message = || match check(&root, &default_tools()) {
            Ok(()) => "fits".to_owned(),
            Err(failure) => format!("{}\n{}", failure.message, failure.hints.join("\n")),
        };
        assert_eq!(message(), "fits", "carried pins");
        write(manifest, WRANGLER[0].1);
        write(lock, WRANGLER[1].1);
        assert_eq!(message(), "fits");
        Toolchain::wrangler(&root).compare().expect("compiled-in pins fit");
        write(manifest, &other(WRANGLER[0].1, "9.9.9"));
        assert_eq!(
            message(),
            format!(
                "{manifest} pins wrangler 9.9.9, but {lock} locks {pinned}\n\
                 run `cargo xtask upgrade wrangler 9.9.9`, which writes the pin and its lock file\n\
                 or restore both with `git checkout -- dagger/cloudflare/toolchain`"
            )
        );
        let first = |message: &str| message.lines().next().unwrap_or_default().to_owned();
        write(manifest, &other(WRANGLER[0].1, &format!("^{pinned}")));
        assert_eq!(
            first(&message()),
            format!("{manifest} pins wrangler as `^{pinned}`, which is not an exact version")
        );
        write(
            manifest,
            &WRANGLER[0]
                .1
                .replace("\"wrangler\": ", "\"left-pad\": \"1.3.0\",\n    \"wrangler\": "),
        );
        assert_eq!(
            first(&message()),
            format!("the dependencies in {manifest} are others than those in {lock}")
        );
        write(manifest, "{}");
        assert_eq!(first(&message()), format!("{manifest} names no version of wrangler"));
        write(manifest, WRANGLER[0].1);
        write(lock, "<<<<<<< ours");
        assert_eq!(first(&message()), format!("{lock} is not a valid lock file"));
        std::fs::remove_file(root.join(lock)).expect("removable");
        assert_eq!(first(&message()), format!("{lock} cannot be read, so wrangler is not locked"));
        write(lock, WRANGLER[1].1);
        write("dagger/bun/toolchain/package.json", BUN[0].1);
        write("dagger/bun/toolchain/package-lock.json", BUN[1].1);
        assert_eq!(message(), "fits");
        Toolchain::bun(&root).compare().expect("compiled-in pins fit");
        let bun = default_tools().bun;
        let tools = Tools { bun: "1.0.0".to_owned(), ..default_tools() };
        let failure = check(&root, &tools).expect_err("another Bun");
        assert_eq!(
            failure.with_hints(),
            format!(
                "{CONFIG_FILE} pins Bun 1.0.0, but dagger/bun/toolchain/package.json pins {bun}\n\
                 hint: run `cargo xtask upgrade bun 1.0.0`, which writes all of its pins"
            )
        );
        let lock = BUN[1].1.replace(&format!("\"version\": \"{bun}\""), "\"version\": \"1.0.0\"");
        write("dagger/bun/toolchain/package-lock.json", &lock);
        assert!(
            message().starts_with("dagger/bun/toolchain/package.json pins bun"),
            "{}",
            message()
        );
        std::fs::remove_dir_all(root).expect("removable");
    }

    #[test]
    fn versions_are_exact_or_not() {
        for (text, expected) in [
            ("4.164.0", true),
            ("2.0.0-rc.1", true),
            ("^4.0.0", false),
            ("latest", false),
            ("4.164", false),
            ("4.164.0-", false),
            ("4.x.0", false),
            ("", false),
        ] {
            assert_eq!(is_exact(text), expected, "{text}");
        }
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
