//! The outcome of a run of wrangler, with the next step.

use serde::Deserialize;

use base::runner::ExitReason;

use super::strict::StrictStop;

/// The kind of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UploadKind {
    /// `wrangler deploy`: a version that is live immediately.
    Deployment,
    /// `wrangler versions upload`: a version that is not live yet.
    Version,
    /// `wrangler preview`: a Worker Preview.
    Preview,
}

/// The outcome of a run of wrangler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WranglerOutcome {
    /// A version, or a deployment of a preview, was created.
    Done {
        /// Its id.
        version: String,
        /// The URLs that wrangler prints, unparsed.
        targets: Vec<String>,
        /// The stable URL, then the URL of this version. Empty for a deployment.
        previews: Vec<String>,
    },
    /// It failed, or cannot be shown to have succeeded. The remote side may have changed.
    Failed {
        /// The reason, in one sentence.
        reason: String,
        /// The next step.
        hint: Option<String>,
    },
}

#[derive(Deserialize)]
struct OutputEntry {
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
    /// The API's error code.
    code: Option<i64>,
    retry_after_ms: Option<u64>,
}

/// Judges a run by its exit code and its output file, which has one JSON object per line. Exit code
/// 0 alone proves nothing, because wrangler exits with 0 after doing nothing in some non-interactive
/// cases.
#[must_use]
pub fn parse_outcome(kind: UploadKind, ended: ExitReason, output: &str) -> WranglerOutcome {
    let entries: Vec<OutputEntry> =
        output.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let last_entry = |name: &str| entries.iter().rev().find(|entry| entry.kind == name);
    let success = match kind {
        UploadKind::Deployment => "deploy",
        UploadKind::Version => "version-upload",
        UploadKind::Preview => "preview",
    };
    let id = |entry: &OutputEntry| match kind {
        UploadKind::Preview => entry.deployment_id.clone(),
        UploadKind::Deployment | UploadKind::Version => entry.version_id.clone(),
    };
    let done = last_entry(success).and_then(|entry| Some((entry, id(entry)?)));
    match (ended, done) {
        (ExitReason::Code(0), Some((entry, version))) => WranglerOutcome::Done {
            version,
            targets: entry.targets.clone().unwrap_or_default(),
            previews: previews(entry),
        },
        (ExitReason::Code(0), None) => WranglerOutcome::Failed {
            reason: "wrangler exited with 0 but its output file names no version".to_owned(),
            hint: Some("read in its output what it did instead, then run it again".to_owned()),
        },
        (ended, _) => {
            let failure = last_entry("command-failed");
            let message = failure.and_then(|entry| entry.message.clone());
            let how = format!("wrangler {ended}");
            let hint = hint_for_exit(ended, failure, last_entry(success).is_some());
            let reason = message.map_or(how.clone(), |message| format!("{how}: {message}"));
            WranglerOutcome::Failed { reason, hint: hint.or_else(|| Some(AGAIN.to_owned())) }
        }
    }
}

/// Returns the version of wrangler that its output file names. `None` if it names none.
#[must_use]
pub fn version_in(output: &str) -> Option<String> {
    let entries = output.lines().filter_map(|line| serde_json::from_str::<SessionEntry>(line).ok());
    entries.filter_map(|entry| entry.wrangler_version).next_back()
}

/// The first entry of a run.
#[derive(Deserialize)]
struct SessionEntry {
    wrangler_version: Option<String>,
}

/// The next step that is always possible.
pub const AGAIN: &str = "run it again: what is uploaded and live already is left alone";

/// Returns the next step after a failed run. `nameless` means that the run left an entry without a version,
/// as it does when `--strict` stops it.
fn hint_for_exit(
    ended: ExitReason,
    failure: Option<&OutputEntry>,
    nameless: bool,
) -> Option<String> {
    if ended == ExitReason::Deadline {
        return Some(
            "run `cargo xtask status`, because Cloudflare or the network is slow; then run it again"
                .to_owned(),
        );
    }
    if nameless && failure.is_none() {
        return Some(StrictStop::Unknown.hint(""));
    }
    let failure = failure?;
    if let Some(wait) = failure.retry_after_ms {
        return Some(format!("run it again after {} s, as Cloudflare asks", wait.div_ceil(1000)));
    }
    let message = failure.message.as_deref().unwrap_or_default();
    let hint = hint_for_message(message, failure.code).or_else(|| hint_for_code(failure.code?));
    hint.map(str::to_owned)
}

/// Words in the errors of code that stops at its start, because a secret or a variable is not set.
const UNSET: [&str; 5] = ["secret", "environment variable", "env var", "api key", "api_key"];

/// The next step if code needs a secret when it starts.
const SET_SECRET: &str = "set the secret that the code needs when it starts: `cargo xtask wrangler PROJECT -- secret put NAME`, \
                          or in the sandbox a line in the project's `.dev.vars`; or correct the code";

/// The next step if a binding names no storage.
const CREATE_STORAGE: &str = "create the storage, such as by `cargo xtask wrangler PROJECT -- kv namespace create NAME`, and write the binding \
                              with its id into the wrangler config: a deployment creates no storage";

/// Returns the next step after a failure whose message says more than its code.
fn hint_for_message(message: &str, code: Option<i64>) -> Option<&'static str> {
    let lower = message.to_lowercase();
    if code == Some(10_021) && UNSET.iter().any(|word| lower.contains(word)) {
        return Some(SET_SECRET);
    }
    if message.contains("Redirected configurations cannot include environments") {
        return Some(GENERATED_ENV);
    }
    if message.contains("Durable Object exports reconciliation failed") {
        return Some(CORRECT);
    }
    message.contains(" bindings must have a").then_some(CREATE_STORAGE)
}

/// The next step if a generated config has `env`, which wrangler refuses. The program that prepares an upload has the same
/// text (<https://github.com/nitrojs/nitro/issues/3429>).
pub const GENERATED_ENV: &str = "let the build choose the environment by the variable CLOUDFLARE_ENV, as Cloudflare's plugin for Vite does; for Nitro \
                                 and Nuxt set `cloudflare: { deployConfig: false }` in the config of Nitro, and `main` and `assets` in the \
                                 wrangler config";

/// The next step after an error that another try does not change.
const CORRECT: &str =
    "correct the code or the wrangler config, as the message says, and deploy again";

/// The next step if a binding names a Worker that does not exist.
const MISSING_WORKER: &str =
    "deploy the Worker that the binding names first, or correct its name in the wrangler config";

/// The next step if a binding names storage that does not exist.
const MISSING_STORAGE: &str =
    "create what the binding names, or correct its name or id in the wrangler config";

/// Returns the next step after an error of Cloudflare's API with this code. `None` if another try may help
/// (<https://developers.cloudflare.com/workers/observability/errors/#errors-on-worker-upload>,
/// <https://developers.cloudflare.com/fundamentals/api/troubleshooting/>).
fn hint_for_code(code: i64) -> Option<&'static str> {
    Some(match code {
        6003 | 9106 | 9109 | 10_000 | 10_001 | 10_023 => {
            "give the token the rights that this needs: Workers Scripts: Edit, for routes also Workers Routes: \
             Edit on the zone"
        }
        971 => "run it again in five minutes, because Cloudflare limits requests",
        7000 => {
            "deploy to Cloudflare with `--env`, because the sandbox does not answer this request"
        }
        10_007 | 10_090 => "run it again to create it: the Worker is gone",
        10_015 | 10_075 => "enable Workers, or the paid plan that this needs, for the account",
        10_027 => {
            "make the bundle smaller: `wrangler deploy --dry-run --outdir bundle` shows what is in it"
        }
        10_035 => "run it again when the other upload of this Worker has ended",
        10_037 => "delete a Worker or raise the account's limit of Workers",
        10_143 | 10_144 => MISSING_WORKER,
        10_041 | 10_042 | 10_085 | 10_157 | 10_181 | 10_200 | 11_000 => MISSING_STORAGE,
        10_006
        | 10_016
        | 10_019..=10_022
        | 10_052..=10_057
        | 10_061
        | 10_064
        | 10_068..=10_070
        | 10_074
        | 10_079
        | 10_082
        | 10_100
        | 10_208
        | 10_209
        | 10_211
        | 100_402
        | 100_405
        | 100_406 => CORRECT,
        _ => return None,
    })
}

/// Returns the next step after wrangler failed to bundle, by its output.
#[must_use]
pub fn bundle_hint(output: &str) -> &'static str {
    error_hint_in_output(output).filter(|hint| *hint == GENERATED_ENV).unwrap_or(BUNDLE)
}

/// The next step after wrangler failed to bundle.
pub const BUNDLE: &str = "correct the code or the wrangler config; nothing was uploaded";

/// Returns the next step after an error in wrangler's output: a failed bundle, or a code such as `[code: 10021]`.
#[must_use]
pub fn hint_in_output(output: &str) -> String {
    let lines: Vec<String> = output.lines().map(str::to_owned).collect();
    if let Some(stop) = StrictStop::find(&lines) {
        return stop.hint("cargo xtask wrangler PROJECT");
    }
    if output.contains("[ERROR] Build failed with ") {
        return BUNDLE.to_owned();
    }
    let hint = error_hint_in_output(output).or_else(|| code_in(output).and_then(hint_for_code));
    hint.unwrap_or(AGAIN).to_owned()
}

/// Returns the next step after an error whose text in wrangler's output says more than its code. `None` otherwise.
#[must_use]
pub fn error_hint_in_output(output: &str) -> Option<&'static str> {
    // The lines before may name secrets: wrangler lists the bindings.
    let error = output.rsplit_once("[ERROR]").map_or(output, |(_, error)| error);
    hint_for_message(error, code_in(error))
}

/// Returns the last error code of Cloudflare's API in a text.
fn code_in(text: &str) -> Option<i64> {
    text.rsplit_once("[code: ")?.1.split_once(']')?.0.parse().ok()
}

/// Returns the stable URL, then the URL of this version. A preview on a custom domain has several of
/// each, and the first one counts.
fn previews(entry: &OutputEntry) -> Vec<String> {
    let first =
        |urls: &'_ Option<Vec<String>>| urls.as_ref().and_then(|urls| urls.first().cloned());
    let single = [entry.preview_alias_url.clone(), entry.preview_url.clone()];
    let listed = [first(&entry.preview_urls), first(&entry.deployment_urls)];
    single.into_iter().chain(listed).flatten().collect()
}

/// Returns the URLs among wrangler's targets. A custom domain is printed as `www.example.com
/// (custom domain)`. Routes and schedules are printed in formats that are not URLs.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn success_needs_exit_0_and_a_version() {
        let output = "{\"type\":\"wrangler-session\",\"version\":1}\n\
            {\"type\":\"deploy\",\"version\":1,\"version_id\":\"v1\",\"targets\":[\"https://a.b.workers.dev\"]}\n";
        assert_eq!(
            parse_outcome(UploadKind::Deployment, ExitReason::Code(0), output),
            WranglerOutcome::Done {
                version: "v1".into(),
                targets: vec!["https://a.b.workers.dev".into()],
                previews: Vec::new(),
            }
        );
        for (ended, output, reason) in [
            (ExitReason::Code(0), "", "names no version"),
            (ExitReason::Code(0), "{\"type\":\"deploy\",\"version_id\":null}", "names no version"),
            (
                ExitReason::Code(1),
                "{\"type\":\"command-failed\",\"message\":\"No token\"}",
                "1: No token",
            ),
            (ExitReason::Code(1), output, "exited with 1"),
            (ExitReason::Signal(9), "", "signal 9"),
            (ExitReason::Deadline, "not json", "deadline"),
        ] {
            let WranglerOutcome::Failed { reason: found, .. } =
                parse_outcome(UploadKind::Deployment, ended, output)
            else {
                panic!("{ended:?} passed")
            };
            assert!(found.contains(reason), "{found}");
        }
    }

    #[test]
    fn bindings_above_an_error_do_not_decide_on_its_next_step() {
        let text =
            |error: &str| format!("env.API_KEY (secret)\n\u{2718} [ERROR] {error} [code: 10021]");
        assert_eq!(error_hint_in_output(&text("Uncaught Error: reason")), None);
        assert_eq!(error_hint_in_output(&text("Uncaught Error: no secret KEY")), Some(SET_SECRET));
        assert_eq!(error_hint_in_output("Uncaught Error: no secret KEY [code: 10053]"), None);
    }

    #[test]
    fn a_message_that_says_more_than_its_code_decides_on_the_next_step() {
        for (message, code, expected) in [
            ("SESSION bindings must have an \"id\" field", "null", CREATE_STORAGE),
            ("DB bindings must have a \"database_id\" field. Add", "null", CREATE_STORAGE),
            ("Uncaught Error: Missing required secrets: AUTH_SECRET", "10021", SET_SECRET),
            ("Uncaught Error: the API key of Stripe is missing", "10021", SET_SECRET),
            ("Uncaught Error: the shop is closed", "10021", hint_for_code(10_021).expect("one")),
            ("the secret is too long", "10053", hint_for_code(10_053).expect("one")),
            (
                "Service binding 'API' references Worker 'x' which was not found.",
                "10143",
                MISSING_WORKER,
            ),
            ("KV namespace 'x' not found", "10041", MISSING_STORAGE),
            ("Durable Object exports reconciliation failed: a", "null", CORRECT),
            ("no migration", "10061", CORRECT),
            ("an internal error", "10013", AGAIN),
            ("something else", "null", AGAIN),
        ] {
            let entry = serde_json::json!({ "type": "command-failed", "message": message });
            let entry = entry.to_string().replacen('{', &format!("{{\"code\":{code},"), 1);
            let WranglerOutcome::Failed { hint, .. } =
                parse_outcome(UploadKind::Deployment, ExitReason::Code(1), &entry)
            else {
                panic!("{message} passed")
            };
            assert_eq!(hint.as_deref(), Some(expected), "{message}");
        }
        let output = "✘ [ERROR] SESSION bindings must have an \"id\" field\n";
        assert_eq!(hint_in_output(output), CREATE_STORAGE);
    }

    #[test]
    fn upload_reports_preview_urls() {
        let output = r#"{"type":"version-upload","version_id":"v1","preview_url":"https://v1","preview_alias_url":"https://mr"}"#;
        let WranglerOutcome::Done { previews, .. } =
            parse_outcome(UploadKind::Version, ExitReason::Code(0), output)
        else {
            panic!("it failed")
        };
        assert_eq!(previews, ["https://mr", "https://v1"]);
        assert!(matches!(
            parse_outcome(UploadKind::Deployment, ExitReason::Code(0), output),
            WranglerOutcome::Failed { .. }
        ));
    }

    #[test]
    fn preview_reports_a_deployment_and_two_urls() {
        let output = r#"{"type":"preview","deployment_id":"d1","preview_urls":["https://mr"],"deployment_urls":["https://d1"]}"#;
        let WranglerOutcome::Done { version, previews, .. } =
            parse_outcome(UploadKind::Preview, ExitReason::Code(0), output)
        else {
            panic!("it failed")
        };
        assert_eq!((version.as_str(), previews.len()), ("d1", 2));
        assert_eq!(previews, ["https://mr", "https://d1"]);
        for (expected, output) in [
            (UploadKind::Version, output),
            (UploadKind::Preview, r#"{"type":"preview","version_id":"v1"}"#),
        ] {
            assert!(matches!(
                parse_outcome(expected, ExitReason::Code(0), output),
                WranglerOutcome::Failed { .. }
            ));
        }
    }

    #[test]
    fn targets_become_urls() {
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
