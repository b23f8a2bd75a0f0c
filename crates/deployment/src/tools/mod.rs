//! Finds and runs programs: Bun, package managers, cargo, Dagger and the sandbox. Makes no decisions about projects.

pub mod bun;
pub mod cargo;
pub mod checkout;
pub mod dagger;
pub mod dagger_output;
pub mod distribution;
pub mod engine_address;
pub mod packages;
pub mod program;
pub mod sandbox;
