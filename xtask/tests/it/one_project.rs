//! The commands that act on one project: `versions`, `diff`, `logs`, `open`, `delete`, `dev`, `wrangler`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;

use expect_test::expect;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::installs;
use crate::support::wait::{Wait, max_wait};
use crate::support::{CANARY, Ran, TestEnv, ran};

/// Runs xtask in a folder of the repository.
fn run_in(env: &TestEnv, folder: &str, arguments: &[&str]) -> Ran {
    ran(env.command(arguments, &[]).current_dir(env.root.join(folder)).output().expect("a run"))
}

/// Returns output without what differs from run to run: paths, the port, ids, commits, times.
fn normalize(env: &TestEnv, text: &str) -> String {
    let mut text = text.replace(env.root.as_str(), "ROOT");
    if env.root.join(".xtask/sandbox/server.json").exists() {
        text = text.replace(&env.port().to_string(), "PORT");
    }
    if let Ok(bun) = std::env::var("XTASK_BUN") {
        text = text.replace(&bun, "BUN");
    }
    text = text.replace(env.folder.as_str(), "FOLDER");
    let is_hex = |c: char| c.is_ascii_hexdigit();
    let mut result = String::new();
    let mut rest = text.as_str();
    while let Some(start) = rest.find(is_hex) {
        let before = if start == 0 { result.as_str() } else { &rest[..start] };
        let is_word = !before.ends_with(char::is_alphanumeric);
        result += &rest[..start];
        let end = rest[start..].find(|c: char| !is_hex(c)).map_or(rest.len(), |at| start + at);
        let word = &rest[start..end];
        let ends = !rest[end..].starts_with(char::is_alphanumeric);
        let has_digit = word.bytes().any(|b| b.is_ascii_digit());
        result += match word.len() {
            8 if is_word && ends && has_digit => "<id>",
            7 if is_word && ends => "<commit>",
            _ => word,
        };
        rest = &rest[end..];
    }
    result += rest;
    // The columns are as wide as the longest cell, which differs.
    let is_age = |cell: &str| {
        let unit =
            cell.split_once(' ').filter(|(count, _)| count.bytes().all(|b| b.is_ascii_digit()));
        unit.is_some_and(|(_, unit)| ["s", "min", "h"].contains(&unit))
    };
    let cells = |line: &str| {
        let cells = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty());
        cells.map(|cell| if is_age(cell) { "<age>" } else { cell }).collect::<Vec<_>>().join("  ")
    };
    let is_row = |line: &&str| line.starts_with("<id>  ") || line.starts_with("VERSION");
    let lines = result.lines().map(|line| match is_row(&line) {
        true => cells(line),
        false => line.trim_end().to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

#[test]
fn versions_are_listed_as_rollback_takes_them() {
    let env = TestEnv::with_tools();
    env.site("projects/a", "a");
    env.commit("site");
    env.xtask(&["versions", "a"]).exits(3);
    let first = env.xtask(&["deploy", "a", "--json"]).exits(0).record("a");
    env.write("projects/a/content.txt", "<h1>two</h1>");
    env.commit("two");
    env.xtask(&["deploy", "a"]).exits(0);
    env.write("projects/a/content.txt", "<h1>three</h1>");
    env.xtask(&["preview", "a", "--alias", "mr-7"]).exits(0);
    let text = env.xtask(&["versions", "a"]).exits(0).stdout;
    expect![[r#"
        a in local
        VERSION  STATE  COMMIT  SOURCE  ALIAS  AGE  URL
        <id>  not live  <commit> + changes  wrangler  mr-7  <age>  http://<id>-a.localhost:PORT/
        <id>  live  <commit>  wrangler  <age>  http://<id>-a.localhost:PORT/
        <id>  was live  <commit>  wrangler  <age>  http://<id>-a.localhost:PORT/
        next: `cargo xtask rollback a --to <id>`
    "#]]
    .assert_eq(&normalize(&env, &text));

    let json = env.xtask(&["versions", "a", "--json"]).exits(0).json();
    let rows = json["versions"].as_array().expect("rows");
    assert_eq!(rows.len(), 3);
    assert_eq!((&rows[0]["alias"], &rows[0]["dirty"]), (&"mr-7".into(), &true.into()));
    assert_eq!((&rows[1]["live"], &rows[1]["wasLive"]), (&100.0.into(), &false.into()));
    assert_eq!((&rows[2]["id"], &rows[2]["wasLive"]), (&first["version"], &true.into()));
    assert_eq!((&rows[2]["key"], &rows[2]["commit"]), (&first["key"], &first["commit"]));
    let id = rows[2]["id"].as_str().expect("an id");
    assert_eq!(env.fetch(&format!("{}-a.localhost", &id[..8]), "/").1, "<h1>a one</h1>");
    env.xtask(&["rollback", "a", "--to", &id[..8]]).exits(0);
    let json = env.xtask(&["versions", "a", "--json"]).exits(0).json();
    assert_eq!(json["versions"][2]["live"], 100.0);

    // A changed secret makes a version that names itself.
    env.xtask(&["deploy", "a"]).exits(0);
    let mut put = env.command(&["wrangler", "a", "--", "secret", "put", "KEY"], &[]);
    let mut put = put
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a run");
    put.stdin.take().expect("a pipe").write_all(b"hush\n").expect("written");
    ran(put.wait_with_output().expect("an end")).exits(0);
    let json = env.xtask(&["versions", "a", "--json"]).exits(0).json();
    assert_eq!(json["versions"][0]["source"], "secret", "{json:#}");
    assert_eq!(
        env.xtask(&["versions", "."]).exits(2).stderr,
        "error: `.` means no project, because this is the repository's root\nhint: name a project; `cargo xtask projects` lists them\n"
    );
}

#[test]
fn diff_names_the_inputs_that_changed_since_the_live_version() {
    let env = TestEnv::with_tools();
    env.site("projects/a", "a");
    env.worker("projects/b", "b");
    env.commit("projects");
    env.xtask(&["deploy", "a"]).exits(0);
    let same = env.xtask(&["diff", "a"]).exits(0).stdout;
    expect![[r#"
        a in local: up to date; live is <id>, made from <commit>
    "#]]
    .assert_eq(&normalize(&env, &same));
    env.write("projects/b/src/worker.ts", "export default {};");
    env.xtask(&["diff", "a"]).exits(0);
    env.write("projects/a/content.txt", "<h1>two</h1>");
    env.commit("two");
    env.write("projects/a/new.txt", "new");
    let other = env.xtask(&["diff", "a"]).exits(1).stdout;
    expect![[r#"
        a in local: out of date; live is <id>, made from <commit>
          projects/a/content.txt changed
          projects/a/new.txt changed
        next: `cargo xtask deploy a`
    "#]]
    .assert_eq(&normalize(&env, &other));
    let json = env.xtask(&["diff", "a", "--json"]).exits(1).json();
    assert_eq!(json["upToDate"], false);
    assert_eq!(json["reasons"][1]["path"], "projects/a/new.txt");

    // A deployment from uncommitted changes cannot be compared by files alone.
    env.xtask(&["deploy", "a"]).exits(0);
    std::fs::remove_file(env.root.join("projects/a/new.txt")).expect("removed");
    let dirty = env.xtask(&["diff", "a"]).exits(1).stdout;
    expect![[r#"
        a in local: out of date; live is <id>, made from <commit>
          the live version was made from <commit> with uncommitted changes, which git does not know
        next: `cargo xtask deploy a`
    "#]]
    .assert_eq(&normalize(&env, &dirty));
    let config = std::fs::read_to_string(env.root.join("projects/a/wrangler.jsonc")).expect("text");
    env.write(
        "projects/a/wrangler.jsonc",
        &config.replacen('{', r#"{ "triggers": { "crons": ["0 3 * * *"] },"#, 1),
    );
    let json = env.xtask(&["diff", "a", "--json"]).exits(1).json();
    assert_eq!(json["triggersApplied"], false);

    let nothing = env.xtask(&["diff", "b"]).exits(3);
    assert_eq!(
        nothing.stderr,
        "error: nothing of b is live in local\nhint: run `cargo xtask deploy b`\n"
    );
}

#[test]
fn dot_names_the_project_of_the_current_folder() {
    let env = TestEnv::with_tools();
    for name in ["a", "b"] {
        env.site(&format!("projects/{name}"), name);
    }
    env.write("projects/two/wrangler.one.jsonc", r#"{ "name": "one", "main": "x.js" }"#);
    env.write("projects/two/wrangler.other.jsonc", r#"{ "name": "other", "main": "x.js" }"#);
    env.write("projects/pages/wrangler.toml", "name = \"p\"\npages_build_output_dir = \"dist\"\n");
    env.write("projects/a/src/deep/x.txt", "x");
    env.write("docs/x.md", "x");
    env.commit("sites");
    let named = |folder: &str, arguments: &[&str]| {
        let script = run_in(&env, folder, arguments).exits(0).stdout;
        ["a", "b"].map(|name| script.contains(&format!("cd projects/{name}")))
    };
    assert_eq!(named("projects/a", &["build", "--dry-run"]), [true, false]);
    assert_eq!(named("projects/a/src/deep", &["build", ".", "--dry-run"]), [true, false]);
    assert_eq!(named("projects/b", &["build", ".", "a", "--dry-run"]), [true, true]);
    for (folder, code, message) in [
        ("docs", 2, "`.` means no project, because this is docs"),
        ("", 2, "`.` means no project, because this is the repository's root"),
        ("projects/two", 2, "the folder projects/two has more than one project"),
        ("projects/pages", 3, "projects/pages/wrangler.toml: this is a Pages project"),
    ] {
        let ran = run_in(&env, folder, &["build", ".", "--dry-run"]).exits(code);
        assert!(ran.stderr.contains(message), "{folder}: {}", ran.stderr);
    }
    let deployed = run_in(&env, "projects/b/", &["deploy", "--json"]).exits(0).json();
    assert_eq!(deployed["records"].as_array().map(Vec::len), Some(1), "{deployed:#}");
    assert_eq!(deployed["records"][0]["project"], "b");
    let listed = run_in(&env, "projects/b", &["versions", "--json"]).exits(0).json();
    assert_eq!(listed["project"], "b");
}

#[test]
fn logs_are_those_of_one_worker_and_can_be_followed() {
    let env = TestEnv::with_tools();
    for name in ["a", "b"] {
        env.write(
            &format!("projects/{name}/src/worker.js"),
            "export default { fetch(request) { const path = new URL(request.url).pathname; if (path !== '/') { console.log('asked for', path); console.warn('two\\nlines'); } return new Response('ok'); } };\n",
        );
        env.write(
            &format!("projects/{name}/wrangler.jsonc"),
            &format!(r#"{{ "name": "{name}", "main": "src/worker.js", "compatibility_date": "2026-10-01", "workers_dev": true }}"#),
        );
    }
    env.commit("workers");
    env.xtask(&["deploy", "a", "b"]).exits(0);
    let empty = env.xtask(&["logs", "a"]).exits(0);
    assert_eq!(empty.stderr, "the Worker `a` has written nothing in the sandbox\n");
    env.fetch("a.localhost", "/first");
    env.fetch("b.localhost", "/other");
    let wait_for = |name: &str, count: usize| {
        let wait = Wait::begin();
        loop {
            let json = env.xtask(&["logs", name, "--json"]).exits(0).json();
            if json["entries"].as_array().map(Vec::len) == Some(count) {
                return json;
            }
            wait.pause(format_args!("{json:#}"));
        }
    };
    let json = wait_for("a", 2);
    assert_eq!(
        (&json["entries"][0]["level"], &json["entries"][0]["text"]),
        (&"log".into(), &"asked for /first".into())
    );
    assert_eq!(json["entries"][1]["text"], "two\n    lines");
    let last = env.xtask(&["logs", "a", "-n", "1"]).exits(0).stdout;
    assert_eq!(last.split_once(' ').map(|(_, rest)| rest), Some("warn two\n    lines\n"), "{last}");

    let output = env.folder.join("followed");
    let file = std::fs::File::create(&output).expect("a file");
    let mut follow =
        env.command(&["logs", "a", "-f", "-n", "0"], &[]).stdout(file).spawn().expect("a run");
    wait_for("b", 2);
    let wait = Wait::begin();
    loop {
        env.fetch("a.localhost", "/later");
        let text = std::fs::read_to_string(&output).expect("text");
        if text.contains("log asked for /later\n") {
            assert!(!text.contains("/first") && !text.contains("/other"), "{text}");
            break;
        }
        wait.pause(text);
    }
    kill(Pid::from_raw(i32::try_from(follow.id()).expect("an id")), Signal::SIGINT).expect("sent");
    assert_eq!(follow.wait().expect("an end").code(), Some(130));
}

#[test]
fn open_starts_the_browser_with_the_url() {
    let env = TestEnv::with_tools();
    env.site("projects/a", "a");
    env.commit("site");
    env.program("xdg-open", "#!/bin/sh\necho \"$@\" >> \"$HOME/opened\"\n");
    env.xtask(&["sandbox", "up"]).exits(0);
    let nothing = env.xtask(&["open", "a"]).exits(3);
    assert_eq!(
        nothing.stderr,
        "error: nothing of a is live in local\nhint: run `cargo xtask deploy a`\n"
    );
    env.xtask(&["deploy", "a"]).exits(0);
    env.xtask(&["preview", "a", "--alias", "mr-7", "--force"]).exits(0);
    let urls = [
        format!("http://a.localhost:{}/\n", env.port()),
        format!("http://mr-7-a.localhost:{}/\n", env.port()),
    ];
    assert_eq!(env.xtask(&["open", "a"]).exits(0).stdout, urls[0]);
    assert_eq!(env.xtask(&["open", "a", "--alias", "mr-7"]).exits(0).stdout, urls[1]);
    let json = env.xtask(&["open", "a", "--json"]).exits(0).json();
    assert_eq!(json["url"], urls[0].trim_end());
    let opened = std::fs::read_to_string(env.folder.join("home/opened")).expect("text");
    assert_eq!(opened, urls.concat(), "JSON opens nothing");
    let unknown = env.xtask(&["open", "a", "--alias", "mr-8"]).exits(3);
    assert_eq!(
        unknown.stderr,
        "error: no version of a in local has the alias `mr-8`\nhint: run `cargo xtask versions a` to list them\n"
    );
    env.program("xdg-open", "#!/bin/sh\nexit 3\n");
    env.program("open", "#!/bin/sh\nexit 3\n");
    let failed = env.xtask(&["open", "a"]).exits(0);
    assert_eq!(
        (failed.stdout, failed.stderr),
        (urls[0].clone(), "no browser could be started; open the URL yourself\n".to_owned())
    );
}

#[test]
fn delete_asks_and_removes_the_worker() {
    let env = TestEnv::with_tools();
    env.site("projects/a", "a");
    env.worker("projects/b", "b");
    env.commit("projects");
    env.xtask(&["deploy", "a"]).exits(0);
    let script = env.xtask(&["delete", "a", "--dry-run"]).exits(0).stdout;
    assert!(
        script.contains(" --env-file=/dev/null --config=wrangler.jsonc delete a\n"),
        "{script}"
    );
    assert!(!script.contains(CANARY));
    let refused = env.xtask(&["delete", "a"]).exits(3);
    expect![[r"
        error: the deletion of `a` in local is not confirmed
        hint: add `--yes`, because stdin is not a terminal
    "]]
    .assert_eq(
        refused
            .stderr
            .split_once("error: ")
            .map(|(_, rest)| format!("error: {rest}"))
            .expect("an error")
            .as_str(),
    );
    assert_eq!(env.fetch("a.localhost", "/").0, 200);
    let deleted = env.xtask(&["delete", "a", "--yes"]).exits(0);
    expect![[r#"
        deleted the Worker `a` in local
        undo: `cargo xtask deploy a` recreates it, without its secrets
    "#]]
    .assert_eq(&deleted.stdout);
    assert_eq!(env.fetch("a.localhost", "/").0, 404);
    let again = env.xtask(&["delete", "a", "--yes", "--json"]).exits(0).json();
    assert_eq!(again["deleted"], false);
    env.xtask(&["delete", "b", "--env", "production", "--yes"]).exits(3);
    let production = ["--env", "production", "--sandbox", "--break-glass", "the domain moved"];
    env.xtask(&[&["deploy", "b"][..], &production].concat()).exits(0);
    env.xtask(&[&["delete", "b", "--yes"][..], &production].concat()).exits(0);
    let records = std::fs::read_dir(env.root.join(".xtask/records")).expect("records");
    let records = records.map(|file| std::fs::read_to_string(file.expect("a file").path()));
    let records =
        records.map(|text| serde_json::from_str::<serde_json::Value>(&text.expect("text")));
    let deletions: Vec<_> = records
        .map(|record| record.expect("JSON"))
        .filter(|record| record["verb"] == "delete" && record["project"] == "b")
        .map(|record| {
            let was_live = record["previous"]["version"].is_string() && record["live"].is_null();
            assert!(record["ended"].as_str() >= record["started"].as_str(), "{record:#}");
            (record["status"].clone(), record["breakGlass"].clone(), was_live)
        })
        .collect();
    assert_eq!(deletions, [("deleted".into(), "the domain moved".into(), true)]);
    env.xtask(&["deploy", "a"]).exits(0);
    assert_eq!(env.fetch("a.localhost", "/").0, 200);
}

#[test]
fn wrangler_has_the_project_s_config_and_account() {
    let env = TestEnv::with_tools();
    env.worker("projects/b", "b");
    env.commit("worker");
    env.xtask(&["deploy", "b"]).exits(0);
    let listed = env.xtask(&["wrangler", "b", "--", "secret", "list"]).exits(0);
    assert_eq!(listed.stdout.trim(), "[]", "{}", listed.stderr);
    env.write("projects/b/secrets.json", r#"{ "ONE": "1", "TWO": "2" }"#);
    let bulk = run_in(&env, "projects/b", &["wrangler", "--", "secret", "bulk", "secrets.json"]);
    assert!(!format!("{bulk:?}").contains(CANARY));
    bulk.exits(0);
    let names = env.xtask(&["wrangler", "b", "--", "secret", "list"]).exits(0).json();
    assert_eq!(names.as_array().map(Vec::len), Some(2), "{names}");
    let unknown = env.xtask(&["wrangler", "b", "--", "secret", "delete"]).exits(1);
    assert!(unknown.stderr.contains("Not enough non-option arguments"), "{}", unknown.stderr);

    for (arguments, code, message) in [
        (
            &["wrangler", "b", "--", "secret", "list", "--env", "staging"][..],
            2,
            "error: `--env` is set by this command\nhint: give `--env` before `--`: `cargo xtask wrangler PROJECT --env ENVIRONMENT -- secret`\n",
        ),
        (
            &["wrangler", "b", "--", "-c=other.toml", "secret", "list"],
            2,
            "error: `-c` is set by this command\nhint: give `PROJECT` before `--`: `cargo xtask wrangler PROJECT --env ENVIRONMENT -- -c=other.toml`\n",
        ),
        (
            &["wrangler", "b", "--", "deploy", "--minify"],
            3,
            "error: `wrangler deploy` would run code of the project with the token; nothing was run\nhint: run `cargo xtask deploy PROJECT --env ENVIRONMENT`\n",
        ),
        (
            &["wrangler", "b", "--", "versions", "upload"],
            3,
            "error: `wrangler versions upload` would run code of the project with the token; nothing was run\nhint: run `cargo xtask preview PROJECT --env ENVIRONMENT`\n",
        ),
    ] {
        assert_eq!(env.xtask(arguments).exits(code).stderr, message);
    }
    let protected =
        env.xtask(&["wrangler", "b", "--env", "production", "--", "secret", "put", "K"]);
    assert!(protected.exits(3).stderr.contains("`production` is protected"));
    let script =
        env.xtask(&["wrangler", "b", "--dry-run", "--", "secret", "put", "K"]).exits(0).stdout;
    let line = script.lines().find(|line| line.contains("wrangler.js")).expect("a line");
    assert!(
        line.ends_with(
            "/bin/wrangler.js --env-file=/dev/null --config=wrangler.toml --env= secret put K"
        ),
        "{line}"
    );
    assert!(
        script.contains("export CLOUDFLARE_API_TOKEN=\"$(cat ") && !script.contains(CANARY),
        "{script}"
    );
}

#[test]
fn code_of_a_project_never_sees_the_token_of_wrangler() {
    let env = TestEnv::with_tools();
    env.worker("projects/b", "b");
    let config = std::fs::read_to_string(env.root.join("projects/b/wrangler.toml")).expect("text");
    env.write(
        "projects/b/wrangler.toml",
        &config.replace("[vars]", "[build]\ncommand = \"env >> seen.txt\"\n[vars]"),
    );
    // Programs and settings that a project could bring.
    env.write("projects/b/bunfig.toml", "preload = [\"./preload.js\"]\n");
    env.write(
        "projects/b/preload.js",
        "require('fs').appendFileSync('seen.txt', 'preload ' + JSON.stringify(process.env));\n",
    );
    env.write("projects/b/.env", "CLOUDFLARE_API_BASE_URL=http://127.0.0.1:1\n");
    env.commit("worker");
    env.xtask(&["deploy", "b"]).exits(0);
    let seen = env.root.join("projects/b/seen.txt");
    let deployed = std::fs::read_to_string(&seen).expect("the build command ran");
    for arguments in [
        &["wrangler", "b", "--", "deploy", "--dry-run"][..],
        &["wrangler", "b", "--", "secret", "list"],
        &["wrangler", "b", "--", "versions", "list"],
        &["wrangler", "b", "--", "d1", "list"],
    ] {
        env.xtask(arguments).exits(0);
    }
    let text = std::fs::read_to_string(&seen).expect("text");
    assert!(text.len() > deployed.len(), "the build command ran again without a token");
    assert!(!text.contains("canary") && !text.contains("CLOUDFLARE_API_TOKEN"), "{text}");
    assert!(!text.contains("preload"), "{text}");
}

/// A deployment in another terminal would take away the packages that they use.
#[test]
fn dev_and_run_wait_for_an_install_in_the_same_folder() {
    let env = TestEnv::with_tools();
    env.site("projects/a", "a");
    env.write(
        "projects/a/package.json",
        r#"{ "name": "a", "scripts": { "dev": "bun x.js", "t": "bun x.js" } }"#,
    );
    env.write("projects/a/x.js", "console.log('it runs');");
    env.write(
        "projects/a/package-lock.json",
        r#"{ "name": "a", "lockfileVersion": 3, "packages": { "": { "name": "a" } } }"#,
    );
    env.commit("site");
    let path = env.root.join(".xtask/locks/install.projects-a.lock");
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    for arguments in [&["dev", "a"][..], &["run", "t", "a"]] {
        std::fs::write(&path, "the other run").expect("a file");
        let file = std::fs::File::options().write(true).open(&path).expect("a file");
        file.lock().expect("a lock");
        let mut command = env.command(arguments, &[]);
        let mut run = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a run");
        let mut stderr = BufReader::new(run.stderr.take().expect("a pipe")).lines();
        let mut lines = stderr.by_ref().map(|line| line.expect("text"));
        assert!(lines.any(|line| line.ends_with("wait for the other run")), "{arguments:?}");
        assert_eq!(run.try_wait().expect("a state"), None);
        drop(file);
        let rest: Vec<String> = lines.collect();
        let ran = run.wait_with_output().expect("an end");
        assert!(ran.status.success(), "{rest:#?}");
    }
}

#[test]
fn dev_runs_the_script_or_wrangler_on_a_port_that_stays() {
    let env = TestEnv::with_tools();
    env.site("projects/a", "a");
    env.write(
        "projects/a/package.json",
        r#"{ "name": "a-package", "scripts": { "dev": "bun dev.js" } }"#,
    );
    env.write("projects/a/dev.js", "require('fs').writeFileSync('seen.json', JSON.stringify([process.env.PORT, process.argv.slice(2), JSON.stringify(process.env).includes('canary')]));\nprocess.exit(5);\n");
    env.worker("projects/b", "b");
    env.commit("projects");
    let seen = || std::fs::read_to_string(env.root.join("projects/a/seen.json")).expect("text");
    let first = run_in(&env, "projects/a", &["dev", "--", "--open", "x"]).exits(1);
    let port = seen();
    assert!(port.ends_with(r#",["--open","x"],false]"#), "{port}");
    let number: String = port.chars().filter(char::is_ascii_digit).collect();
    let note = format!("a: the script `dev` with PORT={number}");
    assert!(first.stderr.contains(&note), "{}", first.stderr);
    env.xtask(&["dev", "a", "--port", "4321"]).exits(1);
    assert_eq!(seen(), r#"["4321",[],false]"#);
    let script = env.xtask(&["dev", "b", "--dry-run"]).exits(0).stdout;
    assert!(
        script.contains(" --config=wrangler.toml --env= dev --ip=127.0.0.1 --port="),
        "{script}"
    );
    assert!(!script.contains("CLOUDFLARE_API_TOKEN"), "{script}");

    // Without a script it is wrangler's, with workerd, on Node.
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = free.local_addr().expect("an address").port();
    drop(free);
    let log = env.folder.join("dev.log");
    let file = std::fs::File::create(&log).expect("a file");
    let variables = installs::variables();
    let variables: Vec<(&str, &str)> =
        variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut dev = env
        .command(&["dev", "b", "--port", &port.to_string()], &variables)
        .stderr(file.try_clone().expect("a file"))
        .stdout(file)
        .spawn()
        .expect("a run");
    let agent = base::http::agent(max_wait(), 0);
    let wait = Wait::begin();
    loop {
        let answer = base::http::get(&agent, &format!("http://127.0.0.1:{port}/up"), &[]);
        if answer.is_ok_and(|answer| answer.body == br#"{"stage":"top"}"#) {
            break;
        }
        let text = std::fs::read_to_string(&log).expect("text");
        assert!(dev.try_wait().expect("a state").is_none(), "{text}");
        wait.pause(text);
    }
    kill(Pid::from_raw(i32::try_from(dev.id()).expect("an id")), Signal::SIGINT).expect("sent");
    assert_eq!(dev.wait().expect("an end").code(), Some(130));
    assert_eq!(env.processes_in("projects/b"), 0, "nothing is left behind");
}
