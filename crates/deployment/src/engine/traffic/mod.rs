//! Routes the traffic of a Worker to versions and verifies the result.

pub mod rollback;

use std::time::{Duration, Instant};

use crate::plan::destination::Destination;
use base::error::{Error, Result, failed, remote};
use base::retry::RetryBudget;
use base::text::short_version;
use cloudflare::api::{self, Api, Live, UnexpectedResponse};
use cloudflare::wrangler::requests::is_definite;

/// A change of the versions that get the traffic of a Worker.
#[derive(Clone, Debug)]
pub struct Traffic<'a> {
    /// The Worker.
    pub worker: &'a str,
    /// The current live version.
    pub from: &'a str,
    /// The versions that will share the traffic, with their percentages.
    pub shares: Vec<(&'a str, f64)>,
    /// The message of the deployment.
    pub message: &'a str,
}

impl Traffic<'_> {
    /// Returns true if each version has its percentage of the traffic.
    fn is_routed(&self, live: Option<&Live>) -> bool {
        let percentage = |version: &str| live.map_or(0.0, |live| live.percentage_of(version));
        self.shares.iter().all(|(version, share)| (percentage(version) - share).abs() < 0.01)
    }
}

/// Returns the preview URL of a version. `None` if preview URLs are off, too long, or cannot be read.
pub(crate) fn version_url(
    api: &Api<'_>,
    destination: &Destination,
    worker: &str,
    version: &str,
) -> Option<String> {
    let suffix = api.preview_suffix(worker).ok()??;
    destination.preview_url(short_version(version), worker, &suffix)
}

/// Returns the shares if `to` gets `percent` of the traffic and `rest` keeps the others.
#[must_use]
pub fn divide<'a>(to: &'a str, percent: u8, rest: &'a str) -> Vec<(&'a str, f64)> {
    let others = 100_u8.saturating_sub(percent);
    let all = [(to, f64::from(percent)), (rest, f64::from(others))];
    all.into_iter().filter(|(_, share)| *share > 0.0).collect()
}

/// The result of routing the traffic.
pub struct RoutingResult {
    /// The live version now. `None` if it could not be read.
    pub live: Option<Live>,
    /// Success if the version is live. The kind of a failure shows whether something may have changed.
    pub result: Result<()>,
}

/// The time to watch for the effect of a request whose response was lost.
const LOST_RESPONSE_WATCH: Duration = Duration::from_secs(5);

/// Reads the live version again until it changes or the time is over. For a request whose response was lost.
pub(crate) fn watch_for_effect(
    mut live: Result<Option<Live>>,
    is_unchanged: impl Fn(Option<&Live>) -> bool,
    read: impl Fn() -> Result<Option<Live>>,
) -> Result<Option<Live>> {
    let started = Instant::now();
    while live.as_ref().is_ok_and(|live| is_unchanged(live.as_ref()))
        && started.elapsed() < LOST_RESPONSE_WATCH
    {
        std::thread::sleep(LOST_RESPONSE_WATCH / 5);
        live = read();
    }
    live
}

/// Sends the request and reads the live version after any response. Retries a request that definitely
/// failed, within the retry budget. Never retries a request that may still take effect.
pub fn route_traffic(traffic: &Traffic<'_>, api: &Api<'_>, budget: &RetryBudget) -> RoutingResult {
    let mut tried = 0;
    loop {
        tried += 1;
        let response = api.deploy(traffic.worker, &traffic.shares, traffic.message);
        let mut live = api.live(traffic.worker);
        let is_unchanged =
            |live: Option<&Live>| live_version(live) == traffic.from && !traffic.is_routed(live);
        if response.as_ref().is_err_and(|error| !definitely_failed(error)) {
            live = watch_for_effect(live, is_unchanged, || api.live(traffic.worker));
        }
        let should_retry =
            response.as_ref().is_err_and(|error| definitely_failed(error) && is_transient(error))
                && live.as_ref().is_ok_and(|live| is_unchanged(live.as_ref()));
        if !should_retry || !budget.backoff_and_retry("Cloudflare did not deploy it", tried) {
            return classify_response(traffic, response, live);
        }
    }
}

/// Returns the id of the live version, or `nothing`.
pub(crate) fn live_version(live: Option<&Live>) -> &str {
    live.map_or("nothing", |live| live.version.as_str())
}

fn classify_response(
    traffic: &Traffic<'_>,
    response: Result<()>,
    live: Result<Option<Live>>,
) -> RoutingResult {
    let live = match live {
        Ok(live) => live,
        Err(unread) => {
            let response = match response {
                Ok(()) => "deployed".to_owned(),
                Err(error) => format!("{error:#}"),
            };
            let text = format!("{response}, but what is live now cannot be read: {unread:#}");
            let failure = remote(text).hint(api::next_step(&unread));
            return RoutingResult { live: None, result: Err(failure) };
        }
    };
    let now = live_version(live.as_ref());
    let result = match response {
        // The response was lost, but the deployment went through.
        _ if traffic.is_routed(live.as_ref()) => Ok(()),
        Ok(()) => Err(remote(format!("another deployment came in between: {now} is live"))),
        Err(error) if now != traffic.from => Err(remote(format!("{error:#}; {now} is live now"))),
        Err(error) if !definitely_failed(&error) => Err(remote(format!(
            "{error:#}; {now} is still live, but the request may still take effect"
        ))
        .hint("wait a minute and read what is live; send no other request before that")),
        Err(error) => {
            Err(failed(format!("{error:#}; {now} is still live")).hint(api::next_step(&error)))
        }
    };
    RoutingResult { live, result }
}

/// Returns true if a failed request had and will have no effect: Cloudflare itself refused it, or it
/// never arrived. A gateway's error, a broken connection and a timeout prove neither.
fn definitely_failed(error: &Error) -> bool {
    use std::io::ErrorKind::ConnectionRefused;
    use ureq::Timeout::{Connect, Resolve};
    if let Some(response) = error.find::<UnexpectedResponse>() {
        return is_definite(response.status);
    }
    match error.find::<ureq::Error>() {
        Some(ureq::Error::Io(error)) => error.kind() == ConnectionRefused,
        Some(ureq::Error::Timeout(kind)) => matches!(kind, Connect | Resolve),
        Some(ureq::Error::HostNotFound | ureq::Error::ConnectionFailed) => true,
        Some(ureq::Error::Protocol(_) | ureq::Error::BodyStalled) => false,
        // It was not sent: an invalid URL, or a TLS error.
        Some(_) | None => true,
    }
}

/// Returns true if a retry may succeed.
fn is_transient(error: &Error) -> bool {
    error.find::<UnexpectedResponse>().is_some_and(|response| response.status >= 500)
}

/// Returns the failure of a rollback: the new version is live and wrong.
#[must_use]
pub fn not_rolled_back(why: &str, previous: &str, failure: &Error) -> Error {
    let message = format!("{why}\nthe previous version {previous} cannot be put back: {failure:#}");
    failure.hints.iter().fold(remote(message), Error::hint)
}
