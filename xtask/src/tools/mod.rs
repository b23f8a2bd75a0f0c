//! The only code that starts programs or speaks to servers. It decides nothing.

pub mod bun;
pub mod cargo;
pub mod cloudflare;
pub mod command;
pub mod dagger;
pub mod deadline;
pub mod deployments;
pub mod engine_address;
pub mod git;
pub mod gitlab;
pub mod http;
pub mod probe;
pub mod remembered;
pub mod retry;
pub mod runner;
pub mod sandbox;
pub mod supervisor;
pub mod version;
pub mod wrangler;
pub mod wrangler_fields;
