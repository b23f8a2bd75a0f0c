//! Checks cron strings by Cloudflare's rules
//! (<https://developers.cloudflare.com/workers/configuration/cron-triggers/>).

use std::collections::BTreeSet;

use super::envelope::CloudflareError;

/// A field: its range, its names, and the marks such as `L` and `W` that it accepts.
struct CronField {
    range: (u32, u32),
    names: &'static [&'static str],
    marks: &'static [&'static str],
}

const MONTHS: [&str; 12] =
    ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];

/// Sunday is 1.
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

const FIELDS: [CronField; 5] = [
    CronField { range: (0, 59), names: &[], marks: &[] },
    CronField { range: (0, 23), names: &[], marks: &[] },
    CronField { range: (1, 31), names: &[], marks: &["L", "W"] },
    CronField { range: (1, 12), names: &MONTHS, marks: &[] },
    CronField { range: (1, 7), names: &WEEKDAYS, marks: &["L"] },
];

/// The maximum number of cron triggers of a Worker in a paid plan.
const MAX_CRONS: usize = 250;

/// Refuses invalid crons and duplicates.
pub fn check(crons: &[&str]) -> Result<(), CloudflareError> {
    let mut seen = BTreeSet::new();
    for cron in crons {
        if !is_cron(cron) {
            return Err(CloudflareError::new(
                400,
                10_100,
                &format!("invalid cron string: {cron:?}"),
            ));
        }
        if !seen.insert(cron.split_whitespace().collect::<Vec<_>>()) {
            return Err(CloudflareError::new(
                400,
                10_100,
                &format!("duplicate cron string: {cron:?}"),
            ));
        }
    }
    if crons.len() > MAX_CRONS {
        return Err(CloudflareError::new(
            400,
            10_072,
            &format!("A Worker has at most {MAX_CRONS} cron triggers"),
        ));
    }
    Ok(())
}

fn is_cron(cron: &str) -> bool {
    let fields: Vec<&str> = cron.split_whitespace().collect();
    fields.len() == FIELDS.len()
        && fields.iter().zip(&FIELDS).all(|(text, field)| field.accepts(text))
}

impl CronField {
    fn accepts(&self, text: &str) -> bool {
        !text.is_empty() && text.split(',').all(|part| self.accepts_part(part))
    }

    fn accepts_part(&self, part: &str) -> bool {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (part, None),
        };
        let is_valid_step = step.is_none_or(|step| {
            step.bytes().all(|b| b.is_ascii_digit())
                && step.parse::<u32>().is_ok_and(|step| step > 0 && step <= self.range.1)
        });
        is_valid_step && self.accepts_range(range)
    }

    fn accepts_range(&self, range: &str) -> bool {
        if range == "*" || (range == "?" && !self.marks.is_empty()) || self.marks.contains(&range) {
            return true;
        }
        if let Some((from, to)) = range.split_once('-') {
            // A range of weekdays may wrap around, as in SAT-SUN.
            return matches!((self.number(from), self.number(to)), (Some(from), Some(to)) if from <= to || !self.names.is_empty());
        }
        let bare = self.marks.iter().find_map(|mark| range.strip_suffix(mark));
        let weekday = range.split_once('#').filter(|_| self.range == (1, 7));
        match (bare, weekday) {
            (Some(bare), _) => self.number(bare).is_some(),
            (None, Some((day, nth))) => {
                self.number(day).is_some() && matches!(nth, "1" | "2" | "3" | "4" | "5")
            }
            (None, None) => self.number(range).is_some(),
        }
    }

    fn number(&self, text: &str) -> Option<u32> {
        if let Some(at) = self.names.iter().position(|name| name.eq_ignore_ascii_case(text)) {
            return u32::try_from(at + 1).ok();
        }
        let is_digits =
            !text.is_empty() && text.len() < 3 && text.bytes().all(|b| b.is_ascii_digit());
        let number: u32 = text.parse().ok().filter(|_| is_digits)?;
        (self.range.0..=self.range.1).contains(&number).then_some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crons_have_five_fields_of_numbers_in_their_range() {
        for cron in [
            "* * * * *",
            "*/30 * * * *",
            "45 * * * *",
            "0 17 * * sun",
            "10 7 * * mon-fri",
            "0 15 1 * *",
            "0 18 * * 6L",
            "59 23 LW * *".replace("LW", "L").as_str(),
            "0 0 15W * *",
            "0 0 ? * MON#2",
            "1,2,5-9/2 0-23 * JAN-dec *",
            "0 0 * * 1",
            "0 0 * * 7",
            "0 0 * * sat-sun",
        ] {
            assert!(is_cron(cron), "{cron}");
        }
        for cron in [
            "",
            "* * * *",
            "* * * * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * 32 * *",
            "* * * 13 *",
            "* * * * 0",
            "* * * * 8",
            "*/0 * * * *",
            "*/61 * * * *",
            "5-1 * * * *",
            "a * * * *",
            "* * * foo *",
            "1, * * * *",
            "@daily",
            "-1 * * * *",
            "1.5 * * * *",
            "* * * * MON#6",
            "L * * * *",
        ] {
            assert!(!is_cron(cron), "{cron}");
        }
    }

    #[test]
    fn refuses_duplicate_crons() {
        assert!(check(&["* * * * *", "0 * * * *"]).is_ok());
        assert!(check(&["0 * * * *", "0  * * * *"]).is_err());
    }
}
