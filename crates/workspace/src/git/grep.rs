//! Searches the repository's code.

use std::os::unix::fs::MetadataExt as _;

use camino::{Utf8Path, Utf8PathBuf};
use ring::digest::{Context, SHA256};

use super::{FileList, command, output_of, run, settings, utf8_paths, with_names};
use crate::files::key::hex;
use crate::files::text_cache::TextCache;
use base::error::Result;

/// The extensions of files that import others.
const CODE: [&str; 17] = [
    "ts", "tsx", "mts", "cts", "js", "jsx", "mjs", "cjs", "vue", "svelte", "astro", "mdx", "css",
    "scss", "sass", "less", "rs",
];

/// The cached results of searches in the code of a working tree. Each pattern is searched again when the code has changed.
const SEARCHES: TextCache = TextCache { folder: ".xtask/imports", max: 8 };

/// A text that a search found, and the file that holds it.
pub type FoundText = (Utf8PathBuf, String);

/// Returns true if the file at `path` can import others.
#[must_use]
pub fn is_code(path: &str) -> bool {
    path.rsplit_once('.').is_some_and(|(_, extension)| CODE.contains(&extension))
}

/// Returns true if `root` is a partial clone.
#[must_use]
pub fn is_partial(root: &Utf8Path) -> bool {
    !settings(root, r"^remote\..*\.promisor$").is_empty()
}

/// Returns what matches an extended regular expression in the code of `commit`, or of the working tree with the files
/// that git would track.
pub fn grep(root: &Utf8Path, commit: Option<&str>, pattern: &str) -> Result<Vec<FoundText>> {
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

/// Searches the code of the working tree as [`grep`] does. If its files are `listed` and no code has changed since the last
/// search, the result is from the cache. A new result is written to it if `caches` is true.
pub fn grep_working_tree(
    root: &Utf8Path,
    pattern: &str,
    listed: Option<&FileList>,
    caches: bool,
) -> Result<Vec<FoundText>> {
    let Some(listed) = listed else { return grep(root, None, pattern) };
    let Some(key) = code_state(root, pattern, listed) else { return Ok(Vec::new()) };
    if let Some(text) = SEARCHES.get(root, &key) {
        let found = text.lines().filter_map(|line| line.split_once('\0'));
        return Ok(found.map(|(path, text)| (path.into(), text.to_owned())).collect());
    }
    let found = grep(root, None, pattern)?;
    if caches {
        let lines = found.iter().map(|(path, text)| format!("{path}\0{text}"));
        SEARCHES.put(root, &key, &lines.collect::<Vec<_>>().join("\n"));
    }
    Ok(found)
}

/// Returns a digest of the pattern and of the names, sizes and times of the files with code. `None` if there are no such
/// files.
fn code_state(root: &Utf8Path, pattern: &str, listed: &FileList) -> Option<String> {
    let untracked = with_names(listed.untracked.split('\0'), is_code);
    let mut code = listed.tracked_files(is_code).chain(untracked).peekable();
    code.peek()?;
    let mut state = Context::new(&SHA256);
    state.update(pattern.as_bytes());
    for path in code {
        let stamp = match root.join(path).symlink_metadata() {
            Ok(file) => format!(
                "{path}\n{} {} {}.{} {}.{}\n",
                file.ino(),
                file.len(),
                file.mtime(),
                file.mtime_nsec(),
                file.ctime(),
                file.ctime_nsec()
            ),
            Err(_) => format!("{path}\n"),
        };
        state.update(stamp.as_bytes());
    }
    Some(hex(state.finish().as_ref()))
}
