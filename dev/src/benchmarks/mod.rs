//! The results of the benchmarks, as values: the program in `benches/bench` makes them, `cargo xtask
//! bench` shows them, and the reference page is rendered from them.

mod render;

use serde::{Deserialize, Serialize};

/// All of one run. Ratios inside of it are from that run alone.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Benchmarks {
    /// The version of this shape.
    pub schema: u32,
    /// The time of the run, RFC 3339.
    pub made: String,
    /// The commit that was measured.
    pub commit: String,
    /// `true` if sizes were tiny. Such a run checks that everything works, and its figures mean nothing.
    pub quick: bool,
    /// The duration of all of it, in seconds.
    pub seconds: f64,
    /// The machine: name and value of each fact.
    pub machine: Vec<(String, String)>,
    /// One a benchmark.
    pub groups: Vec<BenchmarkGroup>,
}

/// A group of figures that were measured together, in turns.
#[derive(Debug, Deserialize, Serialize)]
pub struct BenchmarkGroup {
    /// Its name on the command line.
    pub name: String,
    /// The topic, in a few words.
    pub title: String,
    /// The method.
    pub about: String,
    /// The cases that ran in turns.
    pub rows: Vec<BenchmarkRow>,
    /// The goals.
    #[serde(default)]
    pub goals: Vec<Goal>,
}

/// One of those that took turns.
#[derive(Debug, Deserialize, Serialize)]
pub struct BenchmarkRow {
    /// The label.
    pub name: String,
    /// The measured values. `None` if it could not be measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measured: Option<Measurement>,
    /// The reason why it could not be measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// The figures of several rounds.
#[derive(Debug, PartialEq, Deserialize, Serialize)]
pub struct Measurement {
    /// The unit.
    pub unit: Unit,
    /// The number of rounds.
    pub rounds: usize,
    /// The median.
    pub median: f64,
    /// The minimum.
    pub least: f64,
    /// The most.
    pub most: f64,
    /// The ratio to the group's first row, by the median over the rounds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio: Option<f64>,
}

/// The unit of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Unit {
    /// Milliseconds.
    #[serde(rename = "ms")]
    Ms,
    /// Megabytes: 1,000,000 bytes.
    #[serde(rename = "MB")]
    Mb,
    /// A ratio.
    #[serde(rename = "times")]
    Times,
    /// A share of something.
    #[serde(rename = "%")]
    Percent,
    /// Pieces.
    #[serde(rename = "count")]
    Count,
}

/// A goal and the measured figure.
#[derive(Debug, Deserialize, Serialize)]
pub struct Goal {
    /// The goal, as a sentence.
    pub wanted: String,
    /// The measured value.
    pub measured: f64,
    /// The unit.
    pub unit: Unit,
    /// `true` if the goal is met.
    pub met: bool,
}

impl Measurement {
    /// The figures of `samples`, in the order of the rounds; `base` are those of the group's first row.
    /// Nothing without samples.
    #[must_use]
    pub fn new(unit: Unit, samples: &[f64], base: Option<&[f64]>) -> Option<Measurement> {
        let least = samples.iter().copied().reduce(f64::min)?;
        let most = samples.iter().copied().reduce(f64::max)?;
        let ratios = |base: &[f64]| -> Vec<f64> {
            samples.iter().zip(base).map(|(sample, base)| sample / base).collect()
        };
        let ratio = base.and_then(|base| median(&ratios(base)));
        Some(Measurement {
            unit,
            rounds: samples.len(),
            median: median(samples)?,
            least,
            most,
            ratio,
        })
    }
}

/// The figure in the middle; nothing of none.
#[must_use]
pub fn median(samples: &[f64]) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    Some(f64::midpoint(sorted[middle - 1], upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_taken_round_by_round() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0]), Some(2.5));
        // The machine was twice as slow in the second round; the ratio is the same in both.
        let measured = Measurement::new(Unit::Ms, &[30.0, 60.0], Some(&[10.0, 20.0]));
        let measured = measured.expect("samples");
        assert_eq!((measured.median, measured.ratio), (45.0, Some(3.0)));
        assert_eq!(Measurement::new(Unit::Ms, &[], None), None);
    }
}
