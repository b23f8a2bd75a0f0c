//! Environment variables, hidden from other processes.
//!
//! Every process of the same user can read the environment that a process was started with (`/proc/<pid>/environ`), a
//! build of a project among them. So [`hide`] restarts the program with the few variables that children see in any
//! case. The others go through memory that only the new process reads. Read variables through this module alone.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{Read as _, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::OnceLock;

use crate::command::INHERITED;
use crate::secret::{Secret, remember};

/// The variable that names the file descriptor of the hidden variables.
const DESCRIPTOR: &str = "XTASK_ENVIRONMENT";

/// Further variables that stay in the environment, because the loader, the terminal and Rust read them.
const KEPT: [&str; 10] = [
    "CLICOLOR",
    "CLICOLOR_FORCE",
    "COLORTERM",
    "DYLD_FALLBACK_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "FORCE_COLOR",
    "LD_LIBRARY_PATH",
    "LLVM_PROFILE_FILE",
    "RUST_BACKTRACE",
    "RUST_LIB_BACKTRACE",
];

/// The variables that name a proxy.
const PROXIES: [&str; 6] =
    ["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "all_proxy", "http_proxy", "https_proxy"];

/// The variables with the hosts that are reached without a proxy.
const NO_PROXY: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// The names and addresses of this machine, for [`NO_PROXY`].
const LOOPBACK: [&str; 4] = ["localhost", ".localhost", "127.0.0.1", "::1"];

static HIDDEN: OnceLock<BTreeMap<OsString, OsString>> = OnceLock::new();

/// Removes every variable that no child sees from this process's environment, by restarting the program. Returns in
/// the new process, or if nothing has to be hidden, or if this system cannot do it.
///
/// On Linux no other process of the same user can read this one's memory afterwards, unless it may trace any process.
pub fn hide() {
    if let Some(descriptor) = std::env::var_os(DESCRIPTOR) {
        let hidden = receive(&descriptor).unwrap_or_default();
        // Another process of the pipeline may print credentials that this one never uses.
        for (name, value) in &hidden {
            if let (Some(name), Some(value)) = (name.to_str(), value.to_str())
                && is_credential(name, value)
            {
                remember(&Secret::new(value));
            }
        }
        // There is one call, at the start of `main`.
        let _first = HIDDEN.set(hidden);
        protect_memory();
        return;
    }
    let is_kept = |name: &OsStr| {
        name.to_str().is_some_and(|name| INHERITED.contains(&name) || KEPT.contains(&name))
    };
    let (kept, hidden): (Vec<_>, Vec<_>) = std::env::vars_os().partition(|(name, _)| is_kept(name));
    let no_proxy = no_proxy(|name| std::env::var(name).ok());
    if hidden.is_empty() && no_proxy.is_none() {
        protect_memory();
        return;
    }
    let Some(memory) = send(&hidden) else { return };
    let Ok(program) = std::env::current_exe() else { return };
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_else(|| program.clone().into_os_string());
    let mut command = Command::new(program);
    command.arg0(name).args(arguments).env_clear().envs(kept);
    if let Some(hosts) = no_proxy {
        command.envs(NO_PROXY.map(|name| (name, hosts.clone())));
    }
    command.env(DESCRIPTOR, memory.as_raw_fd().to_string());
    // Returns only on failure. The program then continues with its environment.
    let _failure = command.exec();
}

/// Returns the hosts that this program and its children reach without a proxy: those of the variables, and this machine.
/// No proxy reaches the sandbox, and few programs except for Go's know that. Spaces go too, because not every program
/// accepts them after a comma. `None` if no proxy is set or the variables need no change.
fn no_proxy(variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    let is_set = |name: &str| variable(name).is_some_and(|value| !value.trim().is_empty());
    if !PROXIES.iter().any(|name| is_set(name)) {
        return None;
    }
    let current = NO_PROXY.map(&variable);
    let text = current.iter().flatten().map(String::as_str).collect::<Vec<_>>().join(",");
    let mut hosts: Vec<&str> = Vec::new();
    for host in text.split([',', ' ']).filter(|host| !host.is_empty()).chain(LOOPBACK) {
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    let hosts = hosts.join(",");
    current.iter().any(|one| one.as_ref() != Some(&hosts)).then_some(hosts)
}

/// Returns true if a variable seems to hold a credential, by its name and by the length of its value.
fn is_credential(name: &str, value: &str) -> bool {
    const WORDS: [&str; 7] =
        ["TOKEN", "SECRET", "PASSWORD", "PASSWD", "API_KEY", "ACCESS_KEY", "PRIVATE_KEY"];
    let name = name.to_ascii_uppercase();
    let value = value.trim();
    value.len() >= 12
        && WORDS.iter().any(|word| name.contains(word))
        // A path of a file, or the name of a variable, is public.
        && !value.starts_with('/')
        && !value.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
}

/// Writes the variables into memory that the program keeps when it is restarted.
fn send(variables: &[(OsString, OsString)]) -> Option<OwnedFd> {
    let mut text = Vec::new();
    for (name, value) in variables {
        text.extend([name.as_bytes(), b"=", value.as_bytes(), b"\0"].concat());
    }
    #[cfg(target_os = "linux")]
    {
        let memory =
            nix::sys::memfd::memfd_create(c"environment", nix::sys::memfd::MFdFlags::empty());
        let memory = std::fs::File::from(memory.ok()?);
        (&memory).write_all(&text).ok()?;
        Some(memory.into())
    }
    #[cfg(not(target_os = "linux"))]
    {
        // A pipe takes at least this much without a reader.
        if text.len() > 16 << 10 {
            return None;
        }
        let (reader, writer) = nix::unistd::pipe().ok()?;
        std::fs::File::from(writer).write_all(&text).ok()?;
        Some(reader)
    }
}

/// Reads the variables, and leaves none of them to children.
fn receive(descriptor: &OsStr) -> Option<BTreeMap<OsString, OsString>> {
    let number: i32 = descriptor.to_str()?.parse().ok().filter(|number| *number > 2)?;
    let mut bytes = Vec::new();
    std::fs::File::open(format!("/dev/fd/{number}")).ok()?.read_to_end(&mut bytes).ok()?;
    nix::unistd::close(number).ok()?;
    let variable = |entry: &[u8]| {
        let at = entry.iter().position(|byte| *byte == b'=')?;
        let part = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
        Some((part(&entry[..at]), part(&entry[at + 1..])))
    };
    Some(bytes.split(|byte| *byte == 0).filter_map(variable).collect())
}

/// Lets no process without the right to trace any other one read this process's memory or environment.
fn protect_memory() {
    #[cfg(target_os = "linux")]
    {
        // An old kernel or a strict container may not support it. Nothing else depends on it.
        let _unsupported = nix::sys::prctl::set_dumpable(false);
    }
}

/// Returns whether a variable is set to more than spaces.
#[must_use]
pub fn is_set(name: &str) -> bool {
    variable(name).is_some()
}

/// Returns a variable as it is. `None` if it is not set.
#[must_use]
pub fn os_variable(name: &str) -> Option<OsString> {
    let hidden = HIDDEN.get().and_then(|hidden| hidden.get(OsStr::new(name)).cloned());
    hidden.or_else(|| std::env::var_os(name))
}

/// Returns all variables that this program was started with.
#[must_use]
pub fn all() -> BTreeMap<OsString, OsString> {
    let mut variables: BTreeMap<OsString, OsString> = std::env::vars_os().collect();
    variables.extend(HIDDEN.get().cloned().unwrap_or_default());
    variables
}

/// Returns a variable. `None` if it is not set, is empty, or is not UTF-8.
#[must_use]
pub fn variable(name: &str) -> Option<String> {
    raw_variable(name).filter(|value| !value.trim().is_empty())
}

/// Returns a variable with each of its characters, the empty one too. `None` if it is not set or is not UTF-8.
#[must_use]
pub fn raw_variable(name: &str) -> Option<String> {
    os_variable(name)?.into_string().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_reached_without_a_proxy() {
        let check = |variables: &[(&str, &str)], expected: Option<&str>| {
            let find = |name: &str| variables.iter().find(|(known, _)| *known == name);
            let hosts = no_proxy(|name| find(name).map(|(_, value)| (*value).to_owned()));
            assert_eq!(hosts.as_deref(), expected, "{variables:?}");
        };
        let proxy = ("HTTPS_PROXY", "http://proxy.example:8080");
        let own = "localhost,.localhost,127.0.0.1,::1";
        check(&[("NO_PROXY", "a.example")], None);
        check(&[("HTTP_PROXY", " ")], None);
        check(&[proxy], Some(own));
        check(&[proxy, ("NO_PROXY", own), ("no_proxy", own)], None);
        check(
            &[proxy, ("NO_PROXY", "localhost, .a.example ,"), ("no_proxy", "b.example")],
            Some("localhost,.a.example,b.example,.localhost,127.0.0.1,::1"),
        );
    }

    #[test]
    fn credentials_are_known_by_their_names() {
        for (name, value) in
            [("CICD_COMMENT_TOKEN", "glpat-0123456789"), ("ci_registry_password", "0123456789ab")]
        {
            assert!(is_credential(name, value), "{name}");
        }
        for (name, value) in [
            ("PATH", "0123456789ab"),
            ("CI_TOKEN_FILE", "/run/secrets/token"),
            ("TOKEN_VARIABLE", "CLOUDFLARE_WORKERS_TOKEN"),
            ("TOKEN", "production"),
            ("CACHE_KEY", "default-branch-1"),
        ] {
            assert!(!is_credential(name, value), "{name}");
        }
    }

    #[test]
    fn passes_variables_through_memory() {
        let variables = [("A", "1"), ("B", "two=2\nlines"), ("EMPTY", "")];
        let variables =
            variables.map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let memory = send(&variables).expect("memory");
        let number = std::os::fd::IntoRawFd::into_raw_fd(memory).to_string();
        let received = receive(OsStr::new(&number)).expect("variables");
        assert_eq!(received, BTreeMap::from(variables));
        for odd in ["", "-1", "0", "1", "2", "x", "99999"] {
            assert!(receive(OsStr::new(odd)).is_none(), "{odd}");
        }
    }
}
