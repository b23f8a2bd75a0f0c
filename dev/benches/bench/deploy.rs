//! One site: `deploy` beside plain wrangler.

use std::cell::Cell;

use dev::benchmarks::{BenchmarkGroup, Unit};

use crate::measure::{Case, at_least, take_turns};
use crate::run::measure_time;
use crate::site::Sites;

/// Two groups: nothing changed, and one file changed.
pub fn groups(quick: bool) -> Vec<BenchmarkGroup> {
    let (pages, rounds) = if quick { (2, 1) } else { (100, 7) };
    let sites = Sites::new(pages);
    for worker in ["plain", "ours"] {
        sites.add(worker);
    }
    sites.env.commit("sites");
    let port = sites.env.port();
    measure_time(&mut sites.build("plain"));
    measure_time(&mut sites.wrangler("plain", port));
    measure_time(&mut sites.xtask(&["deploy", "ours"]));
    let deploy = |status: &str| {
        let (took, stdout) = measure_time(&mut sites.xtask(&["deploy", "ours"]));
        let report: serde_json::Value = serde_json::from_slice(&stdout).expect("JSON");
        assert_eq!(report["records"][0]["status"], status);
        took
    };
    let about = format!(
        "A site of {} files, deployed into the sandbox by the same wrangler on the same Bun.",
        pages + 1
    );
    let unchanged = take_turns(
        usize::from(!quick),
        rounds,
        vec![
            Case::new("`wrangler deploy`", || measure_time(&mut sites.wrangler("plain", port)).0),
            Case::new("`xtask deploy`", || deploy("unchanged")),
        ],
    );
    let faster = unchanged.compare(0, 1, |wrangler, ours| wrangler / ours);
    let round = Cell::new(0);
    let change = |worker| {
        round.set(round.get() + 1);
        sites.page(worker, 1, &format!("changed {} times", round.get()));
    };
    let changed = take_turns(
        usize::from(!quick),
        rounds,
        vec![
            Case::new("`bun run build` and `wrangler deploy`", || {
                change("plain");
                measure_time(&mut sites.build("plain")).0
                    + measure_time(&mut sites.wrangler("plain", port)).0
            }),
            Case::new("`xtask deploy`, which also checks and records", || {
                change("ours");
                deploy("live")
            }),
        ],
    );
    let name = "deploy".to_owned();
    vec![
        BenchmarkGroup {
            name: name.clone(),
            title: "Deploying what is live already".to_owned(),
            about: format!("{about} Nothing changed."),
            rows: unchanged.rows(),
            goals: vec![at_least(
                20.0,
                faster,
                Unit::Times,
                "at least 20 times as fast as wrangler",
            )],
        },
        BenchmarkGroup {
            name,
            title: "Deploying a change".to_owned(),
            about: format!("{about} One file changed, so one file is uploaded."),
            rows: changed.rows(),
            goals: Vec::new(),
        },
    ]
}
