//! HTTP client for the APIs and for the health check of deployed sites.

use std::io::ErrorKind;
use std::time::Duration;

use ureq::http::{HeaderMap, Request, Response};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body};

use super::roots;
use crate::error::{Error, Result};
use crate::time::{parse_http_date, unix_now};

/// The response of a server.
#[derive(Debug, Default)]
pub struct HttpResponse {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
    /// The wait that the server asks for.
    pub retry_after: Option<Duration>,
    /// The headers.
    pub headers: HeaderMap,
}

impl HttpResponse {
    /// Returns the value of a header as text. `None` if it is absent or not text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// A request to a server.
#[derive(Debug)]
pub struct HttpRequest<'a> {
    /// The method.
    pub method: &'a str,
    /// The address.
    pub url: &'a str,
    /// The headers, without that of the body's type.
    pub headers: &'a [(&'a str, &'a str)],
    /// The JSON body.
    pub body: Option<String>,
}

/// Asset files are at most 25 MiB (<https://developers.cloudflare.com/workers/platform/limits/>).
pub const BODY_LIMIT: u64 = 26 * 1024 * 1024;

/// The number of characters of a server's message that are shown.
const MAX_MESSAGE_LENGTH: usize = 300;

/// Shortens a server's message to one readable line. Secrets are removed first, because a part of one is no longer found.
#[must_use]
pub fn short(text: &str) -> String {
    let text = crate::secret::redact(text);
    let line: Vec<&str> = text.split_whitespace().collect();
    line.join(" ").chars().take(MAX_MESSAGE_LENGTH).collect()
}

/// The size in bytes of the buffer for responses, which their headers have to fit.
const INPUT_BUFFER: usize = 16 * 1024;

/// The size in bytes of the buffer for requests. Their longest header is a token.
const OUTPUT_BUFFER: usize = 8 * 1024;

/// Creates a client with a timeout per request. No status code is an error.
#[must_use]
pub fn agent(timeout: Duration, redirects: u32) -> Agent {
    agent_with_roots(RootCerts::WebPki, timeout, redirects)
}

/// Creates a client like [`agent`] for requests to `url`, which trusts what the system trusts.
#[must_use]
pub fn agent_for(url: &str, timeout: Duration, redirects: u32) -> Agent {
    let is_encrypted = url.starts_with("https://");
    let roots = if is_encrypted { roots::trusted_roots() } else { RootCerts::WebPki };
    agent_with_roots(roots, timeout, redirects)
}

/// Creates a client like [`agent`] that trusts `roots`. Proxies come from the environment:
/// `HTTPS_PROXY`, `NO_PROXY`.
#[must_use]
pub fn agent_with_roots(roots: RootCerts, timeout: Duration, redirects: u32) -> Agent {
    Agent::config_builder()
        .tls_config(TlsConfig::builder().root_certs(roots).build())
        .timeout_global(Some(timeout))
        .http_status_as_error(false)
        .max_redirects(redirects)
        .max_redirects_will_error(false)
        .user_agent(concat!("xtask/", env!("CARGO_PKG_VERSION")))
        // A development build fills these byte by byte, which took longer than a request.
        .input_buffer_size(INPUT_BUFFER)
        .output_buffer_size(OUTPUT_BUFFER)
        .build()
        .into()
}

/// Sends a GET request with these headers.
pub fn get(agent: &Agent, url: &str, headers: &[(&str, &str)]) -> Result<HttpResponse> {
    send(agent, HttpRequest { method: "GET", url, headers, body: None }, BODY_LIMIT)
}

/// Sends `body` as JSON in a POST request with these headers.
pub fn post<T: serde::Serialize>(
    agent: &Agent,
    url: &str,
    headers: &[(&str, &str)],
    body: &T,
) -> Result<HttpResponse> {
    let body = Some(serde_json::to_string(body)?);
    send(agent, HttpRequest { method: "POST", url, headers, body }, BODY_LIMIT)
}

/// Sends a DELETE request with these headers.
pub fn delete(agent: &Agent, url: &str, headers: &[(&str, &str)]) -> Result<HttpResponse> {
    send(agent, HttpRequest { method: "DELETE", url, headers, body: None }, BODY_LIMIT)
}

/// Sends a request. Errors if the body of the response has more than `body_limit` bytes.
pub fn send(agent: &Agent, request: HttpRequest<'_>, body_limit: u64) -> Result<HttpResponse> {
    let url = request.url;
    let response = exchange(agent, request).map_err(|error| explain(url, error))?;
    read_response(response, body_limit)
}

fn exchange(agent: &Agent, request: HttpRequest<'_>) -> Result<Response<Body>, ureq::Error> {
    let mut builder = Request::builder().method(request.method).uri(request.url);
    for (name, value) in request.headers {
        builder = builder.header(*name, *value);
    }
    match request.body {
        Some(body) => agent.run(builder.header("Content-Type", "application/json").body(body)?),
        None => agent.run(builder.body(())?),
    }
}

/// Adds the host of `url` to an error if its address cannot be resolved.
fn explain(url: &str, error: ureq::Error) -> Error {
    let is_unresolved = is_unresolved(&error);
    let error = Error::from(error);
    match host_of(url).filter(|_| is_unresolved) {
        Some(host) => error.context(format!("cannot resolve {host}")),
        None => error,
    }
}

/// Returns true if the address of a host cannot be resolved.
#[must_use]
pub fn is_unresolved(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::HostNotFound | ureq::Error::Timeout(ureq::Timeout::Resolve) => true,
        // The standard library has no kind for it, only this text.
        ureq::Error::Io(error) => error.to_string().starts_with("failed to lookup address"),
        _ => false,
    }
}

/// Returns the reason why the server of `url` cannot be reached, within `timeout`. `None` if it sends any response.
#[must_use]
pub fn unreachable(url: &str, timeout: Duration) -> Option<String> {
    let error = get(&agent_for(url, timeout, 0), url, &[]).err()?;
    let cause = error.find::<ureq::Error>()?;
    match cause {
        cause if is_unresolved(cause) => Some(format!("cannot resolve {}", host_of(url)?)),
        ureq::Error::Io(error) if error.kind() == ErrorKind::ConnectionRefused => {
            Some("the connection was refused".to_owned())
        }
        ureq::Error::Timeout(_) => Some(format!("no answer within {} s", timeout.as_secs())),
        ureq::Error::ConnectionFailed => Some("the connection failed".to_owned()),
        // An unknown certificate, or an answer that no registry gives: something is there.
        ureq::Error::Io(error) if error.kind() == ErrorKind::InvalidData => None,
        ureq::Error::Io(error) => Some(error.to_string()),
        _ => None,
    }
}

/// Returns the host of `url`.
#[must_use]
pub fn host_of(url: &str) -> Option<&str> {
    let host = url.split("://").nth(1)?.split(['/', '?', ':']).next()?;
    (!host.is_empty()).then_some(host)
}

fn read_response(mut response: Response<Body>, body_limit: u64) -> Result<HttpResponse> {
    let retry_after = retry_after(response.headers());
    let status = response.status().as_u16();
    let headers = response.headers().clone();
    let body = response.body_mut().with_config().limit(body_limit).read_to_vec()?;
    Ok(HttpResponse { status, body, retry_after, headers })
}

/// Parses `Retry-After`: seconds, or a date. A date is compared with the server's clock, because ours may be wrong
/// (<https://www.rfc-editor.org/rfc/rfc9110#field.retry-after>).
#[must_use]
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let value = text("retry-after")?;
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let now = text("date").and_then(parse_http_date).unwrap_or_else(unix_now);
    Some(Duration::from_secs(parse_http_date(value)?.saturating_sub(now)))
}

/// Returns the address for a request to `url`, and its `Host` header. Names below `localhost` are loopback
/// addresses (RFC 6761), but few resolvers know it, so the name moves to the header.
#[must_use]
pub fn loopback(url: &str) -> (String, Option<String>) {
    let Some(rest) = url.strip_prefix("http://") else {
        return (url.to_owned(), None);
    };
    let (authority, path) = rest.split_once('/').map_or((rest, ""), |(host, path)| (host, path));
    let (name, port) = authority.split_once(':').unwrap_or((authority, "80"));
    if name.ends_with(".localhost") {
        (format!("http://127.0.0.1:{port}/{path}"), Some(authority.to_owned()))
    } else {
        (url.to_owned(), None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_retry_after_as_seconds_or_as_a_date() {
        let after = |pairs: &[(&'static str, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.insert(*name, value.parse().expect("a value"));
            }
            retry_after(&headers).map(|wait| wait.as_secs())
        };
        let date = ("date", "Sun, 06 Nov 1994 08:49:30 GMT");
        assert_eq!(after(&[("retry-after", " 7 ")]), Some(7));
        assert_eq!(after(&[("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT"), date]), Some(7));
        assert_eq!(after(&[("retry-after", "Sun, 06 Nov 1994 08:49:29 GMT"), date]), Some(0));
        assert_eq!(after(&[("retry-after", "soon"), date]), None);
        assert_eq!(after(&[date]), None);
    }

    /// No resolver knows a name below `invalid` (RFC 6761).
    #[test]
    fn a_host_that_cannot_be_resolved_is_named() {
        let agent = agent(Duration::from_secs(60), 0);
        let error = get(&agent, "http://nothing.invalid:80/path", &[]).expect_err("no such host");
        assert_eq!(error.to_string(), "cannot resolve nothing.invalid");
        assert!(error.find::<ureq::Error>().is_some_and(is_unresolved));
    }

    #[test]
    fn a_server_that_cannot_be_reached_has_a_reason() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let url = format!("http://127.0.0.1:{port}/");
        let silent = unreachable(&url, Duration::from_secs(1));
        assert_eq!(silent.as_deref(), Some("no answer within 1 s"));
        drop(listener);
        let closed = unreachable(&url, Duration::from_secs(60));
        assert_eq!(closed.as_deref(), Some("the connection was refused"));
        let unknown = unreachable("http://nothing.invalid/", Duration::from_secs(60));
        assert_eq!(unknown.as_deref(), Some("cannot resolve nothing.invalid"));
    }

    /// A redirect is returned as a response, so that no header with a token goes to another server.
    #[test]
    fn does_not_follow_redirects() {
        use std::io::{Read as _, Write as _};
        let bind = || std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let (first, second) = (bind(), bind());
        let port = |listener: &std::net::TcpListener| listener.local_addr().expect("one").port();
        let url = format!("http://127.0.0.1:{}/", port(&first));
        let location = format!("http://127.0.0.1:{}/", port(&second));
        let server = std::thread::spawn(move || {
            let mut stream = first.accept().expect("a request").0;
            let _request = stream.read(&mut [0; 4096]).expect("text");
            let answer = format!(
                "HTTP/1.1 307 Moved\r\nlocation: {location}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            );
            stream.write_all(answer.as_bytes()).expect("sent");
        });
        let headers = [("authorization", "Bearer token")];
        let answer = get(&agent(Duration::from_secs(60), 0), &url, &headers).expect("an answer");
        server.join().expect("an end");
        assert_eq!(answer.status, 307);
        second.set_nonblocking(true).expect("set");
        assert!(second.accept().is_err(), "the other server was asked");
    }

    #[test]
    fn sends_names_below_localhost_in_the_host_header() {
        assert_eq!(
            loopback("http://site.localhost:8787/a"),
            ("http://127.0.0.1:8787/a".to_owned(), Some("site.localhost:8787".to_owned()))
        );
        assert_eq!(loopback("https://example.com/"), ("https://example.com/".to_owned(), None));
    }
}
