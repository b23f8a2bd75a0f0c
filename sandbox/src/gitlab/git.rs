//! Reads the git repository of the projects, through the program `git`.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use camino::{Utf8Path, Utf8PathBuf};

/// The tree without files, which exists in every repository.
const EMPTY_TREE: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

/// The fields of a commit in the format of `git log`. Each ends with a NUL.
const COMMIT_FORMAT: &str = "--format=tformat:%H%x00%P%x00%an%x00%ae%x00%aI%x00%cn%x00%ce%x00%cI%x00%(trailers:only,unfold)%x00%B";

/// The number of fields in [`COMMIT_FORMAT`].
const COMMIT_FIELDS: usize = 10;

/// A local git repository.
#[derive(Clone, Debug)]
pub struct GitRepository {
    dir: Utf8PathBuf,
}

/// A commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitCommit {
    /// The hash.
    pub id: String,
    /// The hashes of its parents.
    pub parents: Vec<String>,
    /// The name, address and time of the author.
    pub author: [String; 3],
    /// The name, address and time of the committer.
    pub committer: [String; 3],
    /// The trailers of the message, in their order.
    pub trailers: Vec<(String, String)>,
    /// The message.
    pub message: String,
}

/// The change of a file between two commits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileDiff {
    /// `A`, `D`, `M`, `R`, `C` or `T`, as in the output of `git diff --raw`.
    pub status: char,
    /// The modes before and after, such as `100644`. `0` if the file does not exist.
    pub modes: [String; 2],
    /// The paths before and after.
    pub paths: [String; 2],
    /// The hunks, or git's sentence about a binary file.
    pub text: String,
}

/// A file of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitFile {
    /// The hash of its content.
    pub blob: String,
    /// `true` if it is executable.
    pub is_executable: bool,
    /// Its content.
    pub content: Vec<u8>,
}

/// The branches and tags of a repository at one moment.
#[derive(Clone, Debug, Default)]
pub struct GitRefs {
    /// The commits of branches. A local branch takes precedence over the one of `origin`.
    pub branches: BTreeMap<String, String>,
    tags: BTreeMap<String, String>,
    /// The name of the default branch.
    pub default_branch: String,
}

impl GitRepository {
    /// Opens the repository that contains `dir`. `None` if `dir` is missing or empty. Errors if it is not in a
    /// repository.
    pub fn open(dir: Option<&Utf8Path>) -> Result<Option<GitRepository>> {
        let Some(dir) = dir.filter(|dir| !dir.as_str().is_empty()) else { return Ok(None) };
        let repository = GitRepository { dir: dir.to_owned() };
        let output = repository.run(&["rev-parse", "--git-dir"])?;
        output.with_context(|| format!("`{dir}` is not in a git repository"))?;
        Ok(Some(repository))
    }

    /// Returns the folder of the repository.
    #[must_use]
    pub fn dir(&self) -> &Utf8Path {
        &self.dir
    }

    /// Runs git and returns its output. `None` if git fails.
    fn run(&self, arguments: &[&str]) -> Result<Option<Vec<u8>>> {
        let mut command = Command::new("git");
        command.args(["-C", self.dir.as_str(), "--no-pager"]).args(arguments);
        // A git hook sets these for its own repository.
        for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"] {
            command.env_remove(name);
        }
        command.env("GIT_OPTIONAL_LOCKS", "0").env("GIT_NO_REPLACE_OBJECTS", "1");
        command.stdin(Stdio::null());
        let output = match tokio::runtime::Handle::try_current() {
            Ok(_) => tokio::task::block_in_place(|| command.output()),
            Err(_) => command.output(),
        };
        let output = output.context("cannot run git")?;
        if output.status.success() {
            return Ok(Some(output.stdout));
        }
        let message = String::from_utf8_lossy(&output.stderr);
        if !message.trim().is_empty() {
            crate::log::line(&format!("git {}: {}", arguments[0], message.trim()));
        }
        Ok(None)
    }

    /// Runs git and returns its output as text. Errors if git fails.
    fn text(&self, arguments: &[&str]) -> Result<String> {
        match self.run(arguments)? {
            Some(output) => Ok(String::from_utf8_lossy(&output).into_owned()),
            None => bail!("git {} failed in {}", arguments[0], self.dir),
        }
    }

    /// Reads the branches and tags.
    pub fn refs(&self) -> Result<GitRefs> {
        let format = "--format=%(refname)%00%(objectname)%00%(*objectname)";
        let prefixes = ["refs/remotes/origin/", "refs/heads/", "refs/tags/"];
        let text = self.text(&[&["for-each-ref", format][..], &prefixes].concat())?;
        let mut refs = GitRefs::default();
        let mut local = BTreeMap::new();
        for line in text.lines() {
            let mut fields = line.split('\0');
            let (name, id) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
            // An annotated tag is a separate object. This is its commit.
            let peeled = fields.next().filter(|peeled| !peeled.is_empty());
            let id = peeled.unwrap_or(id).to_owned();
            if let Some(name) = name.strip_prefix(prefixes[0]).filter(|name| *name != "HEAD") {
                refs.branches.insert(name.to_owned(), id);
            } else if let Some(name) = name.strip_prefix(prefixes[1]) {
                local.insert(name.to_owned(), id);
            } else if let Some(name) = name.strip_prefix(prefixes[2]) {
                refs.tags.insert(name.to_owned(), id);
            }
        }
        refs.branches.extend(local);
        refs.default_branch = self.default_branch(&refs)?;
        Ok(refs)
    }

    fn default_branch(&self, refs: &GitRefs) -> Result<String> {
        let read = |name: &str| self.run(&["symbolic-ref", "--quiet", "--short", name]);
        let text = |output: Vec<u8>| String::from_utf8_lossy(&output).trim().to_owned();
        if let Some(name) = read("refs/remotes/origin/HEAD")?.map(text) {
            return Ok(name.strip_prefix("origin/").unwrap_or(&name).to_owned());
        }
        if let Some(name) =
            ["main", "master"].into_iter().find(|name| refs.branches.contains_key(*name))
        {
            return Ok(name.to_owned());
        }
        Ok(read("HEAD")?.map_or_else(|| "main".to_owned(), text))
    }

    /// Returns the commit of a branch, a tag, a hash or `HEAD`, which means the default branch. `None` if there
    /// is none.
    pub fn resolve(&self, refs: &GitRefs, name: &str) -> Result<Option<String>> {
        let name = if name == "HEAD" { &refs.default_branch } else { name };
        let short =
            ["refs/heads/", "refs/tags/"].iter().find_map(|prefix| name.strip_prefix(prefix));
        let name = short.unwrap_or(name);
        if let Some(id) = refs.branches.get(name).or_else(|| refs.tags.get(name)) {
            return Ok(Some(id.clone()));
        }
        if !(4..=40).contains(&name.len()) || !name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(None);
        }
        let output =
            self.run(&["rev-parse", "--verify", "--quiet", &format!("{name}^{{commit}}")])?;
        Ok(output.map(|output| String::from_utf8_lossy(&output).trim().to_owned()))
    }

    /// Returns the newest common ancestor of two commits. `None` if they have none.
    pub fn merge_base(&self, a: &str, b: &str) -> Result<Option<String>> {
        let output = self.run(&["merge-base", a, b])?;
        Ok(output.map(|output| String::from_utf8_lossy(&output).trim().to_owned()))
    }

    /// Returns whether `old` is `new` or one of its ancestors.
    pub fn is_ancestor(&self, old: &str, new: &str) -> Result<bool> {
        Ok(self.run(&["merge-base", "--is-ancestor", old, new])?.is_some())
    }

    /// Lists the commits of `to` that are not in `from`, newest first.
    pub fn commits(&self, from: &str, to: &str) -> Result<Vec<GitCommit>> {
        let range = format!("{from}..{to}");
        Ok(parse_commits(&self.text(&["log", "-z", COMMIT_FORMAT, &range, "--"])?))
    }

    /// Counts the commits of `to` that are not in `from`.
    pub fn count(&self, from: &str, to: &str) -> Result<u64> {
        let text = self.text(&["rev-list", "--count", &format!("{from}..{to}"), "--"])?;
        text.trim().parse().context("git rev-list printed no number")
    }

    /// Returns a commit.
    pub fn commit(&self, id: &str) -> Result<GitCommit> {
        let text = self.text(&["log", "-z", "--max-count=1", COMMIT_FORMAT, id, "--"])?;
        parse_commits(&text).into_iter().next().context("git log printed no commit")
    }

    /// Returns the newest commit that changed `path`, among `id` and its ancestors.
    pub fn last_change(&self, id: &str, path: &str) -> Result<Option<String>> {
        let path = format!(":(literal,top){path}");
        let text = self.text(&["log", "--max-count=1", "--format=%H", id, "--", &path])?;
        Ok(Some(text.trim().to_owned()).filter(|id| !id.is_empty()))
    }

    /// Returns the changes between two commits.
    pub fn diff(&self, from: &str, to: &str) -> Result<Vec<FileDiff>> {
        let options = [
            "diff-tree",
            "-r",
            "-z",
            "--patch-with-raw",
            "--full-index",
            "--find-renames",
            "--no-ext-diff",
            "--no-textconv",
            "--no-color",
            "--src-prefix=a/",
            "--dst-prefix=b/",
        ];
        let text = self.text(&[&options[..], &[from, to, "--"]].concat())?;
        parse_diff(&text)
    }

    /// Returns the changes of a commit, compared with its first parent.
    pub fn changes(&self, commit: &GitCommit) -> Result<Vec<FileDiff>> {
        self.diff(commit.parents.first().map_or(EMPTY_TREE, String::as_str), &commit.id)
    }

    /// Returns a file of a commit. `None` if the path is missing or a folder.
    pub fn file(&self, commit: &str, path: &str) -> Result<Option<GitFile>> {
        if path.contains('\0') {
            return Ok(None);
        }
        let literal = format!(":(literal,top){path}");
        // git fails for a path outside of the repository.
        let output = self.run(&["ls-tree", "-z", "--full-tree", commit, "--", &literal])?;
        let text = String::from_utf8(output.unwrap_or_default()).unwrap_or_default();
        let entry = text.trim_end_matches('\0').split_once('\t');
        let Some((fields, _)) = entry.filter(|(_, name)| *name == path) else { return Ok(None) };
        let [mode, "blob", blob] = fields.split(' ').collect::<Vec<_>>()[..] else {
            return Ok(None);
        };
        let content = self.run(&["cat-file", "blob", blob])?;
        let content = content.with_context(|| format!("cannot read the blob {blob}"))?;
        Ok(Some(GitFile { blob: blob.to_owned(), is_executable: mode == "100755", content }))
    }
}

fn parse_commits(text: &str) -> Vec<GitCommit> {
    let fields: Vec<&str> = text.split('\0').collect();
    let commits = fields.chunks_exact(COMMIT_FIELDS).map(|fields| {
        let text = |index: usize| fields[index].to_owned();
        let trailers = fields[8].lines().filter_map(|line| line.split_once(": "));
        GitCommit {
            id: text(0).trim().to_owned(),
            parents: fields[1].split(' ').filter(|id| !id.is_empty()).map(str::to_owned).collect(),
            author: [text(2), text(3), time(fields[4])],
            committer: [text(5), text(6), time(fields[7])],
            trailers: trailers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            message: text(9),
        }
    });
    commits.collect()
}

/// Converts a time of git to GitLab's format, which has milliseconds and an offset.
fn time(text: &str) -> String {
    let text = text.replace('Z', "+00:00");
    match text.len().checked_sub(6).and_then(|at| text.split_at_checked(at)) {
        Some((time, offset)) => format!("{time}.000{offset}"),
        None => text,
    }
}

/// Parses the raw entries and the patch of `git diff-tree -z --patch-with-raw`.
fn parse_diff(text: &str) -> Result<Vec<FileDiff>> {
    // The patch follows an empty field.
    let (raw, patch) = text.split_once("\0\0").unwrap_or((text, ""));
    let mut fields = raw.split('\0').filter(|field| !field.is_empty());
    let mut sections = sections(patch).into_iter();
    let mut diffs = Vec::new();
    while let Some(entry) = fields.next() {
        let parts: Vec<&str> = entry.trim_start_matches(':').split(' ').collect();
        let [old_mode, new_mode, _, _, status] = parts[..] else { bail!("git printed `{entry}`") };
        let status = status.chars().next().context("git printed no status")?;
        let old = fields.next().context("git printed no path")?;
        let new = match status {
            'R' | 'C' => fields.next().context("git printed no path")?,
            _ => old,
        };
        let mode = |mode: &str| if mode == "000000" { "0".to_owned() } else { mode.to_owned() };
        let mut text = sections.next().unwrap_or_default();
        // git shows the change of a file into a symlink as two patches.
        if status == 'T' {
            text.push_str(&sections.next().unwrap_or_default());
        }
        diffs.push(FileDiff {
            status,
            modes: [mode(old_mode), mode(new_mode)],
            paths: [old.to_owned(), new.to_owned()],
            text,
        });
    }
    Ok(diffs)
}

/// Returns the text of each file in a patch, without git's headers.
fn sections(patch: &str) -> Vec<String> {
    let mut sections: Vec<String> = Vec::new();
    let mut is_header = false;
    // The lines of a hunk begin with a space, `+`, `-` or `\`, so they cannot look like a header.
    for line in patch.split_inclusive('\n') {
        if line.starts_with("diff --git ") {
            sections.push(String::new());
            is_header = true;
            continue;
        }
        is_header &= !line.starts_with("@@ ") && !line.starts_with("Binary files ");
        if let Some(section) = sections.last_mut().filter(|_| !is_header) {
            section.push_str(line);
        }
    }
    sections
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diff_has_the_hunks_of_each_file() {
        let raw = ":100644 100644 aa bb M\0a b.txt\0:000000 100755 00 cc A\0new\0:100644 100644 dd dd R100\0old\0moved\0";
        let patch = "diff --git a/a b.txt b/a b.txt\nindex aa..bb 100644\n--- a/a b.txt\n+++ b/a b.txt\n@@ -1 +1 @@\n-a\n+diff --git\n\
            diff --git a/new b/new\nnew file mode 100755\nindex 00..cc\nBinary files /dev/null and b/new differ\n\
            diff --git a/old b/moved\nsimilarity index 100%\nrename from old\nrename to moved\n";
        let diffs = parse_diff(&format!("{raw}\0{patch}")).expect("a diff");
        let changes: Vec<(char, &str, &str, &str, &str)> = diffs
            .iter()
            .map(|one| {
                let [old, new] = &one.paths;
                (one.status, old.as_str(), new.as_str(), one.modes[0].as_str(), one.text.as_str())
            })
            .collect();
        assert_eq!(
            changes,
            [
                ('M', "a b.txt", "a b.txt", "100644", "@@ -1 +1 @@\n-a\n+diff --git\n"),
                ('A', "new", "new", "0", "Binary files /dev/null and b/new differ\n"),
                ('R', "old", "moved", "100644", ""),
            ]
        );
        assert!(parse_diff("").expect("no changes").is_empty());
    }

    #[test]
    fn times_have_milliseconds_and_an_offset() {
        assert_eq!(time("2026-11-30T08:51:53Z"), "2026-11-30T08:51:53.000+00:00");
        assert_eq!(time("2026-11-30T08:51:53-05:30"), "2026-11-30T08:51:53.000-05:30");
    }
}
