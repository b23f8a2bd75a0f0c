//! Finds the reason of a failure in the progress that the Dagger CLI prints.
//!
//! The CLI ends a failed run with `Error: exit code: 1`. The output of the failed command precedes it, followed by the
//! progress of steps that did not run (observed with v0.21.8). So the last lines alone may not contain the reason.

use std::collections::BTreeSet;

use camino::Utf8Path;

/// The start of the line that a log has for each command.
const COMMAND: &str = "$ ";

/// One line of progress: `22  : ┆ [0.1s] | text`.
struct OutputLine<'a> {
    /// The number of the step.
    step: &'a str,
    text: &'a str,
}

impl<'a> OutputLine<'a> {
    /// Parses a line. `None` if it is not progress.
    fn parse(line: &'a str) -> Option<OutputLine<'a>> {
        let (step, text) = line.split_once(" : ")?;
        let step = step.trim_end();
        let is_number = !step.is_empty() && step.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| OutputLine { step, text: text.trim_start_matches("┆ ") })
    }

    /// Returns true for the line that reports the failure of its step: `Container.withExec ERROR [0.1s]`.
    fn is_failure(&self) -> bool {
        let has_failed = self.text.contains(" ERROR [") || self.text.ends_with(" ERROR");
        has_failed && self.output().is_none()
    }

    /// Returns a line that the step's command printed: `[0.1s] | text`.
    fn output(&self) -> Option<&'a str> {
        let (time, text) = self.text.split_once("] |")?;
        let time = time.strip_prefix('[')?.strip_suffix('s')?;
        let is_time = time.bytes().all(|byte| byte.is_ascii_digit() || b".m".contains(&byte));
        is_time.then(|| text.strip_prefix(' ').unwrap_or(text))
    }

    /// Returns the cause of the failure: `! exit code: 1`.
    fn cause(&self) -> Option<&'a str> {
        self.text.strip_prefix("! ")
    }
}

/// Returns the lines about the failure of the last command in the log file. `None` if there are none.
#[must_use]
pub fn failure_in_log(log: &Utf8Path) -> Option<Vec<String>> {
    let text = last_output(log)?;
    failure(&text.lines().collect::<Vec<_>>())
}

/// Returns the failed command of a container in the log file, if the CLI exited with its exit code `code`.
#[must_use]
pub fn failed_command(log: &Utf8Path, code: i32) -> Option<String> {
    let text = last_output(log)?;
    failed_command_in(&text, code).map(str::to_owned)
}

/// Returns the output of the last command in the log file.
fn last_output(log: &Utf8Path) -> Option<String> {
    let bytes = std::fs::read(log).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    let start = lines.iter().rposition(|line| line.starts_with(COMMAND))?;
    Some(lines[start + 1..].join("\n"))
}

fn failed_command_in(text: &str, code: i32) -> Option<&str> {
    let error = text.lines().rfind(|line| line.starts_with("Error: "))?;
    let (error, _) = error.split_once(" [traceparent:").unwrap_or((error, ""));
    if !error.ends_with(&format!("exit code: {code}")) {
        return None;
    }
    let lines: Vec<OutputLine<'_>> = text.lines().filter_map(OutputLine::parse).collect();
    let is_exec =
        |line: &&OutputLine<'_>| line.is_failure() && line.text.contains("withExec ERROR");
    let failed = lines.iter().rev().find(is_exec)?;
    let mut own = lines.iter().filter(|line| line.step == failed.step);
    own.find_map(|line| line.text.strip_prefix("withExec "))
}

/// Returns the output of the failed steps, their causes, and the error of the CLI. `None` if there are none.
///
/// A CLI that lost its engine prints no error and waits (observed with v0.21.8).
fn failure(lines: &[&str]) -> Option<Vec<String>> {
    let end = lines.iter().rposition(|line| line.starts_with("Error: ")).unwrap_or(lines.len());
    let progress: Vec<OutputLine<'_>> =
        lines[..end].iter().filter_map(|line| OutputLine::parse(line)).collect();
    let failed: BTreeSet<&str> =
        progress.iter().filter(|line| line.is_failure()).map(|line| line.step).collect();
    let failed = || progress.iter().filter(|line| failed.contains(line.step));
    let error = lines.get(end).copied().unwrap_or_default();
    let mut found: Vec<String> =
        failed().filter_map(OutputLine::output).map(str::to_owned).collect();
    for cause in failed().filter_map(OutputLine::cause) {
        if !error.contains(cause) && !found.iter().any(|line| line == cause) {
            found.push(cause.to_owned());
        }
    }
    // The CLI prints the results of earlier calls after the error: the absolute paths of exports.
    let rest = lines[end..].iter().filter(|line| !line.is_empty() && !line.starts_with('/'));
    found.extend(rest.map(|&line| line.to_owned()));
    (!found.is_empty()).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Output of a CLI v0.21.8.
    const STALE: &str = r#"17  : export
17  : export ERROR [0.2s]
17  : ! exit code: 1

22  : withExec bun install --frozen-lockfile
22  : [0.1s] | error: lockfile had changes, but lockfile is frozen
22  : [0.1s] |
22  : [0.1s] | bun install v1.4.5 (a7733435c)
22  : Container.withExec ERROR [0.1s]

26  : withExec bun --bun run build
26  : [0.1s] | the build logs ERROR [1]
26  : Container.withExec DONE [0.0s]

28  : Directory.export(path: "dist", wipe: true): String!
28  : Directory.export ERROR [0.2s]
28  : ! exit code: 1

Error: exit code: 1 [traceparent:8517bed6bb1bda619e00bc6a2974272c-b37fd400526d7325]
/repo/projects/stale/dist"#;

    const IMAGE: &str = r#"21  : Container.from(address: "node:24-slim"): Container!
22  : ┆ ┆ resolving docker.io/library/node:24-slim
26  : ┆ ┆ HTTP HEAD ERROR [0.0s]
26  : ┆ ┆ ! dial tcp: lookup registry-1.docker.io: no such host
25  : ┆ ┆ ! dial tcp: lookup registry-1.docker.io: no such host
25  : ┆ ┆ remotes.docker.resolver.HTTPRequest ERROR [0.0s]
21  : Container.from ERROR [0.0s]
21  : ! failed to resolve image "docker.io/library/node:24-slim": not found
Error: failed to resolve image "docker.io/library/node:24-slim": not found"#;

    fn failure_of(text: &str) -> Option<Vec<String>> {
        failure(&text.lines().collect::<Vec<_>>())
    }

    #[test]
    fn the_output_of_the_failed_command_is_found_before_later_progress() {
        assert_eq!(
            failure_of(STALE).expect("a failure"),
            [
                "error: lockfile had changes, but lockfile is frozen",
                "",
                "bun install v1.4.5 (a7733435c)",
                "Error: exit code: 1 [traceparent:8517bed6bb1bda619e00bc6a2974272c-b37fd400526d7325]",
            ]
        );
    }

    #[test]
    fn a_cause_that_the_error_does_not_name_is_shown_once() {
        assert_eq!(
            failure_of(IMAGE).expect("a failure"),
            [
                "dial tcp: lookup registry-1.docker.io: no such host",
                r#"Error: failed to resolve image "docker.io/library/node:24-slim": not found"#,
            ]
        );
    }

    #[test]
    fn a_lost_engine_is_the_cause_without_an_error_of_the_cli() {
        let lost = "22  : Container.withExec DONE [0.3s]\n25  : export\n25  : export ERROR [2.3s]\n\
                    25  : ! Post \"http://dagger/query\": unexpected EOF\n";
        let expected = r#"Post "http://dagger/query": unexpected EOF"#;
        assert_eq!(failure_of(lost).expect("a failure"), [expected]);
    }

    #[test]
    fn output_without_a_failure_has_none() {
        assert_eq!(failure_of("3   : ┆ connecting to engine"), None);
        assert_eq!(failure_of("Usage: dagger [command]"), None);
    }

    #[test]
    fn the_failed_command_of_a_container_is_found_by_the_exit_code_of_the_cli() {
        assert_eq!(failed_command_in(STALE, 1), Some("bun install --frozen-lockfile"));
        assert_eq!(failed_command_in(STALE, 137), None);
        assert_eq!(failed_command_in(IMAGE, 1), None);
    }

    #[test]
    fn only_the_last_command_of_a_log_counts() {
        let file = std::env::temp_dir().join(format!("dagger-output-{}.log", std::process::id()));
        std::fs::write(&file, "$ dagger\nError: old\n$ dagger\n1  : x ERROR [0s]\nError: new\n")
            .expect("a file");
        let file = camino::Utf8PathBuf::try_from(file).expect("UTF-8");
        assert_eq!(failure_in_log(&file).expect("a failure"), ["Error: new"]);
        std::fs::remove_file(&file).expect("removable");
        assert_eq!(failure_in_log(&file), None);
    }
}
