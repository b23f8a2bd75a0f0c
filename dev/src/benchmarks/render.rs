//! Benchmarks as a table in a terminal, and as a page.

use super::{BenchmarkGroup, BenchmarkRow, Benchmarks, Goal, Unit};
use base::terminal::{BOLD, DIM, GREEN, RED, paint};

/// The text of the page before its tables.
const HEAD: &str = "# Benchmarks\n\n<!-- Written by `cargo dev generate` from benchmarks.json. -->\n\n\
`cargo dev bench --save` measures all of this on one machine, in one run, and writes this page. Those \
that are compared take turns, so that noise meets all of them; a ratio is the median of the rounds' own \
ratios. Times are of a development build, which is what `cargo xtask` runs. Machines differ: compare \
ratios, not milliseconds.\n";

impl Benchmarks {
    /// As tables in a terminal.
    #[must_use]
    pub fn text(&self) -> String {
        let groups: Vec<String> = self.groups.iter().map(BenchmarkGroup::text).collect();
        groups.join("\n\n")
    }

    /// As a page.
    #[must_use]
    pub fn page(&self) -> String {
        let mut text = HEAD.to_owned();
        text += "\n| | |\n|---|---|\n";
        let run = [("made", &self.made), ("commit", &self.commit)];
        let machine = self.machine.iter().map(|(name, value)| (name.as_str(), value));
        for (name, value) in run.into_iter().chain(machine) {
            text += &format!("| {name} | {} |\n", cell(value));
        }
        text += &format!("| the whole run | {:.0} s |\n", self.seconds);
        for group in &self.groups {
            text += &group.section();
        }
        text
    }
}

impl BenchmarkGroup {
    fn text(&self) -> String {
        let width = self.rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0);
        let mut lines = vec![
            paint(BOLD, &format!("{}: {}", self.name, self.title)),
            paint(
                DIM,
                &format!("{:width$}  {:>9}  {:>19}  {:>7}", "", "median", "least – most", "ratio"),
            ),
        ];
        for row in &self.rows {
            let [median, spread, ratio] = row.cells();
            lines.push(
                format!("{:width$}  {median:>9}  {spread:>19}  {ratio:>7}", row.name)
                    .trim_end()
                    .to_owned(),
            );
        }
        for goal in &self.goals {
            let style = if goal.met { GREEN } else { RED };
            lines.push(format!("{} {}", paint(style, goal.verdict()), goal.sentence()));
        }
        lines.join("\n")
    }

    fn section(&self) -> String {
        let mut text =
            format!("\n## {}\n\n`cargo dev bench {}`. {}\n\n", self.title, self.name, self.about);
        text += "| | median | least – most | ratio |\n|---|---:|---:|---:|\n";
        for row in &self.rows {
            let [median, spread, ratio] = row.cells();
            text += &format!("| {} | {} | {spread} | {ratio} |\n", cell(&row.name), cell(&median));
        }
        if !self.goals.is_empty() {
            text += "\n| goal | measured | |\n|---|---:|---|\n";
        }
        for goal in &self.goals {
            let measured = amount(goal.measured, goal.unit);
            text += &format!("| {} | {measured} | {} |\n", cell(&goal.wanted), goal.verdict());
        }
        text
    }
}

impl BenchmarkRow {
    /// Median, spread and ratio; the reason where nothing was measured.
    fn cells(&self) -> [String; 3] {
        let Some(measured) = &self.measured else {
            let reason = self.problem.as_deref().unwrap_or("no reason is known");
            return [format!("not measured: {reason}"), String::new(), String::new()];
        };
        let of = |figure| amount(figure, measured.unit);
        let spread = match measured.rounds {
            1 => String::new(),
            _ => format!("{} – {}", of(measured.least), of(measured.most)),
        };
        let ratio = measured.ratio.map(|ratio| amount(ratio, Unit::Times));
        [of(measured.median), spread, ratio.unwrap_or_default()]
    }
}

impl Goal {
    fn verdict(&self) -> &'static str {
        if self.met { "met" } else { "missed" }
    }

    fn sentence(&self) -> String {
        format!("{}: {}", self.wanted, amount(self.measured, self.unit))
    }
}

/// A figure with its unit, as exact as it deserves.
fn amount(figure: f64, unit: Unit) -> String {
    let digits = |figure: f64| {
        let digits = if figure.abs() >= 100.0 {
            0
        } else if figure.abs() >= 10.0 {
            1
        } else {
            2
        };
        format!("{figure:.digits$}")
    };
    match unit {
        Unit::Ms if figure.abs() >= 10_000.0 => format!("{:.1} s", figure / 1000.0),
        Unit::Ms => format!("{} ms", digits(figure)),
        Unit::Mb => format!("{figure:.0} MB"),
        Unit::Times => format!("{} ×", digits(figure)),
        Unit::Percent => format!("{figure:.1} %"),
        Unit::Count => format!("{figure:.0}"),
    }
}

/// Text that cannot end its cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::super::Measurement;
    use super::*;

    fn benchmarks() -> Benchmarks {
        let row = |name: &str, samples: &[f64], base: Option<&[f64]>| BenchmarkRow {
            name: name.to_owned(),
            measured: Measurement::new(Unit::Ms, samples, base),
            problem: samples.is_empty().then(|| "it did not\ninstall | here".to_owned()),
        };
        let base = [5.0, 5.0, 6.0];
        let rows = vec![
            row("git", &base, Some(&base)),
            row("affected", &[20.04, 15.0, 12_000.0], Some(&base)),
            row("peer", &[], None),
        ];
        let goal =
            Goal { wanted: "at most 30 ms".to_owned(), measured: 20.04, unit: Unit::Ms, met: true };
        let group = BenchmarkGroup {
            name: "affected".to_owned(),
            title: "Projects affected by a change".to_owned(),
            about: "A tree.".to_owned(),
            rows,
            goals: vec![goal],
        };
        Benchmarks {
            schema: 1,
            made: "2026-11-24T12:00:00Z".to_owned(),
            commit: "abc".to_owned(),
            quick: false,
            seconds: 61.4,
            machine: vec![("cores".to_owned(), "2".to_owned())],
            groups: vec![group],
        }
    }

    #[test]
    fn page_has_every_row_and_the_reason_of_an_empty_one() {
        let page = benchmarks().page();
        for line in [
            "| cores | 2 |",
            "| the whole run | 61 s |",
            "| git | 5.00 ms | 5.00 ms – 6.00 ms | 1.00 × |",
            "| affected | 20.0 ms | 15.0 ms – 12.0 s | 4.01 × |",
            "| peer | not measured: it did not install \\| here |  |  |",
            "| at most 30 ms | 20.0 ms | met |",
        ] {
            assert!(page.lines().any(|found| found == line), "{line}\n{page}");
        }
    }

    #[test]
    fn the_terminal_gets_the_same_figures() {
        let text = benchmarks().text();
        for part in [
            "affected: Projects affected by a change",
            "15.0 ms – 12.0 s",
            "at most 30 ms: 20.0 ms",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }
}
