//! What concerns the other servers: messages from them, and who they are.

use super::super::core::{Members, Reconfigure};
use super::super::error::RaftError;
use super::super::message::RaftMessage;
use super::super::waiting::{Reconfiguration, Reply};
use super::RaftHandle;
use kabuki_kit::CallError;
use raft::eraftpb::Message;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::oneshot;

/// The actor answers from memory.
const ASK_LIMIT: Duration = Duration::from_secs(5);

/// How long a change of the servers may take: it needs two rounds among them, and a new voter
/// may first have to be reached.
const RECONFIGURE_LIMIT: Duration = Duration::from_secs(30);

/// A successor that has not taken over by now does not: the core gives up after an election
/// time-out.
const TRANSFER_LIMIT: Duration = Duration::from_secs(2);

impl RaftHandle {
    /// Takes in a message of another server. Only for authenticated ones.
    pub fn step(&self, message: Message) -> Result<(), CallError> {
        self.slot.cast(RaftMessage::Step(Box::new(message)))
    }

    /// Tells that a message to another server was lost, or may have been.
    pub fn unreachable(&self, id: u64) -> Result<(), CallError> {
        self.slot.cast(RaftMessage::Unreachable(id))
    }

    /// Tells that the connection to another server has broken. When it was the leader's, this
    /// server campaigns within a tenth of a second instead of waiting for its time-out; a leader
    /// that is alive is not disturbed by that.
    pub fn peer_lost(&self, id: u64) -> Result<(), CallError> {
        self.slot.cast(RaftMessage::PeerLost(id))
    }

    /// Tells what became of a snapshot that
    /// [`Transport::send_snapshot`](crate::raft::Transport::send_snapshot) sent to `to`.
    pub fn snapshot_sent(&self, to: u64, ok: bool) -> Result<(), CallError> {
        self.slot.cast(RaftMessage::SnapshotSent(to, ok))
    }

    /// A new name, on the state's own file system, for the file of an incoming snapshot. What
    /// was not finished there is removed when the state is opened the next time.
    pub fn incoming_snapshot(&self) -> PathBuf {
        let number = self.shared.incoming.fetch_add(1, Ordering::Relaxed);
        let name = format!("snapshot-incoming-{number}.new");
        self.shared.directory.join(name)
    }

    /// Takes in another server's state: the message of its snapshot and the file with all of its
    /// bytes. The file belongs to the state from here on: it is checked, and used or removed.
    /// Only for authenticated servers.
    pub fn receive_snapshot(&self, message: Message, file: PathBuf) -> Result<(), CallError> {
        self.slot
            .cast(RaftMessage::Received(Box::new(message), file))
    }

    /// The servers and, on the leader, how each of them fares.
    ///
    /// # Errors
    /// [`RaftError::Unavailable`] while the state is not open.
    pub async fn members(&self) -> Result<Members, RaftError> {
        self.ask(RaftMessage::Members, ASK_LIMIT).await
    }

    /// Changes the servers: on the leader, one change at a time. Returns when the change is
    /// complete: a server that is removed has no more say.
    ///
    /// # Errors
    /// [`RaftError::Reconfiguration`], [`RaftError::ReconfigurationPending`] and
    /// [`RaftError::NotLeader`]: nothing happened. [`RaftError::Interrupted`] and
    /// [`RaftError::Timeout`]: it may still happen; [`members`](Self::members) tells.
    pub async fn reconfigure(&self, change: Reconfigure) -> Result<(), RaftError> {
        self.led().await?;
        let build = |reply| {
            let asked = Reconfiguration { change, reply };
            RaftMessage::Reconfigure(Box::new(asked))
        };
        self.ask(build, RECONFIGURE_LIMIT).await
    }

    /// Hands leadership to the server that is best prepared (or to `to`), and returns who leads
    /// then. Writes wait meanwhile. A server that does not lead has nothing to hand over: then
    /// the present leader is returned.
    ///
    /// # Errors
    /// [`RaftError::NoSuccessor`]: nobody else has a vote and was heard lately, or the successor
    /// did not take over; this server leads on.
    pub async fn transfer_leadership(&self, to: Option<u64>) -> Result<u64, RaftError> {
        let id = self.shared.config.id;
        let mut leadership = self.leadership();
        let present = *leadership.borrow_and_update();
        if let Some(other) = present.leader.filter(|leader| *leader != id) {
            return Ok(other);
        }
        let build = |reply| RaftMessage::Transfer(to, reply);
        let successor = self.ask(build, ASK_LIMIT).await?;
        let none = |why: &str| RaftError::NoSuccessor { why: why.into() };
        successor.ok_or_else(|| none("none that has a vote was heard lately"))?;
        let other = leadership.wait_for(|l| l.leader.is_some_and(|leader| leader != id));
        match tokio::time::timeout(TRANSFER_LIMIT, other).await {
            Ok(Ok(now)) => now.leader.ok_or(RaftError::Unavailable),
            _ => Err(none("the successor did not take over")),
        }
    }

    async fn ask<T>(
        &self,
        build: impl FnOnce(Reply<T>) -> RaftMessage,
        limit: Duration,
    ) -> Result<T, RaftError> {
        let (reply, answer) = oneshot::channel();
        let told = self.slot.deliver(build(reply), limit).await;
        told.map_err(|_| RaftError::Unavailable)?;
        match tokio::time::timeout(limit, answer).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_dropped)) => Err(RaftError::Interrupted),
            Err(_) => Err(RaftError::Timeout { limit }),
        }
    }
}
