//! `deny.toml`, checked over `cargo metadata`: licences, denied crates, wildcards, sources,
//! duplicates. Where `cargo deny` is installed it looks as well, and at advisories too.

mod policy;

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use policy::{Findings, Metadata, Policy};

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository")
}

fn file() -> String {
    std::fs::read_to_string(repository().join("deny.toml")).expect("deny.toml")
}

#[test]
fn every_crate_follows_deny_toml() {
    let policy = Policy::parse(&file()).expect("deny.toml is read");
    let output = Command::new(env!("CARGO"))
        .current_dir(repository())
        .args(["metadata", "--locked", "--format-version", "1"])
        .args(policy.graph_arguments())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Metadata = serde_json::from_slice(&output.stdout).expect("metadata");
    let Findings { errors, warnings, crates } = policy.check(&metadata);
    assert!(errors.is_empty(), "{errors:#?}");
    assert!(crates > 100, "the list cannot be read any more: {crates} crates");
    // Past the test runner, which shows what is printed only when a test fails.
    let mut out = std::io::stdout();
    let warnings = warnings.iter().map(|warning| format!("warning: {warning}\n"));
    let text =
        format!("{}{crates} crates are as deny.toml wants them\n", warnings.collect::<String>());
    out.write_all(text.as_bytes()).expect("stdout");
}

/// Returns the findings for these crates, of which each depends on the ones after it.
fn findings_of(packages: &[String]) -> Findings {
    let ids: Vec<String> = (0..packages.len()).map(|index| format!("\"{index}\"")).collect();
    let crates = packages.iter().zip(&ids).map(|(package, id)| package.replace("\"ID\"", id));
    let nodes = ids.iter().enumerate().map(|(index, id)| {
        format!(r#"{{"id": {id}, "dependencies": [{}]}}"#, ids[index + 1..].join(","))
    });
    let text = format!(
        r#"{{"packages": [{}], "resolve": {{"nodes": [{}]}}}}"#,
        crates.collect::<Vec<_>>().join(","),
        nodes.collect::<Vec<_>>().join(",")
    );
    let metadata = serde_json::from_str(&text).expect("metadata");
    Policy::parse(&file()).expect("deny.toml is read").check(&metadata)
}

fn one(package: String) -> Vec<String> {
    findings_of(&[package]).errors
}

fn with(license: &str, name: &str, source: &str, dependencies: &str) -> String {
    format!(
        r#"{{"id": "ID", "name": "{name}", "version": "2.0.0", "license": {license}, "publish": null,
            "source": {source}, "dependencies": [{dependencies}]}}"#
    )
}

#[test]
fn licences_are_read_as_expressions() {
    let licensed = |license: &str| one(with(&format!("\"{license}\""), "two", "null", ""));
    for good in [
        "MIT",
        "GPL-3.0-only OR MIT",
        "MIT/Apache-2.0",
        "(GPL-3.0-only OR ISC) AND BSD-3-Clause",
        "Apache-2.0 WITH LLVM-exception",
    ] {
        assert_eq!(licensed(good), Vec::<String>::new(), "{good}");
    }
    for bad in ["GPL-3.0-only", "MIT AND GPL-3.0-only", "MIT WITH LLVM-exception"] {
        assert_eq!(licensed(bad), [format!("two 2.0.0: `{bad}` is not allowed")]);
    }
    assert!(licensed("my own")[0].contains("no licence expression"));
    assert_eq!(one(with("null", "two", "null", "")), ["two 2.0.0: it names no licence"]);
}

#[test]
fn denied_crates_wildcards_and_sources_are_errors() {
    let errors_of = |name: &str, source: &str, dependencies: &str| {
        one(with("\"MIT\"", name, source, dependencies))
    };
    assert_eq!(errors_of("openssl-sys", "null", ""), ["openssl-sys 2.0.0 is denied"]);
    let wild = r#"{"name": "serde", "req": "*"}"#;
    assert_eq!(errors_of("two", "null", wild), ["two 2.0.0: any version of serde will do"]);
    for source in
        ["git+https://example.com/two.git?branch=main#0123", "registry+https://example.com"]
    {
        let found = errors_of("two", &format!("\"{source}\""), "");
        assert_eq!(found, [format!("two 2.0.0 is from {source}")]);
    }
}

#[test]
fn an_exception_applies_to_its_crate_only() {
    let exception = r#"exceptions = [{ crate = "two", allow = ["MPL-2.0"] }]"#;
    let text = file().replacen("[licenses]", &format!("[licenses]\n{exception}"), 1);
    let policy = Policy::parse(&text).expect("read");
    let check = |name| {
        let package = with("\"MPL-2.0\"", name, "null", "");
        let text = format!(r#"{{"packages": [{package}], "resolve": {{"nodes": []}}}}"#);
        policy.check(&serde_json::from_str(&text).expect("metadata")).errors
    };
    assert_eq!(check("two"), Vec::<String>::new());
    assert_eq!(check("three"), ["three 2.0.0: `MPL-2.0` is not allowed"]);
}

#[test]
fn warns_about_two_versions_and_names_their_dependents() {
    let two = with("\"MIT\"", "two", "null", "");
    let found = findings_of(&[
        with("\"MIT\"", "three", "null", ""),
        two.clone(),
        with("\"MIT\"", "four", "null", ""),
        two.replace("2.0.0", "3.0.0"),
    ]);
    assert_eq!(found.errors, Vec::<String>::new());
    assert_eq!(found.warnings[0], "two 2.0.0 for three, 3.0.0 for three and two and four");
}

#[test]
fn refuses_an_unsupported_key() {
    for (after, key) in [("[bans]", "skip = []"), ("[licenses]", "copyleft = \"deny\"")] {
        let text = file().replacen(after, &format!("{after}\n{key}"), 1);
        let error = Policy::parse(&text).expect_err("refused");
        assert!(error.contains("unknown field"), "{error}");
    }
}
