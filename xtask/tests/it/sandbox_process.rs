//! The process of the sandbox: proxies, moved checkouts, and one that does not respond.

use crate::support::TestEnv;
use crate::support::wait::Wait;

/// Returns the process id of the sandbox.
fn pid(env: &TestEnv) -> i64 {
    let text = std::fs::read_to_string(env.root.join(".xtask/sandbox/server.json"));
    let server: serde_json::Value = serde_json::from_str(&text.expect("a file")).expect("JSON");
    server["pid"].as_i64().expect("a process id")
}

/// Waits until a process has ended. One whose parent does not wait for it still exists, without a command line.
fn wait_for_end(pid: i64) {
    let wait = Wait::begin();
    while std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty()) {
        wait.pause("the sandbox still runs");
    }
}

#[test]
fn no_proxy_is_between_xtask_and_the_sandbox() {
    let env = TestEnv::with_tools();
    env.worker("projects/api", "api");
    env.commit("worker");
    // No program listens there.
    let nowhere = "http://127.0.0.1:9";
    for variables in [
        vec![("HTTPS_PROXY", nowhere)],
        vec![("http_proxy", nowhere), ("NO_PROXY", "registry.example, localhost")],
        vec![("ALL_PROXY", nowhere), ("no_proxy", "")],
    ] {
        let arguments = ["deploy", "api", "--force", "--engine=host"];
        env.xtask_with(&arguments, &variables).exits(0);
        env.xtask_with(&["sandbox", "status"], &variables).exits(0);
        env.xtask_with(&["sandbox", "down"], &variables).exits(0);
    }
}

#[test]
fn the_sandbox_of_a_moved_checkout_is_started_again() {
    let mut env = TestEnv::with_tools();
    env.worker("projects/api", "api");
    env.commit("worker");
    env.xtask(&["sandbox", "up"]).exits(0);
    let moved = env.folder.join("moved");
    std::fs::rename(&env.root, &moved).expect("moved");
    env.root = moved;
    env.xtask(&["sandbox", "status"]).exits(1);
    env.xtask(&["deploy", "api", "--engine=host"]).exits(0);
    assert_eq!(env.fetch("api.localhost", "/up").0, 200);
}

#[test]
fn a_sandbox_that_does_not_respond_is_stopped_before_its_state_is_deleted() {
    let env = TestEnv::with_tools();
    for command in [&["sandbox", "down"][..], &["sandbox", "reset", "--yes"]] {
        env.xtask(&["sandbox", "up"]).exits(0);
        let pid = pid(&env);
        // Without this secret, it cannot prove its identity.
        std::fs::remove_file(env.root.join(".xtask/sandbox/identity")).expect("deleted");
        env.xtask(&["sandbox", "status"]).exits(1);
        let up = env.xtask(&["sandbox", "up"]).exits(1).stderr;
        assert!(up.contains("hint: run `cargo xtask sandbox down`, then retry"), "{up}");
        env.xtask(command).exits(0);
        wait_for_end(pid);
    }
}

#[test]
fn the_sandbox_ends_with_its_checkout() {
    let env = TestEnv::with_tools();
    env.xtask(&["sandbox", "up"]).exits(0);
    let pid = pid(&env);
    std::fs::remove_dir_all(&env.root).expect("deleted");
    std::fs::create_dir(&env.root).expect("the folder of the test");
    wait_for_end(pid);
}
