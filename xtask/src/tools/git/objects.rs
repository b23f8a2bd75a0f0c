//! What git keeps: the files of a commit and their contents, whatever the working tree holds.

use std::io::{Read as _, Write as _};
use std::process::Stdio;

use anyhow::{Context as _, Result, anyhow};
use camino::Utf8Path;

use super::{command, output, utf8_paths};

/// A file of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its path, relative to the folder that was asked about.
    pub path: String,
    /// Its mode, in octal digits.
    pub mode: String,
    /// The id of its content.
    pub id: String,
}

/// Every file of `commit` below `root`, sorted by the bytes of its path. Those whose paths are not UTF-8
/// are left out.
pub fn entries(root: &Utf8Path, commit: &str) -> Result<Vec<Entry>> {
    let listed = utf8_paths(output(root, &["ls-tree", "-r", "-z", commit])?);
    Ok(listed.split('\0').filter_map(entry).collect())
}

/// An entry as git lists it: mode, type, id, a tabulator, path.
fn entry(line: &str) -> Option<Entry> {
    let (meta, path) = line.split_once('\t')?;
    let (mode, rest) = meta.split_once(' ')?;
    let (_, id) = rest.split_once(' ')?;
    Some(Entry { path: path.to_owned(), mode: mode.to_owned(), id: id.to_owned() })
}

/// The contents of blobs, in the order of `ids`. What is not UTF-8 has replacement characters, which no
/// manifest can be read with.
pub fn contents(root: &Utf8Path, ids: &[&str]) -> Result<Vec<String>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut git = command(root);
    // A partial clone would fetch them one by one.
    git.env("GIT_NO_LAZY_FETCH", "1").args(["cat-file", "--batch", "--buffer"]);
    git.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = git.spawn().context("cannot run `git`")?;
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let mut answer = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            stdin.map(|mut stdin| stdin.write_all((ids.join("\n") + "\n").as_bytes()))
        });
        stdout.map_or(Ok(0), |mut stdout| stdout.read_to_end(&mut answer))
    })
    .context("`git cat-file`")?;
    child.wait().context("`git cat-file`")?;
    let mut rest = answer.as_slice();
    ids.iter()
        .map(|id| next(&mut rest).ok_or_else(|| anyhow!("git does not have {id} here")))
        .collect()
}

/// The next content of `git cat-file --batch`: its id, type and size in a line, then the content and
/// another end of line (<https://git-scm.com/docs/git-cat-file#_batch_output>).
fn next(rest: &mut &[u8]) -> Option<String> {
    let line = rest.iter().position(|byte| *byte == b'\n')?;
    let header = std::str::from_utf8(&rest[..line]).ok()?;
    let size: usize = header.rsplit_once(" ")?.1.parse().ok()?;
    let content = rest.get(line + 1..line + 1 + size)?;
    *rest = rest.get(line + size + 2..)?;
    Some(String::from_utf8_lossy(content).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_of_cat_file() {
        let mut rest = &b"1f blob 3\na\nb\n2f blob 0\n\n3f missing\n"[..];
        assert_eq!(next(&mut rest).as_deref(), Some("a\nb"));
        assert_eq!(next(&mut rest).as_deref(), Some(""));
        assert_eq!(next(&mut rest), None);
    }
}
