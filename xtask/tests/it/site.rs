//! The repository's own projects, deployed and opened in a real browser.

use crate::browser;
use crate::support::{TestEnv, copy};

#[test]
fn the_projects_of_this_repository_look_right_in_a_browser() {
    let env = TestEnv::with_tools();
    copy(&env, "projects");
    copy(&env, "dagger");
    let manifest = env.root.join("projects/rawkode.academy/website/package.json");
    let text = std::fs::read_to_string(&manifest).expect("text");
    let repository = r#"{ "repository": "https://gitlab.example.com/acme/sites","#;
    std::fs::write(&manifest, text.replacen('{', repository, 1)).expect("written");
    env.commit("projects");
    let ran = env.xtask(&["deploy", "--json"]).exits(0);
    let url = |name: &str| ran.record(name)["urls"][0].as_str().expect("an address").to_owned();
    let (website, studio) = (url("rawkode.academy/website"), url("rawkode.studio"));
    let (status, robots) = env.fetch("website.localhost", "/robots.txt");
    assert_eq!((status, robots.contains("Sitemap")), (200, true), "{robots}");

    let engines = env.fetch("website.localhost", "/engines/").1;
    for text in [
        "Avoid <code>tcp://</code>",
        "neither encrypts nor authenticates",
        "npm, which comes with Node",
    ] {
        assert!(engines.contains(text), "{text}: {engines}");
    }

    let output = browser::bun(&["test"])
        .env("WEBSITE_URL", &website)
        .env("STUDIO_URL", &studio)
        .env("SANDBOX_URL", format!("http://127.0.0.1:{}/", env.port()))
        .output()
        .expect("bun runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    env.assert_no_canary(&[&ran]);
}
