//! The cases of `dagger.rs` against a real CLI and engine, where one answers at
//! `_EXPERIMENTAL_DAGGER_RUNNER_HOST`. Elsewhere they say that they were skipped. And a machine without
//! the CLI.

use std::io::Write as _;

use serde_json::Value;

use deployment::tools::dagger::engine_version;
use deployment::tools::engine_address::VARIABLE;

use crate::dagger::{
    Dagger, failing_build, forced_again, npm_workspace, same_record, worker_preview,
};
use crate::support::{CANARY, TestEnv, repository};

/// The variables that the CLI and its programs need to reach an engine.
const NEEDED: [&str; 7] = [
    VARIABLE,
    "DOCKER_CERT_PATH",
    "DOCKER_HOST",
    "DOCKER_TLS_VERIFY",
    "KUBECONFIG",
    "KUBERNETES_SERVICE_HOST",
    "KUBERNETES_SERVICE_PORT",
];

/// A repository with a real engine.
pub fn real() -> Option<Dagger> {
    let named = std::env::var_os(VARIABLE).is_some();
    // The probe has a short timeout, and a busy engine misses it.
    let responds = || (0..5).any(|_| engine_version(&repository()).is_some());
    if !named || !responds() {
        // Past the test runner, which keeps what passing tests print to itself.
        let _closed = writeln!(std::io::stderr(), "no engine: skipped");
        return None;
    }
    let variables = NEEDED.iter().filter_map(|&name| Some((name, std::env::var(name).ok()?)));
    Some(Dagger::with(program_on_path("dagger")?, variables.collect()))
}

/// Returns the quoted path of a program of this machine.
fn program_on_path(name: &str) -> Option<String> {
    let path = std::env::var_os("PATH")?;
    let file =
        std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())?;
    Some(format!("'{}'", file.to_str()?))
}

#[test]
fn both_engines_write_the_same_record() {
    if let Some(dagger) = real() {
        same_record(&dagger);
    }
}

#[test]
fn a_forced_deployment_runs_again() {
    if let Some(dagger) = real() {
        forced_again(&dagger);
    }
}

#[test]
fn a_failed_build_reports_its_reason() {
    if let Some(dagger) = real() {
        failing_build(&dagger);
    }
}

#[test]
fn a_worker_of_an_npm_workspace_is_built_and_deployed() {
    if let Some(dagger) = real() {
        npm_workspace(&dagger);
    }
}

#[test]
fn a_worker_preview_is_the_same_from_both_engines() {
    if let Some(dagger) = real() {
        worker_preview(&dagger);
    }
}

#[test]
fn the_printed_script_deploys() {
    let Some(dagger) = real() else { return };
    dagger.run_pasted_script();
}

/// Calls the module's `preview` in a shell, and checks the comment in the sandbox's GitLab.
fn preview_with_comment(dagger: &Dagger) {
    let env = &dagger.env;
    env.site("projects/site", "site");
    env.commit("project");
    dagger.deploy(&[]).exits(0);
    env.write(".xtask/sandbox/token", CANARY);
    env.sh("chmod 600 .xtask/sandbox/token").exits(0);
    let request = ["sandbox", "merge-request", "--source", "other", "--export"];
    let request = env.xtask(&request).exits(0).stdout;
    let mut script: String =
        dagger.variables.iter().map(|(name, value)| format!("export {name}='{value}'\n")).collect();
    script += &request;
    script += "SANDBOX_TOKEN=$(cat .xtask/sandbox/token); export SANDBOX_TOKEN CICD_COMMENT_TOKEN\n\
        api=tcp://${CI_API_V4_URL#http://}; api=${api%/api/v4}\n\
        cd projects/site\n\
        dagger --progress=plain /dev/stdin <<DAGGER\n\
        '../../dagger/cloudflare' --environment='local' --api=\"$api\" \
        | preview './dist' 'wrangler.jsonc' 'env://SANDBOX_TOKEN' 'env://CICD_COMMENT_TOKEN' \"$CI_MERGE_REQUEST_IID\" \
        --project='site' --gitlab-project-id=\"$CI_PROJECT_ID\" --gitlab-api-url=\"$CI_API_V4_URL\" \
        | record | export preview.json\n\
        DAGGER\n";
    env.sh(&script).exits(0);
    let record = std::fs::read_to_string(env.root.join("projects/site/preview.json"));
    let record: Value = serde_json::from_str(&record.expect("a record")).expect("JSON");
    assert_eq!(
        (&record["comment"], &record["exitCode"]),
        (&"created".into(), &0.into()),
        "{record:#}"
    );
    assert_eq!(env.fetch("mr-1-site.localhost", "/").1, "<h1>site one</h1>");
    let notes = "curl -sS -H \"PRIVATE-TOKEN: $CICD_COMMENT_TOKEN\" \
        $CI_API_V4_URL/projects/$CI_PROJECT_ID/merge_requests/$CI_MERGE_REQUEST_IID/notes";
    let notes = env.sh(&format!("{request}{notes}")).exits(0).stdout;
    assert!(notes.contains("### Preview of `site` is ready"), "{notes}");
}

#[test]
fn a_preview_by_the_module_comments() {
    let Some(dagger) = real() else { return };
    preview_with_comment(&dagger);
}

#[test]
fn auto_chooses_dagger() {
    let Some(dagger) = real() else { return };
    dagger.env.site("projects/site", "site");
    dagger.env.commit("project");
    let ran = dagger.xtask(&["build", "site", "--json"]).exits(0);
    assert_eq!(ran.record("site")["engine"], "dagger", "{}", ran.stderr);
}

#[test]
fn without_the_cli_the_engine_is_refused_and_this_machine_s_tools_are_named() {
    let env = TestEnv::new();
    env.site("projects/site", "site");
    env.commit("site");
    // Wherever a machine has the CLI: a PATH of git alone.
    let path = env.folder.join("git-only");
    std::fs::create_dir(&path).expect("a folder");
    env.sh(&format!("ln -s \"$(command -v git)\" {path}/git")).exits(0);
    let ran = env
        .xtask_with(&["deploy", "site", "--engine", "dagger"], &[("PATH", path.as_str())])
        .exits(3);
    for message in
        ["there is no `dagger` on PATH", "hint: install the Dagger CLI", "`--engine host`"]
    {
        assert!(ran.stderr.contains(message), "{}", ran.stderr);
    }
    assert!(!env.root.join(".xtask/records").exists(), "nothing was begun");
}
