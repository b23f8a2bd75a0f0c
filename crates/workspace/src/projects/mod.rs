//! Projects: the folders with a wrangler config.
//!
//! [`discovery`] finds them, and [`project`] is one of them. [`sparse`] finds those that a sparse checkout leaves out.

pub mod discovery;
pub mod project;
pub(crate) mod sparse;
