//! The connection of a request.

use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;

use tokio::net::TcpStream;

/// A second handle on a connection. `None` if the process has no file handle left.
#[derive(Clone, Debug)]
pub struct Connection(Option<Arc<OwnedFd>>);

impl Connection {
    /// Duplicates the handle of `stream`.
    #[must_use]
    pub fn from_stream(stream: &TcpStream) -> Connection {
        Connection(stream.as_fd().try_clone_to_owned().ok().map(Arc::new))
    }

    /// Makes the connection end with a reset instead of a regular close.
    pub fn reset_when_closed(&self) {
        let second = self.0.as_ref().and_then(|fd| fd.try_clone().ok());
        let second = second.and_then(|fd| TcpStream::from_std(fd.into()).ok());
        if let Some(second) = second {
            // A closed connection cannot be reset.
            let _closed = second.set_zero_linger();
        }
    }
}
