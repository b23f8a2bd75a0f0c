//! Writes one line for each event to stdout, which xtask redirects to a file. No other module prints.

use std::io::Write as _;

/// Writes one line. It must not contain a token, a body or other content of a request.
pub fn line(text: &str) {
    let time = humantime::format_rfc3339_millis(std::time::SystemTime::now());
    let mut out = std::io::stdout().lock();
    // If the log cannot be written, the error cannot be reported either.
    let _unwritten = writeln!(out, "{time} {text}");
}
