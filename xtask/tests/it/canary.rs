//! Searches the token of a test in all places where a run could have left it, in every encoding.

use std::path::PathBuf;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use base::secret::forms::forms;
use camino::{Utf8Path, Utf8PathBuf};

use crate::support::{Ran, TestEnv};

/// The beginning of `support::CANARY`, which every encoder but base64 leaves alone.
const PIECE: &str = "canary-7f3a";

/// The texts to look for: the piece, and the piece in base64 at each of its offsets. Every other form of the
/// token holds the piece as it is.
static WANTED: LazyLock<Vec<String>> = LazyLock::new(|| forms(PIECE));

/// Returns the form of the token in `bytes`. `None` if they do not hold it.
pub fn find_token(bytes: &[u8]) -> Option<&'static str> {
    let text = String::from_utf8_lossy(bytes);
    WANTED.iter().find(|form| text.contains(form.as_str())).map(String::as_str)
}

impl TestEnv {
    /// Asserts that the token is nowhere: not in what was printed, nor in any file that a run wrote,
    /// be it a log, a record, a report, a built page, the sandbox's state or a temporary file.
    #[track_caller]
    pub fn assert_no_canary(&self, runs: &[&Ran]) {
        for ran in runs {
            assert_eq!(find_token(ran.stdout.as_bytes()), None, "stdout: {}", ran.stdout);
            assert_eq!(find_token(ran.stderr.as_bytes()), None, "stderr: {}", ran.stderr);
        }
        let files = self.files();
        assert!(files.len() > 10, "{files:?}");
        for path in files {
            let bytes = std::fs::read(&path).unwrap_or_default();
            if let Some(form) = find_token(&bytes) {
                panic!("{path} holds {form}");
            }
            assert_eq!(find_token(path.as_str().as_bytes()), None, "{path}");
        }
    }

    /// Every file of the repository, the home and the temporary folder, links left out.
    fn files(&self) -> Vec<Utf8PathBuf> {
        let mut files = Vec::new();
        let mut waiting: Vec<Utf8PathBuf> =
            ["repo", "home", "tmp"].iter().map(|dir| self.folder.join(dir)).collect();
        while let Some(dir) = waiting.pop() {
            let entries = dir.read_dir_utf8();
            for entry in entries.into_iter().flatten().filter_map(Result::ok) {
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() => waiting.push(entry.path().to_owned()),
                    Ok(kind) if kind.is_file() => files.push(entry.path().to_owned()),
                    _ => {}
                }
            }
        }
        files
    }
}

/// The result of a scan of a test's processes.
pub struct ProcessScan {
    /// The number of command lines that were read.
    pub looks: usize,
    /// The command lines that held the token.
    pub leaks: Vec<String>,
}

/// Reads the command lines of all processes below `folder`, again and again, while `run` runs.
pub fn watching<T>(folder: &Utf8Path, run: impl FnOnce() -> T) -> (T, ProcessScan) {
    let (done, looks) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut leaks = Vec::new();
            while !done.load(Ordering::SeqCst) {
                for line in command_lines(folder) {
                    looks.fetch_add(1, Ordering::SeqCst);
                    if find_token(&line).is_some() {
                        leaks.push(String::from_utf8_lossy(&line).replace('\0', " "));
                    }
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            leaks
        });
        let value = run();
        done.store(true, Ordering::SeqCst);
        let leaks = watch.join().expect("the watch ends");
        (value, ProcessScan { looks: looks.load(Ordering::SeqCst), leaks })
    })
}

fn command_lines(folder: &Utf8Path) -> Vec<Vec<u8>> {
    let processes = std::fs::read_dir("/proc").expect("processes").filter_map(Result::ok);
    let ours = |path: &PathBuf| {
        std::fs::read_link(path.join("cwd")).is_ok_and(|cwd| cwd.starts_with(folder))
    };
    let processes = processes.map(|process| process.path()).filter(ours);
    processes.filter_map(|path| std::fs::read(path.join("cmdline")).ok()).collect()
}
