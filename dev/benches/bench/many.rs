//! Many sites in one run, and what they take.

use dev::benchmarks::{BenchmarkGroup, Unit};

use crate::measure::{Case, at_most, figure, take_turns};
use crate::memory::{self, measure_memory};
use crate::run::measure_time;
use crate::site::Sites;

/// Time and memory.
pub fn groups(quick: bool) -> Vec<BenchmarkGroup> {
    let (count, rounds) = if quick { (2, 1) } else { (16, 2) };
    let sites = Sites::new(10);
    let names: Vec<String> = (0..count).map(|number| format!("site-{number}")).collect();
    for name in &names {
        sites.add(name);
    }
    sites.env.commit("sites");
    let deploy = |count: usize, jobs: &str| {
        let names = names[..count].iter().map(String::as_str);
        let mut arguments: Vec<&str> = ["deploy"].into_iter().chain(names).collect();
        arguments.extend(["--force", "--jobs", jobs]);
        sites.xtask(&arguments)
    };
    let side_by_side = || measure_time(&mut deploy(count, "2")).0;
    let one_by_one = || {
        let single = |name: &String| measure_time(&mut sites.xtask(&["deploy", name, "--force"])).0;
        names.iter().map(single).sum()
    };
    let few = count.min(4);
    let mut cases = vec![
        Case::new(format!("{count} runs of one site"), one_by_one),
        Case::new(format!("one run, {count} sites, `--jobs 2`"), side_by_side),
    ];
    if !quick {
        cases.push(Case::new(format!("one run, {count} sites, `--jobs 1`"), || {
            measure_time(&mut deploy(count, "1")).0
        }));
        cases.push(Case::new(format!("one run, {few} sites, `--jobs 2`"), || {
            measure_time(&mut deploy(few, "2")).0
        }));
        cases.push(Case::new("one run, 1 site", || measure_time(&mut deploy(1, "2")).0));
    }
    let samples = take_turns(0, rounds, cases);
    let share = samples.compare(1, 0, |one_run, single| one_run / single) * 100.0;
    let time = BenchmarkGroup {
        name: "many".to_owned(),
        title: "Many sites".to_owned(),
        about: "Sites of 11 files, each built and deployed into the sandbox again, with `--force`."
            .to_owned(),
        rows: samples.rows(),
        goals: vec![at_most(
            60.0,
            share,
            Unit::Percent,
            "one run with `--jobs 2` takes at most 60 % of single runs",
        )],
    };
    drop(samples);
    let server = sites.env.root.join(".xtask/sandbox/server.json");
    let server = std::fs::read_to_string(server).expect("a sandbox");
    let server: serde_json::Value = serde_json::from_str(&server).expect("JSON");
    let pid = server["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).expect("a pid");
    // A separate run, because looking takes CPU from what is looked at.
    let most = measure_memory(&mut deploy(count, "2"));
    let row = |name: String, bytes: u64| figure(name, Unit::Mb, megabytes(bytes));
    let memory = BenchmarkGroup {
        name: "many".to_owned(),
        title: "Memory".to_owned(),
        about: "The most that was resident at any look, ten a second, and a look at the sandbox afterwards \
                that counts shared pages once. Only Linux says it."
            .to_owned(),
        rows: vec![
            row(format!("xtask itself, {count} sites, `--jobs 2`"), most.own),
            row("with Bun and wrangler below it".to_owned(), most.tree),
            row(format!("the sandbox with {count} sites loaded"), memory::proportional(pid)),
        ],
        goals: Vec::new(),
    };
    vec![time, memory]
}

#[expect(clippy::cast_precision_loss, reason = "megabytes need no more")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
