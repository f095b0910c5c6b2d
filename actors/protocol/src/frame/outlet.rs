//! The writing side of a session: what goes out is written by whoever has it, when that one is
//! alone and nothing waits before it; else by the session's writer, together with whatever else
//! waits: each write is a TLS record and a system call.

use super::{FrameError, Outflow};
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::AsyncWrite;
use tokio::sync::{Notify, Semaphore, watch};

/// When the other side takes nothing for so long, it is gone.
const STALLED: Duration = Duration::from_secs(60);
/// How long the end of a connection may take to be said.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(5);

/// The way out. When its last clone is gone the connection is closed, after what waits.
#[derive(Clone)]
pub struct Outlet {
    held: Arc<Held>,
}

/// Tells the writer when nobody has anything to say any more.
struct Held(Arc<Shared>);

/// What is to be written; for [`Outgoing::write`].
pub struct Outgoing(Arc<Shared>);

struct Shared {
    out: Mutex<Out>,
    /// Room for frames. Closed when nothing is written any more.
    room: Semaphore,
    /// The writer has something to do.
    unfinished: Notify,
    ended: watch::Sender<bool>,
}

struct Out {
    flow: Outflow,
    /// So many of the frames have not left.
    frames: usize,
    /// Nothing comes after what waits.
    last: bool,
    /// Why nothing can be added any more.
    wrong: Option<String>,
}

/// How a frame is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sending {
    /// At once, when nothing waits before it.
    Alone,
    /// By the writer, with what else may come.
    Together,
    /// The same, and nothing comes after it.
    Last,
}

impl Outlet {
    /// The way into `stream`, with room for `depth` frames that wait.
    pub fn new(stream: impl AsyncWrite + Send + Unpin + 'static, depth: usize) -> (Self, Outgoing) {
        let shared = Arc::new(Shared {
            out: Mutex::new(Out {
                flow: Outflow::new(stream),
                frames: 0,
                last: false,
                wrong: None,
            }),
            room: Semaphore::new(depth),
            unfinished: Notify::new(),
            ended: watch::Sender::new(false),
        });
        let held = Arc::new(Held(shared.clone()));
        (Self { held }, Outgoing(shared))
    }

    /// How many clones there are.
    pub fn holders(&self) -> usize {
        Arc::strong_count(&self.held)
    }

    /// Sends what `add` adds, one frame, when there is room. `false` when nothing is written any
    /// more.
    pub async fn send(
        &self,
        sending: Sending,
        add: impl FnOnce(&mut Outflow) -> Result<(), FrameError>,
    ) -> bool {
        let Ok(room) = self.shared().room.acquire().await else {
            return false;
        };
        room.forget();
        self.shared().add(sending, add)
    }

    /// The same without waiting: `false` also when there is no room.
    pub fn try_send(
        &self,
        sending: Sending,
        add: impl FnOnce(&mut Outflow) -> Result<(), FrameError>,
    ) -> bool {
        let Ok(room) = self.shared().room.try_acquire() else {
            return false;
        };
        room.forget();
        self.shared().add(sending, add)
    }

    /// Whether nothing is written any more.
    pub fn is_closed(&self) -> bool {
        self.shared().room.is_closed()
    }

    /// Waits until nothing is written any more.
    pub async fn ended(&self) {
        let mut ended = self.shared().ended.subscribe();
        // The sender is in `shared`.
        let _ = ended.wait_for(|ended| *ended).await;
    }

    fn shared(&self) -> &Shared {
        &self.held.0
    }
}

impl Shared {
    fn add(
        &self,
        sending: Sending,
        add: impl FnOnce(&mut Outflow) -> Result<(), FrameError>,
    ) -> bool {
        let mut out = self.lock();
        if out.last || out.wrong.is_some() || out.flow.is_closed() {
            return false;
        }
        let idle = out.flow.is_idle();
        if let Err(error) = add(&mut out.flow) {
            out.wrong = Some(error.to_string());
        }
        out.frames += 1;
        out.last = sending == Sending::Last;
        let ordinary = !out.last && out.wrong.is_none();
        let at_once = sending == Sending::Alone && idle && ordinary;
        if at_once && out.flow.write_now() {
            self.left(&mut out);
        } else if idle || !ordinary {
            self.unfinished.notify_one();
        }
        true
    }

    /// All has left.
    fn left(&self, out: &mut Out) {
        self.room.add_permits(std::mem::take(&mut out.frames));
    }

    fn lock(&self) -> MutexGuard<'_, Out> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what waits; why it is over, when it is.
    async fn write(&self) -> Option<String> {
        loop {
            let some = poll_fn(|cx| {
                let mut out = self.lock();
                let wrote = out.flow.poll_some(cx);
                wrote.map_ok(|all| {
                    all.then(|| {
                        self.left(&mut out);
                        let over = out.last.then(|| "the session is over".to_string());
                        out.wrong.take().or(over)
                    })
                })
            });
            match tokio::time::timeout(STALLED, some).await {
                Ok(Ok(Some(end))) => return end,
                Ok(Ok(None)) => {}
                Ok(Err(error)) => return Some(format!("cannot write: {error}")),
                Err(_) => return Some("the other side does not read".to_string()),
            }
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.lock().last = true;
        self.0.unfinished.notify_one();
    }
}

impl Outgoing {
    /// Writes what others leave over until the session or the stream ends; says why.
    pub async fn write(self) -> String {
        let shared = &self.0;
        let why = loop {
            shared.unfinished.notified().await;
            // First let those run who were woken together with the one that woke this.
            tokio::task::yield_now().await;
            if let Some(why) = shared.write().await {
                break why;
            }
        };
        let shutdown = poll_fn(|cx| shared.lock().flow.poll_shutdown(cx));
        let _ = tokio::time::timeout(SHUTDOWN_LIMIT, shutdown).await;
        why
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.0.lock().flow.abandon();
        self.0.room.close();
        self.0.ended.send_replace(true);
    }
}

impl std::fmt::Debug for Outlet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Outlet, {:?}", self.shared().lock().flow)
    }
}

impl std::fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Outgoing, {:?}", self.0.lock().flow)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Frames;

    #[tokio::test]
    async fn with_the_last_outlet_the_stream_ends_after_what_waits() {
        let (near, far) = tokio::io::duplex(100);
        let (outlet, outgoing) = Outlet::new(near, 2);
        let add = |flow: &mut Outflow| flow.add(&vec![7u8; 300]);
        assert!(outlet.try_send(Sending::Alone, add));
        assert!(outlet.try_send(Sending::Together, add));
        assert!(
            !outlet.try_send(Sending::Together, add),
            "there is room for two"
        );
        let (other, writing) = (outlet.clone(), tokio::spawn(outgoing.write()));
        drop(outlet);
        let mut frames = Frames::new(far);
        for _ in 0..2 {
            let frame: Vec<u8> = frames.next().await.expect("whole").expect("a frame");
            assert_eq!(frame.len(), 300);
        }
        // All has left, so there is room again.
        assert!(other.send(Sending::Last, add).await);
        assert!(
            !other.send(Sending::Alone, add).await,
            "nothing follows the last"
        );
        drop(other);
        let last: Option<Vec<u8>> = frames.next().await.expect("whole");
        assert_eq!(last.expect("a frame").len(), 300);
        assert!(frames.next::<Vec<u8>>().await.expect("in order").is_none());
        assert_eq!(writing.await.expect("it ends"), "the session is over");
    }

    #[tokio::test]
    async fn those_who_wait_for_room_hear_that_the_writer_is_gone() {
        let (near, _far) = tokio::io::duplex(10);
        let (outlet, outgoing) = Outlet::new(near, 1);
        let add = |flow: &mut Outflow| flow.add(&[7u8; 30]);
        assert!(outlet.send(Sending::Alone, add).await);
        let waiting = outlet.clone();
        let waiting = tokio::spawn(async move { waiting.send(Sending::Alone, add).await });
        tokio::task::yield_now().await;
        drop(outgoing);
        assert!(!waiting.await.expect("it ends"));
        assert!(outlet.is_closed());
        outlet.ended().await;
    }
}
