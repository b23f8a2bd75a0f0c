//! Compares patterns of routes and custom domains by the requests that they match.

use crate::wrangler::host_name::to_ascii;

/// A normalized pattern
/// (<https://developers.cloudflare.com/workers/configuration/routing/routes/>).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The pattern as written in the config.
    pub pattern: String,
    /// `http` or `https`. `None` for both.
    scheme: Option<String>,
    /// The host, in lower case, without port and final dot. It may begin with `*`.
    host: String,
    /// The path. It may end with `*`.
    path: String,
}

impl Route {
    /// Parses a pattern. Ports are dropped, because Cloudflare's routes do not distinguish them.
    #[must_use]
    pub fn new(pattern: &str) -> Route {
        let text = pattern.trim();
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (Some(scheme.to_ascii_lowercase()), rest),
            None => (None, text),
        };
        let (host, path) = match rest.split_once('/') {
            Some((host, path)) => (host, format!("/{path}")),
            // A custom domain matches every path of its host.
            None => (rest, "/*".to_owned()),
        };
        let host = match host.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit() || b == b'*') => host,
            _ => host,
        };
        Route {
            pattern: pattern.to_owned(),
            scheme,
            host: to_ascii(host.trim_end_matches('.')),
            path: decode(&path),
        }
    }

    /// Parses patterns.
    #[must_use]
    pub fn all(patterns: &[String]) -> Vec<Route> {
        patterns.iter().map(|pattern| Route::new(pattern)).collect()
    }

    /// Returns true if one request can match both patterns.
    #[must_use]
    pub fn overlaps(&self, other: &Route) -> bool {
        self.shares_scheme(other)
            && intersects(&self.host, &other.host)
            && intersects(&self.path, &other.path)
    }

    fn shares_scheme(&self, other: &Route) -> bool {
        match (&self.scheme, &other.scheme) {
            (Some(one), Some(two)) => one == two,
            _ => true,
        }
    }

    /// Returns true if both patterns match the same requests.
    #[must_use]
    pub fn is_same(&self, other: &Route) -> bool {
        let is_custom = |route: &Route| !route.pattern.contains('/');
        (self.shares_scheme(other) && self.host == other.host && self.path == other.path)
            // A custom domain belongs to one Worker with all of its paths.
            || (is_custom(self) && is_custom(other) && self.host == other.host)
    }
}

/// Decodes the characters of a path that need no encoding, because Cloudflare compares normalized URLs.
fn decode(path: &str) -> String {
    let mut parts = path.split('%');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part.get(..2).and_then(|code| u8::from_str_radix(code, 16).ok());
        match code.map(char::from).filter(|c| c.is_ascii_alphanumeric() || "-._~".contains(*c)) {
            Some(plain) => {
                text.push(plain);
                text.push_str(&part[2..]);
            }
            None => {
                text.push('%');
                text.push_str(part);
            }
        }
    }
    text
}

/// Returns true if some text matches both patterns, in which `*` matches any text.
fn intersects(one: &str, two: &str) -> bool {
    let (one, two): (Vec<char>, Vec<char>) = (one.chars().collect(), two.chars().collect());
    // `row[j]` says that the first characters of `one` and the first `j` of `two` can match the same text.
    let mut row = vec![false; two.len() + 1];
    for i in 0..=one.len() {
        let above = row.clone();
        for j in 0..=two.len() {
            let star = |pattern: &[char], at: usize| at > 0 && pattern[at - 1] == '*';
            let left = j > 0 && row[j - 1];
            let diagonal = i > 0 && j > 0 && above[j - 1];
            row[j] = (i == 0 && j == 0)
                || (star(&one, i) && (above[j] || left))
                || (star(&two, j) && (left || (i > 0 && above[j])))
                || (diagonal && one[i - 1] == two[j - 1]);
        }
    }
    row[two.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overlap(one: &str, two: &str) -> bool {
        let (one, two) = (Route::new(one), Route::new(two));
        assert_eq!(one.overlaps(&two), two.overlaps(&one), "{one:?} {two:?}");
        one.overlaps(&two)
    }

    #[test]
    fn patterns_that_share_requests() {
        for (one, two) in [
            ("www.example.com", "www.example.com"),
            ("www.example.com/*", "WWW.Example.COM"),
            ("www.example.com.", "www.example.com/*"),
            ("www.example.com:8443/*", "www.example.com/*"),
            ("www.example.com:*/*", "www.example.com/*"),
            ("https://www.example.com/*", "www.example.com/*"),
            ("*.example.com/*", "www.example.com/*"),
            ("*example.com/*", "example.com/shop/*"),
            ("*.example.com/*", "*.shop.example.com/*"),
            ("example.com/login*", "example.com/*"),
            ("example.com/login*", "example.com/login/form"),
            ("*.example.com/a*", "www.example.com/*"),
            ("*/*", "www.example.com/api/*"),
            ("BÜCHER.example/*", "bücher.example/*"),
            ("bücher.example/*", "xn--bcher-kva.example/*"),
            ("*.bücher.example/*", "www.xn--bcher-kva.example"),
            ("*bücher.example/*", "www.xn--bcher-kva.example/*"),
            ("example.com/%6cog%69n*", "example.com/login"),
            ("example.com/%", "example.com/%"),
        ] {
            assert!(overlap(one, two), "{one} {two}");
        }
    }

    #[test]
    fn patterns_that_share_none() {
        for (one, two) in [
            ("staging.example.com", "www.example.com"),
            ("*.example.com/*", "example.com"),
            ("*.example.com/*", "www.example.org/*"),
            ("example.com/up", "example.com/down*"),
            ("example.com/a*", "example.com/b*"),
            ("example.com/a%2Fb", "example.com/a/b"),
            ("bücher.example/*", "xn--bcher-kvb.example/*"),
            ("http://www.example.com/*", "https://www.example.com/*"),
            ("notexample.com", "*.example.com/*"),
        ] {
            assert!(!overlap(one, two), "{one} {two}");
        }
    }

    #[test]
    fn patterns_that_are_the_same() {
        let same = |one: &str, two: &str| Route::new(one).is_same(&Route::new(two));
        assert!(same("www.example.com", "WWW.example.com."));
        assert!(same("example.com/a*", "https://EXAMPLE.com/a*"));
        assert!(!same("example.com/a*", "example.com/*"));
    }
}
