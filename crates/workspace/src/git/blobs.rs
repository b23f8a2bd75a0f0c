//! The content of files, as it stands in the working tree.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};

use super::{LINK, REPOSITORY, finish, history, start, utf8};
use crate::key::{Blob, hex};

/// Every file by its path, and what it holds.
pub type Blobs = BTreeMap<Utf8PathBuf, Blob>;

/// The content of every input file below `paths`: from git's index where the file is unchanged, else
/// from the file itself. Of what lies in another repository, that repository's commit.
pub fn blobs(root: &Utf8Path, paths: &[&Utf8Path]) -> Result<Blobs> {
    let paths: Vec<&str> = paths.iter().map(|path| pathspec(known_by(root, path))).collect();
    let list = |flags: &[&str]| {
        start(root, &[&["ls-files", "-z"], flags, &["--"], paths.as_slice()].concat())
    };
    // Two processes side by side: the second looks at every file.
    let staged = list(&["--stage"])?;
    let differ =
        list(&["--modified", "--deleted", "--others", "--exclude-standard", "--deduplicate"])?;
    let mut blobs = BTreeMap::new();
    for entry in utf8(finish(staged, "ls-files")?)?.split('\0') {
        let Some((meta, path)) = entry.split_once('\t') else {
            continue;
        };
        let mut meta = meta.split(' ');
        if let (Some(mode), Some(id)) = (meta.next(), meta.next()) {
            blobs.insert(path.into(), Blob { mode: mode.to_owned(), id: id.to_owned() });
        }
    }
    let sha256 = blobs.values().next().is_some_and(|blob: &Blob| blob.id.len() == 64);
    let differ = utf8(finish(differ, "ls-files")?)?;
    for path in differ.split('\0').filter(|path| !path.is_empty()) {
        if let Some(blob) =
            blobs.get_mut(Utf8Path::new(path)).filter(|blob| blob.mode == REPOSITORY)
            && root.join(path).is_dir()
            && let Some(commit) = history::commit(&root.join(path), "HEAD")?
        {
            blob.id = commit;
            continue;
        }
        match working_blob(&root.join(path), sha256)
            .with_context(|| format!("cannot read {path}"))?
        {
            Some(blob) => drop(blobs.insert(path.into(), blob)),
            // Git lists a repository that is no submodule by its folder alone.
            None if path.ends_with('/') => {
                let id = history::commit(&root.join(path), "HEAD")?.unwrap_or_default();
                blobs.insert(path.into(), Blob { mode: REPOSITORY.to_owned(), id });
            }
            None => drop(blobs.remove(Utf8Path::new(path))),
        }
    }
    Ok(blobs)
}

/// What is below any of `paths` among `blobs`.
#[must_use]
pub fn below<'b>(
    root: &Utf8Path,
    blobs: &'b Blobs,
    paths: &[&Utf8Path],
) -> BTreeMap<&'b Utf8Path, Blob> {
    let below = |path: &&Utf8Path| {
        let path = known_by(root, path).to_owned();
        let from = blobs.range(path.clone()..);
        from.take_while(move |(other, _)| other.starts_with(&path))
    };
    let found = paths.iter().flat_map(below);
    found.map(|(path, blob)| (path.as_path(), blob.clone())).collect()
}

/// What git lists a path by: the repository that holds it, of which it knows nothing but the commit.
fn known_by<'p>(root: &Utf8Path, path: &'p Utf8Path) -> &'p Utf8Path {
    let above = path.ancestors().skip(1).filter(|above| !above.as_str().is_empty());
    above.filter(|above| root.join(above).join(".git").exists()).last().unwrap_or(path)
}

/// The root itself is `.` to git.
fn pathspec(path: &Utf8Path) -> &str {
    if path.as_str().is_empty() { "." } else { path.as_str() }
}

/// The blob that git would make of a file; nothing when it is gone or is a folder of its own
/// repository.
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
