//! Sends requests to GitLab and retries those that are safe to repeat.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use ureq::Agent;

use super::paging::{self, rate_limit_wait};
use super::request_error::RequestError;
use base::env::variable;
use base::error::{Result, refused};
use base::http::{self, HttpRequest, HttpResponse};
use base::retry::RetryBudget;
use base::roots::roots;
use base::secret::{Redactor, Secret, redact};
use base::time::unix_now;

/// The name of the service in messages about delays.
const WHO: &str = "GitLab";

/// The maximum size of a response's body: a page of 100 notes of 1 MiB each.
const BODY_LIMIT: u64 = 104 * 1024 * 1024;

/// The response to a request.
#[derive(Debug)]
pub struct Reply {
    /// The method and path of the request, for errors.
    pub request: String,
    /// The response.
    pub response: HttpResponse,
}

impl Reply {
    /// Parses the body of the response. Errors unless it has this status.
    pub(super) fn json<T: for<'de> Deserialize<'de>>(&self, status: u16) -> Result<T> {
        self.ok(status)?;
        serde_json::from_slice(&self.response.body)
            .map_err(|error| RequestError::unexpected_shape(self, &error.to_string()).into())
    }

    /// Errors unless the response has this status.
    pub(super) fn ok(&self, status: u16) -> Result<()> {
        if self.response.status == status {
            Ok(())
        } else {
            Err(RequestError::unexpected_status(self).into())
        }
    }
}

/// A page of a list.
pub(super) struct ReplyPage {
    /// The reply with its rows.
    pub(super) reply: Reply,
    /// `true` if another page follows.
    pub(super) has_next: bool,
}

/// An API, and who calls it.
pub struct Client<'a> {
    base: String,
    /// The header in which a token of its kind is sent.
    header: &'static str,
    token: Secret,
    agent: Agent,
    retry_budget: &'a RetryBudget,
}

impl<'a> Client<'a> {
    /// Creates a client for the API at `base` that trusts the certificates of this machine and of the instance.
    /// `timeout` is that of one request.
    pub fn connect(
        base: &str,
        token: Secret,
        timeout: Duration,
        retry_budget: &'a RetryBudget,
    ) -> Result<Client<'a>> {
        let agent = http::agent_with_roots(roots(variable)?, timeout, 0);
        Client::new(base, token, agent, retry_budget)
    }

    /// Creates a client for the API at `base`, the address with `/api/v4` and whatever relative root comes
    /// before it.
    pub fn new(
        base: &str,
        token: Secret,
        agent: Agent,
        retry_budget: &'a RetryBudget,
    ) -> Result<Client<'a>> {
        let rest = base.strip_prefix("https://").or_else(|| base.strip_prefix("http://"));
        let is_path = |rest: &str| {
            let text = rest.bytes().all(|b| b.is_ascii_graphic() && !b"?#@".contains(&b));
            text && !rest.starts_with('/') && !rest.is_empty()
        };
        if !rest.is_some_and(is_path) {
            return Err(refused(format!("`{base}` is not an address of a GitLab API"))
                .hint("check what overrides CI_API_V4_URL, which GitLab sets"));
        }
        let base = base.trim_end_matches('/').to_owned();
        Ok(Client { base, header: "PRIVATE-TOKEN", token, agent, retry_budget })
    }

    /// Authenticates with a job token, which has its own header
    /// (<https://docs.gitlab.com/api/rest/authentication/>).
    #[must_use]
    pub fn of_job(self) -> Client<'a> {
        Client { header: "JOB-TOKEN", ..self }
    }

    /// Sends a GET request. Retries transient errors.
    pub fn get(&self, path: &str) -> Result<Reply> {
        self.send("GET", path, None)
    }

    /// Reads the pages of the list at `path`, at most `limit`. Ends after an error.
    ///
    /// A page may be short or empty although others follow, because GitLab removes rows that the user may not read (see
    /// `lib/api/notes.rb` of GitLab). Only the header tells which page is the last.
    pub(super) fn pages(&self, path: &str, limit: u64) -> impl Iterator<Item = Result<ReplyPage>> {
        let separator = if path.contains('?') { '&' } else { '?' };
        let mut next = Some(1);
        std::iter::from_fn(move || {
            let number = next.take().filter(|&number| number <= limit)?;
            let reply = self.get(&format!("{path}{separator}per_page=100&page={number}"));
            Some(reply.map(|reply| {
                next = paging::next(&reply.response.headers).filter(|&next| next > number);
                ReplyPage { reply, has_next: next.is_some() }
            }))
        })
    }

    /// Sends a DELETE request. Retries like a read, because a deletion is idempotent.
    pub fn delete(&self, path: &str) -> Result<Reply> {
        self.send("DELETE", path, None)
    }

    /// Sends a POST request. Retries only if the response proves that nothing changed.
    pub fn post(&self, path: &str, body: &Value) -> Result<Reply> {
        self.send("POST", path, Some(body))
    }

    /// Sends a POST request with a credential that GitLab should store. All other requests redact credentials in
    /// their bodies.
    pub(super) fn post_credential(&self, path: &str, body: &Value) -> Result<Reply> {
        self.send_credential("POST", path, body)
    }

    /// Puts a credential in the place of another one.
    pub(super) fn put_credential(&self, path: &str, body: &Value) -> Result<Reply> {
        self.send_credential("PUT", path, body)
    }

    fn send_credential(&self, method: &str, path: &str, body: &Value) -> Result<Reply> {
        let once = || self.once_with(method, path, Some(body.to_string()));
        let outcome = self.retry_budget.change(WHO, once);
        self.checked_reply(method, path, outcome)
    }

    fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Reply> {
        let once = || self.once(method, path, body);
        let outcome = match body {
            None => self.retry_budget.read(WHO, once),
            Some(_) => self.retry_budget.change(WHO, once),
        };
        self.checked_reply(method, path, outcome)
    }

    /// Sends one request, in attempt number `tried`. `None` if its outcome is unknown. The requested
    /// delay has passed then.
    pub fn attempt(
        &self,
        method: &str,
        path: &str,
        body: &Value,
        tried: u32,
    ) -> Result<Option<Reply>> {
        let outcome = self.once(method, path, Some(body));
        if self.retry_budget.wait_if_transient(WHO, &outcome, tried) {
            return Ok(None);
        }
        self.checked_reply(method, path, outcome).map(Some)
    }

    /// Returns the reply. Errors for a broken connection, and for a redirect, because it would send the token to
    /// another server.
    fn checked_reply(
        &self,
        method: &str,
        path: &str,
        outcome: Result<HttpResponse>,
    ) -> Result<Reply> {
        let request = describe(method, path);
        let response = outcome.map_err(|error| match error.find::<ureq::Error>() {
            Some(cause @ (ureq::Error::BadUri(_) | ureq::Error::Http(_))) => {
                refused(format!("bad address {}{path}: {cause}", self.base))
            }
            Some(cause) => {
                let detail = format!("{} at {}", self.without_token(&cause.to_string()), self.base);
                RequestError { request: request.clone(), status: None, detail, code: None }.into()
            }
            None => error,
        })?;
        if (300..400).contains(&response.status) {
            let target = self.without_token(response.header("location").unwrap_or("elsewhere"));
            return Err(refused(format!(
                "{request}: GitLab redirects to {target}, where the token is not sent"
            ))
            .hint("let CI_API_V4_URL and the project's number name the new place: the project or the instance has moved"));
        }
        Ok(Reply { request, response })
    }

    /// Sends one request, with secrets removed from its body.
    fn once(&self, method: &str, path: &str, body: Option<&Value>) -> Result<HttpResponse> {
        self.once_with(method, path, body.map(|body| redact(&body.to_string())))
    }

    /// Sends one request. Removes the token from the response.
    fn once_with(&self, method: &str, path: &str, body: Option<String>) -> Result<HttpResponse> {
        let url = format!("{}{path}", self.base);
        let headers = [("Accept", "application/json"), (self.header, self.token.expose())];
        let request = HttpRequest { method, url: &url, headers: &headers, body };
        let response = http::send(&self.agent, request, BODY_LIMIT)?;
        let is_limited = response.status == 429;
        Ok(HttpResponse {
            body: self.without_token(&String::from_utf8_lossy(&response.body)).into_bytes(),
            retry_after: is_limited.then(|| rate_limit_wait(&response.headers, unix_now())),
            ..response
        })
    }

    fn without_token(&self, text: &str) -> String {
        Redactor::new([self.token.clone()]).apply(text)
    }
}

/// Formats a request for an error.
fn describe(method: &str, path: &str) -> String {
    format!("{method} {}", path.split('?').next().unwrap_or_default())
}
