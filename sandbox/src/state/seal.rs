//! Reads and writes state files with a checksum, which detects truncated and changed files.

use anyhow::{Context as _, Result, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The beginning of a sealed file. The checksum covers the file without this first field.
const PREFIX: &str = "{\n  \"checksum\": \"";

/// Serializes a value as a JSON object. Its first field is the checksum of the others.
pub fn seal<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    let text = serde_json::to_string_pretty(value).context("cannot write a state file")?;
    let checksum = blake3::hash(text.as_bytes()).to_hex();
    let fields = text.strip_prefix('{').context("a state file is a JSON object")?;
    Ok(format!("{PREFIX}{checksum}\",{fields}").into_bytes())
}

/// Parses a file from [`seal`]. Errors if the checksum does not match. Files of earlier versions have none.
pub fn unseal<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    let text = std::str::from_utf8(bytes).context("it is not UTF-8")?;
    if let Some(sealed) = text.strip_prefix(PREFIX) {
        let (checksum, fields) = sealed.split_once("\",").context("it is truncated")?;
        let hash = blake3::hash(format!("{{{fields}").as_bytes()).to_hex();
        if hash.as_str() != checksum {
            bail!("its checksum does not match its content");
        }
    }
    serde_json::from_str(text).context("its format is invalid")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn reads_only_intact_files() {
        let value = json!({ "name": "site", "number": 7 });
        let sealed = seal(&value).expect("it is written");
        let mut read: Value = unseal(&sealed).expect("it is read");
        read.as_object_mut().expect("an object").remove("checksum");
        assert_eq!(read, value);
        let text = String::from_utf8(sealed.clone()).expect("text");
        for (from, to) in [
            ("site", "side"),
            ("7", "8"),
            ("\"name\"", "\"nam\""),
            ("checksum\": \"", "checksum\": \"0"),
        ] {
            assert!(unseal::<Value>(text.replacen(from, to, 1).as_bytes()).is_err(), "{from}");
        }
        for length in 0..sealed.len() {
            assert!(unseal::<Value>(&sealed[..length]).is_err(), "{length} bytes");
        }
        let earlier: Value = unseal(b"{\"name\": \"site\"}").expect("it is read");
        assert_eq!(earlier, json!({ "name": "site" }));
    }
}
