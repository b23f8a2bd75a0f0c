//! Reads the headers of a response: the next page, and the time to wait.

use std::time::Duration;

use ureq::http::HeaderMap;

use base::http::retry_after;

/// The delay if the server sends none: its limit on new notes is 300 per minute, and the response
/// has no header (<https://docs.gitlab.com/administration/settings/rate_limit_on_notes_creation/>).
const MINUTE: Duration = Duration::from_secs(60);

/// Returns the next page. `Link` may name another host behind a proxy, so only its page number is
/// used. Totals are not used, because GitLab omits them above 10,000 rows.
#[must_use]
pub fn next(headers: &HeaderMap) -> Option<u64> {
    if let Some(page) = text(headers, "x-next-page") {
        return page.parse().ok();
    }
    let link = text(headers, "link")?;
    let next = link.split(',').find(|part| {
        part.split(';').skip(1).any(|word| matches!(word.trim(), "rel=\"next\"" | "rel=next"))
    })?;
    let (_, query) = next.split_once('<')?.1.split_once('>')?.0.split_once('?')?;
    query.split('&').find_map(|pair| pair.strip_prefix("page="))?.parse().ok()
}

/// Returns the delay that the server requests after 429. The request throttle sends `Retry-After`, and
/// `RateLimit-Reset` in seconds since 1970
/// (<https://docs.gitlab.com/administration/settings/user_and_ip_rate_limits/>).
#[must_use]
pub fn rate_limit_wait(headers: &HeaderMap, now: u64) -> Duration {
    let reset = || text(headers, "ratelimit-reset")?.parse::<u64>().ok();
    let until = |reset: u64| Duration::from_secs(reset.saturating_sub(now));
    let wait = retry_after(headers).or_else(|| reset().map(until)).unwrap_or(MINUTE);
    wait.max(Duration::from_secs(1))
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ureq::http::{HeaderName, HeaderValue};

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| {
            let name: HeaderName = name.parse().expect("a name");
            (name, HeaderValue::from_str(value).expect("a value"))
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn reads_the_next_page_from_the_header() {
        let next = |pairs: &[(&str, &str)]| next(&headers(pairs));
        assert_eq!(next(&[("X-Next-Page", "3")]), Some(3));
        let elsewhere = "<http://other/x?per_page=100&page=9>; rel=\"next\"";
        assert_eq!(next(&[("X-Next-Page", ""), ("Link", elsewhere)]), None);
        let link = format!("<http://other/x?page=1>; rel=\"first\", {elsewhere}");
        assert_eq!(next(&[("Link", &link)]), Some(9));
        assert_eq!(next(&[]), None);
    }

    #[test]
    fn reads_the_wait_of_both_kinds_of_429() {
        let wait = |pairs: &[(&str, &str)]| rate_limit_wait(&headers(pairs), 1000).as_secs();
        assert_eq!(wait(&[("Retry-After", "7"), ("RateLimit-Reset", "1020")]), 7);
        assert_eq!(wait(&[("Retry-After", "0")]), 1);
        let date = ("Date", "Sun, 06 Nov 1994 08:49:30 GMT");
        assert_eq!(wait(&[("Retry-After", "Sun, 06 Nov 1994 08:49:37 GMT"), date]), 7);
        assert_eq!(wait(&[("RateLimit-Reset", "1020")]), 20);
        assert_eq!(wait(&[("RateLimit-Reset", "900")]), 1);
        assert_eq!(wait(&[("Retry-After", "soon")]), 60);
        assert_eq!(wait(&[]), 60);
    }
}
