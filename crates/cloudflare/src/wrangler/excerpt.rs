//! Extracts the reason of a failure from wrangler's output, without repetitions.

use super::strict::{StrictStop, WARNING};

/// Parts of lines that do not explain the failure.
const NOISE: [&str; 4] = [
    "If you think this is a bug",
    "github.com/cloudflare/workers-sdk/issues/new",
    "Logs were written to",
    "cloudflare.com/feedback",
];

/// Joins `reason` with the lines of `output` that it does not contain. `reason` is that of a
/// [`WranglerOutcome`](super::outcome::WranglerOutcome), `output` has the last lines that wrangler printed, and
/// `log` is the path of the full log.
#[must_use]
pub fn excerpt(reason: &str, output: &[String], log: Option<&str>) -> String {
    let error = output.iter().position(|line| line.contains("[ERROR]")).unwrap_or_default();
    let is_warning = |line: &String| line.contains(WARNING);
    let start = match StrictStop::find(output) {
        // The warning before it says what the conflict is. A long one lacks its first lines.
        Some(_) => output[..error].iter().rposition(is_warning).unwrap_or_default(),
        None => error,
    };
    let mut lines = reason.trim_end().trim_end_matches('.').lines();
    let mut text = lines.next().unwrap_or_default().to_owned();
    if let Some(log) = log {
        text += &format!("; its output is in {log}");
    }
    let known: Vec<&str> = reason.lines().map(bare).collect();
    let in_reason = |line: &str| {
        known.iter().any(|known| known == &line || known.ends_with(&format!(": {line}")))
    };
    let notes = output.iter().skip(start).map(String::as_str).filter(|line| {
        let line = bare(line);
        !line.is_empty() && !in_reason(line) && !NOISE.iter().any(|noise| line.contains(noise))
    });
    for line in lines.chain(notes) {
        text += &format!("\n    {}", line.trim_end());
    }
    text
}

/// Returns a line without its indent, the mark of an error and the final full stop.
fn bare(line: &str) -> &str {
    let line = line.trim().trim_start_matches("✘ ").trim_start_matches("[ERROR] ");
    line.trim_end_matches('.')
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[track_caller]
    fn check(reason: &str, output: &str, wanted: &Expect) {
        let lines: Vec<String> = output.lines().map(str::to_owned).collect();
        wanted.assert_eq(&(excerpt(reason, &lines, Some("site.log")) + "\n"));
    }

    #[test]
    fn excerpt_has_the_reason_once_with_its_notes() {
        check(
            "wrangler exited with 1: A request to the Cloudflare API (/a/b) failed.",
            "Total Upload: 1 KiB\n\n✘ [ERROR] A request to the Cloudflare API (/a/b) failed.\n\n  Uncaught Error: reason\n    at x [code: 10021]\n  \n  If you think this is a bug, please open an issue at: https://github.com/cloudflare/workers-sdk/issues/new/choose\n",
            &expect![[r#"
                wrangler exited with 1: A request to the Cloudflare API (/a/b) failed; its output is in site.log
                      Uncaught Error: reason
                        at x [code: 10021]
            "#]],
        );
    }

    #[test]
    fn excerpt_has_the_warning_that_explains_a_stop() {
        check(
            "wrangler exited with 1",
            "Total\n▲ [WARNING] Environment variable `STAGE` conflicts with an existing remote secret.\n\n\n✘ [ERROR] Aborting the upload operation because of conflicts.\n",
            &expect![[r#"
                wrangler exited with 1; its output is in site.log
                    ▲ [WARNING] Environment variable `STAGE` conflicts with an existing remote secret.
                    ✘ [ERROR] Aborting the upload operation because of conflicts.
            "#]],
        );
    }

    #[test]
    fn excerpt_keeps_all_lines_of_a_reason() {
        check(
            "wrangler exited with 1: Processing config failed:\n  - \"routes\" is wrong.",
            "✘ [ERROR] Processing config failed:\n    - \"routes\" is wrong.\n",
            &expect![[r#"
                wrangler exited with 1: Processing config failed:; its output is in site.log
                      - "routes" is wrong
            "#]],
        );
    }

    #[test]
    fn excerpt_has_all_lines_without_an_error_line() {
        check(
            "wrangler was killed by signal 9",
            "Uploading\nStill uploading\n",
            &expect![[r#"
                wrangler was killed by signal 9; its output is in site.log
                    Uploading
                    Still uploading
            "#]],
        );
    }
}
