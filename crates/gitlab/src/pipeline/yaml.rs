//! Formats strings as YAML scalars.

/// Returns `text` as a literal block whose lines begin at the column `indent`. `None` if it has one line or has characters
/// that a block cannot hold.
#[must_use]
pub fn block(text: &str, indent: usize) -> Option<String> {
    let body = text.strip_suffix('\n').unwrap_or(text);
    let fits = body.contains('\n')
        && body.lines().all(|line| !line.ends_with([' ', '\t']) && line.chars().all(is_printable))
        && !body.ends_with('\n')
        && !body.contains('\r')
        && !body.starts_with([' ', '\t', '\n']);
    fits.then(|| {
        let mut block = if body.len() == text.len() { "|-" } else { "|" }.to_owned();
        for line in body.split('\n') {
            let space = if line.is_empty() { 0 } else { indent };
            block += &format!("\n{}{line}", " ".repeat(space));
        }
        block
    })
}

/// Words that some parser of YAML 1.1 or 1.2 does not parse as a string.
const RESERVED: [&str; 11] =
    ["null", "true", "false", "yes", "no", "on", "off", "y", "n", ".inf", ".nan"];

/// Returns `text` on one line: plain if every YAML parser reads it as a string, otherwise in double quotes.
#[must_use]
pub fn scalar(text: &str) -> String {
    let mut chars = text.chars();
    let starts = match (chars.next(), chars.next()) {
        (Some('.'), Some(c)) => c.is_ascii_alphabetic(),
        (Some(c), _) => c.is_ascii_alphabetic() || c == '$' || c == '/',
        (None, _) => false,
    };
    let plain = starts
        && text.chars().all(|c| c.is_ascii_graphic() || c.is_alphanumeric() || c == ' ')
        && !text.contains(": ")
        && !text.contains(" #")
        && !text.ends_with([':', ' '])
        && !RESERVED.contains(&text.to_ascii_lowercase().as_str());
    if plain { text.to_owned() } else { quote(text) }
}

fn quote(text: &str) -> String {
    let json = serde_json::Value::from(text).to_string();
    let escape = |c: char| match c {
        c if is_printable(c) => c.to_string(),
        c if (c as u32) > 0xffff => format!("\\U{:08x}", c as u32),
        c => format!("\\u{:04x}", c as u32),
    };
    json.chars().map(escape).collect()
}

/// Returns `true` for a character that may be in a YAML document as it is, without line breaks other than `\n`
/// (<https://yaml.org/spec/1.2.2/#51-character-set>).
fn is_printable(c: char) -> bool {
    !matches!(c, '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}'..='\u{ffff}')
}
