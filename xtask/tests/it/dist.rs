//! `dist`, and the pipeline that downloads its archive: jobs run without Cargo.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::process::Command;
use std::sync::{Arc, Mutex};

use camino::Utf8PathBuf;
use expect_test::expect;
use serde_json::{Value, json};

use crate::pipeline::{configure, pipeline};
use crate::support::{CANARY, Ran, TestEnv, program, ran};

/// The programs that a job may use. Cargo is none of them.
const PROGRAMS: [&str; 18] = [
    "bash",
    "cat",
    "cp",
    "curl",
    "dirname",
    "env",
    "git",
    "gzip",
    "mkdir",
    "mktemp",
    "rm",
    "sh",
    "sha256sum",
    "tar",
    "tee",
    "uname",
    "node",
    "npm",
];

/// Serves one file at every path, and records the requests with their headers. As GitLab does with an object storage, a
/// package is a redirect to another host.
fn serve(file: Utf8PathBuf) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let address = format!("http://127.0.0.1:{port}");
    let requests = Arc::new(Mutex::new(Vec::new()));
    let recorded = Arc::clone(&requests);
    std::thread::spawn(move || {
        for stream in listener.incoming().filter_map(Result::ok) {
            let mut reader = BufReader::new(stream);
            let mut request = String::new();
            while reader.read_line(&mut request).is_ok_and(|read| read > 2) {}
            let (status, body) = match request.lines().next() {
                Some(line) if line.contains("/packages/") => {
                    (format!("302 Found\r\nLocation: http://localhost:{port}/storage"), Vec::new())
                }
                _ => ("200 OK".to_owned(), std::fs::read(&file).unwrap_or_default()),
            };
            recorded.lock().expect("a lock").push(request);
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            let stream = reader.get_mut();
            let _closed = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
        }
    });
    (address, requests)
}

/// A repository that `init` set up, as far as an archive needs it.
fn adopted_repository() -> TestEnv {
    let env = TestEnv::with_tools();
    env.site("projects/shop", "shop");
    env.write("xtask/Cargo.toml", "[package]\nname = \"xtask\"\n");
    env.write("xtask/Cargo.lock", "version = 4\n");
    env.commit("adopted");
    env
}

/// Runs lines of a job in bash, in an environment with few programs and nothing else.
fn job(env: &TestEnv, lines: &[String], variables: &[(&str, &str)]) -> Ran {
    let bin = env.folder.join("few");
    if !bin.exists() {
        std::fs::create_dir_all(&bin).expect("a folder");
        let path = std::env::var("PATH").expect("PATH");
        for name in PROGRAMS {
            let found = path.split(':').map(|dir| format!("{dir}/{name}"));
            let found = found.into_iter().find(|path| std::path::Path::new(path).exists());
            let found = found.unwrap_or_else(|| panic!("{name} is not on PATH"));
            std::os::unix::fs::symlink(found, bin.join(name)).expect("a link");
        }
        std::fs::copy(env.folder.join("bin/bun"), bin.join("bun")).expect("a program");
    }
    let like = env.command(&[], &[]);
    let kept = [
        "HOME",
        "TMPDIR",
        "BUN_INSTALL_CACHE_DIR",
        "BUN_RUNTIME_TRANSPILER_CACHE_PATH",
        "SANDBOX_TOKEN",
    ];
    let mut bash = Command::new(bin.join("bash"));
    let script = format!("set -eo pipefail\n{}\n", lines.join("\n"));
    bash.env_clear().current_dir(&env.root).args(["-c", &script]).env("PATH", &bin);
    bash.envs(like.get_envs().filter_map(|(name, value)| {
        kept.iter().any(|kept| name == *kept).then_some((name, value?))
    }));
    bash.env("CI_PROJECT_DIR", &env.root).envs(variables.iter().copied());
    ran(bash.output().expect("bash runs"))
}

#[test]
fn jobs_download_the_archive_and_need_no_cargo() {
    let env = adopted_repository();
    let folder = Utf8PathBuf::from_path_buf(program()).expect("UTF-8");
    let folder = folder.parent().expect("a folder");
    let made = env.xtask(&["dist", "--from", folder.as_str(), "--json"]).exits(0).json();
    let archive = Utf8PathBuf::from(made["archive"].as_str().expect("a path"));
    let sum = made["sha256"].as_str().expect("a sum").to_owned();
    let (checked, name) =
        (archive.parent().expect("a folder"), archive.file_name().expect("a name"));
    env.sh(&format!("cd {checked} && sha256sum --check {name}.sha256")).exits(0);
    let (address, requests) = serve(archive.clone());

    let url = format!("{address}/xtask.tar.gz");
    configure(&env, &json!({ "engine": "host", "xtaskArchive": url, "xtaskSha256": sum }));
    env.xtask(&["ci", "generate"]).exits(0);
    env.commit("archive");
    let check = pipeline(&env).jobs.get("check").expect("a job").clone();
    assert_eq!(check.script[..2], ["xtask doctor pipeline", "xtask ci generate --check"]);
    assert!(!check.before_script.is_empty());
    let variables =
        [("XTASK_ARCHIVE", url.as_str()), ("XTASK_SHA256", &sum), ("CI_JOB_TOKEN", CANARY)];
    let more = ["! command -v cargo", "xtask ci generate --check >&2", "xtask deploy shop --json"];
    let lines = [check.before_script.clone(), more.map(str::to_owned).to_vec()].concat();
    let deployed = job(&env, &lines, &variables).exits(0);
    assert!(!deployed.stderr.contains("another revision"), "{}", deployed.stderr);
    let text = &deployed.stdout[deployed.stdout.find('{').expect("a document")..];
    let document: Value = serde_json::from_str(text).expect("JSON");
    assert_eq!(document["records"][0]["status"], "live");
    assert_eq!(env.fetch("shop.localhost", "/").1, "<h1>shop one</h1>");
    let sent = |requests: &Mutex<Vec<String>>| requests.lock().expect("a lock").pop().expect("one");
    assert!(!sent(&requests).contains(CANARY), "another server gets no token");

    // A checkout with another revision of xtask says so.
    env.write("xtask/Cargo.lock", "version = 4\n# newer\n");
    env.commit("newer");
    let newer =
        job(&env, &["export PATH=.xtask/bin:$PATH; xtask projects".to_owned()], &[]).exits(0);
    let version = made["version"].as_str().expect("a version");
    assert_eq!(
        newer.stderr,
        format!(
            "warning: this xtask is {version} from an archive, but the checkout has another revision of it; \
             the archive is used. Make a new one with `cargo xtask dist` and set `pipeline.xtaskArchive`\n"
        )
    );

    // GitLab's package registry gets the job's token. Another archive than the checksum is of is not unpacked.
    std::fs::remove_dir_all(env.root.join(".xtask/bin")).expect("removable");
    let api = format!("{address}/api/v4");
    let url = format!("{api}/projects/7/packages/generic/xtask/1/xtask.tar.gz");
    let variables =
        [("XTASK_ARCHIVE", url.as_str()), ("CI_API_V4_URL", &api), ("CI_JOB_TOKEN", "job-token-1")];
    let wrong = "0".repeat(64);
    job(&env, &check.before_script, &[&variables[..], &[("XTASK_SHA256", &wrong)]].concat())
        .exits(1);
    assert!(!env.root.join(".xtask/bin/xtask").exists());
    let storage = sent(&requests);
    assert!(storage.starts_with("GET /storage ") && !storage.contains("job-token-1"), "{storage}");
    assert!(sent(&requests).contains("JOB-TOKEN: job-token-1"));
    job(&env, &check.before_script, &[&variables[..], &[("XTASK_SHA256", &sum)]].concat()).exits(0);
    assert!(env.root.join(".xtask/bin/xtask").exists());
}

#[test]
fn the_pipeline_of_an_archive_names_no_cargo() {
    let env = adopted_repository();
    configure(
        &env,
        &json!({ "engine": "host", "xtaskArchive": "https://example.org/xtask.tar.gz", "xtaskSha256": "0".repeat(64) }),
    );
    let text = env.xtask(&["ci", "generate", "--dry-run"]).exits(0).stdout;
    expect![[r##"
        # Written by `cargo xtask ci generate` from the projects of this repository and
        # dagger/config/config.json. Change those, then run it again.

        # Merge requests and the default branch. A fork's merge request is checked in the fork.
        workflow:
          auto_cancel:
            on_new_commit: interruptible
          rules:
            - if: $CI_PIPELINE_SOURCE == "merge_request_event"
            - if: $CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH

        stages:
          - check
          - preview
          - deploy

        default:
          image: rust:1-trixie

        variables:
          GIT_DEPTH: "20"
          XTASK_ARCHIVE: https://example.org/xtask.tar.gz
          XTASK_SHA256: "0000000000000000000000000000000000000000000000000000000000000000"

        # What every job shares that runs `cargo xtask`.
        .cargo:
          before_script:
            - |-
              mkdir -p .xtask/bin
              export PATH="$CI_PROJECT_DIR/.xtask/bin:$PATH"
            - |-
              archive="$(mktemp)"
              redirect="$(case "$XTASK_ARCHIVE" in
                "$CI_API_V4_URL"/*) printf 'header = "JOB-TOKEN: %s"\n' "$CI_JOB_TOKEN" ;;
              esac | curl -fsS --retry 3 --config - -o "$archive" -w '%{redirect_url}' "$XTASK_ARCHIVE")"
              [ -z "$redirect" ] || curl -fsSL --retry 3 -o "$archive" "$redirect"
              echo "$XTASK_SHA256  $archive" | sha256sum --check --strict --quiet
              tar -xzf "$archive" -C .xtask/bin
              rm "$archive"

        # What builds and deployments need.
        .dagger:
          extends:
            - .cargo
          before_script:
            - |-
              mkdir -p .xtask/bin
              export PATH="$CI_PROJECT_DIR/.xtask/bin:$PATH"
            - |-
              archive="$(mktemp)"
              redirect="$(case "$XTASK_ARCHIVE" in
                "$CI_API_V4_URL"/*) printf 'header = "JOB-TOKEN: %s"\n' "$CI_JOB_TOKEN" ;;
              esac | curl -fsS --retry 3 --config - -o "$archive" -w '%{redirect_url}' "$XTASK_ARCHIVE")"
              [ -z "$redirect" ] || curl -fsSL --retry 3 -o "$archive" "$redirect"
              echo "$XTASK_SHA256  $archive" | sha256sum --check --strict --quiet
              tar -xzf "$archive" -C .xtask/bin
              rm "$archive"
            - command -v npm || command -v bun || { apt-get update -qq && apt-get install -qq --no-install-recommends npm; }

        # What every change must pass.
        check:
          stage: check
          rules:
            - if: $CI_PIPELINE_SOURCE == "merge_request_event"
            - if: $CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH
          before_script:
            - |-
              mkdir -p .xtask/bin
              export PATH="$CI_PROJECT_DIR/.xtask/bin:$PATH"
            - |-
              archive="$(mktemp)"
              redirect="$(case "$XTASK_ARCHIVE" in
                "$CI_API_V4_URL"/*) printf 'header = "JOB-TOKEN: %s"\n' "$CI_JOB_TOKEN" ;;
              esac | curl -fsS --retry 3 --config - -o "$archive" -w '%{redirect_url}' "$XTASK_ARCHIVE")"
              [ -z "$redirect" ] || curl -fsSL --retry 3 -o "$archive" "$redirect"
              echo "$XTASK_SHA256  $archive" | sha256sum --check --strict --quiet
              tar -xzf "$archive" -C .xtask/bin
              rm "$archive"
            - command -v npm || command -v bun || { apt-get update -qq && apt-get install -qq --no-install-recommends npm; }
          script:
            - xtask doctor pipeline
            - xtask ci generate --check
            - xtask run test

        # Uploads what the merge request changed, as versions that serve no visitor, and keeps one
        # comment up to date.
        preview:
          extends:
            - .dagger
          stage: preview
          rules:
            - if: $CI_PIPELINE_SOURCE == "merge_request_event" && $CI_MERGE_REQUEST_SOURCE_PROJECT_ID == $CI_MERGE_REQUEST_PROJECT_ID && $CI_MERGE_REQUEST_EVENT_TYPE != "merge_train"
          needs: []
          script:
            - xtask preview --engine host
          environment:
            name: review/$CI_MERGE_REQUEST_IID
            url: $PREVIEW_URL
            on_stop: preview-stop
            auto_stop_in: "1 week"
          resource_group: review/$CI_MERGE_REQUEST_IID
          interruptible: true
          artifacts:
            when: always
            expire_in: "30 days"
            paths:
              - .xtask/records/
              - .xtask/logs/
            reports:
              dotenv: .xtask/preview.env
              annotations: .xtask/annotations.json

        # Started by GitLab when the merge request is merged or closed.
        preview-stop:
          extends:
            - .cargo
          stage: preview
          rules:
            - if: $CI_PIPELINE_SOURCE == "merge_request_event" && $CI_MERGE_REQUEST_SOURCE_PROJECT_ID == $CI_MERGE_REQUEST_PROJECT_ID && $CI_MERGE_REQUEST_EVENT_TYPE != "merge_train"
              when: manual
              allow_failure: true
          needs: []
          script:
            - xtask preview stop
          environment:
            name: review/$CI_MERGE_REQUEST_IID
            action: stop
          resource_group: review/$CI_MERGE_REQUEST_IID
          interruptible: false

        # On schedules: what a failed stop job left behind.
        preview-sweep:
          extends:
            - .cargo
          stage: preview
          rules:
            - if: $CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH && $CI_PIPELINE_SOURCE == "schedule"
          needs: []
          script:
            - xtask preview stop --merged
          environment:
            name: review/sweep
            action: access
          resource_group: review/sweep
          interruptible: false

        # Deployments, after the check. A push that changed none of a project's paths leaves its job
        # waiting for a person; a schedule starts all of them. Each deploys only what is not live.
        .deployment:
          extends:
            - .dagger
          stage: deploy
          needs:
            - check
          interruptible: false
          timeout: "2 hours"
          artifacts:
            when: always
            expire_in: "30 days"
            paths:
              - .xtask/records/
              - .xtask/logs/
            reports:
              dotenv: .xtask/deploy.env
              annotations: .xtask/annotations.json

        deploy shop:
          extends:
            - .deployment
          rules:
            - if: $CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH
              changes:
                - projects/shop/**/*
                - dagger/**/*
                - .gitlab-ci.yml
                - xtask/Cargo.lock
            - if: $CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH
              when: manual
              allow_failure: true
          script:
            - xtask deploy shop --env production --engine host
          environment:
            name: production/shop
            url: $DEPLOY_URL
          resource_group: production/shop
    "##]].assert_eq(&text);
    for (settings, message) in [
        (
            json!({ "xtaskArchive": "https://example.org/x" }),
            "needs its checksum, `pipeline.xtaskSha256`",
        ),
        (json!({ "xtaskSha256": "0".repeat(64) }), "is the checksum of no archive"),
        (
            json!({ "xtaskArchive": "x.tar.gz", "xtaskSha256": "0".repeat(64) }),
            "must be an address",
        ),
        (
            json!({ "xtaskArchive": "https://a/$(id)", "xtaskSha256": "0".repeat(64) }),
            "must be an address",
        ),
        (
            json!({ "xtaskArchive": "https://a/b", "xtaskSha256": "0" }),
            "must be 64 hexadecimal digits",
        ),
    ] {
        configure(&env, &settings);
        let ran = env.xtask(&["ci", "generate", "--dry-run"]).exits(3);
        assert!(ran.stderr.contains(message), "{settings}: {}", ran.stderr);
    }
}

#[test]
fn an_archive_is_named_after_its_commit() {
    let env = adopted_repository();
    let script =
        env.xtask(&["dist", "--target", "x86_64-unknown-linux-musl", "--dry-run"]).exits(0).stdout;
    let commit = env.sh("git rev-parse HEAD").stdout.trim().to_owned();
    assert!(script.contains("--target x86_64-unknown-linux-musl"), "{script}");
    assert!(
        script.contains(&format!("xtask-{}-x86_64-unknown-linux-musl.tar.gz", &commit[..12])),
        "{script}"
    );
    // Of several tags, the release with the highest numbers counts.
    for tag in ["v1.2.0", "v1.1.9", "v1.3.0-rc.1", "vendor"] {
        env.git(&["tag", tag]);
    }
    assert_eq!(workspace::git::release_of_head(&env.root).as_deref(), Some("v1.2.0"));
    let script = env.xtask(&["dist", "--dry-run"]).exits(0).stdout;
    assert!(script.contains("/xtask-v1.2.0-"), "{script}");
    let missing = env.xtask(&["dist", "--from", "projects"]).exits(3);
    assert!(missing.stderr.contains("has no program `xtask`"), "{}", missing.stderr);
    env.write("xtask/Cargo.toml", "[package]\nname = \"changed\"\n");
    let dirty = env.xtask(&["dist"]).exits(3);
    assert_eq!(
        dirty.stderr,
        "error: xtask has uncommitted changes, so no commit would be the version of the archive\n\
         hint: commit them, then retry\n"
    );
}
