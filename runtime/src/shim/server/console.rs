//! Receiving a terminal's master side from a container that was made with one.

use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use super::{Attempt, Outcome, refuse};
use crate::shim::wire::Inbox;

/// A socket that the container's process sends the descriptor to while it is being made.
pub(super) struct Console {
    listener: UnixListener,
    path: PathBuf,
}

impl Drop for Console {
    fn drop(&mut self) {
        // It goes with the directory at the latest.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Console {
    pub fn listen(dir: &Path) -> Outcome<Self> {
        let path = dir.join("console");
        let _ = std::fs::remove_file(&path);
        let dir = std::fs::File::open(dir)?;
        let short = format!("/proc/self/fd/{}/console", dir.as_raw_fd());
        let listener = UnixListener::bind(short).attempt(|| "listen for a terminal".to_owned())?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener, path })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Once the container is made, the descriptor has been sent.
    pub fn receive(self) -> Outcome<OwnedFd> {
        let (stream, _) = self
            .listener
            .accept()
            .attempt(|| "receive the container's terminal".to_owned())?;
        let mut inbox = Inbox::default();
        inbox
            .fill(stream.as_raw_fd())
            .attempt(|| "receive the container's terminal".to_owned())?;
        match inbox.take_fds(1).pop() {
            Some(master) => Ok(master),
            None => refuse("the container sent no terminal"),
        }
    }
}
