//! Caches texts below `.xtask/` that can be computed again.

use camino::{Utf8Path, Utf8PathBuf};
use ring::digest::{SHA256, digest};

use crate::files::key::hex;
use crate::git::is_ignored;
use base::error::Result;
use base::files::write_whole;
use base::version_cache::this_program;

/// A folder of cached texts. A text is valid only for the program that stored it, because another build may read the
/// same files differently.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TextCache {
    /// The folder, relative to the repository's root.
    pub folder: &'static str,
    /// The maximum number of texts. The oldest are deleted first.
    pub max: usize,
}

impl TextCache {
    /// Returns the text of `key`, which is a file name. `None` if it is missing or damaged, or if another program stored
    /// it.
    pub(crate) fn get(self, root: &Utf8Path, key: &str) -> Option<String> {
        let text = std::fs::read_to_string(root.join(self.folder).join(key)).ok()?;
        let (sum, body) = text.split_once('\n')?;
        let cached = body.strip_prefix(this_program()?.as_str())?.strip_prefix('\n')?;
        (checksum(body) == sum).then(|| cached.to_owned())
    }

    /// Stores the text of `key`. If that fails, the next run computes it again. Does nothing if git does not ignore the
    /// file, because it would count as a change.
    pub(crate) fn put(self, root: &Utf8Path, key: &str, text: &str) {
        let path = Utf8Path::new(self.folder).join(key);
        let (Some(program), Ok(true)) = (this_program(), is_ignored(root, &path)) else { return };
        let body = format!("{program}\n{text}");
        let text = format!("{}\n{body}", checksum(&body));
        let _made_again = write_whole(&root.join(&path), &text).and_then(|()| self.evict(root));
    }

    fn evict(self, root: &Utf8Path) -> Result<()> {
        let mut kept: Vec<(std::time::SystemTime, Utf8PathBuf)> = root
            .join(self.folder)
            .read_dir_utf8()?
            .filter_map(|entry| {
                let entry = entry.ok()?;
                Some((entry.metadata().ok()?.modified().ok()?, entry.into_path()))
            })
            .collect();
        kept.sort();
        for (_, path) in kept.iter().take(kept.len().saturating_sub(self.max)) {
            std::fs::remove_file(path)?;
        }
        Ok(())
    }
}

fn checksum(body: &str) -> String {
    hex(digest(&SHA256, body.as_bytes()).as_ref())
}
