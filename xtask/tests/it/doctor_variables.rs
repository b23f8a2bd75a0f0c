//! `doctor` beside GitLab's own list of variables, on a person's machine.

use base::http;
use serde_json::{Value, json};

use crate::support::wait::max_wait;
use crate::support::{Ran, TestEnv, repository};

const MAINTAINER: &str = "canary-maintainer-51";
const DEVELOPER: &str = "canary-developer-52";
const SECRET: &str = "canary-value-53";

#[test]
fn gitlab_s_variables_are_compared_with_the_table() {
    let env = TestEnv::with_tools();
    let tokens = json!([
        { "token": MAINTAINER, "kind": "read_api", "user": "ada", "role": "maintainer" },
        { "token": DEVELOPER, "kind": "project", "user": "bot", "project": 7 },
        { "token": "canary-owner-54", "kind": "personal", "user": "eve" },
    ]);
    env.xtask_with(&["sandbox", "up"], &[("SANDBOX_GITLAB_TOKENS", &tokens.to_string())]).exits(0);
    let url = format!("http://127.0.0.1:{}", env.port());
    let path = "dagger/config/config.json";
    let text = std::fs::read_to_string(repository().join(path)).expect("text");
    let mut config: Value = serde_json::from_str(&text).expect("JSON");
    (config["gitlab"]["url"], config["gitlab"]["projectId"]) = (json!(url), json!("7"));
    env.write(path, &config.to_string());
    let add = |key: &str, scope: &str, protected: bool, value: &str| {
        let body = json!({ "key": key, "value": value, "environment_scope": scope,
            "protected": protected, "masked": true });
        let agent = http::agent(max_wait(), 0);
        let to = format!("{url}/api/v4/projects/7/variables");
        let answer = http::post(&agent, &to, &[("PRIVATE-TOKEN", "canary-owner-54")], &body);
        assert_eq!(answer.expect("an answer").status, 201);
    };
    let doctor = |variables: &[(&str, &str)]| -> (Value, Ran) {
        let ran = env.xtask_with(&["doctor", "network.variables", "--json"], variables);
        assert!(!(ran.stdout.clone() + &ran.stderr).contains("canary"), "{ran:?}");
        (ran.json()["checks"][0].clone(), ran)
    };

    add("CLOUDFLARE_WORKERS_TOKEN", "*", false, SECRET);
    let (found, ran) = doctor(&[("GITLAB_TOKEN", MAINTAINER)]);
    let detail = found["detail"].as_str().expect("text");
    assert_eq!((&found["status"], ran.code), (&json!("fail"), 1));
    assert!(detail.contains("not protected: merge requests can read the production token"));
    assert!(detail.contains("CICD_COMMENT_TOKEN for `review/*` is not among"), "{detail}");

    add("CLOUDFLARE_WORKERS_TOKEN", "production/*", true, SECRET);
    add("CLOUDFLARE_WORKERS_TOKEN", "review/*", false, SECRET);
    add("CICD_COMMENT_TOKEN", "review/*", false, SECRET);
    let (found, ran) = doctor(&[("GITLAB_TOKEN", MAINTAINER), ("CICD_COMMENT_TOKEN", DEVELOPER)]);
    assert_eq!((&found["status"], ran.code), (&json!("ok"), 0), "{found}");
    assert_eq!(
        (&found["found"], &found["source"]),
        (&json!("3 variables as in the table"), &json!("GITLAB_TOKEN"))
    );

    let (found, ran) = doctor(&[("CICD_COMMENT_TOKEN", DEVELOPER)]);
    assert_eq!((&found["status"], ran.code), (&json!("skip"), 0));
    assert!(
        found["detail"].as_str().expect("text").contains("takes the role Maintainer"),
        "{found}"
    );
    let (found, _) = doctor(&[]);
    assert!(found["detail"].as_str().expect("text").contains("no token"), "{found}");
}
