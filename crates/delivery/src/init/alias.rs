//! Adds the alias `cargo xtask` to a Cargo config, which may exist.

use std::collections::BTreeMap;

use serde_json::Value;

use workspace::modules::TOOL;

/// The change to a Cargo config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alias {
    /// The alias exists.
    Present,
    /// The file's new text.
    Addition(String),
    /// Another `xtask` alias exists, or the file cannot be parsed.
    Conflict,
}

/// The arguments of Cargo that show a progress bar while it compiles, and nothing if it does not.
/// Without them, each command would begin with Cargo's `Finished` and `Running`. The bar fits 40 columns.
const PROGRESS: &str =
    "--quiet --config term.progress.when='always' --config term.progress.width=54";

/// Returns the line of the alias.
#[must_use]
pub fn line() -> String {
    format!("{TOOL} = \"{}\"", command())
}

fn command() -> String {
    format!("run {PROGRESS} --manifest-path {TOOL}/Cargo.toml --")
}

/// Returns the alias that earlier versions wrote.
fn earlier_command() -> String {
    format!("run --quiet --manifest-path {TOOL}/Cargo.toml --")
}

/// Returns the change to the Cargo config `text`. `None` is a file that does not exist.
#[must_use]
pub fn merge(text: Option<&str>) -> Alias {
    let Some(text) = text.filter(|text| !text.trim().is_empty()) else {
        return Alias::Addition(format!("[alias]\n{}\n", line()));
    };
    let Some(before) = parse(text) else {
        return Alias::Conflict;
    };
    match &before["alias"][TOOL] {
        Value::Null => {}
        Value::String(there) if *there == command() => return Alias::Present,
        Value::String(there) if *there == earlier_command() => {
            let merged = text.replacen(&format!("\"{there}\""), &format!("\"{}\"", command()), 1);
            return only_addition(before, merged);
        }
        _ => return Alias::Conflict,
    }
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let header =
        |line: &String| line.split('#').next().is_some_and(|line| line.trim() == "[alias]");
    match lines.iter().position(header) {
        Some(at) => lines.insert(at + 1, line()),
        None => lines.extend([String::new(), "[alias]".to_owned(), line()]),
    }
    only_addition(before, lines.join("\n") + "\n")
}

/// Returns `merged` if only the alias differs from the config `before`, independent of the formatting.
fn only_addition(before: Value, merged: String) -> Alias {
    let mut wanted = before;
    if wanted["alias"].is_null() {
        wanted["alias"] = Value::Object(serde_json::Map::new());
    }
    wanted["alias"][TOOL] = command().into();
    match parse(&merged) {
        Some(after) if after == wanted => Alias::Addition(merged),
        _ => Alias::Conflict,
    }
}

fn parse(text: &str) -> Option<Value> {
    let table: BTreeMap<String, Value> = toml::from_str(text).ok()?;
    serde_json::to_value(table).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_the_alias_to_an_existing_config() {
        let alias = line();
        for (text, expected) in [
            (None, format!("[alias]\n{alias}\n")),
            (Some("[build]\njobs = 2\n"), format!("[build]\njobs = 2\n\n[alias]\n{alias}\n")),
            (
                Some("[alias] # ours\nb = \"build\"\n\n[net]\noffline = true"),
                format!("[alias] # ours\n{alias}\nb = \"build\"\n\n[net]\noffline = true\n"),
            ),
        ] {
            assert_eq!(merge(text), Alias::Addition(expected.clone()));
            assert_eq!(merge(Some(&expected)), Alias::Present);
        }
    }

    #[test]
    fn replaces_a_previous_alias() {
        let there = "[net]\noffline = true\n[alias]\nb = \"build\"\nxtask = \"run --quiet --manifest-path xtask/Cargo.toml --\" # ours\n";
        let expected =
            format!("[net]\noffline = true\n[alias]\nb = \"build\"\n{} # ours\n", line());
        assert_eq!(merge(Some(there)), Alias::Addition(expected.clone()));
        assert_eq!(merge(Some(&expected)), Alias::Present);
    }

    #[test]
    fn keeps_a_config_that_it_cannot_merge() {
        for text in [
            "[alias]\nxtask = \"run -p xtask --\"\n",
            "alias = { b = \"build\" }\n",
            "alias.b = \"build\"\n",
            "no toml",
        ] {
            assert_eq!(merge(Some(text)), Alias::Conflict, "{text}");
        }
    }
}
