//! The machine that the benchmarks ran on.

use std::path::Path;
use std::process::Command;

use crate::run::{git, text};
use crate::support::repository;

/// The commit that is measured, with a mark when files were changed after it.
pub fn commit() -> String {
    let root = repository();
    let commit = git(root.as_std_path(), &["rev-parse", "--short=12", "HEAD"]).trim().to_owned();
    let dirty = git(root.as_std_path(), &["status", "--porcelain", "--untracked-files=no"]);
    if dirty.is_empty() { commit } else { format!("{commit}, changed since") }
}

/// Facts that figures depend on.
pub fn facts() -> Vec<(String, String)> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let bun = std::env::var("XTASK_BUN").expect("XTASK_BUN is set: run `cargo dev bench`");
    let wrangler = std::env::var("XTASK_TOOLCHAIN").expect("XTASK_TOOLCHAIN is set");
    let wrangler = Path::new(&wrangler).join("node_modules/wrangler/package.json");
    let wrangler = std::fs::read_to_string(wrangler).expect("wrangler is installed");
    let wrangler: serde_json::Value = serde_json::from_str(&wrangler).expect("JSON");
    let version = |program: &str| text(Command::new(program).arg("--version")).trim().to_owned();
    let facts = [
        ("processor", processor()),
        ("cores", cores.to_string()),
        ("memory", memory()),
        ("system", text(Command::new("uname").arg("-srm")).trim().to_owned()),
        ("git", version("git").replace("git version ", "")),
        ("Bun", version(&bun)),
        ("wrangler", wrangler["version"].as_str().unwrap_or("unknown").to_owned()),
        ("rustc", version("rustc")),
    ];
    facts.map(|(name, value)| (name.to_owned(), value)).into()
}

/// The processor, where Linux says it.
fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("model name"));
    let name = line.and_then(|line| line.split_once(": ")).map(|(_, name)| name.trim());
    name.unwrap_or("unknown").to_owned()
}

/// The memory, where Linux says it.
fn memory() -> String {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("MemTotal"));
    let number = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    number.map_or_else(|| "unknown".to_owned(), |kib| format!("{} GiB", kib.div_ceil(1_048_576)))
}
