//! Wrangler: its arguments and its verdict.
//!
//! A deployment takes two steps. The first bundles, and may run code of the project. The second has the token, and
//! uploads from a folder that we wrote, without bundling or running anything.

pub mod access;
mod excerpt;
pub mod requests;
pub mod verdict;

use camino::Utf8Path;
use serde_json::Value;
use workspace::toolchain::Toolchain;

pub use excerpt::excerpt;
pub use verdict::{AGAIN, BUNDLE, ExpectedEntry, WranglerOutcome, next_step_in, urls, verdict};

/// The launcher inside the toolchain. It is run on Bun, so no Node is needed.
pub const LAUNCHER: &str = "node_modules/wrangler/bin/wrangler.js";

/// The JSON schema of wrangler's config inside the toolchain.
pub const SCHEMA: &str = "node_modules/wrangler/config-schema.json";

/// The options of Bun when it runs wrangler: in Node's place, and blind to the `.env` files and the
/// `bunfig.toml` of the folder. Those could name another Worker (`WRANGLER_CI_OVERRIDE_NAME`) or run
/// code in the process that holds the token. Wrangler's launcher hands them to its child.
pub const BUN_OPTIONS: [&str; 3] = ["--no-env-file", "--config=/dev/null", "--bun"];

/// The same for wrangler itself, which reads `.env` files too (observed with 4.164).
pub const NO_ENV_FILE: &str = "--env-file=/dev/null";

/// The variables that make wrangler quiet, non-interactive and free of side trips: no metrics, no
/// banner, no log files, no fetch of request metadata for a local workerd.
///
/// Bun's says how often a function runs before it is compiled with all optimizations: 1000 times
/// otherwise. Hardly anything runs that often again within half a second. With it a small site takes 4 to
/// 9 % less CPU, on other cores than wrangler's own, and no more time; nor does one of 240 MB (measured
/// with Bun 1.4.5). Bun does not start with an option of this kind that it does not know, so no upgrade
/// can lose it unseen.
pub const WRANGLER_ENV: [(&str, &str); 7] = [
    ("BUN_JSC_thresholdForOptimizeAfterWarmUp", "20000"),
    ("CI", "1"),
    ("CLOUDFLARE_CF_FETCH_ENABLED", "false"),
    ("WRANGLER_HIDE_BANNER", "true"),
    ("WRANGLER_LOG_SANITIZE", "true"),
    ("WRANGLER_SEND_METRICS", "false"),
    ("WRANGLER_WRITE_LOGS", "false"),
];

/// The file in which an adapter names the config that it generated, relative to the project. Wrangler
/// follows it only without `--config`.
pub const REDIRECT: &str = ".wrangler/deploy/config.json";

/// The program that prepares an upload from what [`bundle_arguments`] left. It is run on Bun, and says what it
/// takes.
pub const PREPARE_UPLOAD: &str =
    concat!(include_str!("wrangler/asset-rules.js"), include_str!("wrangler/prepare-upload.js"));

/// The prefix of a warning in the output of [`PREPARE_UPLOAD`].
pub const WARNING: &str = "warning: ";

/// The exit code of [`PREPARE_UPLOAD`] after a refusal.
pub const REFUSED: i32 = 3;

/// The arguments that bundle a Worker into `outfile` without a request to Cloudflare. `config` is the config file's
/// name, `None` if wrangler is to follow an adapter's. `assets` is an empty folder that replaces the published one,
/// because wrangler would hash each of its files.
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

/// The arguments of `wrangler deploy`, which uploads what [`PREPARE_UPLOAD`] wrote. `environment` is a block of the
/// config; the empty one means the top level of a config that has blocks. The Cloudflare module passes the same (a
/// test compares them).
///
/// `--autoconfig=false` because a deploy without a config file would write one and install things;
/// `--strict` refuses to overwrite changes made elsewhere; `--no-x-provision` refuses to create
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

/// The arguments of `wrangler versions upload`, as [`deploy_arguments`] has those of `deploy`. There is
/// no `--autoconfig` here.
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

/// The arguments of `wrangler preview`, as [`deploy_arguments`] has those of `deploy`. There is no
/// `--strict` here, and storage without an id is meant: the preview gets its own.
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
    // The option takes every word up to the next option.
    let mut arguments = vec![NO_ENV_FILE.to_owned()];
    arguments.extend(config.map(|config| format!("--config={config}")));
    arguments.extend(environment.map(|environment| format!("--env={environment}")));
    arguments.extend(step.iter().cloned());
    arguments
}

/// Returns the installed version of wrangler, read from its manifest. `None` if it is not installed.
#[must_use]
pub fn installed_version(root: &Utf8Path) -> Option<String> {
    let manifest = Toolchain::wrangler(root).dir.join("node_modules/wrangler/package.json");
    version_of(&std::fs::read_to_string(manifest).ok()?, "/version")
}

/// Returns the pinned version of wrangler.
#[must_use]
pub fn pinned_version(root: &Utf8Path) -> Option<String> {
    version_of(&Toolchain::wrangler(root).manifest()?, "/dependencies/wrangler")
}

fn version_of(manifest: &str, pointer: &str) -> Option<String> {
    let value: Value = serde_json::from_str(manifest).ok()?;
    value.pointer(pointer)?.as_str().map(str::to_owned)
}
