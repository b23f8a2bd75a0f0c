//! `doctor`, case by case. Each folder of `tests/cases/doctor` is one:
//!
//! - `case.json`: arguments, variables, what is taken away from the common start, and the exit code;
//! - `bin/`: programs on PATH beside the common ones;
//! - `expected.txt`, `expected.json`: what is printed, for people and with `--json`; the latter
//!   without the checks that say what they say in `healthy`;
//! - `after-fix/`: the same after a run with `--fix`, where the case has one.
//!
//! `UPDATE_EXPECT=1` rewrites the expectations.

use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::ExitCode;
use std::process::{Command, Output, Stdio};

use base::command::preamble;
use camino::{Utf8Path, Utf8PathBuf};
use expect_test::expect_file;
use libtest_mimic::{Arguments, Trial};
use serde::Deserialize;
use serde_json::Value;

/// The value of every variable that a case calls a token. It must turn up nowhere.
const CANARY: &str = "canary-doctor-7f3a";

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Case {
    /// The reason for the case.
    about: String,
    /// The arguments after `doctor`.
    args: Vec<String>,
    /// The exit code.
    exit: i32,
    /// Variables; `CANARY` is a token.
    env: BTreeMap<String, String>,
    /// Programs of the common start that are not there.
    without: Vec<String>,
    /// Files of the tree by path; `null` takes one of the common start away.
    files: BTreeMap<String, Option<String>>,
    /// Modes of files, in octal.
    modes: BTreeMap<String, String>,
    /// `true` if the tree is a git repository.
    repository: bool,
}

impl Default for Case {
    fn default() -> Case {
        Case {
            about: String::new(),
            args: vec!["--offline".to_owned()],
            exit: 0,
            env: BTreeMap::new(),
            without: Vec::new(),
            files: BTreeMap::new(),
            modes: BTreeMap::new(),
            repository: true,
        }
    }
}

/// A case laid out on disk.
struct Stage {
    case: Case,
    source: Utf8PathBuf,
    folder: Utf8PathBuf,
    root: Utf8PathBuf,
}

/// The number of cases that run in parallel. The checks of one run have timeouts.
const SIDE_BY_SIDE: usize = 2;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = arguments.test_threads.or(Some(SIDE_BY_SIDE));
    let cases = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/doctor");
    let mut names: Vec<String> = cases
        .read_dir_utf8()
        .expect("cases")
        .map(|entry| entry.expect("an entry").file_name().to_owned())
        .filter(|name| name != "common")
        .collect();
    names.sort();
    assert!(names.len() >= 12, "{names:?}");
    let case = |name: String| {
        let cases = cases.clone();
        Trial::test(name.clone(), move || {
            Stage::new(&cases, &name).play();
            Ok(())
        })
    };
    let mut trials: Vec<Trial> = names.into_iter().map(case).collect();
    trials.push(Trial::test("preflight lists everything that a deploy would fail on", || {
        preflight_lists_everything_that_a_deploy_would_fail_on();
        Ok(())
    }));
    libtest_mimic::run(&arguments, trials).exit_code()
}

impl Stage {
    fn new(cases: &Utf8Path, name: &str) -> Stage {
        let source = cases.join(name);
        let read = |path: Utf8PathBuf| -> Case {
            let text =
                std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
        };
        let (common, case) = (read(cases.join("common/case.json")), read(source.join("case.json")));
        assert!(!case.about.is_empty(), "{name} does not say why it is there");
        let folder = Utf8Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("doctor-{}-{name}", std::process::id()));
        let stage = Stage { case, source, root: folder.join("tree"), folder };
        for dir in ["bin", "home", "tree"] {
            std::fs::create_dir_all(stage.folder.join(dir)).expect("a folder");
        }
        stage.programs(&cases.join("common/bin"));
        stage.programs(&stage.source.join("bin"));
        for (path, text) in common.files.iter().chain(&stage.case.files) {
            stage.put(path, text.as_deref());
        }
        for (path, mode) in &stage.case.modes {
            let mode = u32::from_str_radix(mode, 8).expect("an octal mode");
            let path = stage.root.join(path);
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode))
                .unwrap_or_else(|error| panic!("{path}: {error}"));
        }
        if stage.case.repository {
            stage.git_init();
        }
        stage
    }

    /// Puts programs on PATH: those of `dir`, and links to the few that fixes use.
    fn programs(&self, dir: &Utf8Path) {
        let bin = self.folder.join("bin");
        for name in ["chmod", "cp", "mkdir"] {
            let link = bin.join(name);
            if !link.exists() {
                symlink(real(name), &link).expect("a link");
            }
        }
        for entry in dir.read_dir_utf8().into_iter().flatten() {
            let entry = entry.expect("an entry");
            if !self.case.without.iter().any(|name| name == entry.file_name()) {
                let program = bin.join(entry.file_name());
                let text = std::fs::read_to_string(entry.path()).expect("a script");
                let text = text.replace("REAL_GIT", real("git").as_str());
                std::fs::write(&program, text).expect("a copy");
                std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755))
                    .expect("a mode");
            }
        }
    }

    fn put(&self, path: &str, text: Option<&str>) {
        let path = self.root.join(path);
        match text {
            Some(text) => {
                std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
                std::fs::write(&path, text.replace("CANARY", CANARY)).expect("a file");
            }
            None => std::fs::remove_file(&path).unwrap_or_else(|error| panic!("{path}: {error}")),
        }
    }

    fn git_init(&self) {
        let status = Command::new(real("git"))
            .env_clear()
            .env("HOME", self.folder.join("home"))
            .current_dir(&self.root)
            .args(["init", "--quiet", "--initial-branch=main"])
            .status();
        assert!(status.expect("git runs").success());
    }

    /// Runs the case, and with `--fix` where there is something to expect of it.
    fn play(&self) {
        let before = self.files();
        self.compare(&self.source);
        assert_eq!(before, self.files(), "{}: doctor alone writes nothing", self.source);
        let fixed = self.source.join("after-fix");
        if fixed.is_dir() {
            let ran = self.run(&["--fix"]);
            let text = self.normalize(&ran.stderr) + "---\n" + &self.normalize(&ran.stdout);
            expect_file![fixed.join("fix.txt")].assert_eq(&text);
            self.compare(&fixed);
        }
        std::fs::remove_dir_all(&self.folder).expect("removable");
    }

    /// Compares what is printed with the expectations in `dir`, and the exit codes with each other.
    fn compare(&self, dir: &Utf8Path) {
        let (plain, json) = (self.run(&[]), self.run(&["--json"]));
        let stdout = String::from_utf8(json.stdout).expect("UTF-8");
        let mut value: Value = serde_json::from_str(&stdout)
            .unwrap_or_else(|error| panic!("{dir}: {error}: {stdout}"));
        if dir == self.source {
            assert_eq!(
                plain.status.code(),
                Some(self.case.exit),
                "{dir}: {}",
                self.normalize(&plain.stderr)
            );
        }
        assert_eq!(plain.status.code(), json.status.code(), "{dir}");
        let reported = value.get("exit").or(value.pointer("/error/exit"));
        let reported = reported.map_or(Some(0), Value::as_i64);
        assert_eq!(reported, plain.status.code().map(i64::from), "{dir}");
        for check in value["checks"].as_array_mut().into_iter().flatten() {
            mask(check);
        }
        let mut value = self.told_json(&value);
        if !dir.ends_with("healthy") {
            self.leave_out_what_is_well(&mut value);
        }
        let json = serde_json::to_string_pretty(&value).expect("JSON") + "\n";
        let text = match plain.stdout.as_slice() {
            [] => &plain.stderr,
            stdout => stdout,
        };
        expect_file![dir.join("expected.txt")].assert_eq(&self.normalize(text));
        expect_file![dir.join("expected.json")].assert_eq(&json);
    }

    fn told_json(&self, value: &Value) -> Value {
        serde_json::from_str(&self.normalize(value.to_string().as_bytes())).expect("JSON")
    }

    /// Takes out the checks that say what they say in the case `healthy`.
    fn leave_out_what_is_well(&self, value: &mut Value) {
        let healthy = self.source.with_file_name("healthy").join("expected.json");
        let healthy = std::fs::read_to_string(healthy).unwrap_or_else(|_| "{}".to_owned());
        let healthy: Value = serde_json::from_str(&healthy).expect("JSON");
        let known = healthy["checks"].as_array().cloned().unwrap_or_default();
        if let Some(checks) = value["checks"].as_array_mut() {
            checks.retain(|check| !known.contains(check));
        }
    }

    fn run(&self, more: &[&str]) -> Output {
        let mut xtask = Command::new(env!("CARGO_BIN_EXE_xtask"));
        xtask.env_clear().stdin(Stdio::null()).current_dir(&self.root);
        xtask.env("PATH", self.folder.join("bin"));
        xtask.env("HOME", self.folder.join("home"));
        xtask.env("XTASK_ROOT", &self.root);
        // The tree is inside another repository, which git must not find.
        xtask.env("GIT_CEILING_DIRECTORIES", &self.folder);
        for (name, value) in &self.case.env {
            xtask.env(name, value.replace("CANARY", CANARY));
        }
        let output = xtask.arg("doctor").args(&self.case.args).args(more).output();
        let output = output.expect("xtask runs");
        for stream in [&output.stdout, &output.stderr] {
            let text = String::from_utf8_lossy(stream);
            assert!(!text.contains(CANARY), "{text}");
        }
        output
    }

    /// Replaces the paths of this machine, as in the expectations.
    fn normalize(&self, bytes: &[u8]) -> String {
        let text = std::str::from_utf8(bytes).expect("UTF-8");
        let text = text
            .replace(&preamble(&self.root), "[PREAMBLE]\n")
            .replace(self.root.as_str(), "[ROOT]")
            .replace(self.folder.join("bin").as_str(), "[BIN]")
            .replace(&format!(">= {}.0", env!("CARGO_PKG_RUST_VERSION")), ">= [RUST]")
            .replace("port 8787 taken", "port 8787");
        let platform = format!(
            "bun-{}-",
            if cfg!(target_os = "macos") { "darwin" } else { std::env::consts::OS }
        );
        let arch = if cfg!(target_arch = "x86_64") { "x64" } else { std::env::consts::ARCH };
        let text = text.replace(&format!("{platform}{arch}"), "bun-[PLATFORM]");
        text.lines().fold(String::new(), |text, line| text + timeless(line) + "\n")
    }

    /// Every file below the tree, with what would give a write away.
    fn files(&self) -> BTreeMap<Utf8PathBuf, (u64, std::time::SystemTime, u32)> {
        let mut found = BTreeMap::new();
        let mut waiting = vec![self.root.clone(), self.folder.join("home")];
        while let Some(dir) = waiting.pop() {
            for entry in dir.read_dir_utf8().expect("a folder") {
                let entry = entry.expect("an entry");
                let meta = entry.metadata().expect("metadata");
                if meta.is_dir() {
                    waiting.push(entry.path().to_owned());
                }
                let facts =
                    (meta.len(), meta.modified().expect("a time"), meta.permissions().mode());
                found.insert(entry.into_path(), facts);
            }
        }
        found
    }
}

/// A line without the duration at its end, and without what depends on the machine.
fn timeless(line: &str) -> &str {
    for known in ["  ✓ program ", "  ✓ port 8787 "] {
        if line.starts_with(known) {
            return known.trim_end();
        }
    }
    line.strip_suffix(" ms")
        .map_or(line, |line| line.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end())
}

/// Takes out what depends on the machine: durations, the port, what is built.
fn mask(check: &mut Value) {
    check["milliseconds"] = Value::from(0);
    if ["disk", "port", "sandbox.program"].iter().any(|id| check["id"] == **id) {
        let check = check.as_object_mut().expect("an object");
        check.retain(|key, _| !["detail", "found", "source"].contains(&key.as_str()));
    }
}

/// The real program called `name`.
fn real(name: &str) -> Utf8PathBuf {
    deployment::tools::program::which(name).unwrap_or_else(|| panic!("{name} is not on PATH"))
}

fn preflight_lists_everything_that_a_deploy_would_fail_on() {
    use base::error::ErrorKind;
    use delivery::Ctx;
    use deployment::plan::Engine;
    use deployment::plan::destination::Destination;
    use gitlab::ci::CiVariables;
    use workspace::Workspace;
    use workspace::config::LOCAL;

    let cases = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/doctor");
    let stage = Stage::new(&cases, "projects-broken");
    let ctx = Ctx {
        root: stage.root.clone(),
        ui: base::terminal::Ui::new(base::terminal::OutputOptions::default()),
        dry_run: false,
        jobs: 1,
        retry_budget: base::retry::RetryBudget::new(|_| {}),
        ci: CiVariables::default(),
        command_line: clap::Command::new("xtask"),
    };
    let workspace = Workspace::load_strict(&ctx.root).expect("readable");
    let mut destination =
        Destination::resolve(&workspace.config, "staging", None, &CiVariables::default(), None)
            .expect("not protected");
    let find =
        |name: &str| workspace.projects.iter().find(|project| project.name == name).expect(name);
    let check = |destination: &Destination, name: &str| {
        let projects = std::slice::from_ref(find(name));
        let environment = if destination.sandbox.is_some() { LOCAL } else { "staging" };
        let refusals = delivery::doctor::readiness::refusals(&workspace, projects, environment);
        let config = &workspace.config;
        delivery::doctor::preflight(&ctx, config, destination, Engine::Host, &refusals)
    };
    let failure = check(&destination, "site").expect_err("a failure");
    assert_eq!(failure.kind, ErrorKind::Refused);
    for part in ["4 things", "no lock file", "publish its sources", "SITE_TOKEN is not set"] {
        assert!(failure.message.contains(part), "{}", failure.message);
    }
    assert!(failure.hints.iter().any(|hint| hint.contains("bun install")), "{:?}", failure.hints);
    // Only what this deploy needs: another project's lock file does not affect it, nor does the token
    // when it goes to the sandbox.
    let failure = check(&destination, "api").expect_err("a failure");
    let wanted = "2 things are missing or wrong\n  account id: `cloudflare.accountId` in dagger/config/config.json is \
                  the placeholder that the repository comes with\n  token of staging: the variable SITE_TOKEN is not set";
    assert_eq!(failure.message, wanted);
    destination.move_sandbox(8787);
    check(&destination, "api").expect("nothing is missing");
    std::fs::remove_dir_all(&stage.folder).expect("removable");
}
