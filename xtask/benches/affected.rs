//! `cargo xtask affected` beside plain `git diff`, in one run: `cargo bench -p xtask --bench affected`.
//! Prints a table, and JSON with `-- --json`.
#![expect(clippy::print_stdout, reason = "a benchmark's report is its output")]

mod tree;

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use serde_json::{Value, json};

/// How often each command is measured. The commands take turns, so that noise meets all of them.
const ROUNDS: usize = 15;

fn main() {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-{}", std::process::id()));
    let tree = tree::generate(&root);
    let rows: [(&str, &[&str]); 4] = [
        ("git diff --name-only main...change", &["git", "diff", "--name-only", "main...change"]),
        (
            "affected --base main --head change",
            &[XTASK, "affected", "--json", "--base=main", "--head=change"],
        ),
        (
            "git status --untracked-files=all",
            &["git", "status", "--porcelain", "--untracked-files=all"],
        ),
        ("affected (uncommitted files too)", &[XTASK, "affected", "--json"]),
    ];
    let mut times = vec![Vec::new(); rows.len()];
    for round in 0..=ROUNDS {
        for (row, (_, argv)) in rows.iter().enumerate() {
            let begun = Instant::now();
            let output = Command::new(argv[0])
                .args(&argv[1..])
                .current_dir(&tree.root)
                .output()
                .expect("runs");
            let took = begun.elapsed().as_secs_f64() * 1000.0;
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            // The first round warms up and compares the answer with the known one.
            match round {
                0 if argv[0] == XTASK => check(&tree, &output.stdout),
                0 => {}
                _ => times[row].push(took),
            }
        }
    }
    std::fs::remove_dir_all(&root).expect("removed");
    report(&rows.map(|(name, _)| name), times);
}

const XTASK: &str = env!("CARGO_BIN_EXE_xtask");

fn check(tree: &tree::Tree, stdout: &[u8]) {
    let json: Value = serde_json::from_slice(stdout).expect("JSON");
    let found = json["packages"].as_array().expect("packages").iter();
    let found = found.map(|package| package["name"].as_str().expect("text").to_owned()).collect();
    assert_eq!(tree.answer, found, "the answer is not the known one");
    assert_eq!(tree.answer.len(), tree::ANSWER);
}

fn report(names: &[&str], times: Vec<Vec<f64>>) {
    let rows: Vec<Value> = names.iter().zip(times).map(|(name, mut times)| {
        times.sort_by(f64::total_cmp);
        json!({ "name": name, "median": times[ROUNDS / 2], "least": times[0], "most": times[ROUNDS - 1] })
    }).collect();
    let number = |row: &Value, key: &str| row[key].as_f64().expect("a number");
    let git = number(&rows[0], "median");
    if std::env::args().any(|argument| argument == "--json") {
        let shape = json!({ "packages": tree::PACKAGES, "files": tree::FILES, "edges": tree::EDGES, "answer": tree::ANSWER });
        println!("{:#}", json!({ "schema": 1, "unit": "ms", "tree": shape, "rows": rows }));
        return;
    }
    println!("| command | median, ms | least | most | times git |\n|---|---|---|---|---|");
    for row in &rows {
        let median = number(row, "median");
        println!(
            "| `{}` | {median:.1} | {:.1} | {:.1} | {:.1} |",
            row["name"].as_str().expect("text"),
            number(row, "least"),
            number(row, "most"),
            median / git
        );
    }
}
