//! Parses a `Cargo.lock`, to find the projects whose locked crates changed.

use std::collections::{BTreeMap, BTreeSet};

use ring::digest::{Context, SHA256};

use crate::files::key::hex;
use crate::files::limits::{MAX_LOCK_BYTES, without_bom};

/// The locked crates of a workspace.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct CargoLock {
    /// Everything that is not a crate: the version of the format, unused patches, checksums of old formats.
    header: String,
    /// The crates by name. One name may have several versions.
    crates: BTreeMap<String, Vec<LockedCrate>>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct LockedCrate {
    version: String,
    /// `true` if it is of a registry or another repository.
    has_source: bool,
    /// Its lines, in which a change is one of the crate.
    text: String,
    /// The names of its dependencies, some with a version and a source.
    dependencies: Vec<String>,
}

impl CargoLock {
    /// Parses the form that Cargo writes. `None` if it has any other line, such as one of a merge conflict. Does not use the
    /// parser of TOML, because that is slow for a large file.
    pub(crate) fn parse(text: &str) -> Option<CargoLock> {
        if text.len() > MAX_LOCK_BYTES {
            return None;
        }
        let mut lock = CargoLock::default();
        let mut open: Option<(String, LockedCrate)> = None;
        let mut is_list = false;
        let lines = without_bom(text).lines().map(str::trim);
        for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if !is_list && line.starts_with('[') {
                lock.close(open.take())?;
                if line == "[[package]]" {
                    open = Some(Default::default());
                    continue;
                }
            }
            let Some((name, locked)) = &mut open else {
                if ["<<<<<<<", "=======", ">>>>>>>"].iter().any(|mark| line.starts_with(mark)) {
                    return None;
                }
                lock.header.extend([line, "\n"]);
                continue;
            };
            locked.text.extend([line, "\n"]);
            match line.split_once(" = ") {
                _ if is_list && line == "]" => is_list = false,
                _ if is_list => {
                    locked.dependencies.push(unquote(line.trim_end_matches(','))?.into());
                }
                Some(("dependencies", "[")) => is_list = true,
                Some(("dependencies", "[]")) => {}
                Some(("name", value)) => *name = unquote(value)?.to_owned(),
                Some(("version", value)) => locked.version = unquote(value)?.to_owned(),
                Some(("source", value)) => locked.has_source = !unquote(value)?.is_empty(),
                Some((_, value)) => drop(unquote(value)?),
                None => return None,
            }
        }
        lock.close(open)?;
        (!is_list).then_some(lock)
    }

    /// Adds a crate whose lines are complete. `None` if it has no name.
    fn close(&mut self, open: Option<(String, LockedCrate)>) -> Option<()> {
        if let Some((name, locked)) = open {
            (!name.is_empty()).then(|| self.crates.entry(name).or_default().push(locked))?;
        }
        Some(())
    }

    /// Returns a digest of the local crates with these names and of everything that they depend on. `None` if there is no name,
    /// or if the lock file lacks one of the crates.
    pub(crate) fn slice(&self, names: &BTreeSet<String>) -> Option<String> {
        let mut waiting: Vec<(&str, &LockedCrate)> = Vec::new();
        for name in names {
            let (name, versions) = self.crates.get_key_value(name)?;
            let before = waiting.len();
            let local = versions.iter().filter(|locked| !locked.has_source);
            waiting.extend(local.map(|locked| (name.as_str(), locked)));
            if waiting.len() == before {
                return None;
            }
        }
        if waiting.is_empty() {
            return None;
        }
        let mut found: BTreeSet<(&str, &str)> = BTreeSet::new();
        while let Some((name, locked)) = waiting.pop() {
            if found.insert((name, &locked.text)) {
                let dependencies = locked.dependencies.iter();
                waiting.extend(dependencies.flat_map(|dependency| self.resolve(dependency)));
            }
        }
        let mut context = Context::new(&SHA256);
        let parts = found.into_iter().flat_map(|(name, text)| [name, text]);
        for part in std::iter::once(self.header.as_str()).chain(parts) {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        Some(hex(context.finish().as_ref()))
    }

    /// Returns the crates that an entry of `dependencies` means: `name`, `name version` or `name version (source)`. Crates of
    /// several sources with one version all count.
    fn resolve<'l>(
        &'l self,
        dependency: &'l str,
    ) -> impl Iterator<Item = (&'l str, &'l LockedCrate)> {
        let mut parts = dependency.split(' ');
        let (name, version) = (parts.next().unwrap_or_default(), parts.next());
        let versions = self.crates.get(name).into_iter().flatten();
        let versions = versions.filter(move |locked| version.is_none_or(|it| locked.version == it));
        versions.map(move |locked| (name, locked))
    }
}

/// Returns the text between quotes.
fn unquote(value: &str) -> Option<&str> {
    value.strip_prefix('"')?.strip_suffix('"').filter(|text| !text.contains(['"', '\\']))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = r#"# This file is automatically @generated by Cargo.
version = 4

[[package]]
name = "api"
version = "0.1.0"
dependencies = [
 "old 1.0.0",
 "shared",
]

[[package]]
name = "cron"
version = "0.1.0"
dependencies = [
 "old 2.0.0 (registry+https://example.com)",
]

[[package]]
name = "deep"
version = "1.0.3"
source = "registry+https://example.com"
checksum = "aaa"

[[package]]
name = "old"
version = "1.0.0"
source = "registry+https://example.com"

[[package]]
name = "old"
version = "2.0.0"
source = "registry+https://example.com"

[[package]]
name = "shared"
version = "0.1.0"
dependencies = [
 "deep",
]

[[patch.unused]]
name = "unused"
version = "1.0.0"
"#;

    fn slice(text: &str, name: &str) -> Option<String> {
        CargoLock::parse(text)?.slice(&BTreeSet::from([name.to_owned()]))
    }

    #[test]
    fn a_change_affects_the_crates_that_depend_on_it() {
        let is_changed = |text: &str| {
            ["api", "cron"].map(|name| {
                slice(LOCK, name).expect("a slice") != slice(text, name).expect("a slice")
            })
        };
        for (from, to, expected) in [
            ("checksum = \"aaa\"", "checksum = \"bbb\"", [true, false]),
            ("version = \"2.0.0\"", "version = \"2.0.0\"\nchecksum = \"b\"", [false, true]),
            (
                "name = \"old\"\nversion = \"1.0.0\"",
                "name = \"old\"\nversion = \"1.0.0\"\nchecksum = \"c\"",
                [true, false],
            ),
            ("version = 4", "version = 5", [true, true]),
            ("name = \"unused\"", "name = \"other\"", [true, true]),
            ("# This file", "# That file", [false, false]),
            (" \"shared\",\n", "", [true, false]),
            (
                "\n[[patch.",
                "\n[[package]]\nname = \"new\"\nversion = \"1.0.0\"\n\n[[patch.",
                [false, false],
            ),
            ("\n", "\r\n", [false, false]),
        ] {
            assert!(LOCK.contains(from), "{from}");
            assert_eq!(is_changed(&LOCK.replace(from, to)), expected, "{from} → {to}");
        }
    }

    #[test]
    fn the_whole_file_counts_if_it_is_not_understood() {
        assert_eq!(slice(LOCK, "other"), None, "a crate that is not locked");
        assert_eq!(slice(LOCK, "deep"), None, "a crate of a registry");
        assert_eq!(CargoLock::parse(LOCK).expect("a lock file").slice(&BTreeSet::new()), None);
        for (from, to) in [
            ("[[package]]\nname = \"api\"", "<<<<<<< HEAD\n[[package]]\nname = \"api\""),
            ("checksum", "=======\nchecksum"),
            ("name = \"api\"\n", ""),
            ("\"api\"", "'api'"),
            (" \"deep\",\n]", " \"deep\","),
            ("dependencies = [\n \"deep\",\n]", "dependencies = [\"deep\"]"),
        ] {
            assert!(LOCK.contains(from), "{from}");
            assert_eq!(CargoLock::parse(&LOCK.replace(from, to)), None, "{from} → {to}");
        }
    }
}
