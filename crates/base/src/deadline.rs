//! Time limits, as two variables change them.

use std::time::Duration;

use crate::error::{Result, usage};

/// Environment variable with an upper bound of every limit, in whole seconds, for tests and for debugging a hang. It
/// does not apply to the sandbox, which outlives this process.
pub const BOUND: &str = "XTASK_DEADLINE";

/// Environment variable with a whole number that multiplies every limit, for a slow machine or network. The bound has
/// precedence.
pub const FACTOR: &str = "XTASK_LIMIT_FACTOR";

/// Returns a limit as the variables change it. Errors if one is not a positive number.
pub fn within(limit: Duration) -> Result<Duration> {
    let [bound, factor] = [BOUND, FACTOR].map(crate::env::variable);
    change(limit, bound.as_deref(), factor.as_deref())
}

fn change(limit: Duration, bound: Option<&str>, factor: Option<&str>) -> Result<Duration> {
    let factor = factor.map(|text| parse(FACTOR, text)).transpose()?;
    let bound = bound.map(|text| parse(BOUND, text)).transpose()?;
    let longer = limit.saturating_mul(factor.unwrap_or(1));
    Ok(bound.map_or(longer, |seconds| longer.min(Duration::from_secs(seconds.into()))))
}

fn parse(name: &str, text: &str) -> Result<u32> {
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| {
        let unit = if name == BOUND { " of seconds" } else { "" };
        usage(format!("{name} is `{text}`, which is not a whole number{unit} from 1"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_factor_makes_a_limit_longer_and_a_bound_makes_it_shorter() {
        let minute = Duration::from_secs(60);
        let seconds =
            |bound, factor| change(minute, bound, factor).map(|changed| changed.as_secs()).ok();
        assert_eq!(seconds(None, None), Some(60));
        assert_eq!(seconds(Some("5"), None), Some(5));
        assert_eq!(seconds(Some("600"), None), Some(60));
        assert_eq!(seconds(None, Some("10")), Some(600));
        assert_eq!(seconds(Some("90"), Some("10")), Some(90));
        for wrong in ["0", "-1", "1.5", "soon"] {
            assert_eq!((seconds(Some(wrong), None), seconds(None, Some(wrong))), (None, None));
        }
    }
}
