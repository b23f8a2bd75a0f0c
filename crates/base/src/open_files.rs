//! The number of files that a process may have open.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::error::{Result, refused};

/// The lowest limit with which a run works: tools, logs, locks and connections of a few projects at once.
const LEAST: u64 = 64;

/// The limit that a run takes if the system allows it. Some systems begin with 256.
const WANTED: u64 = 4096;

/// Raises the limit of open files. Errors if the limit stays too low for a run.
pub fn raise_limit() -> Result<()> {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return Ok(()) };
    let wanted = WANTED.min(hard);
    if soft >= wanted || setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).is_ok() {
        return check(soft.max(wanted));
    }
    check(soft)
}

fn check(limit: u64) -> Result<()> {
    if limit >= LEAST {
        return Ok(());
    }
    let text = format!("only {limit} files may be open at once, and a run needs at least {LEAST}");
    Err(refused(text).hint("nothing was changed; run `ulimit -n 1024`, then retry"))
}
