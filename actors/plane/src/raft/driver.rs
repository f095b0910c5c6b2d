//! The shell around the core: messages in, the core's effects out through the [`Hands`].

use super::actor::RaftArgs;
use super::awake::Awake;
use super::core::{CoreError, Leadership, Proposed, Replica, ReplicaConfig};
use super::error::RaftError;
use super::handle::Shared;
use super::hands::{Hands, Later};
use super::herald::{Answer, Herald};
use super::message::RaftMessage;
use super::reminder::Reminder;
use super::waiting::Waiting;
use crate::wal::{Recovered, Report, WalReport, WalWriter};
use kabuki_model::view::View as _;
use raft::eraftpb::Message;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// One that is being written, and one that is sent to the other servers meanwhile.
const APPENDS_IN_FLIGHT: usize = 2;

/// In one tick of 50 ms: 2 ms apart, which is as long as the clock's grain lets a notice wait.
const CLOSE_ENTRIES: u32 = 25;

/// So many times what is kept free is ample room,
const AMPLE_RESERVES: u64 = 8;
/// which lasts so long before the file system is asked again.
const AMPLE_FOR: Duration = Duration::from_millis(100);

/// A broken invariant; the group starts again from the disk.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DriveError {
    #[error(transparent)]
    Core(#[from] CoreError),
    #[error("the log has failed: {0}")]
    Log(String),
}

pub(crate) struct Driver {
    core: Replica,
    hands: Hands,
    /// Proposals stay in the intake for a moment: see [`Driver::must_wait`].
    held: bool,
    /// How many proposals went into the last entries.
    together: usize,
    /// When there last was ample room on the disk.
    ample: Option<Instant>,
}

impl Driver {
    pub(crate) fn start(
        args: RaftArgs,
        recovered: Recovered,
        wal: WalWriter,
        report: Report,
        later: Later,
        reminder: Reminder,
    ) -> Result<Self, DriveError> {
        let shared = args.shared;
        let index = recovered.snapshot.position().index;
        shared.leadership.send_replace(Leadership::default());
        shared.snapshot_index.store(index, Ordering::Relaxed);
        // Everything after this revision will pass by the watches.
        let revision = recovered.snapshot.revision();
        let herald = Herald::new(args.watch);
        herald.begin(revision);
        let config = ReplicaConfig {
            id: shared.config.id,
            seed: rand::random(),
            entry_version: shared.config.entry_version,
            snapshot_bytes: shared.config.snapshot_bytes,
            snapshot_commands: shared.config.snapshot_commands,
            close_entries: CLOSE_ENTRIES,
        };
        let awake = Awake::new(shared.config.keep_awake);
        let mut hands = Hands {
            shared,
            herald,
            telling: false,
            wal,
            report,
            transport: args.transport,
            waiting: Waiting::default(),
            later,
            reminder,
            awake,
        };
        let core = Replica::start(config, recovered, &mut hands)?;
        // A snapshot after which nothing is known to be committed was not applied just now.
        hands.publish(core.snapshot());
        Ok(Self {
            core,
            hands,
            held: false,
            together: 0,
            ample: None,
        })
    }

    /// Turns a message into a call of the core.
    pub(crate) fn handle(&mut self, message: RaftMessage) -> Result<(), DriveError> {
        let (core, hands) = (&mut self.core, &mut self.hands);
        match message {
            RaftMessage::Flush => self.propose_waiting()?,
            RaftMessage::Read => {
                let token = hands.waiting.read(hands.shared.reads.take());
                core.read(token, hands)?;
            }
            // They are taken before any message is.
            RaftMessage::Wal => {}
            RaftMessage::Step(message) => core.step(*message, hands)?,
            RaftMessage::Received(message, path) => self.received(message, path),
            RaftMessage::SnapshotSent(to, ok) => core.snapshot_sent(to, ok, hands)?,
            RaftMessage::Tick => core.tick(hands)?,
            RaftMessage::Wake(ticket) => core.wake(ticket, hands)?,
            RaftMessage::Remind => core.remind(hands)?,
            RaftMessage::Tell => hands.tell(),
            RaftMessage::RetryDisk => hands.wal.retry(&hands.report),
            RaftMessage::Unreachable(id) => core.unreachable(id, hands)?,
            RaftMessage::PeerLost(id) => core.peer_lost(id, hands)?,
            RaftMessage::Reconfigure(asked) => {
                let token = hands.waiting.reconfiguration(asked.reply);
                core.reconfigure(token, &asked.change, hands)?;
            }
            RaftMessage::Members(reply) => {
                let _ = reply.send(Ok(core.members()));
            }
            RaftMessage::Transfer(to, reply) => {
                let _ = reply.send(Ok(core.transfer(to, hands)?));
            }
        }
        self.resume()
    }

    /// Proposes what was held back, if it need not wait any longer.
    fn resume(&mut self) -> Result<(), DriveError> {
        match self.held && !self.must_wait() {
            true => self.propose_waiting(),
            false => Ok(()),
        }
    }

    /// While leadership is being handed over: better late than refused, in a moment it is known who
    /// leads. And while one append is written and the next waits for it: what comes meanwhile goes
    /// into one entry, which costs every other server one message instead of many.
    fn must_wait(&self) -> bool {
        let core = &self.core;
        let busy = || {
            let full = self.hands.shared.disk_full.load(Ordering::Relaxed);
            let shared = core.refusal().is_none() && !core.alone() && !full;
            shared && core.appends_in_flight() >= APPENDS_IN_FLIGHT
        };
        core.transferring() || busy()
    }

    /// The actor is being stopped: whoever is best prepared leads on, without an election
    /// time-out in between.
    pub(crate) fn stopping(&mut self) {
        if let Err(e) = self.core.transfer(None, &mut self.hands) {
            tracing::warn!(error = %e, "leadership could not be handed over");
        }
    }

    /// Whether several propose at once, so that more may come if they are let run.
    pub(crate) fn crowded(&self) -> bool {
        self.together > 1
    }

    pub(crate) fn needs_ticks(&self) -> bool {
        self.core.needs_ticks()
    }

    /// Proposes all that waits in the intake.
    fn propose_waiting(&mut self) -> Result<(), DriveError> {
        self.held = self.must_wait();
        if self.held {
            return Ok(());
        }
        let taken = self.hands.shared.intake.take();
        if taken.is_empty() {
            return Ok(());
        }
        if let Some(refusal) = self.core.refusal().or_else(|| self.full()) {
            taken
                .into_iter()
                .for_each(|p| drop(p.reply.send(Answer::from(refusal.clone()))));
            return Ok(());
        }
        self.together = taken.len();
        let waiting = &mut self.hands.waiting;
        let proposed = taken.into_iter().map(|p| Proposed {
            token: waiting.proposal(p.reply, p.credit),
            command: p.command,
            encoded: p.encoded,
        });
        let batch = proposed.collect();
        Ok(self.core.propose(batch, &mut self.hands)?)
    }

    /// Refuses before the disk is so full that the log cannot go on.
    fn full(&mut self) -> Option<RaftError> {
        if self.ample.is_some_and(|at| at.elapsed() < AMPLE_FOR) {
            return None;
        }
        let shared: &Arc<Shared> = &self.hands.shared;
        let reserve_bytes = shared.config.disk_reserve_bytes;
        // When the file system does not tell, writing will.
        let free_bytes = self.hands.wal.room().unwrap_or(u64::MAX);
        let full = free_bytes < reserve_bytes;
        let ample = free_bytes / AMPLE_RESERVES >= reserve_bytes;
        self.ample = ample.then(Instant::now);
        shared.disk_full.store(full, Ordering::Relaxed);
        full.then_some(RaftError::DiskFull {
            free_bytes,
            reserve_bytes,
        })
    }

    /// Whether anything waits for what the log's thread has under way.
    pub(crate) fn waits_for_disk(&self) -> bool {
        self.held || self.core.waits_for_disk()
    }

    /// What the log's threads did.
    pub(crate) fn reported(&mut self, report: WalReport) -> Result<(), DriveError> {
        let (core, hands) = (&mut self.core, &mut self.hands);
        match report {
            WalReport::Persisted(number, _sent) => core.persisted(number, hands)?,
            WalReport::Fetched(ticket, entries) => core.fetched(ticket, entries, hands)?,
            WalReport::SnapshotSaved { saved, keep_after } => {
                let index = saved.at.index;
                hands.shared.snapshot_index.store(index, Ordering::Relaxed);
                core.snapshot_saved(saved.bytes, keep_after, hands)?;
            }
            WalReport::SnapshotFailed(error) => {
                tracing::warn!(
                    error,
                    "a snapshot could not be written; the log grows meanwhile"
                );
                core.snapshot_failed();
            }
            WalReport::SnapshotRead(message, path, read) => match read {
                Ok(snapshot) => {
                    let file = Some(path.clone());
                    if !core.snapshot_received(*message, snapshot, file, hands)? {
                        forget(&path);
                    }
                }
                Err(error) => {
                    tracing::warn!(error, "a snapshot that arrived cannot be used");
                    forget(&path);
                }
            },
            WalReport::Compacted => {}
            WalReport::NoSpace => {
                if !hands.shared.disk_full.swap(true, Ordering::Relaxed) {
                    tracing::error!("the disk is full: writes wait until there is room");
                }
            }
            WalReport::Failed(error) => return Err(DriveError::Log(error)),
        }
        self.resume()
    }

    /// Reads another server's state on the thread for it, unless it is no news.
    fn received(&mut self, message: Box<Message>, path: PathBuf) {
        if self.core.wants(&message) {
            self.hands
                .wal
                .read_snapshot(message, path, &self.hands.report);
        } else {
            forget(&path);
        }
    }
}

/// Removes a received file that is of no use. What is left of it is swept away at the next start.
fn forget(path: &Path) {
    let _ = std::fs::remove_file(path);
}
