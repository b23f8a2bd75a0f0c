//! Searches the repository's code.

use camino::{Utf8Path, Utf8PathBuf};

use super::{command, output_of, run, settings, utf8_paths};
use base::error::Result;

/// The extensions of files that import others.
const CODE: [&str; 15] = [
    "ts", "tsx", "mts", "cts", "js", "jsx", "mjs", "cjs", "vue", "svelte", "astro", "mdx", "css",
    "scss", "less",
];

/// Tells whether the file at `path` can import others.
#[must_use]
pub fn is_code(path: &str) -> bool {
    path.rsplit_once('.').is_some_and(|(_, extension)| CODE.contains(&extension))
}

/// Returns whether `root` is a partial clone.
#[must_use]
pub fn is_partial(root: &Utf8Path) -> bool {
    !settings(root, r"^remote\..*\.promisor$").is_empty()
}

/// Returns what matches an extended regular expression in the code of `commit`, or of the working tree with the files
/// that git would track. Each match comes with its file.
pub fn grep(
    root: &Utf8Path,
    commit: Option<&str>,
    pattern: &str,
) -> Result<Vec<(Utf8PathBuf, String)>> {
    let mut git = command(root);
    git.args(["-c", "grep.fullName=false", "-c", "submodule.recurse=false", "grep"]);
    git.args(["-I", "-z", "-H", "--only-matching", "--no-line-number", "--no-column", "-E"]);
    git.args(["-e", pattern]);
    git.args(if commit.is_none() { &["--untracked"][..] } else { &[] }).args(commit).arg("--");
    git.args(CODE.map(|extension| format!("*.{extension}"))).arg(":(exclude)*node_modules/*");
    let output = run(&mut git)?;
    // Exit code 1 means that nothing matches.
    if output.status.code() == Some(1) && output.stderr.is_empty() {
        return Ok(Vec::new());
    }
    let lines = utf8_paths(output_of(output, "grep")?);
    let parse = |line: &str| {
        let (path, text) = line.split_once('\0')?;
        let path = match commit {
            Some(commit) => path.strip_prefix(commit)?.strip_prefix(':')?,
            None => path,
        };
        Some((Utf8PathBuf::from(path), text.to_owned()))
    };
    Ok(lines.lines().filter_map(parse).collect())
}
