//! A separate repository for every test, and an environment that nothing leaks into.

#[path = "../../../sandbox/tests/server/reaper.rs"]
mod reaper;
#[path = "../../../sandbox/tests/server/wait.rs"]
pub mod wait;

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value;

/// The sandbox's token in every test. It must turn up nowhere.
/// Its characters are those that shells, JSON, addresses and Markdown change.
pub const CANARY: &str = "canary-7f3a$\"'&<to\\ken>%41`|*_[x](y)!~";

static COUNT: AtomicU32 = AtomicU32::new(0);

/// The real repository.
pub fn repository() -> Utf8PathBuf {
    Utf8Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a parent").to_owned()
}

/// The program under test. The benchmarks of another crate find it beside themselves in the target folder.
pub fn program() -> std::path::PathBuf {
    let beside = || {
        let own = std::env::current_exe().expect("a path");
        own.ancestors().nth(2).expect("the target folder").join("xtask")
    };
    option_env!("CARGO_BIN_EXE_xtask").map_or_else(beside, Into::into)
}

/// A repository for one test.
pub struct TestEnv {
    /// Its root.
    pub root: Utf8PathBuf,
    /// The folder around it: `home` and `bin`.
    pub folder: Utf8PathBuf,
}

/// The outcome of a run.
#[derive(Debug)]
pub struct Ran {
    /// The exit code.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// Asserts the exit code, showing what was printed when it is another.
    #[track_caller]
    pub fn exits(self, code: i32) -> Ran {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// The JSON document on stdout, which must hold nothing else.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {}", self.stdout))
    }

    /// The record of the project called `name`.
    #[track_caller]
    pub fn record(&self, name: &str) -> Value {
        let json = self.json();
        let records = json["records"].as_array().expect("records");
        records.iter().find(|record| record["project"] == name).cloned().expect("a record")
    }

    /// The error of a project's record, as people see it.
    pub fn error(&self, name: &str) -> String {
        error_text(&self.record(name))
    }
}

/// The error of a record, with each next step on its own line. Empty if it has none.
pub fn error_text(record: &Value) -> String {
    let hints = record["hints"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let hints: String = hints.map(|hint| format!("\nhint: {hint}")).collect();
    record["error"].as_str().unwrap_or_default().to_owned() + &hints
}

impl TestEnv {
    /// A git repository with the shared config and tool pins, and no project.
    pub fn new() -> TestEnv {
        let env = TestEnv::empty();
        for file in [
            "dagger/config/config.json",
            "dagger/bun/toolchain/package.json",
            "dagger/bun/toolchain/package-lock.json",
            "dagger/cloudflare/toolchain/package.json",
            "dagger/cloudflare/toolchain/bun.lock",
            ".gitignore",
        ] {
            env.write(file, &std::fs::read_to_string(repository().join(file)).expect(file));
        }
        env
    }

    /// An empty git repository.
    fn empty() -> TestEnv {
        reaper::watch();
        let number = COUNT.fetch_add(1, Ordering::SeqCst);
        let folder = Utf8Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("it-{}-{number}", std::process::id()));
        let root = folder.join("repo");
        let env = TestEnv { root, folder };
        for dir in ["home", "bin", "repo", "tmp"] {
            std::fs::create_dir_all(env.folder.join(dir)).expect("a folder");
        }
        env.git(&["init", "--quiet", "--initial-branch=main"]);
        env.git(&["config", "user.name", "Test"]);
        env.git(&["config", "user.email", "test@example.com"]);
        env
    }

    /// A git repository of which this tool knows nothing, on a machine with Bun, Node, npm and an installed wrangler.
    pub fn foreign() -> TestEnv {
        let env = TestEnv::empty();
        let path = |name: &str| {
            std::env::var(name)
                .unwrap_or_else(|_| panic!("{name} is not set: run `cargo xtask test`"))
        };
        for (program, variable) in [("bun", "XTASK_BUN"), ("node", "XTASK_NODE")] {
            let link = env.folder.join("bin").join(program);
            std::os::unix::fs::symlink(path(variable), link).expect("a link");
        }
        let toolchain = workspace::toolchain::Toolchain::wrangler(&env.root);
        assert!(toolchain.is_carried());
        std::fs::create_dir_all(&toolchain.dir).expect("a folder");
        let modules = Utf8PathBuf::from(path("XTASK_TOOLCHAIN")).join("node_modules");
        std::os::unix::fs::symlink(modules, toolchain.dir.join("node_modules")).expect("a link");
        env.write(".git/info/exclude", ".xtask/\n");
        env
    }

    /// With Bun and Node on PATH and the toolchain installed, as `cargo xtask test` leaves them.
    pub fn with_tools() -> TestEnv {
        let env = TestEnv::new();
        let path = |name: &str| {
            std::env::var(name)
                .unwrap_or_else(|_| panic!("{name} is not set: run `cargo xtask test`"))
        };
        for (program, variable) in [("bun", "XTASK_BUN"), ("node", "XTASK_NODE")] {
            let link = env.folder.join("bin").join(program);
            std::os::unix::fs::symlink(path(variable), link).expect("a link");
        }
        let modules = Utf8PathBuf::from(path("XTASK_TOOLCHAIN")).join("node_modules");
        let link = env.root.join("dagger/cloudflare/toolchain/node_modules");
        std::os::unix::fs::symlink(modules, link).expect("a link");
        env.write(".git/info/exclude", "node_modules\n");
        env.commit("tools");
        env
    }

    /// Writes a file below the root.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.root.join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    }

    /// A site of files whose build copies `content.txt` into `dist/index.html`.
    pub fn site(&self, dir: &str, worker: &str) {
        self.write(&format!("{dir}/content.txt"), &format!("<h1>{worker} one</h1>"));
        self.write(
            &format!("{dir}/package.json"),
            &format!(
                r#"{{ "name": "{worker}-package", "scripts": {{ "build": "bun build.ts" }} }}"#
            ),
        );
        self.write(
            &format!("{dir}/build.ts"),
            "await Bun.write('dist/index.html', await Bun.file('content.txt').text());\n\
             await Bun.write('dist/leak.txt', JSON.stringify(process.env));\n",
        );
        self.write(
            &format!("{dir}/wrangler.jsonc"),
            &format!(
                r#"{{ "name": "{worker}", "compatibility_date": "2026-10-01", "workers_dev": true,
                     "preview_urls": true, "assets": {{ "directory": "./dist" }} }}"#
            ),
        );
    }

    /// A Worker with code, one variable and a `staging` block.
    pub fn worker(&self, dir: &str, worker: &str) {
        self.write(
            &format!("{dir}/src/worker.ts"),
            "export default { fetch(request: Request, env: { STAGE: string }): Response {\n\
             \treturn new URL(request.url).pathname === '/up' ? Response.json({ stage: env.STAGE }) : new Response('no', { status: 404 });\n} };\n",
        );
        self.write(
            &format!("{dir}/package.json"),
            &format!(r#"{{ "name": "{worker}-package", "xtask": {{ "health": "/up" }} }}"#),
        );
        self.write(
            &format!("{dir}/wrangler.toml"),
            &format!(
                "name = \"{worker}\"\nmain = \"src/worker.ts\"\ncompatibility_date = \"2026-10-01\"\n\
                 workers_dev = true\npreview_urls = true\n[vars]\nSTAGE = \"top\"\n\
                 [env.staging.vars]\nSTAGE = \"staging\"\n"
            ),
        );
    }

    /// Puts a program on PATH.
    pub fn program(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.folder.join("bin").join(name);
        std::fs::write(&path, text).expect("a file");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("mode");
    }

    /// Commits everything.
    pub fn commit(&self, message: &str) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message", message]);
    }

    pub fn git(&self, arguments: &[&str]) {
        let mut git = Command::new("git");
        self.environment(&mut git);
        let output = git.args(arguments).output().expect("git runs");
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// Runs xtask.
    pub fn xtask(&self, arguments: &[&str]) -> Ran {
        self.xtask_with(arguments, &[])
    }

    /// Runs xtask with further variables.
    pub fn xtask_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Ran {
        ran(self.command(arguments, variables).output().expect("xtask runs"))
    }

    /// Returns what `program` writes to a terminal of this width.
    pub fn in_terminal(&self, columns: u16, program: &mut Command) -> Ran {
        let bun = std::env::var("XTASK_BUN").expect("XTASK_BUN is set by `cargo xtask test`");
        let mut terminal = Command::new(bun);
        self.environment(&mut terminal);
        terminal.arg(repository().join("xtask/tests/fakes/terminal.ts")).arg(columns.to_string());
        terminal.arg(program.get_program()).args(program.get_args()).env("TERM", "xterm");
        for (name, value) in program.get_envs() {
            match value {
                Some(value) => terminal.env(name, value),
                None => terminal.env_remove(name),
            };
        }
        if let Some(folder) = program.get_current_dir() {
            terminal.current_dir(folder);
        }
        ran(terminal.output().expect("bun runs"))
    }

    /// Runs shell text in the repository with the environment of xtask.
    pub fn sh(&self, script: &str) -> Ran {
        let mut sh = Command::new("sh");
        self.environment(&mut sh);
        ran(sh.args(["-c", script]).output().expect("sh runs"))
    }

    /// A run of xtask, not started.
    pub fn command(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Command {
        let mut xtask = Command::new(program());
        self.environment(&mut xtask);
        xtask.args(arguments).envs(variables.iter().copied());
        xtask
    }

    /// Gives a program the cleared environment, in the repository.
    pub fn environment(&self, command: &mut Command) {
        let path = std::env::var("PATH").expect("PATH");
        let system: Vec<&str> =
            path.split(':').filter(|dir| !Path::new(dir).join("bun").exists()).collect();
        command.env_clear().current_dir(&self.root).stdin(Stdio::null());
        command.env("PATH", format!("{}:{}", self.folder.join("bin"), system.join(":")));
        command.env("HOME", self.folder.join("home")).env("TMPDIR", self.folder.join("tmp"));
        let shared = Utf8Path::new(env!("CARGO_TARGET_TMPDIR"));
        command.env("BUN_INSTALL_CACHE_DIR", shared.join("bun-cache"));
        // Each test has its own home, in which Bun would read all of wrangler's source again.
        command.env("BUN_RUNTIME_TRANSPILER_CACHE_PATH", shared.join("bun-sources"));
        command.env("SANDBOX_TOKEN", CANARY).env("CI", "true");
        // A slow machine prints nothing that a fast one does not.
        command.env("XTASK_PROGRESS_INTERVAL", "0");
    }

    /// Returns the number of processes that run in a folder of the repository.
    pub fn processes_in(&self, dir: &str) -> usize {
        let dir = self.root.join(dir);
        let processes = std::fs::read_dir("/proc").expect("processes").filter_map(Result::ok);
        processes
            .filter_map(|process| std::fs::read_link(process.path().join("cwd")).ok())
            .filter(|cwd| cwd.starts_with(&dir))
            .count()
    }

    /// The running sandbox's port.
    pub fn port(&self) -> u16 {
        let json = self.xtask(&["sandbox", "status", "--json"]).exits(0).json();
        json["port"].as_u64().and_then(|port| u16::try_from(port).ok()).expect("a port")
    }

    /// Returns the sandbox's response for `host` (without the port) and `path`: status and body.
    pub fn fetch(&self, host: &str, path: &str) -> (u16, String) {
        let port = self.port();
        let agent = base::http::agent(wait::max_wait(), 0);
        let host = format!("{host}:{port}");
        let url = format!("http://127.0.0.1:{port}{path}");
        let answer = base::http::get(&agent, &url, &[("Host", &host)]).expect("an answer");
        (answer.status, String::from_utf8_lossy(&answer.body).into_owned())
    }
}

impl Drop for TestEnv {
    fn drop(&mut self) {
        if self.root.join(".xtask/sandbox/server.json").exists() {
            self.xtask(&["sandbox", "down"]);
        }
        // Kept for a look when a test failed.
        if !std::thread::panicking() {
            std::fs::remove_dir_all(&self.folder).unwrap_or_default();
        }
    }
}

/// Returns the outcome of a finished process.
pub fn ran(output: Output) -> Ran {
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).expect("UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

/// Copies a folder of the real repository, without what git ignores, into a test's.
pub fn copy(env: &TestEnv, dir: &str) {
    let output = Command::new("git")
        .current_dir(repository())
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard", dir])
        .output()
        .expect("git runs");
    let files = String::from_utf8(output.stdout).expect("UTF-8");
    for path in files.split('\0').filter(|path| !path.is_empty()) {
        let (from, to) = (repository().join(path), env.root.join(path));
        if from.is_file() {
            std::fs::create_dir_all(to.parent().expect("a parent")).expect("a folder");
            std::fs::copy(from, to).expect(path);
        }
    }
}
