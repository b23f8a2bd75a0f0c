//! Ends the programs of tests that were stopped: the values that end them are not dropped if a signal ends the tests.

use std::io::PipeWriter;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

/// Waits until its input closes, which no signal can prevent. Then it ends the processes whose folder or arguments
/// are below `$1$2`, where `$1` is the folder of tests and `$2` the mark of this run. A program that was about to start is
/// found by the second look, and one that does not end by itself is killed by the last.
const SCRIPT: &str = r#"
cat > /dev/null
find_processes() {
    if [ -d /proc/self ]; then
        for process in /proc/[0-9]*; do
            id=${process#/proc/}
            [ "$id" = $$ ] && continue
            { text=$(readlink "$process/cwd"; tr '\0' ' ' < "$process/cmdline"); } 2> /dev/null
            case "$text" in *"$1"*"$2"*) echo "$id" ;; esac
        done
    else
        pgrep -f "$1.*$2" | grep -vx $$
    fi
}
for signal in TERM TERM KILL; do
    found=$(find_processes "$1" "$2")
    [ -n "$found" ] && kill -s $signal $found 2> /dev/null
    [ -z "$found" ] && [ $signal = KILL ] && exit
    sleep 2
done
"#;

/// Returns a process that ends the processes below `folder` with `mark` in their path once the writer is closed.
pub fn start(folder: &str, mark: &str) -> (Child, PipeWriter) {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let mut command = Command::new("sh");
    // Ctrl-C ends the process group of the tests, and this process has to outlive it.
    command.args(["-c", SCRIPT, "reaper", folder, mark]).process_group(0);
    command.stdin(reader).stdout(Stdio::null()).stderr(Stdio::null());
    (command.spawn().expect("sh runs"), writer)
}

/// Ends the processes of this program's tests once it has ended. Their folders are called `<name>-<process id>-<number>`.
pub fn watch() {
    static WRITER: OnceLock<PipeWriter> = OnceLock::new();
    WRITER
        .get_or_init(|| start(env!("CARGO_TARGET_TMPDIR"), &format!("-{}-", std::process::id())).1);
}
