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

/// The packages come from the registry, by the lock files of the templates.
#[test]
fn each_template_with_packages_builds_and_deploys() {
    let env = TestEnv::with_tools();
    env.site("projects/first", "first");
    env.commit("first");
    for template in ["astro", "vite", "api"] {
        let name = format!("example.com/{template}");
        env.xtask(&["new", &name, "--template", template]).exits(0);
    }
    env.commit("new projects");
    let ran = env.xtask(&["deploy", "--all", "--engine", "host", "--json"]).exits(0);
    for template in ["astro", "vite", "api"] {
        assert_eq!(ran.record(&format!("example.com/{template}"))["status"], "live", "{template}");
    }
    let fetch =
        |template: &str, path: &str| env.fetch(&format!("example-com-{template}.localhost"), path);
    let (status, page) = fetch("astro", "/");
    assert!(status == 200 && page.contains(">example.com/astro</h1>"), "{page}");
    let (status, page) = fetch("astro", "/nothing");
    assert!(status == 404 && page.contains(">Not found</h1>"), "{page}");
    let (status, page) = fetch("vite", "/any/path");
    assert!(status == 200 && page.contains("<h1>example.com/vite</h1>"), "{page}");
    let script =
        page.split("src=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a script");
    let (status, code) = fetch("vite", script);
    assert!(script.contains("/assets/") && status == 200 && code.contains("#counter"), "{code}");
    assert_eq!(fetch("api", "/greetings/Ada"), (200, r#"{"text":"Hello, Ada"}"#.to_owned()));
    assert_eq!(fetch("api", "/x"), (404, r#"{"error":"there is nothing at /x"}"#.to_owned()));
    // Each environment has the variables that the code reads.
    env.xtask(&["deploy", "api", "--env", "staging", "--sandbox"]).exits(0);
    let (_, text) = env.fetch("example-com-api-staging.localhost", "/greetings/Ada");
    assert_eq!(text, r#"{"text":"Hello, Ada"}"#);
    env.sh("cd projects/example.com/api && bun test").exits(0);
    // The lock files are as the package manager would write them.
    let changed = env.sh("git status --porcelain").exits(0).stdout;
    assert_eq!(changed, "");
}

#[test]
fn the_templates_are_listed() {
    let env = TestEnv::new();
    expect_test::expect![[r#"
        static  Static files
        worker  Worker with code and a test
        astro   Site built by Astro
        vite    Single-page application built by Vite
        api     JSON API with Hono and a test

        create a project with `cargo xtask new NAME --template TEMPLATE`
    "#]]
    .assert_eq(&env.xtask(&["new", "--list"]).exits(0).stdout);
    let unknown = env.xtask(&["new", "x", "--template", "atsro"]).exits(2).stderr;
    assert!(unknown.contains("a similar value exists: 'astro'"), "{unknown}");
}

#[test]
fn the_dry_run_is_a_script_that_makes_the_same_files() {
    for template in ["static", "worker", "astro", "vite", "api"] {
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

/// Another lock file would leave that of the workspace out of date, and no other project could be installed.
#[test]
fn a_new_member_of_a_workspace_uses_its_lock_file() {
    for (files, dir, next) in [
        (
            &[("package.json", r#"{ "workspaces": ["apps/*"] }"#), ("package-lock.json", "{}")][..],
            "apps/blog",
            "next: `npm install` in the repository's root, then `cargo xtask deploy apps/blog`",
        ),
        (
            &[("web/pnpm-workspace.yaml", "packages: [\"apps/*\"]\n")],
            "web/apps/blog",
            "next: `pnpm install` in web, then `cargo xtask deploy web/apps/blog`",
        ),
        (
            &[("package.json", r#"{ "workspaces": ["apps/*"] }"#), ("package-lock.json", "{}")],
            "other/blog",
            "next: `cargo xtask deploy other/blog`",
        ),
    ] {
        let env = TestEnv::new();
        for (path, text) in files {
            env.write(path, text);
        }
        env.commit("workspace");
        let made = env.xtask(&["new", dir, "--template", "astro"]).exits(0).stdout;
        assert_eq!(made.lines().last(), Some(next), "{made}");
        let has_own = env.root.join(dir).join("bun.lock").exists();
        assert_eq!((has_own, made.contains("bun.lock")), (dir == "other/blog", has_own), "{made}");
    }
}

#[test]
fn keeps_existing_files() {
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
