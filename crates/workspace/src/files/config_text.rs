//! Parses JSON, JSONC and TOML, as leniently as the tools that the files belong to.

use camino::Utf8Path;
use serde_json::Value;

use crate::files::limits::{self, Syntax};

/// Parses a config by the extension of its path: TOML for `toml`, else JSON with comments and trailing
/// commas. The last of repeated keys counts in JSON. The error names the line if the parser knows it.
pub fn parse_config(path: &Utf8Path, text: &str) -> Result<Value, String> {
    let text = limits::without_bom(text);
    if path.extension() == Some("toml") { parse_toml(text) } else { parse_jsonc(text) }
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

/// Parses TOML. Dates become strings, as in wrangler.
fn parse_toml(text: &str) -> Result<Value, String> {
    limits::check(text, Syntax::Toml)?;
    match toml::from_str::<toml::Table>(text) {
        Ok(table) => Ok(from_toml(toml::Value::Table(table))),
        Err(error) => {
            let start = error.span().map_or(0, |span| span.start).min(text.len());
            let line = text.as_bytes()[..start].iter().filter(|byte| **byte == b'\n').count() + 1;
            let message = error.message().trim().replace('\n', ", ");
            Err(format!("{message} on line {line}"))
        }
    }
}

fn from_toml(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::String(text),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => number.into(),
        toml::Value::Boolean(flag) => flag.into(),
        toml::Value::Datetime(date) => Value::String(date.to_string()),
        toml::Value::Array(items) => items.into_iter().map(from_toml).collect(),
        toml::Value::Table(table) => {
            let entries = table.into_iter().map(|(key, value)| (key, from_toml(value)));
            Value::Object(entries.collect())
        }
    }
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
