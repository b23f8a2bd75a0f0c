//! Accepts connections, with a timeout for slow clients.

use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tower_service::Service as _;

use crate::connection::Connection;

/// The time limit for the headers of a request, and for an idle connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);

/// The time limit for running requests after a stop signal.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// The pause after a failed `accept`, which fails while the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `router` on all listeners until `stop` completes. Then waits for running requests, at most
/// [`STOP_TIMEOUT`].
pub async fn serve(listeners: Vec<TcpListener>, router: Router, stop: impl Future<Output = ()>) {
    let (stopping, stopped) = watch::channel(false);
    // Each task holds a sender, so the channel closes when the last task ends.
    let (running, mut all_ended) = mpsc::channel::<()>(1);
    for listener in listeners {
        tokio::spawn(accept(listener, router.clone(), stopped.clone(), running.clone()));
    }
    drop((running, stopped));
    stop.await;
    stopping.send_replace(true);
    // Requests that still run after the timeout are aborted.
    let _aborted = tokio::time::timeout(STOP_TIMEOUT, all_ended.recv()).await;
}

async fn accept(
    listener: TcpListener,
    router: Router,
    mut stopped: watch::Receiver<bool>,
    running: mpsc::Sender<()>,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopped.changed() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                let (router, stopped, running) = (router.clone(), stopped.clone(), running.clone());
                tokio::spawn(async move {
                    serve_connection(stream, router, stopped).await;
                    drop(running);
                });
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn serve_connection(stream: TcpStream, router: Router, mut stopped: watch::Receiver<bool>) {
    // Nagle's algorithm would delay small responses.
    let _slower = stream.set_nodelay(true);
    let connection = Connection::from_stream(&stream);
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(connection.clone()));
        router.clone().call(request)
    });
    let requests = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut requests = pin!(requests);
    // A client that disconnects or does not send HTTP ends only this connection.
    tokio::select! {
        _ended = requests.as_mut() => return,
        _ = stopped.changed() => requests.as_mut().graceful_shutdown(),
    }
    let _ended = requests.await;
}
