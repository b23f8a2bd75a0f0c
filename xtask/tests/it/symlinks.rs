//! Symbolic links: within the repository they are files like others, out of it they are refused.

use std::os::unix::fs::symlink;

use crate::support::{TestEnv, error_text};

fn link(env: &TestEnv, target: &str, path: &str) {
    let path = env.root.join(path);
    if path.is_dir() && !path.is_symlink() {
        std::fs::remove_dir_all(&path).expect("removable");
    } else if path.symlink_metadata().is_ok() {
        std::fs::remove_file(&path).expect("removable");
    }
    symlink(target, path).expect("a link");
}

/// One thing put outside, the error, and the thing put back.
#[test]
fn refuses_a_link_out_of_the_repository() {
    let env = TestEnv::with_tools();
    env.site("projects/a", "a");
    env.worker("projects/b", "b");
    env.commit("projects");
    let outside = env.folder.join("outside");
    std::fs::create_dir_all(&outside).expect("a folder");
    let copied = env.sh(&format!("cp -r projects/a projects/b dagger {outside}/"));
    copied.exits(0);
    let absolute = |path: &str| outside.join(path).into_string();
    for (path, target, name) in [
        ("projects/a/wrangler.jsonc", absolute("a/wrangler.jsonc"), "a"),
        ("projects/a/wrangler.jsonc", "../../../outside/a/wrangler.jsonc".to_owned(), "a"),
        ("projects/a/package.json", absolute("a/package.json"), "a"),
        ("projects/a", absolute("a"), "a"),
        ("projects/b/src/worker.ts", absolute("b/src/worker.ts"), "b"),
        ("projects/b/src", absolute("b/src"), "b"),
        ("dagger/config/config.json", absolute("dagger/config/config.json"), "a"),
    ] {
        link(&env, &target, path);
        let ran = env.xtask(&["deploy", name, "--json"]).exits(3);
        let output = ran.stdout.clone() + &ran.stderr;
        assert!(output.contains("leads out of the repository, to "), "{path}: {output}");
        assert!(output.contains(path) && output.contains("/outside/"), "{path}: {output}");
        env.sh(&format!("rm {path} && git checkout --quiet -- {path}")).exits(0);
    }
    // Only what a link leads to matters, not that it is one.
    env.sh("mkdir shared && mv projects/a/wrangler.jsonc shared/site.jsonc").exits(0);
    link(&env, "../../shared/site.jsonc", "projects/a/wrangler.jsonc");
    env.xtask(&["projects", "--json"]).exits(0);
}

#[test]
fn files_outside_of_the_repository_are_never_uploaded() {
    let env = TestEnv::with_tools();
    env.site("projects/a", "a");
    env.commit("site");
    let key = env.folder.join("home/id_key");
    std::fs::write(&key, "a private key").expect("a file");
    let build = |more: &str| {
        let copy = "await Bun.write('dist/index.html', 'one');\nimport { symlinkSync as link, rmSync } from 'node:fs';\n";
        env.write("projects/a/build.ts", &format!("{copy}{more}"));
        env.xtask(&["deploy", "a", "--json"])
    };
    for more in [
        format!("link('{key}', 'dist/key.txt');"),
        format!(
            "await Bun.write('dist/deep/a.txt', 'a'); link('{}', 'dist/deep/home');",
            env.folder.join("home")
        ),
        format!(
            "rmSync('dist', {{ recursive: true }}); link('{}', 'dist');",
            env.folder.join("home")
        ),
    ] {
        let record = build(&more).exits(3).record("a");
        let error = error_text(&record);
        assert!(error.contains("leads out of the repository, to "), "{more}: {error}");
        assert_eq!(record["version"], serde_json::Value::Null);
        env.sh("rm -rf projects/a/dist").exits(0);
    }
    build("link('index.html', 'dist/also.html');").exits(0);
    assert_eq!(env.fetch("a.localhost", "/also").1, "one");
}
