//! Projects: the folders with a wrangler config.
//!
//! [`discovery`] finds them, and [`project`] is one of them. [`sparse`] finds those that a sparse checkout leaves out, and
//! [`search`] explains why others are missing. [`exclusion`] has the hints that exclude a config.

pub mod discovery;
pub mod exclusion;
pub mod project;
mod search;
pub(crate) mod sparse;
