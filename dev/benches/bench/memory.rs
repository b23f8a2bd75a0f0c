//! Memory of a process and of all that it started, as Linux counts it.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The peak memory of a run.
pub struct MemoryUse {
    /// The peak of the process itself, in bytes.
    pub own: u64,
    /// The peak of the process with its children, in bytes. A shared page counts for each of them.
    pub tree: u64,
}

/// Runs a program that must succeed. Reads the memory of it and its children every 100 ms.
pub fn measure_memory(command: &mut Command) -> MemoryUse {
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut child = child.expect("it runs");
    let (pid, ended) = (child.id(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let looks = scope.spawn(|| {
            let (mut own, mut tree) = (0, 0);
            while !ended.load(Ordering::SeqCst) {
                own = own.max(resident(pid));
                tree = tree.max(family(pid).into_iter().map(resident).sum());
                std::thread::sleep(Duration::from_millis(100));
            }
            (own, tree)
        });
        let status = child.wait().expect("it ends");
        ended.store(true, Ordering::SeqCst);
        assert!(status.success(), "{command:?}: {status}");
        let (own, tree) = looks.join().expect("a watcher");
        MemoryUse { own, tree }
    })
}

/// The memory of a process and all that it started, in bytes, where a page that several share counts
/// once among them all.
pub fn proportional(pid: u32) -> u64 {
    family(pid).into_iter().map(|pid| field(pid, "smaps_rollup", "Pss:")).sum()
}

/// A process and all that it started. One in between that has ended hides its children.
fn family(pid: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> =
        processes().into_iter().filter_map(|pid| Some((pid, parent(pid)?))).collect();
    let mut family = vec![pid];
    let mut next = 0;
    while let Some(&member) = family.get(next) {
        family.extend(parents.iter().filter(|(_, parent)| *parent == member).map(|(pid, _)| *pid));
        next += 1;
    }
    family
}

fn processes() -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

fn parent(pid: u32) -> Option<u32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in brackets, may hold anything.
    text.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

fn resident(pid: u32) -> u64 {
    field(pid, "status", "VmRSS:")
}

/// A size in one of a process's files, in bytes; 0 when the process has ended.
fn field(pid: u32, file: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join(file));
    let text = text.unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}
