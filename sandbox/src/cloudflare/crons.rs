//! Parses cron strings by Cloudflare's grammar, and computes whether they are due. The grammar is that of
//! saffron, the parser of Cron Triggers (<https://github.com/cloudflare/saffron>,
//! <https://developers.cloudflare.com/workers/configuration/cron-triggers/>). No other library has its
//! wrapping ranges, its steps from a value and its marks `L`, `W` and `#`.

use std::collections::BTreeSet;

use chrono::{DateTime, Datelike as _, Days, Months, NaiveDate, Timelike as _, Utc, Weekday};

use super::envelope::CloudflareError;

/// The range of a field, and its names.
struct FieldRange {
    min: u32,
    max: u32,
    /// The names of the values from 1.
    names: &'static [&'static str],
}

const MINUTES: FieldRange = FieldRange { min: 0, max: 59, names: &[] };
const HOURS: FieldRange = FieldRange { min: 0, max: 23, names: &[] };
const DAYS: FieldRange = FieldRange { min: 1, max: 31, names: &[] };
const MONTHS: FieldRange = FieldRange {
    min: 1,
    max: 12,
    names: &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
};
/// Sunday is 1.
const WEEKDAYS: FieldRange =
    FieldRange { min: 1, max: 7, names: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"] };

/// The maximum number of cron triggers of a Worker in a paid plan.
const MAX_CRONS: usize = 250;

/// The values of a field. `None` is every value.
type FieldValues = Option<BTreeSet<u32>>;

/// The days of a month.
#[derive(Debug, PartialEq)]
enum MonthDays {
    Values(FieldValues),
    /// `L` or `L-3`: the last day, or a number of days before it. With `W` it is the nearest weekday.
    FromLast {
        offset: u32,
        is_weekday: bool,
    },
    /// `15W`: the weekday that is nearest to a day.
    NearestWeekday(u32),
}

/// The days of a week.
#[derive(Debug, PartialEq)]
enum WeekDays {
    Values(FieldValues),
    /// `6L`: the last such day of the month.
    Last(u32),
    /// `6#2`: the second such day of the month.
    Nth(u32, u32),
}

/// A cron string that Cloudflare accepts.
#[derive(Debug, PartialEq)]
pub struct CronSchedule {
    minutes: FieldValues,
    hours: FieldValues,
    days: MonthDays,
    months: FieldValues,
    weekdays: WeekDays,
}

/// Refuses invalid crons and duplicates.
pub fn check(crons: &[&str]) -> Result<(), CloudflareError> {
    let refuse = |reason: &str, cron: &str| {
        Err(CloudflareError::new(400, 10_100, &format!("{reason} cron string: {cron:?}")))
    };
    let mut seen = BTreeSet::new();
    for cron in crons {
        if CronSchedule::parse(cron).is_none() {
            return refuse("invalid", cron);
        }
        if !seen.insert(cron.split_whitespace().collect::<Vec<_>>()) {
            return refuse("duplicate", cron);
        }
    }
    if crons.len() > MAX_CRONS {
        let text = format!("A Worker has at most {MAX_CRONS} cron triggers");
        return Err(CloudflareError::new(400, 10_072, &text));
    }
    Ok(())
}

impl CronSchedule {
    /// Parses a cron string. `None` if it is invalid.
    #[must_use]
    pub fn parse(cron: &str) -> Option<CronSchedule> {
        // Spaces and tabs separate the fields. Leading and trailing ones are invalid.
        if cron.starts_with([' ', '\t']) || cron.ends_with([' ', '\t']) {
            return None;
        }
        let fields = cron.split([' ', '\t']).filter(|field| !field.is_empty());
        let [minutes, hours, days, months, weekdays] =
            fields.collect::<Vec<_>>().try_into().ok()?;
        Some(CronSchedule {
            minutes: MINUTES.values(minutes)?,
            hours: HOURS.values(hours)?,
            days: month_days(days)?,
            months: MONTHS.values(months)?,
            weekdays: week_days(weekdays)?,
        })
    }

    /// Returns whether this is due in the minute that begins at `minute`. If the cron restricts both the days
    /// of the month and the days of the week, one match is enough.
    #[must_use]
    pub fn is_due(&self, minute: DateTime<Utc>) -> bool {
        let date = minute.date_naive();
        let is_in = |values: &FieldValues, value: u32| {
            values.as_ref().is_none_or(|values| values.contains(&value))
        };
        let is_day = match (&self.days, &self.weekdays) {
            (MonthDays::Values(None), WeekDays::Values(None)) => true,
            (days, WeekDays::Values(None)) => days.contains(date),
            (MonthDays::Values(None), weekdays) => weekdays.contains(date),
            (days, weekdays) => days.contains(date) || weekdays.contains(date),
        };
        is_in(&self.minutes, minute.minute())
            && is_in(&self.hours, minute.hour())
            && is_in(&self.months, date.month())
            && is_day
    }
}

impl MonthDays {
    fn contains(&self, date: NaiveDate) -> bool {
        let last = last_day(date);
        match self {
            MonthDays::Values(values) => {
                values.as_ref().is_none_or(|values| values.contains(&date.day()))
            }
            MonthDays::FromLast { offset, is_weekday } => {
                let day = last.checked_sub_days(Days::new(u64::from(*offset)));
                let day = day.filter(|day| day.month() == date.month());
                day.map(|day| if *is_weekday { nearest_weekday(day) } else { day }) == Some(date)
            }
            MonthDays::NearestWeekday(day) => {
                date.with_day(*day).map(nearest_weekday) == Some(date)
            }
        }
    }
}

impl WeekDays {
    fn contains(&self, date: NaiveDate) -> bool {
        let day = date.weekday().number_from_sunday();
        match self {
            WeekDays::Values(values) => values.as_ref().is_none_or(|values| values.contains(&day)),
            WeekDays::Last(weekday) => day == *weekday && date.day() + 7 > last_day(date).day(),
            WeekDays::Nth(weekday, nth) => day == *weekday && (date.day() - 1) / 7 + 1 == *nth,
        }
    }
}

/// Returns the last day of the month of `date`.
fn last_day(date: NaiveDate) -> NaiveDate {
    let next = date.with_day(1).and_then(|first| first.checked_add_months(Months::new(1)));
    next.and_then(|next| next.pred_opt()).unwrap_or(date)
}

/// Returns the weekday of the same month that is nearest to `day`.
fn nearest_weekday(day: NaiveDate) -> NaiveDate {
    let is_last = day == last_day(day);
    let moved = match (day.weekday(), day.day(), is_last) {
        (Weekday::Sat, 1, _) => day.checked_add_days(Days::new(2)),
        (Weekday::Sat, ..) => day.pred_opt(),
        (Weekday::Sun, _, true) => day.checked_sub_days(Days::new(2)),
        (Weekday::Sun, ..) => day.succ_opt(),
        _ => None,
    };
    moved.unwrap_or(day)
}

fn month_days(text: &str) -> Option<MonthDays> {
    if let Some(rest) = text.strip_prefix('L') {
        let (rest, is_weekday) = match rest.strip_suffix('W') {
            Some(rest) => (rest, true),
            None => (rest, false),
        };
        let offset = match rest.strip_prefix('-') {
            Some(offset) => number(offset).filter(|offset| (1..=30).contains(offset))?,
            None if rest.is_empty() => 0,
            None => return None,
        };
        return Some(MonthDays::FromLast { offset, is_weekday });
    }
    if let Some(day) = text.strip_suffix('W') {
        return Some(MonthDays::NearestWeekday(DAYS.value(day)?));
    }
    Some(MonthDays::Values(DAYS.values(text)?))
}

fn week_days(text: &str) -> Option<WeekDays> {
    if text == "L" {
        return Some(WeekDays::Values(Some(BTreeSet::from([WEEKDAYS.max]))));
    }
    if let Some(day) = text.strip_suffix('L') {
        return Some(WeekDays::Last(WEEKDAYS.value(day)?));
    }
    if let Some((day, nth)) = text.split_once('#') {
        let nth = number(nth).filter(|nth| (1..=5).contains(nth))?;
        return Some(WeekDays::Nth(WEEKDAYS.value(day)?, nth));
    }
    Some(WeekDays::Values(WEEKDAYS.values(text)?))
}

fn number(text: &str) -> Option<u32> {
    let is_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse::<u8>().ok().filter(|_| is_digits).map(u32::from)
}

impl FieldRange {
    /// Parses a list. `*` alone is every value.
    fn values(&self, text: &str) -> Option<FieldValues> {
        if text == "*" {
            return Some(None);
        }
        let mut values = BTreeSet::new();
        for (index, part) in text.split(',').enumerate() {
            // A `*` in the first item needs a step.
            if index == 0 && part.starts_with('*') && !part.starts_with("*/") {
                return None;
            }
            values.extend(self.part(part)?);
        }
        Some(Some(values))
    }

    /// Returns the values of `5`, `5-9`, `50-10`, `5/2`, `5-9/2` or `*/2`.
    fn part(&self, part: &str) -> Option<Vec<u32>> {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => {
                let step = number(step)?;
                (range, Some(step).filter(|step| (1..=self.max - self.min).contains(step)))
            }
            None => (part, Some(0)),
        };
        let step = step?;
        let (from, to) = match range.split_once('-') {
            Some((from, to)) => (from, Some(self.value(to)?)),
            None => (range, None),
        };
        let from = if from == "*" { self.min } else { self.value(from)? };
        let to = to.unwrap_or(if step == 0 { from } else { self.max });
        // A range may wrap around, as in 22-2.
        let count = self.max - self.min + 1;
        let length = (to + count - from) % count;
        let value = |offset: u32| self.min + (from - self.min + offset) % count;
        Some((0..=length).step_by(step.max(1) as usize).map(value).collect())
    }

    fn value(&self, text: &str) -> Option<u32> {
        if let Some(index) = self.names.iter().position(|name| name.eq_ignore_ascii_case(text)) {
            return u32::try_from(index + 1).ok();
        }
        number(text).filter(|number| (self.min..=self.max).contains(number))
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
            "59 23 LW * *",
            "0 0 15W * *",
            "0 0 L-3 * *",
            "0 0 L-30W * *",
            "0 0 * * MON#2",
            "1,2,5-9/2 0-23 * JAN-dec *",
            "0 0 * * 1",
            "0 0 * * 7",
            "0 0 * * sat-sun",
            "0 0 * * L",
            "5/10 * * * *",
            "50-10 22-2 * NOV-2 *",
            "*/5,*/3 * * * *",
            "0\t0  1 1 *",
            "*/59 */23 */30 */11 */6",
            "007 0 1 1 *",
        ] {
            assert!(CronSchedule::parse(cron).is_some(), "{cron}");
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
            "*/60 * * * *",
            "* */24 * * *",
            "* * * */12 *",
            "* * * * */7",
            "a * * * *",
            "* * * foo *",
            "1, * * * *",
            "*,5 * * * *",
            "@daily",
            "-1 * * * *",
            "+1 * * * *",
            "1.5 * * * *",
            "* * * * MON#6",
            "L * * * *",
            "0 0 ? * *",
            "0 0 3,L * *",
            "0 0 L-0 * *",
            "0 0 L-31 * *",
            "0 0 1W,3 * *",
            "0 0 * * monday",
            " 0 0 1 1 *",
            "0 0 1 1 * ",
            "0\n0 1 1 *",
            "TZ=UTC 0 0 1 1 *",
        ] {
            assert!(CronSchedule::parse(cron).is_none(), "{cron}");
        }
    }

    #[test]
    fn refuses_duplicate_crons() {
        assert!(check(&["* * * * *", "0 * * * *"]).is_ok());
        assert!(check(&["0 * * * *", "0  * * * *"]).is_err());
    }

    #[test]
    fn crons_are_due_by_cloudflares_rules() {
        for (cron, time, expected) in [
            ("* * * * *", "2026-11-29T03:41:00Z", true),
            ("*/15 * * * *", "2026-11-29T03:45:00Z", true),
            ("*/15 * * * *", "2026-11-29T03:41:00Z", false),
            ("5/10 * * * *", "2026-11-29T03:25:00Z", true),
            ("5/10 * * * *", "2026-11-29T03:20:00Z", false),
            ("50-10 * * * *", "2026-11-29T03:05:00Z", true),
            ("50-10 * * * *", "2026-11-29T03:30:00Z", false),
            ("50-10/7 * * * *", "2026-11-29T03:04:00Z", true),
            // 2026-11-29 is a Sunday, which is 1.
            ("0 3 * * 1", "2026-11-29T03:00:00Z", true),
            ("0 3 * * 2", "2026-11-29T03:00:00Z", false),
            ("0 3 * * 2", "2026-11-30T03:00:00Z", true),
            ("0 3 * * SUN", "2026-11-29T03:00:00Z", true),
            ("0 3 * * sat-mon", "2026-11-29T03:00:00Z", true),
            ("0 3 * * mon-fri", "2026-11-29T03:00:00Z", false),
            // The day of the month or the day of the week.
            ("0 3 13 * MON", "2026-11-30T03:00:00Z", true),
            ("0 3 13 * MON", "2026-11-13T03:00:00Z", true),
            ("0 3 13 * MON", "2026-11-14T03:00:00Z", false),
            ("0 0 L * *", "2026-11-30T00:00:00Z", true),
            ("0 0 L * *", "2026-11-29T00:00:00Z", false),
            ("0 0 L * *", "2028-02-29T00:00:00Z", true),
            ("0 0 L-2 * *", "2026-11-28T00:00:00Z", true),
            // 2026-11-28 is a Saturday.
            ("0 0 L-2W * *", "2026-11-27T00:00:00Z", true),
            ("0 0 L-30 * *", "2026-11-30T00:00:00Z", false),
            // The first of November is a Sunday, so the weekday nearest to it is the second.
            ("0 0 1W * *", "2026-11-02T00:00:00Z", true),
            ("0 0 1W * *", "2026-08-03T00:00:00Z", true),
            ("59 23 LW * *", "2026-10-30T23:59:00Z", true),
            ("0 18 * * 6L", "2026-11-27T18:00:00Z", true),
            ("0 18 * * 6L", "2026-11-20T18:00:00Z", false),
            ("0 18 * * 6#2", "2026-11-13T18:00:00Z", true),
            ("0 0 1 JAN *", "2027-01-01T00:00:00Z", true),
        ] {
            let minute = DateTime::from(humantime::parse_rfc3339(time).expect("a time"));
            let schedule = CronSchedule::parse(cron).expect("a cron");
            assert_eq!(schedule.is_due(minute), expected, "{cron} at {time}");
        }
    }
}
