//! Escapes untrusted text for Markdown: it can neither start a line, nor end its cell, nor mention anyone.
//!
//! A line of a note that starts with a slash is executed with the rights of its author
//! (<https://docs.gitlab.com/user/project/quick_actions/>), and GitLab drops carriage returns first.
//! Within code, mentions and references have no effect.

/// Returns `text` as code on one line, at most `limit` characters of it. Returns `None` if no character
/// is visible.
#[must_use]
pub fn code(text: &str, limit: usize) -> Option<String> {
    let line = one_line(text, limit);
    if line.is_empty() {
        return None;
    }
    if !line.contains(['`', '|', '\\']) {
        return Some(format!("`{line}`"));
    }
    // A code span cannot contain these characters in a table. In HTML, every character can be written as a number.
    Some(format!("<code>{}</code>", encode(&line)))
}

/// Returns `text` as HTML on one line, at most `limit` characters of it. Returns `None` if no character
/// is visible.
#[must_use]
pub fn html(text: &str, limit: usize) -> Option<String> {
    Some(encode(&one_line(text, limit))).filter(|text| !text.is_empty())
}

/// Returns `text` for a `<pre>` element, at most `limit` characters of it. Its line breaks are written
/// as numbers, so that the note's source stays one line and no line of it can be a quick action.
/// Returns `None` if no character is visible.
#[must_use]
pub fn code_block(text: &str, limit: usize) -> Option<String> {
    let text: String = text.chars().take(limit).collect();
    let lines = text.split(['\n', '\u{b}', '\u{c}', '\u{85}', '\u{2028}', '\u{2029}']);
    let lines: Vec<String> =
        lines.map(|line| encode(&one_line(line, limit))).filter(|line| !line.is_empty()).collect();
    (!lines.is_empty()).then(|| lines.join("&#10;"))
}

/// Returns `line` with every character as a number that could mean something to Markdown, HTML or GitLab.
fn encode(line: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || c == ' ' || c == '-';
    line.chars()
        .map(|c| if is_plain(c) { c.to_string() } else { format!("&#{};", u32::from(c)) })
        .collect()
}

/// Returns a link whose label is trusted Markdown. Returns only the label if `url` is not an HTTP URL.
#[must_use]
pub fn link(label: &str, url: &str) -> String {
    match address(url) {
        Some(url) => format!("[{label}]({url})"),
        None => label.to_owned(),
    }
}

/// Returns `url` with every character encoded that could end a link, a cell or a line. Returns `None` if
/// it is not an HTTP URL, or hides its host behind a user name.
#[must_use]
pub fn address(url: &str) -> Option<String> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.is_empty()
        || !authority.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.:".contains(&b))
    {
        return None;
    }
    let keep = |b: u8| b.is_ascii_alphanumeric() || b"-._~:/?#=%+,@!".contains(&b);
    let encoded = url.bytes().map(|b| match b {
        _ if keep(b) => char::from(b).to_string(),
        // The server decodes it to the same character, but it is no longer the start of an entity.
        b'&' => "&amp;".to_owned(),
        _ => format!("%{b:02X}"),
    });
    Some(encoded.collect())
}

/// Returns `text` without line breaks, colour codes and characters that hide or reorder others.
fn one_line(text: &str, limit: usize) -> String {
    let mut line = String::new();
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '\u{1b}' if characters.peek() == Some(&'[') => {
                characters.by_ref().skip(1).find(|c| ('@'..='~').contains(c));
            }
            '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}' => {
                let end = line.trim_end().len();
                line.truncate(end);
                line.push_str(if line.is_empty() || line.ends_with('⏎') { "" } else { " ⏎" });
                line.push(' ');
            }
            _ if c.is_whitespace() => line.push(' '),
            '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}' => {}
            _ if c.is_control() => {}
            _ => line.push(c),
        }
    }
    let line = line.trim().trim_end_matches('⏎').trim_end();
    if line.chars().count() <= limit {
        return line.to_owned();
    }
    let cut: String = line.chars().take(limit).collect();
    format!("{}…", cut.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_text_stays_readable() {
        assert_eq!(code("rawkode.academy/website", 80).expect("code"), "`rawkode.academy/website`");
        assert_eq!(code(" \n\t", 80), None);
        assert_eq!(code("abcdef", 3).expect("code"), "`abc…`");
    }

    #[test]
    fn lines_and_colours_are_folded() {
        let text = "error: \u{1b}[31mbad\u{1b}[0m\r\n/merge\n\n/close\u{2028}@all\n";
        assert_eq!(code(text, 80).expect("code"), "`error: bad ⏎ /merge ⏎ /close ⏎ @all`");
    }

    #[test]
    fn escapes_characters_that_would_end_a_cell() {
        assert_eq!(code("a`|@x", 80).expect("code"), "<code>a&#96;&#124;&#64;x</code>");
    }

    #[test]
    fn urls_cannot_leave_their_link() {
        let url = "https://site.example/a b)|<x>?q=1&copy;=2\n/merge";
        assert_eq!(
            address(url).expect("an address"),
            "https://site.example/a%20b%29%7C%3Cx%3E?q=1&amp;copy%3B=2%0A/merge"
        );
        for none in
            ["javascript:alert(1)", "https://", "https://gitlab.com@evil.example/", "/merge"]
        {
            assert_eq!(address(none), None, "{none}");
        }
        assert_eq!(link("`x`", "ftp://x"), "`x`");
    }
}
