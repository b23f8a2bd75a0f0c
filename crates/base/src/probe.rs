//! Short probes of this machine: the output of a program, the listener of a port. They write nothing and
//! leave no process behind.

use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::command::{self, ProcessCommand};
use super::deadline;

/// Timeout for a program's version if the version is only shown.
pub const QUICK: Duration = Duration::from_millis(1500);

/// Timeout if the version decides about an installation. It allows a first start from a cold disk.
pub const PATIENT: Duration = Duration::from_secs(20);

/// The variable with the toolchain that rustup chose.
const RUSTUP: &str = "RUSTUP_TOOLCHAIN";

/// Variables that stop a program from updating or installing anything while it prints its version.
const QUIET: [(&str, &str); 4] = [
    ("DAGGER_NO_NAG", "1"),
    ("DAGGER_NO_UPDATE_CHECK", "1"),
    ("DO_NOT_TRACK", "1"),
    ("RUSTUP_AUTO_INSTALL", "0"),
];

/// Runs `command` and returns its trimmed stdout. `None` if it cannot be started, fails, or exceeds its deadline.
/// It gets the variables that it inherits, and no credential.
#[must_use]
pub fn capture_stdout(command: &ProcessCommand) -> Option<String> {
    let (program, arguments) = command.argv.split_first()?;
    let mut process = Command::new(program);
    process.args(arguments);
    command.prepare(&mut process);
    command::pass_variables(&mut process, command.passed_variables().chain([RUSTUP]));
    process.envs(QUIET).process_group(0);
    process.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = process.spawn().ok()?;
    let deadline = deadline::within(command.deadline).unwrap_or(command.deadline);
    let succeeded = succeeds(&mut child, deadline);
    // A grandchild that outlives the child would keep our pipe open.
    if let Ok(pid) = i32::try_from(child.id()) {
        let _gone = killpg(Pid::from_raw(pid), Signal::SIGKILL);
    }
    let mut text = String::new();
    child.stdout.take()?.read_to_string(&mut text).ok()?;
    let _reaped = child.wait();
    succeeded.then(|| text.trim().to_owned())
}

fn succeeds(child: &mut Child, deadline: Duration) -> bool {
    let started = Instant::now();
    while started.elapsed() < deadline {
        match child.try_wait() {
            Ok(None) => std::thread::sleep(Duration::from_millis(1)),
            Ok(Some(status)) => return status.success(),
            Err(_) => return false,
        }
    }
    false
}

/// Returns true if a process accepts connections on this loopback port.
#[must_use]
pub fn listens(port: u16) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpStream::connect_timeout(&address, Duration::from_millis(300)).is_ok()
}

/// Returns the name and PID of the process that listens on `port`. `None` if /proc does not tell.
#[must_use]
pub fn listener(port: u16) -> Option<String> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .find_map(|table| listening_inode(&std::fs::read_to_string(table).ok()?, port))?;
    let wanted = format!("socket:[{inode}]");
    let holds = |process: &Utf8Path| {
        let files = process.join("fd").read_dir_utf8();
        let mut files = files.into_iter().flatten().filter_map(Result::ok);
        files.any(|file| file.path().read_link_utf8().is_ok_and(|link| link == wanted))
    };
    let processes = Utf8Path::new("/proc").read_dir_utf8().ok()?;
    let process: Utf8PathBuf = processes
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().bytes().all(|b| b.is_ascii_digit()))
        .map(|entry| entry.path().to_owned())
        .find(|process| holds(process))?;
    let name = std::fs::read_to_string(process.join("comm")).ok()?;
    Some(format!("{} (process {})", name.trim(), process.file_name()?))
}

/// Returns the inode of the listening socket of `port` from the text of `/proc/net/tcp`. The local address is
/// column 2, the state column 4 (`0A` is LISTEN), and the inode column 10.
fn listening_inode(table: &str, port: u16) -> Option<String> {
    let end = format!(":{port:04X}");
    table.lines().skip(1).find_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let found = columns.get(1)?.ends_with(&end) && *columns.get(3)? == "0A";
        found.then(|| columns.get(9).map(|&inode| inode.to_owned())).flatten()
    })
}

/// Returns true if a program listens on the socket at `path`.
#[must_use]
pub fn socket_accepts(path: &str) -> bool {
    UnixStream::connect(path).is_ok()
}

/// Returns true if one of the addresses of `server`, as `host:port`, accepts a connection within `timeout`.
#[must_use]
pub fn server_accepts(server: &str, timeout: Duration) -> bool {
    let connects = |address| TcpStream::connect_timeout(&address, timeout).is_ok();
    server.to_socket_addrs().is_ok_and(|mut addresses| addresses.any(connects))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_fails_or_hangs_returns_none() {
        let sh = |script: &str| capture_stdout(&crate::cmd!("/", "/bin/sh -c {script}", QUICK));
        assert_eq!(sh("echo ' 1.2.3 '").as_deref(), Some("1.2.3"));
        assert_eq!(sh("echo 1.2.3; exit 1"), None);
        let started = Instant::now();
        assert_eq!(sh("sleep 60 & sleep 60"), None);
        assert!(started.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn the_listening_socket_is_found_in_the_kernel_s_table() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             0: 0100007F:2253 0100007F:B001 01 00000000:00000000 00:00000000 00000000  1000        0 11 1\n\
             1: 0100007F:2253 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4242 1\n";
        assert_eq!(listening_inode(table, 8787).as_deref(), Some("4242"));
        assert_eq!(listening_inode(table, 8788), None);
    }

    #[test]
    fn finds_our_own_listener() {
        let server = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = server.local_addr().expect("an address").port();
        assert!(listens(port));
        if cfg!(target_os = "linux") {
            let owner = listener(port).expect("an owner");
            assert!(owner.contains(&std::process::id().to_string()), "{owner}");
        }
    }
}
