//! The actor cluster: ractor_cluster sessions between members, kept up.
//!
//! ```text
//! members (one-for-all)
//! ├── gate        the one remotable actor of this node: what others tell it
//! └── sessions    dials, accepts, listens for signs of life; each session is linked to it
//!     ├── session with a, a line to a
//!     └── session with b, a line to b
//! ```
//!
//! Every node has a session with every server. Of two servers the one whose name sorts first
//! dials; workers dial. Two servers also have a line, on which nothing but Raft's messages
//! is sent. The port hands in who dialled us, past mutual TLS; a session whose own name is not the
//! one of its certificate is ended. ractor's own `NodeServer` is not used, because it
//! always opens a port without TLS; its part in the conversation with its sessions is played here.
//!
//! Invariants:
//! - at most one session with each member counts: the newest;
//! - a member is spoken to only through the gate of its own session (by ractor's number of the
//!   session), whatever others announce;
//! - a session in which nothing was heard for [`SILENCE`] is ended and dialled anew, and whoever
//!   listens is told that the member is lost.
//!
//! Messages may be lost, and arrive in order otherwise; nothing is buffered for a member without a
//! session.

mod actor;
mod dial;
mod gate;
mod line;
mod lines;
mod name;
mod table;

pub use dial::Dial;
pub use table::{SessionInfo, SessionState, Unreachable};

use crate::seal::Sealer;
use crate::seams::{Directory, Listener, Visitor};
use actor::{Sessions, SessionsMessage};
use gate::{Gate, GateMessage};
use kabuki_kit::{Bundle, ChildSpec, Slot, Strategy, SupervisorSpec};
use kabuki_protocol::cluster::Body;
use std::sync::Arc;
use std::time::Duration;
use table::Table;

/// How often each node says that it lives.
pub const HEARTBEAT: Duration = Duration::from_secs(1);
/// A session in which nothing was heard for so long is dead, whatever TCP thinks of it.
pub const SILENCE: Duration = Duration::from_secs(3);

/// What the sessions are made of.
#[derive(Clone)]
pub struct MembersArgs {
    /// Who this node is, and its key.
    pub sealer: Sealer,
    /// The way to a server's port.
    pub dial: Arc<dyn Dial>,
    /// Where the servers are.
    pub directory: Arc<dyn Directory>,
    /// Who hears what others say.
    pub listener: Arc<dyn Listener>,
    /// Where lines are read, with whatever else wakes Raft.
    pub bundle: Bundle,
}

/// Everyone's way to the other members.
#[derive(Clone)]
pub struct MembersHandle {
    args: MembersArgs,
    gate: Slot<GateMessage>,
    sessions: Slot<SessionsMessage>,
    table: Table,
}

impl MembersHandle {
    /// The handle of sessions that are yet to run.
    pub fn new(args: MembersArgs) -> Self {
        Self {
            table: Table::new(args.sealer.clone()),
            args,
            gate: Slot::new("gate"),
            sessions: Slot::new("sessions"),
        }
    }

    /// What a supervisor starts.
    pub fn child(&self) -> ChildSpec {
        let own = self.clone();
        ChildSpec::supervisor("members", move |_| {
            let (gate, sessions) = (own.clone(), own.clone());
            SupervisorSpec::new(Strategy::OneForAll)
                .never_give_up()
                .backoff(Duration::from_millis(20), Duration::from_secs(5))
                .child(ChildSpec::worker("gate", &own.gate, move |_| {
                    (Gate, gate.clone())
                }))
                .child(ChildSpec::worker("sessions", &own.sessions, move |_| {
                    (Sessions, sessions.clone())
                }))
        })
    }

    /// Tells a member something. Never waits: without a session with it, or with one that has just
    /// broken, the message is lost, and that is said.
    pub fn tell(&self, member: &str, body: &Body) -> Result<(), Unreachable> {
        self.table.tell(member, body)
    }

    /// Sends a server frames with Raft's messages. Never waits: without a line to it they are lost,
    /// and that is said.
    pub fn tell_raft(&self, server: &str, frames: &[u8]) -> Result<(), Unreachable> {
        self.table.tell_raft(server, frames)
    }

    /// The door for lines.
    pub fn lines(&self) -> impl crate::seams::Door {
        Lines(self.clone())
    }

    /// The state of each session, and of those that should be.
    pub fn sessions(&self) -> Vec<SessionInfo> {
        self.table.sessions()
    }

    /// The servers, or who leads, have changed: look at once.
    pub fn refresh(&self) {
        // When it is down, it looks when it starts.
        let _ = self.sessions.cast(SessionsMessage::Look);
    }
}

impl crate::seams::Door for MembersHandle {
    fn enter(&self, visitor: Visitor) {
        let accepted = SessionsMessage::Accepted(Box::new(visitor));
        let _ = self.sessions.cast(accepted);
    }
}

struct Lines(MembersHandle);

impl crate::seams::Door for Lines {
    fn enter(&self, visitor: Visitor) {
        let accepted = SessionsMessage::LineAccepted(Box::new(visitor));
        let _ = self.0.sessions.cast(accepted);
    }
}
