//! Formats the report for people.

use super::check::{CheckGroup, Need};
use super::finding::CheckStatus;
use super::report::{Counts, DoctorReport, FixResult, ReportEntry};
use base::terminal::{BOLD, CYAN, DIM, GREEN, RED, YELLOW, paint};

/// Formats the report: one line per group without problems, and each problem in full. `verbose` shows every check.
#[must_use]
pub fn text(report: &DoctorReport, verbose: bool) -> String {
    let mut text = String::new();
    for group in report.checks.chunk_by(|a, b| a.check.group == b.check.group) {
        text += &if verbose { every(group) } else { brief(group) };
    }
    for fixed in &report.fixed {
        text += &fixed.line();
    }
    text + &report.counts.line() + "\n"
}

/// A value longer than this gets its own line.
const LONG: usize = 24;

fn heading(group: CheckGroup) -> String {
    paint(BOLD, group.name())
}

/// Formats every check of a group on its own line.
fn every(entries: &[ReportEntry]) -> String {
    let mut text = heading(entries[0].check.group) + "\n";
    let width = width(entries.iter());
    for entry in entries {
        text += &if entry.finding.is_problem() {
            problem(entry, width)
        } else {
            let finding = &entry.finding;
            let time = paint(DIM, &format!("{} ms", entry.milliseconds));
            let details: Vec<&str> = finding
                .detail
                .lines()
                .chain(finding.source.as_deref())
                .chain([time.as_str()])
                .collect();
            let details = details.join("  ");
            format!("  {} {:width$}  {details}\n", mark(finding.status), entry.label())
        };
    }
    text
}

/// Formats a group: the passed checks on one line, and every problem in full.
fn brief(entries: &[ReportEntry]) -> String {
    let labels = |status: CheckStatus| -> Vec<String> {
        let with_status = entries.iter().filter(|entry| entry.finding.status == status);
        with_status.map(ReportEntry::label).collect()
    };
    let (good, skipped) = (labels(CheckStatus::Ok), labels(CheckStatus::Skip));
    let mut line = Vec::new();
    if !good.is_empty() {
        line.push(format!("{} {}", mark(CheckStatus::Ok), good.join(", ")));
    }
    if !skipped.is_empty() {
        line.push(paint(DIM, &format!("- {}", skipped.join(", "))));
    }
    if good.is_empty() && skipped.len() == entries.len() && entries[0].check.group.is_optional() {
        return String::new();
    }
    let line = line.join("  ");
    let group = entries[0].check.group;
    if !entries.iter().any(|entry| entry.finding.is_problem()) {
        let space = " ".repeat(12_usize.saturating_sub(group.name().len()));
        return format!("{}{space} {line}\n", heading(group));
    }
    let mut text = heading(group) + "\n";
    if !line.is_empty() {
        text += &format!("  {line}\n");
    }
    let problems = || entries.iter().filter(|entry| entry.finding.is_problem());
    let width = width(problems());
    for entry in problems() {
        text += &problem(entry, width);
    }
    text
}

/// The most details below the first line of a problem. A repository may have a hundred projects with the same problem.
const MOST_DETAILS: usize = 5;

/// Formats a problem with its details.
fn problem(entry: &ReportEntry, width: usize) -> String {
    let finding = &entry.finding;
    let mut lines = finding.detail.lines();
    let mut text = format!(
        "  {} {:width$}  {}\n",
        mark(finding.status),
        entry.label(),
        lines.next().unwrap_or_default()
    );
    let others: Vec<&str> = lines.collect();
    let shown = if others.len() > MOST_DETAILS { MOST_DETAILS - 1 } else { others.len() };
    for line in others.iter().take(shown) {
        text += &format!("      {line}\n");
    }
    if others.len() > shown {
        text += &format!("      and {} more (`--json`)\n", others.len() - shown);
    }
    let facts = [
        ("found", finding.found.as_ref().filter(|found| found.len() > LONG)),
        ("wanted", finding.wanted.as_ref()),
        ("source", finding.source.as_ref()),
    ];
    let facts: Vec<String> =
        facts.iter().filter_map(|(name, value)| Some(format!("{name}: {}", (*value)?))).collect();
    if !facts.is_empty() {
        text += &format!("      {}\n", facts.join(", "));
    }
    for (index, line) in finding.fix.iter().flat_map(|fix| fix.text.lines()).enumerate() {
        let has_fix = finding.fix.as_ref().is_some_and(|fix| fix.safe) && index == 0;
        let line = if has_fix {
            format!("`cargo xtask doctor {} --fix`: {line}", entry.check.id)
        } else {
            line.to_owned()
        };
        text += &format!("      {} {line}\n", paint(CYAN, "fix:"));
    }
    let needs = Need::words(entry.check.needed_by).join(", ");
    if !needs.is_empty() {
        text += &paint(DIM, &format!("      needed by: {needs}"));
        text.push('\n');
    }
    text
}

/// The width of the column of labels.
fn width<'e>(entries: impl Iterator<Item = &'e ReportEntry>) -> usize {
    entries.map(|entry| entry.label().chars().count()).max().unwrap_or(0).max(18)
}

fn mark(status: CheckStatus) -> String {
    match status {
        CheckStatus::Ok => paint(GREEN, "✓"),
        CheckStatus::Skip => paint(DIM, "-"),
        CheckStatus::Warn => paint(YELLOW, "!"),
        CheckStatus::Fail => paint(RED, "✗"),
        CheckStatus::Crashed => paint(RED, "☠"),
    }
}

impl ReportEntry {
    /// Returns the subject with the observed value.
    fn label(&self) -> String {
        let title = &self.check.title;
        match &self.finding.found {
            Some(found) if found == "1" => format!("1 {}", title.trim_end_matches('s')),
            Some(found) if found.bytes().all(|b| b.is_ascii_digit()) && found.len() <= LONG => {
                format!("{found} {title}")
            }
            Some(found) if found.len() <= LONG => format!("{title} {found}"),
            _ => title.clone(),
        }
    }
}

impl FixResult {
    fn line(&self) -> String {
        match &self.error {
            None if self.after < CheckStatus::Warn => {
                format!("{} fixed: {}\n", mark(CheckStatus::Ok), self.id)
            }
            None => format!("{} still there: {}\n", mark(self.after), self.id),
            Some(error) => format!("{} not fixed: {}: {error}\n", mark(CheckStatus::Fail), self.id),
        }
    }
}

impl Counts {
    fn line(self) -> String {
        let several = |count: usize, word: &str| match count {
            0 => None,
            1 => Some(format!("1 {word}")),
            _ => Some(format!("{count} {word}s")),
        };
        let total = self.ok + self.skip + self.warn + self.fail + self.crashed;
        let parts = [
            Some(format!("{} ok", self.ok)),
            (self.skip > 0).then(|| format!("{} skipped (`-v` says why)", self.skip)),
            several(self.warn, "warning"),
            several(self.fail, "problem"),
            several(self.crashed, "crash").map(|text| text.replace("crashs", "crashes")),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        let checks = several(total, "check").unwrap_or_else(|| "no checks".to_owned());
        format!("{checks}: {}", parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_counts_as_words() {
        let counts = Counts { ok: 7, skip: 0, warn: 1, fail: 2, crashed: 2 };
        assert_eq!(counts.line(), "12 checks: 7 ok, 1 warning, 2 problems, 2 crashes");
    }
}
