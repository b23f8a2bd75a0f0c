//! Programs, and how long they take.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Instant;

/// Runs git and returns what it prints.
pub fn git(root: &Path, arguments: &[&str]) -> String {
    text(Command::new("git").current_dir(root).args(arguments))
}

/// Runs a program that must succeed, and returns what it prints.
#[track_caller]
pub fn text(command: &mut Command) -> String {
    let output = command.output().expect("it runs");
    String::from_utf8(require_success(command, output).stdout).expect("UTF-8")
}

/// Runs a program that must succeed. Returns its duration in milliseconds and its stdout.
#[track_caller]
pub fn measure_time(command: &mut Command) -> (f64, Vec<u8>) {
    let start = Instant::now();
    let output = command.output().expect("it runs");
    let duration = start.elapsed().as_secs_f64() * 1000.0;
    (duration, require_success(command, output).stdout)
}

#[track_caller]
fn require_success(command: &Command, output: Output) -> Output {
    let message = || {
        let (out, err) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        format!("{command:?}: {}\n{out}{err}", output.status)
    };
    assert!(output.status.success(), "{}", message());
    output
}
