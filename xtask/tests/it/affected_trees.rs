//! A commit and its clean working tree give the same answer, in odd repositories too.

use std::os::unix::fs::symlink;

use crate::affected::{affected_json, names, tree, tree_with_submodule};
use crate::support::TestEnv;

/// A branch on which nothing has changed yet.
fn branch() -> TestEnv {
    let env = tree();
    env.git(&["checkout", "--quiet", "-b", "change"]);
    env
}

fn keys(env: &TestEnv, names: &[&str]) -> Vec<String> {
    let arguments = [&["deploy", "--engine", "host", "--dry-run", "--json"], names].concat();
    let json = env.xtask(&arguments).exits(0).json();
    let parts = json["projects"].as_array().expect("projects").iter();
    parts.map(|part| part["key"].as_str().expect("a key").to_owned()).collect()
}

#[test]
fn a_link_to_nothing_is_no_config_beside_another() {
    let env = branch();
    let config = env.root.join("projects/alone").read_dir_utf8().expect("a folder");
    let mut config = config.map(|entry| entry.expect("an entry").into_path());
    let config = config.find(|path| path.file_name() == Some("wrangler.jsonc")).expect("a config");
    symlink("nothing", config.with_file_name("wrangler.json")).expect("a link");
    symlink("loop", env.root.join("projects/alone/wrangler.toml")).expect("a link");
    env.commit("links");
    env.write("projects/alone/text", "1\n");
    env.commit("change");
    let json = affected_json(&env, &["--base", "HEAD~1", "--head", "HEAD"]);
    assert_eq!(names(&json), ["alone"], "{json:#}");
}

#[test]
fn manifests_may_be_links_to_files_of_other_names() {
    let env = branch();
    env.sh("mkdir shared && cd projects/alone && mv package.json ../../shared/text && ln -s ../../shared/text package.json && mv wrangler.jsonc site && ln -s site wrangler.jsonc")
        .exits(0);
    env.commit("links");
    env.write("projects/alone/text", "1\n");
    env.commit("change");
    let json = affected_json(&env, &["--base", "HEAD~1", "--head", "HEAD"]);
    assert_eq!(
        (names(&json), &json["packages"][0]["name"]),
        (vec!["alone"], &"alone-package".into())
    );
}

#[test]
fn a_manifest_that_is_not_utf8_is_as_broken_in_a_commit() {
    let env = branch();
    let path = env.root.join("projects/alone/package.json");
    std::fs::write(path, b"{ \"name\": \"a\xff\" }").expect("written");
    env.commit("not UTF-8");
    for ask in [&["--head", "HEAD"][..], &[]] {
        let json = affected_json(&env, ask);
        let message =
            json["broken"][0]["failure"]["message"].as_str().unwrap_or_else(|| panic!("{json:#}"));
        assert!(message.contains("cannot read projects/alone/package.json"), "{message}");
    }
}

#[test]
fn reads_a_filtered_config_from_the_working_tree() {
    let env = branch();
    env.git(&["config", "filter.secret.clean", "sed 's/^/secret:/'"]);
    env.git(&["config", "filter.secret.smudge", "sed 's/^secret://'"]);
    env.write(".gitattributes", "projects/alone/wrangler.jsonc filter=secret\n");
    env.sh("touch projects/alone/wrangler.jsonc && git add --renormalize .").exits(0);
    env.commit("encrypted");
    env.write("projects/alone/text", "1\n");
    env.commit("change");
    let json = affected_json(&env, &["--base", "HEAD~1"]);
    assert_eq!(names(&json), ["alone"], "{json:#}");
    let json = affected_json(&env, &["--base", "HEAD~1", "--head", "HEAD"]);
    assert_eq!(json["broken"][0]["dir"], "projects/alone", "{json:#}");
}

#[test]
fn project_patterns_come_from_the_working_tree() {
    let env = tree();
    env.sh("mkdir sites && git mv projects/alone sites/alone && git rm -rq projects").exits(0);
    env.write("projects/README", "none yet\n");
    env.commit("moved");
    env.git(&["checkout", "--quiet", "-b", "change"]);
    env.write("sites/alone/text", "1\n");
    assert_eq!(names(&affected_json(&env, &[])), ["sites/alone"], "no project is in the folder");
    env.site("projects/new", "new");
    assert_eq!(names(&affected_json(&env, &[])), ["new"]);
    std::fs::remove_dir_all(env.root.join("projects")).expect("removed");
    assert_eq!(names(&affected_json(&env, &[])), ["sites/alone"]);
}

#[test]
fn ignores_git_replace_refs() {
    let env = branch();
    env.write("README.md", "1\n");
    env.commit("change");
    assert_eq!(names(&affected_json(&env, &[])), [""; 0]);
    env.git(&["checkout", "--quiet", "-b", "other"]);
    env.site("projects/new", "new");
    env.commit("other");
    env.git(&["checkout", "--quiet", "change"]);
    env.sh("git replace change other && git reset --quiet --hard").exits(0);
    assert!(env.root.join("projects/new").exists());
    assert_eq!(names(&affected_json(&env, &[])), ["new"], "what is kept of the commit lacks it");
}

#[test]
fn inputs_behind_a_link_count() {
    let env = branch();
    env.write("shared/text", "1\n");
    symlink("shared", env.root.join("also")).expect("a link");
    env.write(
        "projects/alone/package.json",
        r#"{ "xtask": { "build": "true", "inputs": ["also/text"] } }"#,
    );
    env.commit("an input");
    let before = keys(&env, &["alone"]);
    env.write("shared/text", "2\n");
    let after = keys(&env, &["alone"]);
    assert_ne!(after, before);
    assert_eq!(names(&affected_json(&env, &["--base", "HEAD"])), ["alone"], "the working tree");
    env.commit("change");
    let ask = ["--base", "HEAD~1", "--head", "HEAD"];
    assert_eq!(names(&affected_json(&env, &ask)), ["alone"], "the commit");
    assert_eq!(keys(&env, &["alone"]), after);
}

/// A link inside of a project, a link behind it, a link to a package, and one that is not committed.
#[test]
fn the_target_of_a_link_is_an_input() {
    let env = branch();
    env.write("shared/texts/hello", "1\n");
    env.write("shared/deep/more", "1\n");
    env.write("lib/package.json", r#"{ "name": "lib" }"#);
    env.write("lib/code/index.js", "1\n");
    env.write("late/text", "1\n");
    let link = |target: &str, path: &str| symlink(target, env.root.join(path)).expect("a link");
    env.write("projects/alone/src/own", "1\n");
    link("../../../shared/texts", "projects/alone/src/texts");
    link("../deep/more", "shared/texts/more");
    link("../../lib/code/index.js", "projects/alone/index.js");
    link("../..", "projects/alone/up");
    env.commit("links");
    link("../../late", "projects/alone/late");
    let mut before = keys(&env, &["alone"]);
    let files = ["shared/texts/hello", "shared/deep/more", "lib/code/index.js", "late/text"];
    for path in files {
        env.write(path, "2\n");
        let after = keys(&env, &["alone"]);
        assert_ne!(after, before, "{path}");
        assert_eq!(names(&affected_json(&env, &["--base", "HEAD"])), ["alone"], "{path}");
        before = after;
        env.commit(path);
        let ask = ["--base", "HEAD~1", "--head", "HEAD"];
        assert_eq!(names(&affected_json(&env, &ask)), ["alone"], "{path}: the commit");
    }
    env.write("elsewhere/text", "2\n");
    assert_eq!(keys(&env, &["alone"]), before, "the way up is not everything");
    assert_eq!(names(&affected_json(&env, &["--base", "HEAD"])), [""; 0]);
}

#[test]
fn caches_are_invisible_to_git() {
    let env = branch();
    let ignored = std::fs::read_to_string(env.root.join(".gitignore")).expect("a file");
    env.write(".gitignore", &ignored.replace(".xtask/", ""));
    env.commit("nothing is ignored");
    let json = affected_json(&env, &[]);
    assert_eq!(affected_json(&env, &[]), json);
    assert!(!env.root.join(".xtask/summaries").exists());
}

#[test]
fn an_empty_git_folder_makes_no_repository() {
    let mut env = branch();
    env.sh("mkdir top && git mv -k $(git ls-files | cut -d/ -f1 | sort -u) top/ && mkdir top/.git")
        .exits(0);
    env.commit("below the top");
    env.write("top/packages/tokens/a b.ts", "3\n");
    env.root = env.root.join("top");
    assert_eq!(names(&affected_json(&env, &["--base", "HEAD"])), ["app"]);
}

#[test]
fn a_submodule_whose_folder_was_deleted_has_no_content() {
    let (env, _) = tree_with_submodule();
    env.write(
        "projects/alone/package.json",
        r#"{ "xtask": { "build": "true", "inputs": ["vendor"] } }"#,
    );
    let before = keys(&env, &["alone"]);
    env.sh("rm -r vendor/theme && touch vendor/other").exits(0);
    let after = keys(&env, &["alone"]);
    assert_ne!(after, before);
    env.write("vendor/theme", "a file\n");
    assert!(![before, after].contains(&keys(&env, &["alone"])));
}
