//! The way from the log's threads to the actor: through the poller, and only when it is needed.
//!
//! A thread that is none of the runtime's can wake a task directly, too. The runtime then wakes a
//! thread of its own that looks for work, and before that begins, another one that goes on looking.
//! What the poller finds is just done by the thread that sleeps there.
//!
//! Most of the time the actor does not need to hear at once that something is durable: the other
//! servers, who do, are told by the log's thread. The actor takes the reports that are there whenever
//! it has something to do, and says what it waits for.

use super::message::RaftMessage;
use super::transport::Transport;
use crate::wal::{Report, WalReport};
use kabuki_kit::{Bundle, Strand};
use ractor::ActorRef;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;

/// So many rings are heard as one.
const RINGS: usize = 64;

/// Passes reports on to the actor as long as it lives.
pub(super) struct Bell {
    shared: Arc<Shared>,
    _strand: Strand,
}

struct Shared {
    ringing: OwnedFd,
    reports: Mutex<Reports>,
}

struct Reports {
    waiting: Vec<WalReport>,
    /// The actor needs to hear what is durable, as soon as it is.
    needed: bool,
}

impl Bell {
    pub(super) fn new(bundle: &Bundle, actor: ActorRef<RaftMessage>) -> io::Result<Self> {
        let (sender, mut receiver) = pipe::pipe()?;
        let strand = bundle.add(async move {
            // Ends with the other end of the pipe.
            while matches!(receiver.read(&mut [0; RINGS]).await, Ok(1..)) {
                // When the actor is gone, so is everyone who would care.
                let _ = actor.cast(RaftMessage::Wal);
            }
        });
        let shared = Arc::new(Shared {
            ringing: sender.into_nonblocking_fd()?,
            reports: Mutex::new(Reports {
                waiting: Vec::new(),
                needed: true,
            }),
        });
        Ok(Self {
            shared,
            _strand: strand,
        })
    }

    /// For the log's threads. What is durable they tell other servers themselves.
    pub(super) fn report(&self, transport: Arc<dyn Transport>) -> Report {
        let shared = self.shared.clone();
        Arc::new(move |mut report| {
            let mut can_wait = false;
            if let WalReport::Persisted(_, messages) = &mut report {
                can_wait = true;
                if !messages.is_empty() {
                    transport.send(std::mem::take(messages));
                }
            }
            let mut reports = shared.lock();
            reports.waiting.push(report);
            let ring = reports.needed || !can_wait;
            drop(reports);
            if ring {
                // Fails when thousands of rings are unheard: one of them is heard.
                let _ = rustix::io::write(&shared.ringing, &[1]);
            }
        })
    }

    /// The reports that are there.
    pub(super) fn take(&self) -> Vec<WalReport> {
        std::mem::take(&mut self.shared.lock().waiting)
    }

    /// From now on it is `needed` or not to hear at once of what is durable. Reports that came
    /// before this was known.
    pub(super) fn listen(&self, needed: bool) -> Vec<WalReport> {
        let mut reports = self.shared.lock();
        reports.needed = needed;
        match needed {
            true => std::mem::take(&mut reports.waiting),
            false => Vec::new(),
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Reports> {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::ears::ears;
    use crate::raft::{NoTransport, SnapshotSource};
    use raft::eraftpb::{ConfState, Message};
    use std::time::Duration;
    use tokio::time::timeout;

    /// Keeps what is sent.
    #[derive(Default)]
    struct Sent(Mutex<Vec<Message>>);

    impl Transport for Sent {
        fn send(&self, messages: Vec<Message>) {
            self.0.lock().expect("not poisoned").extend(messages);
        }

        fn send_snapshot(&self, message: Message, source: SnapshotSource) {
            NoTransport.send_snapshot(message, source);
        }

        fn reconfigured(&self, _conf_state: &ConfState) {}
    }

    #[tokio::test]
    async fn it_rings_for_what_is_needed_and_keeps_the_rest_until_it_is() {
        let (actor, mut rings) = ears().await;
        let bell = Bell::new(&Bundle::new(), actor.clone()).expect("a pipe");
        let sent = Arc::new(Sent::default());
        let report = bell.report(sent.clone());
        let persisted = |number| WalReport::Persisted(number, vec![Message::default()]);

        // At first it is not known what is needed.
        report(persisted(1));
        assert!(matches!(rings.recv().await, Some(RaftMessage::Wal)));
        assert_eq!(bell.take().len(), 1);

        assert!(bell.listen(false).is_empty());
        report(persisted(2));
        let silence = timeout(Duration::from_millis(50), rings.recv()).await;
        assert!(silence.is_err(), "it rang for what can wait");
        assert_eq!(sent.0.lock().expect("not poisoned").len(), 2);

        // Needed after all: it is there already, and what comes from here on is told.
        let missed = bell.listen(true);
        assert!(matches!(missed[..], [WalReport::Persisted(2, _)]));
        report(persisted(3));
        assert!(matches!(rings.recv().await, Some(RaftMessage::Wal)));

        // Other reports cannot wait.
        assert!(bell.listen(false).is_empty());
        report(WalReport::NoSpace);
        assert!(matches!(rings.recv().await, Some(RaftMessage::Wal)));
        assert_eq!(bell.take().len(), 2);
        actor.stop(None);
    }
}
