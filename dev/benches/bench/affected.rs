//! The projects affected by a change: `affected` beside plain git and beside the peers.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use dev::benchmarks::{BenchmarkGroup, BenchmarkRow, Unit};
use serde_json::Value;

use crate::measure::{Case, at_least, at_most, take_turns};
use crate::peers::{self, Peer};
use crate::run::measure_time;
use crate::support::program;
use crate::tree::{self, FULL, GeneratedTree, QUICK};

/// The folder of a benchmark's own, empty.
fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-{name}-{}", std::process::id()))
}

/// Two groups on one tree: git and `affected` many times, then the peers some times.
pub fn groups(quick: bool) -> Vec<BenchmarkGroup> {
    let root = folder("affected");
    let shape = if quick { QUICK } else { FULL };
    let tree = tree::generate(&root, shape);
    let about = format!(
        "A generated repository of {} packages, {} files and {} dependencies, and a change of three \
         files that affects {} packages. Every answer was compared with the known one.",
        shape.packages,
        shape.files(),
        shape.edges,
        shape.answer
    );
    let groups = vec![beside_git(&tree, &about, quick), beside_peers(&tree, &about, quick)];
    std::fs::remove_dir_all(&root).expect("removed");
    groups
}

fn beside_git(tree: &GeneratedTree, about: &str, quick: bool) -> BenchmarkGroup {
    let (clone, variables) = tree.runner_clone();
    let run = |argv: &[&str]| {
        measure_time(Command::new(argv[0]).args(&argv[1..]).current_dir(&tree.root))
    };
    let git = |argv: &'static [&'static str]| move || run(argv).0;
    let ours = |arguments: &'static [&'static str]| {
        move || ask(tree, Command::new(program()).args(arguments).current_dir(&tree.root))
    };
    let cases = vec![
        Case::new("`git diff --name-only main...change`", git(&DIFF)),
        Case::new("`affected --base main --head change`", ours(&AFFECTED)),
        Case::new("the same, when the commit was not read before", || {
            forget(&tree.root);
            ask(tree, Command::new(program()).args(AFFECTED).current_dir(&tree.root))
        }),
        Case::new("`git status --porcelain`", git(&["git", "status", "--porcelain"])),
        Case::new("`affected`, uncommitted files too", ours(&["affected", "--json"])),
        Case::new("`affected` in a merge request's clone of depth 1, `main` moved on", || {
            forget(&clone);
            let mut command = Command::new(program());
            command.args(["affected", "--json"]).current_dir(&clone);
            ask(tree, command.envs(variables.iter().cloned()))
        }),
    ];
    let samples = take_turns(1, if quick { 1 } else { 15 }, cases);
    let beside_git = samples.compare(1, 0, |ours, git| ours / git);
    let goals = vec![
        at_most(30.0, samples.median(1), Unit::Ms, "`affected` takes at most 30 ms"),
        at_most(6.0, beside_git, Unit::Times, "`affected` takes at most 6 times `git diff`"),
    ];
    BenchmarkGroup {
        name: "affected".to_owned(),
        title: "Projects affected by a change".to_owned(),
        about: about.to_owned(),
        rows: samples.rows(),
        goals,
    }
}

const DIFF: [&str; 4] = ["git", "diff", "--name-only", "main...change"];
const AFFECTED: [&str; 4] = ["affected", "--json", "--base=main", "--head=change"];

fn beside_peers(tree: &GeneratedTree, about: &str, quick: bool) -> BenchmarkGroup {
    let (peers, missing) = peers::ready(tree, quick);
    let turn = |peer: &Peer| {
        let (took, stdout) = measure_time(&mut peer.command(tree));
        check(peer.name, tree, &peer.answer(&stdout));
        took
    };
    let mut cases = vec![Case::new("`affected`", || {
        ask(tree, Command::new(program()).args(AFFECTED).current_dir(&tree.root))
    })];
    cases.extend(peers.iter().map(|peer| Case::new(peer.title(), move || turn(peer))));
    // Once without a cache of theirs, which `peers::ready` did.
    let samples = take_turns(0, if quick { 1 } else { 7 }, cases);
    let mut rows = samples.rows();
    rows.extend(missing.into_iter().map(|(name, problem)| BenchmarkRow {
        name,
        measured: None,
        problem: Some(problem),
    }));
    let best =
        (1..samples.times.len()).map(|peer| samples.compare(peer, 0, |peer, ours| peer / ours));
    let goals = best.reduce(f64::min).map(|best| {
        at_least(1.0, best, Unit::Times, "the fastest peer takes at least as long as `affected`")
    });
    BenchmarkGroup {
        name: "affected".to_owned(),
        title: "Projects affected by a change, beside others".to_owned(),
        about: format!(
            "{about} The others run as their own binaries, with caches that an earlier run filled, and \
             with neither telemetry nor a daemon."
        ),
        rows,
        goals: goals.into_iter().collect(),
    }
}

/// Puts a repository back to where `affected` has read no commit in it.
fn forget(root: &Path) {
    let summaries = root.join(".xtask/summaries");
    assert!(
        !summaries.exists() || std::fs::remove_dir_all(summaries).is_ok(),
        "the summaries are deleted"
    );
}

/// Runs `affected`, which must give the known answer, and says how long it took.
#[track_caller]
fn ask(tree: &GeneratedTree, command: &mut Command) -> f64 {
    let (took, stdout) = measure_time(command);
    let json: Value = serde_json::from_slice(&stdout).expect("JSON");
    check("affected", tree, &peers::names(&json["packages"], "name"));
    took
}

#[track_caller]
fn check(name: &str, tree: &GeneratedTree, found: &BTreeSet<String>) {
    assert_eq!(&tree.answer, found, "{name} does not give the known answer");
}
