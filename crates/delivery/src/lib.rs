//! Delivery of every project in this repository as one command, `cargo xtask`.
//!
//! Data flows one way, from arguments through a [`plan`] that is made without touching anything, to
//! [`engine`]s that execute it and [`record`]s that say what is live. `ARCHITECTURE.md` has the map
//! and the rules.

pub mod cache;
pub mod cli;
pub mod commands;
pub mod context;
pub mod doctor;
pub mod engine;
#[cfg(feature = "generate")]
pub mod generated;
pub mod init;
pub mod plan;
pub mod program;
pub mod record;
pub mod report;
pub mod script;
pub mod tools;

pub use anyhow;
pub use base::error::Exit;
pub use clap;
pub use context::Ctx;
pub use program::{Run, main};
