//! The crates of Cargo that a project is compiled from.
//!
//! [`manifest`] parses a `Cargo.toml`, and [`settings`] the settings of Cargo. [`crates`] follows the path dependencies of the
//! projects that are crates. [`lock`] compares the locked crates of a project.

pub(crate) mod crates;
pub(crate) mod lock;
pub(crate) mod manifest;
pub(crate) mod settings;
