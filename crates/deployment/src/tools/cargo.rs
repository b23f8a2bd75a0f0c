//! Runs Cargo for the parts of this repository that are built on first use.

use std::time::Duration;

use camino::Utf8Path;

use base::cmd;
use base::command::ProcessCommand;

/// The timeout of a build with its tests, for a slow machine that does other work too.
pub const RUN_DEADLINE: Duration = Duration::from_secs(2 * 3600);

/// The variables that cargo, rustup and the C compiler need.
pub const INHERITED: [&str; 11] = [
    "CARGO_BUILD_JOBS",
    "CARGO_HTTP_CAINFO",
    "CARGO_INCREMENTAL",
    "CARGO_NET_OFFLINE",
    "CARGO_TARGET_DIR",
    "CC",
    "RUSTFLAGS",
    "RUSTUP_AUTO_INSTALL",
    "RUSTUP_TOOLCHAIN",
    "RUST_BACKTRACE",
    "RUST_TEST_THREADS",
];

/// Returns the command of the current cargo with `arguments`.
#[must_use]
pub fn command(root: &Utf8Path, arguments: &[&str]) -> ProcessCommand {
    let cargo = base::env::raw_variable("CARGO").unwrap_or_else(|| "cargo".to_owned());
    let mut command = cmd!(root, "{cargo} {arguments...}", RUN_DEADLINE);
    command.inherit.extend(INHERITED);
    command
}
