//! The command as people use it: the real binary, real git, a cleared environment.

mod affected;
mod affected_bases;
mod browser;
mod budget;
mod build_cache;
mod canary;
mod cli;
mod comment;
mod comment_job;
mod dagger;
mod deploy;
mod discovery;
mod doctor;
mod doctor_variables;
mod engine;
mod fake_gitlab;
#[cfg(feature = "generate")]
mod faults;
mod hostile;
mod merge_request;
mod new;
mod pipeline;
mod pipeline_file;
mod pipeline_scripts;
mod preview;
mod protection;
mod protection_files;
mod script;
mod secrets;
mod site;
mod status;
mod support;
mod sweep;
mod symlinks;
mod tidy;
mod wrangler;
