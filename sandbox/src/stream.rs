//! Wraps the streams of response bodies.

use std::io::{Error, Result};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Bytes;
use futures_core::Stream;
use tokio::time::Sleep;

/// Wraps `stream`. Drops `value` only with the stream.
pub fn keep_alive<S: Stream + Unpin, V: Unpin>(stream: S, value: V) -> impl Stream<Item = S::Item> {
    KeepAlive { stream, _value: value }
}

struct KeepAlive<S, V> {
    stream: S,
    _value: V,
}

impl<S: Stream + Unpin, V: Unpin> Stream for KeepAlive<S, V> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<S::Item>> {
        Pin::new(&mut self.stream).poll_next(context)
    }
}

/// The delay before the error of an aborted body, so that its beginning is sent.
const ABORT_DELAY: Duration = Duration::from_millis(50);

/// Returns a stream that sends `beginning`, if any, and then an error, which closes the connection.
pub fn abort_after(beginning: Option<Bytes>) -> impl Stream<Item = Result<Bytes>> {
    let wait = beginning.as_ref().map(|_| Box::pin(tokio::time::sleep(ABORT_DELAY)));
    AbortedBody { beginning, wait }
}

struct AbortedBody {
    beginning: Option<Bytes>,
    wait: Option<Pin<Box<Sleep>>>,
}

impl Stream for AbortedBody {
    type Item = Result<Bytes>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes>>> {
        if let Some(beginning) = self.beginning.take() {
            return Poll::Ready(Some(Ok(beginning)));
        }
        let delay = self.wait.as_mut().map_or(Poll::Ready(()), |wait| wait.as_mut().poll(context));
        delay.map(|()| Some(Err(Error::other("a fault was injected"))))
    }
}
