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
    String::from_utf8(succeeded(command, output).stdout).expect("UTF-8")
}

/// Runs a program that must succeed: its milliseconds, and what it prints.
#[track_caller]
pub fn timed(command: &mut Command) -> (f64, Vec<u8>) {
    let begun = Instant::now();
    let output = command.output().expect("it runs");
    let took = begun.elapsed().as_secs_f64() * 1000.0;
    (took, succeeded(command, output).stdout)
}

#[track_caller]
fn succeeded(command: &Command, output: Output) -> Output {
    let message = || {
        let (out, err) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        format!("{command:?}: {}\n{out}{err}", output.status)
    };
    assert!(output.status.success(), "{}", message());
    output
}
