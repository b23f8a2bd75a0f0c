//! Projects that are crates: their path dependencies and the files of Cargo above them count, as a build reads them.

use std::collections::BTreeMap;

use workspace::key::content_key;
use workspace::{Workspace, inputs};

use crate::affected::{affected_json, names};
use crate::pipeline::pipeline;
use crate::support::TestEnv;

/// A Worker without a build, so that no Rust has to be compiled.
fn worker(env: &TestEnv, dir: &str, name: &str) {
    env.write(
        &format!("{dir}/worker.js"),
        "export default { fetch: () => new Response(\"hello\") };\n",
    );
    env.write(
        &format!("{dir}/wrangler.toml"),
        &format!(
            "name = \"{name}\"\nmain = \"worker.js\"\ncompatibility_date = \"2026-10-01\"\nworkers_dev = true\n"
        ),
    );
}

fn krate(env: &TestEnv, dir: &str, more: &str) {
    let name = dir.rsplit('/').next().expect("a name");
    env.write(
        &format!("{dir}/Cargo.toml"),
        &format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n{more}"),
    );
    env.write(&format!("{dir}/src/lib.rs"), "pub fn one() {}\n");
}

/// A workspace with one Worker that is a crate and one that is not.
fn tree() -> TestEnv {
    let env = TestEnv::new();
    env.write(
        "Cargo.toml",
        "[workspace]\nresolver = \"3\"\nmembers = [\"workers/api\", \"crates/*\"]\n\
         [workspace.dependencies]\ninherited = { path = \"crates/inherited\" }\nserde = \"1\"\n\
         [patch.crates-io]\nforked = { path = \"forks/forked\" }\n",
    );
    env.write("Cargo.lock", "version = 4\n");
    env.write("rust-toolchain.toml", "[toolchain]\nchannel = \"1.95\"\n");
    env.write(
        ".cargo/config.toml",
        "[alias]\nxtask = [\"run\", \"--manifest-path\", \"xtask/Cargo.toml\"]\n\
         [target.wasm32-unknown-unknown]\nlinker = \"tools/link.sh\"\n",
    );
    env.write("tools/link.sh", "#!/bin/sh\n");
    worker(&env, "workers/web", "web");
    worker(&env, "workers/api", "api");
    krate(
        &env,
        "workers/api",
        "[dependencies]\nshared = { path = \"../../crates/shared\" }\n\
         short = { path = \"../../crates/renamed\", package = \"renamed\" }\n\
         inherited = { workspace = true }\nserde.workspace = true\n\
         [build-dependencies]\ncodegen = { path = \"../../crates/codegen\" }\n\
         [dev-dependencies]\ntesting = { path = \"../../crates/testing\" }\n\
         [target.'cfg(target_arch = \"wasm32\")'.dependencies]\nwasm = { path = \"../../crates/wasm\" }\n",
    );
    krate(&env, "crates/shared", "[dependencies]\ndeep = { path = \"../deep\" }\n");
    for name in ["deep", "renamed", "inherited", "codegen", "testing", "wasm", "unused"] {
        krate(&env, &format!("crates/{name}"), "");
    }
    krate(&env, "forks/forked", "");
    krate(&env, "xtask", "[workspace]\n");
    env.commit("tree");
    env.git(&["checkout", "--quiet", "-b", "change"]);
    env
}

fn keys(env: &TestEnv) -> BTreeMap<String, String> {
    let workspace = Workspace::load(&env.root).expect("a workspace");
    assert!(workspace.broken.is_empty(), "{:?}", workspace.broken);
    let projects: Vec<_> = workspace.projects.iter().collect();
    let inputs = inputs::read(&workspace, &projects, &[], None).expect("inputs");
    let key = |inputs: &inputs::Inputs| content_key(&inputs.blobs, &BTreeMap::new());
    projects.iter().map(|project| project.worker.clone()).zip(inputs.iter().map(key)).collect()
}

/// Runs a shell command in the repository. Asserts which projects it affects, in the working tree and as a commit, and that
/// the content keys of the same projects change. Returns the reasons in text.
#[track_caller]
fn assert_affects(env: &TestEnv, script: &str, expected: &[&str]) -> String {
    let before = keys(env);
    env.sh(script).exits(0);
    let json = affected_json(env, &[]);
    assert_eq!(names(&json), expected, "{script}: {json:#}");
    let changed: Vec<String> = keys(env)
        .into_iter()
        .filter(|(name, key)| before[name] != *key)
        .map(|(name, _)| format!("workers/{name}"))
        .collect();
    assert_eq!(changed, expected, "the keys: {script}");
    let why = env.xtask(&["affected", "--why"]).exits(0).stdout;
    env.commit("change");
    let committed = affected_json(env, &["--head", "HEAD"]);
    assert_eq!(committed["projects"], json["projects"], "a commit: {script}");
    env.git(&["reset", "--quiet", "--hard", "main"]);
    why
}

const API: &[&str] = &["workers/api"];

#[test]
fn each_crate_that_a_project_is_compiled_with_is_an_input() {
    let env = tree();
    for path in [
        "crates/shared",
        "crates/deep",
        "crates/renamed",
        "crates/inherited",
        "crates/codegen",
        "crates/wasm",
        "forks/forked",
    ] {
        let file = format!("{path}/src/lib.rs");
        let why = assert_affects(&env, &format!("echo >> {file}"), API);
        let reason = format!("workers/api\n  depends on {path}: {file} changed\n");
        assert!(why.ends_with(&reason), "{why}");
    }
    for path in ["crates/testing", "crates/unused", "xtask"] {
        assert_affects(&env, &format!("echo >> {path}/src/lib.rs"), &[]);
    }
    let json = env.xtask(&["projects", "--json"]).exits(0).json();
    let depends_on = |project: usize| {
        let edges = json["projects"][project]["dependsOn"].as_array().expect("edges").iter();
        let edge = |edge: &serde_json::Value| {
            format!(
                "{} {}",
                edge["origin"].as_str().expect("text"),
                edge["to"].as_str().expect("text")
            )
        };
        edges.map(edge).collect::<Vec<_>>()
    };
    assert_eq!(
        depends_on(0),
        [
            "crate crates/codegen",
            "crate crates/deep",
            "crate crates/inherited",
            "crate crates/renamed",
            "crate crates/shared",
            "crate crates/wasm",
            "crate forks/forked",
            "cargo .cargo/config.toml",
            "cargo Cargo.lock",
            "cargo Cargo.toml",
            "cargo rust-toolchain.toml",
            "cargo tools/link.sh"
        ]
    );
    assert_eq!(depends_on(1), [""; 0], "not a crate");
}

#[test]
fn the_files_of_cargo_above_a_crate_are_inputs() {
    let env = tree();
    for path in
        ["Cargo.toml", "Cargo.lock", "rust-toolchain.toml", ".cargo/config.toml", "tools/link.sh"]
    {
        let why = assert_affects(&env, &format!("echo '# x' >> {path}"), API);
        let reason = format!("workers/api\n  is compiled with {path}: {path} changed\n");
        assert!(why.ends_with(&reason), "{why}");
        assert_affects(&env, &format!("rm {path}"), API);
    }
    for path in ["rust-toolchain", ".cargo/config", "workers/Cargo.lock", "xtask/Cargo.toml"] {
        let folder = path.rsplit_once('/').map_or(".", |(folder, _)| folder);
        let expected =
            if path.starts_with("workers") || path.starts_with("xtask") { &[][..] } else { API };
        assert_affects(&env, &format!("mkdir -p {folder} && echo '# x' >> {path}"), expected);
    }
    // A nearer file of the same kind.
    assert_affects(&env, "echo 1.94 > workers/rust-toolchain", API);
}

#[test]
fn a_lock_file_affects_the_projects_whose_locked_crates_changed() {
    let env = TestEnv::new();
    let krate = |name: &str, more: &str| {
        format!("[[package]]\nname = \"{name}\"\nversion = \"1.0.0\"\n{more}\n")
    };
    let on = |names: &str| format!("dependencies = [\n{names}]\n");
    let source = "source = \"registry+https://example.com\"\n";
    let lock = "version = 4\n\n".to_owned()
        + &krate("api", &on(" \"shared\",\n"))
        + &krate("both", source)
        + &krate("cron", &on(" \"both\",\n"))
        + &krate("deep", source)
        + &krate("shared", &on(" \"both\",\n \"deep\",\n"));
    env.write("Cargo.lock", &lock);
    env.write("Cargo.toml", "[workspace]\nmembers = [\"workers/*\"]\n");
    for name in ["api", "cron", "named"] {
        worker(&env, &format!("workers/{name}"), name);
    }
    self::krate(&env, "workers/api", "");
    self::krate(&env, "workers/cron", "");
    env.write("workers/named/package.json", r#"{ "xtask": { "inputs": ["Cargo.lock"] } }"#);
    env.commit("tree");
    env.git(&["checkout", "--quiet", "-b", "change"]);
    let change = |from: &str, to: &str| format!("perl -0pi -e 's/{from}/{to}/' Cargo.lock");
    let all = ["workers/api", "workers/cron", "workers/named"];
    for (from, to, expected) in [
        ("\"deep\"\\nversion = \"1.0.0", "\"deep\"\\nversion = \"1.0.1", &[all[0], all[2]][..]),
        ("\"both\"\\nversion = \"1.0.0", "\"both\"\\nversion = \"1.0.1", &all),
        ("\"cron\"\\nversion = \"1.0.0", "\"cron\"\\nversion = \"1.0.1", &all[1..]),
        ("\\[\\[", "[[package]]\\nname = \"new\"\\nversion = \"1.0.0\"\\n\\n[[", &all[2..]),
        // A project that is not locked yet.
        ("\"api\"", "\"other\"", &[all[0], all[2]]),
        ("version = 4", "<<<<<<< HEAD", &all),
    ] {
        let why = assert_affects(&env, &change(from, to), expected);
        if expected.contains(&"workers/api") {
            let reason = "workers/api\n  is compiled with Cargo.lock: Cargo.lock changed\n";
            assert!(why.contains(reason), "{why}");
        }
    }
}

#[test]
fn a_crate_below_another_workspace_is_compiled_with_the_files_of_its_own() {
    let env = tree();
    env.write("workers/web/Cargo.toml", "[package]\nname = \"web\"\n[workspace]\n");
    env.write("workers/web/Cargo.lock", "version = 4\n");
    env.write(
        "workers/web/.cargo/config.toml",
        "paths = [\"../../crates/unused\"]\ninclude = \"../more.toml\"\n",
    );
    env.write("workers/web/more.toml", "[patch.crates-io]\nother = { path = \"testing\" }\n");
    env.git(&["checkout", "--quiet", "main"]);
    env.commit("another workspace");
    env.git(&["checkout", "--quiet", "-B", "change"]);
    for path in ["Cargo.toml", "Cargo.lock", "workers/Cargo.lock"] {
        let expected = if path.contains('/') { &[][..] } else { API };
        assert_affects(&env, &format!("echo '# x' >> {path}"), expected);
    }
    let both = ["workers/api", "workers/web"];
    assert_affects(&env, "echo >> rust-toolchain.toml", &both);
    assert_affects(&env, "rm rust-toolchain.toml", &both);
    assert_affects(&env, "rm -r .cargo", &both);
    assert_affects(&env, "echo >> crates/unused/src/lib.rs", &["workers/web"]);
    assert_affects(&env, "echo >> workers/testing", &["workers/web"]);
}

#[test]
fn the_root_of_a_workspace_is_the_one_that_cargo_finds() {
    let env = TestEnv::new();
    worker(&env, "workers/api", "api");
    worker(&env, "workers/cron", "cron");
    env.write("Cargo.toml", "[workspace]\nexclude = [\"workers/api\"]\n");
    krate(&env, "workers/api", "");
    env.write("base/Cargo.toml", "[workspace]\nmembers = [\"../workers/cron\"]\n[workspace.dependencies]\na = { path = \"a\" }\n");
    krate(&env, "base/a", "");
    krate(
        &env,
        "workers/cron",
        "workspace = \"../../base\"\n[dependencies]\na = { workspace = true }\n",
    );
    for dir in ["", "base/", "workers/api/"] {
        env.write(&format!("{dir}Cargo.lock"), "version = 4\n");
    }
    env.commit("tree");
    env.git(&["checkout", "--quiet", "-b", "change"]);
    for (path, expected) in [
        ("Cargo.lock", &[][..]),
        // Cargo reads it to find the root, so its next version may have another answer.
        ("Cargo.toml", API),
        ("base/Cargo.toml", &["workers/cron"]),
        ("base/Cargo.lock", &["workers/cron"]),
        ("base/a/src/lib.rs", &["workers/cron"]),
        ("workers/api/Cargo.lock", API),
    ] {
        assert_affects(&env, &format!("echo '# x' >> {path}"), expected);
        if !path.ends_with("Cargo.toml") {
            assert_affects(&env, &format!("rm {path}"), expected);
        }
    }
}

#[test]
fn crates_behind_links_and_sources_outside_of_a_crate_count() {
    let env = TestEnv::new();
    worker(&env, "workers/api", "api");
    krate(
        &env,
        "workers/api",
        "[lib]\npath = \"../../code/api/lib.rs\"\n[dependencies]\na = { path = \"../../crates/a\" }\nb = { path = \"../../libs/b\" }\n",
    );
    env.write("code/api/lib.rs", "");
    env.write("code/api/mod.rs", "");
    krate(&env, "vendor/a", "[dependencies]\nc = { path = \"../c\" }\n");
    krate(&env, "vendor/b", "");
    krate(&env, "crates/c", "");
    env.sh("ln -s ../vendor/a crates/a && ln -s vendor libs").exits(0);
    env.commit("tree");
    env.git(&["checkout", "--quiet", "-b", "change"]);
    for path in
        ["code/api/mod.rs", "vendor/a/src/lib.rs", "vendor/b/src/lib.rs", "crates/c/src/lib.rs"]
    {
        assert_affects(&env, &format!("echo >> {path}"), API);
    }
}

#[test]
fn a_broken_manifest_is_a_problem_of_the_projects_that_are_compiled_with_it() {
    let env = tree();
    env.write("crates/testing/Cargo.toml", "[broken");
    env.write("xtask/Cargo.toml", "[broken");
    env.commit("not compiled");
    assert_eq!(env.xtask(&["affected"]).exits(0).stderr, "");
    for (path, text, message) in [
        ("workers/api/Cargo.toml", "[package\n", "workers/api/Cargo.toml: "),
        ("crates/deep/Cargo.toml", "[package]\nname =\n", "crates/deep/Cargo.toml: "),
        ("Cargo.toml", "\n[workspace]]", "Cargo.toml: "),
        (
            "crates/deep/Cargo.toml",
            "[package]\nname = \"deep\"\n[dependencies]\nfar = { path = \"../../../far\" }\n",
            "crates/deep/Cargo.toml: `far` (../../../far) is not in this repository\n",
        ),
    ] {
        env.write(path, text);
        let json = env.xtask(&["projects", "--json"]).exits(0).json();
        let projects = json["projects"].as_array().expect("projects").iter();
        let workers: Vec<_> = projects.map(|project| project["worker"].as_str()).collect();
        assert_eq!(workers, [Some("web")], "{path}");
        for arguments in [&["affected"][..], &["affected", "--head", "HEAD"]] {
            let ran = env.xtask(arguments).exits(0);
            assert!(
                ran.stderr.starts_with(&format!("warning: skipped: {message}")),
                "{}",
                ran.stderr
            );
            env.commit("broken");
        }
        env.git(&["reset", "--quiet", "--hard", "HEAD~2"]);
    }
}

#[test]
fn the_crates_of_a_project_start_its_deployment() {
    let env = tree();
    let pipeline = pipeline(&env);
    let changes = |job: &str| {
        let job = pipeline.jobs.get(job).expect("a job");
        job.rules[0].changes.clone().expect("paths")
    };
    assert_eq!(
        changes("deploy workers/api"),
        [
            ".cargo/config.toml",
            "Cargo.lock",
            "Cargo.toml",
            "crates/codegen/**/*",
            "crates/deep/**/*",
            "crates/inherited/**/*",
            "crates/renamed/**/*",
            "crates/shared/**/*",
            "crates/wasm/**/*",
            "forks/forked/**/*",
            "rust-toolchain.toml",
            "tools/link.sh",
            "workers/api/**/*",
            "dagger/**/*",
            ".gitlab-ci.yml"
        ]
    );
    assert_eq!(
        changes("deploy workers/web"),
        ["workers/web/**/*", "dagger/**/*", ".gitlab-ci.yml"]
    );
}

#[test]
fn a_changed_crate_is_deployed_again() {
    let env = TestEnv::with_tools();
    // Without a lock file, which Cargo would write here.
    env.write("Cargo.toml", "[workspace]\nmembers = [\"workers/*\"]\n");
    worker(&env, "workers/api", "api");
    krate(&env, "workers/api", "[dependencies]\nshared = { path = \"../../crates/shared\" }\n");
    krate(&env, "crates/shared", "");
    env.commit("tree");
    env.xtask(&["deploy", "api"]).exits(0);
    let live = "✓ workers/api  already live in local";
    let ran = env.xtask(&["deploy", "api"]).exits(0);
    assert!(ran.stderr.contains(live), "{}", ran.stderr);
    env.write("crates/shared/src/lib.rs", "pub fn two() {}\n");
    let is_current = || {
        let json = env.xtask(&["status", "api", "--json"]).exits(0).json();
        json["rows"][0]["inStep"].as_bool()
    };
    assert_eq!(is_current(), Some(false));
    let ran = env.xtask(&["deploy", "api"]).exits(0);
    assert!(!ran.stderr.contains("already live"), "{}", ran.stderr);
    assert_eq!(is_current(), Some(true));
}
