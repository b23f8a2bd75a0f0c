//! The connection that a request came on.

use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;

use tokio::net::TcpStream;

/// A second handle on a connection. `None` if the process had no file handle left for it.
#[derive(Clone, Debug)]
pub struct Connection(Option<Arc<OwnedFd>>);

impl Connection {
    /// Takes a second handle on `stream`.
    #[must_use]
    pub fn of(stream: &TcpStream) -> Connection {
        Connection(stream.as_fd().try_clone_to_owned().ok().map(Arc::new))
    }

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
