//! Another program that listens on the port of a sandbox which has ended gets no token.

use std::fs::Permissions;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;

use crate::support::{CANARY, TestEnv};

/// A server that answers everything with 200, and keeps what it was sent.
fn imposter() -> (u16, Arc<Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let seen = Arc::new(Mutex::new(String::new()));
    let kept = seen.clone();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _unlimited = stream.set_read_timeout(Some(Duration::from_secs(5)));
            let mut part = [0; 65536];
            let length = stream.read(&mut part).unwrap_or_default();
            *kept.lock().expect("no panic") += &String::from_utf8_lossy(&part[..length]);
            let body = json!({ "success": true, "errors": [], "messages": [], "result": {},
                "pid": std::process::id(), "proof": "0".repeat(64) });
            let body = body.to_string();
            let head = format!(
                "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            let _gone = stream.write_all(format!("{head}{body}").as_bytes());
        }
    });
    (port, seen)
}

#[test]
fn no_command_sends_a_token_to_another_program() {
    let env = TestEnv::new();
    env.site("projects/a", "a");
    env.commit("site");
    let (port, seen) = imposter();
    let left = json!({ "pid": std::process::id(), "port": port, "url": format!("http://127.0.0.1:{port}"),
        "started": "2026-11-24T12:59:59Z" });
    let announce = || env.write(".xtask/sandbox/server.json", &left.to_string());
    env.write(".xtask/sandbox/identity", "identity-of-a-test");
    let identity = env.root.join(".xtask/sandbox/identity");
    std::fs::set_permissions(identity, Permissions::from_mode(0o600)).expect("a mode");
    env.write(".xtask/sandbox/port", &port.to_string());
    announce();
    for (arguments, code) in [
        (&["status", "--env", "local"][..], 3),
        (&["rollback", "a", "--env", "local", "--dry-run"], 3),
        (&["promote", "a", "--from", "mr-1", "--env", "local", "--dry-run"], 3),
        (&["preview", "stop", "a", "--env", "local", "--alias", "mr-1"], 3),
        (&["preview", "stop", "a", "--env", "local", "--alias", "mr-1", "--dry-run"], 3),
        (&["deploy", "a", "--env", "local", "--dry-run"], 0),
        (&["sandbox", "status"], 1),
    ] {
        env.xtask(arguments).exits(code);
    }
    // These start their own sandbox, which nothing was deployed to yet.
    for arguments in [
        &["rollback", "a", "--env", "local"][..],
        &["promote", "a", "--from", "mr-1", "--env", "local"],
    ] {
        announce();
        let ran = env.xtask(arguments).exits(3);
        assert!(ran.stderr.contains("has never been deployed in local"), "{}", ran.stderr);
        assert_ne!(env.port(), port, "the imposter has it");
        env.xtask(&["sandbox", "down"]).exits(0);
    }
    // A copy of the folder of a running sandbox, which could prove itself with what was copied.
    env.xtask(&["sandbox", "up"]).exits(0);
    let copy = TestEnv::new();
    env.sh(&format!("mkdir -p {0}/.xtask && cp -a .xtask/sandbox {0}/.xtask/", copy.root)).exits(0);
    let down = copy.xtask(&["sandbox", "down"]).exits(0);
    assert_eq!(down.stdout, "the sandbox is not running\n");
    env.xtask(&["sandbox", "status"]).exits(0);
    let seen = seen.lock().expect("no panic");
    assert!(seen.contains("/__sandbox/proof/"), "it was asked who it is: {seen}");
    assert!(!seen.contains(CANARY) && !seen.to_lowercase().contains("authorization"), "{seen}");
}
