//! Classifies one response of a deployed project: right, wrong, or unknown.
//!
//! Only the version itself can be wrong. A challenge, an access login, a gateway or a rewritten page
//! proves nothing about it, and a rollback of a good version is worse than no check.

use std::collections::BTreeSet;

use camino::Utf8Path;

use crate::engine::health::build_output::{BuildOutput, BuiltFile};
use crate::plan::ProjectPlan;
use base::http::HttpResponse;
use workspace::health::Health;
use workspace::wrangler::Target;

/// The proof that one response gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResponseProof {
    /// The response is as expected.
    Right,
    /// The version itself sent the response, and it is wrong.
    Wrong(String),
    /// The response proves nothing about the version.
    Unknown(Unclear),
}

/// A response that proves nothing, or no response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unclear {
    /// The response, or the failure to get one.
    pub what: String,
    /// The reason.
    pub cause: Cause,
}

/// The reason why a response proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A challenge or a block of the zone (WAF, bot protection, rate limit).
    Firewall,
    /// A login of Cloudflare Access.
    Access,
    /// The content differs from the build. It may become right while the version propagates.
    OtherContent,
    /// There was no response.
    NoAnswer,
    /// Any other response that the version may not have sent.
    Other,
}

impl Cause {
    /// Returns true if a guard protects the URL, so that the request did not reach the version.
    #[must_use]
    pub fn is_guard(self) -> bool {
        matches!(self, Cause::Firewall | Cause::Access)
    }

    /// Returns true if the next response may differ.
    #[must_use]
    pub fn is_transient(self) -> bool {
        matches!(self, Cause::OtherContent | Cause::NoAnswer)
    }
}

/// The expected response of a project.
#[derive(Clone, Debug, Default)]
pub struct ExpectedResponse {
    /// The path to request.
    pub path: String,
    /// The accepted status codes. `None` means any success.
    pub status: Option<Vec<u16>>,
    /// The file that is served at the path, for a static site.
    pub page: Option<BuiltFile>,
    /// A file that no edge feature rewrites, with its path.
    pub proof: Option<(String, Vec<u8>)>,
    /// Any response below 500 is right, because the expected one is unknown.
    pub any_answer: bool,
    /// The Worker is not requested if its code has no `fetch` handler.
    pub needs_fetch_handler: bool,
    /// The path must exist, because the project sets it, or the build has a file for it.
    pub must_exist: bool,
    /// The build's `_redirects` has a rule for the path.
    pub redirects: bool,
    /// The host itself may not exist, so a 404 may not come from the version.
    pub may_be_absent: bool,
}

impl ExpectedResponse {
    /// Returns the expected response of `project`. `None` if its health check is off. `built` is the
    /// output of the build. `None` if it is unknown.
    #[must_use]
    pub fn new(project: &ProjectPlan, built: Option<&BuildOutput>) -> Option<ExpectedResponse> {
        let expected = ExpectedResponse {
            needs_fetch_handler: project.health == Health::Default && project.may_have_code(),
            ..ExpectedResponse::of_existing(&project.health, &project.target)?
        };
        let built = built.filter(|_| project.target.main.is_none());
        Some(match built {
            Some(built) => {
                ExpectedResponse { any_answer: false, ..expected }.of_files(&project.health, built)
            }
            None => expected,
        })
    }

    /// Returns the expected response of a version with unknown content. `None` if the health check is
    /// off.
    #[must_use]
    pub fn of_existing(health: &Health, target: &Target) -> Option<ExpectedResponse> {
        // A site has a page at `/`. An API, a cron or a queue may send any response there.
        let flat = target.html_handling.as_deref() == Some("none");
        (*health != Health::Off).then(|| ExpectedResponse {
            path: health.path().to_owned(),
            status: health.accepted_codes().map(<[u16]>::to_vec),
            must_exist: *health != Health::Default,
            needs_fetch_handler: *health == Health::Default
                && (target.main.is_some() || target.assets.is_none()),
            any_answer: *health == Health::Default && (target.assets.is_none() || flat),
            ..ExpectedResponse::default()
        })
    }

    /// Expects the bytes of the build, for a static site.
    fn of_files(mut self, health: &Health, built: &BuildOutput) -> ExpectedResponse {
        self.proof.clone_from(&built.proof);
        self.redirects = built.has_redirect(&self.path);
        self.page = built.page(&self.path);
        if self.page.is_none() && *health == Health::Default && !self.redirects {
            if let Some(index) = built.page("/index.html") {
                // `html_handling` is `none`: a file is served only under its own name.
                (self.path, self.page) = ("/index.html".to_owned(), Some(index));
            } else if let Some((path, bytes)) = self.proof.clone() {
                (self.path, self.page) = (path, Some(BuiltFile { bytes, is_html: false }));
            } else {
                self.any_answer = true;
            }
        }
        self.must_exist |= self.page.is_some();
        self
    }

    fn accepts(&self, status: u16) -> bool {
        match &self.status {
            Some(status_codes) => status_codes.contains(&status),
            None => (200..300).contains(&status),
        }
    }

    /// Returns true if `status` is an accepted one, so that a redirect with it is not followed.
    #[must_use]
    pub fn names(&self, status: u16) -> bool {
        self.status.as_ref().is_some_and(|status_codes| status_codes.contains(&status))
    }

    /// Classifies the last response to a request for the path, after `hops` redirects.
    #[must_use]
    pub fn classify(&self, response: &HttpResponse, hops: usize) -> ResponseProof {
        let status = response.status;
        if let Some(unclear) = guard(response) {
            return ResponseProof::Unknown(unclear);
        }
        if self.accepts(status) {
            return match &self.page {
                // After a redirect, it is another page than the requested one.
                Some(page) if hops == 0 && status != 304 => page.classify(&response.body),
                _ => ResponseProof::Right,
            };
        }
        let unclear = |what: String| ResponseProof::Unknown(Unclear { what, cause: Cause::Other });
        if status == 404 && self.may_be_absent {
            return unclear("answered 404".to_owned());
        }
        if let Some(reason) = sandbox_reason(response) {
            return unclear(format!("answered {status}: {reason}"));
        }
        match status {
            502 | 504 | 520..=527 | 530 => {
                unclear(format!("answered {status}, which is a gateway's answer"))
            }
            500.. => ResponseProof::Wrong(format!("answered {status}")),
            _ if self.any_answer => ResponseProof::Right,
            300..400 => unclear(redirect_finding(response)),
            401 | 403 | 407 | 429 | 451 => {
                unclear(format!("answered {status}, which the version or a guard in front may say"))
            }
            400..500 if self.must_exist => ResponseProof::Wrong(format!("answered {status}")),
            _ => unclear(format!("answered {status}")),
        }
    }

    /// Classifies a redirect to another host.
    #[must_use]
    pub fn classify_redirect(&self, response: &HttpResponse) -> ResponseProof {
        if let Some(unclear) = guard(response) {
            return ResponseProof::Unknown(unclear);
        }
        if self.redirects || self.any_answer {
            return ResponseProof::Right;
        }
        ResponseProof::Unknown(Unclear { what: redirect_finding(response), cause: Cause::Other })
    }
}

fn redirect_finding(response: &HttpResponse) -> String {
    let to = response.header("location").unwrap_or("no location");
    format!("answered {} (to {})", response.status, base::http::short(to))
}

impl BuiltFile {
    fn classify(&self, served: &[u8]) -> ResponseProof {
        if self.bytes == served || self.is_html && is_rewritten(&self.bytes, served) {
            return ResponseProof::Right;
        }
        let what = "serves other content than what was built".to_owned();
        ResponseProof::Unknown(Unclear { what, cause: Cause::OtherContent })
    }
}

/// Returns true if `served` is `built` with changes of an edge: obfuscated email addresses, other
/// scripts and images, whitespace. Most words of the page must remain.
fn is_rewritten(built: &[u8], served: &[u8]) -> bool {
    let (built, served) = (words(built), words(served));
    let kept = built.intersection(&served).count();
    !built.is_empty() && kept * 10 >= built.len() * 6
}

/// Returns the words of a page that edge features do not change.
fn words(page: &[u8]) -> BTreeSet<String> {
    let text = String::from_utf8_lossy(page);
    let chunks = text.split(|c: char| c.is_whitespace() || "<>\"'()".contains(c));
    let stable = chunks.filter(|chunk| !chunk.contains('@'));
    let words = stable.flat_map(|chunk| chunk.split(|c: char| !c.is_alphanumeric()));
    words.filter(|word| word.chars().count() > 2).map(str::to_lowercase).collect()
}

/// Detects a guard between a client and a Worker at Cloudflare.
fn guard(response: &HttpResponse) -> Option<Unclear> {
    let status = response.status;
    let found =
        |cause, text: &str| Some(Unclear { what: format!("answered {status}, {text}"), cause });
    if let Some(kind) = response.header("cf-mitigated") {
        let kind = base::http::short(kind);
        return found(Cause::Firewall, &format!("a {kind} of the zone (`cf-mitigated`)"));
    }
    let location = response.header("location").unwrap_or_default();
    let asks = response.header("www-authenticate").unwrap_or_default();
    if location.contains(".cloudflareaccess.com/")
        || location.contains("/cdn-cgi/access/")
        || asks.to_ascii_lowercase().contains("cloudflare-access")
    {
        return found(Cause::Access, "a login of Cloudflare Access");
    }
    if status < 400 {
        return None;
    }
    let start = response.body.get(..response.body.len().min(8192)).unwrap_or_default();
    let text = String::from_utf8_lossy(start);
    if let Some(code) = edge_error(&text) {
        return found(Cause::Firewall, &format!("an error {code} of the zone"));
    }
    let page =
        ["/cdn-cgi/challenge-platform/", "Attention Required! | Cloudflare", "cf-error-details"];
    let is_block = matches!(status, 403 | 429 | 503) && page.iter().any(|mark| text.contains(mark));
    is_block.then(|| found(Cause::Firewall, "a block page of the zone")).flatten()
}

/// Returns the code of an error page of the zone, not of the Worker
/// (<https://developers.cloudflare.com/support/troubleshooting/http-status-codes/cloudflare-1xxx-errors/>).
fn edge_error(text: &str) -> Option<u16> {
    let code = text.split("error code: ").nth(1)?.get(..4)?.parse().ok()?;
    // 1101 and 1102 are errors of the Worker's own code: an exception, and too much CPU time.
    ((1000..1100).contains(&code) && ![1019, 1042].contains(&code)).then_some(code)
}

/// Returns the sandbox's error for a version that it cannot run.
fn sandbox_reason(response: &HttpResponse) -> Option<String> {
    let text = std::str::from_utf8(&response.body).ok()?;
    if response.status != 501 || !text.contains("The sandbox of this repository") {
        return None;
    }
    let between =
        |from: &str, to: &str| Some(text.split_once(from)?.1.split_once(to)?.0.to_owned());
    Some(format!("{}. {}", between("<h1>", "</h1>")?, between("<p>", "</p>")?))
}

/// Returns true if `path` of a site's folder is served under its own name.
pub(crate) fn is_plain_name(path: &Utf8Path) -> bool {
    path.as_str().bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./".contains(&b))
}

#[cfg(test)]
mod tests {
    use ureq::http::{HeaderMap, HeaderName};

    use super::*;

    /// The kind of a finding.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Is {
        Right,
        Wrong,
        Unclear(Cause),
    }

    fn response(status: u16, headers: &[(&str, &str)], body: &str) -> HttpResponse {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name: HeaderName = name.parse().expect("a name");
            map.insert(name, value.parse().expect("a value"));
        }
        HttpResponse { status, body: body.as_bytes().to_vec(), retry_after: None, headers: map }
    }

    fn is(expected: &ExpectedResponse, response: &HttpResponse) -> Is {
        match expected.classify(response, 0) {
            ResponseProof::Right => Is::Right,
            ResponseProof::Wrong(_) => Is::Wrong,
            ResponseProof::Unknown(unclear) => Is::Unclear(unclear.cause),
        }
    }

    fn target(main: bool, assets: bool) -> Target {
        Target {
            main: main.then(|| "a.ts".into()),
            assets: assets.then(|| "dist".into()),
            ..Target::default()
        }
    }

    fn api() -> ExpectedResponse {
        ExpectedResponse::of_existing(&Health::Default, &target(true, false)).expect("a check")
    }

    fn website() -> ExpectedResponse {
        ExpectedResponse::of_existing(&Health::Default, &target(true, true)).expect("a check")
    }

    fn expected_status(text: &str) -> ExpectedResponse {
        let health = Health::parse(&serde_json::from_str(text).expect("JSON")).expect("valid");
        ExpectedResponse::of_existing(&health, &target(true, false)).expect("a check")
    }

    fn page(text: &str) -> ExpectedResponse {
        let page = BuiltFile { bytes: text.as_bytes().to_vec(), is_html: true };
        ExpectedResponse {
            path: "/".to_owned(),
            page: Some(page),
            must_exist: true,
            ..ExpectedResponse::default()
        }
    }

    #[test]
    fn challenges_and_logins_are_unknown_for_every_expectation() {
        let challenge =
            response(403, &[("cf-mitigated", "challenge")], "<title>Just a moment...</title>");
        let cases = [
            (challenge, Cause::Firewall),
            (response(200, &[("cf-mitigated", "challenge")], ""), Cause::Firewall),
            (
                response(503, &[], "<script src=/cdn-cgi/challenge-platform/x></script>"),
                Cause::Firewall,
            ),
            (response(403, &[], "error code: 1020"), Cause::Firewall),
            (response(429, &[], "error code: 1015"), Cause::Firewall),
            (
                response(403, &[], "<title>Attention Required! | Cloudflare</title>"),
                Cause::Firewall,
            ),
            (
                response(
                    302,
                    &[("location", "https://team.cloudflareaccess.com/cdn-cgi/access/login/a")],
                    "",
                ),
                Cause::Access,
            ),
            (response(302, &[("location", "/cdn-cgi/access/login/a.example")], ""), Cause::Access),
            (
                response(401, &[("www-authenticate", "Cloudflare-Access resource_metadata=x")], ""),
                Cause::Access,
            ),
        ];
        for (given, cause) in cases {
            for expected in [
                api(),
                website(),
                page("<h1>a</h1>"),
                expected_status("\"/up\""),
                expected_status("[403]"),
            ] {
                assert_eq!(is(&expected, &given), Is::Unclear(cause), "{given:?}");
            }
        }
    }

    #[test]
    fn only_responses_of_the_version_are_wrong() {
        let other = Is::Unclear(Cause::Other);
        let cases = [
            // Status, an API, a website with code, a static site, a configured path.
            (200, [Is::Right, Is::Right, Is::Right, Is::Right]),
            (204, [Is::Right, Is::Right, Is::Right, Is::Right]),
            (401, [Is::Right, other, other, other]),
            (403, [Is::Right, other, other, other]),
            (404, [Is::Right, other, Is::Wrong, Is::Wrong]),
            (405, [Is::Right, other, Is::Wrong, Is::Wrong]),
            (407, [Is::Right, other, other, other]),
            (410, [Is::Right, other, Is::Wrong, Is::Wrong]),
            (500, [Is::Wrong, Is::Wrong, Is::Wrong, Is::Wrong]),
            (503, [Is::Wrong, Is::Wrong, Is::Wrong, Is::Wrong]),
            (502, [other, other, other, other]),
            (504, [other, other, other, other]),
            (520, [other, other, other, other]),
            (524, [other, other, other, other]),
            (530, [other, other, other, other]),
        ];
        for (status, wanted) in cases {
            let body = "<h1>the page</h1>";
            let given = response(status, &[], body);
            let all = [api(), website(), page(body), expected_status("\"/up\"")];
            assert_eq!(all.map(|expected| is(&expected, &given)), wanted, "{status}");
        }
        // Cloudflare's pages for an exception in the code, and for a Worker that exceeded its CPU time.
        for code in ["error code: 1101", "error code: 1102"] {
            assert_eq!(is(&api(), &response(500, &[], code)), Is::Wrong, "{code}");
        }
    }

    #[test]
    fn accepts_exactly_the_listed_status_codes() {
        let expected = expected_status("[401, 302]");
        assert_eq!(is(&expected, &response(401, &[], "")), Is::Right);
        assert_eq!(is(&expected, &response(302, &[("location", "/login")], "")), Is::Right);
        assert_eq!(is(&expected, &response(200, &[], "")), Is::Unclear(Cause::Other));
        assert_eq!(is(&expected, &response(404, &[], "")), Is::Wrong);
        assert!(expected.names(302) && !expected.names(200));
        assert!(ExpectedResponse::of_existing(&Health::Off, &target(true, true)).is_none());
    }

    #[test]
    fn accepts_rewritten_html_but_no_other_rewritten_file() {
        let built = "<html><title>Parts of a bicycle</title><p>Write to <a href=\"mailto:me@example.com\">me@example.com</a></p></html>";
        let hidden = "<html><title>Parts of a bicycle</title><p>Write to <a href=\"/cdn-cgi/l/email-protection#3a\"><span class=\"__cf_email__\" data-cfemail=\"aa\">[email&#160;protected]</span></a></p><script data-cfasync=\"false\" src=\"/cdn-cgi/scripts/email-decode.min.js\"></script></html>";
        let injected = built.replace("</html>", "<script defer src=\"https://static.cloudflareinsights.com/beacon.min.js\"></script></html>");
        for served in [built, hidden, &injected] {
            assert_eq!(is(&page(built), &response(200, &[], served)), Is::Right, "{served}");
        }
        let other = Is::Unclear(Cause::OtherContent);
        for served in ["<title>Log in</title>", "", "<html><title>Waiting room</title></html>"] {
            assert_eq!(is(&page(built), &response(200, &[], served)), other, "{served}");
        }
        assert_eq!(
            is(&page("<h1>site-a two</h1>"), &response(200, &[], "<h1>site-a one</h1>")),
            other
        );
        let mut exact = page("{\"version\": 2, \"name\": \"catalog\"}");
        if let Some(page) = &mut exact.page {
            page.is_html = false;
        }
        let close = response(200, &[], "{\"version\": 1, \"name\": \"catalog\"}");
        assert_eq!(is(&exact, &close), other);
        // After a redirect of the version itself, it is another page.
        assert_eq!(
            page(built).classify(&response(200, &[], "<h1>English</h1>"), 1),
            ResponseProof::Right
        );
    }

    #[test]
    fn accepts_redirects_to_another_host_listed_in_the_build() {
        let given = response(301, &[("location", "https://elsewhere.example/")], "");
        let built = ExpectedResponse { redirects: true, ..page("x") };
        assert_eq!(built.classify_redirect(&given), ResponseProof::Right);
        assert_eq!(api().classify_redirect(&given), ResponseProof::Right);
        let ResponseProof::Unknown(unclear) = website().classify_redirect(&given) else {
            panic!("it proves nothing");
        };
        assert_eq!(unclear.what, "answered 301 (to https://elsewhere.example/)");
    }
}
