//! Hints that leave out a project fit the list in the shared config, and mistakes of the same kind are one message.

use expect_test::{Expect, expect};

use crate::hints::errors;
use crate::support::TestEnv;

/// Three Pages projects of `apps`, five fixtures, and a Worker in `apps/api`.
fn repository() -> TestEnv {
    let env = TestEnv::with_tools();
    env.worker("apps/api", "api");
    let pages = r#"{ "name": "pages", "pages_build_output_dir": "dist" }"#;
    for name in ["amber", "blue", "cyan"] {
        env.write(&format!("apps/{name}/wrangler.json"), pages);
    }
    env
}

fn list(env: &TestEnv, list: &str) {
    let config = std::fs::read_to_string(env.root.join("dagger/config/config.json")).expect("text");
    env.write("dagger/config/config.json", &config.replacen('{', &format!("{{ {list},"), 1));
}

/// Compares the problems that `doctor` shows, and the errors after a deployment of all projects.
#[track_caller]
fn check(env: &TestEnv, doctor: &Expect, deploy: &Expect) {
    env.commit("tree");
    let shown = env.xtask(&["doctor", "--offline"]).stdout;
    let rows = shown.lines().skip_while(|line| !line.starts_with('✗'));
    let rows = rows.take_while(|line| !line.is_empty()).map(|line| format!("{line}\n"));
    doctor.assert_eq(&rows.collect::<String>());
    let ran = env.xtask(&["deploy", "--all", "--dry-run"]).exits(3);
    deploy.assert_eq(&errors(env, &ran.stderr));
}

#[test]
fn several_configs_of_the_same_kind_are_one_line() {
    let env = repository();
    check(
        &env,
        &expect![[r#"
            ✗ apps/amber/wrangler.json, apps/blue/wrangler.json, apps/cyan/wrangler.json: this is a Pages project, and xtask deploys Workers
                fix: see https://developers.cloudflare.com/workers/static-assets/migration-guides/migrate-from-pages/
                fix: leave them out: `"projects": ["**", "!apps/amber", "!apps/blue", "!apps/cyan"]` in dagger/config/config.json
        "#]],
        &expect![[r#"
        error: apps/amber/wrangler.json, apps/blue/wrangler.json, apps/cyan/wrangler.json: this is a Pages project, and xtask deploys Workers
        hint: see https://developers.cloudflare.com/workers/static-assets/migration-guides/migrate-from-pages/
        hint: leave them out: `"projects": ["**", "!apps/amber", "!apps/blue", "!apps/cyan"]` in dagger/config/config.json
    "#]],
    );
    // The hint fits a list that exists.
    list(&env, r#""projects": ["apps/**", "libs/**"]"#);
    check(
        &env,
        &expect![[r#"
            ✗ apps/amber/wrangler.json, apps/blue/wrangler.json, apps/cyan/wrangler.json: this is a Pages project, and xtask deploys Workers
                fix: see https://developers.cloudflare.com/workers/static-assets/migration-guides/migrate-from-pages/
                fix: leave them out: add `"!apps/amber", "!apps/blue", "!apps/cyan"` to `projects` in dagger/config/config.json
        "#]],
        &expect![[r#"
        error: apps/amber/wrangler.json, apps/blue/wrangler.json, apps/cyan/wrangler.json: this is a Pages project, and xtask deploys Workers
        hint: see https://developers.cloudflare.com/workers/static-assets/migration-guides/migrate-from-pages/
        hint: leave them out: add `"!apps/amber", "!apps/blue", "!apps/cyan"` to `projects` in dagger/config/config.json
    "#]],
    );
    std::fs::remove_dir_all(env.root.join("apps/blue")).expect("removed");
    std::fs::remove_dir_all(env.root.join("apps/cyan")).expect("removed");
    check(
        &env,
        &expect![[r#"
        ✗ apps/amber/wrangler.json: this is a Pages project, and xtask deploys Workers
            fix: see https://developers.cloudflare.com/workers/static-assets/migration-guides/migrate-from-pages/
            fix: leave it out: add `"!apps/amber"` to `projects` in dagger/config/config.json
    "#]],
        &expect![[r#"
        error: apps/amber/wrangler.json: this is a Pages project, and xtask deploys Workers
        hint: see https://developers.cloudflare.com/workers/static-assets/migration-guides/migrate-from-pages/
        hint: leave it out: add `"!apps/amber"` to `projects` in dagger/config/config.json
    "#]],
    );
}

#[test]
fn a_folder_of_fixtures_is_left_out_as_a_whole() {
    let env = repository();
    std::fs::remove_dir_all(env.root.join("apps")).expect("removed");
    env.worker("site", "site");
    for number in 0..5 {
        env.write(&format!("test/fixtures/f{number}/wrangler.json"), "{ broken");
    }
    check(
        &env,
        &expect![[r#"
        ✗ test/fixtures/f0/wrangler.json, test/fixtures/f1/wrangler.json, test/fixtures/f2/wrangler.json and 2 more: Expected colon after the string or word in object property on line 1 column 9
            fix: leave them out: `"projects": ["**", "!test/fixtures/**"]` in dagger/config/config.json
    "#]],
        &expect![[r#"
        error: test/fixtures/f0/wrangler.json, test/fixtures/f1/wrangler.json, test/fixtures/f2/wrangler.json and 2 more: Expected colon after the string or word in object property on line 1 column 9
        hint: leave them out: `"projects": ["**", "!test/fixtures/**"]` in dagger/config/config.json
    "#]],
    );
}

#[test]
fn a_wrong_setting_is_corrected_and_not_left_out() {
    let env = TestEnv::with_tools();
    env.worker("projects/site", "site");
    for name in ["one", "two"] {
        env.worker(&format!("projects/{name}"), name);
        env.write(
            &format!("projects/{name}/package.json"),
            r#"{ "xtask": { "inputs": ["shared"] } }"#,
        );
    }
    check(
        &env,
        &expect![[r#"
            ✗ projects/one/wrangler.toml: projects/one/package.json: the input `shared` is not in this repository; the same for projects/two/wrangler.toml
                fix: correct `xtask.inputs` in projects/one/package.json: paths begin at the repository's root, and likewise for the others
        "#]],
        &expect![[r#"
            error: projects/one/wrangler.toml: projects/one/package.json: the input `shared` is not in this repository; the same for projects/two/wrangler.toml
            hint: correct `xtask.inputs` in projects/one/package.json: paths begin at the repository's root, and likewise for the others
        "#]],
    );
}
