//! The `build.command` of a wrangler config, which wrangler runs when it bundles.

use serde_json::json;

use crate::support::TestEnv;

fn write_worker(env: &TestEnv, command: &str) {
    let config = json!({ "name": "api", "main": "worker.js", "compatibility_date": "2026-10-01",
        "build": { "command": command }, "env": { "local": {} } });
    env.write("projects/api/wrangler.json", &config.to_string());
    env.write("projects/api/.gitignore", "worker.js\nseen.txt\n");
}

#[test]
fn a_build_command_sees_what_a_build_sees() {
    let env = TestEnv::with_tools();
    let config = std::fs::read_to_string(env.root.join("dagger/config/config.json"));
    let mut config: serde_json::Value =
        serde_json::from_str(&config.expect("a config")).expect("JSON");
    config["variables"] = json!({ "build": ["PUBLIC_X"] });
    env.write("dagger/config/config.json", &config.to_string());
    let code = "echo \"export default { fetch: () => new Response('$PUBLIC_X') }\" > worker.js";
    write_worker(&env, &format!("env > seen.txt; {code}"));
    env.write("projects/api/package.json", r#"{ "name": "api" }"#);
    env.write(
        "projects/api/package-lock.json",
        r#"{ "name": "api", "lockfileVersion": 3, "requires": true, "packages": { "": { "name": "api" } } }"#,
    );
    env.commit("worker");
    let home = env.folder.join("rustup");
    for value in ["one", "two"] {
        let variables = [
            ("PUBLIC_X", value),
            ("PRIVATE_X", "hidden"),
            ("RUSTUP_HOME", home.as_str()),
            ("RUSTUP_TOOLCHAIN", "other"),
        ];
        env.xtask_with(&["deploy", "api", "--engine=host"], &variables).exits(0);
        assert_eq!(env.fetch("api-local.localhost", "/").1, value);
        let seen = std::fs::read_to_string(env.root.join("projects/api/seen.txt"));
        let seen = seen.expect("the command ran");
        let variable =
            |name: &str| seen.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        assert_eq!(variable("CLOUDFLARE_ENV"), Some("local"));
        assert_eq!(variable("RUSTUP_HOME"), Some(home.as_str()));
        assert_eq!((variable("PRIVATE_X"), variable("RUSTUP_TOOLCHAIN")), (None, None));
        let programs = env.root.join("projects/api/node_modules/.bin");
        let path = variable("PATH").expect("a path");
        assert!(path.split(':').any(|dir| dir == programs.as_str()), "{path}");
    }
}

#[test]
fn the_reason_of_a_build_command_that_fails_is_shown() {
    let env = TestEnv::with_tools();
    write_worker(&env, "echo the reason >&2; exit 3");
    env.commit("worker");
    let error = env.xtask(&["deploy", "api", "--engine=host", "--json"]).exits(1).error("api");
    let (message, log) = error.split_once("; its output is in ").expect("the log");
    assert_eq!(message, "wrangler bundled nothing: the `build.command` of its config failed");
    let (_, rest) = log.split_once('\n').expect("lines");
    assert_eq!(
        rest,
        "    the reason\nhint: correct the code or the wrangler config; nothing was uploaded"
    );
}

#[test]
fn a_build_command_does_not_write_the_config_that_wrangler_reads_before_it() {
    let env = TestEnv::new();
    let config = |fields: serde_json::Value| {
        let mut config = json!({ "name": "api", "build": { "command": "npm run build" } });
        for (name, value) in fields.as_object().expect("an object") {
            config[name] = value.clone();
        }
        config.to_string()
    };
    env.write(
        "projects/api/package.json",
        r#"{ "name": "api", "scripts": { "build": "node make.mjs" } }"#,
    );
    env.write("projects/api/worker.js", "export default {};\n");
    for (fields, message) in [
        (json!({ "main": "worker.js" }), "it has no `compatibility_date`"),
        (json!({ "compatibility_date": "2026-10-01" }), "neither `main` nor `assets.directory`"),
    ] {
        env.write("projects/api/wrangler.json", &config(fields));
        env.commit("api");
        let ran = env.xtask(&["deploy", "projects/api", "--env", "local", "--dry-run"]).exits(3);
        assert!(ran.stderr.contains(message), "{}", ran.stderr);
    }
}
