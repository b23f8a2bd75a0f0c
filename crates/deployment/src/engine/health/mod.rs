//! Sends requests to a deployed project until its responses are right, or prove that the version is wrong.

pub mod build_output;
pub mod response;

use std::time::{Duration, Instant};

use camino::Utf8Path;

use crate::context::Ctx;
use crate::engine::health::response::{Cause, ExpectedResponse, ResponseProof, Unclear};
use crate::plan::destination::Destination;
use base::command::Credential;
use base::deadline;
use base::env::variable;
use base::error::Result;
use base::http;
use base::http::HttpResponse;
use base::runner::is_interrupted;
use base::secret::Secret;
use cloudflare::api::Live;

/// The first delay between two attempts. Each further one is longer, up to [`MAX_RETRY_DELAY`].
const FIRST_RETRY_DELAY: Duration = Duration::from_millis(300);
const MAX_RETRY_DELAY: Duration = Duration::from_secs(2);

/// The maximum number of redirects.
const HOPS: usize = 5;

/// The verdict of the check on a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The responses are right. The notes name inconclusive URLs.
    Right {
        /// The notes for the report.
        notes: Vec<String>,
    },
    /// It is wrong: only the version can have sent the response.
    Wrong(String),
    /// Nothing is proven.
    Unknown(Unclear),
}

/// The end of a chain of redirects.
enum RedirectResult {
    /// The last response, after a number of redirects.
    Response { response: HttpResponse, hops: usize },
    /// No response, a redirect to another host, or one to HTTPS in the sandbox.
    Finding(ResponseProof),
}

/// The time limits of the check.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The limit until there is a response, or the content of the build.
    pub total: Duration,
    /// The limit for repeated identical responses.
    pub same_answer: Duration,
}

impl Limits {
    /// Returns the limits for a new version. At Cloudflare it first propagates. The sandbox may first
    /// have to start its runtime, on a busy machine.
    #[must_use]
    pub fn of_new_version(destination: &Destination) -> Limits {
        let same_answer = if destination.sandbox.is_some() { 10 } else { 30 };
        Limits::new(Duration::from_secs(60), Duration::from_secs(same_answer))
    }

    /// Returns the limits for a version that is already live.
    #[must_use]
    pub fn of_live_version() -> Limits {
        Limits::new(Duration::from_secs(15), Duration::from_secs(3))
    }

    /// Returns the limits for a version's preview URL, which is requested after the public ones.
    #[must_use]
    fn of_own_address() -> Limits {
        Limits::new(Duration::from_secs(10), Duration::from_secs(2))
    }

    fn new(total: Duration, same_answer: Duration) -> Limits {
        let within = |limit| deadline::within(limit).unwrap_or(limit);
        Limits { total: within(total), same_answer: within(same_answer) }
    }

    /// Returns the time for one request. A try has one for the page and at most one for the proof, so that at least two
    /// tries fit into the limit, however slow an answer is.
    fn one_request(self) -> Duration {
        (self.total / 4).clamp(Duration::from_millis(500), Duration::from_secs(15))
    }
}

/// A service token of Cloudflare Access, which lets a runner pass the login
/// (<https://developers.cloudflare.com/cloudflare-one/access-controls/service-credentials/service-tokens/>).
pub struct ServiceToken {
    id: Secret,
    secret: Secret,
}

/// The variables with the token.
pub const SERVICE_TOKEN: [&str; 2] = ["CF_ACCESS_CLIENT_ID", "CF_ACCESS_CLIENT_SECRET"];

impl ServiceToken {
    /// Reads the service token from its two variables. `None` if one is not set.
    pub fn from_variables(ctx: &Ctx) -> Result<Option<ServiceToken>> {
        if SERVICE_TOKEN.iter().any(|name| variable(name).is_none()) {
            return Ok(None);
        }
        let secret = |name: &str| ctx.secret(&Credential::Variable(name.to_owned()));
        let [id, own] = SERVICE_TOKEN;
        Ok(Some(ServiceToken { id: secret(id)?, secret: secret(own)? }))
    }
}

/// Checks a version at `urls`, and at the version's `own` URL if they prove nothing. `live` is the live version, if it is
/// known. A Worker without a `fetch` handler is not requested.
pub fn check_version(
    ctx: &Ctx,
    expected: &ExpectedResponse,
    live: Option<&Live>,
    urls: &[String],
    own: impl FnOnce() -> Option<String>,
    limits: Limits,
) -> Verdict {
    if expected.needs_fetch_handler && live.is_some_and(Live::answers_no_request) {
        return Verdict::Right { notes: Vec::new() };
    }
    match ServiceToken::from_variables(ctx) {
        Ok(token) => Checker { expected, token: token.as_ref() }.check(urls, own, limits),
        Err(failure) => {
            let what = format!("was not asked: {failure:#}");
            Verdict::Unknown(Unclear { what, cause: Cause::Other })
        }
    }
}

/// Checks the URLs of a project.
struct Checker<'a> {
    expected: &'a ExpectedResponse,
    /// The service token for URLs behind Cloudflare Access.
    token: Option<&'a ServiceToken>,
}

impl Checker<'_> {
    /// Requests each of `urls` until it is right or the limits are reached. Then requests the version's
    /// `own` URL if the others proved nothing.
    fn check(
        &self,
        urls: &[String],
        own: impl FnOnce() -> Option<String>,
        limits: Limits,
    ) -> Verdict {
        let mut unclear: Vec<Unclear> = Vec::new();
        let mut right = false;
        for url in urls {
            match self.wait(url, urls, limits) {
                ResponseProof::Right => right = true,
                ResponseProof::Wrong(what) => return Verdict::Wrong(what),
                ResponseProof::Unknown(found) => unclear.push(found),
            }
        }
        let is_guarded = unclear.iter().all(|found| found.cause.is_guard());
        let Some(first) = unclear.first().cloned() else {
            return Verdict::Right { notes: Vec::new() };
        };
        let notes =
            |with: &str| unclear.iter().map(|found| format!("{}; {with}", found.what)).collect();
        if right && is_guarded {
            return Verdict::Right { notes: notes("the version answers right at another address") };
        }
        if right || is_interrupted() {
            return Verdict::Unknown(first);
        }
        let expected = ExpectedResponse { may_be_absent: true, ..self.expected.clone() };
        let own_checker = Checker { expected: &expected, token: self.token };
        let own_finding = own().map(|url| {
            let finding = own_checker.wait(&url, &[], Limits::of_own_address());
            (url, finding)
        });
        match own_finding {
            Some((url, ResponseProof::Right)) if is_guarded => {
                Verdict::Right { notes: notes(&format!("the version answers right at {url}")) }
            }
            Some((url, ResponseProof::Right)) => {
                let what = format!(
                    "{}; the version's own address {url} answers right, so something in front of it does not",
                    first.what
                );
                Verdict::Unknown(Unclear { what, ..first })
            }
            Some((_, ResponseProof::Wrong(what))) => Verdict::Wrong(what),
            _ => Verdict::Unknown(first),
        }
    }

    /// Requests one URL until the response is right or a limit is reached. Returns the last finding,
    /// with the URL.
    fn wait(&self, base: &str, friends: &[String], limits: Limits) -> ResponseProof {
        let started = Instant::now();
        let (mut same, mut since, mut pause) = (ResponseProof::Right, started, FIRST_RETRY_DELAY);
        loop {
            let left = limits.total.saturating_sub(started.elapsed());
            let one_try = limits.one_request().min(left.max(Duration::from_millis(500)));
            let finding = self.ask(base, friends, one_try);
            if finding == ResponseProof::Right {
                return finding;
            }
            if finding != same {
                (same, since) = (finding.clone(), Instant::now());
            }
            let is_transient =
                matches!(&finding, ResponseProof::Unknown(unclear) if unclear.cause.is_transient());
            let is_over = |since: Instant, limit| since.elapsed() + pause > limit;
            if !is_transient && is_over(since, limits.same_answer) {
                return with_address(finding, &self.url(base), Some(limits.same_answer));
            }
            if is_over(started, limits.total) {
                return with_address(finding, &self.url(base), Some(limits.total));
            }
            if is_interrupted() {
                return with_address(finding, &self.url(base), None);
            }
            std::thread::sleep(pause);
            pause = (pause * 3 / 2).min(MAX_RETRY_DELAY);
        }
    }

    fn url(&self, base: &str) -> String {
        join(base, &self.expected.path)
    }

    /// Sends one request, and a second one for the proof file if the page does not identify this version.
    fn ask(&self, base: &str, friends: &[String], timeout: Duration) -> ResponseProof {
        let (response, hops) = match self.follow(&self.url(base), friends, timeout) {
            RedirectResult::Response { response, hops } => (response, hops),
            RedirectResult::Finding(finding) => return finding,
        };
        let finding = self.expected.classify(&response, hops);
        let page = self.expected.page.as_ref();
        let is_exact = page.is_some_and(|page| page.bytes == response.body);
        let needs_proof = finding == ResponseProof::Right && !is_exact;
        let Some((path, bytes)) = self.expected.proof.as_ref().filter(|_| needs_proof) else {
            return finding;
        };
        match self.follow(&join(base, path), friends, timeout) {
            RedirectResult::Response { response, .. } if response.body == *bytes => {
                ResponseProof::Right
            }
            RedirectResult::Response { response, .. } => {
                let what = format!(
                    "serves {path} with other content than the build ({})",
                    response.status
                );
                ResponseProof::Unknown(Unclear { what, cause: Cause::OtherContent })
            }
            RedirectResult::Finding(finding) => finding,
        }
    }

    /// Sends the request and follows redirects within the project's own hosts.
    fn follow(&self, url: &str, friends: &[String], timeout: Duration) -> RedirectResult {
        let (started, mut url, mut hops) = (Instant::now(), url.to_owned(), 0);
        loop {
            let left = timeout.saturating_sub(started.elapsed()).max(Duration::from_millis(200));
            let response = match self.get(&url, left) {
                Ok(response) => response,
                Err(error) => {
                    let what = format!("does not answer: {error:#}");
                    let unclear = Unclear { what, cause: Cause::NoAnswer };
                    return RedirectResult::Finding(ResponseProof::Unknown(unclear));
                }
            };
            let location =
                response.header("location").filter(|_| (300..400).contains(&response.status));
            let Some(next) = location.and_then(|to| resolve(&url, to)) else {
                return RedirectResult::Response { response, hops };
            };
            if self.expected.names(response.status) || hops == HOPS {
                return RedirectResult::Response { response, hops };
            }
            if !is_own(&url, &next, friends) {
                return RedirectResult::Finding(self.expected.classify_redirect(&response));
            }
            if is_upgrade_in_sandbox(&url, &next) {
                return RedirectResult::Finding(ResponseProof::Right);
            }
            (url, hops) = (next, hops + 1);
        }
    }

    fn get(&self, url: &str, timeout: Duration) -> Result<HttpResponse> {
        let (address, host) = http::loopback(url);
        let mut headers: Vec<(&str, &str)> =
            host.as_deref().map(|host| ("Host", host)).into_iter().collect();
        if let Some(token) = self.token.filter(|_| url.starts_with("https://")) {
            headers.push(("CF-Access-Client-Id", token.id.expose()));
            headers.push(("CF-Access-Client-Secret", token.secret.expose()));
        }
        http::get(&http::agent_for(&address, timeout, 0), &address, &headers)
    }
}

/// Returns the next steps after a check that proved nothing.
#[must_use]
pub fn advice(unclear: &Unclear, manifest: &Utf8Path) -> Vec<String> {
    let [id, secret] = SERVICE_TOKEN;
    let pass = match unclear.cause {
        Cause::Firewall => Some(
            "let the runner through: add a skip rule for its address in the zone's WAF \
             (https://developers.cloudflare.com/waf/custom-rules/skip/)"
                .to_owned(),
        ),
        Cause::Access => Some(format!(
            "let the runner through: put a service token of Access into `{id}` and `{secret}`, and allow \
             it with a policy whose action is Service Auth"
        )),
        Cause::OtherContent => Some(
            "look for a route, a cache rule or another Worker that answers at this address"
                .to_owned(),
        ),
        Cause::NoAnswer | Cause::Other => None,
    };
    pass.into_iter().chain([setting(manifest)]).collect()
}

/// Returns the hint with the setting of the check.
#[must_use]
pub fn setting(manifest: &Utf8Path) -> String {
    format!(
        "set `xtask.health` in {manifest} to the path that must answer, to a list of accepted status codes, \
         or to `false`"
    )
}

/// Adds the URL, and the time after which the check ended.
fn with_address(finding: ResponseProof, url: &str, elapsed: Option<Duration>) -> ResponseProof {
    let elapsed = elapsed.map(|time| format!(" after {} s", time.as_secs())).unwrap_or_default();
    let with = |what: String| format!("{url} {what}{elapsed}");
    match finding {
        ResponseProof::Right => ResponseProof::Right,
        ResponseProof::Wrong(what) => ResponseProof::Wrong(with(what)),
        ResponseProof::Unknown(unclear) => {
            ResponseProof::Unknown(Unclear { what: with(unclear.what), ..unclear })
        }
    }
}

/// Joins a URL and a path with one slash.
fn join(base: &str, path: &str) -> String {
    format!("{}/{}", base.trim_end_matches('/'), path.trim_start_matches('/'))
}

/// Splits a URL into scheme with authority, and path.
fn split(url: &str) -> Option<(&str, &str)> {
    let start = url.find("://")? + 3;
    let end = url[start..].find(['/', '?', '#']).map_or(url.len(), |at| start + at);
    Some((&url[..end], &url[end..]))
}

/// Resolves `location` in a response of `url`.
fn resolve(url: &str, location: &str) -> Option<String> {
    let location = location.trim();
    if location.starts_with("http://") || location.starts_with("https://") {
        return Some(location.to_owned());
    }
    let (origin, path) = split(url)?;
    if let Some(rest) = location.strip_prefix("//") {
        return Some(format!("{}//{rest}", origin.split("//").next()?));
    }
    if location.starts_with('/') {
        return Some(format!("{origin}{location}"));
    }
    if location.is_empty() || location.contains("://") {
        return None;
    }
    let folder = path.split(['?', '#']).next()?.rsplit_once('/').map_or("", |(folder, _)| folder);
    Some(format!("{origin}{folder}/{location}"))
}

/// Returns the host name of a URL, without port and `www.`.
fn host(url: &str) -> Option<String> {
    let (origin, _) = split(url)?;
    let authority = origin.split("://").nth(1)?.to_ascii_lowercase();
    let name = authority.rsplit_once(':').map_or(authority.as_str(), |(name, _)| name);
    Some(name.strip_prefix("www.").unwrap_or(name).to_owned())
}

/// Returns true if `next` is a URL of the same project, because a request to another host would
/// leak the service token.
fn is_own(url: &str, next: &str, friends: &[String]) -> bool {
    let next = host(next);
    next.is_some() && (next == host(url) || friends.iter().any(|friend| next == host(friend)))
}

/// Returns true if the Worker redirects the sandbox's `url` to HTTPS. The sandbox has no HTTPS, and only the Worker's code can
/// have sent the response.
fn is_upgrade_in_sandbox(url: &str, next: &str) -> bool {
    http::loopback(url).1.is_some() && next.starts_with("https://")
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    #[test]
    fn joins_the_path_with_one_slash() {
        for (path, base) in [("/up", "http://a/"), ("up", "http://a"), ("/up", "http://a")] {
            assert_eq!(join(base, path), "http://a/up");
        }
        assert_eq!(join("http://a/", "/"), "http://a/");
    }

    #[test]
    fn resolves_relative_locations() {
        let url = "https://a.example/docs/page?x=1";
        for (location, wanted) in [
            ("/en/", "https://a.example/en/"),
            ("next", "https://a.example/docs/next"),
            ("//b.example/x", "https://b.example/x"),
            ("http://c.example/", "http://c.example/"),
        ] {
            assert_eq!(resolve(url, location).as_deref(), Some(wanted), "{location}");
        }
        assert_eq!(resolve("https://a.example", "x").as_deref(), Some("https://a.example/x"));
        assert_eq!(resolve(url, "ftp://x"), None);
    }

    #[test]
    fn follows_redirects_within_the_project() {
        let friends = ["https://shop.example/".to_owned()];
        let own = |next: &str| is_own("http://www.a.example:80/", next, &friends);
        assert!(
            own("https://a.example/x") && own("https://shop.example") && own("http://A.example")
        );
        assert!(!own("https://login.example/") && !own("nonsense"));
    }

    /// Answers every connection but the first, which stays open without a response.
    #[test]
    fn a_try_without_a_response_leaves_time_for_another() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("an address"));
        std::thread::spawn(move || {
            let mut connections = listener.incoming().flatten();
            let _silent = connections.next();
            for mut connection in connections {
                let _read = connection.read(&mut [0; 4096]);
                let _closed = connection.write_all(
                    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
                );
            }
        });
        let expected = ExpectedResponse { path: "/".to_owned(), ..ExpectedResponse::default() };
        let total = Duration::from_secs(20);
        let limits = Limits { total, same_answer: total };
        let verdict = Checker { expected: &expected, token: None }.check(&[url], || None, limits);
        assert!(matches!(verdict, Verdict::Right { .. }), "{verdict:?}");
    }

    /// Answers every request with this status line and these headers. Returns its port.
    fn server(head: &'static str) -> u16 {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        std::thread::spawn(move || {
            for mut connection in listener.incoming().flatten() {
                let _read = connection.read(&mut [0; 4096]);
                let response =
                    format!("HTTP/1.1 {head}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                let _closed = connection.write_all(response.as_bytes());
            }
        });
        port
    }

    #[test]
    fn a_redirect_to_https_is_an_answer_in_the_sandbox() {
        // A site with code and assets, which must not answer just anything.
        let expected = ExpectedResponse { path: "/".to_owned(), ..ExpectedResponse::default() };
        let checker = Checker { expected: &expected, token: None };
        let limit = Duration::from_millis(500);
        let limits = Limits { total: limit, same_answer: limit };
        for (head, is_right) in [
            ("301 Moved\r\nLocation: https://web.localhost/", true),
            ("308 Moved\r\nLocation: https://web.localhost:8787/up?x=1", true),
            ("302 Found\r\nLocation: //web.localhost/", false),
            ("301 Moved\r\nLocation: https://other.localhost/", false),
            ("301 Moved\r\nLocation: https://example.com/", false),
        ] {
            let url = format!("http://web.localhost:{}/", server(head));
            let verdict = checker.check(&[url], || None, limits);
            assert_eq!(matches!(verdict, Verdict::Right { .. }), is_right, "{head}: {verdict:?}");
        }
    }

    #[test]
    fn every_limit_allows_several_attempts() {
        for total in [2, 15, 60] {
            let total = Duration::from_secs(total);
            let limits = Limits { total, same_answer: total };
            assert!(limits.one_request() * 4 <= total, "{total:?}");
        }
    }
}
