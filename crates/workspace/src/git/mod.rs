//! Reads git through its command line, with a controlled environment and configuration.

mod blobs;
mod grep;
pub mod history;
pub mod objects;
mod releases;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::{ErrorKind, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use serde::Serialize;

use base::cmd;
use base::error::{ErrorContext as _, Result, interrupted, refused};
use base::probe;
pub use blobs::{Blobs, Contents, Gap, KnownFiles, below, contents};
pub use grep::{FoundText, grep, grep_working_tree, is_code, is_partial};
pub use releases::{newest_release, release_of_head};

/// The commit that is checked out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Head {
    /// The full id of the commit that is checked out. `None` before the first commit.
    pub commit: Option<String>,
    /// `true` if any file differs from that commit.
    pub dirty: bool,
}

/// Returns the commit that is checked out, and whether the working tree differs from it.
pub fn head(root: &Utf8Path) -> Result<Head> {
    Ok(head_in(&status(root, "--untracked-files=normal")?))
}

/// The tracked files that differ from the commit that is checked out.
#[derive(Clone, Debug)]
pub struct TrackedChanges {
    /// The head without untracked files, and without those in submodules.
    head: Head,
    /// The files that differ from the index, deleted ones included, from the top of git's repository.
    unstaged: BTreeSet<String>,
    /// The time of the answer.
    read: Instant,
}

impl TrackedChanges {
    /// Reads the tracked files that differ. It takes half of the time of [`head`], because it does not look for untracked
    /// files.
    pub fn read(root: &Utf8Path) -> Result<TrackedChanges> {
        let status = status(root, "--untracked-files=no")?;
        let unstaged = changes_in(&status).filter_map(unstaged_path).map(str::to_owned).collect();
        Ok(TrackedChanges { head: head_in(&status), unstaged, read: Instant::now() })
    }

    /// Returns the time since the changes were read.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.read.elapsed()
    }
}

fn status(root: &Utf8Path, untracked: &str) -> Result<String> {
    text(root, &["status", "--porcelain=v2", "--branch", "-z", "--no-renames", untracked])
}

fn head_in(status: &str) -> Head {
    let commit = status.split('\0').find_map(|entry| entry.strip_prefix("# branch.oid "));
    let commit = commit.filter(|id| *id != "(initial)").map(str::to_owned);
    Head { commit, dirty: changes_in(status).next().is_some() }
}

fn changes_in(status: &str) -> impl Iterator<Item = &str> {
    status.split('\0').filter(|entry| !entry.is_empty() && !entry.starts_with("# "))
}

/// Returns the path of a changed file if the working tree differs from the index
/// (<https://git-scm.com/docs/git-status#_porcelain_format_version_2>).
fn unstaged_path(entry: &str) -> Option<&str> {
    let fields = match entry.get(..2)? {
        "1 " => 9,
        "u " => 11,
        _ => return None,
    };
    let is_staged_only = entry.get(3..4) == Some(".");
    entry.splitn(fields, ' ').nth(fields - 1).filter(|_| !is_staged_only)
}

/// Returns the branch that is checked out. `None` if there is none.
pub fn branch(root: &Utf8Path) -> Result<Option<String>> {
    let name = text(root, &["branch", "--show-current"])?;
    Ok(Some(name.trim().to_owned()).filter(|name| !name.is_empty()))
}

/// Paths of the repository, relative to its root and sorted by their text.
#[derive(Debug, Default)]
pub struct Listing {
    /// The files that passed the filter.
    pub files: Vec<Utf8PathBuf>,
    /// The symbolic links, whatever their names.
    pub links: Vec<Utf8PathBuf>,
    /// Every file. `None` if a path is not UTF-8.
    pub all: Option<FileList>,
    /// The submodules with a checkout, whose files are listed too.
    pub submodules: Vec<Utf8PathBuf>,
    /// The submodules without a checkout.
    pub missing_submodules: Vec<Utf8PathBuf>,
}

impl Listing {
    /// Adds the files and links in the submodules at `paths` that have a checkout, and in their own submodules.
    pub(crate) fn add_submodules(
        &mut self,
        root: &Utf8Path,
        paths: &[Utf8PathBuf],
        wanted: impl Fn(&str) -> bool + Copy,
    ) -> Result<()> {
        let mut waiting = paths.to_vec();
        while let Some(submodule) = waiting.pop() {
            let inner = root.join(&submodule);
            if !is_repository(&inner) {
                self.missing_submodules.push(submodule);
                continue;
            }
            let Listing { files, links, all, .. } = list(&inner, wanted)?;
            let here = |path: &Utf8PathBuf| submodule.join(path);
            self.files.extend(files.iter().map(here));
            self.links.extend(links.iter().map(here));
            let nested = all.iter().flat_map(FileList::submodules);
            waiting.extend(nested.map(|path| submodule.join(path)));
            self.submodules.push(submodule);
        }
        self.submodules.sort();
        for paths in [&mut self.files, &mut self.links] {
            paths.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
        }
        Ok(())
    }
}

/// Every file that git tracks, and every untracked one that it does not ignore, in git's format.
#[derive(Debug)]
pub struct FileList {
    /// The index: a letter, mode, id, stage, a tab and the path of each file, sorted by path.
    index: String,
    /// The paths of the untracked files, and of the folders of untracked repositories.
    untracked: String,
}

impl FileList {
    /// Returns the tracked files whose name passes `wanted`. Some may be deleted.
    pub fn tracked_files(&self, wanted: impl Fn(&str) -> bool) -> impl Iterator<Item = &str> {
        let paths = self.index.split('\0').filter_map(|line| Some(line.split_once('\t')?.1));
        with_names(paths, wanted)
    }

    /// Returns every path, tracked or not. Some may be deleted.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        let tracked = self.index.split('\0').filter_map(|line| Some(line.split_once('\t')?.1));
        tracked.chain(self.untracked.split('\0').filter(|path| is_input(path)))
    }

    /// Returns true if a file is at or below `path`. Some may be deleted.
    pub(crate) fn holds(&self, path: &Utf8Path) -> bool {
        let is_tracked = |end: char| self.index.contains(&format!("\t{path}{end}"));
        let below = format!("{path}/");
        let mut untracked = self.untracked.split('\0');
        is_tracked('\0')
            || is_tracked('/')
            || untracked.any(|other| other == path.as_str() || other.starts_with(&below))
    }

    /// Returns the paths of the submodules.
    pub fn submodules(&self) -> impl Iterator<Item = &str> {
        let entries = self.index.split('\0').filter_map(|line| line.get(2..)?.split_once('\t'));
        entries.filter(|(entry, _)| entry.starts_with(REPOSITORY)).map(|(_, path)| path)
    }
}

/// Lists the tracked and untracked files whose name passes `wanted`, and the links. Deleted files may be included.
/// Dependency folders are left out even if they are committed, and so are paths that are not UTF-8.
pub fn list(root: &Utf8Path, wanted: impl Fn(&str) -> bool) -> Result<Listing> {
    // Two processes in parallel: one reads the index, the other walks the folders, which is slow.
    let others = start_others(root)?;
    let index = output(root, &["ls-files", "-z", "-v", "--cached", "--stage"])?;
    let others = finish(others, "ls-files")?;
    let size = index.len() + others.len();
    let (index, untracked) = (utf8_paths(index), utf8_paths(others));
    let is_utf8 = index.len() + untracked.len() == size;
    let staged = index.split('\0').filter_map(|entry| entry.get(2..)?.split_once('\t'));
    let is_link = |path: &&str| {
        root.join(path).symlink_metadata().is_ok_and(|metadata| metadata.is_symlink())
    };
    let linked = staged.clone().filter(|(mode, _)| mode.starts_with(LINK)).map(|(_, path)| path);
    let inputs = || untracked.split('\0').filter(|path| is_input(path));
    let links = linked.chain(inputs().filter(is_link));
    let files = staged.map(|(_, path)| path).chain(inputs());
    let sorted = |paths: &mut dyn Iterator<Item = &str>| {
        let mut paths: Vec<&str> = paths.collect();
        paths.sort_unstable();
        paths.dedup();
        paths.into_iter().map(Utf8PathBuf::from).collect()
    };
    let (files, links) =
        (sorted(&mut with_names(files, wanted)), sorted(&mut with_names(links, |_| true)));
    let all = is_utf8.then_some(FileList { index, untracked });
    Ok(Listing { files, links, all, ..Listing::default() })
}

/// Selects the untracked files. Leaves out [`WRANGLER_STATE`].
const UNTRACKED: [&str; 3] = ["--others", "--exclude-standard", "--exclude=.wrangler/"];

/// Wrangler's own folder. Builds write it, and not every template ignores it. As an input it would change the content key
/// with each build.
const WRANGLER_STATE: &str = ".wrangler";

/// Returns true if an untracked path is an input.
fn is_input(path: &str) -> bool {
    let folders = path.rsplit_once('/').map_or("", |(folders, _)| folders);
    !path.is_empty() && !folders.split('/').any(|folder| folder == WRANGLER_STATE)
}

/// Starts to list the untracked files, which needs a walk through all folders.
fn start_others(root: &Utf8Path) -> Result<Child> {
    start(root, &["ls-files", "-z", "--others", "--exclude-standard"])
}

/// Returns the paths whose name passes `wanted` and that are in no dependency folder.
pub fn with_names<'p>(
    paths: impl Iterator<Item = &'p str>,
    wanted: impl Fn(&str) -> bool,
) -> impl Iterator<Item = &'p str> {
    paths
        .filter(move |path| wanted(path.rsplit_once('/').map_or(path, |(_, name)| name)))
        .filter(|path| !path.split('/').any(|part| part == "node_modules"))
}

/// Decodes git's NUL-separated output, without the paths that are not UTF-8.
fn utf8_paths(listed: Vec<u8>) -> String {
    String::from_utf8(listed).unwrap_or_else(|error| {
        let paths = error.as_bytes().split(|byte| *byte == 0);
        let paths = paths.filter_map(|path| std::str::from_utf8(path).ok());
        paths.collect::<Vec<_>>().join("\0")
    })
}

/// The mode of a nested repository, of which git stores only the commit.
pub const REPOSITORY: &str = "160000";

/// The mode of a symbolic link, whose content is the path of its target.
pub const LINK: &str = "120000";

/// Returns the standard output of a git command in `root`, which must be UTF-8.
fn text(root: &Utf8Path, args: &[&str]) -> Result<String> {
    utf8(output(root, args)?)
}

fn utf8(listed: Vec<u8>) -> Result<String> {
    String::from_utf8(listed)
        .map_err(|_| refused("a file name in this repository is not UTF-8; rename it"))
}

/// Returns the standard output of a git command in `root`.
fn output(root: &Utf8Path, args: &[&str]) -> Result<Vec<u8>> {
    finish(start(root, args)?, args[0])
}

fn start(root: &Utf8Path, args: &[&str]) -> Result<Child> {
    let mut git = command(root);
    // A folder may be called `*` or begin with a colon.
    git.arg("--literal-pathspecs").args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
    spawn(&mut git)
}

/// Runs a git command to its end.
fn run(git: &mut Command) -> Result<Output> {
    let child = spawn(git.stdout(Stdio::piped()).stderr(Stdio::piped()))?;
    child.wait_with_output().context("`git`")
}

fn spawn(git: &mut Command) -> Result<Child> {
    git.spawn().map_err(|error| {
        let hint = match error.kind() {
            ErrorKind::NotFound => "install it: `apt-get install git`",
            _ => "nothing was changed; check the limits of this user with `ulimit -a`, then retry",
        };
        refused(format!("cannot run `git`: {error}")).hint(hint)
    })
}

fn finish(child: Child, verb: &str) -> Result<Vec<u8>> {
    output_of(child.wait_with_output().with_context(|| format!("`git {verb}`"))?, verb)
}

/// The numbers of the signals that stop a run.
const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;

/// Returns the standard output of a git command that has ended.
fn output_of(output: Output, verb: &str) -> Result<Vec<u8>> {
    if output.status.success() {
        return Ok(output.stdout);
    }
    // Ctrl-C reaches git too, and git says nothing then.
    if matches!(output.status.signal(), Some(SIGINT | SIGTERM)) {
        return Err(interrupted());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let message = stderr.trim().lines().next().unwrap_or("no message");
    Err(refused(format!("`git {verb}` failed: {message}")).hint(advice(&stderr)))
}

/// Returns the next step after an error of git: git's own advice if it prints some.
fn advice(stderr: &str) -> String {
    let exception = stderr.lines().find(|line| line.contains("safe.directory"));
    if let Some(command) = exception.and_then(|line| line.find("git config").map(|at| &line[at..]))
    {
        return format!("run `{}` if you trust the owner of this folder", command.trim());
    }
    let hints: Vec<&str> = stderr.lines().filter_map(|line| line.strip_prefix("hint: ")).collect();
    if hints.is_empty() {
        return "run `git status` to see what git reports about this folder".to_owned();
    }
    hints.join(" ")
}

/// Variables that make git use another repository or another output format.
const MISLEADING: [&str; 13] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
    "GIT_SHALLOW_FILE",
    "GIT_GRAFT_FILE",
    "GIT_REPLACE_REF_BASE",
    "GIT_EXTERNAL_DIFF",
    "GIT_DIFF_OPTS",
];

/// Returns git's own variables of the caller, such as the `GIT_CONFIG_COUNT` of a CI job, and those of SSH.
fn own_variables() -> impl Iterator<Item = (OsString, OsString)> {
    base::env::all().into_iter().filter(|(name, _)| {
        let Some(name) = name.to_str() else { return false };
        (name.starts_with("GIT_") || name.starts_with("SSH_")) && !MISLEADING.contains(&name)
    })
}

/// Returns the trimmed standard output of a git command that may ask another machine. `None` if it fails, prints
/// nothing, or takes longer than [`probe::PATIENT`].
#[must_use]
pub fn ask(root: &Utf8Path, arguments: &[&str]) -> Option<String> {
    let names: Vec<String> =
        own_variables().filter_map(|(name, _)| name.into_string().ok()).collect();
    let command = cmd!(root, "git {arguments...}", probe::PATIENT).inherits(&names, false);
    probe::capture_stdout(&command).filter(|text| !text.is_empty())
}

/// Creates a git command without locks, prompts, pagers, file system monitors and inherited
/// repositories. moon does the same (<https://github.com/moonrepo/moon>, crate `vcs`).
fn command(root: &Utf8Path) -> Command {
    let mut git = Command::new("git");
    git.current_dir(root).stdin(Stdio::null()).envs(own_variables());
    for name in MISLEADING {
        git.env_remove(name);
    }
    // The id of a commit determines its content.
    git.env("GIT_NO_REPLACE_OBJECTS", "1");
    git.env("GIT_OPTIONAL_LOCKS", "0").env("GIT_TERMINAL_PROMPT", "0").env("GIT_PAGER", "");
    git.env("LC_ALL", "C");
    git.args(["-c", "core.fsmonitor=false", "-c", "core.quotePath=false", "-c", "color.ui=false"]);
    git
}

/// Returns true if `root` is a shallow clone.
pub fn is_shallow(root: &Utf8Path) -> Result<bool> {
    let output = text(root, &["rev-parse", "--is-shallow-repository"])?;
    Ok(output.trim() == "true")
}

/// Returns the tracked files that a sparse checkout leaves out of the working tree.
pub fn outside_of_sparse_checkout(root: &Utf8Path) -> Result<Vec<Utf8PathBuf>> {
    if !is_sparse(root) {
        return Ok(Vec::new());
    }
    let listed = utf8_paths(output(root, &["ls-files", "-z", "-t", "--cached"])?);
    let outside = listed.split('\0').filter_map(|entry| entry.strip_prefix("S "));
    let outside = outside.map(Utf8PathBuf::from);
    Ok(outside.filter(|path| root.join(path).symlink_metadata().is_err()).collect())
}

/// Returns true if a sparse checkout is on.
fn is_sparse(root: &Utf8Path) -> bool {
    let settings = settings(root, r"^core\.sparsecheckout$");
    settings.get("core.sparsecheckout").is_some_and(|value| is_on(value))
}

/// Returns true if a setting is on. Git accepts several words (<https://git-scm.com/docs/git-config#_values>), and a few
/// settings have further ones, such as `input`, which are on too.
fn is_on(value: &str) -> bool {
    !["", "0", "false", "no", "off"].contains(&value.to_ascii_lowercase().as_str())
}

/// Returns the settings whose names match a pattern, with lowercase names. The last of repeated ones counts.
fn settings(root: &Utf8Path, pattern: &str) -> BTreeMap<String, String> {
    let listed = command(root).args(["config", "-z", "--get-regexp", pattern]).output();
    let listed = listed.map(|output| utf8_paths(output.stdout)).unwrap_or_default();
    // A setting without a value is on.
    let setting = |entry: &str| {
        let (name, value) = entry.split_once('\n').unwrap_or((entry, "true"));
        (!name.is_empty()).then(|| (name.to_owned(), value.to_owned()))
    };
    listed.split('\0').filter_map(setting).collect()
}

/// Returns true if `folder` is the root of a repository. An empty `.git` folder does not count.
#[must_use]
pub fn is_repository(folder: &Utf8Path) -> bool {
    let git_dir = folder.join(".git");
    git_dir.is_file() || git_dir.join("HEAD").exists()
}

/// The exit code of git for a path in a submodule.
const FATAL: i32 = 128;

/// Returns the nearest repository around `path` below `root`, and the path in it. `None` if there is none.
fn nested_repository<'p>(root: &Utf8Path, path: &'p Utf8Path) -> Option<(Utf8PathBuf, &'p str)> {
    let above = path.ancestors().skip(1).filter(|above| !above.as_str().is_empty());
    let inner = above.map(|above| (above, root.join(above))).find(|(_, at)| is_repository(at));
    // A slash at the end of `path` is kept.
    inner.map(|(above, at)| (at, path.as_str()[above.as_str().len()..].trim_start_matches('/')))
}

/// Returns true if git ignores `path`.
pub fn is_ignored(root: &Utf8Path, path: &Utf8Path) -> Result<bool> {
    let mut git = command(root);
    let status = git
        .args(["check-ignore", "--quiet", "--", path.as_str()])
        .stderr(Stdio::null())
        .status()?;
    match nested_repository(root, path).filter(|_| status.code() == Some(FATAL)) {
        Some((inner, path)) => is_ignored(&inner, Utf8Path::new(path)),
        None => Ok(status.success()),
    }
}

/// Returns the paths that git ignores, of those in `paths`.
pub fn ignored_paths(root: &Utf8Path, paths: &[&Utf8Path]) -> Result<BTreeSet<Utf8PathBuf>> {
    if paths.is_empty() {
        return Ok(BTreeSet::new());
    }
    let mut git = command(root);
    git.args(["check-ignore", "-z", "--stdin"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = spawn(&mut git)?;
    let input: String = paths.iter().map(|path| format!("{path}\0")).collect();
    let stdin = child.stdin.take();
    let output = std::thread::scope(|scope| {
        // Git writes output before it has read all input, so a thread writes the input.
        scope.spawn(|| stdin.map(|mut stdin| stdin.write_all(input.as_bytes())));
        child.wait_with_output()
    })?;
    if output.status.code() == Some(FATAL) {
        let mut found = BTreeSet::new();
        for path in paths {
            if is_ignored(root, path)? {
                found.insert((*path).to_owned());
            }
        }
        return Ok(found);
    }
    Ok(utf8_paths(output.stdout).split_terminator('\0').map(Utf8PathBuf::from).collect())
}

/// Returns true if `folder` can only contain generated files: git ignores it and tracks no file in it.
pub fn is_generated(root: &Utf8Path, folder: &Utf8Path) -> Result<bool> {
    let path = Utf8PathBuf::from(format!("{folder}/"));
    Ok(is_ignored(root, &path)? && !is_tracked(root, &path)?)
}

/// Returns true if git tracks the file at `path`, or a file in the folder.
pub fn is_tracked(root: &Utf8Path, path: &Utf8Path) -> Result<bool> {
    if let Some((inner, path)) = nested_repository(root, path)
        && !output(&inner, &["ls-files", "-z", "--", path])?.is_empty()
    {
        return Ok(true);
    }
    Ok(!output(root, &["ls-files", "-z", "--", path.as_str()])?.is_empty())
}

#[cfg(test)]
mod tests {
    use std::process::ExitStatus;

    use base::error::ErrorKind;

    use super::*;

    #[test]
    fn a_git_that_a_signal_stops_is_an_interruption() {
        let interrupted = [SIGINT, SIGTERM].map(|signal| (signal, ErrorKind::Interrupted));
        // Exit code 128, and SIGKILL.
        let refused = [128 << 8, 9].map(|status| (status, ErrorKind::Refused));
        for (status, kind) in interrupted.into_iter().chain(refused) {
            let status = ExitStatus::from_raw(status);
            let output = Output { status, stdout: Vec::new(), stderr: Vec::new() };
            let error = output_of(output, "ls-files").expect_err("an error");
            assert_eq!(error.kind, kind, "{status}");
        }
    }
}
