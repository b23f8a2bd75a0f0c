//! Determines the package manager of a folder, and the Node for its scripts.

use std::collections::BTreeSet;

use camino::{Utf8Path, Utf8PathBuf};

use super::installation::{Installation, PackageToolchain, Tool, bun_package};
use super::manifest::read_manifest;
use super::node_version::{any_node, node};
use super::package::Package;
use super::package_manager::{LOCK_FILES, LockFileKind, PackageManager, manager_field};
use crate::Workspace;
use crate::config::Tools;
use crate::config::toolchain::is_exact;
use crate::files::folder_name;
use crate::settings::steps::Runtime;
use base::error::{Error, Result, refused};

/// Returns the tools that install and build `package`, whose lock file is in its folder or above it.
pub fn toolchain(workspace: &Workspace, package: &Package) -> Result<PackageToolchain> {
    let installation = installation(workspace, package)?;
    toolchain_with(&workspace.root, installation, package, &workspace.config.tools)
}

fn toolchain_with(
    root: &Utf8Path,
    installation: Option<Installation>,
    package: &Package,
    tools: &Tools,
) -> Result<PackageToolchain> {
    let default = installation.as_ref().map_or(Runtime::Bun, |install| install.manager.runtime());
    let runtime = package.settings.runtime.unwrap_or(default);
    let needs_node = runtime == Runtime::Node
        || installation.as_ref().is_some_and(|install| install.manager != PackageManager::Bun);
    let any = any_node(installation.as_ref());
    let node = needs_node.then(|| node(root, package, tools, any)).transpose()?;
    Ok(PackageToolchain { installation, runtime, node })
}

/// Returns the install of `package`. `None` if no lock file is in its folder or above.
pub fn installation(workspace: &Workspace, package: &Package) -> Result<Option<Installation>> {
    let Some(dir) = workspace.lock_folder_on_disk(&package.dir) else { return Ok(None) };
    let mut found = installation_in(&workspace.root, dir, &workspace.config.tools)?;
    found.ignores_workspace =
        found.manager == PackageManager::Pnpm && workspace.is_hidden_by_pnpm_workspace(dir);
    Ok(Some(found))
}

/// Returns the install by the lock file in `dir`.
fn installation_in(root: &Utf8Path, dir: &Utf8Path, tools: &Tools) -> Result<Installation> {
    let locks: Vec<(&'static str, LockFileKind)> = LOCK_FILES
        .iter()
        .filter(|(name, _)| root.join(dir).join(name).is_file())
        .copied()
        .collect();
    let field = read_manifest(root, dir).and_then(|manifest| {
        manager_field(manifest["packageManager"].as_str(), &manifest["devEngines"])
    });
    let named = field.as_deref().and_then(LockFileKind::from_field);
    let kinds: Vec<LockFileKind> = locks.iter().map(|(_, kind)| *kind).collect();
    let Some(kind) = LockFileKind::decide(&kinds, named) else {
        return Err(contradiction(dir, &locks, field.as_deref()));
    };
    let lock = locks.iter().find(|(_, of)| *of == kind).map_or("", |(name, _)| *name);
    let text = std::fs::read_to_string(root.join(dir).join(lock)).unwrap_or_default();
    // The version of a manager that has no lock file here is not that of another one.
    let exact = field.as_deref().filter(|_| named.is_some()).and_then(exact_version);
    let is_yarn = kind == LockFileKind::Yarn;
    let release = is_yarn.then(|| yarn_release(root, dir)).flatten();
    let (manager, tool) = match kind {
        LockFileKind::Bun => {
            let version = exact.unwrap_or_else(|| tools.bun.clone());
            (PackageManager::Bun, Tool::new("bun", &bun_package(), &version, None))
        }
        LockFileKind::Npm => {
            let version = exact.or_else(|| tools.npm.clone());
            (PackageManager::Npm, or_range("npm", "npm", version, ("11.19.1", ">=7")))
        }
        LockFileKind::Pnpm => {
            let version = exact.or_else(|| tools.pnpm.clone());
            (PackageManager::Pnpm, or_range("pnpm", "pnpm", version, pnpm_for(&text)))
        }
        LockFileKind::Yarn => yarn(&text, exact.or_else(|| tools.yarn.clone()), release.as_deref()),
    };
    let dir = dir.to_owned();
    Ok(Installation { dir, manager, lock, tool, release, ignores_workspace: false })
}

/// Returns the version in `pnpm@9.1.0+sha512.ab`. `None` if it is not an exact version.
fn exact_version(field: &str) -> Option<String> {
    let version = field.rsplit_once('@')?.1.split('+').next()?;
    is_exact(version).then(|| version.to_owned())
}

/// Returns the tool in the exact version if there is one, else in any version of a range.
fn or_range(
    name: &'static str,
    package: &str,
    exact: Option<String>,
    (version, range): (&str, &str),
) -> Tool {
    match exact {
        Some(exact) => Tool::new(name, package, &exact, None),
        None => Tool::new(name, package, version, Some(range)),
    }
}

/// Returns the version of pnpm that writes this format of a lock file, and the range of versions that read it.
fn pnpm_for(lock: &str) -> (&'static str, &'static str) {
    let line = lock.lines().find_map(|line| line.strip_prefix("lockfileVersion:"));
    let version = line.unwrap_or_default().trim().trim_matches(['\'', '"']);
    match version.split('.').next() {
        Some("5") => ("7.33.7", ">=6 <8"),
        Some("6") => ("8.15.9", ">=8 <9"),
        _ => ("10.34.8", ">=9 <11"),
    }
}

/// Returns the generation of Yarn and its program. The version is `exact`, else that in the name of `release`, else one that
/// reads the lock file.
fn yarn(lock: &str, exact: Option<String>, release: Option<&Utf8Path>) -> (PackageManager, Tool) {
    let named = release.and_then(Utf8Path::file_stem);
    let named = named.and_then(|stem| stem.strip_prefix("yarn-")).filter(|v| is_exact(v));
    let exact = exact.or_else(|| named.map(str::to_owned));
    let is_berry = match &exact {
        Some(version) => !version.starts_with("1.") && !version.starts_with("0."),
        None => lock.contains("__metadata:"),
    };
    if !is_berry {
        let tool = or_range("yarn", "yarn", exact, ("1.22.22", ">=1 <2"));
        return (PackageManager::YarnClassic, tool);
    }
    let metadata = lock.lines().skip_while(|line| !line.starts_with("__metadata:"));
    let version = metadata.take(3).find_map(|line| line.trim().strip_prefix("version:"));
    let version: u32 = version.and_then(|text| text.trim().parse().ok()).unwrap_or(8);
    let fitting = match version {
        0..=5 => ("2.4.2", ">=2 <3"),
        6 | 7 => ("3.8.6", ">=3 <4"),
        8 => ("4.12.0", ">=4 <4.13"),
        9 => ("4.14.1", ">=4.14 <4.15"),
        _ => ("4.18.1", ">=4.16"),
    };
    (PackageManager::YarnBerry, or_range("yarn", "@yarnpkg/cli-dist", exact, fitting))
}

/// Refuses a lock file of Yarn classic that has no entry for a dependency of `package`, because in a
/// workspace `--frozen-lockfile` does not detect it (observed with 1.22.22). `members` are the packages
/// of the repository, which are in no lock file.
pub fn check_classic_lock(
    root: &Utf8Path,
    installation: &Installation,
    package: &Package,
    members: &dyn Fn(&str) -> bool,
) -> Result<()> {
    let dir = &installation.dir;
    let text = std::fs::read_to_string(root.join(dir).join(installation.lock)).unwrap_or_default();
    let keys = text
        .lines()
        .filter(|line| !line.starts_with([' ', '#']))
        .filter_map(|line| line.strip_suffix(':'));
    let keys: BTreeSet<&str> =
        keys.flat_map(|key| key.split(", ")).map(|key| key.trim_matches('"')).collect();
    let manifest = read_manifest(root, dir).unwrap_or_default();
    let resolutions: Vec<&String> =
        manifest["resolutions"].as_object().into_iter().flat_map(|map| map.keys()).collect();
    let is_locked = |name: &str, range: &str| {
        keys.contains(format!("{name}@{range}").as_str())
            || members(name)
            || resolutions.iter().any(|resolution| resolution.contains(name))
    };
    let manifest = package.dir.join("package.json");
    match package.named_dependencies.iter().find(|(name, range)| !is_locked(name, range)) {
        None => Ok(()),
        Some((name, range)) => Err(refused(format!(
            "{} has no entry for `{name}@{range}`, which {manifest} asks for",
            dir.join(installation.lock)
        ))
        .hint(installation.update_hint())),
    }
}

/// Returns the program in the settings of Yarn in `dir`, relative to `dir`. `None` if it does not exist.
fn yarn_release(root: &Utf8Path, dir: &Utf8Path) -> Option<Utf8PathBuf> {
    let read = |name: &str| std::fs::read_to_string(root.join(dir).join(name)).unwrap_or_default();
    let (berry, classic) = (read(".yarnrc.yml"), read(".yarnrc"));
    let berry = berry.lines().find_map(|line| line.strip_prefix("yarnPath:"));
    let classic = classic.lines().find_map(|line| line.trim().strip_prefix("yarn-path "));
    let path = berry.or(classic)?.trim().trim_matches(['"', '\'']);
    let inside = crate::paths::normalize(&dir.join(path))?;
    let inside = inside.strip_prefix(dir).ok()?.to_owned();
    root.join(dir).join(&inside).is_file().then_some(inside)
}

fn contradiction(
    dir: &Utf8Path,
    locks: &[(&'static str, LockFileKind)],
    field: Option<&str>,
) -> Error {
    let names: Vec<&str> = locks.iter().map(|(name, _)| *name).collect();
    let (dir, names) = (folder_name(dir), names.join(" and "));
    match field {
        Some(field) => refused(format!(
            "{dir} has {names}, but `packageManager` in its package.json is `{field}`"
        ))
        .hint("keep the lock file of that package manager alone"),
        None => refused(format!("{dir} has {names}: it is not clear which one installs"))
            .hint("remove one, or name the manager in its package.json: `\"packageManager\": \"pnpm@10.34.8\"`"),
    }
}

#[cfg(test)]
mod tests {
    use super::PackageManager::{Bun, Npm, Pnpm, YarnBerry, YarnClassic};
    use super::*;
    use crate::packages::node_version::{NODE_OF_PNPM_11, NODE_OF_WRANGLER, NODE_VERSIONS};

    fn tools() -> Tools {
        serde_json::from_str(r#"{ "dagger": "0.21.8", "bun": "1.4.5" }"#).expect("valid")
    }

    /// Returns the manager that installs a folder with these files.
    fn detect(name: &str, files: &[(&str, &str)]) -> Result<PackageToolchain> {
        let temporary = Utf8PathBuf::from_path_buf(std::env::temp_dir()).expect("UTF-8");
        let root = temporary.join(format!("xtask-detect-{}-{name}", std::process::id()));
        for (path, text) in files {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            std::fs::write(path, text).expect("a file");
        }
        let package = |dir: &str| {
            let text = files.iter().find(|(path, _)| *path == format!("{dir}package.json"));
            let dir = Utf8Path::new(dir.trim_end_matches('/'));
            Package::parse(dir, text.map_or("{}", |(_, text)| text)).expect("valid")
        };
        let package = package("apps/a/");
        let has_lock = |dir: &&Utf8Path| {
            LOCK_FILES.iter().any(|(name, _)| root.join(dir).join(name).is_file())
        };
        let nearest = package.dir.ancestors().find(has_lock);
        let install = nearest.map(|dir| installation_in(&root, dir, &tools())).transpose();
        let found = install.and_then(|install| toolchain_with(&root, install, &package, &tools()));
        std::fs::remove_dir_all(root).expect("removable");
        found
    }

    #[test]
    fn lock_files_and_fields_decide() {
        let berry = "__metadata:\n  version: 8\n";
        for (name, files, manager, version, accepts) in [
            ("npm", &[("package-lock.json", "{}")][..], Npm, "11.19.1", Some(">=7")),
            (
                "pnpm9",
                &[("pnpm-lock.yaml", "lockfileVersion: '9.0'\n")],
                Pnpm,
                "10.34.8",
                Some(">=9 <11"),
            ),
            (
                "pnpm6",
                &[("pnpm-lock.yaml", "lockfileVersion: '6.0'\n")],
                Pnpm,
                "8.15.9",
                Some(">=8 <9"),
            ),
            (
                "pnpm5",
                &[("pnpm-lock.yaml", "lockfileVersion: 5.4\n")],
                Pnpm,
                "7.33.7",
                Some(">=6 <8"),
            ),
            (
                "field",
                &[
                    ("pnpm-lock.yaml", ""),
                    ("package-lock.json", "{}"),
                    ("package.json", r#"{"packageManager":"pnpm@9.1.0+sha512.ab"}"#),
                ],
                Pnpm,
                "9.1.0",
                None,
            ),
            (
                "a manager that is not known",
                &[
                    ("pnpm-lock.yaml", "lockfileVersion: '9.0'\n"),
                    ("package.json", r#"{"packageManager":"deno@2.0.0"}"#),
                ],
                Pnpm,
                "10.34.8",
                Some(">=9 <11"),
            ),
            (
                "yarn1",
                &[("yarn.lock", "# yarn lockfile v1\n")],
                YarnClassic,
                "1.22.22",
                Some(">=1 <2"),
            ),
            ("berry", &[("yarn.lock", berry)], YarnBerry, "4.12.0", Some(">=4 <4.13")),
            (
                "berry10",
                &[("yarn.lock", "__metadata:\n  version: 10\n")],
                YarnBerry,
                "4.18.1",
                Some(">=4.16"),
            ),
            (
                "berry3",
                &[("yarn.lock", "__metadata:\n  version: 6\n")],
                YarnBerry,
                "3.8.6",
                Some(">=3 <4"),
            ),
            (
                "yarn-field",
                &[("yarn.lock", berry), ("package.json", r#"{"packageManager":"yarn@4.1.0"}"#)],
                YarnBerry,
                "4.1.0",
                None,
            ),
            (
                "dev-engines",
                &[
                    ("package-lock.json", "{}"),
                    (
                        "package.json",
                        r#"{"devEngines":{"packageManager":{"name":"npm","version":"10.9.0"}}}"#,
                    ),
                ],
                Npm,
                "10.9.0",
                None,
            ),
            (
                "a-list-of-one",
                &[
                    ("pnpm-lock.yaml", "lockfileVersion: '9.0'"),
                    (
                        "package.json",
                        r#"{"devEngines":{"packageManager":[{"name":"pnpm","version":"10.9.0"}]}}"#,
                    ),
                ],
                Pnpm,
                "10.9.0",
                None,
            ),
            (
                "a-list-of-several",
                &[
                    ("bun.lock", "{}"),
                    (
                        "package.json",
                        r#"{"devEngines":{"packageManager":[{"name":"pnpm"},{"name":"bun"}]}}"#,
                    ),
                ],
                Bun,
                "1.4.5",
                None,
            ),
            ("bun", &[("bun.lock", "{}")], Bun, "1.4.5", None),
            (
                "bun-field",
                &[("bun.lockb", ""), ("package.json", r#"{"packageManager":"bun@1.3.0"}"#)],
                Bun,
                "1.3.0",
                None,
            ),
            // The nearest lock file counts.
            ("near", &[("package-lock.json", "{}"), ("apps/a/bun.lock", "")], Bun, "1.4.5", None),
        ] {
            let toolchain = detect(name, files).expect(name);
            let is_bun = manager == Bun;
            assert_eq!(
                toolchain.runtime,
                if is_bun { Runtime::Bun } else { Runtime::Node },
                "{name}"
            );
            assert_eq!(toolchain.node.is_some(), !is_bun, "{name}");
            let found = toolchain.installation.expect(name);
            assert_eq!((found.manager, found.tool.version.as_str()), (manager, version), "{name}");
            assert_eq!(found.tool.accepts.as_deref(), accepts, "{name}");
        }
    }

    #[test]
    fn uses_the_repository_s_yarn_release() {
        let files = [
            ("yarn.lock", "__metadata:\n  version: 8\n"),
            (".yarnrc.yml", "yarnPath: .yarn/releases/yarn-4.2.2.cjs\n"),
            (".yarn/releases/yarn-4.2.2.cjs", ""),
        ];
        let found = detect("release", &files).expect("valid").installation.expect("a lock");
        assert_eq!(found.tool.version, "4.2.2");
        assert_eq!(found.release.as_deref(), Some(Utf8Path::new(".yarn/releases/yarn-4.2.2.cjs")));
    }

    #[test]
    fn refuses_contradicting_lock_files_and_fields() {
        let both = [("bun.lock", ""), ("yarn.lock", "")];
        let failure = detect("both", &both).expect_err("two locks");
        assert_eq!(
            failure.message,
            "the repository's root has bun.lock and yarn.lock: it is not clear which one installs"
        );
        let other = [("bun.lock", ""), ("package.json", r#"{"packageManager":"pnpm@9.1.0"}"#)];
        let failure = detect("other", &other).expect_err("another manager");
        assert_eq!(
            failure.message,
            "the repository's root has bun.lock, but `packageManager` in its package.json is `pnpm@9.1.0`"
        );
    }

    #[test]
    fn uses_the_requested_node_version() {
        let lock = ("package-lock.json", "{}");
        for (name, file, version, accepts) in [
            ("none", ("apps/a/x", ""), NODE_VERSIONS[0], Some(NODE_OF_WRANGLER)),
            ("exact", (".nvmrc", "v20.11.1\n"), "20.11.1", None),
            ("major", (".node-version", "22"), "22.23.5", Some("22")),
            ("comment", (".nvmrc", "# ours\n\n22.12.0 # pinned\r\n"), "22.12.0", None),
            ("lts jod", (".nvmrc", "lts/Jod"), "22.23.5", Some("22")),
            ("lts iron", (".node-version", "lts/iron"), "20.20.2", Some("20")),
            ("latest", (".tool-versions", "nodejs latest:22\n"), "22.23.5", Some("22")),
            (
                "lts of asdf",
                (".tool-versions", "nodejs lts\n"),
                NODE_VERSIONS[0],
                Some(NODE_OF_WRANGLER),
            ),
            ("mise.toml", ("mise.toml", "[tools]\nnode = \"22.15.0\"\n"), "22.15.0", None),
            (
                "mise list",
                (".mise.toml", "[tools]\nnode = [\"20\", \"22\"]\n"),
                "20.20.2",
                Some("20"),
            ),
            (
                "mise table",
                ("mise.toml", "[tools]\nnodejs = { version = \"lts-jod\" }\n"),
                "22.23.5",
                Some("22"),
            ),
            ("lts", (".nvmrc", "lts/*"), NODE_VERSIONS[0], Some(NODE_OF_WRANGLER)),
            (
                "engines",
                ("apps/a/package.json", r#"{"engines":{"node":">=20 <21"}}"#),
                "20.20.2",
                Some(">=20 <21"),
            ),
            (
                "engines of the root",
                ("package.json", r#"{"engines":{"node":">=22"}}"#),
                NODE_VERSIONS[0],
                Some(">=22"),
            ),
            ("end of life", (".nvmrc", "16"), "16.20.2", Some("16")),
            (
                "asdf",
                (".tool-versions", "# tools\npython 3.12.1\nnodejs 20.11.1 system # lts\n"),
                "20.11.1",
                None,
            ),
            ("mise", (".tool-versions", "node 22\n"), "22.23.5", Some("22")),
            (
                "no node",
                (".tool-versions", "bun 1.4.5\n"),
                NODE_VERSIONS[0],
                Some(NODE_OF_WRANGLER),
            ),
            (
                "volta",
                ("package.json", r#"{"volta":{"node":"20.11.1"},"engines":{"node":">=18"}}"#),
                "20.11.1",
                None,
            ),
            (
                "runtime of devEngines",
                (
                    "package.json",
                    r#"{"devEngines":{"runtime":[{"name":"bun"},{"name":"node","version":"^22"}]}}"#,
                ),
                "22.23.5",
                Some("^22"),
            ),
        ] {
            let node = detect(name, &[lock, file]).expect(name).node.expect("npm needs it");
            assert_eq!(
                (node.version.as_str(), node.accepts.as_deref()),
                (version, accepts),
                "{name}"
            );
        }
        // pnpm 11 does not start on an older Node.
        for (manager, accepts) in
            [("pnpm@10.34.8", NODE_OF_WRANGLER), ("pnpm@11.16.0", NODE_OF_PNPM_11)]
        {
            let manifest = format!(r#"{{ "packageManager": "{manager}" }}"#);
            let files =
                [("pnpm-lock.yaml", "lockfileVersion: '9.0'\n"), ("package.json", &manifest)];
            let node = detect(manager, &files).expect(manager).node.expect("pnpm needs it");
            assert_eq!(node.accepts.as_deref(), Some(accepts), "{manager}");
        }
        let old = detect("old", &[lock, (".nvmrc", "4")]).expect_err("too old");
        assert_eq!(old.message, ".nvmrc asks for Node `4`, and no version that xtask knows fits");
        let bun = [("bun.lock", ""), ("apps/a/package.json", r#"{"xtask":{"runtime":"node"}}"#)];
        let toolchain = detect("runtime", &bun).expect("valid");
        assert!(toolchain.runtime == Runtime::Node && toolchain.node.is_some());
    }
}
