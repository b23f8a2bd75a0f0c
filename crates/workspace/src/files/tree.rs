//! The files of a commit, and the resolution of its paths.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use camino::{Utf8Path, Utf8PathBuf};

use crate::files::paths::normalize;
use crate::files::symlinks;
use crate::git::objects::{CommitFile, contents, entries};
use crate::git::{self, FoundText, LINK, REPOSITORY};
use base::error::{Result, refused};

/// The files of a commit below the requested folder.
#[derive(Debug)]
pub struct Tree {
    /// The commit's id.
    pub commit: String,
    /// The requested folder of the repository.
    root: Utf8PathBuf,
    /// Every file, sorted by the bytes of its path, as git lists them. Of a nested repository, only the
    /// commit is known.
    entries: Vec<CommitFile>,
    /// The targets of symbolic links.
    links: BTreeMap<String, String>,
    texts: HashMap<String, Vec<u8>>,
}

/// The maximum number of links on a path, as on Linux.
const MOST_LINKS: usize = 40;

impl Tree {
    /// Reads the tree of `commit` below `root`, with the content of the files whose paths pass `wanted`.
    pub fn load(root: &Utf8Path, commit: &str, wanted: impl Fn(&str) -> bool) -> Result<Tree> {
        let entries = entries(root, commit)?;
        let of_mode = |mode: &'static str| entries.iter().filter(move |entry| entry.mode == mode);
        let links: Vec<&CommitFile> = of_mode(LINK).collect();
        let plain = |entry: &&CommitFile| ![LINK, REPOSITORY].contains(&entry.mode.as_str());
        let texts: Vec<&CommitFile> =
            entries.iter().filter(|entry| wanted(&entry.path)).filter(plain).collect();
        let ids: Vec<&str> = links.iter().chain(&texts).map(|entry| entry.id.as_str()).collect();
        let mut contents = contents(root, &ids)?.into_iter();
        let path = |entry: &&CommitFile| entry.path.clone();
        let target = |target: Vec<u8>| String::from_utf8_lossy(&target).into_owned();
        let links = links.iter().map(path).zip(contents.by_ref().map(target)).collect();
        let texts = texts.iter().map(path).zip(contents).collect();
        let (commit, root) = (commit.to_owned(), root.to_owned());
        let tree = Tree { commit, root: root.clone(), entries, links, texts };
        tree.with_texts_behind_links(&root, wanted)
    }

    /// Also reads the targets of links, which may have other names.
    fn with_texts_behind_links(
        mut self,
        root: &Utf8Path,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Tree> {
        let links = self.links.keys().filter(|path| wanted(path));
        let files: Vec<&CommitFile> = links
            .filter_map(|path| self.real(Utf8Path::new(path)))
            .filter(|real| self.is_file(real) && !self.texts.contains_key(real.as_str()))
            .filter_map(|real| self.entry(&real))
            .collect();
        let ids: Vec<&str> = files.iter().map(|entry| entry.id.as_str()).collect();
        let paths: Vec<String> = files.iter().map(|entry| entry.path.clone()).collect();
        self.texts.extend(paths.into_iter().zip(contents(root, &ids)?));
        Ok(self)
    }

    /// Returns every file, sorted.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| entry.path.as_str())
    }

    /// Returns the root of the repository.
    pub(crate) fn root(&self) -> &Utf8Path {
        &self.root
    }

    /// Returns the paths of the submodules.
    pub(crate) fn submodules(&self) -> impl Iterator<Item = &str> {
        let nested = self.entries.iter().filter(|entry| entry.mode == REPOSITORY);
        nested.map(|entry| entry.path.as_str())
    }

    /// Returns true if `path` is in a submodule with a checkout. A commit has only the id of a submodule, so the files of its
    /// checkout count.
    fn is_in_checkout(&self, path: &Utf8Path) -> bool {
        let mut above = path.ancestors().skip(1).filter_map(|above| self.entry(above));
        let repository = above.find(|entry| entry.mode == REPOSITORY);
        repository.is_some_and(|entry| git::is_repository(&self.root.join(&entry.path)))
    }

    /// Returns every symbolic link, sorted.
    pub fn links(&self) -> impl Iterator<Item = &str> {
        self.links.keys().map(String::as_str)
    }

    /// The names of the files and folders in `folder`, some more than once.
    pub fn names_in(&self, folder: &Utf8Path) -> impl Iterator<Item = &str> {
        let prefix = if folder.as_str().is_empty() { String::new() } else { format!("{folder}/") };
        let below = self.paths().filter_map(move |path| path.strip_prefix(prefix.as_str()));
        below.filter_map(|path| path.split('/').next())
    }

    /// Returns what matches an extended regular expression in the code of the commit.
    pub fn grep(&self, pattern: &str) -> Result<Vec<FoundText>> {
        if git::is_partial(&self.root) {
            // Git would fetch the files one by one.
            let code = self.entries.iter().filter(|entry| git::is_code(&entry.path));
            let ids: Vec<&str> = code.map(|entry| entry.id.as_str()).collect();
            contents(&self.root, &ids)?;
        }
        git::grep(&self.root, Some(&self.commit), pattern)
    }

    /// Returns the text of a file. Reads it now if it did not pass the filter.
    pub fn read(&self, path: &Utf8Path) -> Result<String> {
        if self.is_in_checkout(path) {
            return symlinks::read(&self.root, path);
        }
        self.text(path, |real| self.read_now(real))
    }

    /// Returns the texts of several files. Reads those that did not pass the filter together.
    pub(crate) fn read_all(&self, paths: &[Utf8PathBuf]) -> Vec<Result<String>> {
        let real: BTreeSet<Utf8PathBuf> = paths.iter().filter_map(|path| self.real(path)).collect();
        let unread = real.iter().filter(|path| !self.texts.contains_key(path.as_str()));
        let entries = unread.filter_map(|path| self.entry(path));
        let entries: Vec<&CommitFile> = entries.filter(|entry| entry.mode != REPOSITORY).collect();
        let ids: Vec<&str> = entries.iter().map(|entry| entry.id.as_str()).collect();
        let contents = contents(&self.root, &ids).unwrap_or_default();
        let names = entries.iter().map(|entry| entry.path.as_str());
        let texts: HashMap<&str, Vec<u8>> = names.zip(contents).collect();
        let read = |path: &Utf8PathBuf| match self.is_in_checkout(path) {
            true => symlinks::read(&self.root, path),
            false => self.text(path, |real| texts.get(real.as_str()).cloned()),
        };
        paths.iter().map(read).collect()
    }

    fn text(
        &self,
        path: &Utf8Path,
        unread: impl Fn(&Utf8Path) -> Option<Vec<u8>>,
    ) -> Result<String> {
        let real = self.real(path).ok_or_else(|| {
            refused(format!("{path} leads out of the repository, in {}", self.commit))
        })?;
        let because = |why: &str| refused(format!("cannot read {path}: {why} {}", self.commit));
        let text = match self.texts.get(real.as_str()) {
            Some(text) => text.clone(),
            None => unread(&real).ok_or_else(|| because("not in"))?,
        };
        String::from_utf8(text).map_err(|_| because("not UTF-8 in"))
    }

    fn read_now(&self, path: &Utf8Path) -> Option<Vec<u8>> {
        let entry = self.entry(path).filter(|entry| entry.mode != REPOSITORY)?;
        contents(&self.root, &[&entry.id]).ok()?.pop()
    }

    /// Returns true if a file is at `path`. The content of a nested repository is unknown, so its
    /// paths count as existing.
    #[must_use]
    pub fn is_file(&self, path: &Utf8Path) -> bool {
        if self.is_in_checkout(path) {
            return self.root.join(path).is_file();
        }
        let file = |path: &Utf8Path| self.entry(path).is_some_and(|entry| entry.mode != REPOSITORY);
        self.real(path).is_some_and(|path| file(&path) || self.is_elsewhere(&path))
    }

    /// Returns true if a file or a folder is at `path`.
    #[must_use]
    pub fn exists(&self, path: &Utf8Path) -> bool {
        if self.is_in_checkout(path) {
            return self.root.join(path).exists();
        }
        let Some(real) = self.real(path) else { return false };
        let below = format!("{real}/");
        let next = self.entries.partition_point(|entry| entry.path < below);
        let folder = self.entries.get(next).is_some_and(|entry| entry.path.starts_with(&below));
        folder
            || self.entry(&real).is_some()
            || self.is_elsewhere(&real)
            || real.as_str().is_empty()
    }

    /// Returns true if the file at `path` is a dangling link in the commit. Paths outside of the
    /// commit are unknown.
    #[must_use]
    pub fn dangles(&self, path: &Utf8Path) -> bool {
        if self.is_in_checkout(path) {
            return !self.root.join(path).exists();
        }
        self.links.contains_key(path.as_str())
            && match self.resolve(path) {
                Resolution::Path(real) => !self.exists(&real),
                Resolution::Escapes => false,
                Resolution::Loop => true,
            }
    }

    fn entry(&self, path: &Utf8Path) -> Option<&CommitFile> {
        let place = self.entries.binary_search_by(|entry| entry.path.as_str().cmp(path.as_str()));
        place.ok().map(|place| &self.entries[place])
    }

    /// Returns true if `path` is in a nested repository.
    fn is_elsewhere(&self, path: &Utf8Path) -> bool {
        let mut above = path.ancestors().skip(1).filter_map(|above| self.entry(above));
        above.any(|entry| entry.mode == REPOSITORY)
    }

    /// Resolves the symbolic links of `path`. `None` if it leads out of the commit.
    pub(crate) fn real(&self, path: &Utf8Path) -> Option<Utf8PathBuf> {
        if self.is_in_checkout(path) {
            return symlinks::real(&self.root, path);
        }
        match self.resolve(path) {
            Resolution::Path(real) => Some(real),
            Resolution::Escapes | Resolution::Loop => None,
        }
    }

    fn resolve(&self, path: &Utf8Path) -> Resolution {
        let Some(mut path) = normalize(path) else { return Resolution::Escapes };
        for _ in 0..MOST_LINKS {
            let link = path.ancestors().find_map(|at| self.links.get_key_value(at.as_str()));
            let Some((link, target)) = link else { return Resolution::Path(path) };
            let folder = Utf8Path::new(link).parent().unwrap_or(Utf8Path::new(""));
            let below = path.strip_prefix(link).unwrap_or(Utf8Path::new(""));
            match normalize(&folder.join(target).join(below)) {
                Some(next) => path = next,
                None => return Resolution::Escapes,
            }
        }
        Resolution::Loop
    }
}

/// The result of resolving a path.
enum Resolution {
    /// This path in the commit, which may not exist.
    Path(Utf8PathBuf),
    /// The path leads out of the commit.
    Escapes,
    /// The path has more links than a system follows.
    Loop,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(links: &[(&str, &str)]) -> Tree {
        let owned = |text: &&str| (*text).to_owned();
        Tree {
            commit: "abc".to_owned(),
            root: Utf8PathBuf::new(),
            entries: [
                ("a/b/file", "100644"),
                ("a/b0", "100644"),
                ("a/link", LINK),
                ("top", "100644"),
                ("vendor/theme", REPOSITORY),
            ]
            .map(|(path, mode)| CommitFile {
                path: owned(&path),
                mode: owned(&mode),
                id: String::new(),
            })
            .into(),
            links: links.iter().map(|(from, to)| (owned(from), owned(to))).collect(),
            texts: HashMap::from([
                ("a/b/file".to_owned(), b"text".to_vec()),
                ("top".to_owned(), b"{\"name\":\"\xff\"}".to_vec()),
            ]),
        }
    }

    #[test]
    fn files_folders_and_links() {
        let tree = tree(&[("a/link", "b"), ("l", "a"), ("out", "../x"), ("loop", "loop/x")]);
        for (path, file, exists) in [
            ("a/b/file", true, true),
            ("a/b", false, true),
            ("a/b0", true, true),
            ("a/b/", false, true),
            ("", false, true),
            ("a/c", false, false),
            ("a/link/file", true, true),
            ("l/link/../b0", true, true),
            ("out/y", false, false),
            ("loop", false, false),
            ("../top", false, false),
            ("vendor/theme", false, true),
            ("vendor/theme/dagger.json", true, true),
        ] {
            let path = Utf8Path::new(path);
            assert_eq!((tree.is_file(path), tree.exists(path)), (file, exists), "{path}");
        }
        assert_eq!(tree.read(Utf8Path::new("l/link/file")).expect("text"), "text");
        let failure = tree.read(Utf8Path::new("top")).expect_err("not UTF-8");
        assert_eq!(failure.message, "cannot read top: not UTF-8 in abc");
        let dangles = ["a/link", "l", "out", "loop", "top"].map(|at| tree.dangles(at.into()));
        assert_eq!(dangles, [false, false, false, true, false]);
        let failure = tree.read(Utf8Path::new("out")).expect_err("leaves");
        assert_eq!(failure.message, "out leads out of the repository, in abc");
    }
}
