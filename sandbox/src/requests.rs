//! Stores the latest requests in memory, for the page.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

/// The maximum number of stored requests.
const MAX_REQUESTS: usize = 200;

/// An answered request, without its query, headers and body.
#[derive(Clone, Debug, Serialize)]
pub struct RequestEntry {
    /// The time of the answer, RFC 3339.
    pub at: String,
    /// The method.
    pub method: String,
    /// The requested host.
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
pub struct RequestLog(Mutex<VecDeque<RequestEntry>>);

impl RequestLog {
    /// Adds a request. Evicts the oldest one if there are too many.
    pub fn add(&self, request: RequestEntry) {
        let mut requests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if requests.len() == MAX_REQUESTS {
            requests.pop_front();
        }
        requests.push_back(request);
    }

    /// Lists the latest requests, newest first.
    #[must_use]
    pub fn latest(&self) -> Vec<RequestEntry> {
        let requests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        requests.iter().rev().cloned().collect()
    }
}
