//! Values of a wrangler config that wrangler or Cloudflare refuses: refused before anything runs.

use expect_test::{Expect, expect};

use crate::support::TestEnv;

const DATE: &str = r#""compatibility_date": "2026-10-01""#;

/// Returns a repository with a Worker without a build, and this wrangler config.
fn repository(name: &str, config: &str) -> TestEnv {
    let env = TestEnv::new();
    env.write(&format!("projects/a/{name}"), config);
    env.write("projects/a/worker.js", "export default { fetch: () => new Response('a') };\n");
    env.commit("project");
    env
}

/// Returns the errors of a dry run, or an empty text if it has none.
fn errors(env: &TestEnv, arguments: &[&str]) -> String {
    let ran = env.xtask(&[&["deploy", "a", "--dry-run"], arguments].concat());
    let today = ran.stderr.lines().map(|line| without_today(line) + "\n");
    let lines = today.filter(|line| {
        ["error:", "hint:", "projects/a/"].iter().any(|start| line.starts_with(start))
    });
    let text: String = lines.collect();
    assert_eq!(ran.code, if text.is_empty() { 0 } else { 3 }, "{}", ran.stderr);
    text
}

/// Replaces today's date in UTC.
fn without_today(line: &str) -> String {
    line.replace(&base::time::today(), "TODAY")
}

/// Checks the errors of a Worker whose config has these fields.
#[track_caller]
fn check(fields: &str, expected: &Expect) {
    let env = repository("wrangler.json", &format!(r#"{{ "name": "a", {fields} }}"#));
    expected.assert_eq(&errors(&env, &[]));
}

#[test]
fn a_missing_or_invalid_date_is_refused() {
    check(
        r#""main": "worker.js""#,
        &expect![[r#"
            error: projects/a/wrangler.json: it has no `compatibility_date`, which wrangler requires for an upload
            hint: add `"compatibility_date": "TODAY"`, which is today, to its top level
        "#]],
    );
    check(
        r#""main": "worker.js", "compatibility_date": "tomorrow""#,
        &expect![[r#"
            error: projects/a/wrangler.json: `compatibility_date` is `tomorrow`, which is no date of the form `2025-01-31`
            hint: write `"compatibility_date": "TODAY"`, which is today, or an earlier date
        "#]],
    );
    check(
        r#""main": "worker.js", "compatibility_date": "2999-01-01""#,
        &expect![[r#"
            error: projects/a/wrangler.json: `compatibility_date` is `2999-01-01`, which Cloudflare refuses until that day comes; today is TODAY in UTC
            hint: write `"compatibility_date": "TODAY"`, or an earlier date
        "#]],
    );
    let toml = "name = \"a\"\nmain = \"worker.js\"\ncompatibility_date = 2025-01-01\n";
    let env = repository("wrangler.toml", toml);
    expect![[r#"
        error: projects/a/wrangler.toml: `compatibility_date` is a date without quotes, and wrangler expects a string
        hint: write `compatibility_date = "2025-01-01"`
    "#]]
    .assert_eq(&errors(&env, &[]));
}

#[test]
fn a_block_inherits_the_date_and_may_set_its_own() {
    let inherited =
        format!(r#"{{ "name": "a", "main": "worker.js", {DATE}, "env": {{ "staging": {{}} }} }}"#);
    assert_eq!(errors(&repository("wrangler.json", &inherited), &["--env", "staging"]), "");
    let own =
        format!(r#"{{ "name": "a", "main": "worker.js", "env": {{ "staging": {{ {DATE} }} }} }}"#);
    let env = repository("wrangler.json", &own);
    assert_eq!(errors(&env, &["--env", "staging"]), "");
    assert!(errors(&env, &[]).contains("it has no `compatibility_date`"));
}

#[test]
fn a_config_that_a_build_may_write_needs_no_date() {
    let config = r#"{ "name": "a", "main": "worker.js" }"#;
    let env = repository("wrangler.json", config);
    env.write(
        "projects/a/package.json",
        r#"{ "name": "a", "scripts": { "build": "vite build" } }"#,
    );
    env.commit("build");
    assert_eq!(errors(&env, &[]), "");
    // The config of an earlier build is not used without a build, also after an install. No compiler writes one.
    let leftover = |env: &TestEnv| {
        env.write("projects/a/.wrangler/deploy/config.json", r#"{ "configPath": "../../x.json" }"#);
    };
    for (script, is_left, is_refused) in [
        ("", false, true),
        ("", true, true),
        (r#""postinstall": "node setup.mjs""#, true, true),
        (r#""build": "tsc && npm run css", "css": "sass a.scss dist/a.css""#, false, true),
        (r#""build": "tsc""#, true, false),
        (r#""build": "tsc && node build.mjs""#, false, false),
        (r#""build": "vite build""#, true, false),
    ] {
        let env = repository("wrangler.json", config);
        let package = format!(r#"{{ "name": "a", "scripts": {{ {script} }} }}"#);
        env.write("projects/a/package.json", &package);
        if is_left {
            leftover(&env);
        }
        env.commit("package");
        let found = errors(&env, &[]);
        assert_eq!(
            found.contains("it has no `compatibility_date`"),
            is_refused,
            "{script} {found}"
        );
    }
    // Nor does the storage need one.
    let storage = r#"{ "name": "a", "main": "worker.js", "compatibility_date": "2026-10-01", "kv_namespaces": [{ "binding": "KV" }] }"#;
    let env = repository("wrangler.json", storage);
    leftover(&env);
    let found = errors(&env, &["--env", "staging"]);
    assert!(found.contains("the binding `KV` of `kv_namespaces` has no `id`"), "{found}");
    // wrangler follows no other config's redirect.
    let env = repository("wrangler.api.json", config);
    env.write(
        "projects/a/package.json",
        r#"{ "name": "a", "scripts": { "build": "vite build" } }"#,
    );
    env.commit("build");
    assert!(errors(&env, &[]).contains("it has no `compatibility_date`"));
}

#[test]
fn a_value_of_a_wrong_type_is_named_with_its_types() {
    for (fields, expected) in [
        (
            r#""main": ["worker.js"]"#,
            expect![[r#"
                error: projects/a/wrangler.json: `main` is a list, and wrangler expects a string
                hint: write `"main": "worker.js"`
            "#]],
        ),
        (
            r#""assets": "dist""#,
            expect![[r#"
                error: projects/a/wrangler.json: `assets` is a string, and wrangler expects an object
                hint: write `"assets": { "directory": "dist" }`
            "#]],
        ),
        (
            r#""main": "worker.js", "routes": "a""#,
            expect![[r#"
                error: projects/a/wrangler.json: `routes` is a string, and wrangler expects a list
                hint: write `"routes": ["a"]`
            "#]],
        ),
    ] {
        check(&format!("{DATE}, {fields}"), &expected);
    }
    check(
        r#""main": "worker.js", "compatibility_date": 20250101"#,
        &expect![[r#"
            error: projects/a/wrangler.json: `compatibility_date` is the number 20250101, and wrangler expects a string
            hint: write `"compatibility_date": "2025-01-01"`
        "#]],
    );
    let env = repository("wrangler.json", r#"{ "name": 5, "main": "worker.js" }"#);
    let refused = env.xtask(&["deploy", "--all", "--dry-run"]).exits(3).stderr;
    assert!(
        refused.contains(
            "projects/a/wrangler.json: `name` is the number 5, and wrangler expects a string"
        ),
        "{refused}"
    );
}

#[test]
fn crons_that_cloudflare_refuses_are_refused() {
    let config = |top: &str, staging: &str| {
        format!(
            r#"{{ "name": "a", "main": "worker.js", {DATE}, "triggers": {{ "crons": {top} }},
                "env": {{ "staging": {{ "triggers": {{ "crons": {staging} }} }}, "production": {{}} }} }}"#
        )
    };
    let valid =
        r#"["*/15 * * * *", "0 9 * * MON-FRI", "0 0 L * *", "59 23 15W * *", "0 18 * * 6#2"]"#;
    let env = repository("wrangler.json", &config(valid, r#"["0 9 * * MON", "0 * * * * *"]"#));
    assert_eq!(errors(&env, &[]), "");
    expect![[r#"
        error: projects/a/wrangler.json: `env.staging.triggers.crons[1]` is `0 * * * * *`, which Cloudflare refuses: it has 6 fields, and a cron expression has 5
        hint: write minute, hour, day of the month, month and day of the week, in UTC, such as `*/15 * * * *` or `0 9 * * MON-FRI`
    "#]]
    .assert_eq(&errors(&env, &["--env", "staging"]));
    let env = repository("wrangler.json", &config(r#"["0 9 * * 0"]"#, "[]"));
    assert_eq!(errors(&env, &["--env", "staging"]), "");
    expect![[r#"
        error: projects/a/wrangler.json: `triggers.crons[0]` is `0 9 * * 0`, which Cloudflare refuses: `0` is no day of the week, which is 1 (Sunday) to 7 or SUN to SAT
        hint: write minute, hour, day of the month, month and day of the week, in UTC, such as `*/15 * * * *` or `0 9 * * MON-FRI`
    "#]]
    .assert_eq(&errors(&env, &[]));
    // A gradual deployment applies no crons.
    assert_eq!(errors(&env, &["--percent", "10"]), "");
    let rows = env.xtask(&["doctor", "--offline", "--json"]).json()["projects"].clone();
    assert!(rows[0]["problem"].to_string().contains("which Cloudflare refuses"), "{rows}");
}

#[test]
fn routes_that_wrangler_or_cloudflare_refuses_are_refused() {
    let valid = r#""routes": ["https://example.com/a*", "*/*", { "pattern": "shop.customer.example/*", "zone_name": "example.com" }]"#;
    check(&format!(r#"{DATE}, "main": "worker.js", {valid}"#), &expect![[""]]);
    check(
        &format!(
            r#"{DATE}, "main": "worker.js", "routes": ["example.com/*", "example.com/?q=*", ""]"#
        ),
        &expect![[r#"
            error: projects/a/wrangler.json: `routes[1]` has a query, which no pattern may have: `example.com/?q=*`
            projects/a/wrangler.json: `routes[2]` has an empty pattern
            hint: end the pattern with `*`, which matches every query
            hint: write a pattern such as `example.com/*`, or remove it
        "#]],
    );
    check(
        &format!(
            r#"{DATE}, "main": "worker.js", "route": {{ "pattern": "https://example.com/a", "custom_domain": true }}"#
        ),
        &expect![[r#"
            error: projects/a/wrangler.json: `route` is a custom domain with a scheme: `https://example.com/a`
            hint: write `example.com`, which matches every path
        "#]],
    );
}

#[test]
fn storage_without_an_id_is_refused_for_cloudflare_and_created_in_the_sandbox() {
    let storage =
        r#""kv_namespaces": [{ "binding": "KV" }], "r2_buckets": [{ "binding": "FILES" }]"#;
    let config = format!(
        r#"{{ "name": "a", "main": "worker.js", {DATE}, {storage}, "env": {{ "staging": {{ {storage} }} }} }}"#
    );
    let env = repository("wrangler.json", &config);
    assert_eq!(errors(&env, &[]), "");
    assert_eq!(errors(&env, &["--env", "staging", "--sandbox"]), "");
    expect![[r#"
        error: projects/a/wrangler.json: the binding `KV` of `kv_namespaces` has no `id`, and a deployment creates no storage
        hint: create the storage, such as by `cargo xtask wrangler a --env staging -- kv namespace create NAME`, and write its `id` into `kv_namespaces`
    "#]]
    .assert_eq(&errors(&env, &["--env", "staging"]));
}

#[test]
fn a_block_that_lacks_fields_of_the_top_level_has_a_note() {
    let config = format!(
        r#"{{ "name": "a", "main": "worker.js", {DATE}, "vars": {{ "API": "1", "STAGE": "live" }}, "ai": {{ "binding": "AI" }},
            "env": {{ "staging": {{ "vars": {{ "STAGE": "staging" }} }} }} }}"#
    );
    let env = repository("wrangler.json", &config);
    let note = "projects/a/wrangler.json: `env.staging` lacks `ai` (`AI`), `vars` (`API`) of the top level, which blocks do not inherit";
    let dry = env.xtask(&["deploy", "a", "--dry-run", "--env", "staging"]).exits(0);
    assert!(dry.stdout.contains(&format!("# note: {note}\n")), "{}", dry.stdout);
    let plan =
        env.xtask(&["deploy", "a", "--dry-run", "--env", "staging", "--json"]).exits(0).json();
    assert_eq!(
        plan["projects"][0]["notInherited"],
        serde_json::json!(["`ai` (`AI`)", "`vars` (`API`)"])
    );
    let doctor = env.xtask(&["doctor", "deploy", "a", "--env", "staging", "--offline"]);
    assert!(doctor.stdout.contains(note), "{}{}", doctor.stdout, doctor.stderr);
    let top = env.xtask(&["deploy", "a", "--dry-run", "--env", "production", "--json"]);
    assert!(!top.stdout.contains("notInherited"), "{}", top.stdout);
}
