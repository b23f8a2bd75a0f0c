//! The crates that people compile before their first command stay light.

use std::collections::BTreeSet;
use std::process::Command;

use crate::support::repository;

const FORBIDDEN: [&str; 5] = ["tokio", "regex", "openssl-sys", "aws-lc-sys", "native-tls"];

#[test]
fn xtask_compiles_no_heavy_crate() {
    let output = Command::new(env!("CARGO"))
        .current_dir(repository())
        .args(["tree", "--locked", "--package", "xtask", "--edges", "normal,build"])
        .args(["--prefix", "none", "--no-dedupe", "--format", "{p}"])
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let crates: BTreeSet<(&str, &str)> = text
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            Some((words.next()?, words.next()?))
        })
        .filter(|(name, _)| *name != "xtask")
        .collect();
    for name in FORBIDDEN {
        assert!(!crates.iter().any(|(found, _)| *found == name), "{name} came in");
    }
    assert!(crates.len() > 20, "the list cannot be read any more: {text}");
}

#[test]
fn every_dependency_has_a_reason() {
    let crates = ["base", "workspace", "cloudflare", "gitlab", "deployment", "delivery"];
    let crates = crates.map(|name| format!("crates/{name}/Cargo.toml"));
    for manifest in crates.iter().map(String::as_str).chain([
        "xtask/Cargo.toml",
        "sandbox/Cargo.toml",
        "dev/Cargo.toml",
    ]) {
        let text = std::fs::read_to_string(repository().join(manifest)).expect(manifest);
        let dependencies = text.split("[dependencies]").nth(1).expect("dependencies");
        let lines = dependencies.lines().take_while(|line| !line.starts_with('['));
        for line in lines.filter(|line| line.contains(" = ") && !line.starts_with([' ', '#'])) {
            assert!(line.contains(" # "), "{manifest}: no reason on `{line}`");
        }
    }
}
