//! The command line's contract: exit codes, messages, derived files.

use crate::support::TestEnv;

#[cfg(feature = "generate")]
#[test]
fn derived_files_are_up_to_date() {
    use xtask::generated::{Mode, generate};
    let stale = generate(&crate::support::repository(), Mode::Check).expect("readable");
    assert!(stale.is_empty(), "run `cargo xtask generate`: {stale:?}");
}

#[test]
fn the_command_line_is_consistent() {
    use clap::CommandFactory as _;
    xtask::cli::Cli::command().debug_assert();
}

#[test]
fn bad_input_has_its_exit_code_and_a_next_step() {
    let env = TestEnv::new();
    env.site("projects/a.com/website", "a");
    env.worker("projects/b.com/api", "b");
    env.commit("projects");
    let table: [(&[&str], i32, &str); 9] = [
        (&["deploi"], 2, "similar subcommand"),
        (&["deploy", "websiet"], 2, "did you mean `website`?"),
        (&["deploy", "a", "--env", "stagng"], 2, "did you mean `staging`?"),
        (&["deploy", "a", "--env", "production"], 3, "`production` is protected"),
        (&["deploy", "a", "--env", "staging"], 3, "without an `env.staging` block"),
        (&["deploy", "b", "--env", "staging"], 3, "CLOUDFLARE_WORKERS_TOKEN is not set"),
        (&["deploy", "a", "--env", "production", "--break-glass", ""], 2, "a value is required"),
        (&["deploy", "--jobs", "0"], 2, "0 is not in 1.."),
        (&["sandbox", "status"], 1, ""),
    ];
    for (arguments, code, message) in table {
        let ran = env.xtask(arguments);
        assert_eq!(ran.code, code, "{arguments:?}: {}{}", ran.stdout, ran.stderr);
        assert!(ran.stderr.contains(message), "{arguments:?}: {}", ran.stderr);
    }
    let empty =
        env.xtask_with(&["deploy", "b", "--env", "staging"], &[("CLOUDFLARE_WORKERS_TOKEN", " ")]);
    assert!(empty.exits(3).stderr.contains("set but empty"));
    let in_pipeline = env.xtask_with(&["deploy", "a"], &[("GITLAB_CI", "true")]);
    assert!(in_pipeline.exits(2).stderr.contains("say which environment"));
}

#[test]
fn a_broken_config_file_is_refused_with_its_place() {
    let env = TestEnv::new();
    let config = std::fs::read_to_string(env.root.join("dagger/config/config.json")).expect("text");
    env.write("dagger/config/config.json", &config.replace("projectId", "projectID"));
    let ran = env.xtask(&["projects", "--json"]).exits(3);
    let error = &ran.json()["error"];
    assert!(
        error["message"].as_str().expect("text").starts_with("dagger/config/config.json:9:"),
        "{error}"
    );
    assert_eq!(error["hints"][0], "did you mean `projectId`?");
    assert_eq!(error["exit"], 3);
    std::fs::remove_file(env.root.join("dagger/config/config.json")).expect("removable");
    assert!(
        env.xtask(&["projects"]).exits(3).stderr.contains("cannot read dagger/config/config.json")
    );
}
