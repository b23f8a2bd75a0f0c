//! An upper bound for how long any child may take.

use std::time::Duration;

use crate::error::{Failure, usage};

/// The variable that holds the bound: a whole number of seconds. Every child has a deadline of its
/// own; this shortens those that are longer, for tests and for people who watch something hang. It
/// does not hold for the sandbox, which outlives us.
pub const VARIABLE: &str = "XTASK_DEADLINE";

/// `deadline`, or the bound where that is shorter.
pub fn within(deadline: Duration) -> Result<Duration, Failure> {
    match crate::env::variable(VARIABLE) {
        Some(text) => bounded(deadline, &text),
        None => Ok(deadline),
    }
}

fn bounded(deadline: Duration, text: &str) -> Result<Duration, Failure> {
    match text.parse() {
        Ok(seconds) if seconds > 0 => Ok(deadline.min(Duration::from_secs(seconds))),
        _ => Err(usage(format!("{VARIABLE} is `{text}`; it is a number of seconds from 1"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_only_shortens() {
        let minute = Duration::from_secs(60);
        assert_eq!(bounded(minute, "5").expect("a number"), Duration::from_secs(5));
        assert_eq!(bounded(minute, "600").expect("a number"), minute);
        for wrong in ["0", "-1", "1.5", "soon"] {
            assert!(bounded(minute, wrong).is_err(), "{wrong}");
        }
    }
}
