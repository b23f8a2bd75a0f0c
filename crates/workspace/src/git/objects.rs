//! Reads the files of a commit and their contents from git's objects, independent of the working
//! tree.

use std::io::{Read as _, Write as _};
use std::process::Stdio;

use camino::Utf8Path;

use super::history::fetch_promised;
use super::{command, output, spawn, utf8_paths};
use base::error::{ErrorContext as _, Result, refused};

/// A file of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitFile {
    /// Its path, relative to the requested folder.
    pub path: String,
    /// Its mode, in octal digits.
    pub mode: String,
    /// The id of its content.
    pub id: String,
}

/// Returns every file of `commit` below `root`, sorted by the bytes of its path. Files whose paths are
/// not UTF-8 are left out.
pub fn entries(root: &Utf8Path, commit: &str) -> Result<Vec<CommitFile>> {
    let listed = utf8_paths(output(root, &["ls-tree", "-r", "-z", commit])?);
    Ok(listed.split('\0').filter_map(entry).collect())
}

/// Parses an entry of `git ls-tree`: mode, type, id, a tab, path.
fn entry(line: &str) -> Option<CommitFile> {
    let (meta, path) = line.split_once('\t')?;
    let (mode, rest) = meta.split_once(' ')?;
    let (_, id) = rest.split_once(' ')?;
    Some(CommitFile { path: path.to_owned(), mode: mode.to_owned(), id: id.to_owned() })
}

/// Returns the contents of blobs, in the order of `ids`. Missing objects of a partial clone are fetched in one
/// request.
pub fn contents(root: &Utf8Path, ids: &[&str]) -> Result<Vec<Vec<u8>>> {
    let mut found = local(root, ids)?;
    let missing = |found: &[Option<Vec<u8>>]| {
        let missing = ids.iter().zip(found).filter(|(_, content)| content.is_none());
        missing.map(|(id, _)| *id).collect::<Vec<_>>()
    };
    if found.iter().any(Option::is_none) {
        fetch_promised(root, &missing(&found))?;
        found = local(root, ids)?;
    }
    match missing(&found).as_slice() {
        [] => Ok(found.into_iter().flatten().collect()),
        [id, ..] => Err(refused(format!("git does not have the object {id} here"))
            .hint("run `git fetch` to see whether the remote answers, and `git fsck` to see what is damaged")),
    }
}

/// Returns the contents that this clone has.
fn local(root: &Utf8Path, ids: &[&str]) -> Result<Vec<Option<Vec<u8>>>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut git = command(root);
    // A partial clone would fetch them one by one.
    git.env("GIT_NO_LAZY_FETCH", "1").args(["cat-file", "--batch", "--buffer"]);
    git.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = spawn(&mut git)?;
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let mut output = Vec::new();
    std::thread::scope(|scope| {
        let input = ids.join("\n") + "\n";
        scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(input.as_bytes())));
        stdout.map_or(Ok(0), |mut stdout| stdout.read_to_end(&mut output))
    })
    .context("`git cat-file`")?;
    child.wait().context("`git cat-file`")?;
    let mut rest = output.as_slice();
    // It ends at the first that was promised and is not here (observed with git 2.39).
    Ok(ids
        .iter()
        .map(|_| match CatFileEntry::parse(&mut rest) {
            CatFileEntry::Content(content) => Some(content),
            CatFileEntry::Missing | CatFileEntry::End => None,
        })
        .collect())
}

/// An entry of the output of `git cat-file --batch`.
#[derive(Debug, PartialEq, Eq)]
enum CatFileEntry {
    /// The content of an object.
    Content(Vec<u8>),
    /// The object is not here.
    Missing,
    /// The output ended.
    End,
}

impl CatFileEntry {
    /// Takes the next entry from the output: id, type and size in a line, then the content and another end of line
    /// (<https://git-scm.com/docs/git-cat-file#_batch_output>).
    fn parse(rest: &mut &[u8]) -> CatFileEntry {
        let all = *rest;
        let header = || {
            let line = all.iter().position(|byte| *byte == b'\n')?;
            let (_, size) = std::str::from_utf8(&all[..line]).ok()?.rsplit_once(' ')?;
            Some((line + 1, size))
        };
        let Some((start, size)) = header() else { return CatFileEntry::End };
        if size == "missing" {
            *rest = &all[start..];
            return CatFileEntry::Missing;
        }
        let end = size.parse::<usize>().ok().and_then(|size| start.checked_add(size));
        let content = end.and_then(|end| Some((all.get(start..end)?, all.get(end + 1..)?)));
        let Some((content, after)) = content else { return CatFileEntry::End };
        *rest = after;
        CatFileEntry::Content(content.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_the_output_of_cat_file() {
        let mut rest = &b"1f blob 3\na\nb\n3f missing\n2f blob 0\n\n3f blob 9\ncut"[..];
        let mut next = || CatFileEntry::parse(&mut rest);
        assert_eq!(next(), CatFileEntry::Content(b"a\nb".to_vec()));
        assert_eq!(next(), CatFileEntry::Missing);
        assert_eq!(next(), CatFileEntry::Content(Vec::new()));
        assert_eq!(next(), CatFileEntry::End);
    }
}
