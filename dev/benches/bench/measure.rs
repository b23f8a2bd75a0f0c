//! Rounds in which everything that is compared has its turn.

use dev::benchmarks::{BenchmarkRow, Goal, Measurement, Unit, median};

/// One of those that take turns.
pub struct Case<'a> {
    name: String,
    turn: Box<dyn FnMut() -> f64 + 'a>,
}

impl<'a> Case<'a> {
    /// `turn` runs it once and returns how many milliseconds of that count.
    pub fn new(name: impl Into<String>, turn: impl FnMut() -> f64 + 'a) -> Case<'a> {
        Case { name: name.into(), turn: Box::new(turn) }
    }
}

/// The milliseconds of each round, by case.
pub struct Samples {
    names: Vec<String>,
    /// By case, then by round.
    pub times: Vec<Vec<f64>>,
}

/// Gives every case `rounds` turns, after `warm` turns that do not count.
pub fn take_turns(warm: usize, rounds: usize, mut cases: Vec<Case<'_>>) -> Samples {
    let mut times = vec![Vec::new(); cases.len()];
    for round in 0..warm + rounds {
        for (case, times) in cases.iter_mut().zip(&mut times) {
            let took = (case.turn)();
            if round >= warm {
                times.push(took);
            }
        }
    }
    Samples { names: cases.into_iter().map(|case| case.name).collect(), times }
}

impl Samples {
    /// A row a case, with its ratio to the first.
    pub fn rows(&self) -> Vec<BenchmarkRow> {
        let row = |(name, times): (&String, &Vec<f64>)| BenchmarkRow {
            name: name.clone(),
            measured: Measurement::new(Unit::Ms, times, Some(&self.times[0])),
            problem: None,
        };
        self.names.iter().zip(&self.times).map(row).collect()
    }

    /// The median over the rounds of what `of` makes of the times of two cases.
    pub fn compare(&self, one: usize, other: usize, of: impl Fn(f64, f64) -> f64) -> f64 {
        let rounds = self.times[one].iter().zip(&self.times[other]);
        median(&rounds.map(|(one, other)| of(*one, *other)).collect::<Vec<_>>()).expect("rounds")
    }

    /// The median of a case.
    pub fn median(&self, case: usize) -> f64 {
        median(&self.times[case]).expect("rounds")
    }
}

/// A goal that is met by at most `limit`.
pub fn at_most(limit: f64, measured: f64, unit: Unit, wanted: impl Into<String>) -> Goal {
    Goal { wanted: wanted.into(), measured, unit, met: measured <= limit }
}

/// A goal that is met by at least `limit`.
pub fn at_least(limit: f64, measured: f64, unit: Unit, wanted: impl Into<String>) -> Goal {
    Goal { wanted: wanted.into(), measured, unit, met: measured >= limit }
}

/// A row of one figure.
pub fn figure(name: impl Into<String>, unit: Unit, figure: f64) -> BenchmarkRow {
    BenchmarkRow {
        name: name.into(),
        measured: Measurement::new(unit, &[figure], None),
        problem: None,
    }
}
