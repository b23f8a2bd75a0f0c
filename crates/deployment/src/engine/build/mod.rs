//! Builds on this machine: installs, the packages that a project imports, the project, and the cache of their outputs.

pub mod expected_output;
pub mod install;
mod npm_install;
mod output_parts;
mod package;
pub mod project;
pub mod variables;
