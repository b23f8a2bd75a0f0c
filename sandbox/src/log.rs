//! The only place that prints: one line an event, on stdout, which xtask sends to a file.

use std::io::Write as _;

/// Writes one line. Never a token, a body, or anything else from inside a request.
pub fn line(text: &str) {
    let time = humantime::format_rfc3339_millis(std::time::SystemTime::now());
    let mut out = std::io::stdout().lock();
    // Where the log cannot be written, there is nobody to tell.
    let _unwritten = writeln!(out, "{time} {text}");
}
