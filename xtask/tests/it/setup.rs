//! `setup`, against the sandbox's Cloudflare and GitLab.

use expect_test::expect;
use serde_json::{Value, json};

use crate::support::wait::max_wait;
use crate::support::{CANARY, Ran, TestEnv, repository};

const MAINTAINER: &str = "glpat-maintainer-1";
const COMMENT: &str = "glpat-comment-1";
const ACCOUNT: &str = "0123456789abcdef0123456789abcdef";

/// A repository without ids, and a sandbox with a maintainer's token.
fn fresh() -> TestEnv {
    let env = TestEnv::with_tools();
    env.site("projects/shop", "shop");
    let tokens = json!([
        { "token": MAINTAINER, "kind": "personal", "user": "maintainer" },
        { "token": COMMENT, "kind": "project", "project": 12, "user": "bot" },
        { "token": "glpat-developer-1", "kind": "personal", "user": "developer", "role": "developer" },
    ]);
    let tokens = tokens.to_string();
    let path = "dagger/config/config.json";
    let text = std::fs::read_to_string(repository().join(path)).expect("text");
    // The sandbox has the accounts of the config that it is started with.
    let own = format!("\"staging\": {{ \"cloudflare\": {{ \"accountId\": \"{ACCOUNT}\" }} }}");
    let text = text.replace("\"staging\": {}", &own);
    env.write(path, &text);
    env.xtask_with(&["sandbox", "up"], &[("SANDBOX_GITLAB_TOKENS", &tokens)]).exits(0);
    let instance = format!("http://127.0.0.1:{}", env.port());
    env.write(path, &text.replace("https://gitlab.com", &instance));
    // The first request for a project makes it.
    let branch = json!({ "source_branch": "a", "target_branch": "main", "title": "A" });
    gitlab(&env, "POST", "/projects/12/merge_requests", &branch);
    env.commit("fresh");
    env
}

/// Returns GitLab's answer to the maintainer.
fn gitlab(env: &TestEnv, method: &str, path: &str, body: &Value) -> Value {
    let request = ureq::http::Request::builder()
        .method(method)
        .uri(format!("http://127.0.0.1:{}/api/v4{path}", env.port()))
        .header("private-token", MAINTAINER)
        .header("content-type", "application/json");
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let agent = base::http::agent(max_wait(), 0);
    let mut answer = agent.run(request.body(body).expect("a request")).expect("an answer");
    let text = answer.body_mut().read_to_string().expect("text");
    assert!(answer.status().is_success(), "{method} {path}: {text}");
    serde_json::from_str(&text).expect("JSON")
}

fn variables(env: &TestEnv) -> Vec<Value> {
    let all = gitlab(env, "GET", "/projects/12/variables", &Value::Null);
    let row = |one: &Value| {
        json!([one["key"], one["environment_scope"], one["protected"], one["masked"]])
    };
    all.as_array().expect("a list").iter().map(row).collect()
}

fn config(env: &TestEnv) -> Value {
    let text = std::fs::read_to_string(env.root.join("dagger/config/config.json")).expect("text");
    serde_json::from_str(&text).expect("JSON")
}

const VALUES: [(&str, &str); 6] = [
    ("CLOUDFLARE_ACCOUNT_ID", ACCOUNT),
    ("CI_PROJECT_ID", "12"),
    ("GITLAB_TOKEN", MAINTAINER),
    ("CLOUDFLARE_WORKERS_TOKEN_PRODUCTION", CANARY),
    ("CLOUDFLARE_WORKERS_TOKEN_REVIEW", CANARY),
    ("CICD_COMMENT_TOKEN_REVIEW", COMMENT),
];

fn setup(env: &TestEnv, arguments: &[&str], replaced: &[(&str, &str)]) -> Ran {
    let arguments = [&["setup", "--sandbox"], arguments].concat();
    env.xtask_with(&arguments, &[&VALUES[..], replaced].concat())
}

#[test]
fn verifies_and_stores_values_of_the_environment() {
    let env = fresh();
    // Without a terminal and without values, the error names each of them.
    let asked = env.xtask(&["setup", "--sandbox"]).exits(3);
    expect![[r#"
        error: stdin is not a terminal; nothing was changed
        hint: set CLOUDFLARE_ACCOUNT_ID to the account id
        hint: set CI_PROJECT_ID to the number of the GitLab project
        hint: set GITLAB_TOKEN to a GitLab token of a maintainer with the scope `api`
        hint: set CLOUDFLARE_WORKERS_TOKEN_PRODUCTION to the token for `production/*`: Cloudflare API token: Workers Scripts: Edit on the account, and Workers Routes: Edit on the zone of each route
        hint: set CLOUDFLARE_WORKERS_TOKEN_REVIEW to the token for `review/*`: Cloudflare API token: Workers Scripts: Edit on the account
        hint: then run `cargo xtask setup --yes`, or run it in a terminal
    "#]].assert_eq(&asked.stderr);
    let unconfirmed = setup(&env, &[], &[]).exits(3);
    assert!(unconfirmed.stderr.contains("the writes are not confirmed"), "{}", unconfirmed.stderr);
    for (name, value, message) in [
        ("CLOUDFLARE_ACCOUNT_ID", "abc", "`abc` is not an account id; nothing was changed"),
        ("CI_PROJECT_ID", "shop", "`shop` is not a project number; nothing was changed"),
        (
            "CLOUDFLARE_WORKERS_TOKEN_REVIEW",
            "another-token",
            "Cloudflare does not accept CLOUDFLARE_WORKERS_TOKEN for review/*: ",
        ),
        (
            "CICD_COMMENT_TOKEN_REVIEW",
            "another-token",
            "GitLab does not accept CICD_COMMENT_TOKEN for review/*: ",
        ),
    ] {
        let ran = setup(&env, &["--yes"], &[(name, value)]).exits(3);
        assert!(ran.stderr.contains(message), "{name}: {}", ran.stderr);
        assert!(!ran.stderr.contains("another-token"), "{}", ran.stderr);
    }
    let developer = setup(&env, &["--yes"], &[("GITLAB_TOKEN", "glpat-developer-1")]).exits(1);
    assert!(
        developer.stderr.contains("the token needs the role Maintainer"),
        "{}",
        developer.stderr
    );
    let dry = setup(&env, &["--dry-run"], &[]).exits(0).stdout;
    for token in [CANARY, MAINTAINER, COMMENT] {
        assert!(!dry.contains(token), "{dry}");
    }
    assert_eq!(config(&env)["gitlab"]["projectId"], "0");
    assert_eq!(variables(&env), Vec::<Value>::new(), "nothing was changed");

    let json = setup(&env, &["--yes", "--json"], &[]).exits(0);
    assert!(!json.stdout.contains(CANARY) && !json.stdout.contains(COMMENT), "{}", json.stdout);
    let states: Vec<Value> = json.json()["steps"]
        .as_array()
        .expect("steps")
        .iter()
        .map(|step| step["state"].clone())
        .collect();
    assert_eq!(states, ["done"; 5]);
    assert_eq!(config(&env)["cloudflare"]["accountId"], ACCOUNT);
    assert_eq!(config(&env)["gitlab"]["projectId"], "12");
    let stored = [
        json!(["CLOUDFLARE_WORKERS_TOKEN", "production/*", true, true]),
        json!(["CLOUDFLARE_WORKERS_TOKEN", "review/*", false, true]),
        json!(["CICD_COMMENT_TOKEN", "review/*", false, true]),
    ];
    assert_eq!(variables(&env), stored);
    let schedules = gitlab(&env, "GET", "/projects/12/pipeline_schedules", &Value::Null);
    assert_eq!(
        (&schedules[0]["ref"], &schedules[0]["cron"]),
        (&json!("refs/heads/main"), &json!("17 3 * * *"))
    );
    let pipeline =
        env.xtask_with(&["doctor", "network.variables"], &[("GITLAB_TOKEN", MAINTAINER)]).exits(0);
    assert!(pipeline.stdout.contains("✓ variables in GitLab"), "{}", pipeline.stdout);

    // What is there stays, and needs no value.
    let again =
        env.xtask_with(&["setup", "--sandbox", "--yes"], &[("GITLAB_TOKEN", MAINTAINER)]).exits(0);
    expect![[r#"
        STEP      NAME                                       STATE
        ids       dagger/config/config.json                  there already
        variable  CLOUDFLARE_WORKERS_TOKEN for production/*  there already
        variable  CLOUDFLARE_WORKERS_TOKEN for review/*      there already
        variable  CICD_COMMENT_TOKEN for review/*            there already
        schedule  every night on main                        there already

        left to do
        1. Protect the default branch in *Settings → Repository → Protected branches*: Maintainers merge, no one pushes
        2. Register the account's workers.dev subdomain once: open *Workers & Pages* in Cloudflare's dashboard
        3. Choose a runner: *Settings → CI/CD → Runners*
        4. Run `cargo xtask ci generate`, commit the pipeline with the config, and merge it
    "#]].assert_eq(&again.stdout);
    assert_eq!(variables(&env), stored);
}

#[test]
fn prompts_without_echoing_the_token() {
    let env = fresh();
    let yes = "[y/N] ";
    let answers = json!([
        ["account id", format!("{ACCOUNT}\n")],
        ["Number of the GitLab project", "12\n"],
        ["GitLab token of a maintainer", format!("{MAINTAINER}\n")],
        ["for production/*", format!("{CANARY}\n")],
        ["for review/*", "\n"],
        ["CICD_COMMENT_TOKEN for review/*", format!("{COMMENT}\n")],
        [yes, "y\n"],
        [yes, "y\n"],
        [yes, "n\n"],
        [yes, "y\n"],
    ]);
    let answers = answers.to_string();
    let mut command = env.command(&["setup", "--sandbox"], &[("ANSWERS", &answers)]);
    let ran = env.in_terminal(100, &mut command).exits(0);
    for token in [CANARY, MAINTAINER, COMMENT] {
        assert!(!ran.stdout.contains(token), "{}", ran.stdout);
    }
    assert_eq!(variables(&env), [json!(["CLOUDFLARE_WORKERS_TOKEN", "production/*", true, true])]);
    assert_eq!(config(&env)["cloudflare"]["accountId"], ACCOUNT);
    for message in
        ["not written", "Add the variable CLOUDFLARE_WORKERS_TOKEN with the scope `review/*`"]
    {
        assert!(ran.stdout.contains(message), "{message}: {}", ran.stdout);
    }
}

/// A dry run prints a script that does the same as a run.
#[test]
fn the_script_of_a_dry_run_stores_the_same() {
    let env = fresh();
    let script = setup(&env, &["--dry-run"], &[]).exits(0).stdout;
    let (_, steps) = script.split_once("\n}\n").expect("a preamble");
    let (before, config_text) = steps.split_once("<<'DAGGER'\n").expect("the ids");
    let (config_text, after) = config_text.split_once("\nDAGGER\n").expect("the ids");
    assert!(config_text.contains(ACCOUNT), "{config_text}");
    let shown = format!("{before}<<'DAGGER'\n…\nDAGGER\n{after}");
    expect![[r##"
        # curl reads the credentials from its input, so that no other process sees them.
        escape() { printf %s "$1" | sed 's/[\\"]/\\&/g'; }

        # CLOUDFLARE_WORKERS_TOKEN for production/* is accepted
        (
          only CLOUDFLARE_WORKERS_TOKEN_PRODUCTION
          curl --fail --silent --show-error --output /dev/null --config - http://127.0.0.1:PORT/client/v4/accounts/0123456789abcdef0123456789abcdef/workers/scripts <<CURL
        header = "Authorization: Bearer $(escape "$CLOUDFLARE_WORKERS_TOKEN_PRODUCTION")"
        CURL
        )

        # CLOUDFLARE_WORKERS_TOKEN for review/* is accepted
        (
          only CLOUDFLARE_WORKERS_TOKEN_REVIEW
          curl --fail --silent --show-error --output /dev/null --config - http://127.0.0.1:PORT/client/v4/accounts/0123456789abcdef0123456789abcdef/workers/scripts <<CURL
        header = "Authorization: Bearer $(escape "$CLOUDFLARE_WORKERS_TOKEN_REVIEW")"
        CURL
        )

        # CICD_COMMENT_TOKEN for review/* is accepted
        (
          only CICD_COMMENT_TOKEN_REVIEW
          curl --fail --silent --show-error --output /dev/null --config - http://127.0.0.1:PORT/api/v4/user <<CURL
        header = "PRIVATE-TOKEN: $(escape "$CICD_COMMENT_TOKEN_REVIEW")"
        CURL
        )

        # ids
        cat > dagger/config/config.json <<'DAGGER'
        …
        DAGGER

        # creates the variable CLOUDFLARE_WORKERS_TOKEN for production/*
        (
          only GITLAB_TOKEN CLOUDFLARE_WORKERS_TOKEN_PRODUCTION
          curl --fail --silent --show-error --output /dev/null --config - --request POST \
            --data-urlencode key=CLOUDFLARE_WORKERS_TOKEN \
            --data-urlencode 'environment_scope=production/*' \
            --data-urlencode protected=true \
            --data-urlencode masked=true \
            --data-urlencode raw=true \
            --data-urlencode masked_and_hidden=true \
            http://127.0.0.1:PORT/api/v4/projects/12/variables <<CURL
        header = "PRIVATE-TOKEN: $(escape "$GITLAB_TOKEN")"
        data-urlencode = "value=$(escape "$CLOUDFLARE_WORKERS_TOKEN_PRODUCTION")"
        CURL
        )

        # creates the variable CLOUDFLARE_WORKERS_TOKEN for review/*
        (
          only GITLAB_TOKEN CLOUDFLARE_WORKERS_TOKEN_REVIEW
          curl --fail --silent --show-error --output /dev/null --config - --request POST \
            --data-urlencode key=CLOUDFLARE_WORKERS_TOKEN \
            --data-urlencode 'environment_scope=review/*' \
            --data-urlencode protected=false \
            --data-urlencode masked=true \
            --data-urlencode raw=true \
            --data-urlencode masked_and_hidden=true \
            http://127.0.0.1:PORT/api/v4/projects/12/variables <<CURL
        header = "PRIVATE-TOKEN: $(escape "$GITLAB_TOKEN")"
        data-urlencode = "value=$(escape "$CLOUDFLARE_WORKERS_TOKEN_REVIEW")"
        CURL
        )

        # creates the variable CICD_COMMENT_TOKEN for review/*
        (
          only GITLAB_TOKEN CICD_COMMENT_TOKEN_REVIEW
          curl --fail --silent --show-error --output /dev/null --config - --request POST \
            --data-urlencode key=CICD_COMMENT_TOKEN \
            --data-urlencode 'environment_scope=review/*' \
            --data-urlencode protected=false \
            --data-urlencode masked=true \
            --data-urlencode raw=true \
            --data-urlencode masked_and_hidden=true \
            http://127.0.0.1:PORT/api/v4/projects/12/variables <<CURL
        header = "PRIVATE-TOKEN: $(escape "$GITLAB_TOKEN")"
        data-urlencode = "value=$(escape "$CICD_COMMENT_TOKEN_REVIEW")"
        CURL
        )

        # creates the nightly schedule
        (
          only GITLAB_TOKEN
          curl --fail --silent --show-error --output /dev/null --config - --request POST \
            --data-urlencode 'description=Deploy what is left and delete previews (cargo xtask)' \
            --data-urlencode ref=refs/heads/main \
            --data-urlencode 'cron=17 3 * * *' \
            --data-urlencode cron_timezone=UTC \
            --data-urlencode active=true \
            http://127.0.0.1:PORT/api/v4/projects/12/pipeline_schedules <<CURL
        header = "PRIVATE-TOKEN: $(escape "$GITLAB_TOKEN")"
        CURL
        )

        # left to do
        # 1. Protect the default branch in *Settings → Repository → Protected branches*: Maintainers merge, no one pushes
        # 2. Register the account's workers.dev subdomain once: open *Workers & Pages* in Cloudflare's dashboard
        # 3. Choose a runner: *Settings → CI/CD → Runners*
        # 4. Run `cargo xtask ci generate`, commit the pipeline with the config, and merge it
    "##]].assert_eq(&shown.replace(&env.port().to_string(), "PORT"));
    assert_eq!(variables(&env), Vec::<Value>::new(), "nothing was changed");
    env.write(".xtask/setup.sh", &script);
    let values: Vec<String> = VALUES
        .iter()
        .map(|(name, value)| format!("{name}={}", base::command::quote(value)))
        .collect();
    env.sh(&format!("{} sh .xtask/setup.sh", values.join(" "))).exits(0);
    assert_eq!(config(&env)["cloudflare"]["accountId"], ACCOUNT);
    assert_eq!(config(&env)["gitlab"]["projectId"], "12");
    assert_eq!(
        variables(&env),
        [
            json!(["CLOUDFLARE_WORKERS_TOKEN", "production/*", true, true]),
            json!(["CLOUDFLARE_WORKERS_TOKEN", "review/*", false, true]),
            json!(["CICD_COMMENT_TOKEN", "review/*", false, true]),
        ]
    );
    let schedules = gitlab(&env, "GET", "/projects/12/pipeline_schedules", &Value::Null);
    assert_eq!(schedules[0]["ref"], "refs/heads/main");
    let nothing = setup(&env, &["--dry-run"], &[]).exits(0);
    assert!(!nothing.stdout.contains("--config"), "{}", nothing.stdout);
}

#[test]
fn replaces_a_variable_only_if_asked_to() {
    let env = fresh();
    // An expired token that a person stored without protection, and a variable without a value.
    for (name, scope, value) in [
        ("CLOUDFLARE_WORKERS_TOKEN", "production/*", "expired-token"),
        ("CLOUDFLARE_WORKERS_TOKEN", "review/*", ""),
    ] {
        let variable = json!({ "key": name, "value": value, "environment_scope": scope });
        gitlab(&env, "POST", "/projects/12/variables", &variable);
    }
    let kept = setup(&env, &["--yes"], &[]).exits(0);
    assert!(
        kept.stderr.contains(
            "GitLab has CLOUDFLARE_WORKERS_TOKEN for production/* already; `--replace` replaces it"
        ),
        "{}",
        kept.stderr
    );
    assert_eq!(
        variables(&env),
        [
            json!(["CLOUDFLARE_WORKERS_TOKEN", "production/*", false, false]),
            json!(["CLOUDFLARE_WORKERS_TOKEN", "review/*", false, true]),
            json!(["CICD_COMMENT_TOKEN", "review/*", false, true]),
        ]
    );
    // Only the variables for which there is a token are replaced.
    let given = [("GITLAB_TOKEN", MAINTAINER), ("CLOUDFLARE_WORKERS_TOKEN_PRODUCTION", CANARY)];
    let replace = |arguments: &[&str]| {
        let arguments = [&["setup", "--sandbox", "--replace"], arguments].concat();
        env.xtask_with(&arguments, &given)
    };
    let script = replace(&["--dry-run"]).exits(0);
    assert!(
        script
            .stderr
            .contains("would replace in GitLab: CLOUDFLARE_WORKERS_TOKEN for production/*")
    );
    assert!(script.stdout.contains("--request PUT"), "{}", script.stdout);
    let ran = replace(&["--yes"]).exits(0);
    expect![[r#"
        STEP      NAME                                       STATE
        ids       dagger/config/config.json                  there already
        variable  CLOUDFLARE_WORKERS_TOKEN for production/*  replaced
        variable  CLOUDFLARE_WORKERS_TOKEN for review/*      there already
        variable  CICD_COMMENT_TOKEN for review/*            there already
        schedule  every night on main                        there already

        left to do
        1. Protect the default branch in *Settings → Repository → Protected branches*: Maintainers merge, no one pushes
        2. Register the account's workers.dev subdomain once: open *Workers & Pages* in Cloudflare's dashboard
        3. Choose a runner: *Settings → CI/CD → Runners*
        4. Run `cargo xtask ci generate`, commit the pipeline with the config, and merge it
    "#]].assert_eq(&ran.stdout);
    expect![[r#"
        replaces in GitLab: CLOUDFLARE_WORKERS_TOKEN for production/*
    "#]]
    .assert_eq(&ran.stderr);
    assert_eq!(variables(&env)[0], json!(["CLOUDFLARE_WORKERS_TOKEN", "production/*", true, true]));
}
