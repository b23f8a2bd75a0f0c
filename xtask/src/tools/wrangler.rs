//! Wrangler: its arguments and its verdict.

use camino::Utf8Path;
use serde::Deserialize;
use serde_json::Value;

use super::runner::Ended;

/// Where wrangler is pinned and installed, relative to the repository's root.
pub const TOOLCHAIN: &str = "dagger/cloudflare/toolchain";

/// The launcher inside the toolchain. It is run on Bun, so no Node is needed.
pub const LAUNCHER: &str = "node_modules/wrangler/bin/wrangler.js";

/// The variables that make wrangler quiet, non-interactive and free of side trips: no metrics, no
/// banner, no log files, no fetch of request metadata for a local workerd.
pub const ENVIRONMENT: [(&str, &str); 6] = [
    ("CI", "1"),
    ("CLOUDFLARE_CF_FETCH_ENABLED", "false"),
    ("WRANGLER_HIDE_BANNER", "true"),
    ("WRANGLER_LOG_SANITIZE", "true"),
    ("WRANGLER_SEND_METRICS", "false"),
    ("WRANGLER_WRITE_LOGS", "false"),
];

/// Where an adapter leaves the config that it generated, relative to the project. Wrangler follows it
/// only without `--config`.
pub const REDIRECT: &str = ".wrangler/deploy/config.json";

/// The arguments of `wrangler deploy`. `config` is the config file's name, none where wrangler is to
/// follow an adapter's. `environment` is a block of the config; the empty one means the top level of
/// a config that has blocks. The Cloudflare module passes the same (a test compares them).
///
/// `--autoconfig=false` because a deploy without a config file would write one and install things;
/// `--strict` refuses to overwrite changes made elsewhere; `--no-x-provision` refuses to create
/// storage for bindings without an id (observed with wrangler 4.164).
#[must_use]
pub fn deploy_arguments(
    config: Option<&str>,
    environment: Option<&str>,
    tag: &str,
    message: &str,
) -> Vec<String> {
    let mut arguments = vec!["deploy".to_owned()];
    arguments.extend(config.map(|config| format!("--config={config}")));
    arguments.extend(["--autoconfig=false", "--strict", "--no-x-provision"].map(str::to_owned));
    arguments.extend(environment.map(|environment| format!("--env={environment}")));
    arguments.push(format!("--tag={tag}"));
    arguments.push(format!("--message={message}"));
    arguments
}

/// The arguments of `wrangler versions upload`, as [`deploy_arguments`] has those of `deploy`. There is
/// no `--autoconfig` here.
#[must_use]
pub fn upload_arguments(
    config: Option<&str>,
    alias: Option<&str>,
    environment: Option<&str>,
    tag: &str,
    message: &str,
) -> Vec<String> {
    let mut arguments = vec!["versions".to_owned(), "upload".to_owned()];
    arguments.extend(config.map(|config| format!("--config={config}")));
    arguments.extend(["--strict", "--no-x-provision"].map(str::to_owned));
    arguments.extend(alias.map(|alias| format!("--preview-alias={alias}")));
    arguments.extend(environment.map(|environment| format!("--env={environment}")));
    arguments.push(format!("--tag={tag}"));
    arguments.push(format!("--message={message}"));
    arguments
}

/// The arguments of `wrangler preview`, as [`deploy_arguments`] has those of `deploy`. There is no
/// `--strict` here, and storage without an id is meant: the preview gets its own.
#[must_use]
pub fn preview_arguments(
    config: Option<&str>,
    name: Option<&str>,
    environment: Option<&str>,
    tag: &str,
    message: &str,
) -> Vec<String> {
    let mut arguments = vec!["preview".to_owned()];
    arguments.extend(config.map(|config| format!("--config={config}")));
    arguments.extend(name.map(|name| format!("--name={name}")));
    arguments.extend(environment.map(|environment| format!("--env={environment}")));
    arguments.push(format!("--tag={tag}"));
    arguments.push(format!("--message={message}"));
    arguments
}

/// The entry of the output file that a run must leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Of `wrangler deploy`.
    Deploy,
    /// Of `wrangler versions upload`.
    Upload,
    /// Of `wrangler preview`.
    Preview,
}

/// What a run of wrangler came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A version, or a deployment of a preview, was made.
    Done {
        /// Its id.
        version: String,
        /// Where wrangler says it can be seen, unparsed.
        targets: Vec<String>,
        /// The address that stays, then that of this version alone; none for a deployment.
        previews: Vec<String>,
    },
    /// It failed, or cannot be shown to have succeeded. The remote side may have changed.
    Failed {
        /// Why, in one sentence.
        reason: String,
    },
}

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "type")]
    kind: String,
    version_id: Option<String>,
    #[serde(default)]
    targets: Option<Vec<String>>,
    preview_alias_url: Option<String>,
    preview_url: Option<String>,
    deployment_id: Option<String>,
    preview_urls: Option<Vec<String>>,
    deployment_urls: Option<Vec<String>>,
    message: Option<String>,
}

/// Judges a run by its exit and the entries of its output file: one JSON object a line. Exit 0 alone
/// proves nothing, as wrangler exits 0 after doing nothing in some non-interactive cases.
#[must_use]
pub fn verdict(expected: Expected, ended: Ended, output: &str) -> Verdict {
    let entries: Vec<Entry> =
        output.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let of = |kind: &str| entries.iter().rev().find(|entry| entry.kind == kind);
    let kind = match expected {
        Expected::Deploy => "deploy",
        Expected::Upload => "version-upload",
        Expected::Preview => "preview",
    };
    let id = |entry: &Entry| match expected {
        Expected::Preview => entry.deployment_id.clone(),
        Expected::Deploy | Expected::Upload => entry.version_id.clone(),
    };
    let done = of(kind).and_then(|entry| Some((entry, id(entry)?)));
    match (ended, done) {
        (Ended::Code(0), Some((entry, version))) => Verdict::Done {
            version,
            targets: entry.targets.clone().unwrap_or_default(),
            previews: previews(entry),
        },
        (Ended::Code(0), None) => Verdict::Failed {
            reason: "wrangler exited with 0 but its output file names no version".to_owned(),
        },
        (ended, _) => {
            let said = of("command-failed").and_then(|entry| entry.message.clone());
            let how = match ended {
                Ended::Code(code) => format!("wrangler exited with {code}"),
                Ended::Signal(signal) => format!("wrangler was ended by signal {signal}"),
                Ended::Deadline => "wrangler did not end within its deadline".to_owned(),
                Ended::Interrupted => "wrangler was interrupted".to_owned(),
            };
            Verdict::Failed { reason: said.map_or(how.clone(), |said| format!("{how}: {said}")) }
        }
    }
}

/// The address that stays, then that of this version alone. A preview on a custom domain has several
/// of each, of which the first counts.
fn previews(entry: &Entry) -> Vec<String> {
    let first =
        |urls: &'_ Option<Vec<String>>| urls.as_ref().and_then(|urls| urls.first().cloned());
    let single = [entry.preview_alias_url.clone(), entry.preview_url.clone()];
    let listed = [first(&entry.preview_urls), first(&entry.deployment_urls)];
    single.into_iter().chain(listed).flatten().collect()
}

/// The addresses among wrangler's targets. A custom domain is printed as
/// `www.example.com (custom domain)`, a route or schedule in forms that are no address.
#[must_use]
pub fn urls(targets: &[String]) -> Vec<String> {
    targets
        .iter()
        .filter_map(|target| {
            if target.starts_with("https://") && !target.contains(' ') {
                return Some(target.clone());
            }
            let (domain, rest) = target.split_once(" (custom domain)")?;
            (!rest.contains("production: disabled")).then(|| format!("https://{domain}/"))
        })
        .collect()
}

/// The installed version of wrangler, read from its manifest; nothing when it is not installed.
#[must_use]
pub fn installed_version(root: &Utf8Path) -> Option<String> {
    version_of(&root.join(TOOLCHAIN).join("node_modules/wrangler/package.json"), "/version")
}

/// The pinned version of wrangler.
#[must_use]
pub fn pinned_version(root: &Utf8Path) -> Option<String> {
    version_of(&root.join(TOOLCHAIN).join("package.json"), "/dependencies/wrangler")
}

fn version_of(manifest: &Utf8Path, pointer: &str) -> Option<String> {
    let text = std::fs::read_to_string(manifest).ok()?;
    let value: Value = serde_json::from_str(&text).ok()?;
    value.pointer(pointer)?.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn success_needs_exit_0_and_a_version() {
        let output = "{\"type\":\"wrangler-session\",\"version\":1}\n\
            {\"type\":\"deploy\",\"version\":1,\"version_id\":\"v1\",\"targets\":[\"https://a.b.workers.dev\"]}\n";
        assert_eq!(
            verdict(Expected::Deploy, Ended::Code(0), output),
            Verdict::Done {
                version: "v1".into(),
                targets: vec!["https://a.b.workers.dev".into()],
                previews: Vec::new(),
            }
        );
        for (ended, output, reason) in [
            (Ended::Code(0), "", "names no version"),
            (Ended::Code(0), "{\"type\":\"deploy\",\"version_id\":null}", "names no version"),
            (
                Ended::Code(1),
                "{\"type\":\"command-failed\",\"message\":\"No token\"}",
                "1: No token",
            ),
            (Ended::Code(1), output, "exited with 1"),
            (Ended::Signal(9), "", "signal 9"),
            (Ended::Deadline, "not json", "deadline"),
        ] {
            let Verdict::Failed { reason: found } = verdict(Expected::Deploy, ended, output) else {
                panic!("{ended:?} passed")
            };
            assert!(found.contains(reason), "{found}");
        }
    }

    #[test]
    fn an_upload_has_preview_addresses() {
        let output = r#"{"type":"version-upload","version_id":"v1","preview_url":"https://v1","preview_alias_url":"https://mr"}"#;
        let Verdict::Done { previews, .. } = verdict(Expected::Upload, Ended::Code(0), output)
        else {
            panic!("it failed")
        };
        assert_eq!(previews, ["https://mr", "https://v1"]);
        assert!(matches!(
            verdict(Expected::Deploy, Ended::Code(0), output),
            Verdict::Failed { .. }
        ));
    }

    #[test]
    fn a_preview_has_a_deployment_and_two_addresses() {
        let output = r#"{"type":"preview","deployment_id":"d1","preview_urls":["https://mr"],"deployment_urls":["https://d1"]}"#;
        let Verdict::Done { version, previews, .. } =
            verdict(Expected::Preview, Ended::Code(0), output)
        else {
            panic!("it failed")
        };
        assert_eq!((version.as_str(), previews.len()), ("d1", 2));
        assert_eq!(previews, ["https://mr", "https://d1"]);
        for (expected, output) in [
            (Expected::Upload, output),
            (Expected::Preview, r#"{"type":"preview","version_id":"v1"}"#),
        ] {
            assert!(matches!(verdict(expected, Ended::Code(0), output), Verdict::Failed { .. }));
        }
    }

    #[test]
    fn targets_become_addresses() {
        let targets = [
            "https://x.acme.workers.dev",
            "www.example.com (custom domain)",
            "old.example.com (custom domain) [production: disabled, previews: enabled]",
            "schedule: 0 * * * *",
            "example.com/* (zone name: example.com)",
        ]
        .map(str::to_owned);
        assert_eq!(urls(&targets), ["https://x.acme.workers.dev", "https://www.example.com/"]);
    }
}
