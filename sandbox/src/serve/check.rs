//! Loads a version once in workerd, before it is stored, to find out whether it starts and what it
//! exports. workerd's own words are the reason of a refusal.

use std::fmt::Write as _;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use camino::{Utf8Path, Utf8PathBuf};
use serde::Deserialize;
use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;

use super::files;
use crate::ids::{hex, random};
use crate::state::blobs::Blobs;
use crate::state::model::{Entrypoint, Exports, Module, Version};

/// The time that a version has to start. Cloudflare allows a second of CPU time; this is time on a
/// clock, on a machine that may be busy.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// The name of our module among those of the version.
const MODULE: &str = "sandbox-check.js";

/// The marker before what our module found.
const MARKER: &str = "sandbox-check:";

/// The part of `cloudflare:email` that is not in workerd. miniflare brings it when a version runs.
const EMAIL: &str = "class EmailMessage { constructor(from, to, raw) { Object.assign(this, { from, to, raw }); } }\n\
     export default { EmailMessage };";

/// The beginning of workerd's messages about the version.
const ABOUT: &str = "service main: ";

/// The place of modules in workerd's messages, which Cloudflare does not show.
const BUNDLE: &str = "file:///bundle/";

/// What came of loading a version.
#[derive(Debug, PartialEq, Eq)]
pub enum Checked {
    /// It starts.
    Starts(Exports),
    /// It does not, for this reason.
    Fails(String),
}

/// Checks versions.
#[derive(Clone, Debug)]
pub struct Checker {
    workerd: Utf8PathBuf,
    dir: Utf8PathBuf,
    /// The newest compatibility date that this workerd knows.
    newest: String,
}

impl Checker {
    /// Makes a checker of the workerd in `packages`, with its files below `dir`.
    pub fn new(packages: &Utf8Path, dir: &Utf8Path) -> Result<Checker> {
        let os = if cfg!(target_os = "macos") { "darwin" } else { std::env::consts::OS };
        let machine = if cfg!(target_arch = "x86_64") { "64" } else { "arm64" };
        let workerd = packages.join(format!("@cloudflare/workerd-{os}-{machine}/bin/workerd"));
        if !workerd.is_file() {
            bail!("{workerd} is missing; install the toolchain's packages first");
        }
        let path = packages.join("workerd/package.json");
        let text = std::fs::read(&path).with_context(|| format!("cannot read {path}"))?;
        let package: Value = serde_json::from_slice(&text).with_context(|| path.to_string())?;
        let version = package["version"].as_str().unwrap_or_default();
        let newest =
            newest_date(version).with_context(|| format!("{path}: version {version:?}"))?;
        Ok(Checker { workerd, dir: dir.to_owned(), newest })
    }

    /// Loads `version` once. Errors only if workerd itself cannot be run.
    pub async fn check(&self, blobs: &Blobs, version: &Version) -> Result<Checked> {
        let Some(main) = &version.main_module else {
            return Ok(Checked::Starts(Exports::default()));
        };
        let python = version.modules.iter().any(|m| m.content_type.starts_with("text/x-python"));
        if python {
            // Its interpreter would have to be fetched first.
            let exports = Exports { handlers: vec!["fetch".to_owned()], ..Exports::default() };
            return Ok(Checked::Starts(exports));
        }
        let folder = self.dir.join(format!("check-{}", hex(&random::<6>())));
        let checked = self.run(blobs, version, main, &folder).await;
        files::remove(&folder).with_context(|| format!("cannot remove {folder}"))?;
        checked
    }

    async fn run(
        &self,
        blobs: &Blobs,
        version: &Version,
        main: &str,
        folder: &Utf8Path,
    ) -> Result<Checked> {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {folder}"))?;
        let mut modules = format!("(name = {}, esModule = embed \"check.js\")", quoted(MODULE));
        std::fs::write(folder.join("check.js"), our_module(main))?;
        let is_code = |module: &&Module| module.content_type != "application/source-map";
        for (index, module) in version.modules.iter().filter(is_code).enumerate() {
            std::fs::write(folder.join(format!("m{index}")), blobs.read(&module.blob)?)?;
            let kind = match super::bindings::module_kind(&module.content_type) {
                "esm" => "esModule",
                "cjs" => "commonJsModule",
                kind @ ("wasm" | "text" | "json") => kind,
                _ => "data",
            };
            let name = quoted(&module.name);
            write!(modules, ", (name = {name}, {kind} = embed \"m{index}\")")?;
        }
        let mut command = Command::new(&self.workerd);
        command.env_clear().env("TMPDIR", folder);
        let bindings = bindings(version, &mut command)?;
        let flags: Vec<String> =
            version.compatibility_flags.iter().map(|flag| quoted(flag)).collect();
        let date = version.compatibility_date.as_str().min(self.newest.as_str());
        let config = format!(
            "using Workerd = import \"/workerd/workerd.capnp\";\n\
             const config :Workerd.Config = (services = [(name = \"main\", worker = .main),\n\
             (name = \"none\", external = (address = \"127.0.0.1:1\", http = ()))],\n\
             extensions = [(modules = [(name = \"cloudflare-internal:email\", internal = true,\n\
             esModule = {})])]);\n\
             const main :Workerd.Worker = (modules = [{modules}],\n\
             compatibilityDate = {}, compatibilityFlags = [{}], bindings = [{bindings}]);\n",
            quoted(EMAIL),
            quoted(date),
            flags.join(", "),
        );
        std::fs::write(folder.join("config.capnp"), config)?;
        command
            .args(["test", "config.capnp"])
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        // When the time is over, the drop of the future kills the process.
        let Ok(output) = timeout(START_TIMEOUT, command.output()).await else {
            return Ok(Checked::Fails("Script startup exceeded CPU time limit.".to_owned()));
        };
        let output = output.with_context(|| format!("cannot run {}", self.workerd))?;
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        let found = said.lines().rev().find_map(|line| line.strip_prefix(MARKER));
        if let Some(found) = found.filter(|_| output.status.success()) {
            let exports: Found = serde_json::from_str(found).context("our module's answer")?;
            return Ok(Checked::Starts(exports.into()));
        }
        match reason(&said) {
            Some(reason) => Ok(Checked::Fails(reason)),
            None => bail!("workerd ended with {}: {}", output.status, said.trim()),
        }
    }
}

/// The newest date of a version such as `1.20261117.1`.
fn newest_date(version: &str) -> Option<String> {
    let date = version.split('.').nth(1).filter(|date| date.len() == 8)?;
    date.bytes().all(|b| b.is_ascii_digit()).then(|| {
        let (year, rest) = date.split_at(4);
        let (month, day) = rest.split_at(2);
        format!("{year}-{month}-{day}")
    })
}

/// The first message about the version, with its stack, as Cloudflare shows it.
fn reason(said: &str) -> Option<String> {
    let mut lines = said.lines().skip_while(|line| !line.starts_with(ABOUT));
    let first = lines.next()?.strip_prefix(ABOUT)?;
    let stack = lines.take_while(|line| line.starts_with("  "));
    // Our own module is none of the reader's.
    let stack = stack.filter(|line| !line.contains(MODULE));
    let text: Vec<&str> = std::iter::once(first).chain(stack).collect();
    Some(text.join("\n").replace(BUNDLE, ""))
}

/// The bindings that code may use while it starts. Storage leads nowhere: nothing can be asked then.
fn bindings(version: &Version, command: &mut Command) -> Result<String> {
    let mut all = Vec::new();
    for (index, binding) in version.bindings.iter().enumerate() {
        let value = match binding["type"].as_str().unwrap_or_default() {
            // In the environment, so that no secret is in a file.
            "plain_text" | "secret_text" => {
                let variable = format!("BINDING_{index}");
                let text = binding["text"].as_str().unwrap_or_default().replace('\0', "");
                command.env(&variable, text);
                format!("fromEnvironment = {}", quoted(&variable))
            }
            "json" => format!("json = {}", quoted(&binding["json"].to_string())),
            "version_metadata" => {
                let metadata = super::bindings::metadata(version).to_string();
                format!("json = {}", quoted(&metadata))
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
        let name = quoted(binding["name"].as_str().unwrap_or_default());
        all.push(format!("(name = {name}, {value})"));
    }
    Ok(all.join(",\n"))
}

/// A text in Cap'n Proto's quotes.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted += "\\n",
            '\r' => quoted += "\\r",
            '\t' => quoted += "\\t",
            c if c.is_ascii_control() => quoted += &format!("\\x{:02x}", u32::from(c)),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

/// The module that says what the version exports. It calls nothing of the version.
fn our_module(main: &str) -> String {
    let main = Value::String(main.to_owned());
    format!(
        r#"import {{ DurableObject, WorkerEntrypoint, WorkflowEntrypoint }} from "cloudflare:workers";
import * as user from {main};
const kinds = {{ "durable-object": DurableObject, workflow: WorkflowEntrypoint, worker: WorkerEntrypoint }};
const known = ["fetch", "scheduled", "queue", "email", "tail", "tailStream", "trace", "alarm"];
const ends = [Object.prototype, ...Object.values(kinds).map((base) => base.prototype)];
function methods(value) {{
	const found = [];
	for (let at = value; at && !ends.includes(at); at = Object.getPrototypeOf(at))
		for (const [name, property] of Object.entries(Object.getOwnPropertyDescriptors(at)))
			if (name !== "constructor" && (property.get || typeof property.value === "function") && !found.includes(name)) found.push(name);
	return found;
}}
const isObject = (value) => typeof value === "object" && value !== null;
const isClass = (value) => typeof value === "function" && isObject(value.prototype);
const described = (value) => (isClass(value) ? methods(value.prototype) : isObject(value) ? methods(value) : []);
const kindOf = (value) => isClass(value)
	? (Object.entries(kinds).find(([, base]) => value.prototype instanceof base)?.[0] ?? "class") : "worker";
export default {{
	test() {{
		const found = {{ handlers: [], entrypoints: [] }};
		for (const [name, value] of Object.entries(user)) {{
			if (name === "default") found.handlers = described(value).filter((one) => isClass(value) || known.includes(one));
			else if (isClass(value) || (isObject(value) && described(value).length))
				found.entrypoints.push({{ name, kind: kindOf(value), handlers: described(value) }});
		}}
		console.log({MARKER:?} + JSON.stringify(found));
	}},
}};
"#
    )
}

#[derive(Deserialize)]
struct Found {
    handlers: Vec<String>,
    entrypoints: Vec<Entrypoint>,
}

impl From<Found> for Exports {
    fn from(found: Found) -> Exports {
        Exports { handlers: found.handlers, entrypoints: found.entrypoints }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_quoted() {
        assert_eq!(quoted("a\"b\\c\nd\u{1}é"), "\"a\\\"b\\\\c\\nd\\x01é\"");
    }

    #[test]
    fn dates_come_from_versions() {
        assert_eq!(newest_date("1.20261117.1").as_deref(), Some("2026-11-17"));
        for version in ["", "1", "1.2", "1.2026111x.1"] {
            assert_eq!(newest_date(version), None, "{version}");
        }
    }

    #[test]
    fn reasons_are_workerd_s_words() {
        let said = "x\nservice main: Uncaught Error: boom\n  at file:///bundle/main.js:1:7\n  at \
                    file:///bundle/sandbox-check.js:2\nother";
        assert_eq!(reason(said).as_deref(), Some("Uncaught Error: boom\n  at main.js:1:7"));
        assert_eq!(reason("nothing"), None);
    }
}
