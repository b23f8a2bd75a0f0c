//! The Dagger CLI: its version, the version of its engine, its runs, and its error messages.

use std::ops::Range;
use std::sync::OnceLock;
use std::time::Duration;

use camino::Utf8Path;

use super::engine_address::VARIABLE;
use super::program::which;
use base::cmd;
use base::command::ProcessCommand;
use base::version::Version;
use base::{probe, version_cache};

/// The timeout of a build and an upload, including a first load of the modules.
const RUN_DEADLINE: Duration = Duration::from_secs(2700);

/// The timeout of the query of the engine's version. The first response took 1.5 s, later ones less
/// than 1 s. Without an engine, the CLI would wait forever and print nothing (observed with
/// v0.21.8).
const PROBE: Duration = Duration::from_secs(4);

/// The variables that the CLI needs to find an engine, and Docker to find its daemon.
const INHERITED: [&str; 12] = [
    "DAGGER_LEAVE_OLD_ENGINE",
    "DOCKER_CERT_PATH",
    "DOCKER_CONFIG",
    "DOCKER_CONTEXT",
    "DOCKER_HOST",
    "DOCKER_TLS_CERTDIR",
    "DOCKER_TLS_VERIFY",
    "KUBECONFIG",
    "KUBERNETES_SERVICE_HOST",
    "KUBERNETES_SERVICE_PORT",
    "XDG_RUNTIME_DIR",
    VARIABLE,
];

/// The supported versions: from the first one with reliable exit codes, up to the first one that
/// renames the commands that we use.
pub const SUPPORTED: Range<Version> = Version([0, 20, 2])..Version([0, 22, 0]);

/// Parses the version in the output of `dagger version`, without the `v`: `dagger v0.21.8
/// (image://…) linux/amd64`, and since 1.0 a line `version: v1.0.0`. A self-built CLI prints none.
fn parse_version(text: &str) -> Option<String> {
    let mut words = text.split_whitespace().filter_map(|word| word.strip_prefix('v'));
    words.find(|word| Version::find(word).is_some()).map(str::to_owned)
}

/// Returns true if `version` is supported.
#[must_use]
pub fn is_supported(version: &str) -> bool {
    Version::find(version).is_some_and(|version| SUPPORTED.contains(&version))
}

/// The version of the CLI, read once.
static VERSION: OnceLock<Option<String>> = OnceLock::new();

/// Returns the version of the CLI on PATH. `None` if there is no working CLI. Queries it once.
/// Parallel callers wait for the result.
#[must_use]
pub fn version(root: &Utf8Path) -> Option<String> {
    let known = || {
        let program = which("dagger")?;
        version_cache::version(root, &program, || ask(root, &program))
    };
    VERSION.get_or_init(known).clone()
}

/// Queries the version of the CLI on PATH.
#[must_use]
pub fn reported_version(root: &Utf8Path) -> Option<String> {
    ask(root, &which("dagger")?)
}

fn ask(root: &Utf8Path, program: &Utf8Path) -> Option<String> {
    parse_version(&probe::capture_stdout(&cmd!(root, "{program} version", PROBE))?)
}

/// Starts to query the version in the background, which takes 0.1 s.
pub fn ask_version(root: &Utf8Path) {
    let root = root.to_owned();
    std::thread::spawn(move || version(&root));
}

/// Returns the version of the engine. `None` if it does not respond in time.
#[must_use]
pub fn engine_version(root: &Utf8Path) -> Option<String> {
    let program = which("dagger")?;
    let mut command = cmd!(root, "{program} --progress=plain -M -s -c version", PROBE);
    command.inherit.extend(INHERITED);
    let output = probe::capture_stdout(&command)?;
    (!output.is_empty()).then(|| output.trim_start_matches('v').to_owned())
}

/// Returns the version of the container runtime's daemon that starts an engine here. `None` if it
/// does not respond in time, because a broken daemon may hang.
#[must_use]
pub fn daemon_version(root: &Utf8Path, program: &Utf8Path) -> Option<String> {
    let mut command = cmd!(root, "{program} version --format '{{.Server.Version}}'", probe::QUICK);
    command.inherit.extend(INHERITED);
    probe::capture_stdout(&command).filter(|output| !output.is_empty())
}

/// Returns the command that runs `script` in `dir`. The script is a file on stdin, because a bare
/// `dagger` prints its usage, runs nothing and exits with 0 (since v0.21.4).
#[must_use]
pub fn command(dir: &Utf8Path, script: String) -> ProcessCommand {
    let mut command = cmd!(dir, "dagger --progress=plain /dev/stdin", RUN_DEADLINE)
        .text("DAGGER_NO_NAG", "1")
        .text("DAGGER_NO_UPDATE_CHECK", "1")
        .text("DO_NOT_TRACK", "1")
        .stdin(script);
    command.inherit.extend(INHERITED);
    command
}

/// The next step if the versions of CLI and engine differ.
const SAME_VERSION: &str =
    "update the CLI and the engine together, because they must have the same version";

/// Strings in Dagger's output, each with the next step.
const MESSAGES: [(&str, &str); 14] = [
    (
        "Cannot connect to the Docker daemon",
        "start Docker, or name an engine in _EXPERIMENTAL_DAGGER_RUNNER_HOST",
    ),
    (
        "driver for scheme \"image\" was not available",
        "install Docker or Podman, or name an engine in _EXPERIMENTAL_DAGGER_RUNNER_HOST",
    ),
    (
        "failed to pull image",
        "check that a container runtime runs, and that it reaches the registry of the engine's image",
    ),
    (
        "no driver for scheme",
        "give _EXPERIMENTAL_DAGGER_RUNNER_HOST a known scheme: unix://, tcp://, kube-pod:// or image://",
    ),
    ("incompatible engine version", SAME_VERSION),
    ("incompatible client version", SAME_VERSION),
    (
        "remote is not a valid dagger server",
        "correct _EXPERIMENTAL_DAGGER_RUNNER_HOST, which leads to something that is not a Dagger engine",
    ),
    (
        "module requires dagger",
        "update the CLI and the engine, because the module's `engineVersion` is newer",
    ),
    (
        "can't escape context root",
        "move the module into the git repository, because Dagger loads none from outside of it",
    ),
    (
        "failed to load sdk",
        "give the engine access to Docker Hub or a mirror, and to a proxy of Go modules, which the TypeScript SDK needs",
    ),
    (
        "failed to resolve image",
        "check the name of the image, and that the engine reaches its registry or a mirror of it (`engine.json`)",
    ),
    (
        "failed to serve module",
        "run `dagger functions` in the module's folder for the reason why it does not load",
    ),
    (
        "secret env var not found",
        "set the variable of the token for the process of Dagger too, because it did not reach Dagger",
    ),
    (
        "Expected Name, found {",
        "call the function by its bare name, because `. | function` does not work for the current module",
    ),
];

/// Returns the next step for the last lines of a failed run. `None` if they are unknown.
#[must_use]
pub fn hint(tail: &[String]) -> Option<&'static str> {
    MESSAGES
        .iter()
        .find(|(text, _)| tail.iter().any(|line| line.contains(text)))
        .map(|(_, hint)| *hint)
}

/// Returns the next step if a command in a container failed. `None` otherwise.
#[must_use]
pub fn step_hint(output: &[String]) -> Option<&'static str> {
    let is_exit = |line: &String| {
        // Versions before 0.21 name the process.
        line.starts_with("Error: exit code: ") || line.contains("did not complete successfully")
    };
    if output.iter().any(|line| line.starts_with("Error: exit code: 137")) {
        return Some("give the engine more memory if it ran out, because the command was killed");
    }
    output
        .iter()
        .any(is_exit)
        .then_some("read the lines above, which are the output of the failing step")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_both_layouts_and_the_range() {
        let text = "dagger v0.21.8 (unix:///run/dagger/engine.sock) linux/amd64";
        assert_eq!(parse_version(text).as_deref(), Some("0.21.8"));
        assert_eq!(parse_version("version: v1.0.0\nengine: v1.0.0").as_deref(), Some("1.0.0"));
        assert_eq!(parse_version("dagger devel"), None);
        for (version, good) in [
            ("0.20.1", false),
            ("0.20.2", true),
            ("0.21.11", true),
            ("0.22.0", false),
            ("1.0.0-beta.10", false),
            ("x", false),
        ] {
            assert_eq!(is_supported(version), good, "{version}");
        }
    }

    #[test]
    fn known_messages_have_a_next_step() {
        let tail =
            ["Error: start engine: Cannot connect to the Docker daemon at unix:///x".to_owned()];
        assert!(hint(&tail).is_some_and(|hint| hint.starts_with("start Docker")));
        assert_eq!(hint(&["something else".to_owned()]), None);
    }

    #[test]
    fn a_failed_command_has_a_next_step() {
        for (line, is_step) in [
            ("Error: exit code: 9 [traceparent:1-2]", true),
            ("Error: process \"bun run build\" did not complete successfully: exit code: 9", true),
            ("Error: function \"x\" not found", false),
        ] {
            assert_eq!(step_hint(&[line.to_owned()]).is_some(), is_step, "{line}");
        }
    }
}
