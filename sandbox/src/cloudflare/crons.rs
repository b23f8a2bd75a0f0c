//! Checks cron strings, as Cloudflare takes them
//! (<https://developers.cloudflare.com/workers/configuration/cron-triggers/>).

use std::collections::BTreeSet;

use super::envelope::ApiError;

/// A field: its least and its largest number, its names, and whether `L` and `W` may stand in it.
struct Field {
    range: (u32, u32),
    names: &'static [&'static str],
    marks: &'static [&'static str],
}

const MONTHS: [&str; 12] =
    ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];

/// Sunday is 1.
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

const FIELDS: [Field; 5] = [
    Field { range: (0, 59), names: &[], marks: &[] },
    Field { range: (0, 23), names: &[], marks: &[] },
    Field { range: (1, 31), names: &[], marks: &["L", "W"] },
    Field { range: (1, 12), names: &MONTHS, marks: &[] },
    Field { range: (1, 7), names: &WEEKDAYS, marks: &["L"] },
];

/// The most cron triggers of a Worker, of a paid plan.
const MOST: usize = 250;

/// Refuses crons that are not five fields, and crons that are there twice.
pub fn check(crons: &[&str]) -> Result<(), ApiError> {
    let mut seen = BTreeSet::new();
    for cron in crons {
        if !is_cron(cron) {
            return Err(ApiError::new(400, 10_100, &format!("invalid cron string: {cron:?}")));
        }
        if !seen.insert(cron.split_whitespace().collect::<Vec<_>>()) {
            return Err(ApiError::new(400, 10_100, &format!("duplicate cron string: {cron:?}")));
        }
    }
    if crons.len() > MOST {
        return Err(ApiError::new(
            400,
            10_072,
            &format!("A Worker has at most {MOST} cron triggers"),
        ));
    }
    Ok(())
}

fn is_cron(cron: &str) -> bool {
    let fields: Vec<&str> = cron.split_whitespace().collect();
    fields.len() == FIELDS.len()
        && fields.iter().zip(&FIELDS).all(|(text, field)| field.takes(text))
}

impl Field {
    fn takes(&self, text: &str) -> bool {
        !text.is_empty() && text.split(',').all(|part| self.takes_part(part))
    }

    fn takes_part(&self, part: &str) -> bool {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (part, None),
        };
        let good_step = step.is_none_or(|step| {
            step.bytes().all(|b| b.is_ascii_digit())
                && step.parse::<u32>().is_ok_and(|step| step > 0 && step <= self.range.1)
        });
        good_step && self.takes_range(range)
    }

    fn takes_range(&self, range: &str) -> bool {
        if range == "*" || (range == "?" && !self.marks.is_empty()) || self.marks.contains(&range) {
            return true;
        }
        if let Some((from, to)) = range.split_once('-') {
            // A week may go round its end: SAT-SUN.
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
    fn each_cron_is_there_once() {
        assert!(check(&["* * * * *", "0 * * * *"]).is_ok());
        assert!(check(&["0 * * * *", "0  * * * *"]).is_err());
    }
}
