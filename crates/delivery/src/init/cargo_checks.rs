//! Finds what prevents the new crate from being compiled in a repository with Cargo files.

use camino::Utf8Path;
use serde_json::Value;

use workspace::cargo_config;
use workspace::modules::TOOL;
use workspace::pattern::Patterns;

/// Returns a warning for each setting of the repository that `cargo xtask` would fail with, with the next step.
#[must_use]
pub fn warnings(root: &Utf8Path) -> Vec<String> {
    let read = |path: &Utf8Path| {
        let text = std::fs::read_to_string(root.join(path)).ok()?;
        cargo_config::parse(&text)
    };
    let path = cargo_config::file(root);
    let source = read(path).and_then(|config| of_source(path, &config));
    let members = read(Utf8Path::new("Cargo.toml")).and_then(|manifest| of_members(&manifest));
    source.into_iter().chain(members).collect()
}

/// Returns the warning of a config without access to crates.io.
fn of_source(path: &Utf8Path, config: &Value) -> Option<String> {
    let source = &config["source"];
    let replacement = source["crates-io"]["replace-with"].as_str();
    if let Some(folder) = replacement.and_then(|name| source[name]["directory"].as_str()) {
        return Some(format!(
            "{path} replaces crates.io by the folder {folder}, which lacks the crates of {TOOL}: run \
             `cargo vendor --sync {TOOL}/Cargo.toml {folder}` and add the sources that it prints to {path}"
        ));
    }
    (config["net"]["offline"] == true).then(|| {
        format!(
            "{path} has `net.offline`: run `cargo --config net.offline=false fetch --manifest-path {TOOL}/Cargo.toml` once \
             on each machine"
        )
    })
}

/// Returns the warning of a workspace whose patterns take the new crate in. Cargo allows no workspace in a workspace.
fn of_members(manifest: &Value) -> Option<String> {
    let patterns = |field: &str| -> Vec<&str> {
        let list = manifest["workspace"][field].as_array();
        list.into_iter().flatten().filter_map(Value::as_str).collect()
    };
    let contains = |patterns: &[&str]| {
        Patterns::new(patterns).is_ok_and(|patterns| patterns.matches(Utf8Path::new(TOOL)))
    };
    let member = patterns("members").into_iter().find(|pattern| contains(&[pattern]))?;
    (!contains(&patterns("exclude"))).then(|| {
        format!(
            "`members` in Cargo.toml has `{member}`, which contains {TOOL}: add `exclude = [\"{TOOL}\"]` to its \
             `[workspace]`, or Cargo fails in every folder"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Value {
        cargo_config::parse(text).expect("TOML")
    }

    #[test]
    fn sources_without_the_crates_have_a_warning() {
        let path = Utf8Path::new(".cargo/config.toml");
        let vendored = "[source.crates-io]\nreplace-with = \"vendored\"\n[source.vendored]\ndirectory = \"third_party\"\n";
        expect_test::expect![[
            r#"Some(".cargo/config.toml replaces crates.io by the folder third_party, which lacks the crates of xtask: run `cargo vendor --sync xtask/Cargo.toml third_party` and add the sources that it prints to .cargo/config.toml")"#
        ]]
        .assert_eq(&format!("{:?}", of_source(path, &parse(vendored))));
        expect_test::expect![[
            r#"Some(".cargo/config.toml has `net.offline`: run `cargo --config net.offline=false fetch --manifest-path xtask/Cargo.toml` once on each machine")"#
        ]]
        .assert_eq(&format!("{:?}", of_source(path, &parse("[net]\noffline = true\n"))));
        for text in [
            "",
            "[net]\noffline = false\n",
            "[source.crates-io]\nreplace-with = \"mirror\"\n[source.mirror]\nregistry = \"sparse+https://crates.example.com/\"\n",
        ] {
            assert_eq!(of_source(path, &parse(text)), None, "{text}");
        }
    }

    #[test]
    fn a_workspace_that_takes_the_crate_in_has_a_warning() {
        for (text, has_warning) in [
            ("[workspace]\nmembers = [\"x*\"]\n", true),
            ("[workspace]\nmembers = [\"packages/*\", \"*\"]\n", true),
            ("[workspace]\nmembers = [\"xtask\"]\n", true),
            ("[workspace]\nmembers = [\"*\"]\nexclude = [\"xtask\"]\n", false),
            ("[workspace]\nmembers = [\"packages/*\"]\n", false),
            ("[package]\nname = \"x\"\n", false),
        ] {
            assert_eq!(of_members(&parse(text)).is_some(), has_warning, "{text}");
        }
    }
}
