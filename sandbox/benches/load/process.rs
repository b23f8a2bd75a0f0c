//! Measures the resources of a process on Linux.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// Returns the peak memory of a process, in bytes.
pub fn most_memory(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("VmHWM");
    let kilobytes = line.trim().trim_end_matches("kB").trim();
    kilobytes.parse::<u64>().expect("a number") * 1024
}

/// Counts the open files of a process.
pub fn descriptors(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs").count()
}

/// Waits until a process has at most `limit` open files. Returns their number.
pub async fn wait_for_descriptors(pid: u32, limit: usize) -> usize {
    let start = Instant::now();
    loop {
        let open = descriptors(pid);
        if open <= limit {
            return open;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "{open} files stay open");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Returns the disk usage of a folder, in bytes. Hard links of a file count once.
pub fn disk(dir: &Path) -> u64 {
    let mut seen = HashSet::new();
    let mut waiting = vec![dir.to_owned()];
    let mut total = 0;
    while let Some(dir) = waiting.pop() {
        for entry in std::fs::read_dir(dir).expect("a folder") {
            let entry = entry.expect("an entry");
            let meta = entry.metadata().expect("metadata");
            if meta.is_dir() {
                waiting.push(entry.path());
            }
            if seen.insert((meta.dev(), meta.ino())) {
                total += meta.blocks() * 512;
            }
        }
    }
    total
}
