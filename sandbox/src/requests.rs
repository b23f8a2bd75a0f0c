//! Keeps the latest requests in memory, for the page.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

/// The number of requests that are kept.
const KEPT: usize = 200;

/// A request that was answered: never its query, a header or a body.
#[derive(Clone, Debug, Serialize)]
pub struct Answered {
    /// The time of the answer, RFC 3339.
    pub at: String,
    /// The method.
    pub method: String,
    /// The host that was asked for.
    pub host: String,
    /// The path.
    pub path: String,
    /// The status of the answer.
    pub status: u16,
    /// The time until the head of the answer, in milliseconds.
    pub milliseconds: u64,
}

/// The latest requests, oldest first.
#[derive(Debug, Default)]
pub struct Requests(Mutex<VecDeque<Answered>>);

impl Requests {
    /// Adds a request. The oldest one makes room.
    pub fn add(&self, request: Answered) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(request);
    }

    /// Lists the latest requests, newest first.
    #[must_use]
    pub fn latest(&self) -> Vec<Answered> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().rev().cloned().collect()
    }
}
