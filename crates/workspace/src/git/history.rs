//! Reads commits, and the files that differ between commits and the working tree.

use std::io::{BufRead as _, Write as _};
use std::process::Stdio;
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};

use super::{UNTRACKED, command, finish, is_repository, output, run, start, text, utf8_paths};
use base::error::{ErrorContext as _, Result};

/// The timeout of one fetch.
const FETCH_DEADLINE: Duration = Duration::from_secs(60);

/// Returns the full id of the commit `revision`. `None` if this clone does not have it.
pub fn commit(root: &Utf8Path, revision: &str) -> Result<Option<String>> {
    if revision.is_empty() || revision.starts_with('-') {
        return Ok(None);
    }
    first_line(root, &["rev-parse", "--verify", "--quiet", &format!("{revision}^{{commit}}")])
}

/// The merge base of two revisions.
pub struct Fork {
    /// The commit of the second revision.
    pub other: String,
    /// Their best common ancestor.
    pub base: String,
}

/// Returns in one call what [`commit`] and [`merge_base`] find. `None` if any of it is unknown.
pub fn fork(root: &Utf8Path, one: &str, other: &str) -> Result<Option<Fork>> {
    if [one, other].iter().any(|name| name.is_empty() || name.starts_with('-')) {
        return Ok(None);
    }
    let range = format!("{one}^{{commit}}...{other}^{{commit}}");
    // The output has the ends of the range, then the bases, each with a caret.
    let lines = output_lines(root, &["rev-parse", "--quiet", &range, "--"])?;
    let mut lines = lines.iter().map(String::as_str);
    let other = lines.next();
    let base = lines.nth(1).and_then(|line| line.strip_prefix('^'));
    Ok(other.zip(base).map(|(other, base)| Fork { other: other.into(), base: base.into() }))
}

/// Returns the best common ancestor of two commits. `None` if they have none, or if the shallow
/// history does not reach it.
pub fn merge_base(root: &Utf8Path, one: &str, other: &str) -> Result<Option<String>> {
    first_line(root, &["merge-base", one, other])
}

/// Returns the default branch and its commit: the remote's, else a local branch with a usual name.
/// `None` if this clone has neither.
pub fn default_branch(root: &Utf8Path, named: Option<&str>) -> Result<Option<(String, String)>> {
    let mut candidates: Vec<String> =
        named.iter().map(|name| format!("refs/remotes/origin/{name}")).collect();
    candidates.extend(
        ["remotes/origin/HEAD", "remotes/origin/main", "remotes/origin/master"]
            .into_iter()
            .chain(["heads/main", "heads/master"])
            .map(|name| format!("refs/{name}")),
    );
    let format = "--format=%(refname)%00%(objectname)";
    let arguments: Vec<&str> =
        ["for-each-ref", format].into_iter().chain(candidates.iter().map(String::as_str)).collect();
    let listed = text(root, &arguments)?;
    let refs: Vec<(&str, &str)> = listed.lines().filter_map(|l| l.split_once('\0')).collect();
    Ok(candidates.iter().find_map(|wanted| {
        let (name, id) = refs.iter().find(|(name, _)| name == wanted)?;
        let short = name.trim_start_matches("refs/remotes/").trim_start_matches("refs/heads/");
        Some((short.to_owned(), (*id).to_owned()))
    }))
}

/// Returns the files that differ between two commits. A rename is a deleted file and a new file.
pub fn changed_between(root: &Utf8Path, from: &str, to: &str) -> Result<Vec<Utf8PathBuf>> {
    let listed = output(
        root,
        &[
            // A millisecond faster than `diff-tree`, which reads the index.
            "diff",
            "-z",
            "--name-only",
            "--no-renames",
            "--no-ext-diff",
            "--ignore-submodules=none",
            "--relative",
            from,
            to,
            "--",
        ],
    )?;
    Ok(parts(&listed).map(path).collect())
}

/// Returns the files that differ from the commit that is checked out, including untracked files, files
/// that git skips, and submodules that contain any of these.
pub fn uncommitted_paths(root: &Utf8Path) -> Result<Vec<Utf8PathBuf>> {
    // Two processes in parallel take less time than one that does both.
    let all = start(root, &[&["ls-files", "-z", "-v", "--cached"], &UNTRACKED[..]].concat())?;
    let status = ["status", "--porcelain=v2", "-z", "--no-renames", "--untracked-files=no"];
    let listed = output(root, &[&status[..], &["--ignore-submodules=none"]].concat())?;
    // Paths are relative to the top of git's tree, which may lie above `root`.
    let prefix = match is_repository(root) {
        true => String::new(),
        false => text(root, &["rev-parse", "--show-prefix"])?.trim_end_matches('\n').to_owned(),
    };
    let paths = parts(&listed).filter_map(|entry| path_of(entry).map(path));
    let inside = |path: Utf8PathBuf| path.strip_prefix(&prefix).ok().map(Utf8Path::to_owned);
    let mut found: Vec<Utf8PathBuf> = paths.filter_map(inside).collect();
    let all = finish(all, "ls-files")?;
    let mut hidden = Vec::new();
    for_each_unusual(&all, |tag, entry| match tag {
        b'?' => found.push(path(entry)),
        _ => hidden.push(path(entry)),
    });
    found.extend(hidden_edits(root, &hidden)?);
    for submodule in submodules(root) {
        let inner = root.join(&submodule);
        let listed = output(&inner, &["ls-files", "-z", "-v", "--cached"])?;
        let mut hidden = Vec::new();
        for_each_unusual(&listed, |_, entry| hidden.push(path(entry)));
        if !hidden_edits(&inner, &hidden)?.is_empty() {
            found.push(submodule);
        }
    }
    Ok(found)
}

/// Calls `visit` for each entry of `git ls-files -v`, except for normal tracked files, whose letter is `H`.
fn for_each_unusual(mut listed: &[u8], mut visit: impl FnMut(u8, &[u8])) {
    let mut entry = Vec::new();
    // The standard library's search is fast in a development build too.
    while listed.read_until(0, &mut entry).is_ok_and(|read| read > 0) {
        if let [tag, b' ', path @ .., 0] = entry.as_slice()
            && *tag != b'H'
        {
            visit(*tag, path);
        }
        entry.clear();
    }
}

/// Returns the submodules that have a checkout.
fn submodules(root: &Utf8Path) -> Vec<Utf8PathBuf> {
    if !root.join(".gitmodules").is_file() {
        return Vec::new();
    }
    let arguments =
        ["config", "-z", "--file", ".gitmodules", "--get-regexp", r"^submodule\..*\.path$"];
    let listed = output(root, &arguments).map(utf8_paths).unwrap_or_default();
    let paths = listed.split('\0').filter_map(|entry| entry.split_once('\n'));
    let paths = paths.map(|(_, path)| Utf8PathBuf::from(path));
    paths.filter(|path| is_repository(&root.join(path))).collect()
}

/// Returns the files that git skips and whose content changed. Missing files outside of the sparse
/// checkout are not included.
fn hidden_edits(root: &Utf8Path, hidden: &[Utf8PathBuf]) -> Result<Vec<Utf8PathBuf>> {
    if hidden.is_empty() {
        return Ok(Vec::new());
    }
    let is_sparse = super::is_sparse(root);
    let (there, gone): (Vec<&Utf8PathBuf>, Vec<&Utf8PathBuf>) =
        hidden.iter().partition(|path| root.join(path).symlink_metadata().is_ok());
    let mut found = Vec::new();
    if !is_sparse {
        found.extend(gone.into_iter().cloned());
    }
    if there.is_empty() {
        return Ok(found);
    }
    let paths: Vec<&Utf8Path> = there.iter().map(|path| path.as_path()).collect();
    let contents = super::contents(root, &paths, None)?;
    let arguments: Vec<&str> = ["ls-files", "-z", "--stage", "--"]
        .into_iter()
        .chain(paths.iter().map(|path| path.as_str()))
        .collect();
    for entry in utf8_paths(output(root, &arguments)?).split('\0') {
        let Some((meta, path)) = entry.split_once('\t') else { continue };
        let blob = contents.blobs.get(Utf8Path::new(path));
        let same =
            blob.is_some_and(|blob| meta.starts_with(&format!("{} {} ", blob.mode, blob.id)));
        if !same {
            found.push(path.into());
        }
    }
    Ok(found)
}

/// Splits git's NUL-separated output.
fn parts(listed: &[u8]) -> impl Iterator<Item = &[u8]> {
    listed.split(|byte| *byte == 0).filter(|part| !part.is_empty())
}

/// Returns the path of one entry of `git status --porcelain=v2 -z`
/// (<https://git-scm.com/docs/git-status#_porcelain_format_version_2>).
fn path_of(entry: &[u8]) -> Option<&[u8]> {
    let fields = match entry.first()? {
        b'1' => 8,
        b'u' => 10,
        _ => return None,
    };
    entry.splitn(fields + 1, |byte| *byte == b' ').nth(fields)
}

/// Returns a path as text. Bytes that are not UTF-8 are replaced. The folders above them stay
/// correct, and those determine the affected projects.
fn path(bytes: &[u8]) -> Utf8PathBuf {
    String::from_utf8_lossy(bytes).into_owned().into()
}

/// Fetches one commit without its history from `origin`. Returns true if this clone has it now.
pub fn fetch_commit(root: &Utf8Path, id: &str) -> Result<bool> {
    fetch(root, &["--depth=1", "origin", id], &[])?;
    Ok(commit(root, id)?.is_some())
}

/// Fetches missing objects of a partial clone from its promisor remote in one request, as git does
/// before a checkout. Does nothing if there is no such remote.
pub fn fetch_promised(root: &Utf8Path, ids: &[&str]) -> Result<()> {
    let promises = ["config", "--name-only", "--get-regexp", r"^remote\..*\.promisor$"];
    let setting = first_line(root, &promises)?;
    let remote = setting.as_deref().and_then(|name| {
        name.strip_prefix("remote.").and_then(|name| name.strip_suffix(".promisor"))
    });
    match remote {
        Some(remote) => {
            fetch(root, &["--recurse-submodules=no", "--filter=blob:none", "--stdin", remote], ids)
        }
        None => Ok(()),
    }
}

/// Fetches from the remote. Git's messages are not shown, because they may contain a URL with a
/// token.
fn fetch(root: &Utf8Path, arguments: &[&str], ids: &[&str]) -> Result<()> {
    let mut git = command(root);
    git.args(["-c", "fetch.negotiationAlgorithm=noop", "fetch", "--quiet", "--no-tags"]);
    git.arg("--no-write-fetch-head").args(arguments).stdin(Stdio::piped());
    let mut child =
        git.stdout(Stdio::null()).stderr(Stdio::null()).spawn().context("`git fetch`")?;
    if let Some(mut stdin) = child.stdin.take() {
        // A fetch that failed early has not read all of its input.
        let _ended = stdin.write_all(ids.join("\n").as_bytes());
    }
    let begun = Instant::now();
    while child.try_wait().context("`git fetch`")?.is_none() {
        if begun.elapsed() > FETCH_DEADLINE {
            child.kill().and_then(|()| child.wait()).context("`git fetch`")?;
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Returns the first line of git's output. `None` if git exits with a code other than 0.
fn first_line(root: &Utf8Path, arguments: &[&str]) -> Result<Option<String>> {
    Ok(output_lines(root, arguments)?.into_iter().next())
}

/// Returns the lines of git's output. Empty if git exits with a code other than 0.
fn output_lines(root: &Utf8Path, arguments: &[&str]) -> Result<Vec<String>> {
    let output = run(command(root).args(arguments))?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().filter(|_| output.status.success()).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_git_status() {
        for (entry, expected) in [
            (&b"1 .M N... 100644 100644 100644 aa bb dir/a b"[..], Some(&b"dir/a b"[..])),
            (b"u UU N... 1 2 3 4 aa bb cc both", Some(b"both")),
            (b"1 A. N... 0 1 2 aa bb new\nline", Some(b"new\nline")),
            (b"# branch.oid aa", None),
            (b"! ignored", None),
        ] {
            assert_eq!(path_of(entry), expected);
        }
    }
}
