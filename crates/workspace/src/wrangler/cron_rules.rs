//! The rules for `triggers.crons`. wrangler sends the expressions after it has deployed the code, and Cloudflare parses them
//! with saffron (<https://github.com/cloudflare/saffron>, `CronExpr`). The rows of the documentation are those of
//! <https://developers.cloudflare.com/workers/configuration/cron-triggers/>.

use std::ops::RangeInclusive;

/// A field of a cron expression.
struct CronField {
    name: &'static str,
    values: RangeInclusive<u8>,
    /// The names of the values from 1.
    names: &'static [&'static str],
    kind: FieldKind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum FieldKind {
    Plain,
    /// May be `L`, `L-3`, `LW`, `L-3W` or `15W`.
    MonthDay,
    /// May be `L`, `6L` or `6#2`.
    Weekday,
}

const MONTHS: [&str; 12] =
    ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

const FIELDS: [CronField; 5] = [
    CronField { name: "minute", values: 0..=59, names: &[], kind: FieldKind::Plain },
    CronField { name: "hour", values: 0..=23, names: &[], kind: FieldKind::Plain },
    CronField { name: "day of the month", values: 1..=31, names: &[], kind: FieldKind::MonthDay },
    CronField { name: "month", values: 1..=12, names: &MONTHS, kind: FieldKind::Plain },
    CronField {
        name: "day of the week",
        values: 1..=7,
        names: &WEEKDAYS,
        kind: FieldKind::Weekday,
    },
];

/// Returns the reason why Cloudflare refuses a cron expression. `None` if it accepts it.
#[must_use]
pub fn cron_problem(cron: &str) -> Option<String> {
    let is_space = |c: char| c == ' ' || c == '\t';
    if cron != cron.trim_matches(is_space) {
        return Some("it begins or ends with a space".to_owned());
    }
    let parts: Vec<&str> = cron.split(is_space).filter(|part| !part.is_empty()).collect();
    if parts.len() != FIELDS.len() {
        let s = if parts.len() == 1 { "" } else { "s" };
        return Some(format!("it has {} field{s}, and a cron expression has 5", parts.len()));
    }
    let (field, part) = FIELDS.iter().zip(parts).find(|(field, part)| !field.accepts(part))?;
    let CronField { name, values, .. } = field;
    Some(match field.kind {
        FieldKind::Weekday => {
            format!("`{part}` is no {name}, which is 1 (Sunday) to 7 or SUN to SAT")
        }
        _ => format!("`{part}` is no {name}, which is {} to {}", values.start(), values.end()),
    })
}

impl CronField {
    fn accepts(&self, text: &str) -> bool {
        match self.kind {
            FieldKind::MonthDay => self.is_month_mark(text) || self.is_list(text),
            FieldKind::Weekday => self.is_weekday_mark(text) || self.is_list(text),
            FieldKind::Plain => self.is_list(text),
        }
    }

    fn is_month_mark(&self, text: &str) -> bool {
        if let Some(rest) = text.strip_prefix('L') {
            let rest = rest.strip_suffix('W').unwrap_or(rest);
            let offset = rest.strip_prefix('-').and_then(number);
            return rest.is_empty() || offset.is_some_and(|offset| (1..=30).contains(&offset));
        }
        text.strip_suffix('W').and_then(number).is_some_and(|day| self.values.contains(&day))
    }

    fn is_weekday_mark(&self, text: &str) -> bool {
        if let Some((day, nth)) = text.split_once('#') {
            return self.is_value(day) && number(nth).is_some_and(|nth| (1..=5).contains(&nth));
        }
        text == "L" || text.strip_suffix('L').is_some_and(|day| self.is_value(day))
    }

    /// Returns true for `*`, or a list of `5`, `5-9`, `5/2`, `5-9/2` and `*/2`. A range may wrap around, as `22-2`.
    fn is_list(&self, text: &str) -> bool {
        // A `*` in the first item is alone or has a step. Later it is the smallest value.
        let is_item = |(index, item): (usize, &str)| match item.strip_prefix('*') {
            Some(rest) if index == 0 => rest.starts_with('/') && self.is_item(item),
            _ => self.is_item(item),
        };
        text == "*" || text.split(',').enumerate().all(is_item)
    }

    fn is_item(&self, item: &str) -> bool {
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (item, None),
        };
        let (from, to) = match range.split_once('-') {
            Some((from, to)) => (from, Some(to)),
            None => (range, None),
        };
        let longest_step = self.values.end() - self.values.start();
        let is_step =
            |step: &str| number(step).is_some_and(|step| (1..=longest_step).contains(&step));
        (from == "*" || self.is_value(from))
            && to.is_none_or(|to| self.is_value(to))
            && step.is_none_or(is_step)
    }

    fn is_value(&self, text: &str) -> bool {
        self.names.iter().any(|name| name.eq_ignore_ascii_case(text))
            || number(text).is_some_and(|number| self.values.contains(&number))
    }
}

fn number(text: &str) -> Option<u8> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_the_grammar_of_cloudflare() {
        for cron in [
            "* * * * *",
            "*/30 * * * *",
            "45 * * * *",
            "0 17 * * sun",
            "10 7 * * mon-fri",
            "0 15 1 * *",
            "0 18 * * 6L",
            "59 23 LW * *",
            "0 0 15W * *",
            "0 0 L * *",
            "0 0 L-3 * *",
            "0 0 L-30W * *",
            "0 0 * * MON#2",
            "1,2,5-9/2 0-23 * JAN-dec *",
            "0 0 * * 1",
            "0 0 * * 7",
            "0 0 * * 2,4,6",
            "0 0 * * MON,wed",
            "0 0 * * sat-sun",
            "0 0 * * L",
            "5/10 * * * *",
            "50-10 22-2 * NOV-2 *",
            "*/5,*/3 * * * *",
            "0 0 1,* * *",
            "0\t0  1 1 *",
            "*/59 */23 */30 */11 */6",
            "007 0 1 1 *",
        ] {
            assert_eq!(cron_problem(cron), None, "{cron}");
        }
    }

    #[test]
    fn names_the_field_that_cloudflare_refuses() {
        for (cron, reason) in [
            ("not a cron", "it has 3 fields, and a cron expression has 5"),
            ("", "it has 0 fields, and a cron expression has 5"),
            ("@daily", "it has 1 field, and a cron expression has 5"),
            ("* * * *", "it has 4 fields, and a cron expression has 5"),
            ("0 * * * * *", "it has 6 fields, and a cron expression has 5"),
            (" 0 0 1 1 *", "it begins or ends with a space"),
            ("60 * * * *", "`60` is no minute, which is 0 to 59"),
            ("* 24 * * *", "`24` is no hour, which is 0 to 23"),
            ("* * 0 * *", "`0` is no day of the month, which is 1 to 31"),
            ("* * 32 * *", "`32` is no day of the month, which is 1 to 31"),
            ("* * * 13 *", "`13` is no month, which is 1 to 12"),
            ("* * * * 0", "`0` is no day of the week, which is 1 (Sunday) to 7 or SUN to SAT"),
            ("* * * * 8", "`8` is no day of the week, which is 1 (Sunday) to 7 or SUN to SAT"),
        ] {
            assert_eq!(cron_problem(cron).as_deref(), Some(reason), "{cron}");
        }
        for cron in [
            "*/0 * * * *",
            "*/60 * * * *",
            "* */24 * * *",
            "* * * */12 *",
            "* * * * */7",
            "a * * * *",
            "* * * foo *",
            "1, * * * *",
            "*,5 * * * *",
            "-1 * * * *",
            "+1 * * * *",
            "1.5 * * * *",
            "1-60 * * * *",
            "* * * * MON#6",
            "L * * * *",
            "0 0 ? * *",
            "0 0 3,L * *",
            "0 0 L-0 * *",
            "0 0 L-31 * *",
            "0 0 1W,3 * *",
            "0 0 * * monday",
            "0 0 1 1 * ",
            "0\n0 1 1 *",
            "0 0 1 1 *\n",
            "TZ=UTC 0 0 1 1 *",
        ] {
            assert!(cron_problem(cron).is_some(), "{cron}");
        }
    }
}
