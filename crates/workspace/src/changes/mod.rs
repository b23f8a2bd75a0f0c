//! Changes: the projects affected by one, and the content key.
//!
//! [`change_base`] chooses the base of a comparison, and [`path_list`] takes the changed paths from another program.
//! [`affected`] follows the graph from the changed paths, and [`lock_changes`] finds the projects of a changed lock file.
//! [`summary`] is the graph of a commit, which [`summaries`] caches. [`inputs`] reads what a build reads, and
//! [`content_key`](crate::key::content_key) hashes it.

pub mod affected;
pub mod change_base;
pub mod inputs;
pub mod lock_changes;
pub mod path_list;
pub mod summaries;
pub mod summary;
pub(crate) mod summary_text;
