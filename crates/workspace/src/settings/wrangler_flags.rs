//! The setting `xtask.wrangler`: wrangler's own flags for a project.
//!
//! A deployment takes two steps. The first bundles without a token, the second uploads with it. Each flag is passed to its
//! step. Only flags of the list are accepted, because others would change the account, the environment, the routes or the
//! files that xtask checks.

use serde::{Deserialize, Serialize};

use crate::settings::steps::Steps;

/// The flags of a project. Each is one word with its value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "Steps")]
pub struct WranglerFlags(Vec<String>);

/// An accepted flag.
struct AllowedFlag {
    name: &'static str,
    has_value: bool,
    is_for_bundle: bool,
    is_for_upload: bool,
}

const fn flag(name: &'static str, is_for_bundle: bool, is_for_upload: bool) -> AllowedFlag {
    AllowedFlag { name, has_value: false, is_for_bundle, is_for_upload }
}

const fn value(name: &'static str) -> AllowedFlag {
    AllowedFlag { name, has_value: true, is_for_bundle: true, is_for_upload: false }
}

/// The flags by name. The Cloudflare module has the same, and a test compares them.
const ALLOWED: [AllowedFlag; 7] = [
    flag("--minify", true, false),
    flag("--no-bundle", true, false),
    flag("--upload-source-maps", true, true),
    flag("--keep-vars", false, true),
    value("--define"),
    value("--jsx-factory"),
    value("--jsx-fragment"),
];

impl WranglerFlags {
    /// Returns true if there are no flags.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns all flags in order.
    #[must_use]
    pub fn all(&self) -> &[String] {
        &self.0
    }

    /// Returns the flags of the step that bundles.
    #[must_use]
    pub fn for_bundle(&self) -> Vec<String> {
        self.select(|allowed| allowed.is_for_bundle)
    }

    /// Returns the flags of the step that uploads.
    #[must_use]
    pub fn for_upload(&self) -> Vec<String> {
        self.select(|allowed| allowed.is_for_upload)
    }

    fn select(&self, belongs: impl Fn(&AllowedFlag) -> bool) -> Vec<String> {
        let is_wanted =
            |word: &&String| find(word.split('=').next().unwrap_or(word)).is_some_and(&belongs);
        self.0.iter().filter(is_wanted).cloned().collect()
    }
}

fn find(name: &str) -> Option<&'static AllowedFlag> {
    ALLOWED.iter().find(|allowed| allowed.name == name)
}

impl TryFrom<Steps> for WranglerFlags {
    type Error = String;

    fn try_from(words: Steps) -> Result<WranglerFlags, String> {
        let mut flags = Vec::new();
        let mut words = words.commands().iter().map(|word| word.trim());
        while let Some(word) = words.next() {
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (word, None),
            };
            let Some(allowed) = find(name) else {
                let known: Vec<String> =
                    ALLOWED.iter().map(|allowed| format!("`{}`", allowed.name)).collect();
                return Err(format!(
                    "unknown flag `{name}` in `xtask.wrangler`, which may have {}; each flag is one text, and other \
                     settings belong into the wrangler config",
                    known.join(", ")
                ));
            };
            let value = match value {
                None if allowed.has_value => words.next(),
                value => value,
            };
            match (allowed.has_value, value) {
                (true, Some(value)) => flags.push(format!("{name}={value}")),
                (true, None) => return Err(format!("`xtask.wrangler`: `{name}` has no value")),
                (false, None) => flags.push(name.to_owned()),
                (false, Some(_)) => {
                    return Err(format!(
                        "`xtask.wrangler`: `{name}` takes no value, found `{word}`"
                    ));
                }
            }
        }
        Ok(WranglerFlags(flags))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<WranglerFlags, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn each_flag_goes_to_its_step() {
        for (text, bundle, upload) in [
            (r#"["--minify", "--keep-vars"]"#, &["--minify"][..], &["--keep-vars"][..]),
            (r#"["--define", "A:'1'", "--no-bundle"]"#, &["--define=A:'1'", "--no-bundle"], &[]),
            (r#"["--define=A:\"x=y\""]"#, &["--define=A:\"x=y\""], &[]),
            (r#""--upload-source-maps""#, &["--upload-source-maps"], &["--upload-source-maps"]),
            ("[]", &[], &[]),
        ] {
            let flags = parse(text).expect(text);
            assert_eq!(
                (flags.for_bundle(), flags.for_upload()),
                (
                    bundle.iter().map(|&word| word.to_owned()).collect(),
                    upload.iter().map(|&word| word.to_owned()).collect(),
                ),
                "{text}"
            );
        }
    }

    #[test]
    fn other_flags_are_refused() {
        for text in [
            r#"["--env=production"]"#,
            r#"["--config", "other.toml"]"#,
            r#"["--routes", "example.com/*"]"#,
            r#"["--secrets-file=.env"]"#,
            r#"["--minify --keep-vars"]"#,
            r#"["dist"]"#,
            r#"["--minfy"]"#,
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.starts_with("unknown flag `"), "{text}: {error}");
        }
        assert_eq!(
            parse(r#"["--define"]"#).expect_err("a value"),
            "`xtask.wrangler`: `--define` has no value"
        );
        assert_eq!(
            parse(r#"["--minify=false"]"#).expect_err("no value"),
            "`xtask.wrangler`: `--minify` takes no value, found `--minify=false`"
        );
    }
}
