//! A plan reads the files of a repository once: the workspace lists them, and `git status` runs beside it. What follows from
//! both is compared here with what git lists for the paths.

use camino::Utf8Path;
use workspace::git::{self, KnownFiles, TrackedChanges};

use crate::affected::tree_with_submodule;
use crate::support::TestEnv;

/// Compares the contents below several paths, and the head, of which it returns whether the working tree differs.
fn compare(env: &TestEnv, state: &str) -> bool {
    let listed = git::list(&env.root, |_| true).expect("a list");
    let files = listed.all.as_ref().expect("every path is UTF-8");
    let changes = TrackedChanges::read(&env.root).expect("changes");
    let known = KnownFiles::new(&env.root, files, &changes).expect("they agree");
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
        let (asked, found) = (read(None), read(Some(&known)));
        assert_eq!(found.blobs, asked.blobs, "{state}: {paths:?}");
        assert_eq!(found.gaps, asked.gaps, "{state}: {paths:?}");
    }
    let head = git::head(&env.root).expect("a head");
    assert!(known.head().is_none_or(|known| known == head), "{state}");
    head.dirty
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
fn changed_files_have_the_contents_that_git_lists() {
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
fn ignored_and_skipped_files_have_the_contents_that_git_lists() {
    let (env, _) = tree_with_submodule();
    env.write(".gitignore", "dist\n");
    env.commit("ignored");
    env.write("projects/app/dist/a.js", "1");
    env.write("projects/app/.wrangler/state", "1");
    assert!(compare(&env, "wrangler's folder"));
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
fn files_with_conflicts_have_the_contents_that_git_lists() {
    let (env, _) = tree_with_submodule();
    env.write("conflict.txt", "one\n");
    env.commit("one");
    env.sh("git checkout -q -b other && echo two > conflict.txt && git -c user.name=T -c user.email=t@example.com commit -qam two").exits(0);
    env.sh("git checkout -q - && echo three > conflict.txt && git -c user.name=T -c user.email=t@example.com commit -qam three").exits(0);
    env.sh("git -c user.name=T -c user.email=t@example.com merge -q other; true").exits(0);
    assert!(compare(&env, "a conflict"));
}

#[test]
fn a_name_that_is_not_utf8_is_refused() {
    let (env, _) = tree_with_submodule();
    env.sh("echo 1 > \"$(printf 'projects/app/\\377.txt')\"").exits(0);
    let listed = git::list(&env.root, |_| true).expect("a list");
    assert!(listed.all.is_none());
}

/// Git names changed files from the top of its repository, which may lie above ours.
#[test]
fn a_folder_of_a_repository_asks_git() {
    let (env, _) = tree_with_submodule();
    let folder = env.root.join("projects");
    let is_known = || {
        let listed = git::list(&folder, |_| true).expect("a list");
        let changes = TrackedChanges::read(&folder).expect("changes");
        KnownFiles::new(&folder, listed.all.as_ref().expect("UTF-8"), &changes).is_some()
    };
    assert!(!is_known());
    // A folder that looks like a repository, but git uses the one above.
    env.sh("mkdir projects/.git && touch projects/.git/HEAD && echo >> projects/app/package.json")
        .exits(0);
    assert!(!is_known());
}

#[test]
fn the_head_is_what_git_status_says() {
    let env = TestEnv::new();
    env.site("projects/app", "app");
    env.commit("a site");
    let is_dirty = |state: &str| {
        let listed = git::list(&env.root, |_| true).expect("a list");
        let changes = TrackedChanges::read(&env.root).expect("changes");
        let files = listed.all.as_ref().expect("UTF-8");
        let known = KnownFiles::new(&env.root, files, &changes).expect("they agree");
        let head = known.head().expect("no submodules");
        assert_eq!(head, git::head(&env.root).expect("a head"), "{state}");
        head.dirty
    };
    assert!(!is_dirty("clean"));
    for (change, undo) in [
        (
            "mkdir -p projects/app/.wrangler && echo 1 > projects/app/.wrangler/x",
            "rm -r projects/app/.wrangler",
        ),
        (
            "mkdir -p projects/new/.wrangler && echo 1 > projects/new/.wrangler/x",
            "rm -r projects/new",
        ),
        ("echo 1 > new.txt", "rm new.txt"),
        ("mkdir empty && echo empty > .git/info/exclude", "rmdir empty; echo a > new.txt"),
    ] {
        env.sh(change).exits(0);
        is_dirty(change);
        env.sh(undo).exits(0);
        is_dirty(undo);
    }
}
