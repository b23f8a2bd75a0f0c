//! `.dev.vars`: the local values of a project's secrets.

use std::collections::BTreeMap;
use std::fmt;

use camino::{Utf8Path, Utf8PathBuf};

use crate::files::limits::without_bom;
use crate::files::symlinks;
use crate::wrangler::Target;
use base::error::Result;

/// The name of the file. A file with the suffix `.ENVIRONMENT` replaces it in that environment.
pub const DEV_VARS: &str = ".dev.vars";

/// The default values of a project's secrets.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct DevVars {
    /// The file, relative to the repository's root.
    pub path: Utf8PathBuf,
    /// The values by name.
    pub values: BTreeMap<String, String>,
}

/// Hides the values.
impl fmt::Debug for DevVars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.values.keys().collect();
        f.debug_struct("DevVars").field("path", &self.path).field("names", &names).finish()
    }
}

impl DevVars {
    /// Reads the values for the secrets of `target`: those that its config requires, or all if the config has no list.
    /// `.dev.vars.ENVIRONMENT` replaces `.dev.vars`, as in wrangler. Variables of the config keep their values. `None`
    /// if there is no file, or no secret in it.
    pub fn read(
        root: &Utf8Path,
        dir: &Utf8Path,
        environment: &str,
        target: &Target,
    ) -> Result<Option<DevVars>> {
        let names = [format!("{DEV_VARS}.{environment}"), DEV_VARS.to_owned()];
        let path = names.iter().map(|name| dir.join(name)).find(|path| root.join(path).is_file());
        let Some(path) = path else { return Ok(None) };
        let text = symlinks::read(root, &path)?;
        let mut values = parse(&text);
        values.retain(|name, _| {
            let is_wanted =
                target.required_secrets.as_ref().is_none_or(|required| required.contains(name));
            is_wanted && !target.variables.contains(name)
        });
        Ok((!values.is_empty()).then_some(DevVars { path, values }))
    }
}

/// Parses lines of `NAME=value` as the npm package `dotenv` does, which wrangler uses. A quoted value may have several
/// lines. The last of repeated names counts.
fn parse(text: &str) -> BTreeMap<String, String> {
    let text = without_bom(text).replace("\r\n", "\n").replace('\r', "\n");
    let mut values = BTreeMap::new();
    let mut rest = text.as_str();
    while !rest.is_empty() {
        match DevVarsEntry::parse(rest) {
            Some(entry) => {
                values.insert(entry.name.to_owned(), entry.value);
                rest = entry.rest;
            }
            None => rest = rest.split_once('\n').map_or("", |(_, after)| after),
        }
    }
    values
}

/// An entry of a `.dev.vars`.
struct DevVarsEntry<'t> {
    name: &'t str,
    value: String,
    /// The text after it.
    rest: &'t str,
}

impl DevVarsEntry<'_> {
    /// Parses the entry at the start of `text`. `None` if the first line has no entry.
    fn parse(text: &str) -> Option<DevVarsEntry<'_>> {
        let start = text.trim_start();
        let start = match start.strip_prefix("export") {
            Some(rest) if rest.starts_with([' ', '\t']) => rest.trim_start(),
            _ => start,
        };
        let is_name = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        let end = start.find(|c| !is_name(c)).filter(|end| *end > 0)?;
        let (name, rest) = start.split_at(end);
        let blank = |c: char| c == ' ' || c == '\t';
        let value = match rest.trim_start_matches(blank).strip_prefix('=') {
            Some(value) => value,
            None => rest.strip_prefix(':')?.strip_prefix(blank)?,
        };
        let value = value.trim_start_matches(blank);
        if let Some(quote) = value.chars().next().filter(|c| ['"', '\'', '`'].contains(c))
            && let Some((inner, after)) = split_quoted(&value[1..], quote)
        {
            let line = after.split('\n').next().unwrap_or_default();
            let is_end = line.trim().is_empty() || line.trim_start().starts_with('#');
            if is_end {
                let inner = match quote {
                    '"' => inner.replace("\\n", "\n").replace("\\r", "\r"),
                    _ => inner.to_owned(),
                };
                return Some(DevVarsEntry { name, value: inner, rest: &after[line.len()..] });
            }
        }
        let line = value.split('\n').next().unwrap_or_default();
        let bare = line.split('#').next().unwrap_or_default().trim();
        Some(DevVarsEntry { name, value: bare.to_owned(), rest: &value[line.len()..] })
    }
}

/// Returns the text up to the closing quote, and the text after it. A quote after a backslash does not end the text.
fn split_quoted(text: &str, quote: char) -> Option<(&str, &str)> {
    let mut is_escaped = false;
    for (at, c) in text.char_indices() {
        if c == quote && !is_escaped {
            return Some((&text[..at], &text[at + quote.len_utf8()..]));
        }
        is_escaped = c == '\\' && !is_escaped;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected values are what dotenv 16.3.1 returns for the same lines.
    #[test]
    fn lines_are_read_as_dotenv_reads_them() {
        for (text, name, expected) in [
            ("A=1", "A", Some("1")),
            ("  export A = two words  ", "A", Some("two words")),
            ("A: yaml", "A", Some("yaml")),
            ("A=", "A", Some("")),
            ("A=x#y", "A", Some("x")),
            ("A='x # y' # comment", "A", Some("x # y")),
            ("A=\"one\\ntwo\"", "A", Some("one\ntwo")),
            ("A='one\\ntwo'", "A", Some("one\\ntwo")),
            ("A=`it's \"so\"`", "A", Some("it's \"so\"")),
            ("A=\"-----BEGIN\nline\n-----END\"\nB=2", "B", Some("2")),
            ("A=\"-----BEGIN\nline\n-----END\"\nB=2", "A", Some("-----BEGIN\nline\n-----END")),
            ("A='open\nB=2", "B", Some("2")),
            ("\u{feff}A=1\r\nB=2\r\n", "B", Some("2")),
            ("\u{feff}A=1\r\nB=2\r\n", "A", Some("1")),
            ("# A=1\nno entry\nA=3\nA=4", "A", Some("4")),
            ("A={\"k\": \"v=w\"}", "A", Some("{\"k\": \"v=w\"}")),
            ("A", "A", None),
        ] {
            assert_eq!(parse(text).get(name).map(String::as_str), expected, "{text:?}");
        }
    }

    #[test]
    fn values_are_in_no_debug_output() {
        let values = BTreeMap::from([("A".to_owned(), "private".to_owned())]);
        let shown = format!("{:?}", DevVars { path: "a/.dev.vars".into(), values });
        assert_eq!(shown, r#"DevVars { path: "a/.dev.vars", names: ["A"] }"#);
    }
}
