//! Tools that answer the same question, from npm: installed by `peers/bun.lock`, which pins them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::repository;
use crate::tree::GeneratedTree;

/// A tool, and how it is asked.
pub struct Peer {
    /// Its name at npm.
    pub name: &'static str,
    /// The path of its program below `node_modules`: a launcher in JavaScript would cost it 40 ms.
    program: [&'static str; 2],
    arguments: &'static [&'static str],
    variables: &'static [(&'static str, &'static str)],
    /// The place of the names in its JSON: a list, and the field in each of its items.
    list: &'static str,
    field: &'static str,
    /// `true` if Node runs it.
    node: bool,
    version: String,
    found: PathBuf,
}

/// The tools. `program` is a folder whose entries begin with the first word, and the file in it.
fn all() -> [Peer; 4] {
    let peer = |name, program, arguments, variables, list, field| Peer {
        name,
        program,
        arguments,
        variables,
        list,
        field,
        node: name == "nx",
        version: String::new(),
        found: PathBuf::new(),
    };
    [
        peer(
            "pnpm",
            ["@pnpm/exe.", "pnpm"],
            &["ls", "--filter", "...[main]", "--depth", "-1", "--json"],
            &[],
            "",
            "name",
        ),
        peer(
            "turbo",
            ["@turbo/", "bin/turbo"],
            &["ls", "--affected", "--output=json"],
            &[("TURBO_SCM_BASE", "main"), ("TURBO_SCM_HEAD", "change")],
            "/packages/items",
            "name",
        ),
        peer(
            "@moonrepo/cli",
            ["@moonrepo/core-", "moon"],
            &["query", "projects", "--affected", "--downstream", "deep"],
            &[("MOON_BASE", "main"), ("MOON_HEAD", "change")],
            "/projects",
            "id",
        ),
        peer(
            "nx",
            ["nx", "dist/bin/nx.js"],
            &["show", "projects", "--affected", "--base=main", "--head=change", "--json"],
            &[],
            "",
            "",
        ),
    ]
}

/// No telemetry, no daemon that would outlive the run, no questions.
const QUIET: [(&str, &str); 6] = [
    ("CI", "1"),
    ("DO_NOT_TRACK", "1"),
    ("MOON_TELEMETRY", "false"),
    ("NX_DAEMON", "false"),
    ("NX_NO_CLOUD", "true"),
    ("TURBO_TELEMETRY_DISABLED", "1"),
];

/// Installs the tools and asks each once: those that give the known answer, and the others with what
/// keeps them from it. A quick run leaves them out, since they come from the network.
pub fn ready(tree: &GeneratedTree, quick: bool) -> (Vec<Peer>, Vec<(String, String)>) {
    if quick {
        let why = "a quick run does not install it".to_owned();
        return (Vec::new(), all().map(|peer| (peer.name.to_owned(), why.clone())).into());
    }
    let installed = install(tree);
    let (mut good, mut missing) = (Vec::new(), Vec::new());
    for mut peer in all() {
        let result = installed.clone().and_then(|modules| peer.ask(&modules, tree));
        match result {
            Ok(answer) if answer == tree.answer => good.push(peer),
            Ok(answer) => {
                let why = format!("it answers {} of {}", answer.len(), tree.answer.len());
                missing.push((peer.title(), why));
            }
            Err(why) => missing.push((peer.title(), why)),
        }
    }
    (good, missing)
}

/// Installs them into a folder that outlives the run, and links it into the tree, where nx looks.
fn install(tree: &GeneratedTree) -> Result<PathBuf, String> {
    let folder = repository().join("dev/benches/peers");
    let bun = std::env::var("XTASK_BUN").expect("XTASK_BUN is set: run `cargo dev bench`");
    let mut command = Command::new(bun);
    command.args(["install", "--frozen-lockfile", "--ignore-scripts"]).current_dir(&folder);
    let output = command.output().map_err(|error| format!("Bun does not run: {error}"))?;
    if !output.status.success() {
        return Err(format!("it cannot be installed: {}", last(&output.stderr)));
    }
    let modules = folder.join("node_modules").into_std_path_buf();
    let link = std::os::unix::fs::symlink(&modules, tree.root.join("node_modules"));
    link.map_err(|error| error.to_string())?;
    Ok(modules)
}

impl Peer {
    /// Returns its name in the report.
    pub fn title(&self) -> String {
        let name = self.name.trim_start_matches("@moonrepo/").replace("cli", "moon");
        format!("`{name} {}` {}", self.arguments.join(" "), self.version).trim_end().to_owned()
    }

    /// Finds its program below `modules` and asks it once.
    fn ask(&mut self, modules: &Path, tree: &GeneratedTree) -> Result<BTreeSet<String>, String> {
        let [start, file] = self.program;
        let (scope, start) = start.split_once('/').unwrap_or(("", start));
        let entries = std::fs::read_dir(modules.join(scope)).map_err(|error| error.to_string())?;
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let programs = names
            .filter(|name| if scope.is_empty() { name == start } else { name.starts_with(start) })
            .map(|name| modules.join(scope).join(name).join(file));
        self.found = programs
            .filter(|path| path.is_file())
            .min()
            .ok_or_else(|| "it has no program for this machine".to_owned())?;
        let manifest = std::fs::read_to_string(modules.join(self.name).join("package.json"));
        let manifest: Value =
            serde_json::from_str(&manifest.unwrap_or_default()).unwrap_or_default();
        self.version = manifest["version"].as_str().unwrap_or_default().to_owned();
        let output = self.command(tree).output().map_err(|error| error.to_string())?;
        if !output.status.success() {
            return Err(format!("{}: {}", output.status, last(&output.stderr)));
        }
        Ok(self.answer(&output.stdout))
    }

    /// The command that asks it.
    pub fn command(&self, tree: &GeneratedTree) -> Command {
        let mut command = if self.node {
            let mut node = Command::new("node");
            node.arg(&self.found);
            node
        } else {
            Command::new(&self.found)
        };
        command.args(self.arguments).current_dir(&tree.root);
        command.envs(QUIET).envs(self.variables.iter().copied());
        command
    }

    /// The names in what it prints.
    pub fn answer(&self, stdout: &[u8]) -> BTreeSet<String> {
        let json: Value = serde_json::from_slice(stdout).unwrap_or_default();
        names(json.pointer(self.list).unwrap_or(&Value::Null), self.field)
    }
}

/// The names in a list of objects, or of names where `field` is empty.
pub fn names(list: &Value, field: &str) -> BTreeSet<String> {
    let items = list.as_array().into_iter().flatten();
    let name = |item: &Value| {
        let name = if field.is_empty() { item } else { &item[field] };
        name.as_str().map(str::to_owned)
    };
    items.filter_map(name).collect()
}

/// The last line that says something.
fn last(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no word").trim().to_owned()
}
