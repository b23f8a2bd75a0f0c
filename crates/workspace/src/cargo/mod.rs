//! The crates of Cargo that a project is compiled from.
//!
//! [`manifest`] parses a `Cargo.toml`, and [`settings`] the settings of Cargo. [`crates`] follows the path dependencies of the
//! projects that are crates.

pub(crate) mod crates;
pub(crate) mod manifest;
pub(crate) mod settings;
