//! What `deploy` adds to the Dagger script that it runs.

use std::process::Command;

use xtask::report::bench::{Group, Unit};

use crate::measure::{Case, at_most, take_turns};
use crate::run::timed;
use crate::site::Sites;
use crate::support::copy;

/// A `dagger` whose module takes its time and leaves the record that the real one leaves, of a version
/// that is live. Its own start takes as long as the real one's was seen to take.
fn program(seconds: f64, version: &str) -> String {
    format!(
        "#!/bin/sh\n\
         sleep 0.1\n\
         [ \"$1\" = version ] && echo 'dagger v0.21.8 (unix:///run/dagger/engine.sock) linux/amd64' && exit\n\
         script=$(cat /dev/stdin)\n\
         sleep {seconds}\n\
         nonce=$(printf '%s' \"$script\" | sed -n \"s/.*--nonce='\\([^']*\\)'.*/\\1/p\")\n\
         mkdir -p .xtask\n\
         printf '{{\"schema\":1,\"command\":\"deploy\",\"nonce\":\"%s\",\"exitCode\":0,\"versionId\":\"{version}\",\"urls\":[],\"log\":\"\"}}' \"$nonce\" > .xtask/deploy.json\n"
    )
}

/// The same script, given to the CLI by hand and run by `deploy`.
pub fn groups(quick: bool) -> Vec<Group> {
    let (seconds, rounds) = if quick { (0.1, 1) } else { (8.0, 3) };
    let sites = Sites::new(2);
    let env = &sites.env;
    copy(env, "dagger");
    sites.add("site");
    env.commit("site");
    let host = env.xtask(&["deploy", "site", "--engine", "host", "--json"]).exits(0).record("site");
    env.program("dagger", &program(seconds, host["version"].as_str().expect("a version")));
    let deploy = ["deploy", "site", "--engine", "dagger", "--force"];
    let script = env.xtask(&[&deploy[..], &["--dry-run"]].concat()).exits(0).stdout;
    // The token reaches the CLI by this file in a script by hand; here the variable has it already.
    let script = script.replace("$(cat .xtask/sandbox/token)", "$SANDBOX_TOKEN");
    let by_hand = || {
        let mut sh = Command::new("sh");
        env.environment(&mut sh);
        timed(sh.args(["-c", &script])).0
    };
    let cases = vec![
        Case::new("the script that `--dry-run` prints, in `sh`", by_hand),
        Case::new("`xtask deploy --engine dagger`", || timed(&mut env.command(&deploy, &[])).0),
    ];
    let samples = take_turns(0, rounds, cases);
    let added = samples.compare(1, 0, |ours, raw| ours - raw);
    let limit = (samples.median(0) * 0.02).max(50.0);
    vec![Group {
        name: "dagger".to_owned(),
        title: "What xtask adds to a Dagger run".to_owned(),
        about: format!(
            "A stand-in for the CLI that starts within 0.1 s and whose module takes {seconds} s; the real ones were seen \
             to take 0.1 s, and 8 to 14 s. \
             `deploy` asks the CLI for its version, reads what is live before and after, fetches the site, \
             and leaves a record; the script by hand does none of it."
        ),
        rows: samples.rows(),
        goals: vec![at_most(
            limit,
            added,
            Unit::Ms,
            "adds at most 2 %, or 50 ms where that is more",
        )],
    }]
}
