//! The rows in a note: one hidden line of JSON for each.

use std::fmt::Write as _;

use super::{CommentRow, MARKER};

const START: &str = "<!-- row ";
const END: &str = " -->";

/// Returns `true` if a note with this body claims to be ours.
#[must_use]
pub fn has_marker(body: &str) -> bool {
    body.lines().next().is_some_and(|line| line.trim_end() == MARKER)
}

/// Returns `row` as a line that is not rendered. Every special character of Markdown, HTML or GitLab
/// is written as a number.
#[must_use]
pub fn line(row: &CommentRow) -> String {
    let json = serde_json::to_string(row).unwrap_or_default();
    let mut text = String::from(START);
    let (mut inside, mut escaped) = (false, false);
    for c in json.chars() {
        match c {
            '"' if !escaped => {
                inside = !inside;
                text.push(c);
            }
            _ if !inside
                || escaped
                || c == '\\'
                || c.is_ascii_alphanumeric()
                || " ._:/?=%".contains(c) =>
            {
                text.push(c);
            }
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _infallible = write!(text, "\\u{unit:04x}");
                }
            }
        }
        escaped = inside && c == '\\' && !escaped;
    }
    text + END
}

/// Returns the rows in `body`. Incomplete lines, as after a manual edit, are left out.
#[must_use]
pub fn rows(body: &str) -> Vec<CommentRow> {
    let row = |line: &str| {
        let json = line.trim_end().strip_prefix(START)?.strip_suffix(END)?;
        serde_json::from_str(json).ok()
    };
    body.lines().filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::comment::PreviewStatus;

    #[test]
    fn a_row_is_read_back_and_its_text_stays_text() {
        let reason = "--> \\ \" | `@all` \u{1F600} \u{1}\n/merge <b>&amp;".to_owned();
        let row = CommentRow {
            reason: Some(reason),
            pipeline: Some(9),
            ..CommentRow::new("a--b", PreviewStatus::Failed)
        };
        let line = line(&row);
        assert_eq!(rows(&format!("{MARKER}\n{line}\r\n")), [row]);
        let inner = line.strip_prefix(START).and_then(|l| l.strip_suffix(END)).expect("whole");
        assert!(!inner.contains(['<', '>', '@', '`', '|', '-', '&', '\n']), "{line}");
    }

    #[test]
    fn skips_malformed_lines() {
        assert_eq!(
            rows("<!-- row {\"project\":\"a\" -->\n<!-- row [] -->\ntext <!-- row {} -->"),
            []
        );
    }

    #[test]
    fn the_marker_must_be_the_whole_first_line() {
        assert!(has_marker(&format!("{MARKER}\r\ntext")));
        for other in [
            "",
            "text\n<!-- xtask preview v1 -->",
            "<!-- xtask preview v1 --> x",
            "<!-- xtask preview v10 -->",
        ] {
            assert!(!has_marker(other), "{other}");
        }
    }
}
