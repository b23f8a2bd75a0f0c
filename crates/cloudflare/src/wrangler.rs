//! Wrangler: its arguments and the outcome of a run.
//!
//! A deployment takes two steps. The first bundles, and may run code of the project. The second has the token, and
//! uploads from a folder that we wrote, without bundling or running anything.

pub mod access;
mod excerpt;
pub mod outcome;
pub mod requests;
pub mod strict;

use camino::{Utf8Path, Utf8PathBuf};
use serde::Deserialize;
use serde_json::Value;
use workspace::toolchain::Toolchain;

pub use excerpt::excerpt;
pub use outcome::{
    AGAIN, BUNDLE, GENERATED_ENV, UploadKind, WranglerOutcome, bundle_hint, error_hint_in_output,
    hint_in_output, parse_outcome, urls, version_in,
};

/// The launcher inside the toolchain. It is run on Bun, so no Node is needed.
pub const LAUNCHER: &str = "node_modules/wrangler/bin/wrangler.js";

/// The JSON schema of wrangler's config inside the toolchain.
pub const SCHEMA: &str = "node_modules/wrangler/config-schema.json";

/// The variable that names the folder of [`compile_cache`]. Node has it too.
pub const COMPILE_CACHE_VARIABLE: &str = "NODE_COMPILE_CACHE";

/// Returns the folder beside the installed wrangler in which Bun keeps the code that it compiled of it.
///
/// Wrangler is one file of 15 MB. With the folder it starts in 0.27 s instead of 0.54 s. The run that fills it takes 1 s
/// longer, and it takes 48 MB. A damaged folder, or one that cannot be written, only costs the time (measured with Bun
/// 1.4.5 and wrangler 4.164).
#[must_use]
pub fn compile_cache(root: &Utf8Path) -> Utf8PathBuf {
    Toolchain::wrangler(root).dir.join("node_modules/.cache/compile")
}

/// The options of Bun when it runs wrangler. Bun replaces Node and ignores the `.env` files and the
/// `bunfig.toml` of the folder, because those could name another Worker
/// (`WRANGLER_CI_OVERRIDE_NAME`) or run code in the process that has the token. Wrangler's launcher
/// passes the options to its child.
pub const BUN_OPTIONS: [&str; 3] = ["--no-env-file", "--config=/dev/null", "--bun"];

/// The option of wrangler itself, which also reads `.env` files (observed with 4.164).
pub const NO_ENV_FILE: &str = "--env-file=/dev/null";

/// The variables that make wrangler quiet and non-interactive: no metrics, no banner, no log files,
/// no fetch of request metadata for a local workerd.
///
/// Bun's variable sets how often a function runs before it is compiled with all optimizations. The
/// default is 1000, which rarely pays off within half a second. With the variable, a small site takes 4
/// to 9 % less CPU, on other cores than wrangler's own. Small sites and one of 240 MB take the same time
/// (measured with Bun 1.4.5). Bun refuses to start with an unknown option of this kind, so an upgrade
/// cannot silently drop it.
pub const WRANGLER_ENV: [(&str, &str); 7] = [
    ("BUN_JSC_thresholdForOptimizeAfterWarmUp", "20000"),
    ("CI", "1"),
    ("CLOUDFLARE_CF_FETCH_ENABLED", "false"),
    ("WRANGLER_HIDE_BANNER", "true"),
    ("WRANGLER_LOG_SANITIZE", "true"),
    ("WRANGLER_SEND_METRICS", "false"),
    ("WRANGLER_WRITE_LOGS", "false"),
];

/// The file in which an adapter names its generated config, relative to the project. Wrangler reads
/// it only without `--config`.
pub const REDIRECT: &str = ".wrangler/deploy/config.json";

/// The program that prepares an upload from the output of [`bundle_arguments`]. It runs on Bun. Its header
/// documents the input.
pub const PREPARE_UPLOAD: &str = concat!(
    include_str!("wrangler/asset-rules.js"),
    include_str!("wrangler/redirect.js"),
    include_str!("wrangler/prepare-upload.js")
);

/// The prefix of a warning in the output of [`PREPARE_UPLOAD`].
pub const WARNING: &str = "warning: ";

/// The exit code of [`PREPARE_UPLOAD`] after a refusal.
pub const REFUSAL_EXIT_CODE: i32 = 3;

/// Returns the arguments that bundle a Worker into `outfile` without a request to Cloudflare. `config` is the
/// config file's name. `None` if wrangler should use the config of an adapter. `assets` is an empty folder that
/// replaces the published one, because wrangler would hash each of its files.
///
/// Everything that a project can run in wrangler runs here, so no credential may be in the environment.
#[must_use]
pub fn bundle_arguments(
    config: Option<&str>,
    environment: Option<&str>,
    assets: Option<&str>,
    outdir: &str,
    outfile: &str,
) -> Vec<String> {
    let mut arguments = vec!["deploy".to_owned(), "--dry-run".to_owned()];
    arguments.extend(config.map(|config| format!("--config={config}")));
    arguments.extend(["--autoconfig=false", NO_ENV_FILE].map(str::to_owned));
    arguments.extend(environment.map(|environment| format!("--env={environment}")));
    arguments.extend(assets.map(|folder| format!("--assets={folder}")));
    arguments.push(format!("--outdir={outdir}"));
    arguments.push(format!("--outfile={outfile}"));
    arguments
}

/// The option that refuses to create storage for bindings without an id.
pub const NO_PROVISION: &str = "--no-x-provision";

/// Returns the arguments of `wrangler deploy`, which uploads the folder that [`PREPARE_UPLOAD`] wrote.
/// `environment` is an `env` block of the config. An empty name means the top level of a config with blocks. The
/// Cloudflare module passes the same arguments (a test compares them).
///
/// `--autoconfig=false`: without a config file, `deploy` would write one and install packages.
/// `--strict` refuses to overwrite changes from elsewhere. `--no-x-provision` refuses to create
/// storage for bindings without an id (observed with wrangler 4.164).
#[must_use]
pub fn deploy_arguments(environment: Option<&str>, tag: &str, message: &str) -> Vec<String> {
    let mut arguments = vec!["deploy".to_owned()];
    let options = ["--autoconfig=false", "--strict", NO_PROVISION, NO_ENV_FILE];
    arguments.extend(options.map(str::to_owned));
    arguments.extend(environment.map(|environment| format!("--env={environment}")));
    arguments.push(format!("--tag={tag}"));
    arguments.push(format!("--message={message}"));
    arguments
}

/// Returns the arguments of `wrangler versions upload`, like [`deploy_arguments`]. It has no
/// `--autoconfig`.
#[must_use]
pub fn upload_arguments(
    alias: Option<&str>,
    environment: Option<&str>,
    tag: &str,
    message: &str,
) -> Vec<String> {
    let mut arguments = vec!["versions".to_owned(), "upload".to_owned()];
    arguments.extend(["--strict", NO_PROVISION, NO_ENV_FILE].map(str::to_owned));
    arguments.extend(alias.map(|alias| format!("--preview-alias={alias}")));
    arguments.extend(environment.map(|environment| format!("--env={environment}")));
    arguments.push(format!("--tag={tag}"));
    arguments.push(format!("--message={message}"));
    arguments
}

/// Returns the arguments of `wrangler preview`, like [`deploy_arguments`]. It has no `--strict`,
/// and storage without an id is intended: the preview gets its own.
#[must_use]
pub fn preview_arguments(
    name: Option<&str>,
    environment: Option<&str>,
    tag: &str,
    message: &str,
) -> Vec<String> {
    let mut arguments = vec!["preview".to_owned()];
    arguments.extend(name.map(|name| format!("--name={name}")));
    arguments.push(NO_ENV_FILE.to_owned());
    arguments.extend(environment.map(|environment| format!("--env={environment}")));
    arguments.push(format!("--tag={tag}"));
    arguments.push(format!("--message={message}"));
    arguments
}

/// Returns the arguments of a step of `xtask.beforeDeploy`, whose words are `step`. The Cloudflare module passes the same.
#[must_use]
pub fn step_arguments(
    config: Option<&str>,
    environment: Option<&str>,
    step: &[String],
) -> Vec<String> {
    // The option consumes every word up to the next option.
    let mut arguments = vec![NO_ENV_FILE.to_owned()];
    arguments.extend(config.map(|config| format!("--config={config}")));
    arguments.extend(environment.map(|environment| format!("--env={environment}")));
    arguments.extend(step.iter().cloned());
    arguments
}

/// The field of wrangler's manifest that is read here. Each run reads it, so the others are skipped.
#[derive(Deserialize)]
struct Manifest {
    version: String,
}

/// Returns the installed version of wrangler, read from its manifest. `None` if it is not installed.
#[must_use]
pub fn installed_version(root: &Utf8Path) -> Option<String> {
    let manifest = Toolchain::wrangler(root).dir.join("node_modules/wrangler/package.json");
    let manifest: Manifest = serde_json::from_str(&std::fs::read_to_string(manifest).ok()?).ok()?;
    Some(manifest.version)
}

/// Returns the pinned version of wrangler.
#[must_use]
pub fn pinned_version(root: &Utf8Path) -> Option<String> {
    let manifest: Value = serde_json::from_str(&Toolchain::wrangler(root).manifest()?).ok()?;
    manifest["dependencies"]["wrangler"].as_str().map(str::to_owned)
}
