//! The compared commit decides which projects are affected, whatever the working tree holds.

use crate::affected::{affected_json, id, names, tree, tree_with_submodule};
use crate::support::TestEnv;

fn summaries(env: &TestEnv) -> Vec<String> {
    let Ok(entries) = env.root.join(".xtask/summaries").read_dir_utf8() else { return Vec::new() };
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("an entry").file_name().to_owned()).collect();
    names.sort();
    names
}

#[test]
fn reads_another_commit_without_a_checkout() {
    let env = tree();
    env.git(&["checkout", "--quiet", "-b", "change"]);
    env.site("projects/new", "new");
    env.write("packages/extra/package.json", r#"{ "name": "extra" }"#);
    env.write(
        "projects/new/package.json",
        r#"{ "name": "new", "dependencies": { "extra": "workspace:*" } }"#,
    );
    env.commit("a project");
    env.write("packages/extra/index.ts", "1\n");
    env.commit("its package");
    env.git(&["checkout", "--quiet", "main"]);
    let ask = ["--base", "change~1", "--head", "change"];
    let json = affected_json(&env, &ask);
    assert_eq!(names(&json), ["new"], "main has neither");
    assert_eq!(json["projects"][0]["reasons"][0]["on"], "packages/extra");
    assert_eq!(json["of"], 3);
    assert_eq!(json["packages"][0]["name"], "extra");
    assert_eq!(json["head"], id(&env, "change"));
    // What the working tree holds makes no difference to a commit.
    env.write("projects/alone/wrangler.json", "{ broken");
    env.write("packages/ui/package.json", "{ broken");
    assert_eq!(affected_json(&env, &ask), json);
    assert_eq!(names(&affected_json(&env, &["--base", "main", "--head", "main"])), [""; 0]);
    let ran = env.xtask(&["affected"]).exits(0);
    let message = "skipped: packages/ui/package.json: key must be a string at line 1 column 3; projects/app/package.json \
                depends on `ui`";
    assert!(ran.stderr.contains(message), "{}", ran.stderr);
}

#[test]
fn caches_commits_and_verifies_the_cache() {
    let env = tree();
    env.git(&["checkout", "--quiet", "-b", "change"]);
    env.write("packages/tokens/a b.ts", "2\n");
    env.commit("change");
    let commit = id(&env, "HEAD");
    let json = affected_json(&env, &[]);
    assert_eq!(names(&json), ["app"]);
    assert_eq!(summaries(&env), [commit.as_str()]);
    let kept = env.root.join(".xtask/summaries").join(&commit);
    let text = std::fs::read_to_string(&kept).expect("text");
    assert_eq!(affected_json(&env, &[]), json);
    assert_eq!(std::fs::read_to_string(&kept).expect("text"), text);

    let (_, body) = text.split_once('\n').expect("a checksum");
    for damaged in [
        text.replace("tokens", "tokenz"),
        text[..text.len() - 1].to_owned(),
        body.to_owned(),
        text.replace("\"inode\":", "\"inode\":1"),
        String::new(),
    ] {
        std::fs::write(&kept, &damaged).expect("written");
        assert_eq!(affected_json(&env, &[]), json, "{damaged}");
        assert_eq!(std::fs::read_to_string(&kept).expect("text"), text, "made again");
    }

    // A folder that cannot be written costs time and nothing else.
    std::fs::remove_dir_all(env.root.join(".xtask/summaries")).expect("removed");
    std::fs::write(env.root.join(".xtask/summaries"), "in the way").expect("a file");
    assert_eq!(affected_json(&env, &[]), json);
}

#[test]
fn keeps_at_most_16_summaries() {
    let env = tree();
    for number in 0..18 {
        env.write("README.md", &format!("{number}\n"));
        env.commit("more");
        affected_json(&env, &["--head", "HEAD"]);
    }
    let kept = summaries(&env);
    assert_eq!(kept.len(), 16);
    assert!(kept.contains(&id(&env, "HEAD")) && !kept.contains(&id(&env, "HEAD~17")));
}

#[test]
fn existing_files_are_those_of_the_working_tree() {
    let env = tree();
    affected_json(&env, &[]);
    env.write("packages/extra/package.json", r#"{ "name": "extra" }"#);
    assert_eq!(names(&affected_json(&env, &[])), [""; 0]);
    env.write(
        "projects/alone/package.json",
        r#"{ "name": "alone", "dependencies": { "extra": "file:../../packages/extra" } }"#,
    );
    assert_eq!(names(&affected_json(&env, &[])), ["alone"]);
    env.commit("uses it");
    env.write("packages/extra/index.ts", "1\n");
    let json = affected_json(&env, &[]);
    assert_eq!(names(&json), ["alone"]);
    assert_eq!(json["projects"][0]["reasons"][0]["path"], "packages/extra/index.ts");
    // An uncommitted input exists in the working tree only.
    env.write("projects/app/package.json", r#"{ "xtask": { "inputs": ["data.json"] } }"#);
    env.git(&["add", "projects/app/package.json"]);
    env.git(&["commit", "--quiet", "--message", "an input"]);
    env.write("data.json", "{}\n");
    assert!(names(&affected_json(&env, &[])).contains(&"app"));
    let ran = env.xtask(&["affected", "--head", "HEAD"]).exits(0);
    assert!(ran.stderr.contains("the input `data.json` is not in this repository"));
    assert!(!ran.stdout.contains("app"), "{}", ran.stdout);
}

#[test]
fn links_in_a_commit_are_followed_inside_of_it() {
    let env = tree();
    let link = |to: &str, at: &str| {
        std::os::unix::fs::symlink(to, env.root.join(at)).expect("a link");
    };
    env.write("shared/wrangler.json", r#"{ "name": "linked", "assets": { "directory": "dist" } }"#);
    env.write("projects/linked/index.html", "1\n");
    link("../../shared/wrangler.json", "projects/linked/wrangler.json");
    link("shared", "also");
    env.write("projects/linked/package.json", r#"{ "xtask": { "inputs": ["also/text"] } }"#);
    env.write("shared/text", "1\n");
    env.commit("links");
    env.write("projects/linked/index.html", "2\n");
    env.commit("change");
    let ask = ["--base", "HEAD~1", "--head", "HEAD"];
    assert_eq!(names(&affected_json(&env, &ask)), ["linked"]);
    std::fs::remove_file(env.root.join("projects/linked/wrangler.json")).expect("removed");
    link("/etc/hostname", "projects/linked/wrangler.json");
    env.commit("leaves");
    let json = affected_json(&env, &ask);
    let message =
        json["broken"][0]["failure"]["message"].as_str().unwrap_or_else(|| panic!("{json:#}"));
    assert!(
        message.starts_with("projects/linked/wrangler.json leads out of the repository"),
        "{message}"
    );
}

#[test]
fn uses_the_working_tree_if_a_commit_s_manifest_is_missing() {
    let env = tree();
    env.git(&["checkout", "--quiet", "-b", "change"]);
    env.write("packages/tokens/a b.ts", "2\n");
    env.commit("change");
    let object = id(&env, "HEAD:packages/ui/package.json");
    let (folder, file) = object.split_at(2);
    std::fs::remove_file(env.root.join(".git/objects").join(folder).join(file)).expect("removed");
    assert_eq!(names(&affected_json(&env, &[])), ["app"]);
    let ran = env.xtask(&["affected", "--head", "HEAD"]).exits(3);
    assert!(
        ran.stderr.contains(&format!("git does not have the object {object} here")),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_partial_clone_fetches_manifests_at_once() {
    let env = tree();
    env.git(&["checkout", "--quiet", "-b", "change"]);
    env.write("packages/tokens/a b.ts", "2\n");
    env.commit("change");
    env.git(&["config", "uploadpack.allowFilter", "true"]);
    env.git(&["config", "uploadpack.allowAnySHA1InWant", "true"]);
    let partial_clone = || {
        let clone = TestEnv::new();
        std::fs::remove_dir_all(&clone.root).expect("removed");
        let script = format!(
            "git clone --quiet --filter=blob:none --sparse --branch change 'file://{from}' '{to}' && \
             cd '{to}' && git sparse-checkout set dagger projects/alone",
            from = env.root,
            to = clone.root
        );
        env.sh(&script).exits(0);
        clone
    };
    let clone = partial_clone();
    assert!(!clone.root.join("projects/app").exists());
    let json = affected_json(&clone, &["--base", "origin/main"]);
    assert_eq!(names(&json), ["app"], "the whole repository");
    let clone = partial_clone();
    clone.git(&["remote", "set-url", "origin", "file:///gone"]);
    let json = affected_json(&clone, &["--base", "origin/main"]);
    assert_eq!(json["of"], 1, "what is checked out");
    let ran = clone.xtask(&["affected", "--base", "origin/main", "--head", "HEAD"]).exits(3);
    assert!(ran.stderr.contains("git does not have"), "{}", ran.stderr);
}

#[test]
fn a_dependency_inside_of_a_submodule_is_part_of_the_key() {
    let (env, moves) = tree_with_submodule();
    let keys = |names: &[&str]| {
        let arguments = [&["deploy", "--engine", "host", "--dry-run", "--json"], names].concat();
        let json = env.xtask(&arguments).exits(0).json();
        let parts = json["projects"].as_array().expect("projects").iter();
        parts.map(|part| part["key"].as_str().expect("a key").to_owned()).collect::<Vec<_>>()
    };
    let before = keys(&["alone", "app"]);
    assert_eq!([keys(&["alone"]), keys(&["app"])].concat(), before, "whoever else takes part");
    env.sh(moves).exits(0);
    let after = keys(&["alone", "app"]);
    assert_eq!(after[0], before[0]);
    assert_ne!(after[1], before[1], "the submodule moved");
}
