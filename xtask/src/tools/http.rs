//! Reading over HTTP: the APIs, and the sites after a deploy.

use std::time::Duration;

use anyhow::Result;
use ureq::Agent;
use ureq::tls::{RootCerts, TlsConfig};

/// What a server answered.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The body, at most [`BODY_LIMIT`] bytes of it.
    pub body: Vec<u8>,
}

/// Asset files are at most 25 MiB (<https://developers.cloudflare.com/workers/platform/limits/>).
pub const BODY_LIMIT: u64 = 26 * 1024 * 1024;

/// A client whose every request ends within `timeout`, and for which no status is an error.
#[must_use]
pub fn agent(timeout: Duration, redirects: u32) -> Agent {
    trusting(RootCerts::WebPki, timeout, redirects)
}

/// As [`agent`], for servers whose certificates go back to `roots`. Proxies come from the
/// environment: `HTTPS_PROXY`, `NO_PROXY`.
#[must_use]
pub fn trusting(roots: RootCerts, timeout: Duration, redirects: u32) -> Agent {
    Agent::config_builder()
        .tls_config(TlsConfig::builder().root_certs(roots).build())
        .timeout_global(Some(timeout))
        .http_status_as_error(false)
        .max_redirects(redirects)
        .max_redirects_will_error(false)
        .user_agent(concat!("xtask/", env!("CARGO_PKG_VERSION")))
        .build()
        .into()
}

/// Gets `url` with these headers.
pub fn get(agent: &Agent, url: &str, headers: &[(&str, &str)]) -> Result<Answer> {
    let mut request = agent.get(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut response = request.call()?;
    Ok(Answer {
        status: response.status().as_u16(),
        body: response.body_mut().with_config().limit(BODY_LIMIT).read_to_vec()?,
    })
}

/// Posts `body` as JSON to `url` with these headers.
pub fn post<T: serde::Serialize>(
    agent: &Agent,
    url: &str,
    headers: &[(&str, &str)],
    body: &T,
) -> Result<Answer> {
    let mut request = agent.post(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut response = request.send_json(body)?;
    Ok(Answer {
        status: response.status().as_u16(),
        body: response.body_mut().with_config().limit(BODY_LIMIT).read_to_vec()?,
    })
}

/// Deletes `url` with these headers.
pub fn delete(agent: &Agent, url: &str, headers: &[(&str, &str)]) -> Result<Answer> {
    let mut request = agent.delete(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut response = request.call()?;
    Ok(Answer {
        status: response.status().as_u16(),
        body: response.body_mut().with_config().limit(BODY_LIMIT).read_to_vec()?,
    })
}

/// Where to send a request for `url`, and with which `Host` header. Names below `localhost` are
/// loopback addresses (RFC 6761), but few resolvers know it, so the name travels in the header.
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
    use super::loopback;

    #[test]
    fn names_below_localhost_travel_in_the_header() {
        assert_eq!(
            loopback("http://site.localhost:8787/a"),
            ("http://127.0.0.1:8787/a".to_owned(), Some("site.localhost:8787".to_owned()))
        );
        assert_eq!(loopback("https://example.com/"), ("https://example.com/".to_owned(), None));
    }
}
