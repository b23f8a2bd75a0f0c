//! Crons, routes and domains: what a deployment applies beside the version.

use serde_json::{Value, json};

use crate::support::{TestEnv, error_text};

const CODE: &str = "export default { fetch: () => new Response('one'), scheduled() {} };";

/// Writes the wrangler config of project `a` with these fields besides.
fn config(env: &TestEnv, fields: &Value) {
    let mut config = json!({ "name": "a", "main": "worker.js", "compatibility_date": "2026-10-01",
        "workers_dev": true, "preview_urls": true });
    for (name, value) in fields.as_object().expect("fields") {
        config[name] = value.clone();
    }
    env.write("projects/a/wrangler.json", &config.to_string());
}

fn project(fields: &Value) -> TestEnv {
    let env = TestEnv::with_tools();
    config(&env, fields);
    env.write("projects/a/worker.js", CODE);
    env.commit("project");
    env
}

fn deploy(env: &TestEnv, code: i32) -> Value {
    env.xtask(&["deploy", "a", "--json", "--engine=host"]).exits(code).record("a")
}

/// Returns the sandbox's state of the Worker.
fn worker(env: &TestEnv) -> Value {
    let folder = env.root.join(".xtask/sandbox/cloudflare/workers");
    let mut files = folder.read_dir_utf8().expect("a folder").filter_map(Result::ok);
    let file = files.find(|file| file.file_name().ends_with(".a.json")).expect("a Worker");
    serde_json::from_str(&std::fs::read_to_string(file.path()).expect("text")).expect("JSON")
}

/// The crons that are set.
fn crons(env: &TestEnv) -> Vec<String> {
    let worker = worker(env);
    let schedules = worker["schedules"].as_array().expect("schedules");
    schedules.iter().map(|one| one["cron"].as_str().expect("text").to_owned()).collect()
}

fn status(env: &TestEnv) -> Value {
    let json = env.xtask(&["status", "a", "--env", "local", "--json"]).exits(0).json();
    json["rows"][0].clone()
}

fn cron(cron: &str) -> Value {
    json!({ "triggers": { "crons": [cron] } })
}

#[test]
fn a_promoted_version_s_crons_are_applied_by_the_next_deploy() {
    let env = project(&cron("0 3 * * *"));
    deploy(&env, 0);
    assert_eq!(status(&env)["triggersApplied"], true);
    config(&env, &cron("*/5 * * * *"));
    env.commit("another cron");
    env.xtask(&["preview", "a", "--alias=mr-1", "--engine=host"]).exits(0);
    let promoted = env.xtask(&["promote", "a", "--from", "mr-1", "--json"]).exits(0).record("a");
    let warnings = promoted["warnings"].to_string();
    assert!(warnings.contains("only `deploy` applies them"), "{warnings}");
    assert_eq!(crons(&env), ["0 3 * * *"], "promote applies none");

    let row = status(&env);
    assert_eq!((&row["inStep"], &row["triggersApplied"]), (&json!(true), &json!(false)), "{row:#}");
    let text = env.xtask(&["status", "a", "--env", "local"]).exits(0).stdout;
    assert!(text.contains("crons, routes or settings not applied"), "{text}");

    let record = deploy(&env, 0);
    assert_eq!(record["status"], "live", "the content is live already, the cron is not");
    assert!(record["warnings"].to_string().contains("removes the cron `0 3 * * *`"), "{record:#}");
    assert_eq!(crons(&env), ["*/5 * * * *"]);
    assert_eq!(status(&env)["triggersApplied"], true);
    assert_eq!(deploy(&env, 0)["status"], "unchanged");
}

#[test]
fn every_setting_outside_of_the_version_counts() {
    for fields in [
        json!({ "observability": { "enabled": true } }),
        json!({ "preview_urls": false }),
        json!({ "logpush": true }),
    ] {
        let env = project(&json!({}));
        deploy(&env, 0);
        env.xtask(&["preview", "a", "--alias=mr-0", "--engine=host"]).exits(0);
        config(&env, &fields);
        let version = env.root.join("projects/a/wrangler.json");
        assert!(version.exists());
        let changed = deploy(&env, 0);
        assert_eq!(changed["status"], "live", "{fields}");
        assert_eq!(deploy(&env, 0)["status"], "unchanged", "{fields}");
        // Back to the first version, with what was set last.
        env.xtask(&["rollback", "a"]).exits(0);
        config(&env, &json!({}));
        let row = status(&env);
        let both = (&row["inStep"], &row["triggersApplied"]);
        assert_eq!(both, (&json!(true), &json!(false)), "{fields}: {row:#}");
        assert_eq!(deploy(&env, 0)["status"], "live", "{fields}");
        assert_eq!(status(&env)["triggersApplied"], true, "{fields}");
    }
}

#[test]
fn plan_and_result_name_removed_and_kept_triggers() {
    let domain = |name: &str| json!({ "pattern": name, "custom_domain": true });
    let env = project(&json!({ "triggers": { "crons": ["0 3 * * *", "0 4 * * *"] },
        "routes": [domain("a.example.com"), domain("b.example.com"), "c.example.com/*"] }));
    deploy(&env, 0);
    config(
        &env,
        &json!({ "triggers": { "crons": ["0 4 * * *"] }, "routes": [domain("b.example.com")] }),
    );
    let removed = ["the cron `0 3 * * *`", "the domain `a.example.com`"];
    let plan = env.xtask(&["deploy", "a", "--dry-run", "--engine=host"]).exits(0).stdout;
    for what in removed {
        assert!(plan.contains(&format!("# removes {what}\n")), "{what}: {plan}");
    }
    let record = deploy(&env, 0);
    let warnings = record["warnings"].to_string();
    for what in removed {
        assert!(
            warnings.contains(&format!("this deployment removes {what}")),
            "{what}: {warnings}"
        );
    }
    assert!(warnings.contains("the route `c.example.com/*` stays set"), "{warnings}");
    assert_eq!(worker(&env)["domains"], json!(["b.example.com"]));

    let back = env.xtask(&["rollback", "a", "--json"]).exits(0).record("a");
    let warnings = back["warnings"].to_string();
    assert!(warnings.contains("unchanged, because no version contains them"), "{warnings}");
    assert!(warnings.contains("the domain `b.example.com`"), "{warnings}");
    let text = env.xtask(&[
        "rollback",
        "a",
        "--dry-run",
        "--to",
        &record["version"].as_str().expect("id")[..8],
    ]);
    assert!(text.exits(0).stdout.contains("rollback of a in local"));
}

#[test]
fn an_automatic_rollback_names_settings_it_does_not_undo() {
    let env = project(&cron("0 3 * * *"));
    let first = deploy(&env, 0);
    config(&env, &cron("*/5 * * * *"));
    env.write(
        "projects/a/worker.js",
        "export default { fetch() { throw new Error('x'); }, scheduled() {} };",
    );
    let record = deploy(&env, 4);
    assert_eq!(record["status"], "unknown");
    assert_eq!(record["live"]["version"], first["version"], "the previous version is live again");
    let error = error_text(&record);
    for part in [
        "is live again, but a rollback does not undo what the deployment changed beside it",
        "the cron `*/5 * * * *` is new",
        "the cron `0 3 * * *` is gone",
        "hint: check out the previous commit and deploy it with `--force`",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    // The next deploy of the first content sees that its cron is not set.
    config(&env, &cron("0 3 * * *"));
    env.write("projects/a/worker.js", CODE);
    assert_eq!(deploy(&env, 0)["status"], "live");
    assert_eq!(crons(&env), ["0 3 * * *"]);
}
