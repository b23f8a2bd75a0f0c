//! When a request is sent again, and how long that may go on.
//!
//! A read is sent again after what passes by itself: too many requests, a server in trouble, a broken
//! connection. A change is sent again only when it is known that it did not happen. Wrangler has rules
//! of its own and is never started twice.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::deadline;
use super::runner::INTERRUPTED;
use crate::error::interrupted;

/// How long one command waits for servers to recover, over all of its requests.
pub const BUDGET: Duration = Duration::from_secs(120);

/// How often one request is sent at most.
const TRIES: u32 = 5;

/// The first pause. Each further one is twice as long, up to the longest.
const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(8);

/// An answer, as far as it decides whether a request is sent again.
pub trait Reply {
    /// The status.
    fn status(&self) -> u16;

    /// How long the server asks to wait.
    fn retry_after(&self) -> Option<Duration>;
}

/// What is left of a command's time for requests that fail.
pub struct Patience {
    left: Mutex<Duration>,
    say: Box<dyn Fn(&str) + Send + Sync>,
    sleep: Box<Sleep>,
}

/// Waits, and says whether the whole time passed.
type Sleep = dyn Fn(Duration) -> bool + Send + Sync;

/// Why a request may be sent again.
struct Trouble {
    what: String,
    /// How long the server asks to wait.
    retry_after: Option<Duration>,
}

impl Patience {
    /// A command's whole patience. `say` is told of each pause.
    #[must_use]
    pub fn new(say: impl Fn(&str) + Send + Sync + 'static) -> Patience {
        let budget = deadline::within(BUDGET).unwrap_or(BUDGET);
        Patience { left: Mutex::new(budget), say: Box::new(say), sleep: Box::new(sleep) }
    }

    /// None: each request is sent once.
    #[must_use]
    pub fn none() -> Patience {
        Patience { left: Mutex::default(), ..Patience::new(|_| ()) }
    }

    /// The same patience, whose pauses `sleep` makes.
    #[must_use]
    pub fn sleeping(self, sleep: impl Fn(Duration) -> bool + Send + Sync + 'static) -> Patience {
        Patience { sleep: Box::new(sleep), ..self }
    }

    /// Reads from `who`, again after what passes by itself. What comes back is the last answer or error.
    pub fn read<T: Reply>(&self, who: &str, send: impl FnMut() -> Result<T>) -> Result<T> {
        self.send(who, send, passing)
    }

    /// Changes something at `who`, again only after answers that say that nothing was done.
    pub fn change<T: Reply>(&self, who: &str, send: impl FnMut() -> Result<T>) -> Result<T> {
        self.send(who, send, not_done)
    }

    /// Waits after an outcome of the `tried`th attempt that leaves open whether something was changed at
    /// `who`, so that the caller can look; false when it is clear, or when it is time to give up.
    pub fn open<T: Reply>(&self, who: &str, outcome: &Result<T>, tried: u32) -> bool {
        passing(outcome).is_some_and(|trouble| self.after(who, &trouble, tried))
    }

    /// Waits before something is tried again for the `tried + 1`th time, and says so; false when it is
    /// time to give up.
    pub fn again(&self, what: &str, tried: u32) -> bool {
        tried < TRIES && self.wait(what, with_jitter(backoff(tried)))
    }

    /// Waits for something else than a server in trouble. An error says that we were interrupted.
    pub fn pause(&self, time: Duration) -> Result<()> {
        if (self.sleep)(time) { Ok(()) } else { Err(interrupted().into()) }
    }

    fn after(&self, who: &str, trouble: &Trouble, tried: u32) -> bool {
        let pause = trouble.retry_after.unwrap_or_else(|| with_jitter(backoff(tried)));
        self.wait(&format!("{who} {}", trouble.what), pause)
    }

    fn wait(&self, what: &str, pause: Duration) -> bool {
        if pause >= self.left() || INTERRUPTED.load(Ordering::SeqCst) {
            return false;
        }
        (self.say)(&format!("{what}; again in {}", seconds(pause)));
        self.spend(pause);
        (self.sleep)(pause)
    }

    fn send<T: Reply>(
        &self,
        who: &str,
        mut send: impl FnMut() -> Result<T>,
        trouble: fn(&Result<T>) -> Option<Trouble>,
    ) -> Result<T> {
        let mut outcome = send();
        for tried in 1..TRIES {
            let Some(trouble) = trouble(&outcome) else { return outcome };
            if !self.after(who, &trouble, tried) {
                return outcome;
            }
            let started = Instant::now();
            outcome = send();
            self.spend(started.elapsed());
        }
        outcome
    }

    fn left(&self) -> Duration {
        *self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spend(&self, time: Duration) {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        *left = left.saturating_sub(time);
    }
}

/// What passes by itself: 429, 500, 502 to 504, what Cloudflare's network says of a server that it does
/// not reach (<https://developers.cloudflare.com/support/troubleshooting/http-status-codes/cloudflare-5xx-errors/>),
/// and connections that break.
fn passing<T: Reply>(outcome: &Result<T>) -> Option<Trouble> {
    match outcome {
        Ok(answer) if matches!(answer.status(), 429 | 500 | 502..=504 | 520..=524) => {
            Some(Trouble {
                what: format!("answered {}", answer.status()),
                retry_after: answer.retry_after(),
            })
        }
        Ok(_) => None,
        Err(error) => {
            let what = match error.downcast_ref::<ureq::Error>()? {
                ureq::Error::Timeout(_) => "does not answer",
                ureq::Error::HostNotFound => "is not found",
                // Nobody listens there, or it is somebody else: both stay.
                ureq::Error::Io(error) if stays(error.kind()) => return None,
                ureq::Error::Io(_)
                | ureq::Error::ConnectionFailed
                | ureq::Error::Protocol(_)
                | ureq::Error::BodyStalled => "broke the connection",
                _ => return None,
            };
            Some(Trouble { what: what.to_owned(), retry_after: None })
        }
    }
}

fn stays(kind: std::io::ErrorKind) -> bool {
    use std::io::ErrorKind::{ConnectionRefused, InvalidData, InvalidInput};
    matches!(kind, ConnectionRefused | InvalidData | InvalidInput)
}

/// Too many requests: the one answer that is given before anything is done.
fn not_done<T: Reply>(outcome: &Result<T>) -> Option<Trouble> {
    passing(outcome).filter(|_| matches!(outcome, Ok(answer) if answer.status() == 429))
}

fn backoff(tried: u32) -> Duration {
    FIRST.saturating_mul(1 << (tried - 1).min(16)).min(LONGEST)
}

/// Between half and all of `pause`, so that jobs that failed together do not come back together.
fn with_jitter(pause: Duration) -> Duration {
    let mut random = [0; 1];
    let source = ring::rand::SystemRandom::new();
    let part = match ring::rand::SecureRandom::fill(&source, &mut random) {
        Ok(()) => u32::from(random[0]),
        Err(_) => 128,
    };
    pause / 2 + pause * part / 512
}

/// Whether the whole time passed without an interruption.
fn sleep(time: Duration) -> bool {
    let started = Instant::now();
    while let Some(left) = time.checked_sub(started.elapsed()) {
        if INTERRUPTED.load(Ordering::SeqCst) {
            return false;
        }
        std::thread::sleep(left.min(Duration::from_millis(50)));
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

    use anyhow::anyhow;
    use ureq::http::HeaderMap;

    use super::*;
    use crate::http::Answer;

    fn answer(status: u16, retry_after: Option<u64>) -> Result<Answer> {
        let retry_after = retry_after.map(Duration::from_millis);
        Ok(Answer { status, body: Vec::new(), retry_after, headers: HeaderMap::new() })
    }

    /// The status that came back, how often it was asked for, and what was said.
    fn play(change: bool, answers: &[(u16, Option<u64>)]) -> (Option<u16>, usize, Vec<String>) {
        let said = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&said);
        let patience = Patience::new(move |text| {
            heard.lock().expect("no panic").push(text.to_owned());
        });
        let mut sent = 0;
        let send = || {
            let (status, after) = answers[sent.min(answers.len() - 1)];
            sent += 1;
            if status == 0 { Err(anyhow!("a bad address")) } else { answer(status, after) }
        };
        let outcome = if change { patience.change("it", send) } else { patience.read("it", send) };
        let said = said.lock().expect("no panic").clone();
        (outcome.ok().map(|answer| answer.status), sent, said)
    }

    #[test]
    fn reads_wait_for_what_passes() {
        let (status, sent, said) = play(false, &[(503, Some(1)), (429, Some(2)), (200, None)]);
        assert_eq!((status, sent), (Some(200), 3));
        assert_eq!(said, ["it answered 503; again in 0.0 s", "it answered 429; again in 0.0 s"]);
        for (status, sent) in [(403, 1), (404, 1), (409, 1), (501, 1)] {
            assert_eq!(play(false, &[(status, None)]).1, sent, "{status}");
        }
        assert_eq!(play(false, &[(0, None)]).1, 1);
        assert_eq!(play(false, &[(502, Some(1))]).1, 5);
    }

    #[test]
    fn a_change_is_repeated_only_when_it_was_not_made() {
        assert_eq!(play(true, &[(503, Some(1)), (200, None)]).1, 1);
        assert_eq!(play(true, &[(429, Some(1)), (200, None)]).0, Some(200));
    }

    #[test]
    fn a_command_has_one_patience_for_all_of_its_requests() {
        let patience = Patience::new(|_| ()).sleeping(|_| true);
        let minute = answer(429, Some(60_000));
        assert!(patience.open("it", &minute, 1) && !patience.open("it", &minute, 2));
        assert!(patience.open("another", &answer(502, None), 3));
        assert!(!patience.open("it", &answer(404, None), 1));
        assert!(!Patience::none().open("it", &answer(502, None), 1));
    }

    #[test]
    fn who_asks_for_too_much_is_not_waited_for() {
        let (status, sent, said) = play(false, &[(429, Some(121_000)), (200, None)]);
        assert_eq!((status, sent, said.len()), (Some(429), 1, 0));
    }

    #[test]
    fn pauses_grow_and_differ() {
        let whole: Vec<u64> = (1..7).map(|tried| backoff(tried).as_secs()).collect();
        assert_eq!(whole, [0, 1, 2, 4, 8, 8]);
        for _ in 0..50 {
            let pause = with_jitter(Duration::from_secs(8));
            assert!((4..=8).contains(&pause.as_secs()), "{pause:?}");
        }
    }
}
