//! Projects: the folders with a wrangler config.
//!
//! [`discovery`] finds them, and [`project`] is one of them. [`sparse`] finds those that a sparse checkout leaves out, and
//! [`search`] explains why others are missing. [`exclusion`] has the hints that exclude a config. [`nx_build`]
//! finds the builds of projects of Nx.

pub mod discovery;
pub mod exclusion;
pub(crate) mod nx_build;
pub mod project;
mod search;
pub(crate) mod sparse;
