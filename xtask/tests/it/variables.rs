//! The lists `variables.install` and `variables.build`: who sees which variable, and what it changes.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use crate::support::TestEnv;

const NAMES: [&str; 3] = ["NPM_TOKEN", "PUBLIC_API_URL", "OTHER"];

/// A site whose install and build note which variables they see.
fn site() -> TestEnv {
    let env = TestEnv::with_tools();
    env.site("projects/a", "site-a");
    env.write(
        "projects/a/package.json",
        r#"{ "name": "a", "dependencies": { "lib": "file:./lib" },
             "scripts": { "postinstall": "bun note.ts install", "build": "bun note.ts build" } }"#,
    );
    env.write("projects/a/lib/package.json", r#"{ "name": "lib", "version": "1.0.0" }"#);
    env.write(
        "projects/a/note.ts",
        &format!(
            "import {{ appendFileSync }} from 'node:fs';\n\
             const seen = {NAMES:?}.filter((name) => name in process.env);\n\
             appendFileSync('../../../notes', `${{process.argv[2]}}: ${{seen.join(' ')}}\\n`);\n\
             if (process.argv[2] === 'build') await Bun.write('dist/index.html', `api: ${{process.env.PUBLIC_API_URL}}`);\n"
        ),
    );
    env.sh("cd projects/a && bun install --ignore-scripts").exits(0);
    env.commit("site");
    env
}

fn list(env: &TestEnv, lists: &str) {
    let text = include_str!("../../../dagger/config/config.json");
    let text = text.replacen('{', &format!("{{ \"variables\": {lists},"), 1);
    env.write("dagger/config/config.json", &text);
}

/// Builds, and returns what was seen and what xtask messages about variables.
fn build(env: &TestEnv, variables: &[(&str, &str)]) -> (String, String) {
    std::fs::remove_file(env.folder.join("notes")).unwrap_or_default();
    let ran = env.xtask_with(&["build", "a", "--engine", "host", "--no-cache"], variables).exits(0);
    for (_, value) in variables.iter().filter(|(_, value)| value.len() > 3) {
        assert!(!format!("{ran:?}").contains(value), "{value}: {ran:?}");
    }
    let seen = std::fs::read_to_string(env.folder.join("notes")).expect("notes");
    let messages = ran.stderr.lines().filter(|line| line.contains("builds "));
    (seen, messages.map(|line| line.trim().to_owned() + "\n").collect())
}

#[test]
fn each_step_sees_the_variables_of_its_list() {
    let env = site();
    let all =
        [("NPM_TOKEN", "canary-npm"), ("PUBLIC_API_URL", "canary-url"), ("OTHER", "canary-other")];
    let unseen = "builds do not see PUBLIC_API_URL: add `\"variables\": { \"build\": [\"PUBLIC_API_URL\"] }` to dagger/config/config.json if they should\n";
    let unset = "builds run without PUBLIC_API_URL, which `variables.build` names: not set\n";
    for (lists, variables, install, build_sees, messages) in [
        ("{}", &all[..], "", "", unseen),
        (r#"{ "install": ["NPM_TOKEN"] }"#, &all, "NPM_TOKEN", "", unseen),
        (r#"{ "build": ["PUBLIC_API_URL"] }"#, &all, "", "PUBLIC_API_URL", ""),
        (
            r#"{ "install": ["NPM_TOKEN", "OTHER"], "build": ["PUBLIC_API_URL", "OTHER"] }"#,
            &all,
            "NPM_TOKEN OTHER",
            "PUBLIC_API_URL OTHER",
            "",
        ),
        (r#"{ "build": ["PUBLIC_API_URL"] }"#, &all[..1], "", "", unset),
        (r#"{ "install": ["NPM_TOKEN"] }"#, &all[2..], "", "", ""),
    ] {
        list(&env, lists);
        let (seen, notes) = build(&env, variables);
        assert_eq!(seen, format!("install: {install}\nbuild: {build_sees}\n"), "{lists}");
        assert!(
            notes.ends_with(messages) && notes.is_empty() == messages.is_empty(),
            "{lists}: {notes}"
        );
    }
}

#[test]
fn a_variable_of_builds_is_part_of_the_content() {
    let env = site();
    list(&env, r#"{ "install": ["NPM_TOKEN"], "build": ["PUBLIC_API_URL"] }"#);
    env.commit("lists");
    let deploy = |url: &str, token: &str| {
        let variables = [("PUBLIC_API_URL", url), ("NPM_TOKEN", token)];
        let ran = env.xtask_with(&["deploy", "a", "--json"], &variables).exits(0);
        let record = ran.record("a");
        (record["status"].as_str().expect("a text").to_owned(), record["key"].clone(), ran)
    };
    let (status, key, ran) = deploy("https://one.example", "canary-one");
    assert_eq!(status, "live");
    assert_eq!(env.fetch("site-a.localhost", "/").1, "api: https://one.example");
    // Neither value is in a record, the plan, the log or the cache's description.
    assert!(!ran.stdout.contains("one.example"), "{}", ran.stdout);
    let files = env.sh("grep -rl -e 'canary-one' -e 'https://one.example' .xtask --include=*.json --include=*.log || true");
    assert_eq!(files.stdout, "");
    let variables = [("PUBLIC_API_URL", "https://one.example"), ("NPM_TOKEN", "canary-one")];
    let plan = env.xtask_with(&["deploy", "a", "--dry-run", "--json"], &variables).exits(0);
    assert!(
        !plan.stdout.contains("one.example") && !plan.stdout.contains("canary"),
        "{}",
        plan.stdout
    );

    // What only installs see changes nothing of the output.
    let (status, same, _) = deploy("https://one.example", "canary-two");
    assert_eq!((status.as_str(), &same), ("unchanged", &key));
    let (status, other, _) = deploy("https://two.example", "canary-two");
    assert_eq!(status, "live");
    assert_ne!(other, key);
    assert_eq!(env.fetch("site-a.localhost", "/").1, "api: https://two.example");
    // An unset variable is another content than an empty one.
    let (_, empty, _) = deploy("", "canary-two");
    let unset = env.xtask(&["deploy", "a", "--json"]).exits(0).record("a")["key"].clone();
    assert_ne!(empty, unset);
    assert_eq!(env.fetch("site-a.localhost", "/").1, "api: undefined");
}

#[test]
fn an_npmrc_gets_its_token_only_if_it_is_listed() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let asked = Arc::new(Mutex::new(String::new()));
    let heard = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut buffer = [0; 4096];
            let length = stream.read(&mut buffer).unwrap_or_default();
            heard.lock().expect("a text").push_str(&String::from_utf8_lossy(&buffer[..length]));
            let _answer = stream.write_all(
                b"HTTP/1.1 401 Unauthorized\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}",
            );
        }
    });
    let env = site();
    env.write(
        "projects/a/.npmrc",
        &format!("@private:registry=http://127.0.0.1:{port}/\n//127.0.0.1:{port}/:_authToken=${{NPM_TOKEN}}\n"),
    );
    env.write(
        "projects/a/package.json",
        r#"{ "name": "a", "dependencies": { "@private/x": "1.0.0" }, "scripts": { "build": "true" } }"#,
    );
    env.write(
        "projects/a/bun.lock",
        &format!(
            r#"{{ "lockfileVersion": 1, "workspaces": {{ "": {{ "name": "a", "dependencies": {{ "@private/x": "1.0.0" }} }} }},
                 "packages": {{ "@private/x": ["@private/x@1.0.0", "http://127.0.0.1:{port}/@private/x/-/x-1.0.0.tgz", {{}},
                 "sha512-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=="] }} }}"#
        ),
    );
    let cache = env.folder.join("cache");
    let variables = [("NPM_TOKEN", "canary-npm-token"), ("BUN_INSTALL_CACHE_DIR", cache.as_str())];
    for (lists, has_token) in [("{}", false), (r#"{ "install": ["NPM_TOKEN"] }"#, true)] {
        list(&env, lists);
        asked.lock().expect("a text").clear();
        let ran = env.xtask_with(&["build", "a", "--engine", "host"], &variables).exits(1);
        let asked = asked.lock().expect("a text").clone();
        assert!(asked.contains("/@private"), "the registry is asked: {asked}\n{ran:?}");
        assert_eq!(asked.contains("Bearer canary-npm-token"), has_token, "{lists}: {asked}");
        assert!(!format!("{ran:?}").contains("canary-npm-token"), "{ran:?}");
    }
}
