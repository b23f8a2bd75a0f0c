//! Runs one child that has the caller's terminal, as an interactive tool needs it.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::command::{self, Credential, ProcessCommand};
use crate::error::{Result, failed};
use crate::runner::{ExitReason, GRACE, is_interrupted, set_environment};
use crate::secret::{Redactor, Secret};
use crate::supervisor;

/// The interval between two checks of the child.
const CHILD_CHECK_INTERVAL: Duration = Duration::from_millis(20);

/// The time limit for the child after Ctrl-C. The terminal sends it the same signal.
const OWN_END: Duration = Duration::from_secs(1);

/// A stream of the child's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Error,
}

/// Receives the lines of output that do not go to a terminal, without credentials.
pub type OnLine<'a> = &'a (dyn Fn(Stream, &str) + Sync);

/// Runs `command` in the caller's process group with the caller's standard input. Its output goes to the
/// caller's, or line by line to `on_line`. Has no deadline.
pub fn run(
    command: &ProcessCommand,
    secret: &dyn Fn(&Credential) -> Result<Secret>,
    on_line: Option<OnLine<'_>>,
) -> Result<ExitReason> {
    let [program, arguments @ ..] = command.argv.as_slice() else {
        return Err(command::without_words());
    };
    let cannot = |error: std::io::Error| command::cannot_run(program, &error);
    if command.path.is_empty() {
        command::check_exists(program, &command.dir).map_err(cannot)?;
    }
    let mut process = std::process::Command::new(program);
    process.args(arguments);
    let secrets = set_environment(&mut process, command, secret)?;
    let redactor = Redactor::new(secrets);
    process.stdin(Stdio::inherit());
    if on_line.is_some() {
        process.stdout(Stdio::piped()).stderr(Stdio::piped());
    }
    let mut child = match process.spawn() {
        Err(error) if supervisor::needs_shell(&error) => {
            let argv = std::iter::once("sh".to_owned()).chain(command.argv.clone()).collect();
            return run(&ProcessCommand { argv, ..command.clone() }, secret, on_line);
        }
        spawned => spawned.map_err(cannot)?,
    };
    let (out, error) = (child.stdout.take(), child.stderr.take());
    std::thread::scope(|scope| {
        if let Some(on_line) = on_line {
            let redactor = &redactor;
            scope.spawn(move || drain(out, redactor, &|line| on_line(Stream::Out, line)));
            scope.spawn(move || drain(error, redactor, &|line| on_line(Stream::Error, line)));
        }
        wait(&mut child)
    })
    .map_err(|error| failed(format!("cannot wait for `{program}`: {error}")))
}

/// Runs `program` with a URL. Processes that it starts may outlive it. Returns false if the program does not exist
/// or fails.
#[must_use]
pub fn open(program: &str, url: &str) -> bool {
    let mut process = std::process::Command::new(program);
    process.arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    process.status().is_ok_and(|status| status.success())
}

fn drain(stream: Option<impl Read>, redactor: &Redactor, on_line: &dyn Fn(&str)) {
    let Some(stream) = stream else { return };
    let mut reader = BufReader::new(stream);
    let mut bytes = Vec::new();
    while reader.read_until(b'\n', &mut bytes).is_ok_and(|read| read > 0) {
        let text = String::from_utf8_lossy(&bytes);
        on_line(&redactor.apply(text.trim_end_matches(['\n', '\r'])));
        bytes.clear();
    }
}

fn wait(child: &mut Child) -> std::io::Result<ExitReason> {
    use std::os::unix::process::ExitStatusExt as _;
    let mut interrupted: Option<Instant> = None;
    let mut is_told = false;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(match (interrupted, status.code()) {
                (Some(_), _) => ExitReason::Interrupted,
                (None, Some(code)) => ExitReason::Code(code),
                (None, None) => ExitReason::Signal(status.signal().unwrap_or(0)),
            });
        }
        if is_interrupted() {
            let since = interrupted.get_or_insert_with(Instant::now).elapsed();
            if since >= OWN_END && !is_told {
                is_told = true;
                let pid = i32::try_from(child.id()).map_err(std::io::Error::other)?;
                let _gone = kill(Pid::from_raw(pid), Signal::SIGTERM);
            }
            if since >= OWN_END + GRACE {
                child.kill()?;
            }
        }
        std::thread::sleep(CHILD_CHECK_INTERVAL);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn lines_are_redacted_and_the_exit_code_is_the_child_s() {
        let script =
            "echo \"got $TOKEN\"; echo oops >&2; test -z \"$HOME_OF_NOBODY\" || exit 9; exit 7";
        let command = ProcessCommand::new("/", &["/bin/sh", "-c", script], Duration::ZERO)
            .credential("TOKEN", Credential::SandboxToken);
        let lines = Mutex::new(Vec::new());
        let on_line = |stream: Stream, line: &str| {
            lines.lock().expect("a lock").push((stream == Stream::Error, line.to_owned()));
        };
        let secret = |_: &Credential| Ok(Secret::new("canary-token"));
        let reason = run(&command, &secret, Some(&on_line)).expect("a run");
        assert_eq!(reason, ExitReason::Code(7));
        let mut lines = lines.into_inner().expect("lines");
        lines.sort();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(!lines[0].1.contains("canary-token"), "{lines:?}");
        assert_eq!(lines[1], (true, "oops".to_owned()));
    }

    #[test]
    fn a_missing_program_is_refused() {
        let command = ProcessCommand::new("/", &["/no/such/program"], Duration::ZERO);
        let failure = run(&command, &|_| Ok(Secret::new("")), None).expect_err("an error");
        assert!(failure.message.starts_with("cannot run `/no/such/program`: "), "{failure}");
    }
}
