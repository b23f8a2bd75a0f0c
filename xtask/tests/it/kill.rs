//! Tests killed runs: their children end, and the next run waits until they have ended.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::wait::{Wait, max_wait};
use crate::support::{CANARY, TestEnv};

/// Waits for a condition, however slow the machine is.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let wait = Wait::begin();
    while !holds() {
        wait.pause(what);
    }
}

/// Returns the number of processes with the repository's path in their command line or folder.
fn processes(env: &TestEnv) -> usize {
    let processes = std::fs::read_dir("/proc").expect("processes").filter_map(Result::ok);
    let of_upload = |process: &std::fs::DirEntry| {
        let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        let cwd = std::fs::read_link(process.path().join("cwd")).unwrap_or_default();
        let is_here = cwd.starts_with(&env.root) && line.contains("wrangler");
        is_here && !line.contains("serve")
    };
    processes.filter(of_upload).count()
}

/// Lets the sandbox hold back wrangler's request to deploy `a`.
fn hold_back(env: &TestEnv) -> impl Fn() -> bool + use<> {
    let url = format!("http://127.0.0.1:{}/__sandbox/faults", env.port());
    let fault = json!([{ "agent": "wrangler/", "method": "POST", "path": "/scripts/a/deployments",
        "times": 1, "action": "hang" }]);
    let ask = move |method: &str, body: &Value| -> Value {
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(&url)
            .header("authorization", format!("Bearer {CANARY}"))
            .header("content-type", "application/json")
            .body(body.to_string())
            .expect("a request");
        let agent = base::http::agent(max_wait(), 0);
        let mut answer = agent.run(request).expect("an answer");
        let text = answer.body_mut().read_to_string().expect("text");
        serde_json::from_str(&text).unwrap_or_default()
    };
    ask("POST", &fault);
    move || ask("GET", &Value::Null)[0]["taken"].as_u64().is_some_and(|taken| taken > 0)
}

#[test]
fn a_killed_run_leaves_no_upload_behind() {
    let env = TestEnv::with_tools();
    env.site("projects/a", "a");
    env.commit("site");
    env.xtask(&["deploy", "a", "--engine=host"]).exits(0);
    env.write("projects/a/content.txt", "two");
    let is_sent = hold_back(&env);
    let mut command = env.command(&["deploy", "a", "--engine=host"], &[]);
    let mut child =
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("xtask runs");
    until("wrangler sends its request", &is_sent);
    assert!(processes(&env) > 0, "the upload runs");
    child.kill().expect("a process");
    child.wait().expect("an end");
    until("the upload ends with xtask", || processes(&env) == 0);
    // The next run waits for what may be on its way, and reads again.
    let next = env.xtask(&["deploy", "a", "--engine=host"]).exits(0);
    assert!(next.stderr.contains("because the previous run was killed"), "{}", next.stderr);
    assert_eq!(env.fetch("a.localhost", "/").1, "two");
    let after = env.xtask(&["deploy", "a", "--engine=host"]).exits(0);
    assert!(!after.stderr.contains("was killed"), "{}", after.stderr);
}

#[test]
fn a_build_ends_with_xtask() {
    let env = TestEnv::with_tools();
    env.site("projects/a", "a");
    env.write("projects/a/build.ts", "await Bun.write('begun', ''); await Bun.sleep(600_000);");
    env.commit("site");
    let mut command = env.command(&["build", "a", "--engine=host"], &[]);
    let mut child =
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("xtask runs");
    until("the build begins", || env.root.join("projects/a/begun").exists());
    child.kill().expect("a process");
    child.wait().expect("an end");
    until("the build ends with xtask", || env.processes_in("projects/a") == 0);
}

#[test]
fn does_not_wait_for_a_background_process_of_a_build() {
    let env = TestEnv::with_tools();
    env.site("projects/a", "a");
    // It leaves the process group and keeps the output open, as a daemon does that was not told better.
    let server = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = server.local_addr().expect("an address");
    let leftover = format!(
        "const socket = await Bun.connect({{ hostname: '127.0.0.1', port: {}, socket: {{ data() {{ process.exit(0); }} }} }});",
        address.port()
    );
    env.write("projects/a/leftover.ts", &leftover);
    env.write(
        "projects/a/build.ts",
        "import { spawn } from 'node:child_process';\n\
         spawn('setsid', [process.execPath, 'leftover.ts'], { stdio: 'inherit', detached: true }).unref();\n\
         await Bun.write('dist/index.html', 'built'); process.exit(0);\n",
    );
    env.commit("site");
    let wait = Wait::begin();
    let ran = env.xtask(&["deploy", "a", "--json", "--engine=host"]).exits(0);
    assert_eq!(ran.record("a")["status"], "live");
    let log = env.root.join(ran.record("a")["log"].as_str().expect("a log"));
    let log = std::fs::read_to_string(log).expect("text");
    assert!(log.contains("a process that it left behind holds its output open"), "{log}");
    wait.check("the run waits for a process that it left behind");
    // It is still there, and ends when it is told.
    let (mut leftover, _) = server.accept().expect("the process that was left");
    leftover.write_all(b"end").expect("a connection");
    let _closed = leftover.read(&mut [0; 8]);
}
