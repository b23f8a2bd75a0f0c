//! Reports an unreachable registry while an install waits for it.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use camino::Utf8Path;

use base::cmd;
use base::env::variable;
use base::http::{host_of, unreachable};
use base::probe;

/// The time after which the registry of a running install is checked.
const DELAY: Duration = Duration::from_secs(10);

/// The timeout of the request to the registry.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The variables that set the registry.
const VARIABLES: [&str; 4] =
    ["npm_config_registry", "NPM_CONFIG_REGISTRY", "BUN_CONFIG_REGISTRY", "pnpm_config_registry"];

/// Runs an install in `dir`. If it takes more than 10 s and its registry is unreachable, `say` gets a message, because
/// package managers silently retry for minutes.
pub fn run<T>(
    dir: &Utf8Path,
    say: impl Fn(&str) + Send + 'static,
    install: impl FnOnce() -> T,
) -> T {
    let dir = dir.to_owned();
    run_after(DELAY, move || registry(&dir), say, install)
}

fn run_after<T>(
    delay: Duration,
    registry: impl FnOnce() -> Option<String> + Send + 'static,
    say: impl Fn(&str) + Send + 'static,
    install: impl FnOnce() -> T,
) -> T {
    let (is_running, ended) = mpsc::channel::<()>();
    let watch = move || {
        if ended.recv_timeout(delay) != Err(RecvTimeoutError::Timeout) {
            return;
        }
        let Some(registry) = registry() else { return };
        let Some(reason) = unreachable(&registry, TIMEOUT) else { return };
        if ended.recv_timeout(Duration::ZERO) == Err(RecvTimeoutError::Timeout) {
            say(&message(&registry, &reason));
        }
    };
    // The thread is not joined, because the registry may respond slowly.
    std::thread::spawn(watch);
    let result = install();
    drop(is_running);
    result
}

fn message(registry: &str, reason: &str) -> String {
    let host = host_of(registry).unwrap_or(registry);
    format!(
        "the package registry {host} cannot be reached ({reason}); the install goes on with the packages in its cache\n\
         hint: check the network, `HTTPS_PROXY` and `npm_config_registry`"
    )
}

/// Returns the registry of an install in `dir`: that of a variable, of the nearest `.npmrc`, else npm's configured one.
/// `None` if it is unknown.
fn registry(dir: &Utf8Path) -> Option<String> {
    let home = variable("HOME");
    let folders = dir.ancestors().chain(home.as_deref().map(Utf8Path::new));
    let read = |folder: &Utf8Path| {
        let text = std::fs::read_to_string(folder.join(".npmrc")).ok()?;
        text.lines().find_map(registry_line)
    };
    let named = VARIABLES.iter().find_map(|name| variable(name));
    let npm = || probe::capture_stdout(&cmd!(dir, "npm config get registry", probe::PATIENT));
    named.or_else(|| folders.into_iter().find_map(read)).or_else(npm)
}

/// Returns the registry for packages without a scope in a line of `.npmrc`.
fn registry_line(line: &str) -> Option<String> {
    let (name, value) = line.split_once('=')?;
    (name.trim() == "registry").then(|| value.trim().trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn names_an_unreachable_registry_during_the_install() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        drop(listener);
        let (say, received) = mpsc::channel();
        let say = move |text: &str| say.send(text.to_owned()).unwrap_or_default();
        let wait = || received.recv_timeout(Duration::from_secs(60));
        let url = format!("http://127.0.0.1:{port}/npm/");
        let text = run_after(Duration::ZERO, || Some(url), say, wait).expect("a message");
        expect![[r"
            the package registry 127.0.0.1 cannot be reached (the connection was refused); the install goes on with the packages in its cache
            hint: check the network, `HTTPS_PROXY` and `npm_config_registry`"]]
        .assert_eq(&text);
    }

    #[test]
    fn prints_nothing_for_a_fast_install_or_a_reachable_registry() {
        let (say, received) = mpsc::channel();
        let also_say = say.clone();
        let hour = Duration::from_secs(3600);
        let url = "http://127.0.0.1:1/".to_owned();
        run_after(
            hour,
            || Some(url),
            move |text| say.send(text.to_owned()).unwrap_or_default(),
            || (),
        );
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("an address"));
        let answer = || {
            use std::io::{Read as _, Write as _};
            let (mut stream, _) = listener.accept().expect("a request");
            let _request = stream.read(&mut [0; 4096]).expect("its first bytes");
            stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").expect("sent");
            // Both ends of the channel are dropped when the watcher has ended.
            received.recv().expect_err("no message")
        };
        run_after(
            Duration::ZERO,
            || Some(url),
            move |text| also_say.send(text.to_owned()).unwrap_or_default(),
            answer,
        );
    }

    #[test]
    fn finds_the_registry_in_config_files() {
        let lines =
            ["@acme:registry=https://a/", "# registry=x", "registry = \"https://b.example/npm\""];
        let found: Vec<Option<String>> = lines.iter().map(|line| registry_line(line)).collect();
        assert_eq!(found, [None, None, Some("https://b.example/npm".to_owned())]);
    }
}
