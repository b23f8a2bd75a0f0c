//! A process between xtask and each program that it runs. It ends the program's process group if
//! xtask is killed, so that no upload continues unnoticed by a later run.
//!
//! The supervisor is xtask's own executable with a hidden first argument. It does nothing but wait.

use std::ffi::OsString;
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, getpgrp, getppid};

/// The hidden first argument.
pub const ARGUMENT: &str = "__supervise";

/// The exit code if the program cannot be started.
const CANNOT_START: u8 = 126;

/// The interval between two checks of the parent.
const PARENT_CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// The time that the process group of a killed xtask has between SIGTERM and SIGKILL.
const ORPHAN_GRACE: Duration = Duration::from_secs(2);

/// This program's `main` calls [`run`], so that it can be its own supervisor.
static IS_READY: AtomicBool = AtomicBool::new(false);

/// Returns the path of this program, to start a supervisor. `None` if its `main` does not call [`run`], as
/// that of a test.
#[must_use]
pub fn executable() -> Option<String> {
    if !IS_READY.load(Ordering::SeqCst) {
        return None;
    }
    // Also correct on Linux if a new build replaces the file while it runs.
    let stable = "/proc/self/exe";
    if std::path::Path::new(stable).exists() {
        return Some(stable.to_owned());
    }
    std::env::current_exe().ok()?.to_str().map(str::to_owned)
}

/// Returns the words that run a program below a supervisor of this process.
#[must_use]
pub fn prefix(executable: &str) -> Vec<String> {
    vec![executable.to_owned(), ARGUMENT.to_owned(), std::process::id().to_string()]
}

/// Supervises a program and returns its exit code, if the command line asks for it. `None` otherwise.
/// A signal that ended the program is 128 plus its number.
#[must_use]
pub fn run(mut arguments: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    IS_READY.store(true, Ordering::SeqCst);
    if arguments.nth(1)? != ARGUMENT {
        return None;
    }
    let parent = arguments.next()?.to_str()?.parse().ok()?;
    let program = arguments.next()?;
    Some(ExitCode::from(supervise(Pid::from_raw(parent), &program, arguments)))
}

/// Returns true if a program is a script without a first line `#!`, as pnpm 12 is. Shells run such a script with `sh`.
pub(crate) fn needs_shell(error: &std::io::Error) -> bool {
    error.raw_os_error() == Some(Errno::ENOEXEC as i32)
}

/// Starts a program, if necessary with `sh`.
fn start(program: &OsString, arguments: impl Iterator<Item = OsString>) -> std::io::Result<Child> {
    let arguments: Vec<OsString> = arguments.collect();
    match Command::new(program).args(&arguments).spawn() {
        Err(error) if needs_shell(&error) => {
            Command::new("sh").arg(program).args(&arguments).spawn()
        }
        started => started,
    }
}

fn supervise(parent: Pid, program: &OsString, arguments: impl Iterator<Item = OsString>) -> u8 {
    // xtask ends the whole group. The program decides how it ends, and the supervisor waits for it.
    let outlives = ctrlc::set_handler(|| {});
    let mut child =
        match outlives.map_err(std::io::Error::other).and_then(|()| start(program, arguments)) {
            Ok(child) => child,
            Err(error) => {
                // To the log of the command, because nothing else tells the reason.
                let line = format!("{} cannot be started: {error}\n", program.display());
                let _closed = std::io::stderr().write_all(line.as_bytes());
                return CANNOT_START;
            }
        };
    let is_orphan = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&is_orphan);
    std::thread::spawn(move || {
        while getppid() == parent {
            std::thread::sleep(PARENT_CHECK_INTERVAL);
        }
        seen.store(true, Ordering::SeqCst);
        let _gone = killpg(getpgrp(), Signal::SIGTERM);
        std::thread::sleep(ORPHAN_GRACE);
        let _gone = killpg(getpgrp(), Signal::SIGKILL);
    });
    let ended = child.wait();
    if is_orphan.load(Ordering::SeqCst) {
        // The rest of the group, and this process with it.
        let _gone = killpg(getpgrp(), Signal::SIGKILL);
    }
    let Ok(status) = ended else { return CANNOT_START };
    let code = status.code().or_else(|| Some(128 + status.signal()?));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}
