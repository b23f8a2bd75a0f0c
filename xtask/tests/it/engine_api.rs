//! Uploads by Dagger's own API on a real engine, where one answers.

use crate::before_deploy::container_steps;
use crate::dagger::{self, Dagger};
use crate::dagger_api;
use crate::engine::real;

/// Runs a case on a real engine.
fn on_engine(case: fn(&Dagger)) {
    if let Some(dagger) = real() {
        case(&dagger.with_api_upload());
    }
}

#[test]
fn both_engines_write_the_same_record() {
    on_engine(dagger::same_record);
}

#[test]
fn a_forced_deployment_runs_again() {
    on_engine(dagger::forced_again);
}

#[test]
fn a_failed_build_reports_its_reason() {
    on_engine(dagger::failing_build);
}

#[test]
fn a_worker_preview_is_the_same_from_both_engines() {
    on_engine(dagger::worker_preview);
}

#[test]
fn the_printed_script_deploys() {
    on_engine(Dagger::run_pasted_script);
}

#[test]
fn refuses_what_the_host_engine_refuses() {
    on_engine(dagger::refusals);
}

#[test]
fn builds_and_uploads_end_like_on_the_host() {
    on_engine(dagger::situations);
}

#[test]
fn a_build_that_writes_the_code_of_a_worker_is_exported() {
    on_engine(dagger::built_code);
}

#[test]
fn a_worker_of_an_npm_workspace_is_built_and_deployed() {
    on_engine(dagger::npm_workspace);
}

#[test]
fn steps_run_in_the_container_of_the_upload() {
    on_engine(container_steps);
}

#[test]
fn a_repository_without_modules_builds_deploys_and_previews() {
    on_engine(dagger_api::without_modules);
}

#[test]
fn several_projects_have_their_own_ends() {
    on_engine(dagger_api::several_projects);
}

#[test]
fn a_build_may_write_the_config_that_names_the_code() {
    on_engine(dagger::generated_config);
}

#[test]
fn a_config_without_a_name_deploys() {
    on_engine(dagger_api::unnamed_config);
}

#[test]
fn only_whole_results_of_this_attempt_count() {
    on_engine(dagger_api::whole_results);
}

#[test]
fn a_token_that_cloudflare_refuses_fails_the_upload() {
    on_engine(dagger_api::refused_token);
}

#[test]
fn an_upload_that_fails_keeps_the_live_version() {
    on_engine(dagger_api::failed_upload);
}

#[test]
fn hostile_values_pass_unchanged() {
    on_engine(dagger_api::hostile_values);
}
