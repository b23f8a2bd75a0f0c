//! Finds the folder whose lock file installs a package. Package managers install a member of a workspace from the
//! workspace's root, also if the member has a lock file: npm, pnpm, Yarn classic and Bun do not read that one. Yarn berry
//! does, because the nearest `yarn.lock` makes a project (observed with npm 11.19, pnpm 9.15 and 10.34, Yarn 1.22 and 4.12,
//! and Bun 1.4).

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};

use super::package_manager::{LOCK_FILES, LockFileKind, is_lock_file};
use super::roots::Root;
use crate::Workspace;
use crate::files::folder_name;
use base::text::list_first;

/// The number of lock files that a note names.
const MAX_LISTED_LOCKS: usize = 3;

/// Returns the kinds of the lock files in each folder.
pub(crate) fn locks_by_folder(
    install_files: &[Utf8PathBuf],
) -> BTreeMap<String, Vec<LockFileKind>> {
    let mut locks: BTreeMap<String, Vec<LockFileKind>> = BTreeMap::new();
    for path in install_files {
        let (Some(name), Some(dir)) = (path.file_name(), path.parent()) else { continue };
        if let Some(kind) = LockFileKind::from_file_name(name) {
            locks.entry(dir.to_string()).or_default().push(kind);
        }
    }
    locks
}

impl Workspace {
    /// Returns the folder whose lock file installs the package in `dir`. `None` if no lock file is in its folder or above.
    pub(crate) fn lock_folder<'d>(&self, dir: &'d Utf8Path) -> Option<&'d Utf8Path> {
        let has_lock = |dir: &Utf8Path, manager: Option<LockFileKind>| {
            let locks = self.locks.get(dir.as_str());
            locks.is_some_and(|locks| manager.is_none_or(|manager| locks.contains(&manager)))
        };
        LockFolders { roots: &self.roots, has_lock }.folder_of(dir)
    }

    /// Returns the folder as [`Workspace::lock_folder`] does, by the files on disk. An install reads a lock file that git
    /// ignores too.
    pub(crate) fn lock_folder_on_disk<'d>(&self, dir: &'d Utf8Path) -> Option<&'d Utf8Path> {
        let has_lock = |dir: &Utf8Path, manager: Option<LockFileKind>| {
            let mut names = LOCK_FILES.iter();
            names.any(|(name, of)| {
                manager.is_none_or(|manager| manager == *of)
                    && self.root.join(dir).join(name).is_file()
            })
        };
        LockFolders { roots: &self.roots, has_lock }.folder_of(dir)
    }

    /// Returns true if pnpm would install the workspace above `dir`, which `dir` is no member of, in place of `dir`.
    pub(crate) fn is_hidden_by_pnpm_workspace(&self, dir: &Utf8Path) -> bool {
        let roots =
            dir.ancestors().filter_map(|above| Some((above, self.roots.get(above.as_str())?)));
        let mut roots = roots.filter(|(_, root)| root.has_pnpm_file);
        roots.next().is_some_and(|(above, root)| {
            above != dir && !root.names(dir.strip_prefix(above).unwrap_or(dir))
        })
    }

    /// Names the lock files beside projects that are not used, because the projects are members of a workspace: a line for
    /// each workspace.
    pub(crate) fn unused_lock_notes(&self) -> Vec<String> {
        let mut unused: BTreeMap<&Utf8Path, BTreeSet<Utf8PathBuf>> = BTreeMap::new();
        for package in self.projects.iter().filter_map(|project| project.package.as_ref()) {
            let Some(used) = self.lock_folder(&package.dir) else { continue };
            let below = package.dir.ancestors().take_while(|dir| *dir != used);
            let locks = self.install_files.iter().filter(|path| is_lock_file(path));
            for dir in below {
                let own = locks.clone().filter(|path| path.parent() == Some(dir));
                unused.entry(used).or_default().extend(own.cloned());
            }
        }
        let note = |(root, files): (&Utf8Path, BTreeSet<Utf8PathBuf>)| {
            let manager = self.roots.get(root.as_str())?.manager?;
            let files: Vec<&Utf8PathBuf> = files.iter().collect();
            (!files.is_empty()).then(|| {
                format!(
                    "not used, because the {} workspace in {} installs its members: {}; delete {}",
                    manager.name(),
                    folder_name(root),
                    list_first(MAX_LISTED_LOCKS, &files),
                    if files.len() == 1 { "it" } else { "them" }
                )
            })
        };
        unused.into_iter().filter_map(note).collect()
    }
}

/// The folders with a lock file, and the roots of workspaces.
pub(crate) struct LockFolders<'w, F> {
    pub(crate) roots: &'w BTreeMap<String, Root>,
    /// Returns true if the folder has a lock file of this manager, or any lock file.
    pub(crate) has_lock: F,
}

impl<F: Fn(&Utf8Path, Option<LockFileKind>) -> bool> LockFolders<'_, F> {
    /// Returns the folder whose lock file installs the package in `dir`: the root of the workspace that it is a member of,
    /// else the nearest one. `None` if no lock file is in its folder or above.
    pub(crate) fn folder_of<'d>(&self, dir: &'d Utf8Path) -> Option<&'d Utf8Path> {
        let nearest = dir.ancestors().find(|above| (self.has_lock)(above, None))?;
        let mut above_nearest = nearest.ancestors().skip(1);
        if !above_nearest.any(|above| self.roots.contains_key(above.as_str())) {
            return Some(nearest);
        }
        let is_above = |root: &&Utf8Path| root.as_str().len() < nearest.as_str().len();
        let mut folder = self.root_of(dir, nearest).filter(is_above).unwrap_or(nearest);
        while let Some(root) = self.root_of(folder, nearest) {
            folder = root;
        }
        Some(folder)
    }

    /// Returns the root of the workspace that installs its member `dir`. `None` if its manager uses the lock file in
    /// `nearest`.
    fn root_of<'d>(&self, dir: &'d Utf8Path, nearest: &Utf8Path) -> Option<&'d Utf8Path> {
        let root_at = |above: &'d Utf8Path| Some((above, self.roots.get(above.as_str())?));
        let (folder, root) =
            dir.ancestors().skip(1).filter_map(root_at).find(|(above, root)| {
                root.installs(dir.strip_prefix(above).unwrap_or(dir))
                    && (self.has_lock)(above, None)
            })?;
        let mut between = dir.ancestors().take_while(|inner| *inner != folder);
        let is_stopped = between.any(|inner| {
            self.roots.get(inner.as_str()).is_some_and(|inner| inner.ends_search_of(root.manager))
        });
        let has_own_project = root.is_berry
            && nearest != folder
            && nearest.starts_with(folder)
            && (self.has_lock)(nearest, Some(LockFileKind::Yarn));
        (!is_stopped && !has_own_project).then_some(folder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packages::package::Package;
    use crate::packages::roots::RootFiles;

    /// A folder of the repository: its path, the patterns of its `package.json` and of its `pnpm-workspace.yaml`, and its
    /// lock files.
    type Folder<'a> = (&'a str, &'a str, Option<&'a str>, &'a [&'a str]);

    #[track_caller]
    fn check(folders: &[Folder], expected: &[(&str, Option<&str>)]) {
        let root = |(dir, own, pnpm, locks): &Folder| {
            let text = format!(r#"{{ "workspaces": [{own}] }}"#);
            let package = Package::parse(Utf8Path::new(dir), &text).expect("valid");
            let locks: Vec<LockFileKind> = locks
                .iter()
                .filter_map(|name| LockFileKind::from_file_name(name.trim_end_matches('+')))
                .collect();
            let is_berry = folders[0].3.contains(&"yarn.lock+");
            let files = RootFiles {
                package: Some(&package),
                pnpm_workspace: *pnpm,
                locks: &locks,
                yarn_lock: is_berry.then_some("__metadata:\n  version: 8\n"),
                ..RootFiles::default()
            };
            Some(((*dir).to_owned(), Root::new(&files)?))
        };
        let roots: BTreeMap<String, Root> = folders.iter().filter_map(root).collect();
        let has_lock = |dir: &Utf8Path, manager: Option<LockFileKind>| {
            let folder = folders.iter().find(|(path, ..)| dir == *path);
            let names = folder.map_or(&[][..], |(.., locks)| locks).iter();
            let mut managers =
                names.filter_map(|n| LockFileKind::from_file_name(n.trim_end_matches('+')));
            managers.any(|found| manager.is_none_or(|manager| manager == found))
        };
        let locks = LockFolders { roots: &roots, has_lock };
        let found: Vec<_> = expected
            .iter()
            .map(|(dir, _)| (*dir, locks.folder_of(Utf8Path::new(dir)).map(Utf8Path::as_str)))
            .collect();
        assert_eq!(found, expected, "{folders:?}");
    }

    const NPM: &[&str] = &["package-lock.json"];
    const PNPM: &[&str] = &["pnpm-lock.yaml"];
    const YARN: &[&str] = &["yarn.lock"];
    const BERRY: &[&str] = &["yarn.lock+"];
    const BUN: &[&str] = &["bun.lock"];

    #[test]
    fn the_root_installs_its_members() {
        for (root, member) in [(NPM, NPM), (BUN, NPM), (NPM, PNPM), (YARN, YARN), (BERRY, NPM)] {
            check(
                &[
                    ("", r#""demo", "apps/*", "!apps/old""#, None, root),
                    ("demo", "", None, member),
                    ("apps/old", "", None, member),
                ],
                &[
                    ("demo", Some("")),
                    ("demo/inner", Some("")),
                    ("apps/new", Some("")),
                    ("apps/old", Some("apps/old")),
                    ("other", Some("")),
                ],
            );
        }
    }

    #[test]
    fn a_lock_file_of_yarn_berry_makes_a_project() {
        check(
            &[
                ("", r#""demo", "old""#, None, BERRY),
                ("demo", "", None, BERRY),
                ("old", "", None, NPM),
            ],
            &[("demo", Some("demo")), ("old", Some(""))],
        );
    }

    #[test]
    fn pnpm_reads_its_own_list() {
        let list = Some("packages: [\"services/*\"]");
        check(
            &[
                ("", r#""apps/*""#, list, PNPM),
                ("services/forage", "", None, NPM),
                ("services/own", "", Some("packages: []"), PNPM),
                ("apps/site", "", None, PNPM),
            ],
            &[
                ("services/forage", Some("")),
                ("services/own", Some("services/own")),
                ("apps/site", Some("apps/site")),
            ],
        );
        let separate = Some("packages: [\"services/*\"]\nsharedWorkspaceLockfile: false");
        check(
            &[("", "", separate, PNPM), ("services/a", "", None, PNPM)],
            &[("services/a", Some("services/a"))],
        );
    }

    #[test]
    fn a_root_without_a_lock_file_or_with_two_installs_nothing() {
        let both: &[&str] = &["package-lock.json", "pnpm-lock.yaml"];
        for root in [&[][..], both] {
            check(
                &[("", r#""demo""#, Some("packages: [demo]"), root), ("demo", "", None, NPM)],
                &[("demo", Some("demo"))],
            );
        }
        check(&[("", r#""demo""#, None, &[])], &[("demo", None)]);
    }

    #[test]
    fn a_member_with_members() {
        let folders = |locks: &'static [&'static str]| -> [Folder<'static>; 2] {
            [("", r#""demo""#, None, locks), ("demo", r#""sub/*""#, None, locks)]
        };
        check(&folders(NPM), &[("demo", Some("")), ("demo/sub/x", Some(""))]);
        check(&folders(YARN), &[("demo", Some("demo")), ("demo/sub/x", Some("demo"))]);
    }
}
