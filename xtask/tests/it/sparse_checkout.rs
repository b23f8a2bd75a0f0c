//! A sparse checkout that leaves out projects.

use crate::affected::names;
use crate::support::TestEnv;

/// Three projects and an example with their pipeline, of which only `projects/a` is checked out.
fn sparse() -> TestEnv {
    let env = TestEnv::with_tools();
    for name in ["a", "b", "my app"] {
        env.site(&format!("projects/{name}"), &name.replace(' ', "-"));
    }
    env.site("examples/demo", "demo");
    env.write("projects/b/wrangler.dev.toml", "name = \"b-dev\"\n");
    env.commit("projects");
    env.xtask(&["ci", "generate"]).exits(0);
    env.commit("pipeline");
    env.sh("git sparse-checkout set --cone dagger projects/a").exits(0);
    env
}

const NOTE: &str = "not checked out here, so left out: projects/b, projects/my app; \
                    `git sparse-checkout add projects/b 'projects/my app'` adds them";

#[test]
fn the_pipeline_is_not_written_without_the_projects_that_are_left_out() {
    let env = sparse();
    let pipeline = || std::fs::read_to_string(env.root.join(".gitlab-ci.yml")).expect("text");
    let before = pipeline();
    for arguments in
        [&["ci", "generate"][..], &["ci", "generate", "--check"], &["ci", "generate", "--dry-run"]]
    {
        let ran = env.xtask(arguments).exits(3);
        assert_eq!(
            ran.stderr,
            "error: the sparse checkout leaves out projects, whose jobs the pipeline would lose: projects/b, projects/my app; nothing was written\n\
             hint: run `git sparse-checkout add projects/b 'projects/my app'`\n\
             hint: or check out everything with `git sparse-checkout disable`\n"
        );
    }
    // Other commands that update the pipeline leave it as it is.
    let ran = env.xtask(&["new", "c"]).exits(0);
    assert!(ran.stderr.contains(".gitlab-ci.yml is not up to date"), "{}", ran.stderr);
    assert_eq!(pipeline(), before);
    env.sh("git sparse-checkout add projects/b 'projects/my app'").exits(0);
    env.xtask(&["ci", "generate"]).exits(0);
    assert!(pipeline().contains("\ndeploy c:\n") && pipeline().contains("\ndeploy b:\n"));
}

#[test]
fn commands_for_all_projects_name_those_that_are_left_out() {
    let env = sparse();
    for arguments in [
        &["deploy", "--all", "--dry-run"][..],
        &["preview", "--all", "--alias", "x", "--dry-run"],
        &["build", "--all", "--dry-run"],
        &["projects"],
    ] {
        let ran = env.xtask(arguments).exits(0);
        assert!(ran.stderr.contains(NOTE), "{arguments:?}: {}", ran.stderr);
    }
    let doctor = env.xtask(&["doctor", "--offline"]).stdout;
    assert!(doctor.contains(NOTE), "{doctor}");
    let one = env.xtask(&["deploy", "a", "--dry-run"]).exits(0);
    assert!(!one.stderr.contains("not checked out"), "{}", one.stderr);
    // A deleted project is none that is left out.
    env.sh("git sparse-checkout disable && rm -r projects/b").exits(0);
    for arguments in [&["projects"][..], &["ci", "generate"]] {
        let ran = env.xtask(arguments).exits(0);
        assert!(!ran.stderr.contains("not checked out"), "{}", ran.stderr);
    }
}

#[test]
fn a_checkout_without_a_project_keeps_the_folders_that_are_searched() {
    let env = sparse();
    // Without a project in `projects/`, the whole repository would be searched.
    env.sh("git sparse-checkout set --cone dagger examples").exits(0);
    assert_eq!(names(&env.xtask(&["projects", "--json"]).exits(0).json()), [""; 0]);
    let ran = env.xtask(&["deploy", "--all", "--dry-run"]).exits(2);
    assert_eq!(
        ran.stderr,
        "error: no project is checked out here; those of the repository: projects/a, projects/b, projects/my app\n\
         hint: run `git sparse-checkout add projects/a projects/b 'projects/my app'`\n"
    );
}

#[test]
fn a_dependency_that_is_left_out_keeps_the_pipeline_as_it_is() {
    let env = sparse();
    env.sh("git sparse-checkout disable").exits(0);
    env.write("packages/ui/package.json", r#"{ "name": "ui" }"#);
    env.write(
        "projects/a/package.json",
        r#"{ "name": "a", "dependencies": { "ui": "workspace:*" } }"#,
    );
    env.commit("a dependency");
    env.sh("git sparse-checkout set --cone dagger projects").exits(0);
    let ran = env.xtask(&["ci", "generate"]).exits(3);
    assert!(
        ran.stderr
            .contains("is in packages/ui, which is not checked out here; nothing was written\n"),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stderr.contains("hint: run `git sparse-checkout add packages/ui`\n"),
        "{}",
        ran.stderr
    );
}
