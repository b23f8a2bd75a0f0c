//! Previews, rollbacks and promotions: what is live changes only when it should.

use serde_json::Value;

use crate::support::wait::Wait;
use crate::support::{Ran, TestEnv, error_text};

fn json(env: &TestEnv, arguments: &[&str]) -> Ran {
    env.xtask(&[arguments, &["--json"]].concat())
}

fn live(env: &TestEnv) -> String {
    env.fetch("site.localhost", "/").1
}

/// Deploys a site. Returns its first version.
fn deployed_site() -> (TestEnv, String) {
    let env = TestEnv::with_tools();
    env.site("projects/site", "site");
    env.commit("site");
    let record = json(&env, &["deploy", "site"]).exits(0).record("site");
    let version = record["version"].as_str().expect("an id").to_owned();
    (env, version)
}

fn change(env: &TestEnv, text: &str) {
    env.write("projects/site/content.txt", text);
    env.commit(text);
}

#[test]
fn a_preview_answers_at_its_own_address_and_production_stays() {
    let env = TestEnv::with_tools();
    env.site("projects/site", "site");
    env.commit("site");
    env.git(&["checkout", "--quiet", "-b", "Feature/New_Home"]);
    env.xtask(&["sandbox", "up"]).exits(0);
    let never = json(&env, &["preview", "site"]).exits(3).record("site");
    assert!(never["error"].as_str().expect("text").contains("has never been deployed"), "{never}");
    json(&env, &["deploy", "site"]).exits(0);
    let before = live(&env);

    change(&env, "two");
    let variables = [("CI_MERGE_REQUEST_IID", "42")];
    let first = env.xtask_with(&["preview", "site", "--json"], &variables).exits(0);
    let record = first.record("site");
    assert_eq!(
        (&record["status"], &record["alias"]),
        (&Value::from("ready"), &Value::from("mr-42"))
    );
    assert_eq!(record["live"], record["previous"]);
    assert_eq!(env.fetch("mr-42-site.localhost", "/").1, "two");
    let version = record["version"].as_str().expect("an id");
    assert_eq!(env.fetch(&format!("{}-site.localhost", &version[..8]), "/").1, "two");
    assert_eq!(live(&env), before);

    let again = env.xtask_with(&["preview", "site", "--json"], &variables).exits(0).record("site");
    assert_eq!(
        (&again["status"], &again["version"]),
        (&Value::from("unchanged"), &record["version"])
    );
    assert_eq!(again["urls"], record["urls"]);

    change(&env, "three");
    env.xtask_with(&["preview", "site"], &variables).exits(0);
    assert_eq!(env.fetch("mr-42-site.localhost", "/").1, "three");
    let by_branch = json(&env, &["preview", "site"]).exits(0).record("site");
    let alias = by_branch["alias"].as_str().expect("text").to_owned();
    assert!(alias.starts_with("feature-new-home-"), "{alias}");
    assert_eq!(env.fetch(&format!("{alias}-site.localhost"), "/").1, "three");
    assert_eq!(live(&env), before);

    json(&env, &["preview", "site", "--alias", "MR_42!"]).exits(2);
    let config =
        std::fs::read_to_string(env.root.join("projects/site/wrangler.jsonc")).expect("text");
    env.write(
        "projects/site/wrangler.jsonc",
        &config.replace("\"preview_urls\": true", "\"preview_urls\": false"),
    );
    let off = json(&env, &["preview", "site"]).exits(3).json()["error"].to_string();
    assert!(off.contains("a preview would have no address"), "{off}");
    env.assert_no_canary(&[&first]);
}

#[test]
fn promote_and_rollback_use_ids_and_never_go_forward() {
    let (env, one) = deployed_site();
    change(&env, "two");
    let preview = json(&env, &["preview", "site", "--alias", "mr-7"]).exits(0).record("site");
    let two = preview["version"].as_str().expect("an id").to_owned();
    let dry = env.xtask(&["promote", "site", "--from", "mr-7", "--dry-run"]).exits(0);
    let lines: Vec<&str> = dry.stdout.lines().collect();
    let [heading, from, to] = lines.as_slice() else { panic!("{lines:?}") };
    assert_eq!(*heading, "promotion of site in local");
    let is_from = from.starts_with(&format!("  from {} (commit ", &one[..8]));
    assert!(is_from && from.contains(", live for "), "{from}");
    let is_to = to.starts_with(&format!("  to   {} (commit ", &two[..8]));
    assert!(is_to && to.contains(", uploaded ") && to.ends_with(" ago)"), "{to}");
    // An upload that was never live is nothing to go back to.
    let never =
        json(&env, &["rollback", "site", "--to", &two]).exits(3).json()["error"].to_string();
    assert!(never.contains("was uploaded as a preview") && never.contains("promote"), "{never}");
    assert_ne!(live(&env), "two");

    // An alias moves; the id of the version that a comment named does not.
    let promoted = json(&env, &["promote", "site", "--from", &two[..8]]).exits(0).record("site");
    assert_eq!(
        (&promoted["verb"], &promoted["version"]),
        (&Value::from("promote"), &Value::from(two.clone()))
    );
    assert_eq!(live(&env), "two");
    json(&env, &["promote", "site", "--from", "mr-7"]).exits(3);
    let back = json(&env, &["rollback", "site"]).exits(0).record("site");
    assert_eq!(back["version"], one);
    assert_eq!(live(&env), "<h1>site one</h1>");
    let further = json(&env, &["rollback", "site"]).exits(3).json()["error"].to_string();
    assert!(further.contains("no version that was live before"), "{further}");
    assert_eq!(live(&env), "<h1>site one</h1>");

    json(&env, &["rollback", "site", "--to", &two[..8]]).exits(0);
    assert_eq!(live(&env), "two");
    let same = json(&env, &["rollback", "site", "--to", &two]).exits(3).json()["error"].to_string();
    assert!(same.contains("is live already"), "{same}");
    json(&env, &["rollback", "site", "--to", "ffffffff"]).exits(2);
    let state: Value =
        serde_json::from_str(&env.fetch("127.0.0.1", "/__sandbox/state.json").1).expect("JSON");
    let message =
        state["workers"][0]["deployments"][0]["message"].as_str().expect("text").to_owned();
    let digest = message.strip_prefix(&format!("xtask: rollback from {one} (triggers "));
    assert!(digest.is_some_and(|digest| digest.len() == 9), "{message}");
}

#[test]
fn rolls_back_a_deployment_that_does_not_respond() {
    let env = TestEnv::with_tools();
    env.worker("projects/api", "api");
    env.commit("worker");
    let good = json(&env, &["deploy", "api"]).exits(0).record("api");
    let worker = "export default { fetch() { throw new Error('broken') } };";
    env.write("projects/api/src/worker.ts", worker);
    let wait = Wait::begin();
    let bad = json(&env, &["deploy", "api"]).exits(1).record("api");
    wait.check("it is not rolled back");
    assert_eq!(bad["status"], "rolledBack");
    assert_eq!(bad["live"]["version"], good["version"]);
    let error = error_text(&bad);
    assert!(error.contains("answered 500") && error.contains("is live again"), "{error}");
    assert_eq!(env.fetch("api.localhost", "/up").0, 200);
    let kept = json(&env, &["deploy", "api", "--no-rollback"]).exits(4).record("api");
    assert_eq!(kept["status"], "unknown");
    assert_eq!(kept["live"]["version"], kept["version"]);
    assert_eq!(env.fetch("api.localhost", "/up").0, 500);
}

/// The sandbox has no HTTPS, so the redirect is the answer of the Worker.
#[test]
fn a_worker_that_redirects_to_https_passes_in_the_sandbox() {
    let env = TestEnv::with_tools();
    env.worker("projects/api", "api");
    let worker = |text: &str| {
        format!(
            "export default {{ fetch(request) {{\n  const url = new URL(request.url);\n  if (url.protocol === 'http:') \
             return Response.redirect(`https://${{url.host}}${{url.pathname}}`, 301);\n  return new Response('{text}');\n}} }};\n"
        )
    };
    env.write("projects/api/src/worker.ts", &worker("one"));
    env.commit("worker");
    let deployed = json(&env, &["deploy", "api"]).exits(0).record("api");
    assert_eq!((&deployed["status"], &deployed["error"]), (&"live".into(), &Value::Null));
    assert_eq!(env.fetch("api.localhost", "/up").0, 301);
    let again = json(&env, &["deploy", "api"]).exits(0).record("api");
    assert_eq!(again["status"], "unchanged");
    env.write("projects/api/src/worker.ts", &worker("two"));
    let ready = json(&env, &["preview", "api", "--alias", "mr-1"]).exits(0).record("api");
    assert_eq!(ready["status"], "ready");
    env.write(
        "projects/api/src/worker.ts",
        "export default { fetch: () => Response.redirect('https://login.example/', 302) };\n",
    );
    let elsewhere = json(&env, &["preview", "api", "--alias", "mr-2"]).exits(1).record("api");
    let error = error_text(&elsewhere);
    assert!(error.contains("answered 302 (to https://login.example/)"), "{error}");
}

#[test]
fn a_long_name_of_a_worker_is_named_and_has_no_address_of_a_version() {
    let env = TestEnv::with_tools();
    let (long, too_long) = ("w".repeat(56), "x".repeat(57));
    env.site("projects/long", &long);
    env.site("projects/too-long", &too_long);
    env.commit("sites");
    env.git(&["checkout", "--quiet", "-b", "feature/search"]);
    let plan = env.xtask(&["preview", "--all", "--env", "local", "--dry-run"]).exits(3);
    let shown = plan.stderr.replace(&too_long, "WORKER");
    let hash = shown.split_once("`f-").and_then(|(_, rest)| rest.get(..4)).expect("an alias");
    expect_test::expect![[r"
        error: `f-HASH-WORKER` has 64 characters (6 of the alias, 57 of the Worker's name), and a host name's part at most 63
        hint: give the Worker a `name` of at most 56 characters
        hint: or choose an alias of at most 5 characters with `--alias`
    "]]
    .assert_eq(&shown.replace(hash, "HASH"));
    assert!(plan.stdout.contains(&format!("--preview-alias=f-{hash}")), "{}", plan.stdout);

    env.xtask(&["deploy", "long"]).exits(0);
    env.write("projects/long/content.txt", "two");
    for _ in 0..2 {
        let ready = json(&env, &["preview", "long", "--alias", "mr-1"]).exits(0).record("long");
        let urls = serde_json::json!([format!("http://mr-1-{long}.localhost:{}/", env.port())]);
        assert_eq!(ready["urls"], urls);
    }
    let versions = env.xtask(&["versions", "long", "--json"]).exits(0).json();
    assert_eq!(versions["versions"][0]["url"], Value::Null);
}
