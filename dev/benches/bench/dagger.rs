//! The overhead of `deploy` over the Dagger script that it runs.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use dev::benchmarks::{BenchmarkGroup, Unit};
use serde_json::{Value, json};

use crate::measure::{Case, at_most, take_turns};
use crate::run::measure_time;
use crate::site::Sites;
use crate::support::copy;

/// The name under which a copy of this program replaces `dagger`.
pub const NAME: &str = "dagger";

/// Plays such a copy: it leaves the results that the real one exports, of a version that is live. Its own start takes as
/// long as the real one's was seen to take, and the upload as long as the file beside it says.
pub fn stand_in(program: &Path) {
    std::thread::sleep(Duration::from_millis(100));
    if std::env::args().nth(1).as_deref() == Some("version") {
        println!("dagger v0.21.8 (unix:///run/dagger/engine.sock) linux/amd64");
        return;
    }
    let settings = std::fs::read(program.with_extension("json")).expect("a file");
    let settings: Value = serde_json::from_slice(&settings).expect("JSON");
    let script = std::io::read_to_string(std::io::stdin()).expect("a script");
    std::thread::sleep(Duration::from_secs_f64(settings["seconds"].as_f64().expect("seconds")));
    // The value after these words, in quotes.
    let value = |before: &str| {
        let rest = script.rsplit(before).next().expect("a text");
        rest.split('\'').nth(1).expect("a value in quotes").to_owned()
    };
    let results = PathBuf::from(value("$uploaded | directory '/output' | export --wipe "));
    let entry = json!({ "type": "deploy", "version_id": settings["version"], "targets": [] });
    std::fs::create_dir_all(&results).expect("a folder");
    for (name, text) in [
        ("prepare.exit", "0\n".to_owned()),
        ("upload.exit", "0\n".to_owned()),
        ("nonce", value("with-new-file '/output/nonce' ")),
        ("wrangler.ndjson", format!("{entry}\n")),
    ] {
        std::fs::write(results.join(name), text).expect("a file");
    }
}

/// The same script, run by the CLI alone and by `deploy`.
pub fn groups(quick: bool) -> Vec<BenchmarkGroup> {
    let (seconds, rounds) = if quick { (0.1, 1) } else { (8.0, 3) };
    let sites = Sites::new(2);
    let env = &sites.env;
    copy(env, "dagger");
    sites.add("site");
    env.commit("site");
    let host = env.xtask(&["deploy", "site", "--engine", "host", "--json"]).exits(0).record("site");
    let program = env.folder.join("bin").join(NAME);
    std::fs::copy(std::env::current_exe().expect("a path"), &program).expect("a copy");
    let settings = json!({ "seconds": seconds, "version": host["version"] });
    std::fs::write(program.with_extension("json"), settings.to_string()).expect("a file");
    let deploy = ["deploy", "site", "--engine", "dagger", "--force"];
    let script = env.xtask(&[&deploy[..], &["--dry-run"]].concat()).exits(0).stdout;
    // The token reaches the CLI by this file in a handwritten script; here the variable has it already.
    let script = script.replace("$(cat .xtask/sandbox/token)", "$SANDBOX_TOKEN");
    let cli_alone = || {
        let mut sh = Command::new("sh");
        env.environment(&mut sh);
        measure_time(sh.args(["-c", &script])).0
    };
    let cases = vec![
        Case::new("the script that `--dry-run` prints, in `sh`", cli_alone),
        Case::new("`xtask deploy --engine dagger`", || {
            measure_time(&mut env.command(&deploy, &[])).0
        }),
    ];
    let samples = take_turns(1, rounds, cases);
    let added = samples.compare(1, 0, |ours, raw| ours - raw);
    vec![BenchmarkGroup {
        name: "dagger".to_owned(),
        title: "What xtask adds to a Dagger run".to_owned(),
        about: format!(
            "A stand-in for the CLI that starts within 0.1 s and whose upload takes {seconds} s; the real ones were seen \
             to take 0.1 s, and 2 to 8 s. \
             `deploy` knows the CLI's version from the run before, reads what is live before and after, fetches the site, \
             and leaves a record; the handwritten script does none of it."
        ),
        rows: samples.rows(),
        goals: vec![at_most(50.0, added, Unit::Ms, "adds at most 50 ms")],
    }]
}
