//! Projects and members of a workspace in a submodule.

use crate::affected::{affected_json, names};
use crate::support::TestEnv;

/// A repository that becomes a submodule.
struct Submodule {
    env: TestEnv,
    path: &'static str,
}

impl Submodule {
    fn add(&self, to: &TestEnv) {
        self.env.commit("content");
        to.sh(&format!(
            "git -c protocol.file.allow=always submodule --quiet add 'file://{}' {}",
            self.env.root, self.path
        ))
        .exits(0);
    }

    /// Runs a script in the checkout, and commits there.
    fn commit(&self, to: &TestEnv, script: &str) {
        to.sh(&format!(
            "cd {} && {script} && git add --all && git -c user.name=T -c user.email=t@example.com commit --quiet -m next",
            self.path
        ))
        .exits(0);
    }
}

/// The content key of a project.
fn key(env: &TestEnv, name: &str) -> String {
    let json =
        env.xtask(&["deploy", name, "--engine", "host", "--dry-run", "--json"]).exits(0).json();
    json["projects"][0]["key"].as_str().expect("a key").to_owned()
}

/// Checks that only `expected` are affected by the working tree, and by the last commit.
#[track_caller]
fn check(env: &TestEnv, expected: &[&str]) {
    assert_eq!(names(&affected_json(env, &["--base", "HEAD"])), expected, "uncommitted");
    env.commit("the submodule");
    assert_eq!(names(&affected_json(env, &["--base", "HEAD~1", "--head", "HEAD"])), expected);
    assert!(names(&affected_json(env, &["--base", "HEAD"])).is_empty());
}

#[test]
fn a_project_in_a_submodule_is_deployed_and_follows_it() {
    let env = TestEnv::with_tools();
    env.site("projects/other", "other");
    let inner = TestEnv::foreign();
    inner.write(
        ".gitignore",
        "dist/
.wrangler/
",
    );
    inner.site("site", "shop");
    inner.write("lib/a.txt", "a\n");
    inner.write("site/.env.production", "A=1\n");
    let submodule = Submodule { env: inner, path: "projects/shop" };
    submodule.add(&env);
    env.commit("a submodule");
    let listed = env.xtask(&["projects", "--json"]).exits(0).json();
    let projects = listed["projects"].as_array().expect("projects").iter();
    let projects: Vec<_> = projects.map(|one| one["name"].as_str().expect("a name")).collect();
    assert_eq!(projects, ["other", "shop/site"]);
    let before = key(&env, "shop");
    let other = key(&env, "other");
    let live = env.xtask(&["deploy", "shop", "--json"]).exits(0).record("shop/site");
    assert_eq!(live["status"], "live", "{live:#}");
    let again = env.xtask(&["deploy", "shop", "--json"]).exits(0).record("shop/site");
    assert_eq!(again["status"], "unchanged");
    // A container gets what git tracks in the submodule.
    let script = env.xtask(&["build", "shop", "--engine", "dagger", "--dry-run"]).exits(0).stdout;
    assert!(script.contains("with-file 'projects/shop/site/.env.production'"), "{script}");
    // An edit counts, tracked or not, also outside of the project's folder.
    env.write("projects/shop/lib/b.txt", "b\n");
    assert_eq!(names(&affected_json(&env, &["--base", "HEAD"])), ["shop/site"]);
    let dirty = key(&env, "shop");
    assert_ne!(dirty, before);
    submodule.commit(&env, "true");
    let committed = key(&env, "shop");
    assert_ne!(committed, before);
    check(&env, &["shop/site"]);
    assert_eq!((key(&env, "shop"), key(&env, "other")), (committed, other));
    // The files of the other one do not count.
    env.write("projects/other/content.txt", "new");
    check(&env, &["other"]);
    // The pipeline checks it out, and a new commit of it starts the job.
    env.xtask(&["ci", "generate"]).exits(0);
    let pipeline = std::fs::read_to_string(env.root.join(".gitlab-ci.yml")).expect("text");
    for line in ["GIT_SUBMODULE_STRATEGY: recursive", "- projects/shop\n", "- projects/shop/**/*\n"]
    {
        assert!(pipeline.contains(line), "{line}: {pipeline}");
    }
    // Without the checkout there is no project.
    env.sh("git submodule --quiet deinit --force projects/shop").exits(0);
    let ran = env.xtask(&["deploy", "shop", "--dry-run"]).exits(2);
    let hint = "run `git submodule update --init projects/shop` if it is in projects/shop, which is not checked out";
    assert!(ran.stderr.contains(hint), "{}", ran.stderr);
    let ran = env.xtask(&["deploy", "--all", "--dry-run"]).exits(0);
    let note = "submodules are not checked out here, so their projects are left out: projects/shop; run `git submodule update --init projects/shop`";
    assert!(ran.stderr.contains(note), "{}", ran.stderr);
    let ran = env.xtask(&["ci", "generate"]).exits(3);
    assert!(
        ran.stderr.contains("the pipeline would lose their jobs: projects/shop;"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_member_of_the_workspace_in_a_submodule_is_a_dependency() {
    let env = TestEnv::new();
    env.site("projects/app", "app");
    env.site("projects/other", "other");
    env.write(
        "package.json",
        r#"{ "name": "root", "workspaces": ["projects/*", "vendor/*/packages/*"] }"#,
    );
    env.write(
        "projects/app/package.json",
        r#"{ "name": "app", "scripts": { "build": "true" }, "dependencies": { "theme": "^1.0.0" } }"#,
    );
    let inner = TestEnv::foreign();
    inner.write(
        "packages/theme/package.json",
        r#"{ "name": "theme", "version": "1.2.0", "dependencies": { "colors": "*" } }"#,
    );
    inner.write("packages/colors/package.json", r#"{ "name": "colors", "version": "1.0.0" }"#);
    inner.write("docs/wrangler.jsonc", r#"{ "name": "docs", "main": "a.js" }"#);
    let submodule = Submodule { env: inner, path: "vendor/design" };
    submodule.add(&env);
    env.commit("a submodule");
    // `theme` depends on it.
    submodule.commit(&env, "echo > packages/colors/a.css");
    check(&env, &["app"]);
    env.write("vendor/design/packages/theme/a.css", "a{}\n");
    assert_eq!(names(&affected_json(&env, &["--base", "HEAD"])), ["app"]);
}

#[test]
fn the_workers_of_a_submodule_elsewhere_are_no_projects_until_they_are_listed() {
    let env = TestEnv::new();
    env.worker("apps/api", "acme-api");
    let inner = TestEnv::foreign();
    inner.worker("examples/hello", "hello");
    let submodule = Submodule { env: inner, path: "vendor/examples" };
    submodule.add(&env);
    env.commit("a submodule");
    let json = env.xtask(&["projects", "--json"]).exits(0).json();
    assert_eq!(json["projects"].as_array().map(Vec::len), Some(1), "{json:#}");
    let ran = env.xtask(&["deploy", "hello", "--dry-run"]);
    assert!(ran.stderr.contains("vendor/examples/examples/hello"), "{}", ran.stderr);
}
