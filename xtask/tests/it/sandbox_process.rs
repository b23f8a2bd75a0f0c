//! The process of the sandbox: proxies, moved checkouts, and one that does not respond.

use crate::support::TestEnv;
use crate::support::wait::Wait;

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
    let pid = || {
        let text = std::fs::read_to_string(env.root.join(".xtask/sandbox/server.json"));
        let server: serde_json::Value = serde_json::from_str(&text.expect("a file")).expect("JSON");
        server["pid"].as_i64().expect("a process id")
    };
    for command in [&["sandbox", "down"][..], &["sandbox", "reset", "--yes"]] {
        env.xtask(&["sandbox", "up"]).exits(0);
        let pid = pid();
        // Without this secret, it cannot prove its identity.
        std::fs::remove_file(env.root.join(".xtask/sandbox/identity")).expect("deleted");
        env.xtask(&["sandbox", "status"]).exits(1);
        let up = env.xtask(&["sandbox", "up"]).exits(1).stderr;
        assert!(up.contains("hint: run `cargo xtask sandbox down`, then retry"), "{up}");
        env.xtask(command).exits(0);
        let wait = Wait::begin();
        // A process that ended, and that nobody waited for, has no command line.
        while std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty()) {
            wait.pause(format_args!("{command:?}: it still runs"));
        }
    }
}
