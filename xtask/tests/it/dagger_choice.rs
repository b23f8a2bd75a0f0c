//! The choice between the Dagger engine and the host engine, also if the CLI hangs.

use crate::dagger::Dagger;
use crate::support::wait::Wait;

#[test]
fn kills_a_hanging_cli_and_its_children() {
    let dagger = Dagger::new();
    let env = &dagger.env;
    env.site("projects/site", "site");
    env.commit("project");
    env.xtask(&["sandbox", "up"]).exits(0);
    dagger.mode("hang");
    let bound = [("XTASK_DEADLINE", "3")];
    let wait = Wait::begin();
    let ran = env.xtask_with(&["deploy", "site", "--engine", "dagger", "--json"], &bound);
    wait.check("the CLI is not stopped");
    assert_eq!(env.processes_in("projects/site"), 0);
    let error = ran.exits(1).error("site");
    for part in [
        "was stopped after 3 s",
        "connecting to engine",
        "nothing is live, as before",
        "hint: run `cargo xtask doctor dagger`; without an engine the CLI waits forever",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    let wrong = env.xtask_with(&["build", "site"], &[("XTASK_DEADLINE", "soon")]).exits(2);
    assert!(wrong.stderr.contains("XTASK_DEADLINE is `soon`"), "{}", wrong.stderr);
    // Without a bound of ours, the probe has its own.
    let wait = Wait::begin();
    let ran = env.xtask(&["build", "site", "--json"]).exits(0);
    wait.check("the probe is not stopped");
    assert_eq!(ran.record("site")["engine"], "host");
    assert!(ran.stderr.contains("no Dagger engine answers"), "{}", ran.stderr);
    assert_eq!(env.processes_in("."), 1, "the sandbox alone is left");
}

#[test]
fn auto_chooses_dagger_only_with_a_running_engine() {
    let dagger = Dagger::new();
    let env = &dagger.env;
    env.site("projects/site", "site");
    env.commit("project");
    for (mode, engine) in [("ok", "dagger"), ("engine-down", "host"), ("old", "host")] {
        dagger.mode(mode);
        let ran = env.xtask(&["build", "site", "--json"]).exits(0);
        assert_eq!(ran.record("site")["engine"], engine, "{mode}: {}", ran.stderr);
        assert!(ran.stderr.contains(&format!("engine: {engine} (")), "{}", ran.stderr);
    }
    std::fs::remove_file(env.root.join("dagger/cloudflare/dagger.json")).expect("removable");
    dagger.mode("ok");
    let refused = dagger.deploy(&["site"]).exits(3);
    assert!(refused.error("site").contains("no dagger.json"));
}
