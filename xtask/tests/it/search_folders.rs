//! The folders that are searched for projects, and what a repository without a project hears.

use expect_test::expect;

use crate::hints::errors;
use crate::support::TestEnv;

/// The names of the projects.
fn projects(env: &TestEnv) -> Vec<String> {
    let json = env.xtask(&["projects", "--json"]).exits(0).json();
    let all = json["projects"].as_array().expect("projects").iter();
    all.map(|project| project["name"].as_str().expect("a name").to_owned()).collect()
}

#[test]
fn a_folder_called_projects_without_a_project_hides_nothing() {
    let env = TestEnv::with_tools();
    env.write("projects/my-lib/package.json", r#"{ "name": "my-lib" }"#);
    env.write("projects/my-lib/test/wrangler.jsonc", r#"{ "main": "a.js" }"#);
    env.write("app.js", "export default {};");
    env.write(
        "wrangler.toml",
        "name = \"app\"\nmain = \"app.js\"\ncompatibility_date = \"2026-10-01\"\n",
    );
    env.worker("apps/api", "api");
    env.commit("tree");
    assert_eq!(projects(&env), ["app", "apps/api"]);
    env.xtask(&["deploy", "apps/api", "--dry-run"]).exits(0);
    // A new project is beside the others.
    let new = env.xtask(&["new", "apps/shop", "--dry-run", "--json"]).exits(0).json();
    assert_eq!(new["new"]["dir"], "apps/shop");
    // One project in the folder is enough for the rule, and the others are named.
    env.worker("projects/site", "site");
    env.commit("site");
    assert_eq!(projects(&env), ["site"]);
    let ran = env.xtask(&["projects"]).exits(0);
    expect![[r#"
        projects/my-lib/test/wrangler.jsonc has no `name`, so it is not a project
        not searched, because projects/ has projects: wrangler.toml, apps/api/wrangler.toml; `"projects": ["projects/**", ".", "apps/api"]` in dagger/config/config.json includes them
    "#]]
    .assert_eq(&ran.stderr);
    let ran = env.xtask(&["deploy", "api"]).exits(2);
    expect![[r#"
        error: no project is called `api`: apps/api/wrangler.toml is in a folder that is not searched
        hint: add `"projects": ["projects/**", "apps/api"]` to dagger/config/config.json
    "#]].assert_eq(&errors(&env, &ran.stderr));
}

#[test]
fn a_run_of_all_projects_without_one_is_an_error() {
    let env = TestEnv::with_tools();
    for arguments in [&["deploy", "--all"][..], &["build", "--all"], &["preview", "--all"]] {
        let ran = env.xtask(arguments).exits(2);
        assert!(ran.stderr.contains("no folder has a wrangler config"), "{}", ran.stderr);
    }
    let ran = env.xtask(&["deploy", "--all"]).exits(2);
    expect![[r#"
        error: no folder has a wrangler config that git does not ignore
        hint: run `cargo xtask new NAME`, or add a wrangler config to the folder of a Worker
    "#]]
    .assert_eq(&errors(&env, &ran.stderr));
    let ran = env.xtask(&["deploy", "app"]).exits(2);
    expect![[r#"
        error: no project is called `app`: no folder has a wrangler config that git does not ignore
        hint: run `cargo xtask new NAME`, or add a wrangler config to the folder of a Worker
    "#]]
    .assert_eq(&errors(&env, &ran.stderr));
    expect![[r#"
        no projects: no folder has a wrangler config that git does not ignore
        hint: run `cargo xtask new NAME`, or add a wrangler config to the folder of a Worker
    "#]]
    .assert_eq(&env.xtask(&["projects"]).exits(0).stdout);
    // Of a list that leaves out everything, the configs are named.
    env.worker("apps/api", "api");
    let config = std::fs::read_to_string(env.root.join("dagger/config/config.json")).expect("text");
    env.write(
        "dagger/config/config.json",
        &config.replacen('{', r#"{ "projects": ["sites/*"],"#, 1),
    );
    env.commit("list");
    let ran = env.xtask(&["deploy", "--all"]).exits(2);
    expect![[r#"
        error: `projects` in dagger/config/config.json leaves out every wrangler config: apps/api/wrangler.toml
        hint: add the folders of your projects to that list, such as `"apps/api"`
    "#]].assert_eq(&errors(&env, &ran.stderr));
    let ran = env.xtask(&["deploy", "api"]).exits(2);
    expect![[r#"
        error: no project is called `api`: apps/api/wrangler.toml is in a folder that is not searched
        hint: add `"apps/api"` to `projects` in dagger/config/config.json
    "#]].assert_eq(&errors(&env, &ran.stderr));
}
