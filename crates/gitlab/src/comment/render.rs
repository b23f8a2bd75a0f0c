//! Rows as the Markdown of a note.

use super::escape::{address, code, link};
use super::{MARKER, Row, Status, state};

/// The longest body that GitLab takes, in characters (<https://docs.gitlab.com/api/notes/>). Counted
/// in bytes, of which there are never fewer.
const LIMIT: usize = 1_000_000;

/// How much of a name or a label is shown, in characters.
const LABEL: usize = 120;

/// How many unaffected projects are named.
const NAMED: usize = 40;

/// How much of a reason is shown, in characters: as much of the first as fits.
const REASONS: [usize; 3] = [2000, 300, 60];

/// The whole body, within GitLab's limit: reasons are cut first, then rows, those that failed last.
#[must_use]
pub fn body(rows: &[Row]) -> String {
    within(rows, LIMIT)
}

fn within(rows: &[Row], limit: usize) -> String {
    for reason in REASONS {
        let text = text(&shortened(rows, reason), 0);
        if text.len() <= limit {
            return text;
        }
    }
    let mut kept = shortened(rows, REASONS[2]);
    kept.sort_by_key(|row| row.status != Status::Failed);
    let (mut fits, mut too_many) = (0, kept.len());
    while fits + 1 < too_many {
        let middle = usize::midpoint(fits, too_many);
        let fit = text(&kept[..middle], kept.len() - middle).len() <= limit;
        *(if fit { &mut fits } else { &mut too_many }) = middle;
    }
    text(&kept[..fits], kept.len() - fits)
}

fn shortened(rows: &[Row], limit: usize) -> Vec<Row> {
    let short = |text: &String| match text.char_indices().nth(limit) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.clone(),
    };
    rows.iter().map(|row| Row { reason: row.reason.as_ref().map(short), ..row.clone() }).collect()
}

fn text(rows: &[Row], left_out: usize) -> String {
    let mut lines = vec![MARKER.to_owned()];
    lines.extend(rows.iter().map(state::line));
    lines.push("### Previews\n".to_owned());
    let (unaffected, shown): (Vec<&Row>, Vec<&Row>) =
        rows.iter().partition(|row| row.status == Status::Unaffected);
    if shown.is_empty() {
        lines.push("This merge request changes no project.".to_owned());
    } else {
        lines.push(
            "| Project | Status | Preview | This version | Commit | Updated | Log |".to_owned(),
        );
        lines.push("|---|---|---|---|---|---|---|".to_owned());
        lines.extend(shown.iter().map(|row| cells(row)));
    }
    let reasons: Vec<String> = shown.iter().filter_map(|row| reason(row)).collect();
    if !reasons.is_empty() {
        lines.push("\n**Failed**\n".to_owned());
        lines.extend(reasons);
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

fn cells(row: &Row) -> String {
    let status = match row.status {
        Status::Building => "⏳ building",
        Status::Ready => "✅ ready",
        Status::Failed => "❌ failed",
        Status::Undeployed => "not deployed yet",
        Status::Unaffected => "not affected",
        Status::Removed => "🗑️ removed",
    };
    let commit = row.commit.as_deref().and_then(|commit| {
        let short: String = commit.chars().take(8).collect();
        code(&short, 8)
    });
    let log = row.log.as_deref().filter(|url| address(url).is_some()).map(|url| link("log", url));
    let cells = [
        code(&row.project, LABEL),
        Some(status.to_owned()),
        row.alias_url.as_deref().and_then(site),
        row.version_url.as_deref().and_then(version),
        commit,
        row.time.as_deref().and_then(time),
        log,
    ];
    let cells: Vec<String> = cells.into_iter().map(Option::unwrap_or_default).collect();
    format!("| {} |", cells.join(" | "))
}

/// A link to a site under its host's name.
fn site(url: &str) -> Option<String> {
    let shown = url.split_once("://").map_or(url, |(_, rest)| rest);
    Some(link(&code(shown.trim_end_matches('/'), LABEL)?, url))
}

/// A link to a version under the 8 digits that its host begins with; they tell it from others.
fn version(url: &str) -> Option<String> {
    let host = url.split_once("://").map_or(url, |(_, rest)| rest);
    let digits = host.split('-').next().unwrap_or_default();
    if digits.len() == 8 && digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Some(link(&code(digits, 8)?, url));
    }
    site(url)
}

/// `2026-11-24T12:00:00Z` as `2026-11-24 12:00 UTC`; other text as code.
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

fn reason(row: &Row) -> Option<String> {
    let text = row.reason.as_deref().filter(|_| row.status == Status::Failed)?;
    let reason = code(text, REASONS[0] + 1)?;
    Some(format!("- {}: {reason}", code(&row.project, LABEL).unwrap_or_default()))
}

fn names(rows: &[&Row]) -> String {
    let mut names: Vec<String> =
        rows.iter().take(NAMED).filter_map(|row| code(&row.project, LABEL)).collect();
    if rows.len() > NAMED {
        names.push(format!("and {} more", rows.len() - NAMED));
    }
    names.join(", ")
}

#[cfg(test)]
mod tests;
