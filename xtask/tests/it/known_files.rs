//! A plan reads the files of a repository once: the survey lists them, and `git status` runs beside it. What follows from
//! both is compared here with what git says when it is asked for it.

use camino::Utf8Path;
use workspace::Workspace;
use workspace::git::{self, KnownFiles};

use crate::affected::tree_with_submodule;
use crate::support::TestEnv;

/// Compares the contents below several paths, and whether the working tree differs from the commit. Returns the latter.
fn compare(env: &TestEnv, state: &str) -> bool {
    let listed = git::list(&env.root, |_| true).expect("a list");
    let all = listed.all.as_ref().expect("every path is UTF-8");
    let changes = git::tracked_changes(&env.root).expect("changes");
    let known = KnownFiles::new(all, &changes);
    let lists: [&[&str]; 7] = [
        &[""],
        &["projects/app"],
        &["packages", "packages/ui", "package.json"],
        &["projects/app", "projects/app-2", "projects/app.txt"],
        &["vendor/theme/pkg", "packages/tokens/a b.ts"],
        &["nested/inner", "nested", "gone"],
        &["projects/app/package.json", "conflict.txt", "link", "ünï\tcode"],
    ];
    for paths in lists {
        let paths: Vec<&Utf8Path> = paths.iter().map(|path| Utf8Path::new(*path)).collect();
        let read = |known| git::contents(&env.root, &paths, known).expect("contents");
        let (asked, found) = (read(None), read(known));
        assert_eq!(found.blobs, asked.blobs, "{state}: {paths:?}");
        assert_eq!(found.gaps, asked.gaps, "{state}: {paths:?}");
    }
    let dirty = changes.dirty || listed.has_untracked;
    assert_eq!(git::head(&env.root).expect("a head").dirty, dirty, "{state}");
    assert_eq!(git::head(&env.root).expect("a head").commit, changes.commit, "{state}");
    let workspace = Workspace::load(&env.root).expect("a workspace");
    assert_eq!(workspace.has_untracked, listed.has_untracked, "{state}");
    dirty
}

/// Each script changes the repository, and the second one restores it.
const STATES: [(&str, &str); 17] = [
    ("echo 1 > new.txt", "rm new.txt"),
    ("mkdir folder && echo 1 > folder/new.txt", "rm -r folder"),
    (
        "echo 1 > 'projects/app/a new
 file'",
        "rm projects/app/a*",
    ),
    (
        "echo 1 > projects/app.txt && mkdir projects/app-2 && echo 1 > projects/app-2/a",
        "rm -r projects/app.txt projects/app-2",
    ),
    ("echo >> projects/app/package.json", "git checkout -q projects"),
    ("echo ' ' >> package.json && git add package.json", "git reset -q --hard"),
    (
        "echo ' ' >> package.json && git add package.json && echo ' ' >> package.json",
        "git reset -q --hard",
    ),
    ("rm projects/app/package.json", "git checkout -q projects"),
    ("git rm -q --cached projects/app/package.json", "git reset -q"),
    ("git rm -q projects/app/package.json", "git reset -q --hard"),
    ("git mv projects/app/package.json projects/app/moved.json", "git reset -q --hard"),
    (
        "echo 1 > projects/app/meant.txt && git add --intent-to-add projects/app/meant.txt",
        "git reset -q && rm projects/app/meant.txt",
    ),
    ("chmod +x projects/app/package.json", "chmod -x projects/app/package.json"),
    ("rm -f bun.lock && ln -s package.json bun.lock", "git checkout -q bun.lock"),
    ("echo 1 > vendor/theme/new.txt", "rm vendor/theme/new.txt"),
    ("echo >> vendor/theme/pkg/package.json", "git -C vendor/theme checkout -q pkg"),
    ("printf '1' > 'ünï\tcode'", "rm ünï*"),
];

#[test]
fn files_that_are_known_have_the_contents_that_git_tells() {
    let (env, _) = tree_with_submodule();
    assert!(!compare(&env, "clean"));
    for (change, undo) in STATES {
        env.sh(change).exits(0);
        assert!(compare(&env, change), "{change}");
        env.sh(undo).exits(0);
        assert!(!compare(&env, undo), "{undo}");
    }
}

#[test]
fn files_that_git_ignores_or_skips_have_the_contents_that_git_tells() {
    let (env, _) = tree_with_submodule();
    env.write(".gitignore", "dist\n");
    env.commit("ignored");
    env.write("projects/app/dist/a.js", "1");
    env.write("projects/app/.wrangler/state", "1");
    assert!(!git::list(&env.root, |_| true).expect("a list").has_untracked);
    env.sh("rm -r projects/app/.wrangler").exits(0);
    assert!(!compare(&env, "ignored"));
    env.sh("git update-index --assume-unchanged package.json && echo ' ' >> package.json").exits(0);
    compare(&env, "assumed to be unchanged");
    env.sh("git update-index --skip-worktree bun.lock && echo ' ' >> bun.lock").exits(0);
    compare(&env, "skipped");
    env.sh("git init -q nested/inner && echo 1 > nested/inner/a && git -C nested/inner -c user.name=T -c user.email=t@example.com commit -q --allow-empty -m inner").exits(0);
    assert!(compare(&env, "another repository"));
}

#[test]
fn files_with_conflicts_have_the_contents_that_git_tells() {
    let (env, _) = tree_with_submodule();
    env.write("conflict.txt", "one\n");
    env.commit("one");
    env.sh("git checkout -q -b other && echo two > conflict.txt && git -c user.name=T -c user.email=t@example.com commit -qam two").exits(0);
    env.sh("git checkout -q - && echo three > conflict.txt && git -c user.name=T -c user.email=t@example.com commit -qam three").exits(0);
    env.sh("git -c user.name=T -c user.email=t@example.com merge -q other; true").exits(0);
    assert!(compare(&env, "a conflict"));
}

#[test]
fn nothing_is_known_of_a_repository_with_a_name_that_is_not_utf8() {
    let (env, _) = tree_with_submodule();
    env.sh("echo 1 > \"$(printf 'projects/app/\\377.txt')\"").exits(0);
    let listed = git::list(&env.root, |_| true).expect("a list");
    assert!(listed.all.is_none() && listed.has_untracked);
}

/// Git names changed files from the top of its repository, which may lie above ours.
#[test]
fn a_folder_of_a_repository_asks_git() {
    let (env, _) = tree_with_submodule();
    let folder = env.root.join("projects");
    let changes = git::tracked_changes(&folder).expect("changes");
    assert!(!changes.dirty);
    env.sh("echo >> projects/app/package.json && echo 1 > new.txt").exits(0);
    let listed = git::list(&folder, |_| true).expect("a list");
    let changes = git::tracked_changes(&folder).expect("changes");
    assert!(KnownFiles::new(listed.all.as_ref().expect("UTF-8"), &changes).is_none());
    assert!(changes.dirty && !listed.has_untracked);
    env.sh("git checkout -q projects").exits(0);
    assert!(git::tracked_changes(&folder).expect("changes").dirty, "the new file above");
}
