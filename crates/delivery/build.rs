//! Shows the seconds of a first compilation beside Cargo's progress bar, which does not move in the last
//! crates, so that people see that it goes on.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::process::parent_id;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The column of the seconds. With the width that the alias sets, the bar has at most 40 columns.
const COLUMN: usize = 42;

/// The columns that the seconds need, with those of the bar.
const NEEDED: usize = COLUMN + 8;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // Cargo waits for a build script, so another process of the same program shows the seconds.
    let _shown = match std::env::args().nth(1) {
        Some(cargo) => show(&cargo),
        None => start(),
    };
}

/// Starts the process that shows the seconds. `None` if there is no terminal, or the command is not `cargo xtask`.
fn start() -> Option<()> {
    let cargo = parent_id().to_string();
    let command = ps("args=", &cargo)?;
    if !matches!(command.split_whitespace().nth(1), Some("xtask" | "dev")) {
        return None;
    }
    let bar = std::fs::read_link(format!("/proc/{cargo}/fd/2"));
    if bar.is_ok_and(|file| !file.starts_with("/dev")) || columns()? < NEEDED {
        return None;
    }
    let mut itself = Command::new(std::env::current_exe().ok()?);
    itself.arg(cargo).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    itself.spawn().ok().map(drop)
}

/// Shows the seconds until Cargo ends or becomes xtask, which may become another Cargo with the same process id.
fn show(cargo: &str) -> Option<()> {
    let started = Instant::now();
    let command = ps("args=", cargo)?;
    let mut terminal = File::options().write(true).open("/dev/tty").ok()?;
    loop {
        std::thread::sleep(Duration::from_secs(1));
        if ps("args=", cargo)? != command {
            return None;
        }
        // Saves the cursor, writes, and restores it.
        let seconds = started.elapsed().as_secs();
        write!(terminal, "\x1b7\x1b[{COLUMN}G{seconds} s\x1b8").ok()?;
    }
}

/// Returns a property of a process.
fn ps(property: &str, process: &str) -> Option<String> {
    let output = Command::new("ps").args(["-o", property, "-p", process]).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Returns the width of the terminal. `None` without one.
fn columns() -> Option<usize> {
    let terminal = File::open("/dev/tty").ok()?;
    let output = Command::new("stty").arg("size").stdin(terminal).output().ok()?;
    String::from_utf8(output.stdout).ok()?.split_whitespace().nth(1)?.parse().ok()
}
