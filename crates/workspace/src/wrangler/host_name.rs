//! Converts host names to the ASCII form of requests (RFC 3492, RFC 5891).

/// The parameters of Punycode.
const BASE: u32 = 36;
const SKEW: u32 = 38;
const DAMP: u32 = 700;
const T_MIN: u32 = 1;
const T_MAX: u32 = 26;

/// Returns a host, or a pattern of hosts, in lower case and in ASCII. A label with both `*` and non-ASCII letters
/// becomes `*`, because it cannot be compared with the label of a request.
#[must_use]
pub fn to_ascii(host: &str) -> String {
    let host = host.to_lowercase().replace(['。', '．', '｡'], ".");
    let label = |label: &str| match label {
        _ if label.is_ascii() => label.to_owned(),
        _ if label.contains('*') => "*".to_owned(),
        _ => encode(label).map_or_else(|| label.to_owned(), |text| format!("xn--{text}")),
    };
    host.split('.').map(label).collect::<Vec<_>>().join(".")
}

/// Returns the Punycode of a label. `None` if it is too long for a host.
fn encode(label: &str) -> Option<String> {
    let mut text: String = label.chars().filter(char::is_ascii).collect();
    let basic = u32::try_from(text.len()).ok()?;
    let mut handled = basic;
    if basic > 0 {
        text.push('-');
    }
    let (mut next, mut delta, mut bias) = (128_u32, 0_u32, 72_u32);
    let total = u32::try_from(label.chars().count()).ok().filter(|count| *count < 1000)?;
    while handled < total {
        let least = label.chars().map(u32::from).filter(|code| *code >= next).min()?;
        delta = delta.checked_add((least - next).checked_mul(handled + 1)?)?;
        next = least;
        for code in label.chars().map(u32::from) {
            if code < next {
                delta = delta.checked_add(1)?;
            }
            if code == next {
                let mut rest = delta;
                let mut at = BASE;
                loop {
                    let threshold = at.saturating_sub(bias).clamp(T_MIN, T_MAX);
                    if rest < threshold {
                        break;
                    }
                    text.push(digit(threshold + (rest - threshold) % (BASE - threshold))?);
                    rest = (rest - threshold) / (BASE - threshold);
                    at += BASE;
                }
                text.push(digit(rest)?);
                bias = adapt(delta, handled + 1, handled == basic);
                delta = 0;
                handled += 1;
            }
        }
        delta += 1;
        next += 1;
    }
    Some(text)
}

fn digit(value: u32) -> Option<char> {
    char::from_digit(value, BASE).and_then(|_| match value {
        0..=25 => char::from_u32(u32::from('a') + value),
        _ => char::from_u32(u32::from('0') + value - 26),
    })
}

fn adapt(delta: u32, count: u32, is_first: bool) -> u32 {
    let mut delta = if is_first { delta / DAMP } else { delta / 2 };
    delta += delta / count;
    let mut steps = 0;
    while delta > ((BASE - T_MIN) * T_MAX) / 2 {
        delta /= BASE - T_MIN;
        steps += BASE;
    }
    steps + (BASE - T_MIN + 1) * delta / (delta + SKEW)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sent_in_ascii() {
        for (host, wanted) in [
            ("WWW.Example.com", "www.example.com"),
            ("exämple.com", "xn--exmple-cua.com"),
            ("BÜCHER.example", "xn--bcher-kva.example"),
            ("例え.テスト", "xn--r8jz45g.xn--zckzah"),
            ("*.bücher.example", "*.xn--bcher-kva.example"),
            ("*bücher.example", "*.example"),
            ("www。example。com", "www.example.com"),
            ("☃.net", "xn--n3h.net"),
            ("mañana.com", "xn--maana-pta.com"),
        ] {
            assert_eq!(to_ascii(host), wanted, "{host}");
        }
        assert!(to_ascii(&"ü".repeat(2000)).contains('ü'), "too long for a host");
    }
}
