//! An upper bound for the run time of every child.

use std::time::Duration;

use crate::error::{Result, usage};

/// Environment variable with the bound, in whole seconds. It shortens longer deadlines of children,
/// for tests and for debugging a hang. It does not apply to the sandbox, which outlives this process.
pub const VARIABLE: &str = "XTASK_DEADLINE";

/// Returns the shorter of `deadline` and the bound. Errors if the bound is not a positive number.
pub fn within(deadline: Duration) -> Result<Duration> {
    match crate::env::variable(VARIABLE) {
        Some(text) => parse_at_most(deadline, &text),
        None => Ok(deadline),
    }
}

fn parse_at_most(deadline: Duration, text: &str) -> Result<Duration> {
    match text.parse() {
        Ok(seconds) if seconds > 0 => Ok(deadline.min(Duration::from_secs(seconds))),
        _ => Err(usage(format!(
            "{VARIABLE} is `{text}`, which is not a whole number of seconds from 1"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_can_only_shorten_a_deadline() {
        let minute = Duration::from_secs(60);
        assert_eq!(parse_at_most(minute, "5").expect("a number"), Duration::from_secs(5));
        assert_eq!(parse_at_most(minute, "600").expect("a number"), minute);
        for wrong in ["0", "-1", "1.5", "soon"] {
            assert!(parse_at_most(minute, wrong).is_err(), "{wrong}");
        }
    }
}
