//! The projects affected by a change, in real repositories.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::{Ran, TestEnv, ran};

/// A workspace of npm, a Worker that uses one of its packages, and one without dependencies.
pub fn tree() -> TestEnv {
    let env = TestEnv::new();
    env.write(
        "package.json",
        r#"{ "name": "root", "workspaces": ["projects/*", "packages/*", "!projects/alone"] }"#,
    );
    env.write("bun.lock", "{}\n");
    env.write("packages/tokens/package.json", r#"{ "name": "tokens", "version": "1.2.0" }"#);
    env.write("packages/tokens/a b.ts", "1\n");
    env.write(
        "packages/ui/package.json",
        r#"{ "name": "ui", "dependencies": { "tokens": "^1.0.0" } }"#,
    );
    env.site("projects/app", "app");
    env.write(
        "projects/app/package.json",
        r#"{ "name": "app", "scripts": { "build": "true" }, "devDependencies": { "ui": "workspace:*" } }"#,
    );
    env.site("projects/alone", "alone");
    env.write("projects/alone/bun.lock", "{}\n");
    env.write("README.md", "about\n");
    env.commit("tree");
    env
}

/// The names of the affected projects.
pub fn names(json: &Value) -> Vec<&str> {
    let projects = json["projects"].as_array().expect("projects");
    projects.iter().map(|project| project["name"].as_str().expect("text")).collect()
}

pub fn affected_json(env: &TestEnv, arguments: &[&str]) -> Value {
    affected_with(env, arguments, &[])
}

pub fn affected_with(env: &TestEnv, arguments: &[&str], variables: &[(&str, &str)]) -> Value {
    let all = [&["affected", "--json"], arguments].concat();
    env.xtask_with(&all, variables).exits(0).json()
}

#[track_caller]
pub fn assert_everything(json: &Value, because: &str) {
    assert_eq!(names(json), ["alone", "app"], "{json:#}");
    let message = json["base"]["because"].as_str().unwrap_or_else(|| panic!("{json:#}"));
    assert!(message.contains(because), "{message}");
    assert_eq!(json["projects"][0]["reasons"][0]["kind"], "unknownBase");
}

pub fn id(env: &TestEnv, revision: &str) -> String {
    env.sh(&format!("git rev-parse '{revision}'")).exits(0).stdout.trim().to_owned()
}

/// A clone of `env` as a runner makes it: shallow, detached, without other branches.
pub fn runner_clone(env: &TestEnv, revision: &str, depth: u32) -> TestEnv {
    let clone = TestEnv::new();
    std::fs::remove_dir_all(&clone.root).expect("removed");
    env.git(&["config", "uploadpack.allowAnySHA1InWant", "true"]);
    let script = format!(
        "git init --quiet '{to}' && cd '{to}' && git remote add origin 'file://{from}' && \
         git fetch --quiet --no-tags --depth {depth} origin {revision} && git checkout --quiet FETCH_HEAD",
        to = clone.root,
        from = env.root
    );
    env.sh(&script).exits(0);
    clone
}

pub const PIPELINE: (&str, &str) = ("GITLAB_CI", "true");

#[test]
fn dependents_are_affected_with_their_path_as_reason() {
    let env = tree();
    env.git(&["checkout", "--quiet", "-b", "change"]);
    env.write("packages/tokens/a b.ts", "2\n");
    env.commit("change");
    let json = affected_json(&env, &[]);
    assert_eq!(names(&json), ["app"]);
    assert_eq!(json["base"]["why"], "the merge base with main");
    assert_eq!(
        json["projects"][0]["reasons"],
        serde_json::json!([{ "kind": "dependency", "on": "packages/ui", "origin": "manifest",
            "through": ["packages/tokens"], "path": "packages/tokens/a b.ts" }])
    );
    let packages: Vec<&str> = json["packages"]
        .as_array()
        .expect("packages")
        .iter()
        .map(|package| package["name"].as_str().expect("text"))
        .collect();
    assert_eq!(packages, ["tokens", "ui", "app"]);
    let why = env.xtask(&["affected", "--why"]).exits(0);
    assert!(
        why.stdout
            .contains("depends on packages/ui → packages/tokens: packages/tokens/a b.ts changed"),
        "{}",
        why.stdout
    );
    assert_eq!(env.xtask(&["affected"]).exits(0).stdout, "app\n");
}

#[test]
fn sees_uncommitted_untracked_renamed_and_unusual_paths() {
    let env = tree();
    assert_eq!(affected_json(&env, &[])["projects"], serde_json::json!([]));
    env.write("README.md", "changed\n");
    assert_eq!(
        affected_json(&env, &[])["projects"],
        serde_json::json!([]),
        "no project depends on it"
    );
    env.write("projects/alone/new \"file\"\nin two lines", "x");
    let json = affected_json(&env, &[]);
    assert_eq!(names(&json), ["alone"]);
    assert_eq!(
        json["projects"][0]["reasons"][0]["path"],
        "projects/alone/new \"file\"\nin two lines"
    );
    assert_eq!(affected_json(&env, &["--head", "HEAD"])["projects"], serde_json::json!([]));
    env.commit("odd");
    env.sh("git mv 'packages/tokens/a b.ts' projects/alone/").exits(0);
    assert_eq!(
        names(&affected_json(&env, &[])),
        ["alone", "app"],
        "where it went and where it came from"
    );
    env.commit("moved");
    env.sh("git rm --quiet --cached projects/app/build.ts").exits(0);
    assert_eq!(names(&affected_json(&env, &[])), ["app"], "a staged deletion");
    env.sh("git add --all && printf x > \"$(printf 'projects/alone/\\377')\"").exits(0);
    assert_eq!(names(&affected_json(&env, &[])), ["alone"], "a name that is not UTF-8");
}

#[test]
fn lock_files_and_pins_affect_projects_built_with_them() {
    let env = tree();
    env.write("bun.lock", "{ }\n");
    let json = affected_json(&env, &[]);
    assert_eq!(names(&json), ["app"], "the other one has its own lock file");
    assert_eq!(
        json["projects"][0]["reasons"],
        serde_json::json!([{ "kind": "dependency", "on": "packages/ui", "origin": "manifest",
            "through": ["bun.lock"], "path": "bun.lock" },
            { "kind": "globalInput", "path": "bun.lock" }])
    );
    env.sh("git checkout --quiet bun.lock && git rm --quiet bun.lock").exits(0);
    assert!(names(&affected_json(&env, &[])).contains(&"app"), "a deleted lock file");
    env.sh("git reset --quiet --hard").exits(0);
    env.write("dagger/cloudflare/toolchain/bun.lock", "{}\n");
    assert_eq!(names(&affected_json(&env, &[])), ["alone", "app"]);
}

#[test]
fn dagger_modules_affect_projects_they_build_and_deploy() {
    let env = tree();
    let module = |dir: &str, dependencies: &str| {
        env.write(
            &format!("{dir}/dagger.json"),
            &format!("{{ \"dependencies\": [{dependencies}] }}"),
        );
        env.write(&format!("{dir}/src/index.ts"), "one");
    };
    let config = r#"{ "name": "config", "source": "../config" }"#;
    module("dagger/bun", "");
    module("dagger/cloudflare", config);
    module("dagger/config", "");
    module("projects/alone", "");
    env.write("projects/app/package.json", r#"{ "name": "app", "scripts": { "build": "true" } }"#);
    env.commit("modules");
    env.git(&["branch", "--force", "base"]);
    let keys = || {
        let plan = ["deploy", "alone", "app", "--engine", "host", "--dry-run", "--json"];
        let plan = env.xtask(&plan).exits(0).json();
        ["alone", "app"].map(|name| {
            let parts = plan["projects"].as_array().expect("projects");
            let part = parts.iter().find(|part| part["project"] == name).expect(name);
            part["key"].as_str().expect("a key").to_owned()
        })
    };
    let before = keys();
    for (file, expected) in [
        ("dagger/bun/src/index.ts", &["app"][..]),
        ("projects/alone/src/index.ts", &["alone"]),
        ("dagger/cloudflare/src/index.ts", &["alone", "app"]),
        ("dagger/config/src/index.ts", &["alone", "app"]),
        ("dagger/test/a.test.ts", &[]),
    ] {
        env.write(file, "two");
        assert_eq!(names(&affected_json(&env, &["--base", "base"])), expected, "{file}");
        let changed: Vec<&str> = ["alone", "app"]
            .into_iter()
            .zip(before.iter().zip(keys()))
            .filter_map(|(name, (before, now))| (*before != now).then_some(name))
            .collect();
        assert_eq!(changed, expected, "{file}");
        env.sh("git checkout --quiet . && git clean --quiet --force -d").exits(0);
    }
    env.write("dagger/cloudflare/src/index.ts", "two");
    assert_eq!(
        affected_json(&env, &["--base", "base"])["projects"][1]["reasons"],
        serde_json::json!([{ "kind": "dependency", "on": "dagger/cloudflare", "origin": "module",
            "through": [], "path": "dagger/cloudflare/src/index.ts" }])
    );
    env.sh("git checkout --quiet .").exits(0);
    env.write(
        "dagger/config/config.json",
        &format!(
            "{}\n",
            std::fs::read_to_string(env.root.join("dagger/config/config.json")).expect("text")
        ),
    );
    assert_eq!(
        affected_json(&env, &["--base", "base"])["projects"][1]["reasons"],
        serde_json::json!([{ "kind": "globalInput", "path": "dagger/config/config.json" }])
    );
}

#[test]
fn a_list_of_paths_is_taken_from_standard_input() {
    let env = tree();
    let ask = |text: &[u8]| -> Ran {
        let mut command = env.command(&["affected", "--stdin", "--json"], &[]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("xtask runs");
        child.stdin.take().expect("a pipe").write_all(text).expect("written");
        ran(child.wait_with_output().expect("an end"))
    };
    assert_eq!(names(&ask(b"projects/alone/x y\nREADME.md\n").exits(0).json()), ["alone"]);
    assert_eq!(names(&ask(b"packages/ui/\nodd\0").exits(0).json()), ["app"]);
    assert!(names(&ask(b"").exits(0).json()).is_empty());
    assert_everything(&ask(b"\"quoted\\tpath\"\n").exits(0).json(), "quoted");
}

#[test]
fn an_unknown_base_affects_everything() {
    let env = tree();
    let zeros = "0".repeat(40);
    for (arguments, because) in [
        (&["--base", "origin/gone"][..], "`origin/gone` is not a commit"),
        (&["--base=--upload-pack=x"], "not a commit"),
        (&["--base", &zeros], "not a commit"),
        (&["--head", "gone"], "`gone` is not a commit"),
    ] {
        assert_everything(&affected_json(&env, arguments), because);
    }
    env.git(&["checkout", "--quiet", "--orphan", "other"]);
    assert_everything(&affected_json(&env, &[]), "there is no commit yet");
    env.commit("other history");
    assert_everything(&affected_json(&env, &[]), "no common history with main");
    env.git(&["branch", "--quiet", "-D", "main"]);
    assert_everything(&affected_json(&env, &[]), "knows no default branch");
}

/// The same, where `app` depends on a folder inside of a submodule. The script moves the submodule.
pub fn tree_with_submodule() -> (TestEnv, &'static str) {
    let env = tree();
    let theme = TestEnv::new();
    theme.write("pkg/package.json", r#"{ "name": "theme" }"#);
    theme.commit("theme");
    let add = format!(
        "git -c protocol.file.allow=always submodule --quiet add 'file://{}' vendor/theme",
        theme.root
    );
    env.sh(&add).exits(0);
    env.write(
        "projects/app/package.json",
        r#"{ "name": "app", "scripts": { "build": "true" }, "dependencies": { "theme": "file:../../vendor/theme/pkg" } }"#,
    );
    env.commit("submodule");
    (
        env,
        "cd vendor/theme && git -c user.name=T -c user.email=t@example.com commit --quiet --allow-empty -m next",
    )
}

#[test]
fn a_submodule_affects_its_dependents() {
    let (env, moves) = tree_with_submodule();
    assert!(names(&affected_json(&env, &[])).is_empty());
    env.sh(moves).exits(0);
    assert_eq!(names(&affected_json(&env, &[])), ["app"], "the submodule moved");
    env.commit("moved");
    assert_eq!(names(&affected_json(&env, &["--base", "HEAD~1", "--head", "HEAD"])), ["app"]);
}

#[test]
fn broken_manifests_and_cycles_affect_only_their_dependents() {
    let env = tree();
    env.write("fixtures/broken/package.json", "{{ name }}");
    env.write(
        "fixtures/a/package.json",
        r#"{ "name": "fa", "dependencies": { "fb": "workspace:*" } }"#,
    );
    env.write("fixtures/b/package.json", r#"{ "name": "fb", "dependencies": { "fa": "workspace:*", "gone": "file:../../../gone" } }"#);
    env.xtask(&["projects"]).exits(0);
    env.write(
        "projects/app/package.json",
        r#"{ "name": "app", "dependencies": { "fa": "workspace:*" } }"#,
    );
    let left_out = |words: &str| {
        let ran = env.xtask(&["affected", "--json"]).exits(0);
        assert!(ran.stderr.contains(words), "{}", ran.stderr);
        let json = ran.json();
        assert_eq!(names(&json), [""; 0], "app is left out, and alone did not change");
        assert_eq!(json["broken"][0]["config"], "projects/app/wrangler.jsonc", "{json:#}");
        let stopped = env.xtask(&["build", "--engine", "host", "--dry-run"]).exits(3);
        let words = words.trim_start_matches("skipped: ");
        assert!(stopped.stderr.contains(words), "{}", stopped.stderr);
        env.xtask(&["build", "alone", "--engine", "host", "--dry-run"]).exits(0);
    };
    left_out("skipped: fixtures/b/package.json: `gone`");
    env.write(
        "fixtures/b/package.json",
        r#"{ "name": "fb", "dependencies": { "fa": "workspace:*" } }"#,
    );
    // A cycle is a set whose members share their inputs.
    assert_eq!(names(&affected_json(&env, &[])), ["app"]);
    env.commit("a cycle");
    env.write("fixtures/b/index.ts", "1\n");
    let json = affected_json(&env, &["--base", "HEAD"]);
    assert_eq!(names(&json), ["app"], "{json:#}");
    let packages = json["packages"].as_array().expect("packages").iter();
    let packages: Vec<_> = packages.map(|package| &package["name"]).collect();
    assert_eq!(packages, ["fa", "fb", "app"]);
}

#[test]
fn build_and_deploy_without_names_act_on_what_changed() {
    let env = tree();
    let plan = |arguments: &[&str]| {
        env.xtask(&[arguments, &["--engine", "host", "--dry-run", "--json"]].concat())
            .exits(0)
            .json()
    };
    let planned = |json: &Value| -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let parts = json["projects"].as_array().expect("projects");
        parts.iter().map(|part| (text(&part["project"]), text(&part["reason"]))).collect()
    };
    let all = planned(&plan(&["deploy"]));
    assert_eq!(all.len(), 2, "on the default branch, what is live decides");
    assert!(all[0].1.contains("the default branch is checked out"), "{all:?}");
    env.write("README.md", "changed\n");
    assert_eq!(
        planned(&plan(&["deploy"])).len(),
        2,
        "a change that affects no project changes nothing"
    );
    env.git(&["checkout", "--quiet", "-b", "change"]);
    env.commit("docs");
    for arguments in [&["deploy"][..], &["build"]] {
        let json = plan(arguments);
        let message = json["nothing"].as_str().expect("a reason");
        assert!(message.starts_with("no project is affected: 1 file differs from "), "{message}");
    }
    assert_eq!(env.xtask(&["deploy"]).exits(0).stdout.lines().count(), 1);
    env.write("projects/alone/content.txt", "new");
    let expected = [("alone".to_owned(), "projects/alone/content.txt changed".to_owned())];
    assert_eq!(planned(&plan(&["deploy"])), expected);
    assert_eq!(planned(&plan(&["build"])), expected);
    assert_eq!(planned(&plan(&["build", "--all"])).len(), 2);
    env.xtask(&["build", "--all", "app"]).exits(2);
}

#[test]
fn a_config_below_the_top_of_a_repository_reads_its_own_paths() {
    let env = tree();
    let outer = &env.folder;
    std::fs::remove_dir_all(env.root.join(".git")).expect("removed");
    let git = |arguments: &str| {
        let status = Command::new("sh")
            .args([
                "-c",
                &format!(
                    "cd '{outer}' && git -c user.name=T -c user.email=t@example.com {arguments}"
                ),
            ])
            .status();
        assert!(status.expect("git runs").success(), "{arguments}");
    };
    git("init --quiet --initial-branch=main");
    git("add --all");
    git("commit --quiet -m outer");
    env.write("projects/alone/content.txt", "new");
    assert_eq!(names(&affected_json(&env, &[])), ["alone"]);
    git("checkout --quiet -b change");
    git("commit --quiet -a -m change");
    assert_eq!(names(&affected_json(&env, &[])), ["alone"]);
}
