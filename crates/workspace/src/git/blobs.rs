//! Reads the content of files as a build would read them: from the working tree, even if the index
//! differs.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::ops::Range;
use std::process::Stdio;

use base::command::quote;
use base::error::{Error, ErrorContext as _, Result, refused};
use camino::{Utf8Path, Utf8PathBuf};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};

use super::{
    FileList, Head, LINK, REPOSITORY, TrackedChanges, UNTRACKED, command, finish, history,
    is_input, is_on, is_repository, spawn, start, utf8,
};
use crate::files::key::{Blob, hex};

/// The content of each file, by path.
pub type Blobs = BTreeMap<Utf8PathBuf, Blob>;

/// The contents of files, and the files whose contents are missing.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// Every file by its path, those in submodules and other repositories included.
    pub blobs: Blobs,
    /// The files and folders whose contents are missing, by path.
    pub gaps: BTreeMap<Utf8PathBuf, Gap>,
}

/// The reason why the content of a file or folder is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    /// The file holds a pointer of Git LFS instead of its content.
    Pointer,
    /// The submodule has no checkout.
    Submodule,
    /// The file is outside of the sparse checkout.
    Sparse,
}

impl Gap {
    /// Returns the refusal of a project that depends on `path`.
    #[must_use]
    pub fn refusal(self, path: &Utf8Path) -> Error {
        match self {
            Gap::Pointer => refused(format!("{path} is a Git LFS pointer instead of the file"))
                .hint("run `git lfs pull`"),
            Gap::Submodule => refused(format!("the submodule {path} is not checked out here"))
                .hint(format!("run `git submodule update --init {}`", quote(path.as_str()))),
            Gap::Sparse => {
                let folder = path.parent().unwrap_or(path);
                refused(format!(
                    "{path} is not checked out here: it is outside of the sparse checkout"
                ))
                .hint(format!("run `git sparse-checkout add {}`", quote(folder.as_str())))
            }
        }
    }
}

/// The files of the root repository that a command has listed already, and those that differ from the index.
#[derive(Clone, Debug)]
pub struct KnownFiles<'k> {
    files: &'k FileList,
    changes: &'k TrackedChanges,
    /// The lines of the index, sorted by path.
    index: Vec<&'k str>,
}

impl<'k> KnownFiles<'k> {
    /// Combines what git listed in `root`. `None` if that is a folder of a repository, or if a changed file is not in the
    /// list, because then git named the changes from another folder, or the index changed in between.
    #[must_use]
    pub fn new(
        root: &Utf8Path,
        files: &'k FileList,
        changes: &'k TrackedChanges,
    ) -> Option<KnownFiles<'k>> {
        let index = files.index.split('\0').filter(|line| !line.is_empty()).collect();
        let known = KnownFiles { files, changes, index };
        let is_listed = |path: &String| !known.range(path, |found| found == path).is_empty();
        let agree = is_repository(root) && changes.unstaged.iter().all(is_listed);
        agree.then_some(known)
    }

    /// Returns the commit as [`super::head`] does. `None` if there are submodules, because the list lacks their untracked files.
    #[must_use]
    pub fn head(&self) -> Option<Head> {
        let mut modes = self.index.iter().filter_map(|line| line.get(2..));
        let has_submodules = modes.any(|mode| mode.starts_with(REPOSITORY));
        let dirty = self.changes.head.dirty || !self.files.untracked.is_empty();
        (!has_submodules).then(|| Head { dirty, ..self.changes.head.clone() })
    }

    /// Returns the positions in the index from the path `start` on, as far as paths are wanted.
    fn range(&self, start: &str, is_wanted: impl Fn(&str) -> bool) -> Range<usize> {
        let path_of = |line: &'k str| line.split_once('\t').map_or("", |(_, path)| path);
        let first = self.index.partition_point(|line| path_of(line) < start);
        let wanted = self.index[first..].iter().take_while(|line| is_wanted(path_of(line)));
        first..first + wanted.count()
    }

    /// Returns the lines of [`LIST_FILES`] for the files at or below `paths`.
    fn lines_below(&self, paths: &[Utf8PathBuf]) -> Vec<IndexLine<'k>> {
        let mut positions = BTreeSet::new();
        for path in paths {
            let folder = if path.as_str().is_empty() { String::new() } else { format!("{path}/") };
            positions.extend(self.range(path.as_str(), |found| found == path.as_str()));
            positions.extend(self.range(&folder, |found| found.starts_with(&folder)));
        }
        let paths: BTreeSet<&str> = paths.iter().map(|path| path.as_str()).collect();
        let is_below = |path: &&str| {
            let ends = path.match_indices('/').map(|(at, _)| at);
            paths.contains("") || ends.chain([path.len()]).any(|end| paths.contains(&path[..end]))
        };
        let untracked = self.files.untracked.split('\0').filter(|path| is_input(path));
        let unstaged = self.changes.unstaged.iter().map(String::as_str);
        let differ = untracked.chain(unstaged).filter(is_below).map(IndexLine::Difference);
        let entries = positions.into_iter().filter_map(|at| IndexLine::parse(self.index[at]));
        entries.chain(differ).collect()
    }
}

/// Reads the content of every input file below `paths`. Files that git ignores do not count. If the files of the
/// root repository are `known`, git does not list them again.
pub fn contents(
    root: &Utf8Path,
    paths: &[&Utf8Path],
    known: Option<&KnownFiles<'_>>,
) -> Result<Contents> {
    let mut contents = Contents::default();
    let mut waiting =
        vec![(Utf8PathBuf::new(), paths.iter().map(|path| (*path).to_owned()).collect())];
    let mut seen = BTreeSet::new();
    while let Some((repository, paths)) = waiting.pop() {
        let mut here = Repository::new(root.join(&repository), repository);
        if !here.path.as_str().is_empty() {
            let id = history::commit(&here.root, "HEAD")?.unwrap_or_default();
            let blob = Blob { mode: REPOSITORY.to_owned(), id };
            here.found.blobs.insert(here.path.clone(), blob);
        }
        let known = known.filter(|_| here.path.as_str().is_empty());
        let nested = here.read(paths, known)?;
        contents.blobs.append(&mut here.found.blobs);
        contents.gaps.append(&mut here.found.gaps);
        for (repository, paths) in nested {
            if seen.insert((repository.clone(), paths.clone())) {
                waiting.push((repository, paths));
            }
        }
    }
    Ok(contents)
}

/// Returns the blobs below any of `paths`.
#[must_use]
pub fn below<'b>(blobs: &'b Blobs, paths: &[&Utf8Path]) -> BTreeMap<&'b Utf8Path, Blob> {
    let below = |path: &&Utf8Path| {
        let path = (*path).to_owned();
        let from = blobs.range(path.clone()..);
        from.take_while(move |(other, _)| other.starts_with(&path))
    };
    // The commit of a submodule counts for everything in it.
    let above = paths.iter().flat_map(|path| path.ancestors().skip(1));
    let above = above.filter_map(|path| blobs.get_key_value(path));
    let repositories = above.filter(|(_, blob)| blob.mode == REPOSITORY);
    let found = paths.iter().flat_map(below).chain(repositories);
    found.map(|(path, blob)| (path.as_path(), blob.clone())).collect()
}

/// Paths to read, by the repository that holds them.
type NestedFiles = BTreeMap<Utf8PathBuf, BTreeSet<Utf8PathBuf>>;

/// One repository: the root repository, a submodule, or a nested one.
struct Repository {
    root: Utf8PathBuf,
    /// Its folder in the root repository.
    path: Utf8PathBuf,
    found: Contents,
    /// The [`SETTINGS`], which are read with the files.
    settings: BTreeMap<String, String>,
}

/// The settings of git that change what is in the working tree.
const SETTINGS: &str = r"^core\.(autocrlf|attributesfile|sparsecheckout)$";

/// Lists the index, and then again each file that differs from it. One command, because each one reads the whole index.
const LIST_FILES: [&str; 7] =
    ["ls-files", "-z", "-v", "--stage", "--cached", "--modified", "--deleted"];

impl Repository {
    fn new(root: Utf8PathBuf, path: Utf8PathBuf) -> Repository {
        Repository { root, path, found: Contents::default(), settings: BTreeMap::new() }
    }

    fn is_set(&self, name: &str) -> bool {
        self.settings.get(name).is_some_and(|value| is_on(value))
    }

    /// Reads the files below `paths`, and returns the paths that belong to nested repositories.
    fn read(
        &mut self,
        paths: BTreeSet<Utf8PathBuf>,
        known: Option<&KnownFiles<'_>>,
    ) -> Result<NestedFiles> {
        let (own, mut nested) = self.split(paths);
        if own.is_empty() {
            return Ok(nested);
        }
        let output = self.settings_and_list(&own, known.is_some())?;
        let lines = match known {
            Some(known) => known.lines_below(&own),
            None => output.split('\0').filter_map(IndexLine::parse).collect(),
        };
        let listing = ListedFiles::new(lines);
        let conversions = self.conversions(&own, &listing.entries)?;
        self.add_tracked(&listing, &conversions, &mut nested)?;
        self.add_untracked(&listing, &mut nested)?;
        for path in &conversions.pointers {
            if self.is_pointer(path) {
                self.found.gaps.insert(self.path.join(path), Gap::Pointer);
            }
        }
        Ok(nested)
    }

    /// Returns the paths of this repository, and those that belong to nested ones.
    fn split(&self, paths: BTreeSet<Utf8PathBuf>) -> (Vec<Utf8PathBuf>, NestedFiles) {
        let (mut own, mut nested) = (Vec::new(), NestedFiles::new());
        for path in paths {
            match self.repository_above(&path) {
                Some(inner) => {
                    let below = path.strip_prefix(&inner).unwrap_or(&path).to_owned();
                    nested.entry(self.path.join(inner)).or_default().insert(below);
                }
                None => {
                    let folder = self.empty_folder_above(&path);
                    own.push(path);
                    own.extend(folder);
                }
            }
        }
        (own, nested)
    }

    /// Reads the settings, while git lists the files below `paths`. Returns the list. Empty if the files are known.
    fn settings_and_list(&mut self, paths: &[Utf8PathBuf], is_known: bool) -> Result<String> {
        let specs: Vec<&str> = paths.iter().map(|path| pathspec(path)).collect();
        let arguments = [&LIST_FILES, &UNTRACKED[..], &["--"], &specs].concat();
        let list = (!is_known).then(|| start(&self.root, &arguments)).transpose()?;
        self.settings = super::settings(&self.root, SETTINGS);
        match list {
            Some(list) => utf8(finish(list, "ls-files")?),
            None => Ok(String::new()),
        }
    }

    /// Adds the files of the index.
    fn add_tracked(
        &mut self,
        listing: &ListedFiles<'_>,
        conversions: &Conversions,
        nested: &mut NestedFiles,
    ) -> Result<()> {
        let raw = self.raw_ids(listing, conversions)?;
        for entry in &listing.entries {
            let path = Utf8Path::new(entry.path);
            if entry.mode == REPOSITORY {
                self.submodule(path, nested);
            } else if entry.is_hidden() || listing.differ.contains(entry.path) {
                self.working_file(entry, listing.is_sha256())?;
            } else {
                let id = raw.get(entry.path).map_or(entry.id, String::as_str);
                let blob = Blob { mode: entry.mode.to_owned(), id: id.to_owned() };
                self.found.blobs.insert(self.path.join(path), blob);
            }
        }
        Ok(())
    }

    fn add_untracked(&mut self, listing: &ListedFiles<'_>, nested: &mut NestedFiles) -> Result<()> {
        for path in listing.untracked_paths() {
            // For a nested repository that is not a submodule, git lists only its folder.
            match path.strip_suffix('/') {
                Some(folder) => drop(nested.insert(self.path.join(folder), whole())),
                None => self.add_file(Utf8Path::new(path), listing.is_sha256())?,
            }
        }
        Ok(())
    }

    /// Returns the folder of the topmost nested repository that contains `path`, relative to this one.
    fn repository_above(&self, path: &Utf8Path) -> Option<Utf8PathBuf> {
        let above = path.ancestors().skip(1).filter(|above| !above.as_str().is_empty());
        let inner = above.filter(|above| is_repository(&self.root.join(above))).last();
        inner.map(Utf8Path::to_owned)
    }

    /// Returns the empty folder that contains a missing path. It may be that of a submodule.
    fn empty_folder_above(&self, path: &Utf8Path) -> Option<Utf8PathBuf> {
        if self.root.join(path).symlink_metadata().is_ok() {
            return None;
        }
        let folder = path.ancestors().skip(1).find(|above| self.root.join(above).is_dir())?;
        let mut entries = self.root.join(folder).read_dir_utf8().ok()?;
        (!folder.as_str().is_empty() && entries.next().is_none()).then(|| folder.to_owned())
    }

    /// Reads a submodule by the files in its folder. A deleted one has none.
    fn submodule(&mut self, path: &Utf8Path, nested: &mut NestedFiles) {
        let (at, folder) = (self.path.join(path), self.root.join(path));
        if is_repository(&folder) {
            nested.insert(at, whole());
        } else if folder.is_dir() {
            self.found.gaps.insert(at.clone(), Gap::Submodule);
            let blob = Blob { mode: REPOSITORY.to_owned(), id: "not checked out".to_owned() };
            self.found.blobs.insert(at, blob);
        } else if folder.is_file() {
            // A file in place of the submodule counts as a file.
            let _unreadable = self.add_file(path, false);
        }
    }

    /// Reads a tracked file that git skips, or that differs from the index.
    fn working_file(&mut self, entry: &IndexEntry, sha256: bool) -> Result<()> {
        let path = Utf8Path::new(entry.path);
        if entry.is_outside_of_sparse_checkout()
            && !self.root.join(path).exists()
            && self.is_set("core.sparsecheckout")
        {
            self.found.gaps.insert(self.path.join(path), Gap::Sparse);
            return Ok(());
        }
        self.add_file(path, sha256)
    }

    fn add_file(&mut self, path: &Utf8Path, sha256: bool) -> Result<()> {
        let at = self.path.join(path);
        let blob = working_blob(&self.root.join(path), sha256);
        if let Some(blob) = blob.with_context(|| format!("cannot read {at}"))? {
            self.found.blobs.insert(at, blob);
        }
        Ok(())
    }

    /// Finds the files that git changes between the index and the working tree: by a filter such as that
    /// of Git LFS, by line endings, keywords or encodings.
    fn conversions(&self, own: &[Utf8PathBuf], entries: &[IndexEntry]) -> Result<Conversions> {
        let mut conversions = Conversions::default();
        let all = self.is_set("core.autocrlf");
        if !all && !self.has_attributes(own, entries) {
            return Ok(conversions);
        }
        let mut paths = Vec::new();
        for entry in entries.iter().filter(|entry| entry.is_file()) {
            paths.extend_from_slice(entry.path.as_bytes());
            paths.push(0);
        }
        let names = ["filter", "text", "eol", "crlf", "ident", "working-tree-encoding"];
        let output =
            ask(&self.root, &[&["check-attr", "-z", "--stdin"], &names[..]].concat(), paths)?;
        let output = utf8(output)?;
        let mut fields = output.split('\0');
        while let (Some(path), Some(name), Some(value)) =
            (fields.next(), fields.next(), fields.next())
        {
            let is_set = !["unspecified", "unset"].contains(&value);
            if is_set && name == "filter" && value == "lfs" {
                conversions.pointers.insert(path.into());
            }
            if is_set {
                conversions.files.insert(path.to_owned());
            }
        }
        if all {
            conversions.files.extend(entries.iter().map(|entry| entry.path.to_owned()));
        }
        Ok(conversions)
    }

    fn has_attributes(&self, own: &[Utf8PathBuf], entries: &[IndexEntry]) -> bool {
        const NAME: &str = ".gitattributes";
        let above: BTreeSet<&Utf8Path> = own.iter().flat_map(|path| path.ancestors()).collect();
        above.iter().any(|folder| self.root.join(folder).join(NAME).is_file())
            || entries.iter().any(|entry| Utf8Path::new(entry.path).file_name() == Some(NAME))
            || self.root.join(".git/info/attributes").is_file()
            || self.settings.get("core.attributesfile").is_some_and(|path| !path.is_empty())
    }

    /// Returns the ids of the unchanged files among `conversions` by the content of the working tree.
    fn raw_ids<'l>(
        &self,
        listing: &ListedFiles<'l>,
        conversions: &Conversions,
    ) -> Result<BTreeMap<&'l str, String>> {
        let unchanged = |entry: &&IndexEntry| {
            entry.is_file()
                && !entry.is_hidden()
                && conversions.files.contains(entry.path)
                && !listing.differ.contains(entry.path)
                && !entry.path.contains('\n')
                && self.root.join(entry.path).is_file()
        };
        let unchanged = listing.entries.iter().filter(unchanged);
        let paths: Vec<&str> = unchanged.map(|entry| entry.path).collect();
        if paths.is_empty() {
            return Ok(BTreeMap::new());
        }
        let input = paths.join("\n") + "\n";
        let output =
            ask(&self.root, &["hash-object", "--no-filters", "--stdin-paths"], input.into_bytes())?;
        let ids = utf8(output)?;
        Ok(paths.into_iter().zip(ids.lines().map(str::to_owned)).collect())
    }

    fn is_pointer(&self, path: &Utf8Path) -> bool {
        const MAX_POINTER_SIZE: u64 = 1024;
        let path = self.root.join(path);
        let is_small = path.metadata().is_ok_and(|meta| meta.len() < MAX_POINTER_SIZE);
        is_small
            && std::fs::read(path)
                .is_ok_and(|text| text.starts_with(b"version https://git-lfs.github.com/spec/"))
    }
}

/// The files that git changes between the index and the working tree.
#[derive(Default)]
struct Conversions {
    files: BTreeSet<String>,
    /// The files of Git LFS.
    pointers: BTreeSet<Utf8PathBuf>,
}

/// The files that git lists below some paths.
struct ListedFiles<'l> {
    /// The files of the index.
    entries: Vec<IndexEntry<'l>>,
    /// The paths that differ from the index, as in [`IndexLine::Difference`].
    differ: BTreeSet<&'l str>,
}

impl<'l> ListedFiles<'l> {
    fn new(lines: Vec<IndexLine<'l>>) -> ListedFiles<'l> {
        let mut listing = ListedFiles { entries: Vec::new(), differ: BTreeSet::new() };
        for line in lines {
            match line {
                IndexLine::Entry(entry) => listing.entries.push(entry),
                IndexLine::Difference(path) => drop(listing.differ.insert(path)),
            }
        }
        listing
    }

    /// Returns true if the repository has ids of SHA-256.
    fn is_sha256(&self) -> bool {
        self.entries.first().is_some_and(|entry| entry.id.len() == 64)
    }

    /// Returns the paths that differ from the index because they are not in it.
    fn untracked_paths(&self) -> Vec<&'l str> {
        let tracked: BTreeSet<&str> = self.entries.iter().map(|entry| entry.path).collect();
        self.differ.iter().copied().filter(|path| !tracked.contains(path)).collect()
    }
}

/// A line of [`LIST_FILES`].
enum IndexLine<'l> {
    Entry(IndexEntry<'l>),
    /// A tracked file that was changed or deleted, an untracked file, or the folder of a nested repository (with a slash).
    Difference(&'l str),
}

impl<'l> IndexLine<'l> {
    /// Parses `? path`, or a letter, mode, id, stage, a tab, and the path.
    fn parse(line: &'l str) -> Option<IndexLine<'l>> {
        if let Some(path) = line.strip_prefix("? ") {
            return Some(IndexLine::Difference(path));
        }
        let entry = IndexEntry::parse(line)?;
        Some(match entry.tag.to_ascii_uppercase() {
            'C' | 'R' => IndexLine::Difference(entry.path),
            _ => IndexLine::Entry(entry),
        })
    }
}

/// A file of the index.
struct IndexEntry<'l> {
    tag: char,
    mode: &'l str,
    id: &'l str,
    path: &'l str,
}

impl<'l> IndexEntry<'l> {
    fn parse(line: &'l str) -> Option<IndexEntry<'l>> {
        let (meta, path) = line.split_once('\t')?;
        let mut meta = meta.split(' ');
        let tag = meta.next()?.chars().next()?;
        Some(IndexEntry { tag, mode: meta.next()?, id: meta.next()?, path })
    }

    fn is_file(&self) -> bool {
        ![LINK, REPOSITORY].contains(&self.mode)
    }

    /// Returns true if git skips the file: `assume-unchanged` has a lowercase letter,
    /// `skip-worktree` an S.
    fn is_hidden(&self) -> bool {
        self.tag.is_ascii_lowercase() || self.is_outside_of_sparse_checkout()
    }

    fn is_outside_of_sparse_checkout(&self) -> bool {
        self.tag.eq_ignore_ascii_case(&'s')
    }
}

fn whole() -> BTreeSet<Utf8PathBuf> {
    BTreeSet::from([Utf8PathBuf::new()])
}

/// Runs git with an input.
fn ask(root: &Utf8Path, arguments: &[&str], input: Vec<u8>) -> Result<Vec<u8>> {
    let mut git = command(root);
    git.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = spawn(&mut git)?;
    let stdin = child.stdin.take();
    std::thread::scope(|scope| {
        // If git stops reading early, its exit code reports the error.
        scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(&input)));
        finish(child, arguments[0])
    })
}

/// Returns a path in git's format: the root itself is `.`.
fn pathspec(path: &Utf8Path) -> &str {
    if path.as_str().is_empty() { "." } else { path.as_str() }
}

/// Returns the blob that git would create for a file. `None` if the file does not exist or is a folder.
fn working_blob(path: &Utf8Path, sha256: bool) -> std::io::Result<Option<Blob>> {
    use std::os::unix::fs::PermissionsExt as _;
    let Ok(meta) = path.symlink_metadata() else {
        return Ok(None);
    };
    let (mode, content) = if meta.is_symlink() {
        (LINK, path.read_link_utf8()?.into_string().into_bytes())
    } else if meta.is_file() {
        let executable = meta.permissions().mode() & 0o100 != 0;
        (if executable { "100755" } else { "100644" }, std::fs::read(path)?)
    } else {
        return Ok(None);
    };
    let mut object = format!("blob {}\0", content.len()).into_bytes();
    object.extend(content);
    let algorithm = if sha256 { &SHA256 } else { &SHA1_FOR_LEGACY_USE_ONLY };
    Ok(Some(Blob { mode: mode.to_owned(), id: hex(digest(algorithm, &object).as_ref()) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_the_index() {
        for (line, hidden, sparse, path) in [
            ("H 100644 ab 0\ta b", false, false, "a b"),
            ("h 100644 ab 0\ta", true, false, "a"),
            ("S 100644 ab 0\ta", true, true, "a"),
            ("s 120000 ab 0\ta\tb", true, true, "a\tb"),
        ] {
            let entry = IndexEntry::parse(line).expect(line);
            assert_eq!(
                (entry.is_hidden(), entry.is_outside_of_sparse_checkout()),
                (hidden, sparse)
            );
            assert_eq!((entry.path, entry.id), (path, "ab"));
        }
        assert!(IndexEntry::parse("").is_none());
        for (line, path) in
            [("? a b", "a b"), ("? a/", "a/"), ("C 100644 ab 0\ta", "a"), ("r 100644 ab 0\ta", "a")]
        {
            let Some(IndexLine::Difference(found)) = IndexLine::parse(line) else {
                panic!("{line}");
            };
            assert_eq!(found, path, "{line}");
        }
    }
}
