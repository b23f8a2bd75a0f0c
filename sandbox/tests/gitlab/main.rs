//! Tests GitLab's API from the outside: tokens, notes, pages, quick actions, limits and durability.

mod merge_requests;
mod notes;
mod repository;
mod server;
mod state;
