//! Stores the latest requests in memory, for the page.

use std::collections::VecDeque;
use std::sync::Mutex;

use serde::Serialize;

use crate::mutex::lock;

/// The maximum number of stored requests.
const MAX_REQUESTS: usize = 200;

/// A completed request, without its query, headers and body.
#[derive(Clone, Debug, Serialize)]
pub struct RequestEntry {
    /// The time of the response, RFC 3339.
    pub at: String,
    /// The method.
    pub method: String,
    /// The requested host.
    pub host: String,
    /// The path.
    pub path: String,
    /// The status of the response.
    pub status: u16,
    /// The time until the headers of the response, in milliseconds.
    pub milliseconds: u64,
}

/// The latest requests, oldest first.
#[derive(Debug, Default)]
pub struct RequestLog(Mutex<VecDeque<RequestEntry>>);

impl RequestLog {
    /// Adds a request. Evicts the oldest one if there are too many.
    pub fn add(&self, request: RequestEntry) {
        let mut requests = lock(&self.0);
        if requests.len() == MAX_REQUESTS {
            requests.pop_front();
        }
        requests.push_back(request);
    }

    /// Lists the latest requests, newest first.
    #[must_use]
    pub fn latest(&self) -> Vec<RequestEntry> {
        let requests = lock(&self.0);
        requests.iter().rev().cloned().collect()
    }
}
