//! Uploads by Dagger's own API, which is the default, with the stand-in for the CLI.

use expect_test::expect;
use serde_json::Value;

use crate::dagger::{self, Dagger};
use crate::support::error_text;

fn by_api() -> Dagger {
    Dagger::new().with_api_upload()
}

#[test]
fn both_engines_write_the_same_record() {
    let dagger = by_api();
    dagger::same_record(&dagger);
    let env = &dagger.env;
    assert!(!env.root.join("projects/site/.xtask").exists(), "the results are below the root");
    let results = env.root.join(".xtask/deploy/site");
    assert_eq!(std::fs::read_to_string(results.join("upload.exit")).expect("a result"), "0\n");
}

#[test]
fn a_worker_preview_is_the_same_from_both_engines() {
    dagger::worker_preview(&by_api());
}

#[test]
fn a_forced_deployment_runs_again() {
    dagger::forced_again(&by_api());
}

#[test]
fn a_failed_build_reports_its_reason() {
    dagger::failing_build(&by_api());
}

#[test]
fn the_printed_script_is_what_runs() {
    dagger::printed_script(&by_api());
}

#[test]
fn exit_code_0_alone_is_no_success_and_failures_have_hints() {
    dagger::failures(&by_api());
}

#[test]
fn refuses_what_the_host_engine_refuses() {
    dagger::refusals(&by_api());
}

#[test]
fn builds_and_uploads_end_like_on_the_host() {
    dagger::situations(&by_api());
}

#[test]
fn a_build_that_writes_the_code_of_a_worker_is_exported() {
    dagger::built_code(&by_api());
}

#[test]
fn a_build_may_write_the_config_that_names_the_code() {
    dagger::generated_config(&by_api());
}

#[test]
fn a_worker_of_an_npm_workspace_is_built_and_deployed() {
    dagger::npm_workspace(&by_api());
}

#[test]
fn a_repository_without_modules_builds_deploys_and_previews() {
    without_modules(&by_api());
}

/// A repository has only its config, its projects and the pins of wrangler.
pub fn without_modules(dagger: &Dagger) {
    let env = &dagger.env;
    for module in ["bun", "cloudflare", "gitlab", "config"] {
        std::fs::remove_file(env.root.join(format!("dagger/{module}/dagger.json")))
            .expect("a file");
    }
    std::fs::remove_dir_all(env.root.join("dagger/cloudflare/src")).expect("a folder");
    env.site("projects/site", "site");
    env.commit("project");
    dagger.deploy(&["site"]).exits(0);
    assert_eq!(env.fetch("site.localhost", "/").1, "<h1>site one</h1>");
    let preview = ["preview", "site", "--engine", "dagger", "--alias", "mr-1", "--force"];
    dagger.xtask(&preview).exits(0);
    assert_eq!(env.fetch("mr-1-site.localhost", "/").1, "<h1>site one</h1>");
    let doctor = dagger.xtask(&["doctor", "dagger.modules"]).exits(0);
    assert!(!doctor.stdout.contains("no dagger.json"), "{}", doctor.stdout);
}

#[test]
fn reports_a_missing_or_vanished_engine() {
    dagger::vanished_engine(by_api());
}

#[test]
fn several_projects_have_their_own_ends() {
    several_projects(&by_api());
}

/// Projects that run at the same time have their own records, and a failure is that project's alone.
pub fn several_projects(dagger: &Dagger) {
    let env = &dagger.env;
    for name in ["one", "two", "broken"] {
        env.site(&format!("projects/{name}"), name);
    }
    env.write("projects/broken/build.ts", "console.error('no content'); process.exit(7);");
    env.commit("projects");
    let ran = dagger.deploy(&["one", "two", "broken", "--jobs", "3"]).exits(1);
    for name in ["one", "two"] {
        let record = ran.record(name);
        assert_eq!(record["status"], "live", "{record}");
        assert_eq!(env.fetch(&format!("{name}.localhost"), "/").1, format!("<h1>{name} one</h1>"));
    }
    let broken = ran.record("broken");
    assert_eq!((&broken["status"], &broken["version"]), (&"failed".into(), &Value::Null));
    let log = std::fs::read_to_string(env.root.join(broken["log"].as_str().expect("a path")));
    assert!(log.expect("a log").contains("no content"), "{broken}");
}

#[test]
fn a_missing_token_is_refused_before_the_engine_starts() {
    let dagger = by_api();
    let env = &dagger.env;
    env.worker("projects/api", "api");
    env.commit("project");
    let ran = dagger.deploy(&["api", "--env", "staging"]).exits(3);
    let message = ran.json()["error"]["message"].as_str().expect("a message").to_owned();
    expect![[r#"
        2 things are missing or wrong
          account id: `cloudflare.accountId` in dagger/config/config.json is the placeholder that the repository comes with
          token of staging: the variable CLOUDFLARE_WORKERS_TOKEN is not set"#]].assert_eq(&message);
    assert!(dagger.calls().is_empty(), "the CLI was called");
}

#[test]
fn only_whole_results_of_this_attempt_count() {
    whole_results(&by_api());
}

/// Results that are missing, damaged or of another attempt prove nothing.
pub fn whole_results(dagger: &Dagger) {
    let env = &dagger.env;
    env.site("projects/site", "site");
    env.commit("project");
    for (after, text) in [
        ("rm -r $results", "left no record of this attempt"),
        (": > $results/nonce", "left no record of this attempt"),
        ("rm $results/upload.exit", "left no record of this attempt"),
        (
            "printf '{\"type\":\"depl' > $results/wrangler.ndjson",
            "its output file names no version",
        ),
        ("rm -r $results; code=1", "is live now; before it was none"),
    ] {
        env.xtask(&["sandbox", "reset"]).exits(0);
        let after = format!("results=../../.xtask/deploy/site; [ $1 = version ] || {{ {after}; }}");
        dagger.wrap("", &after);
        let ran = dagger.deploy(&["site"]);
        let record = ran.record("site");
        let error = error_text(&record);
        assert!(error.contains(text), "{after}: {error}");
        assert_eq!(record["status"], "unknown", "{after}: {record:#}");
        assert_eq!(env.fetch("site.localhost", "/").1, "<h1>site one</h1>");
        ran.exits(4);
    }
}

#[test]
fn a_token_that_cloudflare_refuses_fails_the_upload() {
    refused_token(&by_api());
}

/// Wrangler fails in the container of the upload: its reason is shown, and nothing is live.
pub fn refused_token(dagger: &Dagger) {
    let env = &dagger.env;
    env.site("projects/site", "site");
    env.commit("project");
    dagger.wrap("SANDBOX_TOKEN=another-token; export SANDBOX_TOKEN", "");
    let ran = dagger.deploy(&["site"]).exits(1);
    let record = ran.record("site");
    assert_eq!((&record["status"], &record["live"]), (&"failed".into(), &Value::Null));
    let error = error_text(&record);
    assert!(error.contains("Authentication error") && error.contains("nothing is live"), "{error}");
    assert!(!ran.stdout.contains("another-token") && !ran.stderr.contains("another-token"));
}

#[test]
fn an_upload_that_fails_keeps_the_live_version() {
    failed_upload(&by_api());
}

/// Cloudflare refuses the code of a new version: its reason is shown, and the old one stays live.
pub fn failed_upload(dagger: &Dagger) {
    let env = &dagger.env;
    env.worker("projects/api", "api");
    env.commit("project");
    let first = dagger.deploy(&["api"]).exits(0).record("api");
    let code = "throw new Error('reason of the code');\nexport default { fetch: () => new Response('x') };\n";
    env.write("projects/api/src/worker.ts", code);
    let failed = dagger.deploy(&["api"]).exits(1).record("api");
    let error = failed["error"].as_str().expect("an error");
    assert!(error.contains("Uncaught Error: reason of the code"), "{error}");
    assert_eq!(failed["live"]["version"], first["version"]);
    assert_eq!(env.fetch("api.localhost", "/up").1, "{\"stage\":\"top\"}");
}

#[test]
fn hostile_values_pass_unchanged() {
    hostile_values(&by_api());
}

/// A folder and a flag with characters that shells interpret pass unchanged.
pub fn hostile_values(dagger: &Dagger) {
    let env = &dagger.env;
    let text = "it's $HOME `id` $(id) {x}, [y] *.txt \\ é";
    let dir = "projects/it's a $HOME, `id`";
    env.worker(dir, "api");
    env.write(
        &format!("{dir}/src/worker.ts"),
        "declare const TEXT: string; export default { fetch: () => new Response(TEXT) };",
    );
    let define = format!("TEXT:{}", serde_json::json!(text));
    let package =
        serde_json::json!({ "name": "api", "xtask": { "wrangler": ["--define", define] } });
    env.write(&format!("{dir}/package.json"), &package.to_string());
    env.commit("project");
    dagger.deploy(&["api"]).exits(0);
    assert_eq!(env.fetch("api.localhost", "/").1, text);
}

/// The top level of a config has no name, so the Worker has that of the package.
pub fn unnamed_config(dagger: &Dagger) {
    let env = &dagger.env;
    env.worker("projects/dex", "dex");
    let config = r#"{ "main": "src/worker.ts", "compatibility_date": "2026-10-01",
        "env": { "staging": {}, "production": { "name": "dex-live" } } }"#;
    env.write("projects/dex/wrangler.jsonc", config);
    env.write("projects/dex/package.json", r#"{ "name": "@acme/dex-analysis" }"#);
    env.commit("project");
    for (engine, status) in [("host", "live"), ("dagger", "unchanged")] {
        let ran = dagger.xtask(&["deploy", "dex", "--engine", engine, "--json"]).exits(0);
        assert_eq!(ran.record("dex")["status"], status, "{engine}");
    }
    assert_eq!(dagger.deploy(&["dex", "--force"]).exits(0).record("dex")["status"], "live");
    assert_eq!(env.fetch("acme-dex-analysis.localhost", "/up").0, 200);
    for (environment, worker) in
        [("staging", "acme-dex-analysis-staging"), ("production", "dex-live")]
    {
        dagger.deploy(&["dex", "--env", environment, "--sandbox"]).exits(0);
        assert_eq!(env.fetch(&format!("{worker}.localhost"), "/up").0, 200, "{environment}");
    }
}

#[test]
fn a_config_without_a_name_deploys() {
    unnamed_config(&by_api());
}

#[test]
fn a_config_without_a_name_deploys_by_the_module() {
    unnamed_config(&Dagger::new());
}

#[test]
fn a_first_version_may_go_live_after_wrangler_was_killed() {
    let dagger = by_api();
    dagger.env.site("projects/site", "site");
    dagger.env.commit("project");
    dagger.mode("wrangler-killed");
    let ran = dagger.deploy(&["site"]).exits(4);
    let record = ran.record("site");
    assert_eq!(record["status"], "unknown");
    let error = record["error"].as_str().expect("a text");
    assert!(error.contains("was killed by signal 9"), "{error}");
    assert!(error.contains("may still go live"), "{error}");
}
