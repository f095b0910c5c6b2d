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
        let (sender, receiver) = pipe::pipe()?;
        let strand = bundle.add(async move {
            // Ends with the other end of the pipe.
            while receiver.readable().await.is_ok() {
                if matches!(receiver.try_read(&mut [0; RINGS]), Ok(0)) {
                    break;
                }
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
