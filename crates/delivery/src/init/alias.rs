//! Adds the alias `cargo xtask` to a Cargo config, which may exist.

use camino::Utf8PathBuf;
use serde_json::Value;

use workspace::cargo_config::{has_build_target, parse};
use workspace::modules::TOOL;

/// The change to a Cargo config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alias {
    /// The alias exists.
    Present,
    /// The file's new text.
    Addition(String),
    /// The file is not changed, and this step remains.
    ManualStep {
        /// The step.
        note: String,
    },
}

/// The arguments of Cargo that show a progress bar while it compiles, and nothing if it does not.
/// Without them, each command would begin with Cargo's `Finished` and `Running`. The bar fits 40 columns.
const PROGRESS: &str =
    "--quiet --config term.progress.when='always' --config term.progress.width=54";

/// Returns the line of the alias in `config`, which may be null.
fn line(config: &Value) -> String {
    format!("{TOOL} = \"{}\"", command(config))
}

fn command(config: &Value) -> String {
    let target = if has_build_target(config) { "--target host-tuple " } else { "" };
    format!("run {PROGRESS} {target}--manifest-path {TOOL}/Cargo.toml --")
}

/// Returns the alias that earlier versions wrote.
fn earlier_command() -> String {
    format!("run --quiet --manifest-path {TOOL}/Cargo.toml --")
}

/// Returns the change to the Cargo config `text`. `None` is a file that does not exist.
#[must_use]
pub fn merge(text: Option<&str>) -> Alias {
    let Some(text) = text.filter(|text| !text.trim().is_empty()) else {
        return Alias::Addition(format!("[alias]\n{}\n", line(&Value::Null)));
    };
    let Some(before) = parse(text) else {
        let note = format!("correct it, which is not TOML, then add `{}`", line(&Value::Null));
        return Alias::ManualStep { note };
    };
    let command = command(&before);
    match &before["alias"][TOOL] {
        Value::Null => {}
        Value::String(there) if *there == command => return Alias::Present,
        Value::String(there) if *there == earlier_command() => {
            let merged = text.replacen(&format!("\"{there}\""), &format!("\"{command}\""), 1);
            return only_addition(before, merged);
        }
        there => return Alias::ManualStep { note: step_beside_another(there, &before) },
    }
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let header =
        |line: &String| line.split('#').next().is_some_and(|line| line.trim() == "[alias]");
    match lines.iter().position(header) {
        Some(at) => lines.insert(at + 1, line(&before)),
        None => lines.extend([String::new(), "[alias]".to_owned(), line(&before)]),
    }
    only_addition(before, lines.join("\n") + "\n")
}

/// Returns `merged` if only the alias differs from the config `before`, independent of the formatting.
fn only_addition(before: Value, merged: String) -> Alias {
    let note = format!("add this line to its aliases: `{}`", line(&before));
    let command = command(&before);
    let mut wanted = before;
    if wanted["alias"].is_null() {
        wanted["alias"] = Value::Object(serde_json::Map::new());
    }
    wanted["alias"][TOOL] = command.into();
    match parse(&merged) {
        Some(after) if after == wanted => Alias::Addition(merged),
        _ => Alias::ManualStep { note },
    }
}

/// The crate that an alias `xtask` runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AliasCrate {
    /// The crate with this manifest, relative to the root.
    Manifest(Utf8PathBuf),
    /// The crate or program with this name.
    Name(String),
}

/// Returns the crate that the alias of the Cargo config `text` runs. `None` if there is no alias, or if `init` wrote it.
#[must_use]
pub fn find_crate(text: &str) -> Option<AliasCrate> {
    let config = parse(text)?;
    let alias = &config["alias"][TOOL];
    if [command(&config), earlier_command()].iter().any(|own| alias.as_str() == Some(own)) {
        return None;
    }
    let words = words(alias);
    let value = |options: &[&str]| {
        let pairs = words.windows(2).filter(|pair| options.contains(&pair[0])).map(|pair| pair[1]);
        let joined = words.iter().filter_map(|word| {
            let (option, value) = word.split_once('=')?;
            options.contains(&option).then_some(value)
        });
        pairs.chain(joined).next()
    };
    let manifest = value(&["--manifest-path"])
        .map(|path| AliasCrate::Manifest(path.strip_prefix("./").unwrap_or(path).into()));
    manifest.or_else(|| Some(AliasCrate::Name(value(&["-p", "--package", "--bin"])?.to_owned())))
}

/// Returns the words of an alias, which is a text or a list.
fn words(alias: &Value) -> Vec<&str> {
    match alias {
        Value::Array(words) => words.iter().filter_map(Value::as_str).collect(),
        text => text.as_str().unwrap_or_default().split_whitespace().collect(),
    }
}

/// Returns the step that remains because an alias `xtask` exists in `config`.
fn step_beside_another(there: &Value, config: &Value) -> String {
    format!("rename its alias `{TOOL}` (`{}`), then add `{}`", words(there).join(" "), line(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_the_alias_to_an_existing_config() {
        let alias = line(&Value::Null);
        let of_host = alias.replace("--manifest-path", "--target host-tuple --manifest-path");
        for (text, expected) in [
            (None, format!("[alias]\n{alias}\n")),
            (Some("[build]\njobs = 2\n"), format!("[build]\njobs = 2\n\n[alias]\n{alias}\n")),
            (
                Some("[alias] # ours\nb = \"build\"\n\n[net]\noffline = true"),
                format!("[alias] # ours\n{alias}\nb = \"build\"\n\n[net]\noffline = true\n"),
            ),
            (
                Some("[build]\ntarget = \"wasm32-unknown-unknown\"\n"),
                format!("[build]\ntarget = \"wasm32-unknown-unknown\"\n\n[alias]\n{of_host}\n"),
            ),
        ] {
            assert_eq!(merge(text), Alias::Addition(expected.clone()));
            assert_eq!(merge(Some(&expected)), Alias::Present);
        }
    }

    #[test]
    fn replaces_a_previous_alias() {
        let there = "[net]\noffline = true\n[alias]\nb = \"build\"\nxtask = \"run --quiet --manifest-path xtask/Cargo.toml --\" # ours\n";
        let alias = line(&Value::Null);
        let expected = format!("[net]\noffline = true\n[alias]\nb = \"build\"\n{alias} # ours\n");
        assert_eq!(merge(Some(there)), Alias::Addition(expected.clone()));
        assert_eq!(merge(Some(&expected)), Alias::Present);
    }

    #[test]
    fn keeps_a_config_that_it_cannot_merge() {
        let alias = line(&Value::Null);
        let add = format!("add this line to its aliases: `{alias}`");
        for (text, expected) in [
            (
                "[alias]\nxtask = \"run -p tasks --\"\n",
                format!("rename its alias `xtask` (`run -p tasks --`), then add `{alias}`"),
            ),
            ("alias = { b = \"build\" }\n", add.clone()),
            ("alias.b = \"build\"\n", add),
            ("no toml", format!("correct it, which is not TOML, then add `{alias}`")),
        ] {
            assert_eq!(merge(Some(text)), Alias::ManualStep { note: expected }, "{text}");
        }
    }

    #[test]
    fn finds_the_crate_of_an_alias() {
        let name = |name: &str| Some(AliasCrate::Name(name.to_owned()));
        let manifest = |path: &str| Some(AliasCrate::Manifest(path.into()));
        for (alias, expected) in [
            ("\"run -p xtask --\"", name("xtask")),
            ("[\"run\", \"--package=tasks\"]", name("tasks")),
            ("\"run --quiet --bin build-tool --\"", name("build-tool")),
            (
                "\"run --manifest-path ./tools/xtask/Cargo.toml --\"",
                manifest("tools/xtask/Cargo.toml"),
            ),
            ("\"run --manifest-path=xtask/Cargo.toml -p other --\"", manifest("xtask/Cargo.toml")),
            ("\"build\"", None),
        ] {
            let text = format!("[alias]\nxtask = {alias}\n");
            assert_eq!(find_crate(&text), expected, "{alias}");
        }
        assert_eq!(find_crate("[alias]\nb = \"build\"\n"), None);
        let Alias::Addition(own) = merge(None) else { panic!("an alias") };
        assert_eq!(find_crate(&own), None);
    }
}
