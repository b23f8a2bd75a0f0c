//! `new`: what it makes builds, deploys, is tested and is in the pipeline.

use crate::support::TestEnv;

#[test]
fn a_new_project_deploys_and_is_in_the_pipeline() {
    let env = TestEnv::with_tools();
    env.site("projects/first", "first");
    env.xtask(&["ci", "generate"]).exits(0);
    env.commit("first");
    env.xtask(&["new", "example.com/shop"]).exits(0);
    let made = env.xtask(&["new", "api", "--template", "worker", "--json"]).exits(0).json();
    assert_eq!(made["new"]["worker"], "api");
    assert_eq!(made["pipeline"][0], ".gitlab-ci.yml");
    let pipeline = std::fs::read_to_string(env.root.join(".gitlab-ci.yml")).expect("a pipeline");
    assert!(pipeline.contains("example.com/shop") && pipeline.contains("projects/api"));
    env.xtask(&["ci", "generate", "--check"]).exits(0);

    let ran = env.xtask(&["deploy", "shop", "api", "--engine", "host", "--json"]).exits(0);
    assert_eq!(ran.record("api")["status"], "live");
    let (status, page) = env.fetch("example-com-shop.localhost", "/");
    assert!(status == 200 && page.contains("<h1>example.com/shop</h1>"), "{page}");
    let (status, page) = env.fetch("example-com-shop.localhost", "/nothing/there");
    assert!(status == 404 && page.contains("Not found"), "{page}");
    assert_eq!(env.fetch("api.localhost", "/"), (200, "api\n".to_owned()));
    env.xtask(&["deploy", "api", "--env", "staging", "--sandbox"]).exits(0);
    assert_eq!(env.fetch("api-staging.localhost", "/health").0, 200);
    env.sh("cd projects/api && bun test").exits(0);
}

#[test]
fn the_dry_run_is_a_script_that_makes_the_same_files() {
    for template in ["static", "worker"] {
        let env = TestEnv::new();
        let arguments = ["new", "a.com/site", "--template", template];
        let script = env.xtask(&[&arguments[..], &["--dry-run"]].concat()).exits(0).stdout;
        assert!(!env.root.join("projects").exists(), "a dry run makes nothing");
        env.program("cargo", "#!/bin/sh\nexit 0\n");
        env.sh(&script).exits(0);
        env.sh("mkdir -p .xtask && mv a.com/site .xtask/by-hand").exits(0);
        env.xtask(&arguments).exits(0);
        env.sh("diff -r .xtask/by-hand a.com/site").exits(0);
    }
}

#[test]
fn what_is_there_stays_as_it_is() {
    let env = TestEnv::new();
    env.site("projects/a.com/site", "site");
    env.worker("projects/api", "api");
    env.write("projects/notes/README.md", "kept");
    env.write(".gitlab-ci.yml", "job: manual\n");
    env.commit("projects");
    for (name, code, message) in [
        ("a.com/site", 3, "projects/a.com/site already exists"),
        ("notes", 3, "projects/notes already exists"),
        ("site", 3, "the Worker `site` is deployed from projects/a.com/site already"),
        ("api/staging", 3, "the Worker `api-staging` is deployed from projects/api already"),
        ("../outside", 2, "`cargo xtask new outside`, for example"),
        ("a-name-that-is-much-too-long-for-a-host-name", 2, "has 44 characters of at most 40"),
    ] {
        let ran = env.xtask(&["new", name]).exits(code);
        assert!(ran.stderr.contains(message), "{name}: {}", ran.stderr);
    }
    let made = env.xtask(&["new", "fresh", "--json"]).exits(0).json();
    assert_eq!(
        made["pipeline"],
        serde_json::json!([]),
        "a handwritten pipeline is not ours to change"
    );
    assert_eq!(
        std::fs::read_to_string(env.root.join(".gitlab-ci.yml")).expect("text"),
        "job: manual\n"
    );
}
