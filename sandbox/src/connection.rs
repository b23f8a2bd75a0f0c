//! The connection that a request came on.

use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use tokio::net::{TcpListener, TcpStream};

/// A second handle on a connection.
#[derive(Clone, Debug)]
pub struct Connection(Option<Arc<OwnedFd>>);

impl Connected<IncomingStream<'_, TcpListener>> for Connection {
    fn connect_info(stream: IncomingStream<'_, TcpListener>) -> Connection {
        Connection(stream.io().as_fd().try_clone_to_owned().ok().map(Arc::new))
    }
}

impl Connection {
    /// Makes the connection end with a reset instead of a goodbye.
    pub fn reset_when_closed(&self) {
        let second = self.0.as_ref().and_then(|fd| fd.try_clone().ok());
        let second = second.and_then(|fd| TcpStream::from_std(fd.into()).ok());
        if let Some(second) = second {
            // A connection that is gone already cannot be reset.
            let _gone = second.set_zero_linger();
        }
    }
}
