//! Tests the process: one per folder, its port, its token and its end.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::server::wait::Wait;
use crate::server::{Server, command, command_with, folder, reaper};

/// Runs a command that must fail. Returns its stdout.
fn failing_output(mut command: Command) -> String {
    let output = command.output().expect("it runs");
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// As the sandboxes of tests that a signal ended.
#[test]
fn stops_processes_of_interrupted_tests() {
    let dir = folder("reaped");
    let sleep = |dir: &std::path::Path| {
        Command::new("sleep").arg("600").current_dir(dir).spawn().expect("it runs")
    };
    let mut other = sleep(dir.parent().expect("a folder"));
    let mut left = sleep(&dir);
    let mark = dir.file_name().and_then(|name| name.to_str()).expect("a name");
    let (mut reaper, writer) = reaper::start(env!("CARGO_TARGET_TMPDIR"), mark);
    drop(writer);
    assert_eq!(left.wait().expect("its end").signal(), Some(15));
    reaper.wait().expect("its end");
    assert_eq!(other.try_wait().expect("a state"), None);
    other.kill().expect("it can be killed");
    other.wait().expect("its end");
    std::fs::remove_dir_all(&dir).expect("it is removed");
}

#[tokio::test]
async fn a_folder_has_one_server() {
    let server = Server::new("single");
    assert!(failing_output(command(&server.dir, &[])).contains("another sandbox serves"));
    let url = format!("http://127.0.0.1:{}/__sandbox/health", server.port);
    let health = server.client.get(url).send().await.expect("an answer").text().await;
    let health: Value = serde_json::from_str(&health.expect("text")).expect("JSON");
    assert_eq!(health, json!({ "pid": server.pid(), "schema": 1, "workers": 0 }));
}

#[test]
fn an_occupied_port_is_reported() {
    let dir = folder("port");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let output = failing_output(command(&dir, &["--port", &port]));
    assert!(output.contains(&format!("the port {port} is taken")), "{output}");
    assert!(!dir.join("server.json").exists());
}

/// The port stays because links in comments hold it.
#[tokio::test]
async fn the_port_stays_unless_it_is_occupied() {
    let mut server = Server::new("stays");
    let first = server.port;
    server.restart();
    assert_eq!(server.port, first);
    server.kill();
    let taken = TcpListener::bind(("127.0.0.1", first)).expect("the port");
    server.start_again();
    let second = server.port;
    assert_ne!(second, first);
    server.kill();
    drop(taken);
    server.start_again();
    assert_eq!(server.port, second, "the last port, which newer links hold");
}

/// The folder is locked too, so a deleted lock file does not admit a second server.
#[tokio::test]
async fn a_folder_without_its_lock_file_has_one_server() {
    let server = Server::new("unlocked");
    std::fs::remove_file(server.dir.join("lock")).expect("it is removed");
    assert!(failing_output(command(&server.dir, &[])).contains("another sandbox serves"));
    let health = format!("http://127.0.0.1:{}/__sandbox/health", server.port);
    assert!(server.client.get(health).send().await.is_ok());
}

#[test]
fn a_token_that_others_can_read_is_refused() {
    let dir = folder("token");
    std::fs::write(dir.join("token"), "secret").expect("a file");
    let mode = |mode| std::fs::set_permissions(dir.join("token"), PermissionsExt::from_mode(mode));
    mode(0o640).expect("a mode");
    let mut command = command(&dir, &[]);
    command.env_remove("SANDBOX_TOKEN");
    assert!(failing_output(command).contains("other users can read"));
}

#[test]
fn a_toolchain_without_miniflare_is_reported() {
    let dir = folder("toolchain");
    let output = failing_output(command_with(&dir, &dir.to_string_lossy(), &[]));
    assert!(output.contains("does not hold miniflare"), "{output}");
}

#[tokio::test]
async fn the_runtime_ends_with_the_sandbox() {
    let mut server = Server::new("ends");
    assert_eq!(server.upload("site", "hello", false, json!({})).await.0, 200);
    assert_eq!(server.text("site.localhost", "/").await, "hello");
    let runtime = children(server.pid());
    assert_eq!(runtime.len(), 1, "Bun");
    let all: Vec<u32> = runtime.iter().copied().chain(children(runtime[0])).collect();
    assert_eq!(all.len(), 2, "Bun and workerd");
    server.kill();
    wait_for_end(&all).await;
}

#[tokio::test]
async fn a_killed_runtime_is_restarted() {
    let server = Server::new("killed");
    assert_eq!(server.upload("site", "hello", false, json!({})).await.0, 200);
    assert_eq!(server.text("site.localhost", "/").await, "hello");
    let bun = children(server.pid())[0];
    let workerd = children(bun)[0];
    for (pid, name) in [(workerd, "workerd"), (bun, "Bun")] {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).expect("a pid"));
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).expect("it is killed");
        assert_eq!(server.text("site.localhost", "/").await, "hello", "after {name}");
    }
    wait_for_end(&[workerd, bun]).await;
}

async fn wait_for_end(pids: &[u32]) {
    let wait = Wait::begin();
    while pids.iter().any(|&pid| is_running(pid)) {
        wait.check(format_args!("{pids:?} still run"));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Reads the state and the parent from `/proc/…/stat`.
fn stat(pid: u32) -> Option<(String, u32)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = text.rsplit_once(") ")?.1.split(' ');
    Some((fields.next()?.to_owned(), fields.next()?.parse().ok()?))
}

fn is_running(pid: u32) -> bool {
    stat(pid).is_some_and(|(state, _)| state != "Z")
}

fn children(parent: u32) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").expect("/proc").filter_map(Result::ok);
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|&pid| stat(pid).is_some_and(|(_, id)| id == parent)).collect()
}
