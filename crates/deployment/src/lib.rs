//! Builds, deploys and previews projects.
//!
//! Data flows one way: from a [`plan`], which does no IO, to [`engine`]s that execute it, and to [`record`]s of the live
//! versions. `ARCHITECTURE.md` has the map and the rules.

pub mod builds;
pub mod cache;
pub mod context;
pub mod engine;
pub mod facts;
#[cfg(test)]
mod fuzz;
pub mod plan;
pub mod record;
pub mod report;
pub mod script;
pub mod tools;
