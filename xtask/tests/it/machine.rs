//! Tests on odd machines: an error that says so or a run that works, and nothing half written.

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::os::unix::ffi::OsStrExt as _;
use std::process::Stdio;

use expect_test::expect;

use crate::support::{Ran, TestEnv, ran};

/// A site without a build, whose output is in git.
fn site() -> TestEnv {
    let env = TestEnv::with_tools();
    write_site(&env);
    env
}

fn write_site(env: &TestEnv) {
    env.write(
        "projects/app/wrangler.jsonc",
        r#"{ "name": "app", "compatibility_date": "2026-10-01", "assets": { "directory": "./dist" } }"#,
    );
    env.write("projects/app/dist/index.html", "<h1>app</h1>");
    env.sh("git add --all --force projects").exits(0);
    env.commit("site");
}

const DEPLOY: [&str; 4] = ["deploy", "app", "--engine", "host"];

/// Returns the errors on stderr.
fn errors(ran: &Ran, env: &TestEnv) -> String {
    let lines = ran.stderr.lines().skip_while(|line| !line.starts_with("error: "));
    lines.map(|line| line.replace(env.folder.as_str(), "FOLDER") + "\n").collect()
}

#[test]
fn a_report_to_a_full_device_is_an_error() {
    let env = site();
    for (arguments, code) in [
        (&["projects", "--json"][..], 1),
        (&["projects"], 1),
        (&["affected", "--json"], 1),
        (&["deploy", "app", "--engine", "host", "--json"], 4),
        (&["projects", "no-such-command"], 2),
    ] {
        let full = OpenOptions::new().write(true).open("/dev/full").expect("a device");
        let mut xtask = env.command(arguments, &[]);
        let ran = ran(xtask.stdout(full).output().expect("xtask runs")).exits(code);
        if code != 2 {
            let text = errors(&ran, &env);
            expect![[r#"
                error: the report could not be written to stdout: No space left on device (os error 28)
                hint: check for free disk space and for write permission on the folder; then run it again
            "#]]
            .assert_eq(&text);
        }
    }
    let records = std::fs::read_dir(env.root.join(".xtask/records")).expect("a folder").count();
    assert_eq!(records, 1, "the deployment has its record");
}

#[test]
fn a_closed_pipe_is_no_error() {
    let env = site();
    let mut xtask = env.command(&["projects", "--json"], &[]);
    let mut child = xtask.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    drop(child.stdout.take());
    let ran = ran(child.wait_with_output().expect("an end")).exits(0);
    assert_eq!(ran.stderr, "");
}

#[test]
fn runs_without_home_and_with_unusual_temporary_folders() {
    let env = site();
    let missing = env.folder.join("no such folder");
    let blocked = env.folder.join("file");
    std::fs::write(&blocked, "").expect("a file");
    for (name, value) in [
        ("HOME", None),
        ("HOME", Some("/nonexistent")),
        ("TMPDIR", None),
        ("TMPDIR", Some(missing.as_str())),
        ("TMPDIR", Some(blocked.as_str())),
        ("TMPDIR", Some("relative/folder")),
        ("TMPDIR", Some("")),
    ] {
        let mut xtask = env.command(&[&DEPLOY[..], &["--force"]].concat(), &[]);
        match value {
            Some(value) => xtask.env(name, value),
            None => xtask.env_remove(name),
        };
        let ran = ran(xtask.output().expect("xtask runs"));
        assert!(ran.code == 0, "{name} {value:?}: {} {}", ran.stdout, ran.stderr);
    }
}

#[test]
fn reports_too_few_file_handles() {
    let env = site();
    let run = |limit: &str, command: &str| {
        let program = env!("CARGO_BIN_EXE_xtask");
        env.sh(&format!("ulimit {limit}; exec '{program}' {command}"))
    };
    // With fewer than eight the program cannot be loaded by some systems.
    for handles in [8, 12, 20, 63] {
        for command in ["projects", "affected", "deploy app --engine host"] {
            let ran = run(&format!("-n {handles}"), command).exits(3);
            assert_eq!(
                ran.stderr,
                format!(
                    "error: only {handles} files may be open at once, and a run needs at least 64\n\
                     hint: nothing was changed; run `ulimit -n 1024`, then retry\n"
                )
            );
        }
    }
    run("-n 8", "help").exits(0);
    // A run raises a limit that it may raise.
    run("-Sn 12", "deploy app --engine host").exits(0);
    env.xtask(&["sandbox", "down"]).exits(0);
    run("-n 64", "deploy app --engine host --force").exits(0);
}

#[test]
fn a_repository_below_a_folder_with_any_name_is_deployed() {
    for name in
        ["a#b", "with  spaces", "line\nbreak", "quote'\"$(touch pwned)", "é🔑 *[a]", "a%41b", "-rf"]
    {
        let mut env = site();
        let root = env.folder.join(name);
        std::fs::rename(&env.root, &root).expect("renamed");
        env.root = root;
        env.xtask(&DEPLOY).exits(0);
        assert_eq!(env.fetch("app.localhost", "/"), (200, "<h1>app</h1>".to_owned()), "{name:?}");
        let script = env.xtask(&[&DEPLOY[..], &["--dry-run"]].concat()).exits(0).stdout;
        assert!(script.contains("#!/bin/sh") || script.contains("set -"), "{script}");
        assert!(!env.folder.join("pwned").exists() && !env.root.join("pwned").exists());
    }
}

#[test]
fn refuses_a_folder_in_which_bun_cannot_run() {
    let mut env = site();
    let root = env.folder.join("what?");
    std::fs::rename(&env.root, &root).expect("renamed");
    env.root = root;
    let wanted = expect![[r"
        error: the path FOLDER/what? has a `?`, and Bun runs no program below such a folder
        hint: nothing was changed; rename the folder, or check the repository out elsewhere
    "]];
    wanted.assert_eq(&errors(&env.xtask(&DEPLOY).exits(3), &env));
    env.xtask(&["projects"]).exits(0);
}

#[test]
fn names_bytes_that_are_not_utf_8() {
    let env = site();
    let odd = OsStr::from_bytes(b"caf\xe9");
    // The repository's own folder.
    let root = env.folder.as_std_path().join(odd);
    env.sh(&format!("cp -R . \"$(printf '{}/caf\\351')\"", env.folder)).exits(0);
    let error = |arguments: &[&str]| {
        let mut xtask = env.command(arguments, &[]);
        let ran = ran(xtask.current_dir(&root).output().expect("xtask runs")).exits(3);
        errors(&ran, &env)
    };
    let wanted = expect![[r#"
        error: the path FOLDER/caf� is not UTF-8
        hint: rename the folder, or check the repository out elsewhere
    "#]];
    wanted.assert_eq(&error(&["projects"]));
    wanted.assert_eq(&error(&DEPLOY));
    assert!(!root.join(".xtask").exists(), "nothing is left");
    // A file that is published, and is among the inputs.
    let file = env.root.as_std_path().join("projects/app/dist").join(odd);
    std::fs::write(&file, "x").expect("a file");
    let ran = env.xtask(&DEPLOY);
    assert!([1, 3].contains(&ran.code), "{} {}", ran.stdout, ran.stderr);
    let text = ran.stdout + &ran.stderr;
    assert!(text.contains("UTF-8") || text.contains("caf"), "{text}");
}

#[test]
fn a_failed_write_leaves_no_partial_file() {
    let env = site();
    let status = || env.sh("git status --porcelain --ignored | grep -v .xtask").stdout;
    let before = status();
    for arguments in ["ci generate", "new shop"] {
        // No file may have a byte. Without its signal, a write is an error.
        let program = env!("CARGO_BIN_EXE_xtask");
        let ran = env.sh(&format!("trap '' XFSZ; ulimit -f 0; {program} {arguments} 2>&1 | cat"));
        let text = ran.stdout.replace(env.folder.as_str(), "FOLDER");
        assert!(text.starts_with("error: cannot write FOLDER/repo/"), "{text}");
        let hint = "hint: nothing was changed; check for free disk space and for write permission on the folder\n";
        assert!(text.ends_with(hint), "{text}");
    }
    assert_eq!(status(), before);
}
