//! Runs one child to its end: with its own process group, deadline and log file. Keeps its last lines.

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Read, Write as _};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::mutex;
use camino::{Utf8Path, Utf8PathBuf};
use nix::fcntl::{FcntlArg, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, close};

use super::command::{self, Credential, EnvValue, ProcessCommand};
use super::deadline;
use crate::error::{Result, failed, interrupted, unwritable};
use crate::secret::{Redactor, Secret, remember};
use crate::supervisor;
use crate::text::strip_escapes;

/// Set by Ctrl-C or SIGTERM.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Stops every running child, and the command as soon as it asks [`is_interrupted`].
pub fn interrupt() {
    INTERRUPTED.store(true, Ordering::SeqCst);
}

/// Returns true after Ctrl-C or SIGTERM.
#[must_use]
pub fn is_interrupted() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}

/// The number of output lines that an error shows.
pub const TAIL: usize = 20;

/// The time between SIGTERM and SIGKILL.
pub(crate) const GRACE: Duration = Duration::from_secs(5);

/// The time that we wait for the output of an ended child. A process that left its group may keep
/// it open forever.
const LEFTOVER: Duration = Duration::from_secs(2);

/// The interval between two checks of a child whose output is open.
const OUTPUT_CHECK_INTERVAL: Duration = Duration::from_millis(10);

/// The reason why a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitReason {
    /// It exited with this code.
    Code(i32),
    /// A signal killed it.
    Signal(i32),
    /// It reached its deadline and was stopped.
    Deadline,
    /// We were interrupted, and it was stopped.
    Interrupted,
    /// The caller stopped it by [`Runner::stop`].
    Caller,
}

/// A predicate: `exited with 1`.
impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExitReason::Code(code) => write!(f, "exited with {code}"),
            ExitReason::Signal(signal) => write!(f, "was killed by signal {signal}"),
            ExitReason::Deadline => f.write_str("did not end within its deadline"),
            ExitReason::Interrupted => f.write_str("was interrupted"),
            ExitReason::Caller => f.write_str("was stopped"),
        }
    }
}

/// A child that has ended.
#[derive(Debug)]
pub struct CompletedProcess {
    /// The reason.
    pub exit_reason: ExitReason,
    /// Its last lines, redacted, without colour codes.
    pub tail: Vec<String>,
    /// The file with all of its output.
    pub log: Utf8PathBuf,
    /// The run time.
    pub took: Duration,
    line: String,
    deadline: Duration,
}

impl CompletedProcess {
    /// Returns itself on success. Errors with the reason and the last lines otherwise.
    pub fn success(self) -> Result<CompletedProcess> {
        match self.exit_reason {
            ExitReason::Code(0) => Ok(self),
            ExitReason::Interrupted => Err(interrupted()),
            _ => Err(failed(self.explain())),
        }
    }

    /// Returns one sentence about the reason, followed by the last lines.
    #[must_use]
    pub fn explain(&self) -> String {
        let how = self.ending();
        let mut text = format!("`{}` {how}; its output is in {}", self.line, self.log);
        for line in &self.tail {
            text.push_str("\n    ");
            text.push_str(line);
        }
        text
    }

    /// Returns how it ended, as [`ExitReason`] does, with the seconds of the deadline.
    #[must_use]
    pub fn ending(&self) -> String {
        match self.exit_reason {
            ExitReason::Deadline => format!("was stopped after {} s", self.deadline.as_secs()),
            reason => reason.to_string(),
        }
    }
}

/// The log, credentials and output callback for running commands.
pub struct Runner<'a> {
    /// The log file. Its folder is created if missing.
    pub log: &'a Utf8Path,
    /// Resolves the credentials that the command names.
    pub secret: &'a dyn Fn(&Credential) -> Result<Secret>,
    /// Called with each redacted line of output.
    pub on_line: &'a (dyn Fn(&str) + Sync),
    /// The executable that supervises the child. `None` in tests of the runner itself.
    pub supervisor: Option<&'a str>,
    /// A locked file that the child keeps locked for as long as it lives, even if this process is killed.
    pub lock: Option<&'a File>,
    /// The child is stopped once this is set.
    pub stop: Option<&'a AtomicBool>,
}

impl Runner<'_> {
    /// Runs `command` to its end. Errors if it cannot be started.
    pub fn run(&self, command: &ProcessCommand) -> Result<CompletedProcess> {
        let deadline = deadline::within(command.deadline)?;
        // Opened first: a failure after the start would leave a child that nothing waits for.
        let log = self.open_log()?;
        let (mut child, redactor) = self.start(command)?;
        let started = Instant::now();
        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let sink = Sink {
            log: Mutex::new(log),
            tail: Mutex::new(VecDeque::new()),
            in_help: AtomicBool::new(false),
            redactor,
            on_line: self.on_line,
        };
        sink.log(&format!("$ {}", command.line()));
        let stop_reading = AtomicBool::new(false);
        let exit_reason = std::thread::scope(|scope| {
            scope.spawn(|| feed(stdin, command.stdin.as_deref(), &stop_reading));
            // Nothing is sent. Both senders are dropped when the child has closed its output.
            let (open, closed) = mpsc::channel();
            let also_open = open.clone();
            let (sink, stop_reading) = (&sink, &stop_reading);
            scope.spawn(move || (sink.drain(stdout, stop_reading), drop(open)));
            scope.spawn(move || (sink.drain(stderr, stop_reading), drop(also_open)));
            let reason = wait(&mut child, deadline, self.stop, &closed);
            // Grandchildren that outlive their parent would keep our pipes open.
            end_group(&child, Signal::SIGKILL);
            if closed.recv_timeout(LEFTOVER) == Err(RecvTimeoutError::Timeout) {
                sink.line(
                    "(a process that it left behind holds its output open, and is not waited for)",
                );
            }
            stop_reading.store(true, Ordering::SeqCst);
            reason
        })?;
        Ok(CompletedProcess {
            exit_reason: self.decode_signal(exit_reason),
            tail: mutex::into_inner(sink.tail).into(),
            log: self.log.to_owned(),
            took: started.elapsed(),
            line: command.brief(),
            deadline,
        })
    }

    /// Returns the signal that a supervisor reports as an exit code.
    fn decode_signal(&self, reason: ExitReason) -> ExitReason {
        match reason {
            ExitReason::Code(code @ 129..=159) if self.supervisor.is_some() => {
                ExitReason::Signal(code - 128)
            }
            reason => reason,
        }
    }

    fn open_log(&self) -> Result<File> {
        let created = self.log.parent().map_or(Ok(()), std::fs::create_dir_all);
        let log = created.and_then(|()| File::options().create(true).append(true).open(self.log));
        log.map_err(|error| unwritable(format!("cannot write {}: {error}", self.log)))
    }

    fn start(&self, command: &ProcessCommand) -> Result<(Child, Redactor)> {
        if is_interrupted() {
            return Err(interrupted());
        }
        let [program, args @ ..] = command.argv.as_slice() else {
            return Err(command::without_words());
        };
        let cannot = |error: std::io::Error| command::cannot_run(program, &error);
        command::check_exists(program, &command.dir).map_err(cannot)?;
        let prefix = self.supervisor.map(supervisor::prefix).unwrap_or_default();
        let mut words = prefix.iter().chain(std::iter::once(program)).chain(args);
        let mut process = std::process::Command::new(words.next().unwrap_or(program));
        process.args(words);
        let secrets = set_environment(&mut process, command, self.secret)?;
        let stdin = if command.stdin.is_some() { Stdio::piped() } else { Stdio::null() };
        process.process_group(0).stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = self.spawn(&mut process).map_err(cannot)?;
        Ok((child, Redactor::new(secrets)))
    }

    /// Starts the child with an open handle of the lock. The system releases a lock when the last handle
    /// is closed.
    fn spawn(&self, process: &mut std::process::Command) -> std::io::Result<Child> {
        // Another child must not be started while the handle is one that children inherit.
        static STARTING: Mutex<()> = Mutex::new(());
        let _one_at_a_time = mutex::lock(&STARTING);
        let handle = match self.lock {
            Some(lock) => Some(fcntl(lock.as_fd(), FcntlArg::F_DUPFD(3))?),
            None => None,
        };
        let child = process.spawn();
        if let Some(handle) = handle {
            close(handle)?;
        }
        child
    }
}

/// Sets only the folder and the environment of `command` on `process`. Returns the credentials in it.
pub(crate) fn set_environment(
    process: &mut std::process::Command,
    command: &ProcessCommand,
    secret: &dyn Fn(&Credential) -> Result<Secret>,
) -> Result<Vec<Secret>> {
    command.prepare(process);
    if !command.path.is_empty() {
        let old = crate::env::raw_variable("PATH").unwrap_or_default();
        let folders = command.path.iter().map(|dir| dir.as_str()).chain([old.as_str()]);
        process.env("PATH", folders.collect::<Vec<_>>().join(":"));
    }
    let mut secrets = Vec::new();
    for (name, value) in &command.env {
        match value {
            EnvValue::Text(text) => {
                process.env(name, text);
            }
            EnvValue::FromCaller { is_hidden } => {
                if let Some(value) = crate::env::os_variable(name) {
                    let hidden = value.to_str().filter(|_| *is_hidden).map(Secret::new);
                    secrets.extend(hidden.inspect(remember));
                    process.env(name, value);
                }
            }
            EnvValue::Credential(credential) => {
                let secret = secret(credential)?;
                process.env(name, secret.expose());
                secrets.push(secret);
            }
        }
    }
    Ok(secrets)
}

/// Writes a child's input. An error is ignored, because a child that does not read its input reports that itself.
fn feed(stdin: Option<ChildStdin>, text: Option<&str>, stop_reading: &AtomicBool) {
    let (Some(mut stdin), Some(text)) = (stdin, text) else { return };
    // A pipe that is ready takes this much without waiting.
    for chunk in text.as_bytes().chunks(nix::libc::PIPE_BUF) {
        if !ready(&stdin, PollFlags::POLLOUT, stop_reading) || stdin.write_all(chunk).is_err() {
            return;
        }
    }
}

/// Waits until a pipe is ready. Returns false if `stop_reading` ends the wait.
fn ready(pipe: &impl AsFd, flags: PollFlags, stop_reading: &AtomicBool) -> bool {
    while !stop_reading.load(Ordering::SeqCst) {
        let mut fds = [PollFd::new(pipe.as_fd(), flags)];
        match poll(&mut fds, PollTimeout::from(100_u8)) {
            Ok(0) | Err(nix::errno::Errno::EINTR) => {}
            // An error shows when the pipe is used.
            Ok(_) | Err(_) => return true,
        }
    }
    false
}

struct Sink<'a> {
    log: Mutex<File>,
    tail: Mutex<VecDeque<String>>,
    /// `true` while npm prints its help.
    in_help: AtomicBool,
    redactor: Redactor,
    on_line: &'a (dyn Fn(&str) + Sync),
}

impl Sink<'_> {
    fn drain(&self, stream: Option<impl Read + AsFd>, stop_reading: &AtomicBool) {
        let Some(mut stream) = stream else { return };
        let (mut text, mut buffer) = (Vec::new(), [0; 16 * 1024]);
        while ready(&stream, PollFlags::POLLIN, stop_reading) {
            let read = match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => &buffer[..read],
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => break,
            };
            let ends = read.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            if ends > 0 {
                text.extend_from_slice(&read[..ends]);
                self.lines(&text);
                text.clear();
            }
            text.extend_from_slice(&read[ends..]);
        }
        self.lines(&text);
    }

    fn lines(&self, bytes: &[u8]) {
        for line in String::from_utf8_lossy(bytes).split_terminator('\n') {
            self.line(&self.redactor.apply(&strip_escapes(line.trim_end())));
        }
    }

    /// Writes a line to the log.
    fn log(&self, line: &str) {
        // A full disk must not stop the child. The tail in memory is still shown.
        let _unwritten = writeln!(mutex::lock(&self.log), "{line}");
    }

    /// Writes a line to the log, to the caller and to the tail.
    fn line(&self, line: &str) {
        self.log(line);
        if line.is_empty() {
            return;
        }
        (self.on_line)(line);
        if self.is_help_of_npm(line) {
            return;
        }
        let mut tail = mutex::lock(&self.tail);
        // A progress counter replaces its last line, so that the tail keeps the important lines.
        if line.starts_with(COUNTER) && tail.back().is_some_and(|last| last.starts_with(COUNTER)) {
            tail.pop_back();
        }
        if tail.len() == TAIL {
            tail.pop_front();
        }
        tail.push_back(line.to_owned());
    }

    /// Returns true for a line of the help that npm prints after the reason of a failure. It is longer than the tail, which
    /// would otherwise not hold the reason. Observed with npm 10 and 11.
    fn is_help_of_npm(&self, line: &str) -> bool {
        match line {
            _ if !line.starts_with("npm error") => return false,
            "npm error Usage:" => self.in_help.store(true, Ordering::SeqCst),
            _ if line.starts_with("npm error A complete log") => {
                self.in_help.store(false, Ordering::SeqCst);
            }
            _ => {}
        }
        line == "npm error" || self.in_help.load(Ordering::SeqCst)
    }
}

/// The start of the lines in which pnpm counts, several a second.
const COUNTER: &str = "Progress: ";

/// Waits for the child, its deadline or an interruption.
fn wait(
    child: &mut Child,
    deadline: Duration,
    stop_flag: Option<&AtomicBool>,
    output: &Receiver<()>,
) -> Result<ExitReason> {
    let started = Instant::now();
    let mut checks = 0;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(match status.code() {
                Some(code) => ExitReason::Code(code),
                None => ExitReason::Signal(status.signal().unwrap_or(0)),
            });
        }
        let ended = if is_interrupted() {
            Some(ExitReason::Interrupted)
        } else if started.elapsed() >= deadline {
            Some(ExitReason::Deadline)
        } else if stop_flag.is_some_and(|flag| flag.load(Ordering::SeqCst)) {
            Some(ExitReason::Caller)
        } else {
            None
        };
        if let Some(ended) = ended {
            stop(child)?;
            return Ok(ended);
        }
        // A child closes its output when it ends, so polling is only frequent after that. Its own
        // children may keep the output open.
        if output.recv_timeout(OUTPUT_CHECK_INTERVAL) == Err(RecvTimeoutError::Disconnected) {
            checks += 1;
            std::thread::sleep(if checks < 50 {
                Duration::from_millis(1)
            } else {
                OUTPUT_CHECK_INTERVAL
            });
        }
    }
}

fn stop(child: &mut Child) -> Result<()> {
    end_group(child, Signal::SIGTERM);
    let started = Instant::now();
    while started.elapsed() < GRACE {
        if child.try_wait()?.is_some() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    end_group(child, Signal::SIGKILL);
    child.wait()?;
    Ok(())
}

fn end_group(child: &Child, signal: Signal) {
    if let Ok(pid) = i32::try_from(child.id()) {
        // The group may have ended already.
        let _gone = killpg(Pid::from_raw(pid), signal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(script: &str, deadline: Duration) -> CompletedProcess {
        let dir = Utf8PathBuf::from_path_buf(std::env::temp_dir()).expect("UTF-8");
        let log = dir.join(format!("xtask-runner-{}-{:p}.log", std::process::id(), &script));
        let runner = Runner {
            log: &log,
            secret: &|_| Ok(Secret::new("canary-token")),
            on_line: &|_| {},
            supervisor: None,
            lock: None,
            stop: None,
        };
        let command = ProcessCommand::new(&dir, &["sh", "-c", script], deadline)
            .credential("TOKEN", Credential::Variable("ANY".into()));
        let finished = runner.run(&command).expect("starts");
        let written = std::fs::read_to_string(&log).expect("a log");
        assert!(!written.contains("canary-token"), "{written}");
        std::fs::remove_file(&log).expect("removable");
        finished
    }

    #[test]
    fn output_is_redacted_and_the_exit_code_kept() {
        let finished = run("echo \"token $TOKEN\"; exit 3", Duration::from_secs(10));
        assert_eq!(finished.exit_reason, ExitReason::Code(3));
        assert_eq!(finished.tail, ["token ***"]);
        let failure = finished.success().expect_err("failed");
        assert!(failure.message.contains("exited with 3"), "{}", failure.message);
    }

    #[test]
    fn keeps_the_reason_of_npm_and_not_its_help() {
        let help = "for n in $(seq 40); do echo \"npm error   --option-$n\"; done";
        let script = format!(
            "echo 'npm error code EUSAGE'; echo 'npm error'; echo 'npm error Missing: a@1.0.0 from lock file'; \
            echo 'npm error'; echo 'npm error Usage:'; {help}; echo 'npm error A complete log of this run: x'; \
            echo 'npm error code 1'"
        );
        let finished = run(&script, Duration::from_secs(30));
        assert_eq!(
            finished.tail,
            [
                "npm error code EUSAGE",
                "npm error Missing: a@1.0.0 from lock file",
                "npm error A complete log of this run: x",
                "npm error code 1"
            ]
        );
    }

    #[test]
    fn a_counter_takes_one_line_of_the_tail() {
        let script = "echo a; for n in $(seq 99); do echo \"Progress: resolved $n\"; done; echo ' ERR'; echo Progress: 1";
        let finished = run(script, Duration::from_secs(30));
        assert_eq!(finished.tail, ["a", "Progress: resolved 99", " ERR", "Progress: 1"]);
    }

    #[test]
    fn a_deadline_ends_the_whole_group() {
        let started = Instant::now();
        let finished = run("sleep 60 & sleep 60", Duration::from_millis(200));
        assert_eq!(finished.exit_reason, ExitReason::Deadline);
        assert!(started.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn does_not_wait_for_a_process_outside_of_the_group() {
        let started = Instant::now();
        // The first process ends only when the other one has left the group.
        let line = "F=$(mktemp) && rm $F; setsid sh -c \": >$F; exec sleep 20\" & \
            until [ -e $F ]; do sleep 0.01; done; rm $F; echo built; exit 0";
        let finished = run(line, Duration::from_secs(30));
        assert_eq!(finished.exit_reason, ExitReason::Code(0));
        assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
        assert_eq!(finished.tail[0], "built");
        assert!(finished.tail[1].contains("left behind"), "{:?}", finished.tail);
        let finished = run(
            "setsid sh -c 'while :; do echo x; sleep 0.01; done' & exit 3",
            Duration::from_secs(30),
        );
        assert_eq!(finished.exit_reason, ExitReason::Code(3));
        assert!(started.elapsed() < Duration::from_secs(40), "{:?}", started.elapsed());
    }

    #[test]
    fn long_lines_and_input_arrive_whole() {
        let finished =
            run("head -c 300000 /dev/zero | tr '\\0' x; printf '\\nlast'", Duration::from_secs(30));
        let lengths: Vec<usize> = finished.tail.iter().map(String::len).collect();
        assert_eq!(lengths, [300_000, 4]);
    }
}
