//! Two that claim one thing, visitors of production, and previews without an address: refused before anything changes.

use crate::support::TestEnv;

/// A repository with the projects of `configs`: name and wrangler config without its outer braces.
fn env(configs: &[(&str, &str)]) -> TestEnv {
    let env = TestEnv::new();
    for (name, config) in configs {
        project(&env, name, config);
    }
    env
}

fn project(env: &TestEnv, name: &str, config: &str) {
    env.write(&format!("projects/{name}/dist/index.html"), name);
    let assets = r#""compatibility_date": "2026-10-01", "assets": { "directory": "./dist" }"#;
    env.write(&format!("projects/{name}/wrangler.jsonc"), &format!("{{ {config}, {assets} }}"));
}

/// Runs a command that must be refused. Returns its stderr.
#[track_caller]
fn refusal(env: &TestEnv, arguments: &[&str]) -> String {
    let run = env.xtask(arguments);
    assert_eq!(run.code, 3, "{arguments:?}: {}{}", run.stdout, run.stderr);
    run.stderr
}

const DOMAIN: &str = r#""routes": [{ "pattern": "www.example.com", "custom_domain": true }]"#;

#[test]
fn refuses_two_projects_with_the_same_claim_and_names_both_configs() {
    let other_block = r#""name": "b", "env": { "staging": { "name": "a" } }"#;
    let capitals = r#""name": "b", "preview_urls": true, "routes": [{ "pattern": "WWW.example.com.", "custom_domain": true }]"#;
    let a = format!(r#""name": "a", "preview_urls": true, {DOMAIN}"#);
    for (row, one, two, message) in [
        ("one name", r#""name": "a""#, r#""name": "a""#, "both deploy the Worker `a`"),
        ("a name of a block", r#""name": "a""#, other_block, "both deploy the Worker `a`"),
        ("one domain", a.as_str(), capitals, "both have the route `"),
        (
            "one route",
            r#""name": "a", "preview_urls": true, "route": "example.com/api/*""#,
            r#""name": "b", "preview_urls": true, "routes": ["https://EXAMPLE.com:443/api/*"]"#,
            "both have the route `",
        ),
    ] {
        let env = env(&[("a", one), ("b", two)]);
        env.commit("projects");
        for arguments in [
            &["deploy", "--all", "--dry-run"][..],
            &["deploy", "a"],
            &["preview", "a", "--env", "local"],
        ] {
            let stderr = refusal(&env, arguments);
            assert!(stderr.contains(message), "{row}: {stderr}");
            for name in ["projects/a/wrangler.jsonc", "projects/b/wrangler.jsonc"] {
                assert!(stderr.contains(name), "{row}: {stderr}");
            }
        }
        let stderr = refusal(&env, &["ci", "generate"]);
        assert!(stderr.contains(message), "{row}: {stderr}");
        assert!(!env.root.join(".gitlab-ci.yml").exists(), "{row}");
        let doctor = env.xtask(&["doctor", "projects", "--json", "--offline"]);
        assert!(doctor.stdout.contains(message), "{row}: {}", doctor.stdout);
    }
}

#[test]
fn refuses_an_environment_that_inherits_a_domain() {
    let config = format!(
        r#""name": "a", "preview_urls": true, {DOMAIN}, "env": {{ "staging": {{}}, "qa": {{}} }}"#
    );
    let env = env(&[("a", &config)]);
    let shared = std::fs::read_to_string(env.root.join("dagger/config/config.json")).expect("text");
    let open = shared
        .replace("\"protected\": true, ", "")
        .replace("\"staging\": {}", "\"staging\": {}, \"qa\": {}");
    env.write("dagger/config/config.json", &open);
    env.commit("project");
    let stderr = refusal(&env, &["deploy", "a", "--env", "staging"]);
    assert!(stderr.contains("(`env.staging`) and projects/a/wrangler.jsonc"), "{stderr}");
    assert!(stderr.contains("both have the route `www.example.com`"), "{stderr}");
    // The top level has it, and so has each environment without a block.
    let run = env.xtask(&["deploy", "a", "--env", "production"]);
    assert!(run.stderr.contains("CLOUDFLARE_WORKERS_TOKEN is not set"), "{}", run.stderr);
}

#[test]
fn a_pattern_that_shares_requests_with_production_is_refused_unless_it_is_named() {
    for (theirs, own, is_refused) in [
        ("*.example.com/*", "www.example.com/*", true),
        ("www.example.com/*", "*.example.com/*", true),
        ("example.com/*", "example.com/login*", true),
        ("example.com/login*", "example.com/*", true),
        ("www.example.com/*", "WWW.Example.com./*", true),
        ("www.example.com/*", "www.example.com:8443/*", true),
        ("https://www.example.com/*", "www.example.com/a", true),
        ("*.example.com/*", "example.com/*", false),
        ("www.example.com/a*", "www.example.com/b*", false),
        ("http://www.example.com/*", "https://www.example.com/*", false),
    ] {
        let config = format!(
            r#""name": "a", "preview_urls": true, "route": "{theirs}", "env": {{ "staging": {{ "routes": ["{own}"] }} }}"#
        );
        let env = env(&[("a", &config)]);
        env.commit("project");
        let staging = ["deploy", "a", "--env", "staging"];
        let run = env.xtask(&staging);
        let wanted = if is_refused { "would take " } else { "CLOUDFLARE_WORKERS_TOKEN is not set" };
        assert!(run.code == 3 && run.stderr.contains(wanted), "{theirs} {own}: {}", run.stderr);
        if is_refused {
            assert!(run.stderr.contains("environments.staging.sharedRoutes"), "{}", run.stderr);
            let path = env.root.join("dagger/config/config.json");
            let shared = std::fs::read_to_string(path).expect("text");
            let allowed = format!(r#""staging": {{ "sharedRoutes": ["{own}"] }}"#);
            env.write("dagger/config/config.json", &shared.replace("\"staging\": {}", &allowed));
            let run = env.xtask(&staging);
            let wanted = "CLOUDFLARE_WORKERS_TOKEN is not set";
            // The very same route in two blocks is refused in any case.
            let is_same = own.to_lowercase().replace("./", "/").replace(":8443", "") == theirs;
            let wanted = if is_same { "both have the route" } else { wanted };
            assert!(run.stderr.contains(wanted), "{theirs} {own}: {}", run.stderr);
        }
    }
}

#[test]
fn a_queue_has_one_consumer() {
    let consumes =
        |queue: &str| format!(r#""queues": {{ "consumers": [{{ "queue": "{queue}" }}] }}"#);
    let jobs = consumes("jobs");
    let one = |name: &str, rest: &str| format!(r#""name": "{name}", {rest}"#);
    let blocks = |top: &str, staging: &str, production: &str| {
        format!(
            r#""name": "a", {top}, "env": {{ "staging": {{ {staging} }}, "production": {{ {production} }} }}"#
        )
    };
    let two = "both consume the queue `jobs`, and a queue has one consumer";
    for (row, configs, arguments, expected) in [
        (
            "two projects",
            vec![("a", one("a", &jobs)), ("b", one("b", &jobs))],
            &["deploy", "a", "--dry-run"][..],
            Some("projects/a/wrangler.jsonc and projects/b/wrangler.jsonc both consume"),
        ),
        (
            "a block of another project",
            vec![
                ("a", one("a", &format!(r#""env": {{ "staging": {{ {jobs} }} }}"#))),
                ("b", one("b", &format!(r#""env": {{ "staging": {{ {jobs} }} }}"#))),
            ],
            &["deploy", "a", "--dry-run", "--env", "staging"],
            Some("(`env.staging`) and projects/b/wrangler.jsonc (`env.staging`) both"),
        ),
        (
            "two blocks",
            vec![("a", blocks(r#""preview_urls": true"#, &jobs, &jobs))],
            &["deploy", "a", "--dry-run", "--env", "staging"],
            Some("(`env.staging`) and projects/a/wrangler.jsonc (`env.production`) both"),
        ),
        (
            "production at the top level",
            vec![("a", one("a", &format!(r#"{jobs}, "env": {{ "staging": {{ {jobs} }} }}"#)))],
            &["deploy", "a", "--dry-run", "--env", "staging"],
            Some("(`env.staging`) and projects/a/wrangler.jsonc both"),
        ),
        (
            "the top level of development",
            vec![("a", blocks(&jobs, &consumes("jobs-staging"), &jobs))],
            &["deploy", "a", "--dry-run", "--env", "staging"],
            None,
        ),
        (
            "the local queue of a project with blocks",
            vec![("a", blocks(&jobs, &jobs, &consumes("jobs-live")))],
            &["deploy", "a", "--dry-run", "--env", "staging"],
            None,
        ),
        (
            "a producer and a consumer",
            vec![
                ("a", one("a", &jobs)),
                (
                    "b",
                    one("b", r#""queues": { "producers": [{ "binding": "Q", "queue": "jobs" }] }"#),
                ),
            ],
            &["deploy", "a", "--dry-run"],
            None,
        ),
    ] {
        let configs: Vec<(&str, &str)> =
            configs.iter().map(|(name, config)| (*name, config.as_str())).collect();
        let env = env(&configs);
        env.commit("projects");
        let run = env.xtask(arguments);
        match expected {
            Some(places) => {
                assert_eq!(run.code, 3, "{row}: {}", run.stderr);
                assert!(run.stderr.contains(places), "{row}: {}", run.stderr);
                assert!(run.stderr.contains(two), "{row}: {}", run.stderr);
            }
            None => assert_eq!(run.code, 0, "{row}: {}", run.stderr),
        }
    }
}

#[test]
fn a_queue_in_another_account_is_another_queue() {
    let config = r#""name": "a", "preview_urls": true, "env": {
        "staging": { "queues": { "consumers": [{ "queue": "jobs" }] } },
        "production": { "queues": { "consumers": [{ "queue": "jobs" }] } } }"#;
    let env = env(&[("a", config)]);
    let path = "dagger/config/config.json";
    let shared = std::fs::read_to_string(env.root.join(path)).expect("text");
    let account =
        format!(r#""staging": {{ "cloudflare": {{ "accountId": "{}" }} }}"#, "1".repeat(32));
    env.write(path, &shared.replace("\"staging\": {}", &account));
    env.commit("project");
    env.xtask(&["deploy", "a", "--dry-run", "--env", "staging"]).exits(0);
}

#[test]
fn refuses_a_preview_without_a_url_before_the_upload() {
    let objects =
        r#""durable_objects": { "bindings": [{ "name": "ROOM", "class_name": "Room" }] }"#;
    for (config, message) in [
        (r#""name": "a", "workers_dev": false"#.to_owned(), "`workers_dev` is false"),
        (r#""name": "a", "preview_urls": false"#.to_owned(), "`preview_urls` is false"),
        (r#""name": "a", "route": "example.com/*""#.to_owned(), "with a route that means off"),
        (r#""name": "a", "routes": ["example.com/*"]"#.to_owned(), "with a route that means off"),
        (format!(r#""name": "a", {DOMAIN}"#), "with a route that means off"),
        (
            r#""name": "a", "env": { "local": { "workers_dev": false } }"#.to_owned(),
            "`workers_dev` is false",
        ),
        (format!(r#""name": "a", {objects}"#), "implements a Durable Object"),
        (
            r#""name": "a", "exports": { "Room": { "type": "durable-object" } }"#.to_owned(),
            "implements a Durable Object",
        ),
    ] {
        let env = env(&[("a", &config)]);
        env.commit("project");
        let stderr = refusal(&env, &["preview", "a", "--env", "local"]);
        assert!(stderr.contains(message), "{config}: {stderr}");
        let hint = if message.contains("Durable") {
            "--strategy preview"
        } else {
            "\"preview_urls\": true"
        };
        assert!(stderr.contains(hint), "{config}: {stderr}");
    }
    // A binding to another Worker's Durable Object is not its own class.
    let other = r#""name": "a", "durable_objects": { "bindings": [{ "name": "R", "class_name": "R", "script_name": "other" }] }"#;
    let env = env(&[("a", other)]);
    env.commit("project");
    let run = env.xtask(&["preview", "a", "--env", "local", "--dry-run"]).exits(0);
    assert!(run.stdout.contains("versions upload"), "{}", run.stdout);
}

/// Adds an environment to the shared config.
fn add_environment(env: &TestEnv, name: &str) {
    let path = "dagger/config/config.json";
    let shared = std::fs::read_to_string(env.root.join(path)).expect("text");
    let more = format!("\"{name}\": {{}}, \"staging\": {{}}");
    env.write(path, &shared.replace("\"staging\": {}", &more));
}

/// Returns the blocks of three environments, each with its name in place of `@`.
fn three_blocks(block: &str) -> String {
    let blocks = ["dev", "staging", "production"]
        .map(|name| format!(r#""{name}": {}"#, block.replace('@', name)));
    format!(r#""env": {{ {} }}"#, blocks.join(", "))
}

#[test]
fn refuses_an_environment_without_a_block_if_the_top_level_is_not_for_it() {
    let kv =
        r#""kv_namespaces": [{ "binding": "CACHE", "id": "00000000000000000000000000000001" }]"#;
    let bound = three_blocks(&format!("{{ {kv} }}"));
    let staged = three_blocks(r#"{ "vars": { "STAGE": "@" } }"#);
    let lacks = |names: &str| {
        format!(
            "no block `env.preview` (its blocks: dev, production, staging), and the Worker of the top level, `web`, lacks {names}, which every block has"
        )
    };
    for (config, message, hint) in [
        (format!(r#""name": "web", {bound}"#), lacks("`CACHE`"), "or add `CACHE` to the top level"),
        (format!(r#""name": "web", {staged}"#), lacks("`STAGE`"), "or add `STAGE` to the top level"),
        (
            three_blocks(r#"{ "name": "web-@" }"#),
            "no block `env.preview` (its blocks: dev, production, staging), and the top level has no `name` for its Worker".to_owned(),
            "or add `name` to the top level",
        ),
    ] {
        let env = env(&[("web", &config)]);
        add_environment(&env, "preview");
        env.commit("project");
        for arguments in [
            &["deploy", "web", "--env", "preview"][..],
            &["deploy", "web", "--env", "preview", "--dry-run"],
            &["deploy", "web", "--env", "preview", "--sandbox", "--dry-run"],
            &["preview", "web", "--env", "preview", "--alias", "mr-1"],
        ] {
            let stderr = refusal(&env, arguments);
            assert!(stderr.contains(&message), "{arguments:?}: {stderr}");
            for hint in [r#"add `"env": { "preview": { … } }`"#, hint] {
                assert!(stderr.contains(hint), "{arguments:?}: {stderr}");
            }
        }
        let doctor = ["doctor", "deploy", "web", "--env", "preview", "--offline"];
        let doctor = env.xtask(&doctor).stdout;
        assert!(doctor.contains("no block `env.preview`"), "{doctor}");
        // The sandbox's own environment is the top level, with or without blocks.
        env.xtask(&["deploy", "web", "--dry-run"]).exits(0);
        env.xtask(&["deploy", "web", "--env", "staging", "--dry-run"]).exits(0);
    }
}

#[test]
fn a_top_level_serves_an_environment_without_a_block() {
    let kv =
        r#""kv_namespaces": [{ "binding": "CACHE", "id": "00000000000000000000000000000001" }]"#;
    let staging = format!(r#""staging": {{ {kv}, "vars": {{ "STAGE": "staging" }} }}"#);
    let qa = format!(r#""qa": {{ {kv}, "vars": {{ "STAGE": "qa" }} }}"#);
    for (config, environment) in [
        // Production is the top level, and staging or several others have a block.
        (format!(r#""name": "web", "env": {{ {staging} }}"#), "production"),
        (format!(r#""name": "web", "env": {{ {staging}, {qa} }}"#), "production"),
        // Production has the block.
        (format!(r#""name": "web", "env": {{ "production": {{ {kv} }} }}"#), "staging"),
        (
            format!(r#""name": "web", {}"#, three_blocks(r#"{ "vars": { "NOINDEX": "1" } }"#)),
            "preview",
        ),
        (format!(r#""name": "web", {kv}, {}"#, three_blocks(&format!("{{ {kv} }}"))), "preview"),
        (r#""name": "web""#.to_owned(), "production"),
    ] {
        let env = env(&[("web", &config)]);
        add_environment(&env, "preview");
        env.commit("project");
        let plan = env.xtask(&["deploy", "web", "--env", environment, "--dry-run"]);
        assert_eq!(plan.code, 0, "{config}: {}", plan.stderr);
    }
}

#[test]
fn refuses_an_alias_with_the_url_of_another_worker() {
    let env = env(&[("a", r#""name": "site""#), ("b", r#""name": "mr-1-site""#)]);
    env.commit("projects");
    let stderr = refusal(&env, &["preview", "a", "--env", "local", "--alias", "mr-1"]);
    assert!(stderr.contains("workers.dev address of the Worker `mr-1-site`"), "{stderr}");
    assert!(stderr.contains("projects/b/wrangler.jsonc"), "{stderr}");
}

#[test]
fn different_projects_have_different_gitlab_environments() {
    let env = env(&[
        ("a+b", r#""name": "one""#),
        ("a-b", r#""name": "two""#),
        ("über", r#""name": "three""#),
        ("öber", r#""name": "four""#),
    ]);
    env.commit("projects");
    env.xtask(&["ci", "generate"]).exits(0);
    let text = std::fs::read_to_string(env.root.join(".gitlab-ci.yml")).expect("a pipeline");
    let mut groups: Vec<&str> =
        text.lines().filter(|line| line.contains("resource_group: production/")).collect();
    groups.sort_unstable();
    groups.dedup();
    assert_eq!(groups.len(), 4, "{groups:?}");
    assert!(text.contains("production/a-b\n"), "{text}");
}
