//! Makes ids, and formats the current time for the API.

use std::time::SystemTime;

/// Returns random bytes.
///
/// # Panics
///
/// If the system has no source of random numbers.
#[must_use]
#[expect(
    clippy::expect_used,
    reason = "without random numbers no id is unique, so the sandbox cannot run"
)]
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system has random numbers");
    bytes
}

/// Returns bytes as lower-case hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns a random id of 32 hexadecimal digits.
#[must_use]
pub fn random_id() -> String {
    hex(&random::<16>())
}

/// Returns an id of 32 hexadecimal digits that depends only on `text`.
#[must_use]
pub fn derived_id(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex()[..32].to_owned()
}

/// Returns `text` in lower case, with one dash for each sequence of characters that are not letters or digits.
#[must_use]
pub fn slug_of(text: &str) -> String {
    let mut slug = String::new();
    for c in text.to_ascii_lowercase().chars() {
        let c = if c.is_ascii_alphanumeric() { c } else { '-' };
        if c != '-' || !slug.ends_with('-') {
            slug.push(c);
        }
    }
    slug
}

/// Returns whether `text` has the format of a UUID.
#[must_use]
pub fn is_uuid(text: &str) -> bool {
    let parts: Vec<usize> = text.split('-').map(str::len).collect();
    parts == [8, 4, 4, 4, 12] && text.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit())
}

/// Returns a random UUID (version 4), the id of a version or deployment.
#[must_use]
pub fn uuid() -> String {
    let mut bytes: [u8; 16] = random();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = hex(&bytes);
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// Returns the current time, RFC 3339 with microseconds.
#[must_use]
pub fn now() -> String {
    humantime::format_rfc3339_micros(SystemTime::now()).to_string()
}

#[cfg(test)]
mod tests {
    #[test]
    fn uuids_have_their_format() {
        let id = super::uuid();
        assert!(super::is_uuid(&id) && !super::is_uuid("x") && !super::is_uuid(&id[1..]), "{id}");
        assert_eq!(id.as_bytes()[14], b'4');
        assert_ne!(id, super::uuid());
    }
}
