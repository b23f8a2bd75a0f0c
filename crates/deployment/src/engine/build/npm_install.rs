//! Remembers what `npm ci` installed. `npm ci` deletes all packages and installs them again, also if they are those of
//! the lock file. The other package managers keep them by themselves.

use std::collections::BTreeMap;
use std::time::SystemTime;

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value;

use workspace::key;
use workspace::package::INSTALL_SCRIPTS;

/// The file with the digest of an install, which `npm ci` deletes with everything else.
const DIGEST: &str = "node_modules/.xtask-install";

/// npm's own list of the installed packages.
const PACKAGE_LIST: &str = "node_modules/.package-lock.json";

/// An install of npm.
#[derive(Debug)]
pub(crate) struct NpmInstall {
    /// The folder of the lock file, absolute.
    dir: Utf8PathBuf,
    /// A digest of everything that the result depends on.
    digest: String,
    /// The folders of the packages that every install has, relative to `dir`.
    packages: Vec<String>,
}

impl NpmInstall {
    /// Describes the install of `lock` in `dir`. `facts` are what else it depends on, such as the version of Node. `None` if
    /// an install does more than the lock file says.
    pub(crate) fn new(
        dir: &Utf8Path,
        lock: &str,
        mut facts: BTreeMap<&str, String>,
    ) -> Option<NpmInstall> {
        let text = std::fs::read_to_string(dir.join(lock)).ok()?;
        let document: Value = serde_json::from_str(&text).ok()?;
        let entries = document["packages"].as_object()?;
        let mut manifests = String::new();
        let mut packages = Vec::new();
        for (path, entry) in entries {
            // The content of a local archive may change without the lock file.
            let is_local_archive =
                entry["resolved"].as_str().is_some_and(|from| from.starts_with("file:"));
            if is_local_archive {
                return None;
            }
            if path.split('/').any(|part| part == "node_modules") {
                // An optional package may be for another system.
                let may_be_missing = entry["optional"] == true || entry["devOptional"] == true;
                if !may_be_missing && entry["link"] != true {
                    packages.push(path.clone());
                }
                continue;
            }
            let manifest = std::fs::read_to_string(dir.join(path).join("package.json")).ok()?;
            let parsed: Value = serde_json::from_str(&manifest).ok()?;
            if INSTALL_SCRIPTS.iter().any(|name| parsed["scripts"][name].is_string()) {
                return None;
            }
            manifests += &format!("{path}\n{manifest}\n");
        }
        let settings = std::fs::read_to_string(dir.join(".npmrc")).unwrap_or_default();
        facts.extend([("lock", text), ("manifests", manifests), ("settings", settings)]);
        let digest = key::digest::<&Utf8Path>(&BTreeMap::new(), &facts);
        Some(NpmInstall { dir: dir.to_owned(), digest, packages })
    }

    /// Returns true if the same install ended well here, and no package or file of one was added or removed since.
    pub(crate) fn is_current(&self) -> bool {
        let path = self.dir.join(DIGEST);
        let is_same = std::fs::read_to_string(&path).is_ok_and(|digest| digest == self.digest);
        let Some(ended) = change_time(&path).filter(|_| is_same) else { return false };
        let mut paths = self.packages.iter().map(String::as_str).chain([PACKAGE_LIST]);
        paths.all(|path| change_time(&self.dir.join(path)).is_some_and(|changed| changed <= ended))
    }

    /// Remembers that the install ended well. An install without any package has no folder for it.
    pub(crate) fn remember(&self) {
        // Without the file, the next run installs again.
        let _ignored = std::fs::write(self.dir.join(DIGEST), &self.digest);
    }
}

fn change_time(path: &Utf8Path) -> Option<SystemTime> {
    std::fs::symlink_metadata(path).ok()?.modified().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = r#"{ "packages": {
        "": { "name": "root", "workspaces": ["a"] }, "a": { "name": "a" },
        "node_modules/a": { "resolved": "a", "link": true },
        "node_modules/b": { "version": "1.0.0" }, "node_modules/c": { "version": "1.0.0", "optional": true } } }"#;

    /// Writes an installed workspace.
    fn workspace(name: &str) -> Utf8PathBuf {
        let temporary = Utf8PathBuf::from_path_buf(std::env::temp_dir()).expect("UTF-8");
        let dir = temporary.join(format!("xtask-npm-{}-{name}", std::process::id()));
        for (path, text) in [
            ("package-lock.json", LOCK),
            ("package.json", "{}"),
            ("a/package.json", "{}"),
            ("node_modules/.package-lock.json", "{}"),
            ("node_modules/b/package.json", "{}"),
        ] {
            let path = dir.join(path);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            std::fs::write(path, text).expect("a file");
        }
        dir
    }

    fn install(dir: &Utf8Path) -> Option<NpmInstall> {
        NpmInstall::new(dir, "package-lock.json", BTreeMap::new())
    }

    /// A change after which the packages have to be installed again.
    type Change = fn(&Utf8Path);

    #[test]
    fn packages_are_kept_until_something_changes() {
        let changes: [(&str, Change); 7] = [
            ("another lock", |dir| {
                let text = LOCK.replace("1.0.0", "1.0.1");
                std::fs::write(dir.join("package-lock.json"), text).expect("a file");
            }),
            ("another manifest", |dir| {
                std::fs::write(dir.join("a/package.json"), r#"{ "name": "a" }"#).expect("a file");
            }),
            ("a setting", |dir| {
                std::fs::write(dir.join(".npmrc"), "omit=dev\n").expect("a file");
            }),
            ("a missing package", |dir| {
                std::fs::remove_dir_all(dir.join("node_modules/b")).expect("removable");
            }),
            ("another file in a package", |dir| touch_later(&dir.join("node_modules/b"))),
            ("another install", |dir| touch_later(&dir.join(PACKAGE_LIST))),
            ("a script", |dir| {
                let text = r#"{ "scripts": { "prepare": "node a.js" } }"#;
                std::fs::write(dir.join("a/package.json"), text).expect("a file");
            }),
        ];
        for (name, change) in changes {
            let dir = workspace(&name.replace(' ', "-"));
            let before = install(&dir).expect("an install");
            assert!(!before.is_current(), "{name}: nothing was remembered yet");
            before.remember();
            assert!(install(&dir).expect("an install").is_current(), "{name}");
            change(&dir);
            assert!(!install(&dir).is_some_and(|now| now.is_current()), "{name}");
            std::fs::remove_dir_all(dir).expect("removable");
        }
    }

    /// Gives a path a time after everything that was written.
    fn touch_later(path: &Utf8Path) {
        let later = SystemTime::now() + std::time::Duration::from_secs(5);
        let file = std::fs::File::open(path).expect("an open file");
        file.set_modified(later).expect("a time");
    }

    #[test]
    fn local_archives_are_installed_each_time() {
        let dir = workspace("archive");
        let text = LOCK.replace(r#""version": "1.0.0" }, "#, r#""resolved": "file:b.tgz" }, "#);
        std::fs::write(dir.join("package-lock.json"), text).expect("a file");
        assert!(install(&dir).is_none());
        std::fs::remove_dir_all(dir).expect("removable");
    }
}
