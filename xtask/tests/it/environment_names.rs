//! An environment whose block or config has another form of its name, such as `prod` for `production`.

use expect_test::expect;

use crate::hints::errors;
use crate::support::TestEnv;

/// A repository with a Worker `shop` whose config is `config`.
fn shop(file: &str, config: &str) -> TestEnv {
    let env = TestEnv::new();
    worker(&env, file, config);
    env.commit("shop");
    env
}

fn worker(env: &TestEnv, file: &str, config: &str) {
    let fields = "main = \"worker.js\"\ncompatibility_date = \"2026-10-01\"\nworkers_dev = true\npreview_urls = true\n";
    env.write(&format!("projects/shop/{file}"), &format!("{fields}{config}"));
    env.write("projects/shop/worker.js", "export default { fetch: () => new Response('x') };\n");
}

/// Gives the shared config these environments.
fn environments(env: &TestEnv, text: &str) {
    let path = "dagger/config/config.json";
    let config = std::fs::read_to_string(env.root.join(path)).expect("text");
    let mut config: serde_json::Value = serde_json::from_str(&config).expect("JSON");
    config["environments"] = serde_json::from_str(text).expect("JSON");
    env.write(path, &config.to_string());
}

#[test]
fn refuses_a_block_with_another_form_of_the_name() {
    let env = shop(
        "wrangler.toml",
        "name = \"x-dev\"\n[env.prod]\nname = \"x\"\nroute = \"x.example/*\"\n",
    );
    for arguments in [
        &["deploy", "shop", "--env", "production", "--dry-run"][..],
        &["deploy", "--all", "--env", "production", "--dry-run"],
        &["preview", "shop", "--env", "production", "--alias", "a", "--dry-run"],
    ] {
        let ran = env.xtask(arguments).exits(3);
        expect![[r#"
            error: projects/shop/wrangler.toml: it has the block `env.prod` but none for `production`, which would get the top level with the Worker `x-dev`
            hint: rename the environment `production` to `prod` in dagger/config/config.json, also in `pipeline.environments`
            hint: or rename the block to `production`
        "#]]
        .assert_eq(&errors(&env, &ran.stderr));
    }
    environments(&env, r#"{ "production": { "protected": true }, "prod": { "protected": true } }"#);
    let ran = env.xtask(&["deploy", "shop", "--env", "production", "--dry-run"]).exits(3);
    assert!(ran.stderr.contains("hint: deploy to `prod` with `--env prod`\n"), "{}", ran.stderr);
    let plan =
        env.xtask(&["deploy", "shop", "--env", "prod", "--dry-run", "--json"]).exits(0).json();
    assert_eq!(plan["projects"][0]["target"]["worker"], "x");
    // The sandbox's own environment is the top level.
    env.xtask(&["deploy", "shop", "--dry-run"]).exits(0);
}

#[test]
fn every_command_with_an_environment_refuses_what_a_deployment_refuses() {
    let env = shop("wrangler.toml", "name = \"x-dev\"\n[env.stage]\nname = \"x\"\n");
    environments(&env, r#"{ "staging": {} }"#);
    let commands: [&[&str]; 16] = [
        &["deploy", "shop"],
        &["preview", "shop", "--alias", "a"],
        &["preview", "stop", "shop", "--alias", "a"],
        &["rollback", "shop"],
        &["promote", "shop", "--from", "mr-1"],
        &["delete", "shop", "--yes"],
        &["logs", "shop"],
        &["versions", "shop"],
        &["diff", "shop"],
        &["open", "shop"],
        &["dev", "shop"],
        &["wrangler", "shop", "--", "secret", "put", "KEY"],
        &["wrangler", "shop", "--", "secret", "list"],
        &["wrangler", "shop", "--", "d1", "migrations", "apply", "DB", "--remote"],
        &["wrangler", "shop", "--", "tail"],
        &["wrangler", "shop", "--", "types"],
    ];
    for command in commands {
        let end = command.iter().position(|word| *word == "--").unwrap_or(command.len());
        let mut arguments = command.to_vec();
        arguments.splice(end..end, ["--env", "staging", "--sandbox"]);
        let ran = env.xtask(&arguments).exits(3);
        let expected = expect![[r#"
            error: projects/shop/wrangler.toml: it has the block `env.stage` but none for `staging`, which would get the top level with the Worker `x-dev`
            hint: rename the environment `staging` to `stage` in dagger/config/config.json
            hint: or rename the block to `staging`
        "#]];
        expected.assert_eq(&errors(&env, &ran.stderr));
    }
    let ran = env.xtask(&["sandbox", "cron", "shop", "--env", "staging"]).exits(3);
    assert!(ran.stderr.contains("the block `env.stage` but none for `staging`"), "{}", ran.stderr);
    // They use only the account, such as the database that the block will name, or name the Worker themselves.
    for arguments in [
        &["d1", "create", "db"][..],
        &["kv", "namespace", "list"],
        &["r2", "bucket", "list"],
        &["delete", "x-dev"],
        &["--version"],
    ] {
        let mut all = vec!["wrangler", "shop", "--env", "staging", "--dry-run", "--"];
        all.extend(arguments);
        env.xtask(&all).exits(0);
    }
    env.xtask(&["delete", "shop", "--dry-run"]).exits(0);
}

#[test]
fn status_shows_the_environments_that_no_deployment_may_use() {
    let env = TestEnv::with_tools();
    worker(&env, "wrangler.toml", "name = \"x-dev\"\n[env.stage]\nname = \"x\"\n");
    env.site("projects/site", "site");
    env.commit("projects");
    env.xtask(&["sandbox", "up"]).exits(0);
    let status = ["status", "--env", "staging", "--sandbox"];
    let json = env.xtask(&[&status[..], &["--json"]].concat()).exits(0).json();
    let states = json["rows"].as_array().expect("rows").iter();
    let states: Vec<_> = states.map(|row| (&row["project"], &row["status"])).collect();
    assert_eq!(states, [(&"shop".into(), &"refused".into()), (&"site".into(), &"nothing".into())]);
    let text = env.xtask(&status).exits(0).stdout;
    let expected = expect![[r#"
        PROJECT  ENV      STATE            VERSION  COMMIT  AGE  URL
        shop     staging  refused
        site     staging  nothing is live
        A deployment of shop to staging is refused: projects/shop/wrangler.toml: it has the block `env.stage` but none for `staging`, which would get the top level with the Worker `x-dev`
        hint: rename the environment `staging` to `stage` in dagger/config/config.json
        hint: or rename the block to `staging`
    "#]];
    expected.assert_eq(&text);
    // The previews of the others are stopped.
    let stop = ["preview", "stop", "--alias", "a", "--env", "staging", "--sandbox", "--json"];
    let previews = env.xtask(&stop).exits(0).json()["previews"].clone();
    assert_eq!(previews.as_array().map(Vec::len), Some(1), "{previews:#}");
    assert_eq!(previews[0]["project"], "site");
}

#[test]
fn forms_in_both_directions_are_refused_and_other_names_are_not() {
    let env = TestEnv::new();
    for (environment, block, is_refused) in [
        ("prod", "production", true),
        ("live", "production", true),
        ("staging", "stage", true),
        ("stg", "staging", true),
        ("development", "dev", true),
        ("prod-eu", "production-eu", true),
        ("production", "staging", false),
        ("production", "preprod", false),
        ("production", "prod-eu", false),
        ("prod", "prod", false),
    ] {
        environments(&env, &format!("{{ \"{environment}\": {{ \"protected\": true }} }}"));
        worker(&env, "wrangler.toml", &format!("name = \"x\"\n[env.{block}]\nname = \"y\"\n"));
        let arguments = ["deploy", "shop", "--env", environment, "--dry-run"];
        let code = if is_refused { 3 } else { 0 };
        assert_eq!(env.xtask(&arguments).code, code, "{environment} {block}");
    }
}

#[test]
fn refuses_an_environment_with_its_own_config_beside_the_used_one() {
    let env = shop("wrangler.toml", "name = \"shop-dev\"\n");
    let deploy =
        |environment: &str| env.xtask(&["deploy", "shop", "--env", environment, "--dry-run"]);
    deploy("production").exits(0);
    for file in [
        "wrangler.production.toml",
        "wrangler.prod.toml",
        "wrangler.prd.toml",
        "wrangler-production.toml",
        "wrangler_prod.toml",
    ] {
        worker(&env, file, "name = \"shop\"\n");
        let ran = deploy("production").exits(3);
        let expected = expect![[r#"
            error: projects/shop/wrangler.toml: it has no block `env.production`, and projects/shop/FILE beside it is not used, so `production` would get the Worker `shop-dev`
            hint: list the configs that are projects in projects/shop/package.json: `"xtask": { "configs": ["FILE"] }`
            hint: or add `[env.production]` to projects/shop/wrangler.toml
        "#]];
        expected.assert_eq(&errors(&env, &ran.stderr).replace(file, "FILE"));
        std::fs::remove_file(env.root.join("projects/shop").join(file)).expect("a file");
    }
    env.write(
        "projects/shop/wrangler-production.jsonc",
        r#"{ "name": "shop", "main": "worker.js" }"#,
    );
    let ran = deploy("production").exits(3);
    assert!(ran.stderr.contains("wrangler-production.jsonc beside it"), "{}", ran.stderr);
    // Another file whose name begins with `wrangler` is no config.
    env.write(
        "projects/shop/wrangler-production.jsonc",
        r#"{ "name": "production", "results": [] }"#,
    );
    deploy("production").exits(0);
    std::fs::remove_file(env.root.join("projects/shop/wrangler-production.jsonc")).expect("a file");
    worker(&env, "wrangler.production.toml", "name = \"shop\"\n");
    // The list in the package is a decision.
    let package = |file: &str| {
        let text = format!(r#"{{ "name": "shop", "xtask": {{ "configs": ["{file}"] }} }}"#);
        env.write("projects/shop/package.json", &text);
    };
    package("wrangler.toml");
    deploy("production").exits(0);
    worker(&env, "wrangler-production.toml", "name = \"shop\"\n");
    package("wrangler-production.toml");
    let plan = env.xtask(&["deploy", "shop", "--env", "production", "--dry-run", "--json"]);
    assert_eq!(
        plan.exits(0).json()["projects"][0]["config"],
        "projects/shop/wrangler-production.toml"
    );
    package("wrangler.production.toml");
    let plan = env.xtask(&["deploy", "shop", "--env", "production", "--dry-run", "--json"]);
    assert_eq!(plan.exits(0).json()["projects"][0]["target"]["worker"], "shop");
    std::fs::remove_file(env.root.join("projects/shop/package.json")).expect("a file");
    // A block is used.
    worker(&env, "wrangler.toml", "name = \"shop-dev\"\n[env.production]\nname = \"shop\"\n");
    deploy("production").exits(0);
}

#[test]
fn other_configs_in_the_folder_stop_no_deployment() {
    for file in [
        "wrangler.dev.toml",
        "wrangler.staging.toml",
        "wrangler.preprod.toml",
        "wrangler.production.example.toml",
        "wrangler.test.toml",
        "wrangler.base.toml",
        "wrangler.live.toml",
        "wrangler-staging.toml",
        "wrangler-preprod.toml",
        "wrangler-production-example.toml",
        "wrangler_test.toml",
    ] {
        let env = shop("wrangler.toml", "name = \"shop\"\n");
        worker(&env, file, "name = \"other\"\n");
        env.xtask(&["deploy", "projects/shop", "--env", "production", "--dry-run"]).exits(0);
    }
    // Such a config is not a separate project.
    let env = shop("wrangler.toml", "name = \"shop\"\n");
    worker(&env, "wrangler-api.toml", "name = \"shop-api\"\n");
    let listed = env.xtask(&["projects"]).exits(0);
    assert!(
        listed.stderr.contains("another config in the folder is: projects/shop/wrangler-api.toml;"),
        "{}",
        listed.stderr
    );
    assert_eq!(
        env.xtask(&["projects", "--json"]).exits(0).json()["projects"].as_array().map(Vec::len),
        Some(1)
    );
    // It belongs to the other project of the folder.
    let env = shop("wrangler.toml", "name = \"shop\"\n");
    worker(&env, "wrangler.api.toml", "name = \"shop-api-dev\"\n");
    worker(&env, "wrangler.api.prod.toml", "name = \"shop-api\"\n");
    env.xtask(&["deploy", "projects/shop", "--env", "production", "--dry-run"]).exits(0);
    let ran =
        env.xtask(&["deploy", "shop/wrangler.api", "--env", "production", "--dry-run"]).exits(3);
    assert!(
        ran.stderr.contains("projects/shop/wrangler.api.prod.toml beside it"),
        "{}",
        ran.stderr
    );
}
