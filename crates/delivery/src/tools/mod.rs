//! The programs that deliver: Bun, package managers, cargo, Dagger and the sandbox. They decide nothing.

pub mod bun;
pub mod cargo;
pub mod dagger;
pub mod distribution;
pub mod engine_address;
pub mod packages;
pub mod sandbox;
