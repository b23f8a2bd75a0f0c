//! Parses JSON, JSONC and TOML, as leniently as the tools that the files belong to.

use camino::Utf8Path;
use serde_json::Value;

use crate::files::limits::{self, Syntax};

/// Parses a config by the extension of its path: TOML for `toml`, else JSON with comments and trailing
/// commas. The last of repeated keys counts in JSON. The error names the line if the parser knows it.
pub fn parse_config(path: &Utf8Path, text: &str) -> Result<Value, String> {
    parse_config_with_dates(path, text).map(|(value, _)| value)
}

/// Parses a config like [`parse_config`]. Also returns the paths of the values that are dates of TOML, such as
/// `env.staging.compatibility_date`. wrangler accepts no date as a string.
pub fn parse_config_with_dates(
    path: &Utf8Path,
    text: &str,
) -> Result<(Value, Vec<String>), String> {
    let text = limits::without_bom(text);
    if path.extension() == Some("toml") {
        parse_toml(text)
    } else {
        parse_jsonc(text).map(|value| (value, Vec::new()))
    }
}

/// Parses JSON with comments and trailing commas.
pub fn parse_jsonc(text: &str) -> Result<Value, String> {
    let text = limits::without_bom(text);
    limits::check(text, Syntax::Json)?;
    parse_checked_jsonc(text)
}

/// Parses JSON with comments and trailing commas. The caller has checked the size and depth of the text.
pub(crate) fn parse_checked_jsonc(text: &str) -> Result<Value, String> {
    let options = jsonc_parser::ParseOptions::default();
    jsonc_parser::parse_to_serde_value::<Value>(text, &options).map_err(|error| error.to_string())
}

/// Parses TOML. Dates become strings. Also returns their paths.
fn parse_toml(text: &str) -> Result<(Value, Vec<String>), String> {
    limits::check(text, Syntax::Toml)?;
    match toml::from_str::<toml::Table>(text) {
        Ok(table) => {
            let mut dates = Vec::new();
            let value = from_toml(toml::Value::Table(table), &mut dates);
            Ok((value, dates))
        }
        Err(error) => {
            let start = error.span().map_or(0, |span| span.start).min(text.len());
            let line = text.as_bytes()[..start].iter().filter(|byte| **byte == b'\n').count() + 1;
            let message = error.message().trim().replace('\n', ", ");
            Err(format!("{message} on line {line}"))
        }
    }
}

/// Converts a value. Adds the paths of its dates, relative to the value, to `dates`.
fn from_toml(value: toml::Value, dates: &mut Vec<String>) -> Value {
    match value {
        toml::Value::String(text) => Value::String(text),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => number.into(),
        toml::Value::Boolean(flag) => flag.into(),
        toml::Value::Datetime(date) => {
            dates.push(String::new());
            Value::String(date.to_string())
        }
        toml::Value::Array(items) => {
            let items = items.into_iter().enumerate();
            items.map(|(index, item)| from_toml_at(&format!("[{index}]"), item, dates)).collect()
        }
        toml::Value::Table(table) => {
            let entries = table.into_iter().map(|(key, value)| {
                let value = from_toml_at(&key, value, dates);
                (key, value)
            });
            Value::Object(entries.collect())
        }
    }
}

/// Converts the value of a key or an index, which begins the paths of its dates.
fn from_toml_at(at: &str, value: toml::Value, dates: &mut Vec<String>) -> Value {
    let before = dates.len();
    let value = from_toml(value, dates);
    for path in &mut dates[before..] {
        let dot = if path.is_empty() || path.starts_with('[') { "" } else { "." };
        *path = format!("{at}{dot}{path}");
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(path: &str, text: &str) -> Result<Value, String> {
        parse_config(Utf8Path::new(path), text)
    }

    #[test]
    fn reads_every_config_that_wrangler_reads() {
        for (path, text, expected) in [
            ("a.json", "\u{feff}{ \"a\": 1, }", r#"{"a":1}"#),
            ("a.json", "{ /* one */ \"a\": 1, \"a\": 2 }", r#"{"a":2}"#),
            ("a.jsonc", "{ \"a\": [1,], // two\n }", r#"{"a":[1]}"#),
            ("a.toml", "\u{feff}a = 2024-01-31", r#"{"a":"2024-01-31"}"#),
            (
                "a.toml",
                "routes = [\"a.com/*\", { pattern = \"b.com\", custom_domain = true }]\n",
                r#"{"routes":["a.com/*",{"pattern":"b.com","custom_domain":true}]}"#,
            ),
            (
                "a.toml",
                "a = 1\r\n[env.\"my env\"]\r\nt = 07:32:00\n",
                r#"{"a":1,"env":{"my env":{"t":"07:32:00"}}}"#,
            ),
        ] {
            let expected: Value = serde_json::from_str(expected).expect("JSON");
            assert_eq!(parse(path, text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn dates_of_toml_have_their_paths() {
        let text = "a = 2024-01-31\nb = \"2024-01-31\"\nc = [1, 07:32:00]\n[env.x.vars]\nd = 2024-01-31T07:32:00Z\n";
        let (_, dates) = parse_config_with_dates(Utf8Path::new("a.toml"), text).expect("TOML");
        assert_eq!(dates, ["a", "c[1]", "env.x.vars.d"]);
    }

    #[test]
    fn errors_name_the_line() {
        for (path, text) in [
            ("a.jsonc", "{\n \"a\" 1 }"),
            ("a.toml", "b = 1\na = \n"),
            ("a.toml", "a = 1\na = 2\n"),
        ] {
            let error = parse(path, text).expect_err("an error");
            assert!(error.contains("line 2"), "{text}: {error}");
        }
    }
}
