//! Input that means harm, from files and names: no panic, nothing carried out, clear errors.

use base::cmd;
use camino::Utf8Path;
use deployment::plan::{fields, guard, protection};
use proptest::prelude::*;
use serde_json::{Value, json};
use workspace::config::Config;
use workspace::package::Package;
use workspace::strategy::Strategy as PreviewStrategy;
use workspace::wrangler::WranglerConfig;

use crate::support::{TestEnv, repository};

pub fn any_text() -> impl Strategy<Value = String> {
    let nasty = r#"[$`'"\\;|&<>(){}\[\]#!*?~ \t\n\r\x00\x1b\u{9b}\u{202e}é🔑a-c0-2=:,/.-]{0,24}"#;
    prop_oneof![nasty, "(?s:.{0,24})", "(DAGGER\n|EOF\n|__proto__|\\.\\./){1,3}"]
}

/// Any JSON, with names that our readers look for among its keys.
pub fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any_text().prop_map(Value::from),
    ];
    const NAMES: &[&str] = &[
        "name",
        "env",
        "staging",
        "routes",
        "route",
        "pattern",
        "custom_domain",
        "assets",
        "directory",
        "main",
        "account_id",
        "build",
        "command",
        "preview_urls",
        "scripts",
        "dependencies",
        "workspaces",
        "packages",
        "xtask",
        "health",
        "inputs",
        "dependsOn",
        "success",
        "result",
        "errors",
        "code",
        "message",
        "items",
        "deployments",
        "versions",
        "version_id",
        "percentage",
        "id",
        "created_on",
        "annotations",
        "subdomain",
        "enabled",
        "url",
        "status",
        "type",
        "targets",
        "environments",
        "gitlab",
        "cloudflare",
        "images",
        "pipeline",
    ];
    let key =
        prop_oneof![3 => proptest::sample::select(NAMES).prop_map(str::to_owned), 1 => any_text()];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(key.clone(), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Returns `base` with another value at one place.
pub fn replace(base: &Value, at: usize, with: &Value) -> Value {
    fn places(value: &Value, path: String, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                for (key, inner) in map {
                    places(inner, format!("{path}/{key}"), found);
                }
            }
            Value::Array(list) => list
                .iter()
                .enumerate()
                .for_each(|(i, inner)| places(inner, format!("{path}/{i}"), found)),
            _ => {}
        }
        found.push(path);
    }
    let mut found = Vec::new();
    places(base, String::new(), &mut found);
    let mut value = base.clone();
    if let Some(place) = value.pointer_mut(&found[at % found.len()]) {
        *place = with.clone();
    }
    value
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn reads_or_refuses_files_with_any_content(
        text in any_text(), other in any_json(), at in any::<usize>(), toml in any::<bool>(),
    ) {
        let path = Utf8Path::new(if toml { "p/wrangler.toml" } else { "p/wrangler.jsonc" });
        let whole = json!({ "name": "site", "main": "a.ts", "assets": { "directory": "./dist" }, "account_id": "x",
            "route": "a.example/*", "routes": [{ "pattern": "b.example", "custom_domain": true }], "preview_urls": true,
            "build": {}, "triggers": { "crons": ["0 3 * * *"] }, "compatibility_date": "2026-10-01", "kv_namespaces": [{ "binding": "KV" }], "env": { "staging": { "name": "other", "routes": [] } } });
        let config: Config = Config::parse(include_str!("../../../dagger/config/config.json")).expect("valid");
        let mutated = replace(&whole, at, &other);
        for text in [text.clone(), other.to_string(), mutated.to_string()] {
            match WranglerConfig::parse(path, &text) {
                Err(failure) => prop_assert!(failure.message.starts_with(path.as_str()), "{}", failure.message),
                Ok(wrangler) => {
                    for environment in wrangler.environments.iter().map(String::as_str).chain(["local", "production"]) {
                        let worker = wrangler.target(environment).worker;
                        prop_assert!(worker.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b)));
                        let _patterns = wrangler.patterns(environment);
                    }
                    let project = workspace::project::Project {
                        name: "p".into(), dir: "p".into(), config: path.to_owned(), worker: wrangler.target("local").worker,
                        environments: wrangler.environments.clone(), package: None, module: false, wrangler,
                    };
                    let _checked = guard::check(&config, &project, "staging")
                        .and_then(|()| guard::check_account(&config, &project, "staging"));
                    for way in [PreviewStrategy::Alias, PreviewStrategy::Preview] {
                        let _checked = guard::check_preview(&project, "staging", way);
                    }
                    let _checked = fields::check_types(&project, "staging", false);
                    let _checked = fields::check_date(&project, "staging", "2026-11-30");
                    let _checked = fields::check_crons(&project, "staging");
                    let _checked = fields::check_routes(&project, "staging");
                    let _checked = fields::check_storage_ids(&project, "staging");
                    let _missing = project.wrangler.not_inherited("staging");
                    let _checked = guard::dist(&project, &project.target("staging"));
                    let _checked = protection::check(&config, std::slice::from_ref(&project), &[&project], "staging");
                }
            }
        }
        let package = json!({ "name": "p", "version": "1", "scripts": { "build": "x" }, "dependencies": { "a": "workspace:*" },
            "workspaces": ["a/*"], "xtask": { "health": "/up", "inputs": ["a"], "dependsOn": ["b"] } });
        for text in [text.clone(), other.to_string(), replace(&package, at, &other).to_string()] {
            match Package::parse(Utf8Path::new("p"), &text) {
                Err(failure) => prop_assert!(failure.message.starts_with("p/package.json"), "{}", failure.message),
                Ok(package) => {
                    let path = package.settings.health.path();
                    prop_assert!(path.starts_with('/') && !path.contains(['\'', '"', ' ', '\n']));
                }
            }
        }
        let shared: Value = serde_json::from_str(include_str!("../../../dagger/config/config.json")).expect("JSON");
        for text in [text, other.to_string(), replace(&shared, at, &other).to_string()] {
            if let Err(failure) = Config::parse(&text) {
                prop_assert!(failure.message.starts_with("dagger/config/config.json"), "{}", failure.message);
            }
        }
    }
}

/// The input of a child arrives unchanged, whatever line would end it, and none of it runs.
#[test]
fn text_never_ends_its_heredoc_or_word() {
    let env = TestEnv::new();
    let texts = [
        "DAGGER\ntouch pwned\n",
        "DAGGER\r\nDAGGER_\ntouch pwned",
        "$(touch pwned)`touch pwned`",
        "'; touch pwned; '",
        "\\\nDAGGER\n",
        "",
        "\n\n",
        "a'\"$b\\",
        "DAGGER_\nDAGGER\n\tDAGGER",
    ];
    for text in texts {
        let mut command = cmd!(&env.root, "cat -", std::time::Duration::ZERO).text("VALUE", text);
        command.stdin = Some(text.to_owned());
        let printed = env.sh(&command
            .script(&env.root, Utf8Path::new("t"))
            .replace("  only \n", "")
            .replace("  only\n", ""));
        assert_eq!(
            printed.stdout.trim_end_matches('\n'),
            text.trim_end_matches('\n'),
            "{}",
            printed.stderr
        );
        let command = cmd!(&env.root, "printf %s {text}", std::time::Duration::ZERO);
        let printed = env.sh(&command.line());
        assert_eq!(printed.stdout, text);
    }
    assert!(!env.root.join("pwned").exists());
}

const FAKE_BUN: &str = r#"#!/bin/sh
cat >/dev/null
for last; do :; done
case "$last" in
'{"account"'*) mkdir -p "$(printf %s "$last" | sed 's/.*"upload":"//; s/"}$//; s/\\"/"/g')" ;;
esac
"#;

/// Folders, files and settings with hostile names, through the real binary: what is printed as a script
/// carries out nothing but itself, and what is printed for people steers no terminal.
#[test]
fn hostile_names_never_run_as_commands() {
    let env = TestEnv::with_tools();
    let dir = "projects/$(touch pwned)`touch pwned`';touch pwned;'\" #";
    env.site(dir, "site-a");
    env.write(&format!("{dir}/src/\u{1b}[2Jx\u{202e}y\ntouch pwned\n.txt"), "");
    env.commit("site");
    env.git(&["checkout", "--quiet", "-b", "a\u{202e}b;touch${IFS}pwned"]);
    env.write(&format!("{dir}/src/\u{1b}[2Jx\u{202e}y\ntouch pwned\n.txt"), "changed");
    let scripts = [
        &["deploy", "--dry-run", "--engine", "host"][..],
        &["deploy", "--dry-run", "--engine", "dagger"],
        &["preview", "--all", "--dry-run", "--engine=host"],
    ]
    .map(|arguments| env.xtask(arguments).exits(0).stdout);
    env.write(".xtask/sandbox/token", "t");
    env.write(".xtask/sandbox/server.json", "{ \"port\": 8787, }");
    std::fs::remove_file(env.folder.join("bin/bun")).expect("removable");
    for program in ["curl", "dagger", "npm"] {
        env.program(program, "#!/bin/sh\ncat >/dev/null\n");
    }
    // The program that prepares an upload is told where as JSON, and leaves a folder there.
    env.program("bun", FAKE_BUN);
    for script in scripts {
        assert!(script.contains("touch pwned"), "{script}");
        let ran = env.sh(&script).exits(0);
        assert_eq!(ran.stderr, "", "{script}");
    }
    env.xtask(&["ci", "generate"]).exits(0);
    let files = env.sh("find . -name pwned | grep . && exit 1; exit 0");
    assert_eq!((files.code, files.stdout.as_str()), (0, ""));
    for arguments in [
        &["affected", "--why"][..],
        &["affected", "--why", "--json"],
        &["projects"],
        &["deploy", "x\u{1b}]0;t\u{7}"],
        &["deploy", "--env", "\u{9b}2J"],
    ] {
        let ran = env.xtask(arguments);
        let steers = |c: char| c != '\n' && c != '\t' && base::text::is_control_or_bidi(c);
        assert!(!(ran.stdout + &ran.stderr).contains(steers), "{arguments:?}");
    }
}

#[test]
fn refuses_dangerous_configs_with_their_place() {
    let env = TestEnv::new();
    env.site("projects/a", "a");
    env.commit("site");
    let deep = |open: &str, close: &str| open.repeat(100_000) + &close.repeat(100_000);
    let package = |health: &str| json!({ "xtask": { "health": health } }).to_string();
    let config = |from: &str, to: &str| {
        std::fs::read_to_string(repository().join("dagger/config/config.json"))
            .expect("text")
            .replace(from, to)
    };
    let assets =
        |folder: &str| json!({ "name": "a", "assets": { "directory": folder } }).to_string();
    let rows = [
        ("projects/a/wrangler.jsonc", deep("[", "]")),
        ("projects/a/wrangler.jsonc", deep("{\"a\":", "}")),
        ("projects/a/wrangler.jsonc", "{ \"name\": \"a\", ".to_owned() + &"/*".repeat(50_000)),
        ("projects/a/wrangler.jsonc", assets("../../../../etc")),
        ("projects/a/wrangler.jsonc", assets("/etc")),
        ("projects/a/wrangler.jsonc", assets(".")),
        ("projects/a/wrangler.jsonc", assets("dist\n# touch pwned")),
        ("projects/a/package.json", deep("[", "]")),
        ("projects/a/package.json", package("/'; touch pwned; '")),
        ("projects/a/package.json", package("/\ntouch pwned")),
        ("projects/a/package.json", package("//evil.example\u{202e}")),
        ("projects/a/package.json", package("@evil.example/")),
        ("projects/a/package.json", "\u{0}".repeat(1000)),
        ("dagger/config/config.json", deep("{\"cloudflare\":", "}")),
        ("dagger/config/config.json", config("CLOUDFLARE_WORKERS_TOKEN", "X; touch pwned")),
        ("dagger/config/config.json", config("CICD_COMMENT_TOKEN", "X Y")),
        ("dagger/config/config.json", config("\"staging\"", "\"stag/../ing\"")),
        ("dagger/config/config.json", config("\"staging\"", "\"a b\"")),
    ];
    for (path, text) in rows {
        let good = std::fs::read_to_string(env.root.join(path)).expect("text");
        env.write(path, &text);
        let ran = env.xtask(&["deploy", "a", "--dry-run"]).exits(3);
        let start: String = text.chars().take(60).collect();
        assert!(ran.stderr.contains(path) && ran.stderr.len() < 5000, "{start}: {}", ran.stderr);
        env.write(path, &good);
    }
    env.write("projects/a\u{202e}b/wrangler.jsonc", r#"{ "name": "b", "main": "a.ts" }"#);
    for (arguments, exit) in [
        (&["deploy", "--all", "--dry-run"][..], 3),
        (&["deploy", "a\u{202e}b"], 3),
        (&["ci", "generate"], 0),
    ] {
        let ran = env.xtask(arguments).exits(exit);
        assert!(ran.stderr.contains("invisible character"), "{}", ran.stderr);
    }
    let listed = env.xtask(&["projects"]).exits(0);
    assert!(listed.stderr.contains("skipped: the folder"), "{}", listed.stderr);
}
