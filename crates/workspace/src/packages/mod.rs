//! Packages: the folders with a `package.json`.
//!
//! [`package`] reads a manifest, with the dependencies of [`manifest`] and [`spec`] and the build that [`build_script`] finds.
//! [`deploy_script`] finds what else its script `deploy` does, and [`script_paths`] which paths a build names. [`shell_words`] splits a command. [`roots`] and
//! [`members`] tell which workspace it is in, [`package_manager`] and [`installs`] the files that its install reads.
//! [`lock_folder`] finds the lock file that installs a package, and [`install_coverage`] checks that it installs enough.
//! [`detect`] determines the [`installation`]: the manager, its version and Node. [`locks`] reads the versions of lock files,
//! and [`range`] compares versions.

pub mod build_script;
pub(crate) mod build_tasks;
pub mod deploy_script;
pub mod detect;
pub mod install_coverage;
pub mod installation;
pub(crate) mod installs;
pub(crate) mod lock_folder;
pub mod locks;
pub mod manifest;
pub(crate) mod members;
pub mod node_version;
pub mod package;
pub mod package_manager;
pub mod range;
pub(crate) mod roots;
pub(crate) mod script_paths;
mod shell_words;
pub(crate) mod spec;
