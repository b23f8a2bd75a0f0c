//! The hidden jobs that others extend: where a job runs, with what, and what it leaves.

use super::reports::{self, Dotenv};
use super::scripts;
use super::types::{Artifacts, CacheKey, Job, JobCache, Reports, Service, variables};
use workspace::config::Config;

/// The service with Docker's daemon.
pub const DOCKER: &str = ".docker";
/// The pinned CLI, and an engine for it.
pub const DAGGER: &str = ".dagger";
/// A build of xtask that starts from the last one.
pub const CARGO: &str = ".cargo";

/// The variable that says whether a pipeline writes caches: the default branch's does. Merge requests
/// read only, so that none of them can leave something behind for the others.
pub const CACHE_POLICY: &str = "CARGO_CACHE_POLICY";

/// Docker-in-Docker with TLS; both sides have to agree on every line of this
/// (<https://docs.gitlab.com/ci/docker/using_docker_build/>).
#[must_use]
pub fn docker(config: &Config) -> Job {
    Job {
        services: vec![Service { name: config.pipeline.docker_image.clone(), alias: "docker" }],
        variables: variables(&[
            ("DOCKER_HOST", "tcp://docker:2376"),
            ("DOCKER_TLS_CERTDIR", "/certs"),
            ("DOCKER_TLS_VERIFY", "1"),
            ("DOCKER_CERT_PATH", "/certs/client"),
        ]),
        ..Job::default()
    }
}

/// Returns the parts of a job that runs Dagger, with its own engine or a shared one.
#[must_use]
pub fn dagger(config: &Config) -> Job {
    let settings = &config.pipeline;
    if !settings.has_dagger() {
        let before_script = vec![scripts::NPM.to_owned()];
        return Job { extends: vec![CARGO.to_owned()], before_script, ..Job::default() };
    }
    let sum = settings.dagger_sha256.as_deref().unwrap_or_default();
    let mut pairs = vec![
        ("DAGGER_VERSION", config.tools.dagger.as_str()),
        ("DAGGER_DOWNLOADS", settings.dagger_downloads.trim_end_matches('/')),
        ("DAGGER_SHA256", sum),
        ("DAGGER_NO_NAG", "1"),
    ];
    let cli = [scripts::PATH, scripts::DAGGER_CLI];
    let (extends, before) = match settings.shared_engine() {
        Some(address) => {
            pairs.push(("_EXPERIMENTAL_DAGGER_RUNNER_HOST", address));
            (vec![CARGO.to_owned()], cli.to_vec())
        }
        None => (
            [CARGO, DOCKER].map(str::to_owned).to_vec(),
            [[scripts::DOCKER_CLI, scripts::DOCKER_READY], cli].concat(),
        ),
    };
    Job {
        extends,
        variables: variables(&pairs),
        before_script: before.into_iter().map(str::to_owned).collect(),
        ..Job::default()
    }
}

/// Returns the artifacts of a job: records and logs for people, addresses for GitLab.
#[must_use]
pub fn artifacts(dotenv: Dotenv) -> Artifacts {
    Artifacts {
        when: "always",
        expire_in: "30 days",
        paths: vec![".xtask/records/", ".xtask/logs/"],
        reports: Reports { dotenv: dotenv.file, annotations: reports::ANNOTATIONS },
    }
}

/// Cargo's downloads and the compiled dependencies of xtask.
#[must_use]
pub fn cargo() -> Job {
    Job { cache: vec![cache("xtask")], ..Job::default() }
}

/// Lets a job run xtask from the archive. A job that compiles for itself keeps its cache.
pub fn use_archive(name: &str, job: &mut Job) {
    let compiles = job.script.iter().any(|line| line == scripts::CHECK);
    if compiles {
        return;
    }
    job.cache.clear();
    job.script.iter_mut().for_each(|line| *line = scripts::without_cargo(line));
    // A `before_script` replaces that of a job that is extended.
    if name == CARGO || !job.before_script.is_empty() {
        let rest = job.before_script.iter().filter(|line| *line != scripts::PATH);
        let archive = [scripts::PATH, scripts::XTASK_ARCHIVE].map(str::to_owned);
        job.before_script = archive.into_iter().chain(rest.cloned()).collect();
    }
}

/// Moves a cache to the folder of the tool, where that is its own Cargo workspace.
pub fn move_cache(cache: &mut JobCache) {
    cache.key.files = vec![workspace::modules::TOOL_LOCK, "rust-toolchain.toml"];
    for path in cache.paths.iter_mut().filter(|path| **path == "target") {
        *path = "xtask/target";
    }
}

/// Returns a separate cache for each `prefix`, because a test run compiles much more than a deployment needs.
#[must_use]
pub fn cache(prefix: &'static str) -> JobCache {
    JobCache {
        key: CacheKey { prefix, files: vec!["Cargo.lock", "rust-toolchain.toml"] },
        paths: vec![
            ".xtask/cargo/registry/index",
            ".xtask/cargo/registry/cache",
            ".xtask/cargo/git/db",
            "target",
        ],
        policy: format!("${CACHE_POLICY}"),
    }
}
