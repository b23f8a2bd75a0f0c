//! `affected`, the content key, `deploy` and `status` are about the bytes that a build reads, also where
//! git's index says otherwise.

use std::collections::BTreeMap;

use workspace::git::{KnownFiles, TrackedChanges};
use workspace::key::content_key;
use workspace::{Workspace, inputs};

use crate::affected::{affected_json, names, tree_with_submodule};
use crate::support::TestEnv;

/// The content key of `app`, or why it has none. It is the same if git is asked, and if a plan knows the files.
fn key(env: &TestEnv) -> Result<String, String> {
    let workspace = Workspace::load(&env.root).expect("a workspace");
    let app = workspace.project("app").expect("the project");
    let read = |known: Option<&KnownFiles<'_>>| {
        inputs::read(&workspace, &[app], &[], known).expect("inputs")
    };
    let changes = TrackedChanges::read(&env.root).expect("changes");
    let files = workspace.all_files.as_ref().expect("UTF-8");
    let known = KnownFiles::new(&env.root, files, &changes);
    let (inputs, found) = (read(None), read(known.as_ref()));
    assert_eq!(format!("{found:?}"), format!("{inputs:?}"));
    match &inputs[0].refusal {
        None => Ok(content_key(&inputs[0].blobs, &BTreeMap::new())),
        Some(refusal) => Err(format!("{}; {}", refusal.message, refusal.hints.join("; "))),
    }
}

fn site() -> TestEnv {
    let env = TestEnv::new();
    env.site("projects/app", "app");
    env.commit("tree");
    env
}

#[test]
fn sees_edits_behind_skip_worktree_and_assume_unchanged() {
    for flag in ["--skip-worktree", "--assume-unchanged"] {
        let env = site();
        let before = key(&env).expect("a key");
        env.git(&["update-index", flag, "projects/app/content.txt"]);
        assert_eq!(key(&env).as_ref(), Ok(&before), "{flag}: nothing changed");
        assert_eq!(names(&affected_json(&env, &[])), [""; 0], "{flag}: nothing changed");
        env.write("projects/app/content.txt", "edited\n");
        assert_eq!(names(&affected_json(&env, &[])), ["app"], "{flag}");
        let edited = key(&env).expect("a key");
        assert_ne!(edited, before, "{flag}");
        std::fs::remove_file(env.root.join("projects/app/content.txt")).expect("removed");
        assert_eq!(names(&affected_json(&env, &[])), ["app"], "{flag}: deleted");
        assert!(![&before, &edited].contains(&&key(&env).expect("a key")), "{flag}: deleted");
    }
}

#[test]
fn refuses_git_lfs_pointers_but_not_their_files() {
    let env = site();
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
    env.write(".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n");
    env.write("projects/app/logo.bin", pointer);
    env.commit("a pointer");
    assert_eq!(
        key(&env),
        Err("projects/app/logo.bin is a Git LFS pointer instead of the file; run `git lfs pull`"
            .to_owned())
    );
    // A filter that puts the file in the place of its pointer, as `git lfs pull` does.
    env.git(&[
        "config",
        "filter.lfs.clean",
        &format!("cat >/dev/null; printf '{}'", pointer.replace('\n', "\\n")),
    ]);
    env.git(&["config", "filter.lfs.smudge", "cat"]);
    env.write("projects/app/logo.bin", "the real one\n");
    env.git(&["add", "projects/app/logo.bin"]);
    assert_eq!(env.sh("git status --porcelain").exits(0).stdout, "", "git sees no difference");
    let real = key(&env).expect("a key");
    env.write("projects/app/logo.bin", "another one\n");
    env.git(&["add", "projects/app/logo.bin"]);
    assert_ne!(key(&env).expect("a key"), real);
    // The same text is no pointer where nothing says that Git LFS keeps it.
    env.write(".gitattributes", "");
    env.write("projects/app/logo.bin", pointer);
    key(&env).expect("a key");
}

#[test]
fn keys_use_the_line_endings_of_the_working_tree() {
    let env = site();
    env.write(".gitattributes", "* text=auto\n");
    env.commit("attributes");
    let before = key(&env).expect("a key");
    env.write("projects/app/content.txt", "<h1>app one</h1>\r\n");
    env.git(&["add", "--renormalize", "."]);
    let first = key(&env).expect("a key");
    assert_ne!(first, before);
    env.git(&["commit", "--quiet", "--allow-empty", "-m", "normalised"]);
    assert_eq!(key(&env).expect("a key"), first);
    env.write("projects/app/content.txt", "<h1>app one</h1>\n");
    env.git(&["add", "--renormalize", "."]);
    assert_ne!(key(&env).expect("a key"), first, "the build reads other bytes");
}

#[test]
fn keys_include_the_files_of_a_submodule() {
    let (env, _) = tree_with_submodule();
    let before = key(&env).expect("a key");
    for edit in [
        "echo x > vendor/theme/pkg/package.json.txt",
        "echo '{ \"name\": \"theme\", \"x\": 1 }' > vendor/theme/pkg/package.json",
        "cd vendor/theme && git update-index --assume-unchanged pkg/package.json && echo '{ \"name\": \"theme\" } ' > pkg/package.json",
    ] {
        env.sh(edit).exits(0);
        assert_eq!(names(&affected_json(&env, &[])), ["app"], "{edit}");
        assert_ne!(key(&env).expect("a key"), before, "{edit}");
        env.sh("cd vendor/theme && git update-index --no-assume-unchanged pkg/package.json && git reset -q --hard && git clean -qfd")
            .exits(0);
        assert_eq!(key(&env).as_ref(), Ok(&before), "undone: {edit}");
        assert_eq!(names(&affected_json(&env, &[])), [""; 0], "undone: {edit}");
    }
    env.sh("git submodule --quiet deinit --force vendor/theme").exits(0);
    assert_eq!(
        key(&env),
        Err("the submodule vendor/theme is not checked out here; run `git submodule update --init vendor/theme`"
            .to_owned())
    );
}

#[test]
fn keys_include_the_files_of_a_nested_repository() {
    let env = site();
    env.sh("mkdir projects/app/lib && cd projects/app/lib && git init -q . && echo 1 > a.ts && git add . && \
            git -c user.name=T -c user.email=t@example.com commit -qm one")
        .exits(0);
    assert_eq!(names(&affected_json(&env, &[])), ["app"]);
    let before = key(&env).expect("a key");
    env.write("projects/app/lib/a.ts", "2\n");
    let edited = key(&env).expect("a key");
    assert_ne!(edited, before);
    env.write("projects/app/lib/a.ts", "1\n");
    assert_eq!(key(&env).as_ref(), Ok(&before));
    env.write("projects/app/lib/new.ts", "1\n");
    assert_ne!(key(&env).as_ref(), Ok(&before));
    // Added as git does it without a submodule: one entry for the commit.
    env.sh("rm projects/app/lib/new.ts && git add projects/app/lib").exits(0);
    env.git(&["commit", "--quiet", "-m", "linked"]);
    assert_eq!(key(&env).as_ref(), Ok(&before));
    env.write("projects/app/lib/a.ts", "2\n");
    assert_eq!(names(&affected_json(&env, &["--base", "HEAD"])), ["app"]);
    assert_eq!(key(&env).as_ref(), Ok(&edited));
}

#[test]
fn reports_paths_missing_from_a_sparse_checkout() {
    let env = TestEnv::new();
    env.site("projects/app", "app");
    env.site("projects/other", "other");
    env.write("packages/ui/package.json", r#"{ "name": "ui" }"#);
    env.write(
        "projects/app/package.json",
        r#"{ "name": "app", "dependencies": { "ui": "workspace:*" }, "xtask": { "inputs": ["docs/a.md"] } }"#,
    );
    env.write("docs/a.md", "1\n");
    env.write("docs/b.md", "1\n");
    env.commit("tree");
    env.sh("git sparse-checkout set --cone dagger projects/app").exits(0);
    let json = env.xtask(&["projects", "--json"]).exits(0).json();
    assert_eq!(names(&json), [""; 0]);
    let message = json["broken"][0]["failure"]["message"].as_str().expect("text");
    assert_eq!(
        message,
        "projects/app/package.json: `ui` (workspace:*) is in packages/ui, which is not checked out here"
    );
    let ran = env.xtask(&["build", "app", "--dry-run"]).exits(3);
    assert!(
        ran.stderr.contains("hint: run `git sparse-checkout add packages/ui`"),
        "{}",
        ran.stderr
    );
    env.sh("git sparse-checkout add packages/ui").exits(0);
    let json = env.xtask(&["projects", "--json"]).exits(0).json();
    let message = json["broken"][0]["failure"]["message"].as_str().expect("text");
    assert_eq!(message, "projects/app/package.json: the input `docs/a.md` is not checked out here");
    let ran = env.xtask(&["build", "other", "--dry-run"]).exits(3);
    assert!(ran.stderr.contains("projects/other is not checked out here"), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("hint: run `git sparse-checkout add projects/other`"),
        "{}",
        ran.stderr
    );
    env.sh("git sparse-checkout add docs").exits(0);
    assert_eq!(names(&env.xtask(&["projects", "--json"]).exits(0).json()), ["app"]);
    key(&env).expect("a key");
    env.sh("git sparse-checkout set --no-cone '/*' '!/projects/app/build.ts'").exits(0);
    let refusal = key(&env).expect_err("a file is missing");
    assert!(refusal.starts_with("projects/app/build.ts is not checked out here"), "{refusal}");
    assert_eq!(names(&affected_json(&env, &[])), [""; 0], "nothing was changed");
}

#[test]
fn deploy_and_status_agree_about_hidden_edits_and_pointers() {
    let env = TestEnv::with_tools();
    env.site("projects/app", "app");
    env.write(".gitattributes", "*.bin filter=lfs\n");
    env.write("projects/app/logo.bin", "the file\n");
    env.commit("tree");
    let deploy = |code: i32| {
        let ran = env.xtask(&["deploy", "app", "--engine", "host", "--env", "local", "--json"]);
        ran.exits(code).json()
    };
    let status = || env.xtask(&["status", "--env", "local", "--json"]).exits(0).json();
    deploy(0);
    let first = deploy(0);
    assert_eq!(first["records"][0]["status"], "unchanged", "{first:#}");
    env.git(&["update-index", "--skip-worktree", "projects/app/content.txt"]);
    env.write("projects/app/content.txt", "<h1>hidden edit</h1>");
    assert!(status().to_string().contains("\"inStep\":false"), "{:#}", status());
    let second = deploy(0);
    assert_eq!(second["records"][0]["status"], "live", "{second:#}");
    assert_eq!(env.fetch("app.localhost", "/").1, "<h1>hidden edit</h1>");
    assert!(status().to_string().contains("\"inStep\":true"), "{:#}", status());
    env.write(
        "projects/app/logo.bin",
        "version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 9\n",
    );
    let refused = deploy(3);
    let message = "projects/app/logo.bin is a Git LFS pointer instead of the file";
    assert!(refused.to_string().contains(message), "{refused:#}");
    let unreadable = env.xtask(&["status", "--env", "local", "--json"]).exits(1).json();
    assert!(unreadable.to_string().contains(message), "{unreadable:#}");
}
