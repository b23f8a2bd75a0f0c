//! GitLab's API as a client meets it: tokens, notes and their pages, quick actions, limits, durability.

mod notes;
mod server;
mod state;
