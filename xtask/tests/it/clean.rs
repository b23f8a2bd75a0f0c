//! `clean`: what can be made again is deleted, and nothing else.

use std::os::unix::fs::symlink;

use expect_test::expect;

use crate::support::TestEnv;

/// Sites whose output folders are a build's, committed, a link, and not ignored.
fn sites() -> TestEnv {
    let env = TestEnv::with_tools();
    for name in ["built", "committed", "linked", "visible", "handmade"] {
        env.site(&format!("projects/{name}"), name);
    }
    env.write("projects/committed/dist/index.html", "committed");
    env.git(&["add", "--force", "projects/committed/dist"]);
    let config = "projects/visible/wrangler.jsonc";
    let text = std::fs::read_to_string(env.root.join(config)).expect("text");
    env.write(config, &text.replace("./dist", "./public"));
    env.write("projects/visible/public/index.html", "not ignored");
    // Without a build no command makes the folder again.
    env.write("projects/handmade/package.json", r#"{ "name": "handmade-package" }"#);
    env.write("projects/handmade/dist/index.html", "handmade");
    env.commit("sites");
    env.write("elsewhere/index.html", "kept");
    symlink("../../elsewhere", env.root.join("projects/linked/dist")).expect("a link");
    env.xtask(&["build", "built", "--engine", "host"]).exits(0);
    for path in
        [".xtask/records/r.json", ".xtask/sandbox/token", ".xtask/tools/tool", ".xtask/tmp/t"]
    {
        env.write(path, "x");
    }
    env.write(".xtask/logs/sandbox.log", "x");
    env.write(".xtask/logs/break-glass.log", "x");
    env.write(".xtask/summaries/0123", "x");
    env
}

/// Returns a report without the sizes of what a build makes.
fn normalize(text: &str) -> String {
    let line = |line: &str| match line.rfind(", ") {
        Some(at) if line.ends_with('B') => format!("{}, SIZE\n", &line[..at]),
        _ if line.ends_with(" freed") => "SIZE freed\n".to_owned(),
        _ => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

#[test]
fn deletes_only_files_that_can_be_recreated() {
    let env = sites();
    let before = env.sh("find . -path ./.git -prune -o -print | sort").exits(0).stdout;
    let script = env.xtask(&["clean", "--dry-run"]).exits(0).stdout;
    let planned = env.xtask(&["clean", "--dry-run", "--json"]).exits(0).json();
    // The lock is the only thing that a dry run leaves.
    let after = env.sh("find . -path ./.git -prune -o -print | grep -v /locks/ | sort").exits(0);
    let without_locks: String = before
        .lines()
        .filter(|line| !line.contains("/locks/"))
        .map(|line| format!("{line}\n"))
        .collect();
    assert_eq!(after.stdout, without_locks);
    expect![[r#"
        #!/bin/sh
        set -eu
        rm -rf .xtask/cache  # outputs of builds, SIZE
        rm -rf .xtask/summaries  # summaries of commits, SIZE
        rm -rf .xtask/tmp  # temporary files, SIZE
        find .xtask/logs -mindepth 1 ! -name sandbox.log ! -name break-glass.log -exec rm -rf {} +  # logs of previous runs, SIZE
        rm -rf projects/built/dist  # output of built, SIZE
        # kept: projects/committed/dist, output of committed: git does not ignore it
        # kept: projects/linked/dist, output of linked: git does not ignore it
        # kept: projects/visible/public, output of visible: git does not ignore it
        # kept: .xtask/records, what was deployed: nothing else remembers it
        # kept: .xtask/sandbox, the sandbox's deployments: `cargo xtask sandbox reset` deletes them
        # kept: .xtask/tools, installed tools: `--tools` deletes them
    "#]]
    .assert_eq(&normalize(&script));

    let ran = env.xtask(&["clean"]).exits(0);
    expect![[r#"
        deleted  .xtask/cache  outputs of builds, SIZE
        deleted  .xtask/summaries  summaries of commits, SIZE
        deleted  .xtask/tmp  temporary files, SIZE
        deleted  .xtask/logs  logs of previous runs, SIZE
        deleted  projects/built/dist  output of built, SIZE
        kept     projects/committed/dist  output of committed: git does not ignore it
        kept     projects/linked/dist  output of linked: git does not ignore it
        kept     projects/visible/public  output of visible: git does not ignore it
        kept     .xtask/records  what was deployed: nothing else remembers it
        kept     .xtask/sandbox  the sandbox's deployments: `cargo xtask sandbox reset` deletes them
        kept     .xtask/tools  installed tools: `--tools` deletes them
        SIZE freed
    "#]]
    .assert_eq(&normalize(&ran.stdout));
    for gone in ["projects/built/dist", ".xtask/cache", ".xtask/tmp", ".xtask/summaries"] {
        assert!(env.root.join(gone).symlink_metadata().is_err(), "{gone}");
    }
    for kept in [
        "projects/committed/dist/index.html",
        "projects/visible/public/index.html",
        "projects/handmade/dist/index.html",
        "projects/built/content.txt",
        "elsewhere/index.html",
        "projects/linked/dist/index.html",
        ".xtask/records/r.json",
        ".xtask/sandbox/token",
        ".xtask/tools/tool",
        ".xtask/logs/sandbox.log",
        ".xtask/logs/break-glass.log",
    ] {
        assert!(env.root.join(kept).is_file(), "{kept}");
    }
    assert_eq!(env.sh("git status --porcelain --untracked-files=no").exits(0).stdout, "");
    let again = env.xtask(&["clean", "--json"]).exits(0).json();
    assert_eq!(again["deleted"], serde_json::json!([]));
    let paths = |list: &serde_json::Value| -> Vec<String> {
        let entries = list.as_array().expect("a list").iter();
        entries.map(|entry| entry["path"].as_str().expect("a path").to_owned()).collect()
    };
    assert!(paths(&planned["deleted"]).contains(&"projects/built/dist".to_owned()), "{planned}");
    // The script deletes the same, and a build works afterwards.
    env.xtask(&["build", "built", "--engine", "host"]).exits(0);
    let script = env.xtask(&["clean", "--dry-run"]).exits(0).stdout;
    env.sh(&script).exits(0);
    assert_eq!(env.xtask(&["clean", "--json"]).exits(0).json()["deleted"], serde_json::json!([]));
    env.xtask(&["clean", "--tools"]).exits(0);
    assert!(!env.root.join(".xtask/tools").exists());
}
