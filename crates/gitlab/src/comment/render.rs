//! Renders rows as the Markdown of a note.

use super::escape::{address, code, code_block, html, link};
use super::{CommentRow, MARKER, PreviewStatus, state};
use base::command::xtask_line;
use base::text::{list_first, short_commit};

/// The longest body that GitLab accepts, in characters (<https://docs.gitlab.com/api/notes/>). We
/// count bytes, which are never fewer.
const MAX_BODY_LENGTH: usize = 1_000_000;

/// The maximum length of a name or a label.
const LABEL: usize = 120;

/// The number of unaffected projects that are named.
const NAMED: usize = 40;

/// The maximum lengths of a reason. The first one that fits is used.
const REASONS: [usize; 3] = [2000, 300, 60];

/// Returns the whole body, within GitLab's limit: reasons are cut first, then rows, those that failed last.
#[must_use]
pub fn body(rows: &[CommentRow]) -> String {
    within(rows, MAX_BODY_LENGTH)
}

fn within(rows: &[CommentRow], limit: usize) -> String {
    for reason in REASONS {
        let text = text(&shorten(rows, reason), 0);
        if text.len() <= limit {
            return text;
        }
    }
    let mut kept = shorten(rows, REASONS[2]);
    kept.sort_by_key(|row| row.status != PreviewStatus::Failed);
    let (mut fits, mut too_many) = (0, kept.len());
    while fits + 1 < too_many {
        let middle = usize::midpoint(fits, too_many);
        let fit = text(&kept[..middle], kept.len() - middle).len() <= limit;
        *(if fit { &mut fits } else { &mut too_many }) = middle;
    }
    text(&kept[..fits], kept.len() - fits)
}

fn shorten(rows: &[CommentRow], limit: usize) -> Vec<CommentRow> {
    let short = |text: &String| match text.char_indices().nth(limit) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.clone(),
    };
    let short_row = |row: &CommentRow| CommentRow {
        reason: row.reason.as_ref().map(short),
        warning: row.warning.as_ref().map(short),
        ..row.clone()
    };
    rows.iter().map(short_row).collect()
}

fn text(rows: &[CommentRow], left_out: usize) -> String {
    let mut lines = vec![MARKER.to_owned()];
    lines.extend(rows.iter().map(state::line));
    lines.push("### Previews\n".to_owned());
    let (unaffected, shown): (Vec<&CommentRow>, Vec<&CommentRow>) =
        rows.iter().partition(|row| row.status == PreviewStatus::Unaffected);
    let newest = newest(&shown);
    if shown.is_empty() {
        lines.push("This merge request changes no project.".to_owned());
    } else {
        lines.push(format!("{}\n", summary(&shown, newest)));
        lines.push("| Project | Preview | Status |".to_owned());
        lines.push("|---|---|---|".to_owned());
        lines.extend(shown.iter().map(|row| cells(row, newest)));
    }
    let failures = shown.iter().filter_map(|row| failure(row));
    let blocks: Vec<String> = failures.chain(shown.iter().filter_map(|row| warning(row))).collect();
    if !blocks.is_empty() {
        lines.push(String::new());
        lines.extend(blocks);
    }
    if !unaffected.is_empty() {
        lines.push(format!("\nNot affected: {}", names(&unaffected)));
    }
    if left_out > 0 {
        lines
            .push(format!("\n{left_out} more projects do not fit; the job's log has all of them."));
    }
    lines.join("\n")
}

/// Returns the row of the newest pipeline. The summary shows its commit.
fn newest<'a>(rows: &[&'a CommentRow]) -> Option<&'a CommentRow> {
    rows.iter().copied().max_by_key(|row| (row.pipeline, row.time.clone()))
}

/// Returns the line above the table: commit, pipeline, counts and time.
fn summary(rows: &[&CommentRow], newest: Option<&CommentRow>) -> String {
    let count = |status: PreviewStatus, word: &str| {
        let count = rows.iter().filter(|row| row.status == status).count();
        (count > 0).then(|| format!("{count} {word}"))
    };
    let counts = [
        count(PreviewStatus::Ready, "ready"),
        count(PreviewStatus::Failed, "failed"),
        count(PreviewStatus::Building, "building"),
        count(PreviewStatus::Undeployed, "not deployed yet"),
        count(PreviewStatus::Removed, "removed"),
        count(PreviewStatus::AliasOnly, "ended"),
    ];
    let counts = counts.into_iter().flatten().collect::<Vec<_>>().join(", ");
    let latest = rows.iter().filter_map(|row| row.time.as_deref()).max();
    let parts =
        [newest.and_then(commit), newest.and_then(pipeline), Some(counts), latest.and_then(time)];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" · ")
}

/// Returns the row's commit as a link.
fn commit(row: &CommentRow) -> Option<String> {
    let hash = row.commit.as_deref()?;
    let label = code(short_commit(hash), 7)?;
    let is_hash = hash.bytes().all(|b| b.is_ascii_hexdigit());
    let url = project_page(row).filter(|_| is_hash).map(|page| format!("{page}/-/commit/{hash}"));
    Some(url.map_or(label.clone(), |url| link(&label, &url)))
}

/// Returns the row's pipeline as a link.
fn pipeline(row: &CommentRow) -> Option<String> {
    let id = row.pipeline?;
    let label = format!("pipeline {id}");
    let url = project_page(row).map(|page| format!("{page}/-/pipelines/{id}"));
    Some(url.map_or(label.clone(), |url| link(&label, &url)))
}

/// Returns the URL of the GitLab project. The URL of a job log begins with it.
fn project_page(row: &CommentRow) -> Option<&str> {
    row.log.as_deref()?.split_once("/-/jobs/").map(|(page, _)| page)
}

fn cells(row: &CommentRow, newest: Option<&CommentRow>) -> String {
    let status = match row.status {
        PreviewStatus::Building => "⏳ building",
        PreviewStatus::Ready => "✅ ready",
        PreviewStatus::Failed => "❌ failed",
        PreviewStatus::Undeployed => "not deployed yet",
        PreviewStatus::Unaffected => "not affected",
        PreviewStatus::Removed => "🗑️ removed",
        PreviewStatus::AliasOnly => "⏹️ ended, the address still answers",
    };
    let is_older = newest.is_some_and(|newest| newest.commit != row.commit);
    let commit = commit(row).filter(|_| is_older).map(|commit| format!("at {commit}"));
    let log = row.log.as_deref().filter(|url| address(url).is_some()).map(|url| link("log", url));
    let status = [Some(status.to_owned()), commit, log.map(|log| format!("· {log}"))];
    let status = status.into_iter().flatten().collect::<Vec<_>>().join(" ");
    let project = code(&row.project, LABEL).unwrap_or_default();
    format!("| {project} | {} | {status} |", preview(row))
}

/// Returns the links to the stable URL and to this commit's version.
fn preview(row: &CommentRow) -> String {
    let alias = row.alias_url.as_deref().filter(|url| address(url).is_some());
    let version = row.version_url.as_deref().filter(|url| address(url).is_some());
    match (alias, version) {
        (Some(alias), Some(version)) => {
            format!("{} · {}", link("Open preview", alias), link("this commit", version))
        }
        (Some(url), None) | (None, Some(url)) => link("Open preview", url),
        (None, None) => String::new(),
    }
}

/// Formats `2026-11-24T12:00:00Z` as `2026-11-24 12:00 UTC`, and any other text as code.
fn time(text: &str) -> Option<String> {
    let shape = |(have, wanted): (u8, u8)| {
        if wanted == b'0' { have.is_ascii_digit() } else { have == wanted }
    };
    let pattern = b"0000-00-00T00:00:00Z";
    if text.len() == pattern.len() && text.bytes().zip(*pattern).all(shape) {
        return Some(format!("{} {} UTC", &text[..10], &text[11..16]));
    }
    code(text, 30)
}

/// Returns a collapsed block with the row's error, line by line, and the command that reproduces it.
fn failure(row: &CommentRow) -> Option<String> {
    let text = row.reason.as_deref().filter(|_| row.status == PreviewStatus::Failed)?;
    let error = code_block(text, REASONS[0] + 1)?;
    let project = html(&row.project, LABEL)?;
    let command = html(&xtask_line(&["preview", &row.project]), LABEL + 32)?;
    Some(format!(
        "<details><summary>{project} failed</summary><pre>{error}</pre>Run it on your machine: \
         <code>{command}</code></details>"
    ))
}

/// Returns a collapsed block with the row's warnings, line by line.
fn warning(row: &CommentRow) -> Option<String> {
    let text = row.warning.as_deref().filter(|_| row.status == PreviewStatus::Ready)?;
    let warning = code_block(text, REASONS[0] + 1)?;
    let project = html(&row.project, LABEL)?;
    Some(format!(
        "<details><summary>{project} has warnings</summary><pre>{warning}</pre></details>"
    ))
}

fn names(rows: &[&CommentRow]) -> String {
    let names: Vec<String> = rows.iter().filter_map(|row| code(&row.project, LABEL)).collect();
    list_first(NAMED, &names)
}

#[cfg(test)]
mod tests;
