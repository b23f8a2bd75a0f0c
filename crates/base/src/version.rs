//! Versions in the output of tools.

use std::fmt;

/// A version of three numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub [u32; 3]);

impl Version {
    /// Returns the first version in `text`: `git version 2.39.5 (Apple Git-154)`, `dagger v0.21.8 (…)`,
    /// `1.95`. A suffix as in `1.96.0-nightly` is ignored.
    #[must_use]
    pub fn find(text: &str) -> Option<Version> {
        text.split_whitespace().find_map(Version::parse)
    }

    fn parse(word: &str) -> Option<Version> {
        let word = word.trim_start_matches('v');
        let end = word.find(|c: char| !c.is_ascii_digit() && c != '.');
        let numbers = word[..end.unwrap_or(word.len())].trim_end_matches('.');
        if !numbers.contains('.') {
            return None;
        }
        let mut version = [0; 3];
        for (place, number) in version.iter_mut().zip(numbers.split('.')) {
            *place = number.parse().ok()?;
        }
        Some(Version(version))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.0;
        write!(f, "{major}.{minor}.{patch}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recorded_outputs() {
        for (text, version) in [
            ("git version 2.39.5", Some([2, 39, 5])),
            ("git version 2.50.1 (Apple Git-155)", Some([2, 50, 1])),
            ("git version 2.47.1.windows.2", Some([2, 47, 1])),
            ("cargo 1.95.0 (f2d3ce0bd 2026-03-21)", Some([1, 95, 0])),
            ("rustc 1.97.0-nightly (abc 2026-08-01)", Some([1, 97, 0])),
            (
                "dagger v0.21.8 (image://registry.dagger.io/engine:v0.21.8) linux/amd64",
                Some([0, 21, 8]),
            ),
            ("1.4.5", Some([1, 4, 5])),
            ("1.95", Some([1, 95, 0])),
            ("command not found", None),
            ("", None),
        ] {
            assert_eq!(Version::find(text), version.map(Version), "{text}");
        }
    }
}
