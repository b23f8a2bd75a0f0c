//! Events beside a fault, at its moment.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use super::machine::FULL;
use super::stage::Stage;
use super::{Case, machine};
use crate::support::wait::Wait;
use crate::support::{Ran, ran};

/// Waits until the row's fault has happened, then does what `then` says while xtask runs as process
/// `pid`. Where that is a second run, which `second` makes, its result comes back.
pub fn act(
    stage: &Stage,
    case: &Case,
    then: &str,
    pid: u32,
    second: impl Fn() -> Command,
) -> Option<Ran> {
    let wait = Wait::begin();
    while !stage.has_happened(case) {
        wait.pause(format_args!("{}: no fault", case.title()));
    }
    let signal = |signal| {
        kill(Pid::from_raw(i32::try_from(pid).expect("a pid")), signal).expect("a process");
    };
    // However slow the machine is, the first run is where it was meant to be.
    let meanwhile = |act: &dyn Fn() -> Ran| {
        signal(Signal::SIGSTOP);
        let ran = act();
        signal(Signal::SIGCONT);
        Some(ran)
    };
    match then {
        "SIGINT" => signal(Signal::SIGINT),
        "SIGTERM" => signal(Signal::SIGTERM),
        "SIGKILL" => signal(Signal::SIGKILL),
        FULL => machine::fill(pid),
        "another person deploys the older version" => deploy(stage, case, 0),
        "another person deploys the preview's version" => deploy(stage, case, 2),
        "another person deletes the Worker" => {
            stage.ask("DELETE", &Stage::script(case), &serde_json::Value::Null);
        }
        "another machine runs the same command" => {
            return meanwhile(&|| {
                ran(second().current_dir(stage.clone_of(case)).output().expect("xtask runs"))
            });
        }
        "the same command is run beside it" => {
            signal(Signal::SIGSTOP);
            let child = second().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
            let child = waits(child.expect("xtask runs"));
            signal(Signal::SIGCONT);
            return Some(child());
        }
        _ => panic!("nothing is called `{then}`"),
    }
    None
}

/// Reads what a run says until it waits for another one. What comes back waits for its end.
fn waits(mut child: Child) -> impl FnOnce() -> Ran {
    let mut stderr = BufReader::new(child.stderr.take().expect("a pipe"));
    let mut output = String::new();
    while !output.contains("wait for ") {
        assert!(stderr.read_line(&mut output).expect("text") > 0, "it does not wait: {output}");
    }
    move || {
        stderr.read_to_string(&mut output).expect("text");
        let ended = ran(child.wait_with_output().expect("an end"));
        Ran { stderr: output, ..ended }
    }
}

/// Deploys the Worker's version at `index`, as another person would.
fn deploy(stage: &Stage, case: &Case, index: usize) {
    let worker = stage.worker(case);
    let body = json!({ "strategy": "percentage", "versions":
        [{ "version_id": worker["versions"][index]["id"], "percentage": 100 }] });
    stage.ask("POST", &format!("{}/deployments", Stage::script(case)), &body);
}

/// Ends what a killed xtask left running in the project's folder.
pub fn end_orphans(stage: &Stage, case: &Case) {
    let dir = stage.dir(case);
    for process in std::fs::read_dir("/proc").expect("processes").filter_map(Result::ok) {
        let here = std::fs::read_link(process.path().join("cwd")).is_ok_and(|cwd| cwd == dir);
        let pid = process.file_name().to_str().and_then(|name| name.parse().ok());
        if let (true, Some(pid)) = (here, pid) {
            let _gone = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}
