//! Whether a site answers as it should after a deployment.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use camino::Utf8Path;

use crate::plan::ProjectPlan;
use base::http;
use base::runner::INTERRUPTED;

/// How long between two tries.
const PAUSE: Duration = Duration::from_millis(300);

/// What a good answer is.
#[derive(Debug)]
pub struct Expectation {
    /// The address to ask.
    pub url: String,
    /// The exact bytes, where the build says what they are.
    pub body: Option<Vec<u8>>,
}

impl Expectation {
    /// Any success of the health path below `base`.
    #[must_use]
    pub fn health(path: &str, base: &str) -> Expectation {
        let url = format!("{}/{}", base.trim_end_matches('/'), path.trim_start_matches('/'));
        Expectation { url, body: None }
    }
}

/// What `part` must answer as it was built: for a site of files alone the very bytes, for a Worker with
/// code any success.
#[must_use]
pub fn built(root: &Utf8Path, part: &ProjectPlan) -> Option<Vec<u8>> {
    match (&part.dist, &part.target.main) {
        (Some(dist), None) => file_for(&root.join(dist), &part.health),
        _ => None,
    }
}

/// The file that Cloudflare serves for `path`, when it is there
/// (<https://developers.cloudflare.com/workers/static-assets/routing/advanced/html-handling/>).
fn file_for(dist: &Utf8Path, path: &str) -> Option<Vec<u8>> {
    let path = path.trim_matches('/');
    [format!("{path}/index.html"), format!("{path}.html"), path.to_owned()]
        .iter()
        .find_map(|name| std::fs::read(dist.join(name.trim_start_matches('/'))).ok())
}

/// Asks until the answer is right. The error is the reason of the last try.
pub fn wait(expectation: &Expectation, deadline: Duration) -> Result<(), String> {
    let started = Instant::now();
    loop {
        let reason = match ask(expectation) {
            Ok(()) => return Ok(()),
            Err(reason) => reason,
        };
        if INTERRUPTED.load(Ordering::SeqCst) {
            return Err(format!("interrupted; {reason}"));
        }
        if started.elapsed() + PAUSE > deadline {
            return Err(format!("{reason} after {} s", deadline.as_secs()));
        }
        std::thread::sleep(PAUSE);
    }
}

fn ask(expectation: &Expectation) -> Result<(), String> {
    let (url, host) = http::loopback(&expectation.url);
    let headers: Vec<(&str, &str)> =
        host.as_deref().map(|host| ("Host", host)).into_iter().collect();
    let agent = http::agent(Duration::from_secs(10), 5);
    let answer = http::get(&agent, &url, &headers).map_err(|error| format!("{error:#}"))?;
    if !(200..300).contains(&answer.status) {
        return Err(format!("status {}", answer.status));
    }
    match &expectation.body {
        Some(body) if *body != answer.body => Err("it still serves other content".to_owned()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_health_path_is_joined_with_one_slash() {
        for (path, base) in [("/up", "http://a/"), ("up", "http://a"), ("/up", "http://a")] {
            assert_eq!(Expectation::health(path, base).url, "http://a/up");
        }
        assert_eq!(Expectation::health("/", "http://a/").url, "http://a/");
    }
}
