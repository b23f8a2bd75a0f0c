//! What else happens at the moment of a fault.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use super::Case;
use super::stage::Stage;

/// Waits until the row's fault has happened, then does what `then` says.
pub fn act(stage: &Stage, case: &Case, then: &str, pid: u32) {
    let started = Instant::now();
    while stage.taken(case) == 0 {
        assert!(started.elapsed() < Duration::from_secs(60), "{}: no fault", case.title());
        std::thread::sleep(Duration::from_millis(20));
    }
    let signal = |signal| {
        kill(Pid::from_raw(i32::try_from(pid).expect("a pid")), signal).expect("a process");
    };
    match then {
        "SIGINT" => signal(Signal::SIGINT),
        "SIGTERM" => signal(Signal::SIGTERM),
        "SIGKILL" => signal(Signal::SIGKILL),
        "somebody deploys the older version" => deploy(stage, case, 0),
        "somebody deploys the preview's version" => deploy(stage, case, 2),
        "somebody deletes the Worker" => {
            stage.ask("DELETE", &Stage::script(case), &serde_json::Value::Null);
        }
        _ => panic!("nothing is called `{then}`"),
    }
}

/// Deploys the Worker's version at `index`, as somebody else would.
fn deploy(stage: &Stage, case: &Case, index: usize) {
    let worker = stage.worker(case);
    let body = json!({ "strategy": "percentage", "versions":
        [{ "version_id": worker["versions"][index]["id"], "percentage": 100 }] });
    stage.ask("POST", &format!("{}/deployments", Stage::script(case)), &body);
}

/// Ends what a killed xtask left running in the project's folder.
pub fn end_orphans(stage: &Stage, case: &Case) {
    let dir = stage.env.root.join("projects").join(&case.name);
    for process in std::fs::read_dir("/proc").expect("processes").filter_map(Result::ok) {
        let here = std::fs::read_link(process.path().join("cwd")).is_ok_and(|cwd| cwd == dir);
        let pid = process.file_name().to_str().and_then(|name| name.parse().ok());
        if let (true, Some(pid)) = (here, pid) {
            let _gone = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}
