//! The repository's own projects, deployed and opened in a real browser.

use std::process::Command;

use crate::support::{TestEnv, copy, repository};

#[test]
fn the_projects_of_this_repository_look_right_in_a_browser() {
    let env = TestEnv::with_tools();
    copy(&env, "projects");
    copy(&env, "dagger");
    env.commit("projects");
    let ran = env.xtask(&["deploy", "--json"]).exits(0);
    let url = |name: &str| ran.record(name)["urls"][0].as_str().expect("an address").to_owned();
    let (website, studio) = (url("rawkode.academy/website"), url("rawkode.studio"));
    let (status, robots) = env.fetch("website.localhost", "/robots.txt");
    assert_eq!((status, robots.contains("Sitemap")), (200, true), "{robots}");

    let bun = std::env::var("XTASK_BUN").expect("XTASK_BUN is set by `cargo xtask test`");
    let browser = repository().join("xtask/tests/browser");
    let run = |arguments: &[&str]| {
        let mut command = Command::new(&bun);
        command.current_dir(&browser).args(arguments);
        command.env("WEBSITE_URL", &website).env("STUDIO_URL", &studio);
        command.env("SANDBOX_URL", format!("http://127.0.0.1:{}/", env.port()));
        let output = command.output().expect("bun runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}");
    };
    run(&["install", "--frozen-lockfile", "--ignore-scripts"]);
    run(&["test"]);
    env.assert_no_canary(&[&ran]);
}
