//! Two small streams for bodies.

use std::io::{Error, Result};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Bytes;
use futures_core::Stream;
use tokio::time::Sleep;

/// `stream`, which keeps `held` alive as long as itself.
pub fn holding<S: Stream + Unpin, H: Unpin>(stream: S, held: H) -> impl Stream<Item = S::Item> {
    Holding { stream, _held: held }
}

struct Holding<S, H> {
    stream: S,
    _held: H,
}

impl<S: Stream + Unpin, H: Unpin> Stream for Holding<S, H> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<S::Item>> {
        Pin::new(&mut self.stream).poll_next(context)
    }
}

/// How long the end of a broken body waits, so that its beginning is sent.
const SENT: Duration = Duration::from_millis(50);

/// `beginning`, if any, and then an error, which ends the connection.
pub fn broken(beginning: Option<Bytes>) -> impl Stream<Item = Result<Bytes>> {
    let wait = beginning.as_ref().map(|_| Box::pin(tokio::time::sleep(SENT)));
    Broken { beginning, wait }
}

struct Broken {
    beginning: Option<Bytes>,
    wait: Option<Pin<Box<Sleep>>>,
}

impl Stream for Broken {
    type Item = Result<Bytes>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes>>> {
        if let Some(beginning) = self.beginning.take() {
            return Poll::Ready(Some(Ok(beginning)));
        }
        let waited = self.wait.as_mut().map_or(Poll::Ready(()), |wait| wait.as_mut().poll(context));
        waited.map(|()| Some(Err(Error::other("a fault was asked for"))))
    }
}
