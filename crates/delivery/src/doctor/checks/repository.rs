//! Checks the checkout.

use crate::doctor::context::Context;
use crate::doctor::finding::Finding;
use base::cmd;
use base::probe;
use deployment::tools::program::which;
use workspace::git;

/// With less free space, in MiB, an install or a build may fail.
const LEAST_MIB: u64 = 1024;

/// `git.repository`
pub fn repository(context: &Context) -> Finding {
    if which("git").is_none() {
        return Finding::skip("needs git; see `git`");
    }
    match git::is_shallow(&context.root) {
        Ok(false) => Finding::ok().source(context.root.as_str()),
        Ok(true) => Finding::warn("its history was cut off when it was cloned: what changed since another commit cannot be told")
            .source(context.root.as_str())
            .manual_fix("`git fetch --unshallow`; in a pipeline: `GIT_DEPTH: 0`"),
        Err(error) if error.to_string().contains("not a git repository") => {
            Finding::fail(format!("{} is in no git repository", context.root))
                .manual_fix("clone the repository instead of copying its files, or `git init`")
        }
        Err(error) => Finding::from(&error).source(context.root.as_str()),
    }
}

/// `disk`
pub fn disk(context: &Context) -> Finding {
    let root = &context.root;
    let output = which("df")
        .and_then(|df| probe::capture_stdout(&cmd!(root, "{df} -Pk {root}", probe::QUICK)));
    let Some(mib) = output.as_deref().and_then(free_mib) else {
        return Finding::skip("`df` does not say how much is free");
    };
    let found = if mib < 10 * 1024 {
        format!("{mib} MiB free")
    } else {
        format!("{} GiB free", mib / 1024)
    };
    let finding = if mib < LEAST_MIB {
        Finding::warn("an install or a build may not fit")
            .with_expected(format!("{LEAST_MIB} MiB free"))
            .manual_fix("make room; `cargo clean` and `.xtask/logs` are candidates")
    } else {
        Finding::ok()
    };
    finding.with_value(found).source("df")
}

/// Parses the fourth column of the last line of `df -Pk`, in MiB.
fn free_mib(text: &str) -> Option<u64> {
    let columns: Vec<&str> = text.lines().last()?.split_whitespace().collect();
    Some(columns.get(3)?.parse::<u64>().ok()? / 1024)
}

#[cfg(test)]
mod tests {
    use super::free_mib;

    #[test]
    fn reads_the_free_space_of_df() {
        let text = "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/vda1 100000 1 20480 1% /";
        assert_eq!(free_mib(text), Some(20));
        assert_eq!(free_mib("df: no such file"), None);
    }
}
