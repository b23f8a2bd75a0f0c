//! The generated pipeline as a file: its YAML, its names, its tables.

use gitlab::pipeline::template::{Values, fill};
use gitlab::pipeline::variables;
use serde_json::{Value, json};
use workspace::config::Config;
use workspace::yaml::Yaml;

use crate::affected::tree_with_submodule;
use crate::pipeline::{assert_agrees_with_itself, configure, pipeline, read_yaml, with_pipeline};
use crate::support::{TestEnv, repository};

#[test]
fn two_yaml_parsers_read_the_same_pipeline() {
    let env = with_pipeline();
    let pipeline = pipeline(&env);
    let text = std::fs::read_to_string(env.root.join(".gitlab-ci.yml")).expect("text");
    assert_eq!(text, pipeline.text);
    let yaml = Yaml::parse(&text).expect("valid");
    assert_eq!(scalars_as_texts(&read_yaml(&text)), to_json(&yaml), "both parsers agree");
}

/// Returns a YAML value as JSON whose scalars are all strings.
fn to_json(yaml: &Yaml) -> Value {
    match yaml {
        Yaml::Scalar(text) => json!(text),
        Yaml::List(items) => items.iter().map(to_json).collect(),
        Yaml::Map(entries) => {
            entries.iter().map(|(key, value)| (key.clone(), to_json(value))).collect()
        }
    }
}

fn scalars_as_texts(value: &Value) -> Value {
    match value {
        Value::String(text) => json!(text),
        Value::Array(items) => items.iter().map(scalars_as_texts).collect(),
        Value::Object(entries) => {
            entries.iter().map(|(key, value)| (key.clone(), scalars_as_texts(value))).collect()
        }
        other => json!(other.to_string()),
    }
}

#[test]
fn any_value_survives_yaml() {
    let words = [
        "",
        " ",
        "a",
        "a b",
        " a",
        "a ",
        "a:",
        "a: b",
        "a:b",
        "a #b",
        "a#b",
        "#",
        "- a",
        "-",
        "?",
        "[a]",
        "{a}",
        "&a",
        "*a",
        "!a",
        "|",
        ">",
        "'",
        "\"",
        "%",
        "@",
        "`",
        "~",
        "null",
        "Null",
        "true",
        "TRUE",
        "no",
        "Off",
        "y",
        "1",
        "1.0",
        "0x1f",
        "1_000",
        "1:30",
        "2026-11-24",
        ".inf",
        ".5",
        "..",
        "...",
        "---",
        "<<",
        "=",
        "$A",
        "/a",
        "é",
        "\u{7f}",
        "\u{85}",
        "\u{a0}",
        "\u{2028}",
        "\u{feff}",
        "😀",
        "\t",
        "a\tb",
        "a\\b",
        "a\n",
        "\n",
        "\n\n",
        "a\nb",
        "a\nb\n",
        "a\n\nb\n\n",
        " a\nb",
        "a\n b\n",
        "a \nb",
        "a\r\nb",
        "a\n\tb",
        "a\n#b",
        "a: b\n- c\n",
        "a\n\u{7f}",
    ];
    let template = "$[[ key ]]:\n  - $[[ word ]]\n  - x: $[[ word ]]\nkey: $[[ word ]]\n";
    let mut text = String::new();
    let mut expected = Vec::new();
    for (index, word) in words.into_iter().enumerate() {
        // Bun 1.4.5 merges maps also at a quoted `<<`.
        let key = if word == "<<" { "merge" } else { word };
        let values = Values::from([("key", key.into()), ("word", word.into())]);
        text +=
            &fill(&template.replace("key:", &format!("key {index}:")), &values).expect("filled");
        expected.push((key.to_owned(), json!([word, { "x": word }])));
        expected.push((format!("key {index}"), json!(word)));
    }
    let expected: Value = expected.into_iter().collect();
    assert_eq!(read_yaml(&text), expected, "{text}");
}

#[test]
fn generate_writes_checks_and_prints_the_file() {
    let env = with_pipeline();
    assert_eq!(env.xtask(&["ci", "generate"]).exits(0).stdout, "up to date\n");
    env.xtask(&["ci", "generate", "--check"]).exits(0);
    // As git checks it out with `eol=crlf`.
    let text = std::fs::read_to_string(env.root.join(".gitlab-ci.yml")).expect("text");
    env.write(".gitlab-ci.yml", &text.replace('\n', "\r\n"));
    env.xtask(&["ci", "generate", "--check"]).exits(0);
    env.site("projects/c.com", "c");
    // The repository of xtask has files of these names, which its pipeline uses.
    env.write("docs/gitlab.md", "# Our GitLab\n");
    env.write(".ci/run", "exit 1\n");
    let ran = env.xtask(&["ci", "generate", "--check"]).exits(1);
    assert!(ran.stderr.contains("out of date: .gitlab-ci.yml"), "{}", ran.stderr);
    let shown = env.xtask(&["ci", "generate", "--dry-run"]).exits(0).stdout;
    assert!(shown.contains("\ndeploy c.com:\n"), "{shown}");
    let shown = env.xtask(&["ci", "generate", "--dry-run", "--json"]).exits(0).json();
    assert_eq!(shown["files"][0]["path"], ".gitlab-ci.yml");
    let text = || std::fs::read_to_string(env.root.join(".gitlab-ci.yml")).expect("text");
    assert!(!text().contains("c.com"), "neither a check nor a dry run writes");
    let written = env.xtask(&["ci", "generate", "--json"]).exits(0).json();
    assert_eq!(written["written"], json!([".gitlab-ci.yml"]));
    assert!(text().contains("\ndeploy c.com:\n"));
    assert!(!text().contains("docs/") && !text().contains(".ci/run"), "{}", text());
    std::fs::remove_file(env.root.join(".gitlab-ci.yml")).expect("a file");
    let ran = env.xtask(&["ci", "generate", "--check"]).exits(1);
    let missing =
        "error: missing: .gitlab-ci.yml\nhint: run `cargo xtask ci generate` to write it\n";
    assert!(ran.stderr.ends_with(missing), "{}", ran.stderr);
}

#[test]
fn a_changed_dependency_starts_the_deployment() {
    let env = with_pipeline();
    env.write("packages/theme/package.json", "{ \"name\": \"theme\" }");
    env.write("bun.lock", "");
    env.write(
        "projects/b.com/package.json",
        r#"{ "name": "b", "dependencies": { "theme": "file:../../packages/theme" },
             "xtask": { "inputs": ["content/press.md"] } }"#,
    );
    env.write("content/press.md", "");
    env.commit("a theme");
    let pipeline = pipeline(&env);
    let changes = pipeline.jobs.get("deploy b.com").expect("a job").rules[0].changes.clone();
    assert_eq!(
        changes.expect("paths"),
        [
            "bun.lock",
            "content/press.md",
            "packages/theme/**/*",
            "projects/b.com/**/*",
            "dagger/**/*",
            ".gitlab-ci.yml"
        ]
    );
}

#[test]
fn too_many_paths_start_the_deployment_on_every_push() {
    let env = with_pipeline();
    let inputs: Vec<String> = (0..60).map(|n| format!("content/{n}.md")).collect();
    for input in &inputs {
        env.write(input, "");
    }
    let manifest = json!({ "name": "b", "xtask": { "inputs": inputs } });
    env.write("projects/b.com/package.json", &manifest.to_string());
    env.commit("content");
    let pipeline = pipeline(&env);
    let rules = &pipeline.jobs.get("deploy b.com").expect("a job").rules;
    assert_eq!((rules.len(), rules[0].changes.is_none()), (1, true));
}

/// Writes Workers that name those in `bound`.
fn bound_worker(env: &TestEnv, name: &str, bound: &[String]) {
    let services: Vec<Value> =
        bound.iter().map(|to| json!({ "binding": to.to_uppercase(), "service": to })).collect();
    let config = json!({ "name": name, "main": "worker.js", "services": services });
    env.write(&format!("projects/{name}/wrangler.json"), &config.to_string());
    env.write(&format!("projects/{name}/worker.js"), "export default {};\n");
}

#[test]
fn no_job_has_more_needs_than_gitlab_accepts() {
    let env = TestEnv::new();
    let leaves: Vec<String> = (0..51).map(|number| format!("leaf{number}")).collect();
    leaves.iter().for_each(|leaf| bound_worker(&env, leaf, &[]));
    let needs = |bound: &[String]| {
        bound_worker(&env, "gateway", bound);
        pipeline(&env).jobs.get("deploy gateway").expect("a job").needs.clone().expect("needs")
    };
    let jobs = |bound: &[String]| -> Vec<String> {
        let mut jobs: Vec<String> = bound.iter().map(|leaf| format!("deploy {leaf}")).collect();
        jobs.sort();
        jobs
    };
    // Those of the other Workers wait for the check too.
    let with_check = [vec!["check".to_owned()], jobs(&leaves[..49])].concat();
    assert_eq!(needs(&leaves[..49]), with_check);
    assert_eq!(needs(&leaves[..50]), jobs(&leaves[..50]));
    // Through the hub the gateway still waits for all leaves.
    bound_worker(&env, "hub", &leaves[..20]);
    let all = [&leaves[..], &["hub".to_owned()]].concat();
    let nearest = [&leaves[20..], &["hub".to_owned()]].concat();
    assert_eq!(needs(&all), jobs(&nearest));
    let changes = pipeline(&env).jobs.get("deploy leaf1").expect("a job").rules[0].changes.clone();
    let changes = changes.expect("paths");
    for project in ["gateway", "hub", "leaf1"] {
        assert!(changes.contains(&format!("projects/{project}/**/*")), "{changes:?}");
    }
    bound_worker(&env, "gateway", &leaves);
    for arguments in [&["ci", "generate"][..], &["ci", "generate", "--check"]] {
        let ran = env.xtask(arguments).exits(3);
        assert_eq!(
            ran.stderr,
            "error: projects/gateway/wrangler.json: the job `deploy gateway` would wait for 51 others, and GitLab accepts 50 by default; no pipeline was written\n\
             hint: set `\"pipeline\": { \"deploy\": \"one-job\" }` in dagger/config/config.json: one job deploys all projects in the same order\n"
        );
    }
    assert!(!env.root.join(".gitlab-ci.yml").exists());
    configure(&env, &json!({ "deploy": "one-job" }));
    assert!(pipeline(&env).jobs.get("deploy").expect("a job").needs.is_none());
}

#[test]
fn later_environments_stay_within_the_limit_too() {
    let env = TestEnv::new();
    configure(&env, &json!({ "environments": ["staging", "production"] }));
    let leaves: Vec<String> = (0..50).map(|number| format!("leaf{number}")).collect();
    leaves.iter().for_each(|leaf| bound_worker(&env, leaf, &[]));
    bound_worker(&env, "gateway", &leaves[..49]);
    let jobs = pipeline(&env).jobs;
    for (to, first) in [("staging", "check"), ("production", "deploy gateway to staging")] {
        let needs = jobs.get(&format!("deploy gateway to {to}")).expect("a job").needs.clone();
        let needs = needs.expect("needs");
        assert_eq!((needs.len(), needs[0].as_str()), (50, first));
    }
    bound_worker(&env, "gateway", &leaves);
    let ran = env.xtask(&["ci", "generate"]).exits(3);
    let expected = "the job `deploy gateway to production` would wait for 51 others";
    assert!(ran.stderr.contains(expected), "{}", ran.stderr);
}

#[test]
fn a_changed_submodule_or_link_starts_the_deployment() {
    let (env, _) = tree_with_submodule();
    let changes = |env: &TestEnv| {
        let job = pipeline(env).jobs.get("deploy app").expect("a job").clone();
        job.rules[0].changes.clone().expect("paths")
    };
    let found = changes(&env);
    for path in ["vendor/theme", "vendor/theme/pkg/**/*"] {
        assert!(found.contains(&path.to_owned()), "{path}: {found:?}");
    }
    let own = pipeline(&env);
    assert_eq!(own.text.matches("GIT_SUBMODULE_STRATEGY: recursive\n").count(), 1);
    configure(&env, &json!({ "file": ".gitlab/xtask.yml" }));
    let included = pipeline(&env);
    for job in [".xtask:cargo", "xtask:check"] {
        let variables = &included.jobs.get(job).expect("a job").variables;
        assert_eq!(variables["GIT_SUBMODULE_STRATEGY"], "recursive", "{job}");
    }
    let env = TestEnv::new();
    env.site("projects/app", "app");
    env.write("shared/real/a.txt", "1\n");
    env.sh("ln -s real shared/link").exits(0);
    let manifest = r#"{ "name": "app", "xtask": { "inputs": ["shared/link"] } }"#;
    env.write("projects/app/package.json", manifest);
    env.commit("a link");
    let found = changes(&env);
    for path in ["shared/link", "shared/real/**/*"] {
        assert!(found.contains(&path.to_owned()), "{path}: {found:?}");
    }
    assert!(!pipeline(&env).text.contains("GIT_SUBMODULE_STRATEGY"));
}

#[test]
fn unusual_names_become_valid_gitlab_names() {
    let env = TestEnv::new();
    env.site("projects/@a/it's $HOME", "odd");
    env.site("projects/b+c", "plus");
    env.commit("projects");
    let odd = pipeline(&env);
    assert_agrees_with_itself(&odd);
    let job = odd.jobs.get("deploy @a/it's $HOME").expect("a job");
    let place = job.environment.as_ref().expect("an environment");
    assert_eq!(place.name, "production/-a/it-s -HOME-199981");
    assert_eq!(
        job.script,
        [r"cargo xtask deploy '@a/it'\''s $HOME' --env production --engine dagger"]
    );
    assert!(job.rules[0].changes.is_none(), "GitLab would expand the path");
    let whole = TestEnv::new();
    whole.site(".", "whole");
    whole.commit("project");
    let whole = pipeline(&whole);
    let job = whole.jobs.get("deploy whole").expect("a job");
    assert_eq!(job.environment.as_ref().expect("an environment").name, "production/whole");
    assert_eq!(job.rules[0].changes.as_ref().expect("paths")[0], "**/*");
}

#[test]
fn the_table_names_every_variable_with_its_scope() {
    let text =
        std::fs::read_to_string(repository().join("dagger/config/config.json")).expect("text");
    let mut value: Value = serde_json::from_str(&text).expect("JSON");
    value["environments"]["production"]["cloudflare"] = json!({ "tokenVariable": "LIVE_TOKEN" });
    let config = Config::parse(&value.to_string()).expect("valid");
    let row = |config: &Config, scope: &str, name: &str| {
        let rows = variables::table(config);
        assert!(rows.iter().all(|row| row.masked));
        rows.into_iter().find(|row| row.scope == scope && row.name == name).expect("a row")
    };
    assert!(row(&config, "production/*", "LIVE_TOKEN").protected);
    assert!(!row(&config, "review/*", "LIVE_TOKEN").protected, "merge requests are not protected");
    let comment = row(&config, "review/*", "CICD_COMMENT_TOKEN");
    assert_eq!((comment.required, comment.protected), (false, false));
    value["pipeline"] = json!({ "deploy": "one-job" });
    let config = Config::parse(&value.to_string()).expect("valid");
    assert!(row(&config, "production", "LIVE_TOKEN").protected);
}

#[test]
fn no_job_without_its_environment() {
    let env = with_pipeline();
    let path = "dagger/config/config.json";
    let mut config: Value =
        serde_json::from_str(&std::fs::read_to_string(env.root.join(path)).expect("text"))
            .expect("JSON");
    config["environments"] = json!({ "staging": {} });
    env.write(path, &config.to_string());
    let pipeline = pipeline(&env);
    let names: Vec<&str> = pipeline.jobs.0.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, [".cargo", ".docker", ".dagger", "check"]);
}

/// A merge request's jobs run the code of its branch: none is in the scope of a protected variable, none
/// names a protected environment on its command line, and each works with what is left.
#[test]
fn merge_request_jobs_do_not_have_production_s_token() {
    let env = with_pipeline();
    let config = Config::load(&env.root).expect("valid");
    let rows = variables::table(&config);
    let (guarded, open): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.protected);
    assert!(!guarded.is_empty() && guarded.iter().all(|row| row.masked), "{rows:?}");
    let jobs = read_yaml(&pipeline(&env).text);
    let reviewed = |job: &&Value| job["rules"].to_string().contains("merge_request_event");
    let (mut seen, mut deploys) = (0, 0);
    for job in jobs.as_object().expect("jobs").values().filter(|job| job["script"].is_array()) {
        let place = job["environment"]["name"].as_str().unwrap_or_default();
        let script = job["script"].to_string();
        let in_scope = |row: &&variables::Variable| match row.scope.strip_suffix('*') {
            Some(start) => place.starts_with(start),
            None => place == row.scope,
        };
        if reviewed(&job) {
            seen += 1;
            assert!(!guarded.iter().any(in_scope), "{place}");
            assert!(!script.contains("--env"), "{script}");
            assert!(place.is_empty() || open.iter().any(in_scope), "{place}");
        } else if place == "review/sweep" {
            assert!(!guarded.iter().any(in_scope), "a schedule's sweep only comments");
        } else {
            deploys += 1;
            assert!(guarded.iter().any(in_scope), "{place}");
            assert!(!open.iter().any(in_scope), "{place}");
        }
    }
    assert!(seen >= 3 && deploys >= 2, "{seen} {deploys}");
}
