//! The client's two tasks at the socket: one reads and hands out, one writes.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};

use crate::shim::wire::{self, Answer, Fault, Inbox, Say};
use crate::spec::Event;

pub(super) type Reply = (Result<Answer, Fault>, Vec<OwnedFd>);

/// Callers by request id; `None` once the shim is gone.
pub(super) type Waiting = Option<HashMap<u64, oneshot::Sender<Reply>>>;

pub(super) fn locked(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The next frame, or `None` at the end of the stream.
pub(super) async fn next(stream: &UnixStream, inbox: &mut Inbox) -> io::Result<Option<Say>> {
    loop {
        if let Some(say) = inbox.next()? {
            return Ok(Some(say));
        }
        stream.readable().await?;
        match stream.try_io(Interest::READABLE, || inbox.fill(stream.as_raw_fd())) {
            Ok(0) => return Ok(None),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

pub(super) async fn read_all(
    stream: Arc<UnixStream>,
    mut inbox: Inbox,
    waiting: Arc<Mutex<Waiting>>,
    events: mpsc::UnboundedSender<Event>,
) {
    while let Ok(Some(say)) = next(&stream, &mut inbox).await {
        match say {
            Say::Hello { .. } => {}
            Say::Event(event) => {
                // Nobody listening is the daemon's choice.
                let _ = events.send(event);
            }
            Say::Reply { id, fds, result } => {
                let fds = inbox.take_fds(fds.into());
                let caller = locked(&waiting)
                    .as_mut()
                    .and_then(|waiting| waiting.remove(&id));
                if let Some(caller) = caller {
                    // A caller that gave up closes the descriptors by this.
                    let _ = caller.send((result, fds));
                }
            }
        }
    }
    *locked(&waiting) = None;
}

/// A task of its own, so that a caller that gives up never leaves half a frame.
pub(super) async fn write_all(stream: Arc<UnixStream>, mut frames: mpsc::Receiver<Vec<u8>>) {
    while let Some(frame) = frames.recv().await {
        if write(&stream, &frame).await.is_err() {
            // The reader notices too and tells everyone who waits.
            return;
        }
    }
}

async fn write(stream: &UnixStream, frame: &[u8]) -> io::Result<()> {
    let mut written = 0;
    while written < frame.len() {
        stream.writable().await?;
        let rest = &frame[written..];
        match stream.try_io(Interest::WRITABLE, || wire::send(stream.as_fd(), rest, &[])) {
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
