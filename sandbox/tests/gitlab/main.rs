//! GitLab's API as a client meets it: tokens, notes and their pages, quick actions, limits, durability.

mod merge_requests;
mod notes;
mod server;
mod state;
