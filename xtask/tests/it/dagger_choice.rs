//! The choice between the Dagger engine and the host engine.

use crate::dagger::Dagger;

#[test]
fn auto_takes_dagger_only_when_an_engine_answers() {
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
    assert!(refused.record("site")["error"].as_str().expect("text").contains("no dagger.json"));
}
