//! Foundation of every other crate: errors, secrets, text, time, processes, HTTP and the terminal.

pub mod command;
pub mod deadline;
pub mod env;
pub mod error;
pub mod files;
pub mod http;
pub mod interactive;
pub mod mutex;
pub mod open_files;
pub mod parallel;
pub mod probe;
pub mod retry;
pub mod roots;
pub mod runner;
pub mod same_errors;
pub mod secret;
pub mod supervisor;
pub mod terminal;
pub mod text;
pub mod time;
pub mod version;
pub mod version_cache;

#[doc(hidden)]
pub use xshell;
