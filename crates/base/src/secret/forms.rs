//! Spellings of a secret in the output of tools: quoted, escaped, encoded.

use crate::command::quote;

/// The minimum length for redaction. Shorter values would hide ordinary text.
pub const MIN_REDACTED_LENGTH: usize = 4;

/// Returns the spellings of `secret`: verbatim, in JSON, HTML, XML and URLs, quoted for a shell, in hex, and in
/// base64 at each of the three offsets. Longest first, without duplicates.
#[must_use]
pub fn forms(secret: &str) -> Vec<String> {
    let mut forms = vec![secret.to_owned()];
    if !is_plain(secret) {
        forms.extend(json(secret));
        forms.extend(["&#39;", "&#x27;", "&apos;"].map(|quote| html(secret, quote)));
        forms.extend(addresses(secret));
        forms.extend(shells(secret));
    }
    for offset in 0..3 {
        let text = base64(secret.as_bytes(), offset);
        forms.push(text.replace('+', "-").replace('/', "_"));
        forms.push(text);
    }
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    forms.extend([hex.to_uppercase(), hex]);
    // Logs of requests hold JSON inside of JSON, so each spelling is escaped a second time.
    let again: Vec<String> =
        forms.iter().filter(|form| !is_plain(form)).flat_map(|form| json(form)).collect();
    forms.extend(again);
    forms.retain(|form| form.len() >= MIN_REDACTED_LENGTH);
    forms.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
    forms.dedup();
    forms
}

/// Returns true if no writer below escapes a character of `text`. Most tokens are plain, and creating their spellings took
/// longer than a request.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

/// Returns the spellings of JSON writers: plain, with `\/`, with HTML's special characters as `\u`, and with
/// all characters beyond ASCII as `\u`.
fn json(text: &str) -> [String; 4] {
    let plain = serde_json::Value::from(text).to_string();
    let plain = plain[1..plain.len() - 1].to_owned();
    let numbers = |which: fn(char) -> bool| -> String {
        let mut units = [0; 2];
        let number = |c: char| -> String {
            c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")).collect()
        };
        let mut number = number;
        plain.chars().map(|c| if which(c) { number(c) } else { c.to_string() }).collect()
    };
    [plain.replace('/', "\\/"), numbers(|c| "<>&'".contains(c)), numbers(|c| !c.is_ascii()), plain]
}

fn html(text: &str, quote: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    text.replace('"', "&quot;").replace('\'', quote)
}

/// Returns the spellings of URL encoders, which differ in their safe characters and in the case of digits.
fn addresses(text: &str) -> Vec<String> {
    let encode = |kept: &str, lower: bool| -> String {
        let byte = |b: u8| match b {
            _ if b.is_ascii_alphanumeric() || kept.as_bytes().contains(&b) => {
                char::from(b).to_string()
            }
            _ if lower => format!("%{b:02x}"),
            _ => format!("%{b:02X}"),
        };
        text.bytes().map(byte).collect()
    };
    // RFC 3986; JavaScript's encodeURIComponent, encodeURI and URLSearchParams; Python's quote.
    let kept = ["-._~", "-_.!~*'()", ";,/?:@&=+$-_.!~*'()#", "*-._", "/-._~"];
    let mut found: Vec<String> = Vec::new();
    for lower in [false, true] {
        found.extend(kept.iter().map(|kept| encode(kept, lower)));
    }
    found
}

/// Returns the spellings of [`quote`], of bash's `printf %q`, and for double quotes.
fn shells(text: &str) -> [String; 3] {
    let escaped = |special: &str| -> String {
        let escape = |c: char| if special.contains(c) { format!("\\{c}") } else { c.to_string() };
        text.chars().map(escape).collect()
    };
    let quoted = quote(text);
    let inner = quoted.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
    [inner.unwrap_or(&quoted).to_owned(), escaped(" !\"#$&'()*,;<>?[\\]^`{|}"), escaped("\"$\\`")]
}

/// Returns the base64 digits that depend only on `bytes` if `offset` other bytes precede them.
fn base64(bytes: &[u8], offset: usize) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits = |at: usize| -> usize {
        let byte = bytes.get((at / 8).wrapping_sub(offset)).copied().unwrap_or(0);
        usize::from(byte >> (7 - at % 8) & 1)
    };
    let whole = (offset + bytes.len()) * 8 / 6;
    let digit = |index: usize| {
        let value = (index * 6..index * 6 + 6).fold(0, |value, at| value << 1 | bits(at));
        char::from(DIGITS[value])
    };
    ((offset * 8).div_ceil(6)..whole).map(digit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [`forms`] relies on it.
    #[test]
    fn plain_text_has_no_other_spelling() {
        let text = "abcxyzABCXYZ0123456789-._";
        assert!(is_plain(text));
        let mut spellings = Vec::from(json(text));
        spellings.extend(["&#39;", "&#x27;", "&apos;"].map(|quote| html(text, quote)));
        spellings.extend(addresses(text));
        spellings.extend(shells(text));
        assert_eq!(spellings.len(), 20);
        for spelling in spellings {
            assert_eq!(spelling, text);
        }
        for special in (0..128).map(char::from).filter(|c| !is_plain(&c.to_string())) {
            let special = special.to_string();
            let encoded = addresses(&special).into_iter().chain(json(&special));
            assert!(encoded.chain(shells(&special)).any(|spelling| spelling != special));
        }
    }
}
