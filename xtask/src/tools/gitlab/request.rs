//! One request to GitLab, and when it may be made again.

use std::time::Duration;

use anyhow::Result;
use serde_json::Value;
use ureq::http::{HeaderMap, Request};
use ureq::{Agent, Body};

use super::paging::patience;
use super::problem::Problem;
use crate::clock::unix_now;
use crate::error::{Failure, failed, refused};
use crate::secret::{Redactor, Secret};
use crate::tools::http::BODY_LIMIT;

/// How often one request is made at most.
const TRIES: u32 = 5;

/// The longest pause that is worth it.
const LONGEST: Duration = Duration::from_secs(300);

/// How a client waits: it may be told to stop.
pub type Pause = dyn Fn(Duration) -> Result<()> + Send + Sync;

/// What the server said.
#[derive(Debug)]
pub struct Reply {
    /// The method and path that it answers.
    pub request: String,
    /// The status; 0 when the connection broke.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, or why there is none.
    pub body: Vec<u8>,
}

/// An API, and who calls it.
pub struct Client {
    base: String,
    /// What a token of its kind is sent in.
    header: &'static str,
    token: Secret,
    agent: Agent,
    pause: Box<Pause>,
}

impl Client {
    /// A client for the API at `base`, the address with `/api/v4` and whatever relative root comes
    /// before it.
    pub fn new(
        base: &str,
        token: Secret,
        agent: Agent,
        pause: Box<Pause>,
    ) -> Result<Client, Failure> {
        let rest = base.strip_prefix("https://").or_else(|| base.strip_prefix("http://"));
        let good = |rest: &str| {
            let text = rest.bytes().all(|b| b.is_ascii_graphic() && !b"?#@".contains(&b));
            text && !rest.starts_with('/') && !rest.is_empty()
        };
        if !rest.is_some_and(good) {
            return Err(refused(format!("`{base}` is no address of a GitLab API"))
                .hint("GitLab sets CI_API_V4_URL; check what overrides it"));
        }
        let base = base.trim_end_matches('/').to_owned();
        Ok(Client { base, header: "PRIVATE-TOKEN", token, agent, pause })
    }

    /// With a job's own token, which has a header of its own
    /// (<https://docs.gitlab.com/api/rest/authentication/>).
    #[must_use]
    pub fn of_job(self) -> Client {
        Client { header: "JOB-TOKEN", ..self }
    }

    /// Waits.
    pub fn wait(&self, time: Duration) -> Result<()> {
        (self.pause)(time)
    }

    /// Reads, again where the server is busy or broken.
    pub fn get(&self, path: &str) -> Result<Reply> {
        self.repeated("GET", path)
    }

    /// Makes a request that may be made twice, until it is answered.
    pub fn repeated(&self, method: &str, path: &str) -> Result<Reply> {
        for attempt in 0.. {
            let reply = self.once(method, path, None)?;
            let Some(wait) = wait(&reply, attempt)? else {
                return Ok(reply);
            };
            if attempt + 1 == TRIES {
                return Err(Problem::answer(&reply).into());
            }
            self.wait(wait)?;
        }
        Err(failed("no answer").into())
    }

    /// Waits after an answer that asks for it, and says whether it did.
    pub fn pause(&self, reply: &Reply) -> Result<bool> {
        match wait(reply, 0)? {
            Some(time) => self.wait(time).map(|()| true),
            None => Ok(false),
        }
    }

    /// Makes one request. A redirect is an error, since it would take the token elsewhere.
    pub fn once(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Reply> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header("Accept", "application/json")
            .header(self.header, self.token.expose());
        if body.is_some() {
            request = request.header("Content-Type", "application/json");
        }
        let shown = format!("{method} {}", path.split('?').next().unwrap_or_default());
        let reply =
            match self.exchange(request.body(body.map(Value::to_string).unwrap_or_default())?) {
                Ok((status, headers, body)) => Reply { request: shown, status, headers, body },
                Err(ureq::Error::BadUri(text)) => {
                    return Err(refused(format!("bad address {text}")).into());
                }
                Err(error) => {
                    let reason = format!("{} at {}", self.hidden(&error.to_string()), self.base);
                    let (headers, body) = (HeaderMap::new(), reason.into());
                    let reply = Reply { request: shown, status: 0, headers, body };
                    if lasting(&error) {
                        return Err(Problem::answer(&reply).into());
                    }
                    reply
                }
            };
        if (300..400).contains(&reply.status) {
            let target = reply.headers.get("location").and_then(|value| value.to_str().ok());
            let target = self.hidden(target.unwrap_or("elsewhere"));
            return Err(refused(format!(
                "{}: GitLab redirects to {target}, where the token is not sent",
                reply.request
            ))
            .hint("the project or the instance has moved: CI_API_V4_URL and the project's number must name the new place")
            .into());
        }
        Ok(reply)
    }

    fn exchange(&self, request: Request<String>) -> Result<(u16, HeaderMap, Vec<u8>), ureq::Error> {
        let empty = request.body().is_empty();
        let (parts, body) = request.into_parts();
        let mut answer: ureq::http::Response<Body> = match empty {
            true => self.agent.run(Request::from_parts(parts, ()))?,
            false => self.agent.run(Request::from_parts(parts, body))?,
        };
        let headers = answer.headers().clone();
        let bytes = answer.body_mut().with_config().limit(BODY_LIMIT * 4).read_to_vec()?;
        let text = self.hidden(&String::from_utf8_lossy(&bytes)).into_bytes();
        Ok((answer.status().as_u16(), headers, text))
    }

    fn hidden(&self, text: &str) -> String {
        Redactor::new([self.token.clone()]).apply(text)
    }
}

/// How long to wait before the next attempt; nothing when the answer is one. Attempts count from 0.
fn wait(reply: &Reply, attempt: u32) -> Result<Option<Duration>> {
    let time = match reply.status {
        429 => patience(&reply.headers, unix_now()),
        0 | 500..=599 => Duration::from_secs(1 << attempt),
        _ => return Ok(None),
    };
    if time > LONGEST {
        let seconds = time.as_secs();
        return Err(failed(format!("GitLab asks to wait for {seconds} seconds")).into());
    }
    Ok(Some(time))
}

/// Whether the connection would break again: rustls reports a certificate that it does not trust as
/// invalid data (observed with ureq 3.5).
fn lasting(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Io(error) => error.kind() == std::io::ErrorKind::InvalidData,
        ureq::Error::Rustls(_) | ureq::Error::Tls(_) | ureq::Error::InvalidProxyUrl => true,
        _ => false,
    }
}
