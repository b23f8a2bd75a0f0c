//! The benchmarks, which `cargo dev bench` runs: `bench --bench [NAME…] [--output FILE] [--quick]`.
//! Without `--bench`, as `cargo test` runs it, every one is run with tiny sizes.
#![expect(clippy::print_stdout, reason = "it tells whoever waits what is measured")]

mod affected;
mod dagger;
mod deploy;
mod machine;
mod many;
mod measure;
mod memory;
mod peers;
mod run;
mod site;
mod start;
#[expect(dead_code, reason = "benchmarks need a part of what tests need")]
#[path = "../../../xtask/tests/it/support.rs"]
mod support;
mod tree;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use base::terminal::{OutputOptions, Ui};
use base::time::{rfc3339, unix_now};
use dev::benchmarks::{BenchmarkGroup, Benchmarks};

/// Runs a benchmark. With `true`, sizes are tiny.
type BenchmarkFn = fn(bool) -> Vec<BenchmarkGroup>;

/// The benchmarks by name.
const ALL: [(&str, BenchmarkFn); 5] = [
    ("affected", affected::groups),
    ("deploy", deploy::groups),
    ("dagger", dagger::groups),
    ("many", many::groups),
    ("start", start::groups),
];

fn main() -> ExitCode {
    let program = std::env::args().next().map(PathBuf::from).unwrap_or_default();
    if program.file_name().is_some_and(|name| name == dagger::NAME) {
        dagger::stand_in(&std::env::current_exe().expect("a path"));
        return ExitCode::SUCCESS;
    }
    let mut names = Vec::new();
    let mut output = None;
    let (mut quick, mut measuring) = (false, false);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--bench" => measuring = true,
            "--quick" => quick = true,
            "--output" => output = arguments.next(),
            // What else `cargo test` passes on is for its own harness.
            option if option.starts_with('-') => {}
            name => names.push(name.to_owned()),
        }
    }
    let known = |name: &String| ALL.iter().any(|(known, _)| known == name);
    if let Some(unknown) = names.iter().find(|name| measuring && !known(name)) {
        let all: Vec<&str> = ALL.iter().map(|(name, _)| *name).collect();
        println!("no benchmark is called `{unknown}`; there are: {}", all.join(", "));
        return ExitCode::from(2);
    }
    assert_eq!(ALL.map(|(name, _)| name), dev::bench::NAMES);
    let quick = quick || !measuring;
    let started = Instant::now();
    let mut groups = Vec::new();
    for (name, run) in ALL {
        if names.is_empty() || names.iter().any(|asked| asked == name) {
            println!("{name} …");
            groups.extend(run(quick));
        }
    }
    let found = Benchmarks {
        schema: 1,
        made: rfc3339(unix_now()),
        commit: machine::commit(),
        quick,
        seconds: started.elapsed().as_secs_f64().round(),
        machine: machine::facts(),
        groups,
    };
    match output {
        Some(path) => {
            let text = serde_json::to_string_pretty(&found).expect("JSON");
            std::fs::write(path, text).expect("a file");
        }
        None => Ui::new(OutputOptions::default()).out(&found.text()),
    }
    ExitCode::SUCCESS
}
