//! Retries of HTTP requests within one time budget per command.
//!
//! A read is retried on transient errors: rate limits, server errors, broken connections. A change is
//! retried only if it is certain that it did not happen. Wrangler has its own retries and is never
//! started twice.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::deadline;
use super::http::{self, HttpResponse};
use super::runner::is_interrupted;
use crate::error::{Result, interrupted};
use crate::mutex;

/// The total time that one command spends on retries.
pub const BUDGET: Duration = Duration::from_secs(120);

/// The maximum number of attempts per request.
const TRIES: u32 = 5;

/// The first delay. Each further delay is twice as long, up to [`MAX_RETRY_DELAY`].
const FIRST_RETRY_DELAY: Duration = Duration::from_millis(500);
const MAX_RETRY_DELAY: Duration = Duration::from_secs(8);

/// The remaining time of a command for retries.
pub struct RetryBudget {
    left: Mutex<Duration>,
    say: Box<dyn Fn(&str) + Send + Sync>,
    sleep: Box<Sleep>,
}

/// Sleeps. Returns false if it was interrupted.
type Sleep = dyn Fn(Duration) -> bool + Send + Sync;

/// An error that is likely to go away.
struct TransientError {
    what: String,
    /// The wait that the server asks for.
    retry_after: Option<Duration>,
}

impl RetryBudget {
    /// Creates the budget of a command. `say` gets a message before each delay.
    #[must_use]
    pub fn new(say: impl Fn(&str) + Send + Sync + 'static) -> RetryBudget {
        let budget = deadline::within(BUDGET).unwrap_or(BUDGET);
        RetryBudget { left: Mutex::new(budget), say: Box::new(say), sleep: Box::new(sleep) }
    }

    /// Creates an empty budget: each request is sent once.
    #[must_use]
    pub fn none() -> RetryBudget {
        RetryBudget { left: Mutex::default(), ..RetryBudget::new(|_| ()) }
    }

    /// Replaces the sleep function, for tests.
    #[must_use]
    pub fn with_sleep(
        self,
        sleep: impl Fn(Duration) -> bool + Send + Sync + 'static,
    ) -> RetryBudget {
        RetryBudget { sleep: Box::new(sleep), ..self }
    }

    /// Sends a read to `who` and retries transient errors. Returns the last response or error.
    pub fn read(
        &self,
        who: &str,
        send: impl FnMut() -> Result<HttpResponse>,
    ) -> Result<HttpResponse> {
        self.send(who, send, transient_error)
    }

    /// Sends a change to `who` and retries it only if the response proves that nothing changed.
    pub fn change(
        &self,
        who: &str,
        send: impl FnMut() -> Result<HttpResponse>,
    ) -> Result<HttpResponse> {
        self.send(who, send, rate_limit_error)
    }

    /// Waits after attempt number `tried` if its outcome at `who` is uncertain, so that the caller can read the
    /// state. Returns false if the outcome is certain or the budget is spent.
    pub fn wait_if_transient(&self, who: &str, outcome: &Result<HttpResponse>, tried: u32) -> bool {
        transient_error(outcome).is_some_and(|error| self.after(who, &error, tried))
    }

    /// Waits before the next attempt, after `tried` attempts. Returns false if the attempts or the budget are
    /// spent.
    pub fn backoff_and_retry(&self, what: &str, tried: u32) -> bool {
        tried < TRIES && self.wait(what, with_jitter(backoff(tried)))
    }

    /// Sleeps without spending the budget. Errors if interrupted.
    pub fn sleep(&self, time: Duration) -> Result<()> {
        if (self.sleep)(time) { Ok(()) } else { Err(interrupted()) }
    }

    fn after(&self, who: &str, error: &TransientError, tried: u32) -> bool {
        let pause = error.retry_after.unwrap_or_else(|| with_jitter(backoff(tried)));
        self.wait(&format!("{who} {}", error.what), pause)
    }

    fn wait(&self, what: &str, pause: Duration) -> bool {
        if pause >= self.remaining() || is_interrupted() {
            return false;
        }
        (self.say)(&format!("{what}; retrying in {}", seconds(pause)));
        self.spend(pause);
        (self.sleep)(pause)
    }

    fn send(
        &self,
        who: &str,
        mut send: impl FnMut() -> Result<HttpResponse>,
        transient_error: fn(&Result<HttpResponse>) -> Option<TransientError>,
    ) -> Result<HttpResponse> {
        let mut outcome = send();
        for tried in 1..TRIES {
            let Some(error) = transient_error(&outcome) else { return outcome };
            if !self.after(who, &error, tried) {
                return outcome;
            }
            let started = Instant::now();
            outcome = send();
            self.spend(started.elapsed());
        }
        outcome
    }

    fn remaining(&self) -> Duration {
        *mutex::lock(&self.left)
    }

    fn spend(&self, time: Duration) {
        let mut remaining = mutex::lock(&self.left);
        *remaining = remaining.saturating_sub(time);
    }
}

/// Returns the transient error of an outcome: status 429, 500, 502 to 504, Cloudflare's statuses for an
/// unreachable origin (<https://developers.cloudflare.com/support/troubleshooting/http-status-codes/cloudflare-5xx-errors/>),
/// and broken connections. `None` for success and for permanent errors.
fn transient_error(outcome: &Result<HttpResponse>) -> Option<TransientError> {
    match outcome {
        Ok(response) if matches!(response.status, 429 | 500 | 502..=504 | 520..=524) => {
            Some(TransientError {
                what: format!("answered {}", response.status),
                retry_after: response.retry_after,
            })
        }
        Ok(_) => None,
        Err(error) => {
            let what = match error.find::<ureq::Error>()? {
                error if http::is_unresolved(error) => "cannot be resolved by its name",
                ureq::Error::Timeout(_) => "did not respond in time",
                // No listener, or a server of another protocol. A retry does not help.
                ureq::Error::Io(error) if is_permanent(error.kind()) => return None,
                ureq::Error::Io(_)
                | ureq::Error::ConnectionFailed
                | ureq::Error::Protocol(_)
                | ureq::Error::BodyStalled => "closed the connection",
                _ => return None,
            };
            Some(TransientError { what: what.to_owned(), retry_after: None })
        }
    }
}

fn is_permanent(kind: std::io::ErrorKind) -> bool {
    use std::io::ErrorKind::{ConnectionRefused, InvalidData, InvalidInput};
    matches!(kind, ConnectionRefused | InvalidData | InvalidInput)
}

/// Returns the error of a rate-limited request. Only status 429 proves that nothing was done.
fn rate_limit_error(outcome: &Result<HttpResponse>) -> Option<TransientError> {
    transient_error(outcome).filter(|_| matches!(outcome, Ok(response) if response.status == 429))
}

fn backoff(tried: u32) -> Duration {
    FIRST_RETRY_DELAY.saturating_mul(1 << (tried - 1).min(16)).min(MAX_RETRY_DELAY)
}

/// Returns a random delay from half of `pause` to all of it, so that parallel jobs do not retry in step.
fn with_jitter(pause: Duration) -> Duration {
    let mut random = [0; 1];
    let source = ring::rand::SystemRandom::new();
    let part = match ring::rand::SecureRandom::fill(&source, &mut random) {
        Ok(()) => u32::from(random[0]),
        Err(_) => 128,
    };
    pause / 2 + pause * part / 512
}

/// Sleeps. Returns false if it was interrupted.
fn sleep(time: Duration) -> bool {
    let started = Instant::now();
    while let Some(remaining) = time.checked_sub(started.elapsed()) {
        if is_interrupted() {
            return false;
        }
        std::thread::sleep(remaining.min(Duration::from_millis(50)));
    }
    true
}

fn seconds(time: Duration) -> String {
    if time.subsec_millis() == 0 {
        format!("{} s", time.as_secs())
    } else {
        format!("{:.1} s", time.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::error::failed;

    fn response(status: u16, retry_after: Option<u64>) -> Result<HttpResponse> {
        let retry_after = retry_after.map(Duration::from_millis);
        Ok(HttpResponse { status, retry_after, ..HttpResponse::default() })
    }

    /// Returns the final status, the number of requests, and the messages.
    fn play(change: bool, responses: &[(u16, Option<u64>)]) -> (Option<u16>, usize, Vec<String>) {
        let notes = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&notes);
        let retry_budget = RetryBudget::new(move |text| {
            heard.lock().expect("no panic").push(text.to_owned());
        });
        let mut sent = 0;
        let send = || {
            let (status, after) = responses[sent.min(responses.len() - 1)];
            sent += 1;
            if status == 0 { Err(failed("a bad address")) } else { response(status, after) }
        };
        let outcome =
            if change { retry_budget.change("it", send) } else { retry_budget.read("it", send) };
        let notes = notes.lock().expect("no panic").clone();
        (outcome.ok().map(|response| response.status), sent, notes)
    }

    #[test]
    fn reads_retry_transient_errors() {
        let (status, sent, notes) = play(false, &[(503, Some(1)), (429, Some(2)), (200, None)]);
        assert_eq!((status, sent), (Some(200), 3));
        assert_eq!(
            notes,
            ["it answered 503; retrying in 0.0 s", "it answered 429; retrying in 0.0 s"]
        );
        for (status, sent) in [(403, 1), (404, 1), (409, 1), (501, 1)] {
            assert_eq!(play(false, &[(status, None)]).1, sent, "{status}");
        }
        assert_eq!(play(false, &[(0, None)]).1, 1);
        assert_eq!(play(false, &[(502, Some(1))]).1, 5);
    }

    #[test]
    fn a_change_is_retried_only_if_it_did_not_happen() {
        assert_eq!(play(true, &[(503, Some(1)), (200, None)]).1, 1);
        assert_eq!(play(true, &[(429, Some(1)), (200, None)]).0, Some(200));
    }

    #[test]
    fn all_requests_of_a_command_share_one_budget() {
        let retry_budget = RetryBudget::new(|_| ()).with_sleep(|_| true);
        let minute = response(429, Some(60_000));
        assert!(
            retry_budget.wait_if_transient("it", &minute, 1)
                && !retry_budget.wait_if_transient("it", &minute, 2)
        );
        assert!(retry_budget.wait_if_transient("another", &response(502, None), 3));
        assert!(!retry_budget.wait_if_transient("it", &response(404, None), 1));
        assert!(!RetryBudget::none().wait_if_transient("it", &response(502, None), 1));
    }

    #[test]
    fn does_not_wait_beyond_the_budget() {
        let (status, sent, notes) = play(false, &[(429, Some(121_000)), (200, None)]);
        assert_eq!((status, sent, notes.len()), (Some(429), 1, 0));
    }

    #[test]
    fn delays_grow_and_vary() {
        let whole: Vec<u64> = (1..7).map(|tried| backoff(tried).as_secs()).collect();
        assert_eq!(whole, [0, 1, 2, 4, 8, 8]);
        for _ in 0..50 {
            let pause = with_jitter(Duration::from_secs(8));
            assert!((4..=8).contains(&pause.as_secs()), "{pause:?}");
        }
    }
}
