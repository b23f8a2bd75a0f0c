//! Deployments from end to end: the real wrangler, the real workerd, the sandbox between them.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use crate::support::wait::Wait;
use crate::support::{CANARY, Ran, TestEnv, error_text};

fn deploy(env: &TestEnv, more: &[&str]) -> Ran {
    env.xtask(&[&["deploy", "--json"], more].concat())
}

#[test]
fn deploys_a_site_then_a_change_then_nothing() {
    let env = TestEnv::with_tools();
    env.site("projects/a", "site-a");
    env.commit("site");

    let first = deploy(&env, &["a"]).exits(0);
    let record = first.record("a");
    assert_eq!(record["status"], "live");
    assert_eq!(record["previous"], serde_json::Value::Null);
    assert_eq!(record["version"], record["live"]["version"]);
    assert_eq!(record["live"]["tag"], record["key"]);
    assert_eq!(env.fetch("site-a.localhost", "/"), (200, "<h1>site-a one</h1>".to_owned()));
    let saved = env
        .root
        .join(format!(".xtask/records/local-{}.json", record["nonce"].as_str().expect("text")));
    let saved: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(saved).expect("a record")).expect("JSON");
    assert_eq!(saved, record);
    let leak =
        env.fetch("site-a.localhost", "/leak").1 + &env.fetch("site-a.localhost", "/leak.txt").1;
    assert!(leak.contains("PATH") && !leak.contains("TOKEN"), "the build saw a credential: {leak}");

    let again = deploy(&env, &["a"]).exits(0);
    assert_eq!(again.record("a")["status"], "unchanged");
    assert_eq!(again.record("a")["version"], record["version"]);

    env.write("projects/a/content.txt", "<h1>site-a two</h1>");
    let changed = deploy(&env, &["a"]).exits(0);
    let second = changed.record("a");
    assert_eq!(second["status"], "live");
    assert_eq!(second["dirty"], true);
    assert_eq!(second["previous"]["version"], record["version"]);
    assert_ne!(second["key"], record["key"]);
    assert_eq!(env.fetch("site-a.localhost", "/").1, "<h1>site-a two</h1>");
    let version = record["version"].as_str().expect("text");
    assert_eq!(
        env.fetch(&format!("{}-site-a.localhost", &version[..8]), "/").1,
        "<h1>site-a one</h1>"
    );

    let forced = deploy(&env, &["a", "--force"]).exits(0);
    assert_eq!(forced.record("a")["status"], "live");
    env.assert_no_canary(&[&first, &again, &changed, &forced]);
}

#[test]
fn deploys_projects_in_parallel_and_one_failure_stops_no_other() {
    let env = TestEnv::with_tools();
    env.site("projects/good", "good");
    env.worker("projects/api", "api");
    for (name, build) in
        [("broken", "echo compiled nothing; exit 7"), ("missing", "true"), ("empty", "mkdir dist")]
    {
        env.site(&format!("projects/{name}"), name);
        env.write(
            &format!("projects/{name}/package.json"),
            &format!(r#"{{ "scripts": {{ "build": "{build}" }} }}"#),
        );
    }
    env.site("projects/typo", "typo");
    let config =
        std::fs::read_to_string(env.root.join("projects/typo/wrangler.jsonc")).expect("text");
    env.write("projects/typo/wrangler.jsonc", &config.replace("\"assets\"", "\"asssets\""));
    env.write("projects/typo/src.ts", "");
    env.commit("projects");
    // What a look at the files can tell is refused before anything is built. The other project goes on.
    let refused = deploy(&env, &["typo", "good"]).exits(3);
    let error = refused.error("typo");
    assert!(error.contains("asssets") && error.contains("`assets`"), "{error}");
    assert_eq!(refused.record("good")["status"], "live");
    let with_code = config.replace("\"assets\"", "\"main\": \"src.ts\", \"asssets\"");
    env.write("projects/typo/wrangler.jsonc", &with_code);
    let refused = deploy(&env, &["typo", "good"]).exits(3);
    let error = refused.error("typo");
    assert!(error.contains("asssets") && error.contains("`assets`"), "{error}");
    assert!(!env.root.join("projects/typo/dist").exists(), "it was not built");
    std::fs::remove_dir_all(env.root.join("projects/typo")).expect("removable");

    let ran = deploy(&env, &["--all", "--jobs", "3"]);
    let text = |name: &str| ran.error(name);
    for (name, status, reason) in [
        ("good", "unchanged", ""),
        ("api", "live", ""),
        ("broken", "failed", "compiled nothing"),
        ("missing", "refused", "is missing after the build"),
        ("empty", "refused", "is empty"),
    ] {
        assert_eq!(ran.record(name)["status"], status, "{name}: {}", text(name));
        assert!(text(name).contains(reason), "{name}: {}", text(name));
    }
    let ran = ran.exits(3);
    assert_eq!(env.fetch("api.localhost", "/up"), (200, "{\"stage\":\"top\"}".to_owned()));
    assert_eq!(env.fetch("broken.localhost", "/").0, 404);

    let staging = deploy(&env, &["api", "--env", "staging", "--sandbox"]).exits(0);
    assert_eq!(staging.record("api")["worker"], "api-staging");
    assert_eq!(env.fetch("api-staging.localhost", "/up").1, "{\"stage\":\"staging\"}");
    assert_eq!(env.fetch("api.localhost", "/up").1, "{\"stage\":\"top\"}");

    let report = env.xtask(&["deploy", "good", "broken"]).exits(1);
    assert!(report.stdout.contains("  Live    http://good.localhost:"), "{}", report.stdout);
    assert!(report.stdout.contains("failed: broken"), "{}", report.stdout);
    env.assert_no_canary(&[&ran, &staging, &report]);
}

#[test]
fn a_refused_token_changes_nothing() {
    let env = TestEnv::with_tools();
    env.site("projects/a", "a");
    env.commit("site");
    env.xtask(&["sandbox", "up"]).exits(0);
    let ran =
        env.xtask_with(&["deploy", "a", "--json"], &[("SANDBOX_TOKEN", "another-token")]).exits(3);
    let error = ran.error("a");
    assert!(
        error.contains("cannot read what is live") && error.contains("nothing was changed"),
        "{error}"
    );
    assert_eq!(env.fetch("a.localhost", "/").0, 404);
}

#[test]
fn deployments_survive_a_kill_of_the_sandbox() {
    let env = TestEnv::with_tools();
    env.site("projects/a", "a");
    env.commit("site");
    deploy(&env, &["a"]).exits(0);
    let up = env.xtask(&["sandbox", "up", "--json"]).exits(0).json();
    assert_eq!(
        up,
        env.xtask(&["sandbox", "up", "--json"]).exits(0).json(),
        "a second `up` does nothing"
    );
    env.sh(&format!("kill -9 {}", up["pid"])).exits(0);
    env.xtask(&["sandbox", "status"]).exits(1);
    env.xtask(&["sandbox", "up"]).exits(0);
    assert_eq!(env.fetch("a.localhost", "/"), (200, "<h1>a one</h1>".to_owned()));
    env.xtask(&["sandbox", "reset"]).exits(0);
    env.xtask(&["sandbox", "up"]).exits(0);
    assert_eq!(env.fetch("a.localhost", "/").0, 404);
}

#[test]
fn reports_a_sandbox_killed_during_a_deploy() {
    let env = TestEnv::with_tools();
    env.site("projects/a", "a");
    env.commit("site");
    // A port that no other test's sandbox takes over while this one is dead, as the default would be.
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
    let port = free.expect("a free port").port().to_string();
    env.xtask(&["sandbox", "up", "--port", &port]).exits(0);
    deploy(&env, &["a"]).exits(0);
    // The build itself pulls the rug, after what is live was read and before the upload.
    env.write(
        "projects/a/build.ts",
        "const { pid } = await Bun.file('../../.xtask/sandbox/server.json').json();\n\
        process.kill(pid, 'SIGKILL');\nawait Bun.write('dist/index.html', 'two');\n",
    );
    let ran = deploy(&env, &["a"]).exits(4);
    let record = ran.record("a");
    assert_eq!(record["status"], "unknown");
    let error = error_text(&record);
    assert!(error.contains("what is live now cannot be read"), "{error}");
    env.xtask(&["sandbox", "up"]).exits(0);
    assert_eq!(env.fetch("a.localhost", "/").1, "<h1>a one</h1>");
}

#[test]
fn ctrl_c_stops_the_children_and_is_reported() {
    let env = TestEnv::with_tools();
    env.site("projects/a", "a");
    env.write("projects/a/build.ts", "await Bun.write('started', ''); await Bun.sleep(600_000);");
    env.commit("site");
    env.xtask(&["sandbox", "up"]).exits(0);
    let mut command = env.command(&["deploy", "a", "--json"], &[]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("xtask runs");
    let wait = Wait::begin();
    while !env.root.join("projects/a/started").exists() {
        wait.pause("the build does not start");
    }
    env.sh(&format!("kill -INT {}", child.id())).exits(0);
    let output = child.wait_with_output().expect("an end");
    assert_eq!(output.status.code(), Some(130));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(json["records"][0]["status"], "interrupted");
    assert_eq!(env.processes_in("projects/a"), 0, "children are left");
}

#[test]
fn the_dry_run_is_a_script_that_does_the_same() {
    let env = TestEnv::with_tools();
    env.site("projects/a", "a");
    env.commit("site");
    let dry = env.xtask(&["deploy", "a", "--dry-run"]).exits(0);
    assert!(dry.stdout.contains("# a: named on the command line"), "{}", dry.stdout);
    assert!(!env.root.join("projects/a/dist").exists(), "a dry run builds nothing");
    assert!(!env.root.join(".xtask/sandbox").exists(), "a dry run starts nothing");
    env.xtask(&["sandbox", "up"]).exits(0);
    // The token file replaces the variable that the test's sandbox was started with.
    env.write(".xtask/sandbox/token", CANARY);
    std::fs::set_permissions(
        env.root.join(".xtask/sandbox/token"),
        PermissionsExt::from_mode(0o600),
    )
    .expect("mode");
    let dry = env.xtask(&["deploy", "a", "--dry-run"]).exits(0);
    env.sh(&dry.stdout).exits(0);
    assert_eq!(env.fetch("a.localhost", "/").1, "<h1>a one</h1>");
    let key =
        dry.stdout.lines().find_map(|line| line.strip_prefix("# content key: ")).expect("a key");
    let same = deploy(&env, &["a"]).exits(0);
    assert_eq!(
        same.record("a")["status"],
        "unchanged",
        "the script left the version that a run would"
    );
    assert_eq!(same.record("a")["key"], key);
}

#[test]
fn a_slow_check_does_not_delay_the_next_build() {
    let env = TestEnv::with_tools();
    env.worker("projects/a", "a");
    env.site("projects/b", "b");
    // The Worker is well only once the other project's build has begun.
    let server = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/", server.local_addr().expect("an address"));
    env.write(
        "projects/a/src/worker.ts",
        &format!(
            "export default {{ async fetch() {{ const {{ status }} = await fetch('{url}'); return new Response('', {{ status }}); }} }};"
        ),
    );
    env.write(
        "projects/b/build.ts",
        "await Bun.write('begun', ''); await Bun.write('dist/index.html', 'b');",
    );
    env.commit("projects");
    let begun = env.root.join("projects/b/begun");
    std::thread::spawn(move || {
        for mut stream in server.incoming().filter_map(Result::ok) {
            let status = if begun.exists() { 200 } else { 503 };
            let _asked = stream.read(&mut [0; 1024]);
            let answer =
                format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            let _gone = stream.write_all(answer.as_bytes());
        }
    });
    let ran = deploy(&env, &["a", "b", "--jobs", "1"]).exits(0);
    assert_eq!(ran.record("a")["status"], "live");
    assert_eq!(ran.record("b")["status"], "live");
}

#[test]
fn the_files_of_workers_sites_are_stored_in_kv() {
    let env = TestEnv::with_tools();
    env.write(
        "projects/pages/wrangler.toml",
        "name = \"pages\"\nmain = \"worker.js\"\ncompatibility_date = \"2026-10-01\"\n[site]\nbucket = \"./out\"\n",
    );
    env.write("projects/pages/package.json", r#"{ "scripts": { "build": "bun build.ts" } }"#);
    env.write(
        "projects/pages/worker.js",
        "import manifest from '__STATIC_CONTENT_MANIFEST';\n\
         export default { async fetch(request, env) {\n\
         \tconst key = JSON.parse(manifest)[new URL(request.url).pathname.slice(1)];\n\
         \treturn new Response(key ? await env.__STATIC_CONTENT.get(key) : 'home');\n} };\n",
    );
    env.write("projects/pages/.gitignore", "out\n");
    for text in ["one", "two"] {
        let build = format!("await Bun.write('out/deep/a.txt', '{text}');\n");
        env.write("projects/pages/build.ts", &build);
        let ran = deploy(&env, &["pages"]).exits(0);
        assert_eq!(ran.record("pages")["status"], "live");
        assert_eq!(env.fetch("pages.localhost", "/deep/a.txt"), (200, text.to_owned()));
        assert_eq!(env.fetch("pages.localhost", "/").1, "home");
    }
}
