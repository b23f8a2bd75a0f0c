//! The command as people use it: the real binary, real git, a cleared environment.

mod affected;
mod affected_bases;
mod budget;
mod cli;
mod comment;
mod comment_job;
mod dagger;
mod deploy;
mod discovery;
mod doctor;
mod engine;
mod fake_gitlab;
mod merge_request;
mod new;
mod pipeline;
mod pipeline_file;
mod pipeline_scripts;
mod preview;
mod preview_strategy;
mod script;
mod site;
mod status;

mod support;
mod tidy;
mod wrangler;
