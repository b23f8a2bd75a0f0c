//! Gives request handlers access to the connection.

use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;

use tokio::net::TcpStream;

/// A second handle of a connection. `None` if the process has no file descriptor left.
#[derive(Clone, Debug)]
pub struct Connection(Option<Arc<OwnedFd>>);

impl Connection {
    /// Duplicates the handle of `stream`.
    #[must_use]
    pub fn from_stream(stream: &TcpStream) -> Connection {
        Connection(stream.as_fd().try_clone_to_owned().ok().map(Arc::new))
    }

    /// Makes the connection end with a reset instead of a normal close.
    pub fn reset_when_closed(&self) {
        let stream = self.0.as_ref().and_then(|fd| fd.try_clone().ok());
        let stream = stream.and_then(|fd| TcpStream::from_std(fd.into()).ok());
        if let Some(stream) = stream {
            // Fails if the connection is closed already.
            let _closed = stream.set_zero_linger();
        }
    }
}
