//! The checks by subject. They write nothing.

pub mod config;
pub mod credentials;
pub mod dagger;
pub mod modules;
pub mod network;
pub mod pipeline;
pub mod projects;
pub mod repository;
pub mod sandbox;
pub mod stored_variables;
pub mod tools;
pub mod variables;
