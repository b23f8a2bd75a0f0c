//! The rules for `compatibility_date`. wrangler checks that it is a date, and Cloudflare checks its form and that it has come
//! (`CompatDate::parse` and `CURRENT_DATE_FOR_CLOUDFLARE` of workerd,
//! <https://github.com/cloudflare/workerd/blob/main/src/workerd/io/compatibility-date.c%2B%2B>).

use crate::config::toolchain::WRANGLER_LOCK;

/// A reason why a date is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DateProblem {
    /// It is no date of the form `2026-01-31`.
    WrongForm,
    /// It has not come yet.
    Future,
}

/// Returns the reason why `date` is refused. `None` if it is accepted. `today` is the date in UTC by the clock of this machine,
/// which may be behind: a date that the pinned workerd supports has come.
#[must_use]
pub fn date_problem(date: &str, today: &str) -> Option<DateProblem> {
    if !is_date(date) {
        Some(DateProblem::WrongForm)
    } else if date > today && supported_date().is_none_or(|supported| date > supported.as_str()) {
        Some(DateProblem::Future)
    } else {
        None
    }
}

/// Returns the newest date that the pinned workerd supports. It is in its version, such as `1.20261117.1`.
fn supported_date() -> Option<String> {
    let (_, version) = WRANGLER_LOCK.split_once("\"workerd@1.")?;
    let digits = version.get(..8).filter(|text| text.bytes().all(|b| b.is_ascii_digit()))?;
    Some(format!("{}-{}-{}", &digits[..4], &digits[4..6], &digits[6..]))
}

/// Returns true if `text` has the form of a date of the years 2000 to 2999. A day that its month lacks is accepted, such as
/// `2025-02-30` (observed with wrangler 4.164 on Bun 1.4.5 and workerd 1.20261117).
fn is_date(text: &str) -> bool {
    let is_in_form = text.len() == 10
        && text.starts_with('2')
        && text.bytes().enumerate().all(|(index, byte)| match index {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    is_in_form && ("01"..="12").contains(&&text[5..7]) && ("01"..="31").contains(&&text[8..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_has_one_form_and_has_come() {
        let today = "2026-11-30";
        for date in ["2026-11-30", "2021-05-01", "2000-01-01", "2024-02-29", "2025-02-30"] {
            assert_eq!(date_problem(date, today), None, "{date}");
        }
        for date in ["2999-01-01", "2999-12-31"] {
            assert_eq!(date_problem(date, today), Some(DateProblem::Future), "{date}");
        }
        let supported = supported_date().expect("a date");
        assert_eq!(date_problem(&supported, "2020-01-01"), None, "a clock that is behind");
        for date in [
            "",
            "tomorrow",
            "2025-1-1",
            "2025-13-01",
            "2025-00-10",
            "2025-01-00",
            "2025-01-32",
            "20250101",
            "2025-01-01 ",
            "2025-01-01T00:00:00Z",
            "2025–01–01",
            "2025/01/01",
            "01-01-2025",
            "1999-01-01",
            "3000-01-01",
            "２025-01-1",
        ] {
            assert_eq!(date_problem(date, today), Some(DateProblem::WrongForm), "{date}");
        }
    }
}
