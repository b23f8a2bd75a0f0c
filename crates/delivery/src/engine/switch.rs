//! Giving the traffic to a version, sure of what came of it.

use base::error::{Failure, failed, remote};
use base::retry::RetryBudget;
use cloudflare::api;
use cloudflare::api::{Api, Live, Refusal};

/// Which version of which Worker, instead of which.
#[derive(Clone, Copy, Debug)]
pub struct Switch<'a> {
    /// The Worker.
    pub worker: &'a str,
    /// The version that is live until then.
    pub from: &'a str,
    /// The version that is to be live.
    pub to: &'a str,
    /// What Cloudflare keeps with the deployment.
    pub message: &'a str,
}

/// What came of it.
pub struct Switched {
    /// What is live now, where that could be read.
    pub live: Option<Live>,
    /// Whether it is what was wanted. The exit code of a failure says what is known: 1 that nothing
    /// changed, 4 that it may have.
    pub result: Result<(), Failure>,
}

impl Switch<'_> {
    /// Deploys, and reads what is live whatever the answer was. An order that certainly was not
    /// carried out is given again, as far as `retry_budget` reaches; one that may still be is not.
    pub fn make(self, api: &Api<'_>, retry_budget: &RetryBudget) -> Switched {
        let mut tried = 0;
        loop {
            tried += 1;
            let order = api.deploy(self.worker, self.to, self.message);
            let read = api.live(self.worker);
            let again = match (&order, &read) {
                (Err(error), Ok(Some(live))) => live.version == self.from && settled(error),
                _ => false,
            };
            if !again || !retry_budget.backoff_and_retry("Cloudflare did not deploy it", tried) {
                return self.judge(order, read);
            }
        }
    }

    fn judge(self, order: anyhow::Result<()>, read: anyhow::Result<Option<Live>>) -> Switched {
        let read = match read {
            Ok(live) => live,
            Err(unread) => {
                let order = match order {
                    Ok(()) => "deployed".to_owned(),
                    Err(error) => format!("{error:#}"),
                };
                let text = format!("{order}, but what is live now cannot be read: {unread:#}");
                let failure = remote(text).hint(api::next_step(&unread));
                return Switched { live: None, result: Err(failure) };
            }
        };
        let now = read.as_ref().map_or("nothing", |live| live.version.as_str());
        let result = match order {
            // An answer that was lost on its way is none that was not given.
            _ if now == self.to => Ok(()),
            Ok(()) => Err(remote(format!("another deployment came in between: {now} is live"))),
            Err(error) if now != self.from => Err(remote(format!("{error:#}; {now} is live now"))),
            Err(error) if unanswered(&error) => Err(remote(format!(
                "{error:#}; {now} is still live, but the order may yet be carried out"
            ))
            .hint(api::next_step(&error))),
            Err(error) => {
                Err(failed(format!("{error:#}; {now} is still live")).hint(api::next_step(&error)))
            }
        };
        Switched { live: read, result }
    }
}

/// Whether a failed order is over and done with, and another try may do better.
fn settled(error: &anyhow::Error) -> bool {
    match error.downcast_ref::<Refusal>() {
        Some(refusal) => refusal.status >= 500,
        None => !unanswered(error) && cause(error).is_some_and(broken),
    }
}

fn unanswered(error: &anyhow::Error) -> bool {
    matches!(cause(error), Some(ureq::Error::Timeout(_)))
}

fn broken(error: &ureq::Error) -> bool {
    use std::io::ErrorKind::ConnectionRefused;
    match error {
        ureq::Error::Io(error) => error.kind() != ConnectionRefused,
        error => matches!(error, ureq::Error::ConnectionFailed | ureq::Error::Protocol(_)),
    }
}

fn cause(error: &anyhow::Error) -> Option<&ureq::Error> {
    error.chain().find_map(|cause| cause.downcast_ref())
}

/// The failure of a former version that could not be put back: the new one is live, and wrong.
#[must_use]
pub fn not_put_back(why: &str, former: &str, failure: &Failure) -> anyhow::Error {
    let said = remote(format!("{why}\nthe former version {former} cannot be put back: {failure}"));
    failure.hints.iter().fold(said, Failure::hint).into()
}
