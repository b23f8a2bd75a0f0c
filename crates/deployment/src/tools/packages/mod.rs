//! Programs of package managers.
//!
//! [`registry`] finds one on PATH or installs it from the npm registry. [`failure`] finds the reason of a failed install and
//! the next step. [`waiting`] reports an unreachable registry. `workspace` knows the managers and which one a folder needs.

pub mod failure;
pub mod registry;
pub mod waiting;
