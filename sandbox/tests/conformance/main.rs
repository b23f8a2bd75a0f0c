//! Runs independent clients with a fixed list of calls each: Cloudflare's libraries for Python and
//! JavaScript, python-gitlab, and three versions of wrangler. Their figures are in `sandbox/README.md`;
//! `UPDATE_EXPECT=1 cargo test -p sandbox --test conformance` writes them.

#[path = "../server/server.rs"]
#[expect(dead_code, reason = "other tests use the rest of it")]
mod server;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use server::{ACCOUNT, Server, TOKEN};

/// The versions of wrangler, with the folders of their packages.
const WRANGLERS: [(&str, &str); 3] = [
    ("wrangler 4.60.0", "wrangler-4-60"),
    ("wrangler 4.126.0", "wrangler-4-126"),
    ("wrangler, pinned", "wrangler"),
];

const CODE: &str = "export default { fetch: () => new Response('hi'), queue() {} };\n";

/// Tried and passed calls of each client, and what failed.
#[derive(Default)]
struct Report(BTreeMap<String, (usize, usize)>, Vec<String>);

impl Report {
    fn add(&mut self, client: &str, call: &str, failure: Option<String>) {
        let (tried, passed) = self.0.entry(client.to_owned()).or_default();
        *tried += 1;
        match failure {
            None => *passed += 1,
            Some(why) => self.1.push(format!("{client}: {call}: {why}")),
        }
    }

    /// Adds the lines that a program of calls printed.
    fn add_lines(&mut self, output: &Output) {
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).expect("a line of JSON");
            let failure = (line["passed"] != true).then(|| line["why"].to_string());
            let text = |name: &str| line[name].as_str().expect("a text").to_owned();
            self.add(&text("client"), &text("call"), failure);
        }
    }

    /// Compares the figures of these clients with the table of the README.
    fn check(&self, clients: &[&str]) {
        assert!(self.1.is_empty(), "{}", self.1.join("\n"));
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
        let mut text = std::fs::read_to_string(&path).expect("the README");
        let mut is_changed = false;
        for client in clients {
            let (tried, passed) = self.0.get(*client).copied().unwrap_or_default();
            let wanted = format!("| {client} | {tried} | {passed} |");
            let row = text.lines().find(|line| line.starts_with(&format!("| {client} |")));
            let row =
                row.unwrap_or_else(|| panic!("no row of {client} in sandbox/README.md")).to_owned();
            if row != wanted {
                text = text.replace(&row, &wanted);
                is_changed = true;
            }
        }
        let may_write = std::env::var("UPDATE_EXPECT").is_ok_and(|value| value == "1");
        assert!(
            !is_changed || may_write,
            "sandbox/README.md has other figures; run with UPDATE_EXPECT=1"
        );
        if is_changed {
            std::fs::write(&path, text).expect("the README is written");
        }
    }
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance").join(name)
}

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{command:?}: {text}{}",
        String::from_utf8_lossy(&output.stdout)
    );
    output
}

/// Installs the packages of JavaScript clients, frozen to the lock file.
fn install_packages() {
    let mut install = Command::new(std::env::var("XTASK_BUN").expect("XTASK_BUN"));
    run(install
        .args(["install", "--frozen-lockfile", "--ignore-scripts"])
        .current_dir(folder("node")));
}

fn with_server<'c>(command: &'c mut Command, server: &Server) -> &'c mut Command {
    command
        .env("SANDBOX_URL", format!("http://127.0.0.1:{}", server.port))
        .env("SANDBOX_TOKEN", TOKEN)
        .env("ACCOUNT", ACCOUNT)
}

/// Returns the Python of a venv with the pinned libraries. `None` if no Python with venv is installed.
fn python() -> Option<PathBuf> {
    let folder_of_tools = Path::new(env!("CARGO_TARGET_TMPDIR")).join("conformance-python");
    let program = folder_of_tools.join("bin/python");
    let requirements = folder("python").join("requirements.txt");
    let wanted = std::fs::read_to_string(&requirements).expect("the requirements");
    let stamp = folder_of_tools.join("installed.txt");
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Some(program);
    }
    let made = Command::new("python3").args(["-m", "venv"]).arg(&folder_of_tools).output();
    if !made.is_ok_and(|made| made.status.success()) {
        return None;
    }
    let mut install = Command::new(&program);
    install.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-compile",
        "--requirement",
    ]);
    run(install.arg(&requirements));
    std::fs::write(&stamp, wanted).expect("the stamp is written");
    Some(program)
}

/// Makes a git repository with the branch `a`, which changes a file.
fn repository(dir: &Path) -> PathBuf {
    let repository = dir.join("repository");
    std::fs::create_dir_all(&repository).expect("a folder");
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
            command.env_remove(name);
        }
        command.arg("-C").arg(&repository).args(["-c", "user.name=Ann"]);
        command.args(["-c", "user.email=ann@example.com", "-c", "commit.gpgsign=false"]);
        run(command.args(arguments));
    };
    git(&["init", "--quiet", "--initial-branch", "main"]);
    for (branch, text, message) in [("main", "one\n", "First"), ("a", "two\n", "Change")] {
        git(&["checkout", "--quiet", "-B", branch]);
        std::fs::write(repository.join("a.txt"), text).expect("a file");
        git(&["add", "--all"]);
        git(&["commit", "--quiet", "--message", message]);
    }
    repository
}

#[tokio::test]
async fn python_s_libraries() {
    let Some(python) = python() else {
        eprintln!(
            "skipped: Python's cloudflare and python-gitlab. They need python3 with venv and pip: \
             `apt-get install python3-venv`, or `brew install python`"
        );
        return;
    };
    let mut server = Server::new("python");
    let repository = repository(&server.dir);
    server.restart_with(&["--gitlab-repository", repository.to_str().expect("a path")]);
    let token = std::fs::read_to_string(server.dir.join("gitlab-token")).expect("a token");
    let mut calls = Command::new(python);
    calls.arg(folder("python").join("calls.py")).env("GITLAB_TOKEN", token.trim());
    let mut report = Report::default();
    report.add_lines(&run(with_server(&mut calls, &server)));
    report.check(&["cloudflare (Python)", "python-gitlab"]);
}

#[tokio::test]
async fn cloudflare_s_library_for_javascript() {
    install_packages();
    let server = Server::new("javascript");
    let mut calls = Command::new(std::env::var("XTASK_BUN").expect("XTASK_BUN"));
    calls.arg(folder("node").join("calls.ts")).current_dir(folder("node"));
    let mut report = Report::default();
    report.add_lines(&run(with_server(&mut calls, &server)));
    report.check(&["cloudflare (npm)"]);
}

#[tokio::test]
async fn three_versions_of_wrangler() {
    install_packages();
    let mut report = Report::default();
    for (client, package) in WRANGLERS {
        let packages = match package {
            "wrangler" => PathBuf::from(std::env::var("XTASK_TOOLCHAIN").expect("XTASK_TOOLCHAIN")),
            _ => folder("node"),
        };
        wrangler(client, &packages.join("node_modules").join(package), &mut report).await;
    }
    report.check(&WRANGLERS.map(|(client, _)| client));
}

/// Runs the commands of one version in a separate project.
async fn wrangler(client: &str, package: &Path, report: &mut Report) {
    let server = Server::new(&client.replace([' ', ',', '.'], "-"));
    let project = server.dir.join("project");
    std::fs::create_dir_all(project.join("migrations")).expect("a folder");
    let write = |name: &str, text: &str| std::fs::write(project.join(name), text).expect("a file");
    write("worker.js", CODE);
    write("migrations/0001_init.sql", "CREATE TABLE t (a); INSERT INTO t VALUES (1);");
    write("secrets.json", r#"{ "FROM_FILE": "hush" }"#);
    let mut config = json!({
        "name": "site", "main": "worker.js", "compatibility_date": "2025-10-01", "workers_dev": true,
        "preview_urls": true, "triggers": { "crons": ["0 * * * *"] },
    });
    write("wrangler.json", &config.to_string());
    let mut play = |name: &str, arguments: &str, wanted: &str, is_good: bool| {
        let mut command = Command::new(std::env::var("XTASK_BUN").expect("XTASK_BUN"));
        command
            .arg(package.join("bin/wrangler.js"))
            .args(arguments.split(' '))
            .current_dir(&project);
        command
            .env("CLOUDFLARE_API_BASE_URL", format!("http://127.0.0.1:{}/client/v4", server.port))
            .env("CLOUDFLARE_API_TOKEN", TOKEN)
            .env("CLOUDFLARE_ACCOUNT_ID", ACCOUNT)
            .envs([
                ("CI", "1"),
                ("WRANGLER_SEND_METRICS", "false"),
                ("CLOUDFLARE_CF_FETCH_ENABLED", "false"),
            ])
            .env("HOME", &server.dir);
        let output = command.output().expect("Bun runs");
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        let passed = output.status.success() == is_good && text.contains(wanted);
        report.add(client, name, (!passed).then(|| format!("{wanted:?} is not in: {text}")));
        text
    };
    play("whoami", "whoami", "Sandbox", true);
    play("deploy", "deploy", "site.sandbox.workers.dev", true);
    play("kv namespace create", "kv namespace create cache", "cache", true);
    play("kv namespace list", "kv namespace list", "\"title\": \"cache\"", true);
    play("d1 create", "d1 create data", "data", true);
    play("r2 bucket create", "r2 bucket create files", "files", true);
    play("queues create", "queues create jobs", "jobs", true);
    let (_, namespaces) = server.get(&format!("/accounts/{ACCOUNT}/storage/kv/namespaces")).await;
    let (_, databases) = server.get(&format!("/accounts/{ACCOUNT}/d1/database")).await;
    config["kv_namespaces"] = json!([{ "binding": "KV", "id": namespaces["result"][0]["id"] }]);
    config["d1_databases"] = json!([{ "binding": "DB", "database_name": "data", "database_id": databases["result"][0]["uuid"] }]);
    config["r2_buckets"] = json!([{ "binding": "R2", "bucket_name": "files" }]);
    config["queues"] = json!({ "producers": [{ "binding": "JOBS", "queue": "jobs" }], "consumers": [{ "queue": "jobs" }] });
    write("wrangler.json", &config.to_string());
    play("deploy with bindings", "deploy", "Consumer for jobs", true);
    play("kv key put", "kv key put --remote --binding KV key value", "Writing the value", true);
    play("kv key get", "kv key get --remote --binding KV key --text", "value", true);
    play("d1 migrations apply", "d1 migrations apply data --remote", "0001_init.sql", true);
    play(
        "d1 execute",
        "d1 execute data --remote --json --command SELECT/**/a/**/FROM/**/t",
        "\"a\": 1",
        true,
    );
    play(
        "r2 object put",
        "r2 object put --remote files/a.txt --file secrets.json",
        "Upload complete",
        true,
    );
    play("secret bulk", "secret bulk secrets.json", "1 secrets successfully", true);
    play("secret list", "secret list", "FROM_FILE", true);
    play("secret delete", "secret delete FROM_FILE", "Success", true);
    play(
        "versions upload",
        "versions upload --tag t1 --message second --preview-alias mr-1",
        "mr-1-site.sandbox.workers.dev",
        true,
    );
    play("versions list", "versions list", "t1", true);
    play("deployments status", "deployments status", "100%", true);
    play("triggers deploy", "triggers deploy", "schedule: 0 * * * *", true);
    play("workflows list", "workflows list", "", true);
    play("vectorize list", "vectorize list", "does not have Vectorize", false);
    play("d1 list", "d1 list --json", "\"name\": \"data\"", true);
    play("d1 info", "d1 info data --json", "\"name\": \"data\"", true);
    play("r2 bucket list", "r2 bucket list", "files", true);
    play("r2 object get", "r2 object get --remote files/a.txt --pipe", "hush", true);
    play("kv key list", "kv key list --remote --binding KV", "\"key\"", true);
    play("kv key delete", "kv key delete --remote --binding KV key", "Deleting the key", true);
    play("queues info", "queues info jobs", "site", true);
    play("deployments list", "deployments list", "100%", true);
    play("rollback", "rollback --message back --yes", "SUCCESS", true);
    write("worker.js", "throw new Error('at the start'); export default { fetch() {} };\n");
    play("deploy, refused", "deploy", "at the start", false);
    write("worker.js", CODE);
    play("queues list", "queues list", "jobs", true);
    play("delete", "delete --force", "Successfully deleted site", true);
}
