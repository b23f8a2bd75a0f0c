//! The jobs' scripts in bash, from the clone that a runner makes, with the variables that GitLab sets.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

use crate::pipeline::{bun, events, gitlab_ci_local, read_yaml, with_pipeline};
use crate::support::{Ran, TestEnv, copy, ran, repository};

/// The calls of the job `check` in a repository without its own test command.
const CHECK: &str = "xtask doctor pipeline\nxtask ci generate --check\nxtask run test\n";

/// A runner's working folder: `env.root`, fetched from a repository beside it.
struct Runner {
    env: TestEnv,
    commit: String,
    /// The file with `extends` resolved by gitlab-ci-local.
    expanded: Value,
}

impl Runner {
    /// Fetches the last 20 commits of `reference` and detaches HEAD there, as GitLab's runner does.
    fn new(env: TestEnv, reference: &str, prepare: &str) -> Runner {
        let expanded = gitlab_ci_local(&env, &BTreeMap::new(), &["--preview"]);
        let toolchain = env.root.join("dagger/cloudflare/toolchain/node_modules");
        let modules = std::fs::read_link(&toolchain).expect("a link");
        env.sh(&format!(
            "set -eu\n\
             for n in $(seq 30); do git commit -q --allow-empty -m \"commit $n\"; done\n\
             git clone -q --bare . ../origin.git\n{prepare}\n\
             find . -mindepth 1 -maxdepth 1 -exec rm -rf {{}} +\n\
             git init -q --initial-branch=unused\n\
             git remote add origin 'file://{}/origin.git'\n\
             git fetch -q --no-tags --depth 20 origin '+{reference}:refs/pipelines/1'\n\
             git checkout -q --detach refs/pipelines/1\n\
             echo node_modules >.git/info/exclude",
            env.folder
        ))
        .exits(0);
        std::os::unix::fs::symlink(modules, toolchain).expect("a link");
        assert_eq!(env.sh("git rev-list --count HEAD").stdout, "20\n");
        let commit = env.sh("git rev-parse HEAD").stdout.trim().to_owned();
        Runner { env, commit, expanded: read_yaml(&expanded) }
    }

    /// Runs a job's lines in one bash, as the runner does.
    fn job(&self, name: &str, variables: &[(&str, &str)]) -> Ran {
        let job = &self.expanded[name];
        let lines = [&job["before_script"], &job["script"]];
        let lines = lines.into_iter().filter_map(Value::as_array).flatten();
        let mut script = "set -eo pipefail\n".to_owned();
        for line in lines {
            script += &format!("{}\n", line.as_str().expect("text"));
        }
        // An xtask of this build, so that PATH and environment are those of every other test.
        let mut bash = Command::new("bash");
        let like = self.env.command(&[], &[]);
        bash.env_clear().current_dir(&self.env.root).args(["-c", &script]);
        bash.envs(like.get_envs().filter_map(|(name, value)| Some((name, value?))));
        for part in [&self.expanded["variables"], &job["variables"]] {
            for (name, value) in part.as_object().into_iter().flatten() {
                let value = value.as_str().expect("text");
                bash.env(name, value.replace("$CI_PROJECT_DIR", self.env.root.as_str()));
            }
        }
        bash.env("CI_PROJECT_DIR", &self.env.root).env("CI_COMMIT_SHA", &self.commit);
        bash.env("GITLAB_CI", "true").env("CI_DEFAULT_BRANCH", "main");
        bash.envs(variables.iter().copied());
        ran(bash.output().expect("bash runs"))
    }

    /// Puts a `cargo` on PATH that runs this build of xtask, with `more` behind the command.
    fn cargo(&self, more: &str) {
        self.env.program(
            "cargo",
            &format!(
                "#!/bin/sh\necho \"$@\" >>../cargo.log\ntest \"$1\" = xtask || exit 64\nshift\n\
                 exec '{}' \"$@\" {more}\n",
                env!("CARGO_BIN_EXE_xtask")
            ),
        );
    }

    fn cargo_calls(&self) -> String {
        std::fs::read_to_string(self.env.folder.join("cargo.log")).unwrap_or_default()
    }
}

#[test]
fn the_preview_job_does_not_change_production() {
    let env = with_pipeline();
    copy(&env, "dagger");
    tools(&env);
    env.commit("modules");
    let prepare = "git -C ../origin.git update-ref refs/merge-requests/5/head refs/heads/main";
    let runner = Runner::new(env, "refs/merge-requests/5/head", prepare);
    let env = &runner.env;
    env.xtask(&["deploy", "--env", "production", "--sandbox", "--engine", "host"]).exits(0);
    env.write("projects/a.com/website/content.txt", "<h1>a two</h1>");
    env.sh("git -c user.name=T -c user.email=t@example.com commit -qam 'a change'").exits(0);
    runner.cargo("--sandbox");
    let mr = [
        ("CI_PIPELINE_SOURCE", "merge_request_event"),
        ("CI_MERGE_REQUEST_IID", "5"),
        ("CI_MERGE_REQUEST_EVENT_TYPE", "detached"),
        ("CI_COMMIT_REF_PROTECTED", "false"),
    ];
    runner.job("preview", &mr).exits(0);
    assert_eq!(env.fetch("mr-5-a.localhost", "/").1, "<h1>a two</h1>");
    assert_eq!(env.fetch("a.localhost", "/").1, "<h1>a one</h1>", "what visitors see");
}

/// The stand-in for Dagger's CLI, which uses the modules' real code, and for Docker's.
fn tools(env: &TestEnv) {
    let state = env.folder.join("dagger");
    std::fs::create_dir_all(&state).expect("a folder");
    let fake = repository().join("xtask/tests/fakes/dagger.ts");
    env.program(
        "dagger",
        &format!(
            "#!/bin/sh\nexec '{}' '{fake}' '{state}' '{}' '{}' \"$@\"\n",
            bun(),
            env.root,
            repository()
        ),
    );
    env.program("docker", "#!/bin/sh\ntest \"$1\" = info\n");
}

#[test]
fn the_deploy_job_deploys_from_a_shallow_clone() {
    let env = with_pipeline();
    copy(&env, "dagger");
    tools(&env);
    env.commit("modules");
    let runner = Runner::new(env, "refs/heads/main", "");
    runner.cargo("--sandbox --json");
    let main = [
        ("CI_PIPELINE_SOURCE", "push"),
        ("CI_COMMIT_BRANCH", "main"),
        ("CI_COMMIT_REF_PROTECTED", "true"),
    ];
    let ran = runner.job("deploy a.com/website", &main).exits(0);
    let text = &ran.stdout[ran.stdout.find("\n{").expect("a document")..];
    let document: Value = serde_json::from_str(text).expect("JSON");
    let record = &document["records"][0];
    assert_eq!(
        (record["status"].as_str(), record["engine"].as_str()),
        (Some("live"), Some("dagger"))
    );
    assert_eq!(record["commit"], *runner.commit);
    assert_eq!(
        runner.cargo_calls(),
        "xtask deploy a.com/website --env production --engine dagger\n"
    );
    assert_eq!(runner.env.fetch("a.localhost", "/").1, "<h1>a one</h1>");
    for mark in ["start", "end"] {
        let section = |line: &&str| {
            line.starts_with(&format!("\x1b[0Ksection_{mark}:")) && line.contains(":a.com-website-")
        };
        let log = &ran.stderr;
        assert_eq!(log.split('\n').filter(section).count(), 1, "{log}");
    }
    let file = |path: &str| std::fs::read_to_string(runner.env.root.join(path)).expect(path);
    let url = record["urls"][0].as_str().expect("an address");
    let artifacts = &runner.expanded["deploy a.com/website"]["artifacts"]["reports"];
    let report = |name: &str| file(artifacts[name].as_str().expect("a path"));
    assert_eq!(report("dotenv"), format!("DEPLOY_URL={url}\n"));
    assert!(report("annotations").contains(url));
    let records = runner.env.root.join(".xtask/records").read_dir().expect("records").count();
    assert_eq!(records, 1, "the artifact");
    assert!(runner.env.sh("git status --porcelain").stdout.is_empty(), "the clone stays clean");
}

#[test]
fn previews_start_and_stop_also_when_the_branch_is_gone() {
    let env = with_pipeline();
    tools(&env);
    let prepare = "git -C ../origin.git update-ref refs/merge-requests/5/head refs/heads/main\n\
                   git -C ../origin.git update-ref -d refs/heads/main";
    let runner = Runner::new(env, "refs/merge-requests/5/head", prepare);
    runner.env.program("cargo", "#!/bin/sh\necho \"$@\" >>../cargo.log\n");
    let mr = [("CI_PIPELINE_SOURCE", "merge_request_event"), ("CI_MERGE_REQUEST_IID", "5")];
    runner.job("preview", &mr).exits(0);
    runner.job("preview-stop", &mr).exits(0);
    assert_eq!(runner.cargo_calls(), "xtask preview --engine dagger\nxtask preview stop\n");
    assert_eq!(runner.expanded["preview-stop"]["services"], Value::Null, "it needs no engine");
}

/// Jobs that wait for a person are left out: [`previews_start_and_stop_also_when_the_branch_is_gone`].
#[test]
fn each_event_s_jobs_run_their_commands() {
    let env = with_pipeline();
    copy(&env, ".ci");
    tools(&env);
    env.commit("ci");
    let runner = Runner::new(env, "refs/heads/main", "");
    runner.env.program("cargo", "#!/bin/sh\necho \"$@\" >>../cargo.log\n");
    for event in events() {
        let variables: Vec<(&str, &str)> =
            event.variables.iter().map(|(name, value)| (*name, *value)).collect();
        let mut wanted = String::new();
        for job in event.jobs.iter().filter(|job| !job.ends_with("(manual)")) {
            runner.job(job, &variables).exits(0);
            wanted += &match *job {
                "check" => CHECK.to_owned(),
                "preview" => "xtask preview --engine dagger\n".to_owned(),
                "preview-sweep" => "xtask preview stop --merged\n".to_owned(),
                deploy => format!("xtask {deploy} --env production --engine dagger\n"),
            };
        }
        assert_eq!(runner.cargo_calls(), wanted, "{}", event.name);
        std::fs::remove_file(runner.env.folder.join("cargo.log")).unwrap_or_default();
    }
}

#[test]
fn the_check_job_checks_the_pipeline() {
    let env = with_pipeline();
    copy(&env, ".ci");
    env.commit("ci");
    let runner = Runner::new(env, "refs/heads/main", "");
    runner.env.program("cargo", "#!/bin/sh\necho \"$@\" >>../cargo.log\n");
    runner.job("check", &[]).exits(0);
    assert_eq!(runner.cargo_calls(), CHECK);
}

/// A folder of releases as Dagger's downloads have it, with a CLI that says its version.
fn releases(env: &TestEnv) -> String {
    env.sh("set -eu\nmkdir -p ../releases/0.21.8\ncd ../releases/0.21.8\n\
         printf '#!/bin/sh\\necho dagger v0.21.8 here\\n' >dagger\nchmod +x dagger\n\
         for arch in amd64 arm64; do tar -czf dagger_v0.21.8_linux_$arch.tar.gz dagger; done\n\
         sha256sum *.tar.gz >checksums.txt")
        .exits(0);
    format!("file://{}/releases", env.folder)
}

#[test]
fn downloads_the_cli_only_if_its_checksum_matches() {
    let env = with_pipeline();
    // Whatever the machine has, this is no Dagger.
    env.program("dagger", "#!/bin/sh\nexit 1\n");
    env.program("docker", "#!/bin/sh\ntest \"$1\" = info\n");
    let from = releases(&env);
    let runner = Runner::new(env, "refs/heads/main", "");
    let env = &runner.env;
    env.program("cargo", "#!/bin/sh\ndagger version >>../version.log\n");
    let installed = || env.root.join(".xtask/bin/dagger").exists();
    let job = |sum: &str| {
        std::fs::remove_dir_all(env.root.join(".xtask")).unwrap_or_default();
        runner.job("preview", &[("DAGGER_DOWNLOADS", &from), ("DAGGER_SHA256", sum)])
    };
    job("").exits(0);
    assert!(installed());
    assert_eq!(env.sh("cat ../version.log").stdout, "dagger v0.21.8 here\n");
    let sum = env.sh("cut -d ' ' -f 1 ../releases/0.21.8/checksums.txt | head -n 1").stdout;
    job(sum.trim()).exits(0);
    assert!(installed());
    assert_eq!(job(&"0".repeat(64)).code, 1);
    assert!(!installed(), "a wrong checksum");
    env.sh("echo x >>../releases/0.21.8/dagger_v0.21.8_linux_amd64.tar.gz; echo x >>../releases/0.21.8/dagger_v0.21.8_linux_arm64.tar.gz").exits(0);
    assert_eq!(job("").code, 1);
    assert!(!installed(), "another archive than the checksums are of");
    env.sh(": >../releases/0.21.8/checksums.txt").exits(0);
    assert_eq!(job("").code, 1);
    assert!(!installed(), "no checksum");
}

#[test]
fn explains_a_missing_docker_daemon() {
    let env = with_pipeline();
    env.program("docker", "#!/bin/sh\nexit 1\n");
    env.program("timeout", "#!/bin/sh\nexit 124\n");
    let runner = Runner::new(env, "refs/heads/main", "");
    let ran = runner.job("preview", &[]).exits(1);
    assert!(ran.stdout.contains("no Docker daemon at tcp://docker:2376"), "{}", ran.stdout);
}
