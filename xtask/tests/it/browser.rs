//! A real Chromium for tests.

use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

use camino::Utf8PathBuf;
use serde_json::Value;

use crate::support::repository;

/// Bun in the folder of the browser's scripts, whose dependencies are there.
pub fn bun(arguments: &[&str]) -> Command {
    static INSTALLED: OnceLock<Utf8PathBuf> = OnceLock::new();
    let bun = std::env::var("XTASK_BUN").expect("XTASK_BUN is set by `cargo xtask test`");
    let command = |arguments: &[&str], dir: &Utf8PathBuf| {
        let mut command = Command::new(&bun);
        command.current_dir(dir).args(arguments);
        command
    };
    // Once, because tests run in parallel. The first one unpacks the browser.
    let dir = INSTALLED.get_or_init(|| {
        let dir = repository().join("xtask/tests/browser");
        let unpack = "import chromium from '@sparticuz/chromium'; await chromium.executablePath()";
        for arguments in
            [&["install", "--frozen-lockfile", "--ignore-scripts"][..], &["-e", unpack][..]]
        {
            let output = command(arguments, &dir).output().expect("bun runs");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        dir
    });
    command(arguments, dir)
}

/// A browser that stays open between looks.
pub struct Browser {
    child: Child,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Browser {
    pub fn open() -> Browser {
        let mut child = bun(&["look.ts"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("bun runs");
        let answers = BufReader::new(child.stdout.take().expect("stdout")).lines();
        Browser { child, answers }
    }

    /// Opens a page: `url`, the `text` that must appear in the `part` (a selector), and the
    /// file for a `picture` of it. With `phone`, the response lists the links of the part that a phone does not show.
    pub fn look(&mut self, look: &Value) -> Value {
        let mut stdin = self.child.stdin.as_ref().expect("stdin");
        writeln!(stdin, "{look}").expect("the browser runs");
        let answer = self.answers.next().unwrap_or_else(|| panic!("{look}: the browser ended"));
        serde_json::from_str(&answer.expect("text")).expect("JSON")
    }
}

impl Drop for Browser {
    /// Without further lines the script closes the browser and ends.
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let ended = self.child.wait().expect("it ends");
        assert!(ended.success() || std::thread::panicking(), "{ended}");
    }
}
