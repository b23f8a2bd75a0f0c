//! Loads a version once in workerd before it is stored. Checks that it starts, and reads its exports. If it does
//! not start, the client gets workerd's message.

use std::fmt::Write as _;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;

use super::files;
use crate::ids::{hex, random};
use crate::state::blobs::BlobStore;
use crate::state::model::{Exports, HANDLERS, StoredModule, WorkerVersion};

/// The time limit for the start of a version. Cloudflare allows a second of CPU time. This limit is higher, because
/// it is wall clock time and the machine may be busy.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// The name of the check module, next to the modules of the version.
const CHECK_MODULE: &str = "sandbox-check.js";

/// The marker before the result of the check module.
const MARKER: &str = "sandbox-check:";

/// The part of `cloudflare:email` that workerd lacks. miniflare adds the same part when a version runs.
const EMAIL: &str = "class EmailMessage { constructor(from, to, raw) { Object.assign(this, { from, to, raw }); } }\n\
     export default { EmailMessage };";

/// The beginning of workerd's messages about the version.
const MESSAGE_PREFIX: &str = "service main: ";

/// The folder of modules in workerd's messages. Cloudflare does not show it.
const BUNDLE: &str = "file:///bundle/";

const MIB: u64 = 1024 * 1024;

/// The maximum size of a version's code in a paid plan, in MiB, before and after compression
/// (<https://developers.cloudflare.com/workers/platform/limits/#worker-size>).
const MAX_CODE_SIZE: u64 = 64;
const MAX_GZIP_SIZE: u64 = 10;

/// A program for Bun that prints the total size of files after compression. With it, the sandbox needs no
/// compression library.
const GZIP_CODE: &str = "const files = await Promise.all(process.argv.slice(1).map((path) => Bun.file(path).bytes()));\n\
     console.log(Bun.gzipSync(Buffer.concat(files)).length);";

/// The result of loading a version.
#[derive(Debug, PartialEq, Eq)]
pub enum CheckOutcome {
    /// It starts.
    Starts(Exports),
    /// It does not start, for this reason.
    Fails(String),
    /// Its code exceeds this limit, in MiB.
    TooLarge(u64),
}

/// Checks that versions start.
#[derive(Clone, Debug)]
pub struct StartChecker {
    workerd: Utf8PathBuf,
    bun: Utf8PathBuf,
    dir: Utf8PathBuf,
    /// The newest compatibility date that this workerd supports.
    newest_date: String,
}

impl StartChecker {
    /// Makes a checker that runs the workerd in `packages`. Its temporary files are below `dir`.
    pub fn new(bun: &Utf8Path, packages: &Utf8Path, dir: &Utf8Path) -> Result<StartChecker> {
        let os = if cfg!(target_os = "macos") { "darwin" } else { std::env::consts::OS };
        let machine = if cfg!(target_arch = "x86_64") { "64" } else { "arm64" };
        let workerd = packages.join(format!("@cloudflare/workerd-{os}-{machine}/bin/workerd"));
        if !workerd.is_file() {
            bail!("{workerd} is missing; install the packages of the toolchain first");
        }
        let path = packages.join("workerd/package.json");
        let text = std::fs::read(&path).with_context(|| format!("cannot read {path}"))?;
        let package: Value = serde_json::from_slice(&text).with_context(|| path.to_string())?;
        let version = package["version"].as_str().unwrap_or_default();
        let newest_date =
            newest_date(version).with_context(|| format!("{path}: version {version:?}"))?;
        Ok(StartChecker { workerd, bun: bun.to_owned(), dir: dir.to_owned(), newest_date })
    }

    /// Loads `version` once. Errors only if workerd cannot run.
    pub async fn check(&self, blobs: &BlobStore, version: &WorkerVersion) -> Result<CheckOutcome> {
        let Some(main) = &version.main_module else {
            return Ok(CheckOutcome::Starts(Exports::default()));
        };
        if let Some(limit) = self.exceeded_limit(blobs, version).await? {
            return Ok(CheckOutcome::TooLarge(limit));
        }
        let folder = self.dir.join(format!("check-{}", hex(&random::<6>())));
        let outcome = self.run(blobs, version, main, &folder).await;
        files::remove(&folder).with_context(|| format!("cannot remove {folder}"))?;
        outcome
    }

    /// Returns the limit in MiB that the code of a version exceeds. `None` if it exceeds none.
    async fn exceeded_limit(
        &self,
        blobs: &BlobStore,
        version: &WorkerVersion,
    ) -> Result<Option<u64>> {
        let paths: Vec<Utf8PathBuf> =
            version.modules.iter().filter(is_code).map(|module| blobs.path(&module.blob)).collect();
        let mut size = 0;
        for path in &paths {
            size += std::fs::metadata(path).with_context(|| format!("cannot read {path}"))?.len();
        }
        if size > MAX_CODE_SIZE * MIB {
            return Ok(Some(MAX_CODE_SIZE));
        }
        if size <= MAX_GZIP_SIZE * MIB {
            return Ok(None);
        }
        let mut command = Command::new(&self.bun);
        command.args(["-e", GZIP_CODE]).args(&paths).env_clear().env("TMPDIR", &self.dir);
        command.stdin(Stdio::null()).kill_on_drop(true);
        let output = command.output().await.with_context(|| format!("cannot run {}", self.bun))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let size: u64 = text.trim().parse().with_context(|| {
            format!("cannot compress the code: {}", String::from_utf8_lossy(&output.stderr))
        })?;
        Ok((size > MAX_GZIP_SIZE * MIB).then_some(MAX_GZIP_SIZE))
    }

    async fn run(
        &self,
        blobs: &BlobStore,
        version: &WorkerVersion,
        main: &str,
        folder: &Utf8Path,
    ) -> Result<CheckOutcome> {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot create {folder}"))?;
        let modules = write_modules(blobs, version, main, folder)?;
        let mut command = Command::new(&self.workerd);
        command.env_clear().env("TMPDIR", folder);
        let bindings = bindings(version, &mut command);
        std::fs::write(folder.join("config.capnp"), self.config(version, &modules, &bindings))?;
        command
            .args(["test", "config.capnp"])
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        // After the timeout, the drop of the future kills the process.
        let Ok(output) = timeout(START_TIMEOUT, command.output()).await else {
            return Ok(CheckOutcome::Fails("Script startup exceeded CPU time limit.".to_owned()));
        };
        let output = output.with_context(|| format!("cannot run {}", self.workerd))?;
        let messages =
            String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        let report = messages.lines().rev().find_map(|line| line.strip_prefix(MARKER));
        if let Some(report) = report.filter(|_| output.status.success()) {
            let exports: Exports = serde_json::from_str(report)
                .context("the report of the check module is invalid")?;
            return Ok(CheckOutcome::Starts(exports));
        }
        match reason(&messages) {
            Some(reason) => Ok(CheckOutcome::Fails(reason)),
            None => bail!("workerd exited with {}: {}", output.status, messages.trim()),
        }
    }

    /// Returns the config of workerd.
    fn config(&self, version: &WorkerVersion, modules: &str, bindings: &str) -> String {
        let flags: Vec<String> =
            version.compatibility_flags.iter().map(|flag| quote(flag)).collect();
        let date = version.compatibility_date.as_str().min(self.newest_date.as_str());
        format!(
            "using Workerd = import \"/workerd/workerd.capnp\";\n\
             const config :Workerd.Config = (services = [(name = \"main\", worker = .main),\n\
             (name = \"none\", external = (address = \"127.0.0.1:1\", http = ()))],\n\
             extensions = [(modules = [(name = \"cloudflare-internal:email\", internal = true,\n\
             esModule = {})])]);\n\
             const main :Workerd.Worker = (modules = [{modules}],\n\
             compatibilityDate = {}, compatibilityFlags = [{}], bindings = [{bindings}]);\n",
            quote(EMAIL),
            quote(date),
            flags.join(", "),
        )
    }
}

/// Writes the check module and the modules of the version into `folder`. Returns them for the config of workerd.
fn write_modules(
    blobs: &BlobStore,
    version: &WorkerVersion,
    main: &str,
    folder: &Utf8Path,
) -> Result<String> {
    std::fs::write(folder.join("check.js"), check_module(main))?;
    let mut modules = format!("(name = {}, esModule = embed \"check.js\")", quote(CHECK_MODULE));
    for (index, module) in version.modules.iter().filter(is_code).enumerate() {
        std::fs::write(folder.join(format!("m{index}")), blobs.read(&module.blob)?)?;
        let kind = match super::bindings::module_kind(&module.content_type) {
            "esm" => "esModule",
            "cjs" => "commonJsModule",
            kind @ ("wasm" | "text" | "json") => kind,
            _ => "data",
        };
        let name = quote(&module.name);
        write!(modules, ", (name = {name}, {kind} = embed \"m{index}\")")?;
    }
    Ok(modules)
}

/// Returns whether a module is code. Source maps are neither loaded nor counted.
fn is_code(module: &&StoredModule) -> bool {
    module.content_type != "application/source-map"
}

/// Returns the newest compatibility date of a workerd version such as `1.20261117.1`.
fn newest_date(version: &str) -> Option<String> {
    let date = version.split('.').nth(1).filter(|date| date.len() == 8)?;
    date.bytes().all(|b| b.is_ascii_digit()).then(|| {
        let (year, rest) = date.split_at(4);
        let (month, day) = rest.split_at(2);
        format!("{year}-{month}-{day}")
    })
}

/// Returns workerd's first message about the version and its stack, in Cloudflare's format. `None` if there is none.
fn reason(messages: &str) -> Option<String> {
    let mut lines = messages.lines().skip_while(|line| !line.starts_with(MESSAGE_PREFIX));
    let first = lines.next()?.strip_prefix(MESSAGE_PREFIX)?;
    let stack = lines.take_while(|line| line.starts_with("  "));
    // Cloudflare has no check module.
    let stack = stack.filter(|line| !line.contains(CHECK_MODULE));
    let text: Vec<&str> = std::iter::once(first).chain(stack).collect();
    Some(text.join("\n").replace(BUNDLE, ""))
}

/// Returns the bindings that code may use while it starts, for the config of workerd. Storage bindings lead
/// nowhere, because code cannot send requests while it starts. Secrets become variables of `command`.
fn bindings(version: &WorkerVersion, command: &mut Command) -> String {
    let mut entries = Vec::new();
    for (index, binding) in version.bindings.iter().enumerate() {
        let value = match binding["type"].as_str().unwrap_or_default() {
            // Texts are passed in the environment, so that no file has a secret.
            "plain_text" | "secret_text" => {
                let variable = format!("BINDING_{index}");
                let text = binding["text"].as_str().unwrap_or_default().replace('\0', "");
                command.env(&variable, text);
                format!("fromEnvironment = {}", quote(&variable))
            }
            "json" => format!("json = {}", quote(&binding["json"].to_string())),
            "version_metadata" => {
                let metadata = super::bindings::metadata(version).to_string();
                format!("json = {}", quote(&metadata))
            }
            "kv_namespace" => "kvNamespace = \"none\"".to_owned(),
            "r2_bucket" => "r2Bucket = \"none\"".to_owned(),
            "queue" => "queue = \"none\"".to_owned(),
            "service" | "assets" => "service = \"none\"".to_owned(),
            "d1" => "wrapped = (moduleName = \"cloudflare-internal:d1-api\", \
                     innerBindings = [(name = \"fetcher\", service = \"none\")])"
                .to_owned(),
            _ => continue,
        };
        let name = quote(binding["name"].as_str().unwrap_or_default());
        entries.push(format!("(name = {name}, {value})"));
    }
    entries.join(",\n")
}

/// Returns a text as a string literal of Cap'n Proto.
fn quote(text: &str) -> String {
    let mut literal = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => literal.extend(['\\', c]),
            '\n' => literal += "\\n",
            '\r' => literal += "\\r",
            '\t' => literal += "\\t",
            c if c.is_ascii_control() => literal += &format!("\\x{:02x}", u32::from(c)),
            c => literal.push(c),
        }
    }
    literal + "\""
}

/// Returns the code of the check module. It reports the exports of the version, and calls none of its code.
fn check_module(main: &str) -> String {
    let main = Value::String(main.to_owned());
    format!(
        r#"import {{ DurableObject, WorkerEntrypoint, WorkflowEntrypoint }} from "cloudflare:workers";
import * as user from {main};
const kinds = {{ "durable-object": DurableObject, workflow: WorkflowEntrypoint, worker: WorkerEntrypoint }};
const handlers = {HANDLERS:?};
const ends = [Object.prototype, ...Object.values(kinds).map((base) => base.prototype)];
function methods(value) {{
	const names = new Set();
	for (let prototype = value; prototype && !ends.includes(prototype); prototype = Object.getPrototypeOf(prototype))
		for (const [name, property] of Object.entries(Object.getOwnPropertyDescriptors(prototype)))
			if (name !== "constructor" && (property.get || typeof property.value === "function")) names.add(name);
	return [...names];
}}
const isObject = (value) => typeof value === "object" && value !== null;
const isClass = (value) => typeof value === "function" && isObject(value.prototype);
const methodsOf = (value) => (isClass(value) ? methods(value.prototype) : isObject(value) ? methods(value) : []);
const kindOf = (value) => isClass(value)
	? (Object.entries(kinds).find(([, base]) => value.prototype instanceof base)?.[0] ?? "class") : "worker";
export default {{
	test() {{
		const report = {{ handlers: [], entrypoints: [], loadable: [] }};
		for (const [name, value] of Object.entries(user)) {{
			if (name === "default") report.handlers = methodsOf(value).filter((method) => isClass(value) || handlers.includes(method));
			else if (isClass(value) || (isObject(value) && methodsOf(value).length))
				report.entrypoints.push({{ name, kind: kindOf(value), handlers: methodsOf(value) }});
		}}
		const names = Object.keys(user).filter((name) => typeof user[name] === "function" || isObject(user[name]));
		if (names.length < Object.keys(user).length) report.loadable = names;
		console.log({MARKER:?} + JSON.stringify(report));
	}},
}};
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_quoted() {
        assert_eq!(quote("a\"b\\c\nd\u{1}é"), "\"a\\\"b\\\\c\\nd\\x01é\"");
    }

    #[test]
    fn dates_come_from_versions() {
        assert_eq!(newest_date("1.20261117.1").as_deref(), Some("2026-11-17"));
        for version in ["", "1", "1.2", "1.2026111x.1"] {
            assert_eq!(newest_date(version), None, "{version}");
        }
    }

    #[test]
    fn reasons_come_from_workerd() {
        let messages = "x\nservice main: Uncaught Error: boom\n  at file:///bundle/main.js:1:7\n  at \
                    file:///bundle/sandbox-check.js:2\nother";
        assert_eq!(reason(messages).as_deref(), Some("Uncaught Error: boom\n  at main.js:1:7"));
        assert_eq!(reason("nothing"), None);
    }
}
