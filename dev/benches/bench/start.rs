//! The time until something happens.

use std::path::Path;
use std::process::Command;

use dev::benchmarks::{BenchmarkGroup, BenchmarkRow, Goal, Unit};

use crate::measure::{Case, at_most, figure, take_turns};
use crate::run::measure_time;
use crate::support::{TestEnv, repository};

/// Starts with nothing to build, and the build from nothing.
pub fn groups(quick: bool) -> Vec<BenchmarkGroup> {
    let env = TestEnv::with_tools();
    env.site("projects/site", "site");
    env.commit("site");
    let mut cases = vec![
        Case::new("the binary, `--version`", || {
            measure_time(&mut env.command(&["--version"], &[])).0
        }),
        Case::new("`xtask doctor --offline`", || doctor(&env)),
    ];
    if !quick {
        let help = || measure_time(cargo().args(["xtask", "--help"])).0;
        cases.push(Case::new("`cargo xtask --help`, nothing to build", help));
    }
    let samples = take_turns(1, if quick { 1 } else { 15 }, cases);
    let mut rows = samples.rows();
    let mut goals = vec![
        at_most(5.0, samples.median(0), Unit::Ms, "the binary starts within 5 ms"),
        at_most(500.0, samples.median(1), Unit::Ms, "`doctor --offline` takes at most 0.5 s"),
    ];
    if !quick {
        cold(&mut rows, &mut goals);
    }
    vec![BenchmarkGroup {
        name: "start".to_owned(),
        title: "Starting".to_owned(),
        about: "What a command costs before it does anything, and what the first one costs."
            .to_owned(),
        rows,
        goals,
    }]
}

/// Runs doctor. Its findings depend on this machine, so any exit code is accepted.
fn doctor(env: &TestEnv) -> f64 {
    let begun = std::time::Instant::now();
    let output = env.command(&["doctor", "--offline", "--json"], &[]).output().expect("it runs");
    let took = begun.elapsed().as_secs_f64() * 1000.0;
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(report["checks"].as_array().is_some_and(|checks| checks.len() > 5), "{report}");
    took
}

/// The cargo that runs us, in the real repository.
fn cargo() -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(repository());
    // What cargo tells a benchmark about itself would look like a change to a build.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("CARGO_PKG_")
            || name.starts_with("CARGO_BIN_")
            || name.starts_with("CARGO_MANIFEST_")
        {
            cargo.env_remove(name);
        }
    }
    cargo
}

/// Builds xtask in an empty target folder, as everybody's first command does.
fn cold(rows: &mut Vec<BenchmarkRow>, goals: &mut Vec<Goal>) {
    let target =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cold-{}", std::process::id()));
    let mut build = cargo();
    build
        .args(["build", "--locked", "--offline", "--package", "xtask", "--target-dir"])
        .arg(&target);
    let begun = std::time::Instant::now();
    let output = build.output().expect("cargo runs");
    let took = begun.elapsed().as_secs_f64() * 1000.0;
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{message}");
    let crates =
        message.lines().filter(|line| line.trim_start().starts_with("Compiling ")).count() - 1;
    std::fs::remove_dir_all(&target).expect("removed");
    let crates = f64::from(u32::try_from(crates).expect("few"));
    rows.push(figure("`cargo build --package xtask`, nothing built", Unit::Ms, took));
    rows.push(figure("crates that it compiles beside xtask", Unit::Count, crates));
    goals.push(at_most(30_000.0, took, Unit::Ms, "a cold build takes at most 30 s on 2 cores"));
}
