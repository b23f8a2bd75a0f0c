//! Caches the summaries of commits below `.xtask/summaries/`. A commit never changes, and reading a
//! thousand manifests takes longer than everything else in `affected`.

use camino::{Utf8Path, Utf8PathBuf};
use ring::digest::{SHA256, digest};

use crate::Workspace;
use crate::changes::summary::Summary;
use crate::changes::summary_text::{decode, encode};
use crate::files::key::hex;
use crate::git::is_ignored;
use base::error::Result;
use base::files::write_whole;
use base::version_cache::this_program;

/// The folder of the cached summaries.
const SUMMARIES: &str = ".xtask/summaries";

/// The number of summaries that are kept. The oldest are deleted first.
const MAX_SUMMARIES: usize = 16;

/// Returns the summary of `commit` in the repository at `root`. A cached summary is valid only for the
/// program that wrote it, because another build may read the same files differently.
pub fn summary(root: &Utf8Path, commit: &str) -> Result<Summary> {
    let below_root = Utf8Path::new(SUMMARIES).join(commit);
    let path = root.join(&below_root);
    let program = this_program();
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    if let Some(summary) = program.as_deref().and_then(|program| read(&text, program)) {
        return Ok(summary);
    }
    let summary = Summary::new(&Workspace::survey_commit(root, commit)?);
    // A file that git does not ignore would count as a change.
    let ignored = is_ignored(root, &below_root)?;
    if let (true, Some(program), Some(encoded)) = (ignored, program, encode(&summary)) {
        let body = format!("{program}\n{encoded}");
        let text = format!("{}\n{body}", checksum(&body));
        // If it cannot be stored, the next run computes it again.
        let _made_again = write_whole(&path, &text).and_then(|()| evict(&root.join(SUMMARIES)));
    }
    Ok(summary)
}

/// Parses a cached summary: a checksum of the following text, the identity of the program, and the summary. `None` if it is
/// damaged or of another program.
fn read(text: &str, program: &str) -> Option<Summary> {
    let (sum, body) = text.split_once('\n')?;
    let summary = body.strip_prefix(program)?.strip_prefix('\n')?;
    (checksum(body) == sum).then(|| decode(summary))?
}

fn checksum(body: &str) -> String {
    hex(digest(&SHA256, body.as_bytes()).as_ref())
}

fn evict(folder: &Utf8Path) -> Result<()> {
    let mut kept: Vec<(std::time::SystemTime, Utf8PathBuf)> = folder
        .read_dir_utf8()?
        .filter_map(|entry| {
            let entry = entry.ok()?;
            Some((entry.metadata().ok()?.modified().ok()?, entry.into_path()))
        })
        .collect();
    kept.sort();
    for (_, path) in kept.iter().take(kept.len().saturating_sub(MAX_SUMMARIES)) {
        std::fs::remove_file(path)?;
    }
    Ok(())
}
