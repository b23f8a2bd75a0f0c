//! The Dagger engine, with a stand-in for the CLI that uses the modules' real signatures and rules.

use camino::Utf8PathBuf;
use serde_json::Value;

use deployment::tools::engine_address::VARIABLE;

use crate::preview_strategy;
use crate::readiness;
use crate::support::wait::Wait;
use crate::support::{Ran, TestEnv, copy, error_text, repository};

/// A repository with the modules and a `dagger` on PATH.
pub struct Dagger {
    pub env: TestEnv,
    state: Utf8PathBuf,
    /// The words of a shell that call the CLI.
    cli: String,
    /// The variables that the CLI needs to find its engine.
    pub variables: Vec<(&'static str, String)>,
}

impl Dagger {
    pub fn new() -> Dagger {
        let mut dagger = Dagger::with(String::new(), Vec::new());
        let bun = std::env::var("XTASK_BUN").expect("XTASK_BUN is set");
        let fake = repository().join("xtask/tests/fakes/dagger.ts");
        let (state, root) = (&dagger.state, &dagger.env.root);
        dagger.cli = format!("'{bun}' '{fake}' '{state}' '{root}' '{}'", repository());
        dagger.wrap("", "");
        dagger
    }

    /// Runs shell commands before and after each call of the CLI.
    pub fn wrap(&self, before: &str, after: &str) {
        let call = format!("{} \"$@\"", self.cli);
        let text = match (before, after) {
            ("", "") => format!("#!/bin/sh\nexec {call}\n"),
            _ => format!("#!/bin/sh\n{before}\n{call}\ncode=$?\n{after}\nexit $code\n"),
        };
        self.env.program("dagger", &text);
    }

    /// With the CLI that the words `cli` of a shell call, and `variables` to find its engine. Uploads by the module.
    pub fn with(cli: String, variables: Vec<(&'static str, String)>) -> Dagger {
        let env = TestEnv::with_tools();
        copy(&env, "dagger");
        let state = env.folder.join("dagger");
        std::fs::create_dir_all(&state).expect("a folder");
        let setting =
            r#"sed -i '1s/.*/{ "dagger": { "upload": "module" },/' dagger/config/config.json"#;
        env.sh(setting).exits(0);
        Dagger { env, state, cli, variables }
    }

    /// Lets scripts upload by Dagger's own API, which is the default.
    pub fn with_api_upload(self) -> Dagger {
        self.env.sh("sed -i '1s/.*/{/' dagger/config/config.json").exits(0);
        self
    }

    pub fn mode(&self, mode: &str) {
        std::fs::write(self.state.join("mode"), mode).expect("a file");
    }

    pub fn xtask(&self, arguments: &[&str]) -> Ran {
        self.xtask_with(arguments, &[])
    }

    /// Runs xtask with more variables than those of the engine.
    pub fn xtask_with(&self, arguments: &[&str], more: &[(&str, &str)]) -> Ran {
        let own = self.variables.iter().map(|(name, value)| (*name, value.as_str()));
        let variables: Vec<(&str, &str)> = own.chain(more.iter().copied()).collect();
        self.env.xtask_with(arguments, &variables)
    }

    pub fn deploy(&self, more: &[&str]) -> Ran {
        self.xtask(&[&["deploy", "--engine", "dagger", "--json"], more].concat())
    }

    /// Runs the printed script of a Worker in a shell, and checks the deployed version in the sandbox.
    pub fn run_pasted_script(&self) {
        let env = &self.env;
        env.worker("projects/api", "api");
        env.commit("project");
        env.xtask(&["sandbox", "up"]).exits(0);
        env.write(".xtask/sandbox/token", crate::support::CANARY);
        env.sh("chmod 600 .xtask/sandbox/token").exits(0);
        let dry = self.xtask(&["deploy", "api", "--engine", "dagger", "--dry-run"]).exits(0);
        let exports =
            self.variables.iter().map(|(name, value)| format!("export {name}='{value}'\n"));
        env.sh(&format!("{}{}", exports.collect::<String>(), dry.stdout)).exits(0);
        assert_eq!(env.fetch("api.localhost", "/up").1, "{\"stage\":\"top\"}");
    }

    /// Returns the arguments of the CLI's calls, without those that ask for its version.
    pub fn calls(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.state.join("log.ndjson")).unwrap_or_default();
        let calls = text.lines().map(|line| serde_json::from_str(line).expect("JSON"));
        calls.filter(|call: &Value| call["argv"][1] == "/dev/stdin").collect()
    }
}

/// Both engines deploy the same projects, and their records differ in engine and times alone.
pub fn same_record(dagger: &Dagger) {
    let env = &dagger.env;
    env.site("projects/site", "site");
    env.worker("projects/api", "api");
    // A folder that a Worker of code alone does not publish.
    env.write("projects/api/dist/index.html", "not mine");
    env.commit("projects");
    let by_dagger = dagger.deploy(&[]).exits(0);
    assert_eq!(env.fetch("site.localhost", "/").1, "<h1>site one</h1>");
    assert_eq!(env.fetch("api.localhost", "/up").1, "{\"stage\":\"top\"}");
    let preview = ["preview", "site", "--engine", "dagger", "--alias", "mr-1", "--force", "--json"];
    let preview = dagger.xtask(&preview).exits(0).record("site");
    assert_eq!((&preview["status"], &preview["engine"]), (&"ready".into(), &"dagger".into()));
    assert_eq!(env.fetch("mr-1-site.localhost", "/").1, "<h1>site one</h1>");
    env.xtask(&["sandbox", "reset"]).exits(0);
    let by_host = env.xtask(&["deploy", "--engine", "host", "--json"]).exits(0);
    for project in ["site", "api"] {
        let strip = |ran: &Ran| {
            let mut record = ran.record(project);
            assert_eq!(record["version"], record["live"]["version"]);
            for field in [
                "engine", "nonce", "started", "ended", "timings", "version", "live", "log", "urls",
                "output",
            ] {
                record.as_object_mut().expect("an object").remove(field);
            }
            record["tools"].as_object_mut().expect("an object").remove("dagger");
            record
        };
        assert_eq!(strip(&by_dagger), strip(&by_host));
        assert!(by_dagger.record(project)["tools"]["dagger"].is_string());
    }
    env.assert_no_canary(&[&by_dagger, &by_host]);
}

/// An unchanged project is built and deployed again on `--force`: no cache is used.
pub fn forced_again(dagger: &Dagger) {
    let env = &dagger.env;
    env.site("projects/site", "site");
    env.commit("project");
    let first = dagger.deploy(&["site"]).exits(0).record("site")["version"].clone();
    let second = dagger.deploy(&["site", "--force"]).exits(0).record("site")["version"].clone();
    assert!(first.is_string() && first != second, "{first} {second}");
    let unchanged = dagger.deploy(&["site"]).exits(0).record("site");
    assert_eq!(unchanged["status"], "unchanged");
}

/// A build that fails says why, and nothing is live.
pub fn failing_build(dagger: &Dagger) {
    let env = &dagger.env;
    env.site("projects/site", "site");
    env.write("projects/site/build.ts", "console.error('the build says why'); process.exit(9);");
    env.commit("project");
    let record = dagger.deploy(&["site"]).exits(1).record("site");
    assert!(record["error"].as_str().expect("text").contains("the build says why"), "{record}");
    assert_eq!(record["live"], Value::Null);
}

/// A Worker Preview is the same from both engines, and without xtask the module makes no Worker for one.
pub fn worker_preview(dagger: &Dagger) {
    let env = &dagger.env;
    preview_strategy::worker(env, r#""previews": { "vars": { "STAGE": "preview" } },"#);
    env.commit("worker");
    env.xtask(&["sandbox", "up"]).exits(0);
    env.write(".xtask/sandbox/token", crate::support::CANARY);
    env.sh("chmod 600 .xtask/sandbox/token").exits(0);
    let preview = ["preview", "api", "--alias", "mr-7", "--engine", "dagger"];
    let script = dagger.xtask(&[&preview[..], &["--dry-run"]].concat()).exits(0).stdout;
    let exports = dagger.variables.iter().map(|(name, value)| format!("export {name}='{value}'\n"));
    let by_hand = env.sh(&format!("{}{script}", exports.collect::<String>()));
    assert_ne!(by_hand.code, 0, "{by_hand:?}");
    let message = by_hand.stdout + &by_hand.stderr;
    assert!(message.contains("the Worker `api` has never been deployed"), "{message}");
    let state = env.fetch("127.0.0.1", "/__sandbox/state.json").1;
    assert!(state.contains("\"workers\":[]"), "no Worker was made: {state}");

    env.xtask(&["deploy", "api", "--engine", "host"]).exits(0);
    let record = dagger.xtask(&[&preview[..], &["--json"]].concat()).exits(0).record("api");
    let fields = ["status", "engine", "strategy"].map(|field| record[field].clone());
    assert_eq!(fields, ["ready", "dagger", "preview"].map(Value::from));
    assert_eq!(env.fetch("mr-7-api.localhost", "/").1, "preview one");
    let host = ["preview", "api", "--alias", "mr-7", "--engine", "host", "--json"];
    let again = env.xtask(&host).exits(0).record("api");
    assert_eq!((&again["status"], &again["urls"]), (&"unchanged".into(), &record["urls"]));
    assert_eq!(again["deployment"], record["deployment"]);
}

#[test]
fn reports_a_missing_or_vanished_engine() {
    vanished_engine(Dagger::new());
}

/// The engine of an address on which nothing listens is refused, and one that goes ends the run, which the CLI would
/// not: it waits forever for an engine.
pub fn vanished_engine(mut dagger: Dagger) {
    dagger.env.site("projects/site", "site");
    dagger.env.commit("project");
    dagger.deploy(&["site"]).exits(0);
    let socket = dagger.env.folder.join("engine.sock");
    let address = format!("unix://{socket}");
    dagger.variables.push((VARIABLE, address.clone()));
    let refused = dagger.xtask(&["deploy", "site", "--engine", "dagger"]).exits(3);
    let expected = format!(
        "error: no Dagger engine answers at {address}\n\
         hint: start it, or name another one in {VARIABLE}\n\
         hint: pass `--engine host` to use the tools of this machine\n"
    );
    assert!(refused.stderr.ends_with(&expected), "{}", refused.stderr);
    let listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
    dagger.mode("lost-engine");
    std::thread::scope(|scope| {
        let earlier = dagger.calls().len();
        let deploy = || dagger.xtask(&["deploy", "site", "--engine", "dagger", "--force"]);
        let running = scope.spawn(deploy);
        let has_begun = || dagger.calls().len() > earlier;
        let wait = Wait::begin();
        while !has_begun() && !running.is_finished() {
            wait.pause("the CLI is not called");
        }
        drop(listener);
        let ended = running.join().expect("a run").exits(1);
        let gone = "site: the Dagger engine stopped answering; ";
        assert!(ended.stdout.contains(gone), "{} {}", ended.stderr, ended.stdout);
        let hint = format!("hint: start the engine at {address}, then run it again");
        assert!(ended.stdout.contains(&hint), "{}", ended.stdout);
        let reason = "\n    Post \"http://dagger/query\": unexpected EOF\n";
        assert!(ended.stdout.contains(reason), "{}", ended.stdout);
        assert!(ended.stdout.contains("is still live, as before"), "{}", ended.stdout);
    });
}

#[test]
fn a_worker_preview_is_the_same_from_both_engines() {
    worker_preview(&Dagger::new());
}

#[test]
fn both_engines_write_the_same_record() {
    let dagger = Dagger::new();
    same_record(&dagger);
    let wrangler: Value = serde_json::from_str(
        &std::fs::read_to_string(dagger.state.join("wrangler.json")).expect("a file"),
    )
    .expect("JSON");
    assert_eq!(wrangler["words"][0], "versions", "the preview came last");
}

#[test]
fn a_forced_deployment_runs_again() {
    forced_again(&Dagger::new());
}

#[test]
fn a_failed_build_reports_its_reason() {
    failing_build(&Dagger::new());
}

#[test]
fn the_printed_script_is_what_runs() {
    printed_script(&Dagger::new());
}

/// The script of a dry run and that of the run differ in the nonce alone.
pub fn printed_script(dagger: &Dagger) {
    dagger.run_pasted_script();
    dagger.deploy(&["api", "--force"]).exits(0);
    let calls = dagger.calls();
    let [pasted, run] = calls.as_slice() else { panic!("{} calls", calls.len()) };
    for field in ["argv", "cwd"] {
        assert_eq!(pasted[field], run[field]);
    }
    // The shell adds its own variables.
    let names = |call: &Value| -> Vec<String> {
        let own = ["PWD", "OLDPWD", "SHLVL", "_"];
        let all = call["env"].as_array().expect("names").iter().filter_map(Value::as_str);
        all.filter(|name| !own.contains(name)).map(str::to_owned).collect()
    };
    assert_eq!(names(pasted), names(run));
    assert!(!names(run).iter().any(|name| name.starts_with("DAGGER_SESSION")));
    let without_nonce = |call: &Value| {
        let text = call["stdin"].as_str().expect("text").to_owned();
        let is_by_module = text.contains("--nonce='");
        let before = if is_by_module { "--nonce='" } else { "'/output/nonce' '" };
        let (_, after) = text.split_once(before).expect("a nonce");
        let (nonce, _) = after.split_once('\'').expect("its end");
        text.replace(nonce, "")
    };
    assert_eq!(without_nonce(pasted), without_nonce(run));
}

#[test]
fn exit_code_0_alone_is_no_success_and_failures_have_hints() {
    failures(&Dagger::new());
}

/// Each failure of the CLI and its engine has its reason, its exit code and a hint.
pub fn failures(dagger: &Dagger) {
    let env = &dagger.env;
    env.site("projects/site", "site");
    env.commit("project");
    for (mode, code, text) in [
        ("nothing", 1, "left no record of this attempt"),
        ("no-deploy", 1, "left no record of this attempt"),
        ("replay", 4, "left no record of this attempt"),
        ("signal", 1, "was killed by signal 9"),
        ("wrangler-signal-early", 4, "nothing is live, as before"),
        ("wrangler-signal-late", 4, "is live now; before it was none"),
        ("engine-down", 1, "start Docker"),
        ("skew", 1, "must have the same version"),
        ("no-runtime", 1, "install Docker or Podman"),
    ] {
        env.xtask(&["sandbox", "reset"]).exits(0);
        dagger.mode(mode);
        let ran = dagger.deploy(&["site"]);
        let error = ran.error("site");
        assert!(error.contains(text), "{mode}: {error}");
        assert!(!error.contains("traceparent"), "{error}");
        ran.exits(code);
    }
    dagger.mode("ok");
    env.write("projects/site/build.ts", "process.exit(137);");
    let killed = dagger.deploy(&["site", "--force"]).exits(1).error("site");
    assert!(killed.contains("exited with 137"), "{killed}");
    assert!(killed.contains("give the engine more memory"), "{killed}");
    dagger.mode("old");
    let old = dagger.deploy(&["site"]).exits(3).json();
    assert!(old["error"]["message"].as_str().expect("text").contains("`dagger` is 0.18.8"));
}

#[test]
fn refuses_what_the_host_engine_refuses() {
    refusals(&Dagger::new());
}

/// The output of a build and the config are checked as on the host.
pub fn refusals(dagger: &Dagger) {
    let env = &dagger.env;
    env.site("projects/site", "site");
    let build = "await Bun.write('dist/index.html', 'one');\n\
                 (await import('node:fs')).symlinkSync('/proc/self/environ', 'dist/token.txt');\n";
    env.write("projects/site/build.ts", build);
    env.commit("project");
    let ran = dagger.deploy(&["site"]).exits(3);
    let error = ran.error("site");
    for part in
        ["dist/token.txt leads out of the repository, to /proc/", "nothing is live, as before"]
    {
        assert!(error.contains(part), "{part}: {error}");
    }
    env.assert_no_canary(&[&ran]);
    let config = r#"{ "name": "site", "asssets": { "directory": "./dist" }, "main": "a.ts" }"#;
    env.write("projects/site/wrangler.jsonc", config);
    let refused = dagger.deploy(&["site"]).exits(3).json()["error"].to_string();
    assert!(refused.contains("wrangler knows no field `asssets`"), "{refused}");
}

#[test]
fn builds_and_uploads_end_like_on_the_host() {
    situations(&Dagger::new());
}

/// The situations of `docs/reference/situations.md` about builds and uploads end as on the host.
pub fn situations(dagger: &Dagger) {
    let env = &dagger.env;
    let site = |name: &str, build: &str| {
        env.site(&format!("projects/{name}"), name);
        let text = format!(
            "await Bun.write('dist/index.html', await Bun.file('content.txt').text());\n{build}"
        );
        env.write(&format!("projects/{name}/build.ts"), &text);
    };
    let code = |name: &str, text: &str| {
        env.worker(&format!("projects/{name}"), name);
        env.write(&format!("projects/{name}/src/worker.ts"), text);
    };
    site("dotenv", "await Bun.write('dist/.env', 'A=1');");
    site("large", "await Bun.write('dist/film.mp4', new Uint8Array((25 << 20) + 1));");
    site("pages", "await Bun.write('dist/_worker.js', 'export default {}');");
    site("gone", "(await import('node:fs')).symlinkSync('nowhere', 'dist/a.txt');");
    site("rules", "await Bun.write('dist/_redirects', '/a /b 404\\n');");
    site("variable", "await Bun.write('dist/index.html', `api: ${process.env.PUBLIC_API_URL}`);");
    site("hidden", "");
    code(
        "throws",
        "throw new Error('reason of the code');\nexport default { fetch: () => new Response('x') };\n",
    );
    code("unresolved", "import './missing.js';\nexport default {};\n");
    site("stale", "");
    for dependencies in [r#""lib": "file:./lib""#, r#""lib": "file:./lib", "more": "file:./lib""#] {
        let package = format!(
            r#"{{ "name": "stale", "scripts": {{ "build": "bun build.ts" }}, "dependencies": {{ {dependencies} }} }}"#
        );
        env.write("projects/stale/package.json", &package);
        env.write("projects/stale/lib/package.json", r#"{ "name": "lib" }"#);
        if !env.root.join("projects/stale/bun.lock").exists() {
            env.sh("cd projects/stale && bun install").exits(0);
        }
    }
    site("pointer", "");
    env.write(".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n");
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
    env.write("projects/pointer/logo.bin", pointer);
    let config = std::fs::read_to_string(env.root.join("dagger/config/config.json")).expect("text");
    let config = config.replacen('{', r#"{ "variables": { "build": ["PUBLIC_API_URL"] },"#, 1);
    env.write("dagger/config/config.json", &config);
    env.commit("projects");
    env.git(&["update-index", "--skip-worktree", "projects/hidden/content.txt"]);
    env.write("projects/hidden/content.txt", "edited");
    let variables = [("PUBLIC_API_URL", "https://one.example")];
    let deploy = ["deploy", "--all", "--engine", "dagger", "--json"];
    let ran = dagger.xtask_with(&deploy, &variables);
    for (project, status, message) in [
        ("dotenv", "refused", "projects/dotenv/dist/.env looks private"),
        (
            "large",
            "refused",
            "has 26214401 bytes, and Cloudflare takes files of at most 26214400 (25 MiB)",
        ),
        (
            "pages",
            "refused",
            "dist/_worker.js is the code of a Pages project, and would be published as a file",
        ),
        ("gone", "refused", "dist/a.txt is a symbolic link that leads to nothing"),
        ("throws", "failed", "Uncaught Error: reason of the code"),
        (
            "unresolved",
            "failed",
            "hint: correct the code or the wrangler config; nothing was uploaded",
        ),
        ("rules", "live", "_redirects:1: Cloudflare drops this line: the status code `404`"),
        ("variable", "live", ""),
        ("hidden", "live", ""),
        ("stale", "failed", "hint: run `bun install` in projects/stale"),
        (
            "pointer",
            "refused",
            "projects/pointer/logo.bin is a Git LFS pointer instead of the file",
        ),
    ] {
        let record = ran.record(project);
        assert_eq!(record["status"], status, "{project}: {record:#}");
        let text = format!(
            "{}{}",
            error_text(&record),
            record["warnings"][0].as_str().unwrap_or_default()
        );
        let count = if message.is_empty() { 1 } else { text.matches(message).count() };
        assert_eq!(count, 1, "{project}: {text}");
    }
    assert_eq!(env.fetch("variable.localhost", "/").1, "api: https://one.example");
    assert_eq!(env.fetch("hidden.localhost", "/").1, "edited");
    let unchanged = dagger.xtask_with(
        &["deploy", "variable", "--engine", "dagger", "--json"],
        &[("PUBLIC_API_URL", "https://two.example")],
    );
    assert_eq!(
        unchanged.exits(0).record("variable")["status"],
        "live",
        "another value is another content"
    );
    assert_eq!(env.fetch("variable.localhost", "/").1, "api: https://two.example");
    env.assert_no_canary(&[&ran]);
}

#[test]
fn a_build_that_writes_the_code_of_a_worker_is_exported() {
    built_code(&Dagger::new());
}

/// A Worker whose code is built is deployed, and a build does not replace committed code.
pub fn built_code(dagger: &Dagger) {
    let env = &dagger.env;
    env.worker("projects/api", "api");
    let package = r#"{ "name": "api", "scripts": { "build": "bun build src/worker.ts --outdir out" }, "xtask": { "health": "/up" } }"#;
    env.write("projects/api/package.json", package);
    env.sh("sed -i s,src/worker.ts,out/worker.js, projects/api/wrangler.toml").exits(0);
    env.write("projects/api/.gitignore", "/out\n");
    env.commit("project");
    for _ in 0..2 {
        let record = dagger.deploy(&["api", "--force"]).exits(0).record("api");
        assert_eq!(record["status"], "live", "{record}");
        assert_eq!(env.fetch("api.localhost", "/up").1, "{\"stage\":\"top\"}");
    }
    // A build must not replace committed code.
    env.sh("sed -i s,out/worker.js,src/worker.ts, projects/api/wrangler.toml").exits(0);
    let error = dagger.deploy(&["api"]).exits(3).error("api");
    assert!(error.contains("the build would replace all of it"), "{error}");
    assert!(error.contains("`--engine host`"), "{error}");
}

#[test]
fn a_build_may_write_the_config_that_names_the_code() {
    generated_config(&Dagger::new());
}

/// The build of a project writes the config that names its code and assets.
pub fn generated_config(dagger: &Dagger) {
    let env = &dagger.env;
    readiness::config_by_the_build(env);
    env.commit("project");
    assert_eq!(dagger.deploy(&["start"]).exits(0).record("start")["status"], "live");
    assert_eq!(env.fetch("start.localhost", "/"), (200, "rendered".to_owned()));
    assert_eq!(env.fetch("start.localhost", "/robots.txt"), (200, "all".to_owned()));
    assert_eq!(dagger.deploy(&["start"]).exits(0).record("start")["status"], "unchanged");
}

/// Writes an npm workspace: a package with a build, and a Worker of code that imports what it writes.
fn workspace(env: &TestEnv) {
    env.write(
        "package.json",
        r#"{ "name": "root", "private": true, "workspaces": ["packages/*", "projects/*"] }"#,
    );
    let ui = r#"{ "name": "ui", "version": "1.0.0", "main": "out.js", "scripts": { "build": "node make.cjs" } }"#;
    env.write("packages/ui/package.json", ui);
    env.write(
        "packages/ui/make.cjs",
        "require('node:fs').writeFileSync('out.js', 'export default \"built\";');",
    );
    env.write("packages/other/package.json", r#"{ "name": "other", "version": "1.0.0" }"#);
    env.write("packages/other/large.txt", "no container needs this");
    let api = r#"{ "name": "api", "version": "1.0.0", "dependencies": { "ui": "*" } }"#;
    env.write("projects/api/package.json", api);
    let config = r#"{ "name": "api", "main": "worker.js", "compatibility_date": "2026-10-01" }"#;
    env.write("projects/api/wrangler.jsonc", config);
    env.write(
        "projects/api/worker.js",
        "import text from 'ui'; export default { fetch: () => new Response(text) };",
    );
    env.write(".gitignore", "node_modules\nout.js\n");
    env.sh("npm install --package-lock-only --ignore-scripts --no-audit --no-fund --offline")
        .exits(0);
    env.commit("workspace");
}

/// A Worker of an npm workspace is deployed with the package that it imports, which is built first.
pub fn npm_workspace(dagger: &Dagger) {
    let env = &dagger.env;
    workspace(env);
    let script = dagger.xtask(&["deploy", "api", "--engine", "dagger", "--dry-run"]);
    assert!(!script.stdout.contains("packages/other'"), "{}", script.stdout);
    dagger.deploy(&["api"]).exits(0);
    assert_eq!(env.fetch("api.localhost", "/").1, "built");
    assert!(!env.root.join("node_modules").exists(), "nothing was installed on this machine");
}

#[test]
fn a_worker_of_an_npm_workspace_is_built_and_deployed() {
    npm_workspace(&Dagger::new());
}
