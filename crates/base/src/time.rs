//! Time stamps of records, file names and HTTP headers.

use std::time::{SystemTime, UNIX_EPOCH};

/// Returns the current time in seconds since 1970-01-01T00:00:00Z.
#[must_use]
pub fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}

/// Formats `seconds` since 1970 as RFC 3339 in UTC: `2026-11-24T12:00:00Z`.
#[must_use]
pub fn rfc3339(seconds: u64) -> String {
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Returns the current date in UTC: `2026-11-24`.
#[must_use]
pub fn today() -> String {
    let mut date = rfc3339(unix_now());
    date.truncate("2026-11-24".len());
    date
}

/// Parses an RFC 3339 time as seconds since 1970. `None` if it is malformed. A GitLab server with a time zone
/// writes its offset: `2026-11-24T13:00:00.000+01:00`.
#[must_use]
pub fn parse_rfc3339(text: &str) -> Option<u64> {
    let (local, offset) = text.split_at_checked(text.len().checked_sub(6)?)?;
    let (sign, offset) = offset.split_at_checked(1)?;
    if !matches!(sign, "+" | "-") {
        return parse_utc(text.strip_suffix('Z')?);
    }
    let (hours, minutes) = offset.split_once(':')?;
    let (hours, minutes): (u64, u64) = (hours.parse().ok()?, minutes.parse().ok()?);
    let (local, offset) = (parse_utc(local)?, hours * 3600 + minutes * 60);
    if sign == "-" { local.checked_add(offset) } else { local.checked_sub(offset) }
}

fn parse_utc(text: &str) -> Option<u64> {
    let (date, time) = text.split_once('T')?;
    let numbers = |text: &str, separator: char| -> Option<[u64; 3]> {
        let whole = text.split('.').next()?;
        let parts: Vec<u64> =
            whole.split(separator).map(str::parse).collect::<Result<_, _>>().ok()?;
        parts.try_into().ok()
    };
    let ([year, month, day], [hour, minute, second]) = (numbers(date, '-')?, numbers(time, ':')?);
    let on_a_clock = hour < 24 && minute < 60 && second <= 60;
    if !(1970..=9999).contains(&year)
        || !(1..=12).contains(&month)
        || !(1..=31).contains(&day)
        || !on_a_clock
    {
        return None;
    }
    // The reverse of `civil`: years start in March, so that the leap day comes last.
    let shifted_year = if month > 2 { year } else { year - 1 };
    let shifted_month = (month + 9) % 12;
    let days = shifted_year * 365 + shifted_year / 4 - shifted_year / 100
        + shifted_year / 400
        + (153 * shifted_month + 2) / 5
        + day
        - 1;
    Some(days.checked_sub(719_468)? * 86_400 + hour * 3600 + minute * 60 + second)
}

/// Parses an HTTP date as seconds since 1970: `Sun, 06 Nov 1994 08:49:37 GMT`
/// (<https://www.rfc-editor.org/rfc/rfc9110#http.date>).
#[must_use]
pub fn parse_http_date(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let words: Vec<&str> = text.strip_suffix(" GMT")?.split(' ').collect();
    let [_, day, month, year, time] = words.as_slice() else { return None };
    let month = MONTHS.iter().position(|name| name == month)? + 1;
    parse_rfc3339(&format!("{year}-{month:02}-{day}T{time}Z"))
}

/// Converts days since 1970-01-01 to year, month and day. The algorithm is Howard Hinnant's `civil_from_days`
/// (<https://howardhinnant.github.io/date_algorithms.html>).
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::{parse_http_date, parse_rfc3339, rfc3339};

    #[test]
    fn known_instants() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(951_782_400), "2000-02-29T00:00:00Z");
        for seconds in [0, 951_782_400, 951_868_800, 1_795_525_199, 4_102_444_800] {
            assert_eq!(parse_rfc3339(&rfc3339(seconds)), Some(seconds));
        }
        assert_eq!(parse_rfc3339("2026-11-24T12:59:59.123456Z"), Some(1_795_525_199));
        for (text, utc) in [
            ("2026-11-24T13:59:59.123+01:00", 1_795_525_199),
            ("2026-11-24T07:29:59-05:30", 1_795_525_199),
        ] {
            assert_eq!(parse_rfc3339(text), Some(utc), "{text}");
        }
        for text in
            ["", "Z", "yesterday", "2026-11-24T12:59:59", "2026-11-24T12:59:59+1:x0", "é+00:00"]
        {
            assert_eq!(parse_rfc3339(text), None, "{text}");
        }
        assert_eq!(parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(parse_http_date("Sunday, 06-Nov-94 08:49:37 GMT"), None);
        assert_eq!(rfc3339(1_795_525_199), "2026-11-24T12:59:59Z");
    }
}
