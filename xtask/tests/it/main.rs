//! The command as people use it: the real binary, real git, a cleared environment.

mod affected;
mod budget;
mod cli;
mod dagger;
mod deploy;
mod discovery;
mod doctor;
mod engine;
mod preview;
mod script;
mod site;
mod support;
mod tidy;
mod wrangler;
