//! What everyone else holds of the `Raft` actor.

use super::RaftConfig;
use super::core::Leadership;
use super::error::{MAX_COMMAND_BYTES, RaftError};
use super::intake::{Intake, Proposal};
use super::message::RaftMessage;
use super::waiting::ReadQueue;
use arc_swap::ArcSwap;
use kabuki_kit::Slot;
use kabuki_model::codec;
use kabuki_model::command::{Applied, Command, Op};
use kabuki_model::view::View as _;
use kabuki_store::{Position, Snapshot};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{oneshot, watch};

mod cluster;
mod reading;

/// How long a proposal waits for a leader: as long as a restart of the group takes.
const LEADER_WAIT: Duration = Duration::from_secs(3);

/// How the actor fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RaftStatus {
    /// This server.
    pub id: u64,
    /// Who leads.
    pub leadership: Leadership,
    /// The last applied entry.
    pub applied: Position,
    /// The revision of the published state.
    pub revision: u64,
    /// The last entry in a snapshot file.
    pub snapshot_index: u64,
    /// Commands that wait for their reply.
    pub commands_in_flight: usize,
    /// Their bytes.
    pub bytes_in_flight: usize,
    /// Whether writes are refused for lack of room.
    pub disk_full: bool,
    /// Whether this server was removed from the cluster. It takes no part any more.
    pub removed: bool,
}

/// Writes through the log, reads without it. Cheap to clone; outlives restarts of the actor.
#[derive(Clone)]
pub struct RaftHandle {
    slot: Slot<RaftMessage>,
    shared: Arc<Shared>,
}

/// What the actor and the handles share. It outlives the actor.
pub(crate) struct Shared {
    pub(crate) config: RaftConfig,
    pub(crate) directory: PathBuf,
    pub(crate) snapshot: ArcSwap<Snapshot>,
    pub(crate) revision: watch::Sender<u64>,
    pub(crate) leadership: watch::Sender<Leadership>,
    pub(crate) intake: Arc<Intake>,
    pub(crate) reads: ReadQueue,
    /// Whether this server is the only voter: then, while it leads, nobody else can commit.
    pub(crate) alone: AtomicBool,
    pub(crate) disk_full: AtomicBool,
    pub(crate) snapshot_index: AtomicU64,
    /// Names the files of incoming snapshots.
    pub(crate) incoming: AtomicU64,
}

impl RaftHandle {
    pub(crate) fn new(config: RaftConfig, directory: PathBuf) -> Self {
        let intake = Intake::new(config.commands_in_flight, config.bytes_in_flight);
        let shared = Shared {
            config,
            directory,
            snapshot: ArcSwap::from_pointee(Snapshot::empty()),
            revision: watch::Sender::new(0),
            leadership: watch::Sender::new(Leadership::default()),
            intake: Arc::new(intake),
            reads: ReadQueue::default(),
            alone: AtomicBool::new(false),
            disk_full: AtomicBool::new(false),
            snapshot_index: AtomicU64::new(0),
            incoming: AtomicU64::new(0),
        };
        Self {
            slot: Slot::new("raft"),
            shared: Arc::new(shared),
        }
    }

    /// Applies a command: one transaction. Returns when it is durable and visible in
    /// [`snapshot`](Self::snapshot).
    pub async fn propose(&self, command: Command) -> Result<Applied, RaftError> {
        let encoded = codec::encode_sized(&command, about(&command))
            .map_err(|e| RaftError::Encode(e.to_string()))?;
        let bytes = encoded.len();
        if bytes > MAX_COMMAND_BYTES {
            return Err(RaftError::TooLarge { bytes });
        }
        let credit = self.shared.intake.enter(bytes)?;
        self.led().await?;
        let (reply, answer) = oneshot::channel();
        let proposal = Proposal {
            command,
            encoded,
            reply,
            credit,
        };
        let limit = self.shared.config.propose_limit;
        if self.shared.intake.push(proposal) && self.slot.cast(RaftMessage::Flush).is_err() {
            // Between two incarnations nobody hears it. First let others try too: this caller
            // may give up while it waits.
            self.shared.intake.unannounce();
            let told = self.slot.deliver(RaftMessage::Flush, limit).await;
            told.map_err(|_| RaftError::Interrupted)?;
        }
        match tokio::time::timeout(limit, answer).await {
            Ok(Ok(answer)) => answer.outcome(),
            Ok(Err(_dropped)) => Err(RaftError::Interrupted),
            Err(_) => Err(RaftError::Timeout { limit }),
        }
    }

    /// The newest state. Never waits; includes every write that was acknowledged.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::clone(&self.shared.snapshot.load())
    }

    /// The revision of the newest state, and its changes.
    pub fn revision(&self) -> watch::Receiver<u64> {
        self.shared.revision.subscribe()
    }

    /// The state, once it includes `revision`.
    pub async fn snapshot_at_least(&self, revision: u64) -> Snapshot {
        let mut revisions = self.revision();
        // The sender is in `shared`, so it cannot be gone.
        let _ = revisions.wait_for(|present| *present >= revision).await;
        self.snapshot()
    }

    /// Who leads, and its changes.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.shared.leadership.subscribe()
    }

    /// This server.
    pub fn id(&self) -> u64 {
        self.shared.config.id
    }

    /// How it fares.
    pub fn status(&self) -> RaftStatus {
        let snapshot = self.shared.snapshot.load();
        let (commands_in_flight, bytes_in_flight) = self.shared.intake.in_flight();
        let leadership = *self.shared.leadership.borrow();
        RaftStatus {
            id: self.shared.config.id,
            leadership,
            removed: leadership.removed,
            applied: snapshot.position(),
            revision: snapshot.revision(),
            snapshot_index: self.shared.snapshot_index.load(Ordering::Relaxed),
            commands_in_flight,
            bytes_in_flight,
            disk_full: self.shared.disk_full.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn slot(&self) -> &Slot<RaftMessage> {
        &self.slot
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Waits a moment for a leader; an error unless it is this server.
    async fn led(&self) -> Result<(), RaftError> {
        let decide = |l: &Leadership| match l.leader {
            _ if l.leading => Some(Ok(())),
            _ if l.removed => Some(Err(RaftError::Removed)),
            _ if l.stranded => Some(Err(RaftError::NoQuorum)),
            Some(id) if id != self.shared.config.id => {
                Some(Err(RaftError::NotLeader { leader: Some(id) }))
            }
            _ => None,
        };
        if let Some(known) = decide(&self.shared.leadership.borrow()) {
            return known;
        }
        let mut changes = self.leadership();
        let known = changes.wait_for(|l| decide(l).is_some());
        match tokio::time::timeout(LEADER_WAIT, known).await {
            Ok(Ok(l)) => decide(&l).unwrap_or(Err(RaftError::Unavailable)),
            _ => Err(RaftError::Unavailable),
        }
    }
}

/// About how many bytes a command has in encoded form.
fn about(command: &Command) -> usize {
    /// The names, the uid and the precondition of an operation.
    const BESIDE_JSON: usize = 256;
    let json = |op: &Op| match op {
        Op::Put { json, .. } => json.len(),
        Op::Delete { .. } | Op::Require { .. } | Op::Vacant { .. } => 0,
    };
    command.ops.iter().map(|op| json(op) + BESIDE_JSON).sum()
}

impl std::fmt::Debug for RaftHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.status())
    }
}
