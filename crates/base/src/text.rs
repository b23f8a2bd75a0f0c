//! Sanitizing of untrusted text: names, log lines and responses of servers must not control the terminal or
//! reorder its text.

use anstream::adapter::strip_str;

/// Returns true for control characters, including C1, and for invisible characters that change the direction
/// or the look of the following text (<https://trojansource.codes>).
#[must_use]
pub fn is_control_or_bidi(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Removes control and bidi characters, except for line breaks, tabs and our own colours.
#[must_use]
pub fn sanitize(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if let Some(length) = colour(rest) {
            out.push_str(&rest[..length]);
            rest = &rest[length..];
            continue;
        }
        if matches!(c, '\n' | '\t') || !is_control_or_bidi(c) {
            out.push(c);
        }
        rest = &rest[c.len_utf8()..];
    }
    out
}

/// Removes terminal escape sequences and other control characters, and replaces tabs by spaces. A child may print them
/// even if told not to, and they must not control the terminal.
#[must_use]
pub fn strip_escapes(text: &str) -> String {
    let text = strip_str(text).to_string().replace('\t', " ");
    text.replace(is_control_or_bidi, "")
}

/// Returns a path or name on one line, with control and bidi characters escaped: a line break as `\n`.
#[must_use]
pub fn one_line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_control_or_bidi(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// Returns untrusted text on one line, with a space for each control and bidi character.
#[must_use]
pub fn join_lines(text: &str) -> String {
    text.replace(is_control_or_bidi, " ")
}

/// Returns the first `max` names in one line, and the number of the others: `a, b and 3 more`.
#[must_use]
pub fn list_first<T: ToString>(max: usize, names: &[T]) -> String {
    let first: Vec<String> = names.iter().take(max).map(ToString::to_string).collect();
    match names.len().saturating_sub(max) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

/// Returns a commit as people read it: the seven characters that git shows. JSON and links have the whole id.
#[must_use]
pub fn short_commit(id: &str) -> &str {
    cut(id, 7)
}

/// Returns a version's id as people read it: the eight characters of its preview URL.
#[must_use]
pub fn short_version(id: &str) -> &str {
    cut(id, 8)
}

/// Returns the first `count` characters.
fn cut(text: &str, count: usize) -> &str {
    text.char_indices().nth(count).map_or(text, |(end, _)| &text[..end])
}

/// Returns the length of a colour sequence at the start of `text`. Only the sequences of `terminal` count:
/// bold, dimmed or a foreground colour. A sequence that hides text does not.
fn colour(text: &str) -> Option<usize> {
    let rest = text.strip_prefix("\x1b[")?;
    let end = rest.find('m')?;
    let known = |code: &str| matches!(code, "0" | "1" | "2" | "31" | "32" | "33" | "36");
    rest[..end].split(';').all(known).then_some(end + 3)
}

/// Escapes control and bidi characters in a JSON document. Except for line breaks, they occur only inside of
/// strings.
#[must_use]
pub fn sanitize_json(json: &str) -> String {
    if json.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\n')) {
        return json.to_owned();
    }
    let mut units = [0; 2];
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c != '\n' && is_control_or_bidi(c) {
            for unit in c.encode_utf16(&mut units) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::{BOLD, CYAN, DIM, GREEN, RED, YELLOW, paint};
    use proptest::prelude::*;

    #[test]
    fn removes_escape_sequences() {
        let text =
            "\u{1b}[31mred\u{1b}[0m \u{1b}]0;title\u{7}x\r\u{8}\ty\u{1b}]8;;http://a\u{1b}\\z";
        assert_eq!(strip_escapes(text), "red x yz");
        assert_eq!(strip_escapes("\u{1b}[\u{1b}[2Jé\u{202e}"), "é");
    }

    #[test]
    fn a_long_list_names_the_first_and_counts_the_others() {
        assert_eq!(list_first(2, &["a", "b"]), "a, b");
        assert_eq!(list_first(2, &["a", "b", "c", "d"]), "a, b and 2 more");
        assert_eq!(list_first::<&str>(2, &[]), "");
    }

    #[test]
    fn commits_and_versions_are_cut_to_their_widths() {
        let id = "0123456789abcdef";
        assert_eq!((short_commit(id), short_version(id)), ("0123456", "01234567"));
        assert_eq!((short_commit("é23456789"), short_version("short")), ("é234567", "short"));
    }

    #[test]
    fn keeps_our_colours_and_removes_other_control_characters() {
        for style in [GREEN, RED, YELLOW, CYAN, DIM, BOLD] {
            assert_eq!(sanitize(&paint(style, "x")), paint(style, "x"));
        }
        for (given, shown) in [
            ("\x1b[2J\x1b[Hgone", "[2J[Hgone"),
            ("\x1b[8mhidden", "[8mhidden"),
            ("\x1b]0;title\x07x", "]0;titlex"),
            (
                "\x1b]8;;https://evil.example\x1b\\a\x1b]8;;\x1b\\",
                "]8;;https://evil.example\\a]8;;\\",
            ),
            ("\u{9b}31mC1", "31mC1"),
            ("a\rb\x08c", "abc"),
            ("user\u{202e}nimda\u{2066}", "usernimda"),
            ("two\n\tlines", "two\n\tlines"),
        ] {
            assert_eq!(sanitize(given), shown);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_sanitized(given in "(?s:[\x1b\u{9b}\\[\\];0-9mHJK\u{202a}-\u{202e}\r\n\u{7}a]|.){0,60}") {
            let shown = sanitize(&given);
            let bare = strip_str(&shown).to_string();
            prop_assert!(bare.chars().all(|c| matches!(c, '\n' | '\t') || !is_control_or_bidi(c)), "{bare:?}");
            prop_assert_eq!(sanitize(&shown), shown);
        }

        #[test]
        fn a_document_keeps_its_value(given in "(?s:.{0,40})", name in "(?s:[\u{80}-\u{9f}\u{202e}\u{7f}\u{e0041}]|.){0,9}") {
            let document = serde_json::json!({ "a": [given, { name: 1 }] });
            let shown = sanitize_json(&serde_json::to_string_pretty(&document).expect("JSON"));
            prop_assert!(shown.chars().all(|c| c == '\n' || !is_control_or_bidi(c)));
            let read: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
            prop_assert_eq!(read, document);
        }
    }
}
