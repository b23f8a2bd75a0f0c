//! Every way round the protection of production that we can think of, a row each, with the real
//! binary. Rows that pass get as far as the token, which is not there.

use crate::support::TestEnv;

/// The variables of a pipeline of the protected default branch of the project that the config
/// names.
const MAIN: &[(&str, &str)] = &[
    ("GITLAB_CI", "true"),
    ("CI_SERVER_URL", "https://gitlab.example.com/base"),
    ("CI_API_V4_URL", "https://gitlab.example.com/base/api/v4"),
    ("CI_PROJECT_ID", "42"),
    ("CI_DEFAULT_BRANCH", "main"),
    ("CI_COMMIT_BRANCH", "main"),
    ("CI_COMMIT_REF_NAME", "main"),
    ("CI_COMMIT_REF_PROTECTED", "true"),
    ("CI_PIPELINE_SOURCE", "push"),
];

/// The outcome of a run.
enum Ends {
    /// It may change production, and lacks the token only.
    AtTheToken,
    /// It is refused, with this message.
    Refused(&'static str),
}
use Ends::{AtTheToken, Refused};

/// A way round: its name, what it changes of [`MAIN`], what it gets to.
type Row = (&'static str, &'static [(&'static str, &'static str)], Ends);

/// A repository whose config names a GitLab project, with one site that has a staging block.
fn env() -> TestEnv {
    let env = TestEnv::new();
    let config = std::fs::read_to_string(env.root.join("dagger/config/config.json")).expect("text");
    let config = config
        .replace("https://gitlab.com", "https://gitlab.example.com/base")
        .replace("\"projectId\": \"0\"", "\"projectId\": \"42\"");
    env.write("dagger/config/config.json", &config);
    env.write("projects/a/dist/index.html", "a");
    env.write("projects/a/wrangler.jsonc", &wrangler("a", r#""staging": {}"#));
    env.commit("site");
    env
}

fn wrangler(name: &str, blocks: &str) -> String {
    format!(
        r#"{{ "name": "{name}", "compatibility_date": "2026-10-01", "preview_urls": true, "assets": {{ "directory": "./dist" }}, "env": {{ {blocks} }} }}"#
    )
}

/// The variables of [`MAIN`] with some replaced; `-` takes one out.
fn but<'a>(changes: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let kept = MAIN.iter().filter(|(name, _)| !changes.iter().any(|(other, _)| name == other));
    kept.chain(changes.iter().filter(|(_, value)| *value != "-")).copied().collect()
}

#[track_caller]
fn check(env: &TestEnv, row: &str, arguments: &[&str], variables: &[(&str, &str)], ends: &Ends) {
    let ran = env.xtask_with(arguments, variables);
    let wanted = match ends {
        AtTheToken => "the variable CLOUDFLARE_WORKERS_TOKEN is not set",
        Refused(why) => why,
    };
    let is_protection = ran.stderr.contains("is protected:");
    assert!([2, 3].contains(&ran.code), "{row}: {} {}", ran.code, ran.stderr);
    assert!(ran.stderr.contains(wanted), "{row}: {}", ran.stderr);
    assert!(!(is_protection && matches!(ends, AtTheToken)), "{row}: {}", ran.stderr);
}

const DEPLOY: &[&str] = &["deploy", "a", "--env", "production"];

#[test]
fn only_the_protected_default_branch_s_pipeline_changes_production() {
    let env = env();
    let other = "the default branch is `main`";
    let rows: &[Row] = &[
        ("the default branch's push", &[], AtTheToken),
        ("its schedule", &[("CI_PIPELINE_SOURCE", "schedule")], AtTheToken),
        ("a manual start", &[("CI_PIPELINE_SOURCE", "web")], AtTheToken),
        ("its start by the API", &[("CI_PIPELINE_SOURCE", "api")], AtTheToken),
        ("its start by a trigger", &[("CI_PIPELINE_SOURCE", "trigger")], AtTheToken),
        ("its child pipeline", &[("CI_PIPELINE_SOURCE", "parent_pipeline")], AtTheToken),
        (
            "a server written with a slash",
            &[("CI_SERVER_URL", "https://gitlab.example.com/base/")],
            AtTheToken,
        ),
        ("outside of a pipeline", &[("GITLAB_CI", "-")], Refused("not a GitLab pipeline")),
        (
            "another CI that sets CI=true",
            &[("GITLAB_CI", ""), ("CI", "true")],
            Refused("not a GitLab pipeline"),
        ),
        ("GITLAB_CI spelt otherwise", &[("GITLAB_CI", "True")], Refused("not a GitLab pipeline")),
        ("GITLAB_CI as a number", &[("GITLAB_CI", "1")], Refused("not a GitLab pipeline")),
        (
            "another branch",
            &[("CI_COMMIT_BRANCH", "next"), ("CI_COMMIT_REF_NAME", "next")],
            Refused(other),
        ),
        (
            "a protected branch that is not the default",
            &[("CI_COMMIT_BRANCH", "release"), ("CI_COMMIT_REF_NAME", "release")],
            Refused(other),
        ),
        (
            "the default's name in capitals",
            &[("CI_COMMIT_BRANCH", "Main"), ("CI_COMMIT_REF_NAME", "Main")],
            Refused(other),
        ),
        ("the default's name with a space", &[("CI_COMMIT_BRANCH", "main ")], Refused(other)),
        (
            "the default's name as the end of another",
            &[("CI_COMMIT_BRANCH", "x/main"), ("CI_COMMIT_REF_NAME", "x/main")],
            Refused(other),
        ),
        ("a letter that looks the same", &[("CI_COMMIT_BRANCH", "m\u{430}in")], Refused(other)),
        (
            "another branch under the default's name",
            &[("CI_COMMIT_REF_NAME", "evil")],
            Refused("CI_COMMIT_REF_NAME is `evil`"),
        ),
        (
            "a tag named like the default",
            &[("CI_COMMIT_BRANCH", "-"), ("CI_COMMIT_TAG", "main")],
            Refused("of the tag `main`"),
        ),
        (
            "that tag with a branch set manually",
            &[("CI_COMMIT_TAG", "main")],
            Refused("of the tag `main`"),
        ),
        ("no branch", &[("CI_COMMIT_BRANCH", "-")], Refused(other)),
        ("no default branch", &[("CI_DEFAULT_BRANCH", "-")], Refused("the default branch is ``")),
        (
            "neither",
            &[("CI_COMMIT_BRANCH", ""), ("CI_DEFAULT_BRANCH", "")],
            Refused("the default branch is ``"),
        ),
        (
            "an unprotected ref",
            &[("CI_COMMIT_REF_PROTECTED", "false")],
            Refused("CI_COMMIT_REF_PROTECTED is `false`"),
        ),
        (
            "protection unknown",
            &[("CI_COMMIT_REF_PROTECTED", "-")],
            Refused("CI_COMMIT_REF_PROTECTED is ``"),
        ),
        (
            "protection empty",
            &[("CI_COMMIT_REF_PROTECTED", "")],
            Refused("CI_COMMIT_REF_PROTECTED is ``"),
        ),
        (
            "protection True",
            &[("CI_COMMIT_REF_PROTECTED", "True")],
            Refused("CI_COMMIT_REF_PROTECTED is `True`"),
        ),
        (
            "protection 1",
            &[("CI_COMMIT_REF_PROTECTED", "1")],
            Refused("CI_COMMIT_REF_PROTECTED is `1`"),
        ),
        (
            "protection with a space",
            &[("CI_COMMIT_REF_PROTECTED", " true")],
            Refused("CI_COMMIT_REF_PROTECTED is ` true`"),
        ),
        (
            "a merge request, detached",
            &[
                ("CI_COMMIT_BRANCH", "-"),
                ("CI_PIPELINE_SOURCE", "merge_request_event"),
                ("CI_MERGE_REQUEST_IID", "5"),
                ("CI_MERGE_REQUEST_EVENT_TYPE", "detached"),
                ("CI_COMMIT_REF_NAME", "topic"),
            ],
            Refused("a merge request's"),
        ),
        (
            "a merge request of merged results",
            &[
                ("CI_COMMIT_BRANCH", "-"),
                ("CI_PIPELINE_SOURCE", "merge_request_event"),
                ("CI_MERGE_REQUEST_IID", "5"),
                ("CI_MERGE_REQUEST_EVENT_TYPE", "merged_result"),
                ("CI_COMMIT_REF_NAME", "refs/merge-requests/5/merge"),
            ],
            Refused("a merge request's"),
        ),
        (
            "a merge train",
            &[
                ("CI_COMMIT_BRANCH", "-"),
                ("CI_PIPELINE_SOURCE", "merge_request_event"),
                ("CI_MERGE_REQUEST_IID", "5"),
                ("CI_MERGE_REQUEST_EVENT_TYPE", "merge_train"),
            ],
            Refused("a merge request's"),
        ),
        (
            "a merge request whose pipeline file names the default branch",
            &[("CI_PIPELINE_SOURCE", "merge_request_event"), ("CI_MERGE_REQUEST_IID", "5")],
            Refused("a merge request's"),
        ),
        (
            "one that hides its source too",
            &[("CI_MERGE_REQUEST_IID", "5")],
            Refused("a merge request's"),
        ),
        (
            "a merge request's child pipeline",
            &[("CI_PIPELINE_SOURCE", "parent_pipeline"), ("CI_MERGE_REQUEST_IID", "5")],
            Refused("a merge request's"),
        ),
        (
            "an external pull request",
            &[("CI_PIPELINE_SOURCE", "external_pull_request_event")],
            Refused("a pull request's"),
        ),
        (
            "a fork's default branch",
            &[("CI_PROJECT_ID", "43")],
            Refused("the GitLab project 43, and the config names 42"),
        ),
        ("a project without a number", &[("CI_PROJECT_ID", "-")], Refused("without a number")),
        ("a number with a space", &[("CI_PROJECT_ID", "42 ")], Refused("the config names 42")),
        (
            "the same number on another instance",
            &[("CI_SERVER_URL", "https://gitlab.evil.example")],
            Refused("CI_SERVER_URL is"),
        ),
        (
            "an instance that starts like ours",
            &[("CI_SERVER_URL", "https://gitlab.example.com/base.evil.example")],
            Refused("CI_SERVER_URL is"),
        ),
        ("no server", &[("CI_SERVER_URL", "-")], Refused("CI_SERVER_URL is ``")),
        (
            "another API",
            &[("CI_API_V4_URL", "https://gitlab.evil.example/api/v4")],
            Refused("CI_API_V4_URL is"),
        ),
    ];
    for (row, changes, ends) in rows {
        check(&env, row, DEPLOY, &but(changes), ends);
    }
    // Nothing on this machine tells GitLab from a person who sets the same variables. The token does.
    check(&env, "a person who sets all of them", DEPLOY, MAIN, &AtTheToken);
    let ran = env.xtask_with(DEPLOY, &[("GITLAB_CI", "-")]);
    assert!(ran.stderr.contains("--break-glass"), "{}", ran.stderr);
}

#[test]
fn no_other_command_and_no_other_spelling_changes_production() {
    let env = env();
    let protected = Refused("`production` is protected");
    let unknown = Refused("unknown environment");
    let rows: &[(&str, &[&str], &Ends)] = &[
        ("rollback", &["rollback", "a", "--env", "production"], &protected),
        (
            "rollback to a version",
            &["rollback", "a", "--env", "production", "--to", "0123456789"],
            &protected,
        ),
        ("promote", &["promote", "a", "--env", "production", "--from", "mr-5"], &protected),
        ("with --force", &["deploy", "a", "--env", "production", "--force"], &protected),
        (
            "with --no-rollback",
            &["deploy", "a", "--env", "production", "--no-rollback"],
            &protected,
        ),
        ("all of them", &["deploy", "--all", "--env=production"], &protected),
        (
            "the Dagger engine",
            &["deploy", "a", "--env", "production", "--engine", "dagger"],
            &protected,
        ),
        ("as JSON", &["--json", "deploy", "a", "--env", "production"], &protected),
        ("capitals", &["deploy", "a", "--env", "Production"], &unknown),
        ("a space behind", &["deploy", "a", "--env", "production "], &unknown),
        ("a space before", &["deploy", "a", "--env", " production"], &unknown),
        ("a line break", &["deploy", "a", "--env", "production\n"], &unknown),
        ("the beginning", &["deploy", "a", "--env", "prod"], &unknown),
        ("nothing", &["deploy", "a", "--env", ""], &unknown),
        ("a path", &["deploy", "a", "--env", "staging/../production"], &unknown),
        (
            "a reason that no font shows",
            &["deploy", "a", "--env", "production", "--break-glass", "\u{200b}\u{2800}\u{3164}"],
            &Refused("--break-glass"),
        ),
        // A preview changes nothing that is live: it may be asked for from everywhere, with a token.
        ("a preview of it", &["preview", "a", "--env", "production", "--alias", "x"], &AtTheToken),
        (
            "with a reason",
            &["deploy", "a", "--env", "production", "--break-glass", "fire"],
            &AtTheToken,
        ),
        ("staging", &["deploy", "a", "--env", "staging"], &AtTheToken),
    ];
    for (row, arguments, ends) in rows {
        check(&env, row, arguments, &[], ends);
    }
    // To look is allowed: it prints a script, and reads nothing of Cloudflare.
    let dry = env.xtask(&["deploy", "a", "--env", "production", "--dry-run"]).exits(0);
    assert!(dry.stdout.contains("# deploy to production"), "{}", dry.stdout);
    let arguments = ["deploy", "a", "--env=production", "--break-glass", "the 'fire'", "--dry-run"];
    let glass = env.xtask(&arguments).exits(0);
    assert!(glass.stdout.contains("break glass: the "), "{}", glass.stdout);
    // In a merge request no environment is taken for granted, and a preview uploads without deploying.
    let mr = [("GITLAB_CI", "true"), ("CI_MERGE_REQUEST_IID", "5")];
    env.xtask_with(&["deploy", "a"], &mr).exits(2);
    let dry = env.xtask_with(&["preview", "a", "--dry-run"], &mr).exits(0);
    assert!(dry.stdout.contains(" versions upload "), "{}", dry.stdout);
    assert!(!dry.stdout.contains("wrangler.js deploy"), "{}", dry.stdout);
}

#[test]
fn no_unprotected_environment_reaches_what_production_serves() {
    let env = env();
    let beside =
        |name: &str, blocks: &str| env.write("projects/b/wrangler.jsonc", &wrangler(name, blocks));
    env.write("projects/b/dist/index.html", "b");
    let domain = r#""routes": [{ "pattern": "www.example.com", "custom_domain": true }]"#;
    env.write(
        "projects/a/wrangler.jsonc",
        &wrangler("a", "\"staging\": { \"routes\": [] }").replacen(
            "\"env\"",
            &format!("{domain}, \"env\""),
            1,
        ),
    );
    let own = Refused("would change the Worker `b` that `production` serves");
    let others = Refused("would change the Worker `a` that `production` serves");
    let route = Refused("would take ");
    let rows: &[(&str, &str, &Ends)] = &[
        ("its own block", r#""staging": {}"#, &AtTheToken),
        ("no block", "", &own),
        ("production's name in the block", r#""staging": { "name": "b" }"#, &own),
        ("another project's production Worker", r#""staging": { "name": "a" }"#, &others),
        (
            "a name that is a path",
            r#""staging": { "name": "../b" }"#,
            &Refused("is not a Worker name"),
        ),
        ("a name in capitals", r#""staging": { "name": "A" }"#, &Refused("is not a Worker name")),
        (
            "another account",
            r#""staging": { "account_id": "ffffffffffffffffffffffffffffffff" }"#,
            &Refused("`account_id` is"),
        ),
        (
            "another project's domain",
            r#""staging": { "routes": [{ "pattern": "WWW.example.com", "custom_domain": true }] }"#,
            &route,
        ),
        ("a route over that domain", r#""staging": { "route": "www.example.com/*" }"#, &route),
        ("a wildcard over that domain", r#""staging": { "routes": ["*.example.com/*"] }"#, &route),
        ("its own domain", r#""staging": { "routes": ["staging.example.com/*"] }"#, &AtTheToken),
    ];
    for (row, blocks, ends) in rows {
        beside("b", blocks);
        check(&env, row, &["deploy", "b", "--env", "staging"], &[], ends);
    }
    // Rollback and promote change the same Workers.
    beside("b", r#""staging": { "name": "a" }"#);
    for verb in [&["rollback", "b"][..], &["promote", "b", "--from=mr-5"]] {
        check(&env, verb[0], &[verb, &["--env", "staging"]].concat(), &[], &others);
    }
    // A domain at the top level is inherited by a block that names no routes.
    env.write(
        "projects/b/wrangler.jsonc",
        &wrangler("b", r#""staging": {}"#).replacen(
            "\"env\"",
            &format!("{}, \"env\"", domain.replace("www", "b")),
            1,
        ),
    );
    check(&env, "an inherited domain", &["deploy", "b", "--env", "staging"], &[], &route);
}
