//! Caches the summaries of commits below `.xtask/summaries/`. A commit never changes, and reading a
//! thousand manifests takes longer than everything else in `affected`.

use camino::Utf8Path;

use crate::Workspace;
use crate::changes::summary::Summary;
use crate::changes::summary_text::{decode, encode};
use crate::files::has_submodules;
use crate::files::text_cache::TextCache;
use base::error::Result;

/// The cached summaries, by commit.
const SUMMARIES: TextCache = TextCache { folder: ".xtask/summaries", max: 16 };

/// Returns the summary of `commit` in the repository at `root`.
pub fn summary(root: &Utf8Path, commit: &str) -> Result<Summary> {
    // The files of submodules are those of their checkouts, which change.
    if has_submodules(root) {
        return Ok(Summary::new(&Workspace::load_commit(root, commit)?));
    }
    if let Some(summary) = SUMMARIES.get(root, commit).and_then(|text| decode(&text)) {
        return Ok(summary);
    }
    let summary = Summary::new(&Workspace::load_commit(root, commit)?);
    if let Some(text) = encode(&summary) {
        SUMMARIES.put(root, commit, &text);
    }
    Ok(summary)
}
