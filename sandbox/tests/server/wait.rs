//! The one limit of every wait in the tests.

use std::fmt::Display;
use std::time::{Duration, Instant};

/// The variable that multiplies the limit, for a very slow machine: `XTASK_TEST_WAIT_FACTOR=4`.
const VARIABLE: &str = "XTASK_TEST_WAIT_FACTOR";

/// Returns the time after which a test fails: four minutes, because a busy machine is slow, but what hangs takes longer.
pub fn max_wait() -> Duration {
    let factor = std::env::var(VARIABLE).ok().map(|text| text.parse::<u32>());
    Duration::from_secs(240) * factor.map_or(1, |factor| factor.expect("a whole number"))
}

/// A wait for a condition.
pub struct Wait(Instant);

impl Wait {
    /// Begins a wait.
    pub fn begin() -> Wait {
        Wait(Instant::now())
    }

    /// Fails the test after [`max_wait`]. `what` says what did not happen.
    #[track_caller]
    pub fn check(&self, what: impl Display) {
        assert!(self.0.elapsed() < max_wait(), "{what}");
    }

    /// Does the same, and sleeps until the next look.
    #[track_caller]
    pub fn pause(&self, what: impl Display) {
        self.check(what);
        std::thread::sleep(Duration::from_millis(20));
    }
}
